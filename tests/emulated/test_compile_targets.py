"""The folder that a compilation writes, alone: its example is built by the target's compiler, and run."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from spedge.compile import TARGETS, compile_bundle, compile_onnx
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.model.bundle import Bundle
from spedge.model.parts import Sensor
from spedge.model.reference import Reference, onnx_session
from spedge.model.steps import zero_state
from tests.detector_bundles import kept_bundle, tiny
from tests.needs import needs
from tests.variants import quick_of

from ..python.operators import run_onnx
from ..python.test_compile_operators import mlp
from . import bare

needs("tvm")

SHAPE = Shape(tokens=16, hidden=16, intermediate=24, heads=2, layers=2, classes=5)
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")


@dataclass(frozen=True)
class Machine:
    """How a program with printf is linked for an emulator, the board that it emulates or the emulator itself, and its
    Debian package."""

    link: tuple[str, ...] = ()
    board: str = ""
    emulator: str = ""
    package: str = ""
    code: int = 0  # addresses of an Arm board; 0x20000000 above it, the data
    data: int = 0

    @property
    def missing(self) -> str | None:
        absent = self.emulator and shutil.which(self.emulator) is None
        return f"{self.emulator} is not installed ({self.package})" if absent else None

    def command(self, program: Path) -> list[str]:
        return bare.command(self.board, program) if self.board else [*filter(None, [self.emulator]), str(program)]


def _arm(board: str, code: int = 0) -> Machine:
    link = ("-nostartfiles", "-specs=nosys.specs", "-Wl,--no-warnings", "start.c", "-T", "arm.ld")
    return Machine(link, board, "qemu-system-arm", "qemu-system-arm", code, code + 0x20000000)


_RAM = ("flash=0x80000000", "flash_size=4M", "ram=0x80400000", "ram_size=4M", "stack_size=64K")
MACHINES = {
    "native": Machine(),
    "aarch64": Machine(("-static",), "", "qemu-aarch64", "qemu-user"),
    "rv32": Machine(
        ("--oslib=semihost", "--crt0=semihost", *(f"-Wl,--defsym=__{place}" for place in _RAM)),
        "rv32-virt",
        "qemu-system-riscv32",
        "qemu-system-misc",
    ),
    "cortex-m4": _arm("mps2-an386"),
    "cortex-m7": _arm("mps2-an500"),
    "cortex-m55": _arm("mps3-an547", 0x10000000),
    "cortex-m0plus": _arm("mps2-m0plus"),
}

# What a board's own start-up code and C library bring: the FPU on, and somewhere to print to.
ARM_START = """
#include <stdint.h>
int main(void);
int _write(int file, const char *text, int length);
extern char stack_top;
static void semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}
int _write(int file, const char *text, int length)
{
    (void)file;
    for (int i = 0; i < length; ++i) {
        semihosting(3, text + i);
    }
    return length;
}
static void reset(void)
{
    static const uint32_t good[2] = {0x20026u, 0u};
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\\n isb");
    if (main() == 0) {
        semihosting(0x20, good);
    }
    semihosting(0x18, 0);
}
__attribute__((section(".vectors"), used)) static const void *const vectors[4] = {&stack_top, (const void *)reset};
"""
ARM_SCRIPT = """
MEMORY { CODE (rx) : ORIGIN = @CODE@, LENGTH = 512K  DATA (rwx) : ORIGIN = @DATA@, LENGTH = 512K }
SECTIONS
{
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } >CODE
  .ARM.exidx : { *(.ARM.exidx*) } >CODE
  .data : { *(.data*) } >DATA
  .bss : { __bss_start__ = .; *(.bss*) *(COMMON) __bss_end__ = .; } >DATA
  end = .;
  stack_top = ORIGIN(DATA) + LENGTH(DATA);
}
"""


def run_example(folder: Path, target: str) -> list[tuple[str, float]]:
    """Build the folder's example by the command that it names, somewhere else, run it, and return what it prints."""
    folder = folder.rename(folder.with_name("elsewhere"))
    machine = MACHINES[target]
    compiler = TARGETS[target].compiler
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed ({', '.join(TARGETS[target].packages)})")
    if machine.missing:
        pytest.skip(machine.missing)
    text = (folder / "example/main.c").read_text()
    command = text.split(f" * {compiler} ")[1].split(" */")[0].split()
    assert command[0] == "-std=c99" and f"{compiler} -std=c99" in (folder / "README.md").read_text()
    subprocess.run([compiler, *WARNINGS, *command[:-2], "-fsyntax-only"], cwd=folder, check=True, timeout=120)
    (folder / "start.c").write_text(ARM_START)
    script = ARM_SCRIPT.replace("@CODE@", hex(machine.code)).replace("@DATA@", hex(machine.data))
    (folder / "arm.ld").write_text(script)
    subprocess.run([compiler, *command, *machine.link], cwd=folder, check=True, timeout=120)
    said = bare.output_of(machine.command(folder / "example-model"))
    lines = [line.rsplit(" ", 1) for line in said.splitlines() if line.strip()]
    return [(label, float(value)) for label, value in lines]


def inputs(number: int) -> np.ndarray:
    """What the example puts in."""
    return (np.arange(number) % 17 / 8 - 1).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made: Bundle = make_bundle(tmp_path_factory.mktemp("targets") / "bundle", make_encoder(SHAPE), SHAPE, samples=4)
    return made


#: Machines of Linux take seconds to compile kernels for all vector units, of either precision.
DEAR = {("native", "fp32"), ("native", "int8"), ("aarch64", "int8")}


@pytest.mark.parametrize(
    ("target", "precision"),
    [
        pytest.param(*pair, marks=[pytest.mark.long] if pair in DEAR else [])
        for pair in itertools.product(TARGETS, ("fp32", "int8"))
    ],
)
def test_the_example_equals_onnx_runtime(bundle: Bundle, target: str, precision: str, tmp_path: Path) -> None:
    compile_bundle(bundle, target, tmp_path / "model", precision=precision)
    printed = run_example(tmp_path / "model", target)
    rows = inputs(SHAPE.tokens * SHAPE.hidden).reshape(SHAPE.tokens, -1)
    reference = Reference(bundle, None if precision == "fp32" else tmp_path / "elsewhere/reference.onnx")
    assert [label for label, _ in printed] == list(bundle.labels)
    wanted = reference.encode(rows)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose([v for _, v in printed], wanted, atol=1e-5 if precision == "fp32" else 0.03)


#: `make test-long` takes all, and test_check_detector.py runs what is compiled for this machine.
QUICK = {"cortex-m7"}


@pytest.mark.parametrize("target", quick_of(TARGETS, QUICK))
def test_the_example_of_a_detector_equals_onnx_runtime(target: str, tmp_path: Path) -> None:
    needs("torch")
    detector = kept_bundle(tiny(sensor=Sensor(96, 64), hidden=8, head=8))
    compile_bundle(detector, target, tmp_path / "model")
    printed = run_example(tmp_path / "model", target)
    tokens, cells = detector.tokens, int(np.prod(detector.state[0].shape[:2]))
    feeds = {
        "tokens": inputs(tokens * detector.token_input.features).reshape(1, tokens, -1),
        "length": np.array([tokens], np.int32),
        "cells": (np.arange(tokens, dtype=np.int32) % cells)[None],
        **zero_state(detector),
    }
    (wanted,) = onnx_session(detector.file("encoder.onnx")).run(["head"], feeds)
    np.testing.assert_allclose([v for _, v in printed], wanted.ravel(), atol=1e-5)


@pytest.mark.parametrize("target", ["native", "rv32", "cortex-m4"])
def test_the_example_of_an_onnx_file_equals_onnx_runtime(target: str, tmp_path: Path) -> None:
    model = mlp()
    onnx.save(model, str(tmp_path / "mlp.onnx"))
    compile_onnx(tmp_path / "mlp.onnx", target, tmp_path / "model")
    printed = run_example(tmp_path / "model", target)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    wanted = run_onnx(model, [inputs(int(np.prod(shape))).reshape(shape)])[0]
    assert [label for label, _ in printed] == [str(i) for i in range(len(wanted))]
    np.testing.assert_allclose([v for _, v in printed], wanted, atol=1e-5)
