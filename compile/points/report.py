"""What a program on points says of its kernels."""

from __future__ import annotations

from ..kernels.base import Kernel
from ..plan.program import Call
from ..report import KernelReport
from .lowering import PointProgram


def kernel_reports(program: PointProgram, names: dict[Kernel, str]) -> list[KernelReport]:
    """Every kernel call, with how often it is made at most: with all tokens present and all the neighbours that fit."""
    reports = []
    for loop in program.loops:
        for item, calls in (*((first, 1) for first in loop.first), *((item, loop.room) for item in loop.items)):
            assert isinstance(item, Call)
            reports.append(KernelReport(names[item.kernel], item.what, calls, calls * item.kernel.macs(0)))
    return reports
