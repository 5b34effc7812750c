"""Cycles of a Cortex-M0+'s instructions, as its manual has them (DDI 0484C, table 3-1), with memory that does not wait.

Every instruction takes the same each time but a conditional branch, which takes one cycle less where it is not taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .blocks import Instruction

MANUAL = "Arm's manual"
CORES = frozenset(("cortex-m0plus",))
_SEVERAL = re.compile(r"^(push|pop|ldm\w*|stm\w*)\b.*\{(.*)\}")
_RANGE = re.compile(r"r(\d+)\s*-\s*r(\d+)")
_LOADS = re.compile(r"^(ldr|str)")
_GOES = re.compile(r"^(b|bx|blx|b(?:eq|ne|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|cs|cc))(\.n|\.w)?\s")
_SYSTEM = re.compile(r"^(mrs|msr|dsb|dmb|isb|bl)\s")


def cycles(code: Iterable[Instruction]) -> int:
    """Cycles of instructions, one after the other; each conditional branch as if it were taken."""
    return sum(_cycles(instruction.text) for instruction in code)


def _cycles(text: str) -> int:
    if several := _SEVERAL.match(text):
        name, registers = several.groups()
        count = len(registers.split(","))
        count += sum(int(last) - int(first) for first, last in _RANGE.findall(registers))
        return count + (3 if name == "pop" and "pc" in registers else 1)
    if _LOADS.match(text) or _GOES.match(text + " "):
        return 2
    return 3 if _SYSTEM.match(text + " ") else 1
