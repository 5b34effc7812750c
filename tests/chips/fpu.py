"""Arithmetic in double precision for a model of a Cortex-M7 that has none: instructions by their bits.

`run` takes an instruction (32 bits) and ways to read and write registers; False: it is none of these.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol


class Registers(Protocol):
    def d(self, number: int) -> int: ...
    def set_d(self, number: int, value: int) -> None: ...
    def s(self, number: int) -> int: ...
    def set_s(self, number: int, value: int) -> None: ...
    def flags(self) -> int: ...  # N, Z, C, V of the program, from bit 3
    def set_float_flags(self, flags: int) -> None: ...


def to_float(bits: int) -> float:
    return float(struct.unpack("<d", bits.to_bytes(8, "little"))[0])


def to_bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


def single(value: float) -> int:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return int.from_bytes(packed, "little")


def fused(a: float, b: float, c: float) -> float:
    """a + b * c, rounded once."""
    if not all(map(math.isfinite, (a, b, c))):
        return a + b * c
    exact = Fraction(a) + Fraction(b) * Fraction(c)
    if exact == 0:
        return a + b * c  # for its sign
    try:
        return float(exact)
    except OverflowError:
        return math.copysign(math.inf, exact)


def quotient(a: float, b: float) -> float:
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
    return a / b


_THREE: dict[tuple[int, int], Callable[[float, float, float], float]] = {  # (opcode, bit 6) of d, n, m
    (0x0, 0): lambda d, n, m: d + n * m,
    (0x0, 1): lambda d, n, m: d + -(n * m),
    (0x1, 0): lambda d, n, m: -d + n * m,
    (0x1, 1): lambda d, n, m: -d + -(n * m),
    (0x2, 0): lambda d, n, m: n * m,
    (0x2, 1): lambda d, n, m: -(n * m),
    (0x3, 0): lambda d, n, m: n + m,
    (0x3, 1): lambda d, n, m: n - m,
    (0x8, 0): lambda d, n, m: quotient(n, m),
    (0x9, 0): lambda d, n, m: fused(-d, n, m),
    (0x9, 1): lambda d, n, m: fused(-d, -n, m),
    (0xA, 0): lambda d, n, m: fused(d, n, m),
    (0xA, 1): lambda d, n, m: fused(d, -n, m),
}
_ROUND: tuple[Callable[[float], float], ...] = (  # to nearest with ties away, to even, up, down
    lambda m: math.copysign(math.floor(abs(m) + 0.5), m),
    lambda m: math.copysign(round(m), m),
    lambda m: math.copysign(math.ceil(m), m),
    lambda m: math.copysign(math.floor(m), m),
)
SIGN = 1 << 63


def run(instruction: int, registers: Registers) -> bool:
    if instruction >> 24 not in (0xEE, 0xFE) or instruction >> 9 & 7 != 5 or instruction >> 4 & 1:
        return False
    opcode, bit6 = instruction >> 20 & 0xB, instruction >> 6 & 1
    d = instruction >> 22 & 1, instruction >> 12 & 15
    n = instruction >> 7 & 1, instruction >> 16 & 15
    m = instruction >> 5 & 1, instruction & 15
    to, first, second = d[0] << 4 | d[1], n[0] << 4 | n[1], m[0] << 4 | m[1]
    if instruction >> 28 == 0xF:
        return _unconditional(opcode, instruction, to, first, second, registers)
    if opcode == 0xB:
        return _one(instruction, d, m, registers)
    if not instruction >> 8 & 1 or (opcode, bit6) not in _THREE:
        return False
    operands = (to_float(registers.d(number)) for number in (to, first, second))
    registers.set_d(to, to_bits(_THREE[opcode, bit6](*operands)))
    return True


def _unconditional(opcode: int, instruction: int, to: int, first: int, second: int, registers: Registers) -> bool:
    if not instruction >> 8 & 1:
        return False
    if opcode < 8:  # VSEL
        negative, zero, _, overflow = (registers.flags() >> bit & 1 for bit in (3, 2, 1, 0))
        holds = (zero, overflow, negative == overflow, negative == overflow and not zero)[opcode & 3]
        registers.set_d(to, registers.d(first if holds else second))
        return True
    if opcode == 0xB and instruction >> 18 & 3 == 2:  # VRINTA, N, P, M
        value = to_float(registers.d(second))
        whole = _ROUND[instruction >> 16 & 3](value) if math.isfinite(value) else value
        registers.set_d(to, to_bits(whole))
        return True
    return False


def _one(instruction: int, d: tuple[int, int], m: tuple[int, int], registers: Registers) -> bool:
    """Operations on one operand, and conversions, one end of which is a register of single precision."""
    kind, bit7, double = instruction >> 16 & 15, instruction >> 7 & 1, instruction >> 8 & 1
    wide_to, wide_from = d[0] << 4 | d[1], m[0] << 4 | m[1]
    narrow_to, narrow_from = d[1] << 1 | d[0], m[1] << 1 | m[0]
    if not instruction >> 6 & 1:  # VMOV of a constant
        imm = kind << 4 | instruction & 15
        exponent = (0x3FC if imm >> 6 & 1 else 0x400) | imm >> 4 & 3
        registers.set_d(wide_to, (imm >> 7) << 63 | exponent << 52 | (imm & 15) << 48)
        return bool(double)
    if not double:
        if kind == 7 and bit7:  # VCVT.F64.F32
            packed = registers.s(narrow_from).to_bytes(4, "little")
            registers.set_d(wide_to, to_bits(struct.unpack("<f", packed)[0]))
            return True
        return False
    bits = registers.d(wide_from) if kind != 8 else 0
    value = to_float(bits)
    if kind == 0:
        registers.set_d(wide_to, bits & ~SIGN if bit7 else bits)
    elif kind == 1:
        registers.set_d(wide_to, to_bits(math.sqrt(value)) if bit7 else bits ^ SIGN)
    elif kind in (4, 5):
        left = to_float(registers.d(wide_to))
        right = value if kind == 4 else 0.0
        registers.set_float_flags(6 if left == right else 8 if left < right else 2 if left > right else 3)
    elif kind == 7 and bit7:
        registers.set_s(narrow_to, single(value))
    elif kind == 8:
        whole = registers.s(narrow_from)
        registers.set_d(wide_to, to_bits(float(whole - (1 << 32) if bit7 and whole >> 31 else whole)))
    elif kind in (12, 13) and bit7:
        least, most = (0, (1 << 32) - 1) if kind == 12 else (-(1 << 31), (1 << 31) - 1)
        whole = 0 if math.isnan(value) else int(min(max(value, least), most))
        registers.set_s(narrow_to, whole & 0xFFFFFFFF)
    else:
        return False
    return True
