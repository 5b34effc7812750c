"""Kernels for cores without an FPU (kernel_fixed.h): products on integers with one exponent a block.

They compute what the kernels of base.py do, in the layouts that `Layout` names. What they do not cover is left to
those, whose floats a library computes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .base import PANEL, Epilogue, Kernel, Layout, NormKernel, Parameter
from .int8 import GROUP, Int8LinearKernel, QuantiseKernel, groups, pack
from .panel import GELU

if TYPE_CHECKING:
    from .builder import Builder

BITS = 23  # of a number beside its sign
HALF = 12  # bits of a number's low half
POWERS, NORMALS = 64, 384


def shift_of(steps: int) -> int:
    """sp_k_fixed_shift: the bits that a sum of so many products loses."""
    return max(20, 16 + (steps - 1).bit_length())


def power_of(largest: NDArray[np.float32]) -> NDArray[np.int32]:
    """The power of two of which a number is a multiple by 23 bits."""
    powers = np.ceil(np.log2(np.where(largest > 0, largest, 1).astype(np.float64))).astype(np.int32)
    return np.subtract(powers, BITS, dtype=np.int32)


def in_halves(weight: NDArray[np.float32], power: NDArray[np.int32] | int) -> NDArray[np.int32]:
    """weight = (2^12 high + low) * 2^power, high and low 16 bits each of an int32, the low one below."""
    integers = np.rint(weight.astype(np.float64) / 2.0**power).astype(np.int64)
    high = (integers + (1 << HALF - 1)) >> HALF
    return (high << 16 | (integers - (high << HALF)) & 0xFFFF).astype(np.uint32).view(np.int32)


def fixed(weight: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """A weight [..., k, n] as integers in halves, and the power of two of each output [..., n]."""
    powers = power_of(np.abs(weight).max(axis=-2))
    return in_halves(weight, powers[..., None, :]), powers


def powers_table() -> NDArray[np.int32]:
    """Entry i: 2^(-i / 64) in 2^-23. int32 [64]."""
    return np.rint(2.0 ** (BITS - np.arange(POWERS) / POWERS)).astype(np.int32)


def normals_table() -> NDArray[np.int32]:
    """Entry i: the standard normal distribution function at (i + f) / 64 as the parabola through f = 0, 1/2, 1: its
    coefficients in 2^-31, 2^-23 and 2^-23. int32 [384, 3]."""
    at = np.array([[0.5 * math.erfc(-(i + f) / 64 / math.sqrt(2)) for f in (0, 0.5, 1)] for i in range(NORMALS)])
    first, middle, last = at.T
    square = 2 * (first + last) - 4 * middle
    slope = last - first - square
    table: NDArray[np.float64] = np.rint(np.stack([first * 2.0**31, slope * 2.0**23, square * 2.0**23], axis=1))
    table[:, 0] = np.minimum(table[:, 0] + 192, 2.0**31 - 512)  # what is cut off from the rest, on average
    return table.astype(np.int32)


@dataclass(frozen=True)
class FixedKernel(Kernel):
    """Floats to integers with one exponent: `parts` parts of `size` numbers that are `step` apart, a part `stride`
    from the one before. tiled: of each part 16 numbers for each tile of keys that is there, in place of `size`."""

    size: int
    parts: int = 1
    stride: int = 0
    step: int = 1
    tiled: bool = False

    @property
    def title(self) -> str:
        return f"fixed_{self.parts}x{self.size}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        tiles = (Parameter("tiles", "int"),) if self.tiled else ()
        return (
            Parameter("x", "in"),
            *tiles,
            Parameter("fixed", "out", "int32"),
            Parameter("exponent", "out", "int32"),
        )

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        size = p["tiles"] * self.size if self.tiled else self.size
        out, exponent = b.address(p["fixed"], 0), b.address(p["exponent"], 0)
        b.do("sp_k_fixed", b.address(p["x"], 0), self.parts, self.stride, self.step, size, out, exponent)


@dataclass(frozen=True)
class FixedLinearKernel(Kernel):
    """LinearKernel on integers: four rows column by column, or one row four columns at a time (the last filled up)."""

    depth: int
    width: int
    out: Layout
    epilogue: Epilogue

    @property
    def title(self) -> str:
        return f"fixed_linear{self.epilogue.title}_{self.rows}x{self.depth}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("x", "in", "int32"),
            Parameter("exponent", "in", "int32"),
            Parameter("w", "in", "int32"),
            Parameter("units", "in", "int32"),
            Parameter("bias", "in"),
            *self.epilogue.parameters,
            *((Parameter("table", "in", "int32"),) if self.gelu else ()),
            Parameter("out", "out"),
        )

    @property
    def gelu(self) -> bool:
        return self.epilogue.steps == GELU

    def macs(self, keys: int) -> int:
        return self.rows * self.depth * self.width

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        x, exponent = b.address(p["x"], 0), p["exponent"][0]
        sums = b.array(PANEL, "sums")
        end = (self.depth, shift_of(self.depth), b.address(sums, 0))
        if self.rows == PANEL:
            with b.loop(self.width, "column") as c:
                one = b.address(p["w"], c * self.depth), p["units"][c], p["bias"][c]
                b.do("sp_k_fixed_column", x, exponent, *one, *end)
                for r in range(PANEL):
                    self.write(b, p, sums[r], r, c)
            return
        whole, rest = divmod(self.width, PANEL)

        def tile(t: Any, columns: int) -> None:
            places = (b.address(p[n], t * PANEL) for n in ("units", "bias"))
            b.do("sp_k_fixed_row", x, exponent, b.address(p["w"], t * (PANEL * self.depth)), *places, *end)
            for c in range(columns):
                self.write(b, p, sums[c], 0, t * PANEL + c)

        with b.loop(whole, "tile") as t:
            tile(t, PANEL)
        if rest:
            tile(whole, rest)

    def write(self, b: Builder, p: dict[str, Any], value: Any, row: int, column: Any) -> None:
        if self.gelu:
            value = b.call("sp_k_fixed_gelu", value, b.address(p["table"], 0))
        else:
            value = self.epilogue.apply(b, p, value, row, column)
        b.store(p["out"], self.out.at(row, column), value)


def pack_bytes(values: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights [k, n] as sp_k_fixed_dot8 reads them: as `pack` has it, and 128 more, without a sign."""
    return pack(values) ^ np.int8(-128)


@dataclass(frozen=True)
class FixedQuantiseKernel(QuantiseKernel):
    """QuantiseKernel to int32 [k / 4][rows][2], two numbers in each."""

    @property
    def title(self) -> str:
        return f"fixed_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        *front, _ = super().parameters
        return (*front, Parameter("out", "out", "int32"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        inverse = b.local(p["inverse"][0], "inverse")
        step = PANEL if self.x.panel else 1
        whole, rest = divmod(self.depth, GROUP)

        def group(k: Any, r: Any, numbers: int) -> None:
            x, out = b.address(p["x"], self.x.at(r, k * GROUP)), b.address(p["out"], (k * self.rows + r) * 2)
            b.do("sp_k_fixed_quantise", x, step, numbers, inverse, out)

        with b.loop(whole, "k") as k, b.loop(self.rows, "r") as r:
            group(k, r, GROUP)
        if rest:
            with b.loop(self.rows, "r") as r:
                group(whole, r, rest)


@dataclass(frozen=True)
class FixedInt8LinearKernel(Int8LinearKernel):
    """Int8LinearKernel on what FixedQuantiseKernel writes, and on `pack_bytes`."""

    @property
    def title(self) -> str:
        return f"fixed_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        _, *rest = super().parameters
        table = [Parameter("table", "in", "int32") if p.name == "table" else p for p in rest]
        return (Parameter("x", "in", "int32"), *table)

    @property
    def gelu(self) -> bool:
        return self.epilogue.steps == GELU

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        count = groups(self.depth)
        with b.loop(self.width, "column") as c:
            sums = b.array(self.rows, "sums", "int32")
            weights = b.address(p["w"], c * (count * GROUP))
            b.do("sp_k_fixed_dot8", b.address(p["x"], 0), weights, count, self.rows, b.address(sums, 0))
            bias = p["bias"][c] if self.bias else b.number(0)
            for r in range(self.rows):
                value = b.local(b.call("sp_k_fixed_scaled", sums[r], p["scale"][c], bias))
                if self.gelu:
                    value = b.call("sp_k_fixed_gelu", value, b.address(p["table"], 0))
                else:
                    value = self.epilogue.apply(b, p, value, r, c)
                b.store(p["out"], self.out.at(r, c), value)


@dataclass(frozen=True)
class FixedNormKernel(NormKernel):
    """NormKernel without scale and shift, for rows or a panel."""

    @property
    def title(self) -> str:
        return f"fixed_{super().title}"

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        steps = [(1, PANEL) if layout.panel else (layout.size, 1) for layout in (self.x, self.out)]
        x, out = b.address(p["x"], 0), b.address(p["out"], 0)
        numbers = b.number(1 / self.width), b.number(self.epsilon)
        b.do("sp_k_fixed_norm", x, *steps[0], self.rows, self.width, *numbers, out, *steps[1])


@dataclass(frozen=True)
class FixedAttentionKernel(Kernel):
    """A head's attention of a panel over keys in panels and values in tiles, which are integers; k_stride: from a
    panel of keys to the next, v_stride: from a tile of values."""

    depth: int
    value_depth: int
    k_stride: int
    v_stride: int
    out: Layout

    @property
    def title(self) -> str:
        return f"fixed_attention_{self.rows}x{self.depth}x{self.value_depth}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("q", "in"),
            Parameter("k", "in", "int32"),
            Parameter("k_exponent", "in", "int32"),
            Parameter("v", "in", "int32"),
            Parameter("v_exponent", "in", "int32"),
            Parameter("scratch", "both", "int32"),
            Parameter("powers", "in", "int32"),
            Parameter("keys", "int"),
            Parameter("tiles", "int"),
            Parameter("out", "out"),
        )

    def macs(self, keys: int) -> int:
        return self.rows * (self.depth + self.value_depth) * keys

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        at = {name: b.address(p[name], 0) for name in ("q", "k", "v", "scratch", "powers", "out")}
        keys = at["k"], self.k_stride, p["k_exponent"][0]
        values = at["v"], self.v_stride, self.value_depth, p["v_exponent"][0]
        rest = at["scratch"], at["powers"], p["keys"], p["tiles"], at["out"]
        b.do("sp_k_fixed_attention", at["q"], self.depth, *keys, *values, *rest)


@dataclass(frozen=True)
class FixedSharedKernel(Kernel):
    """One row's attention by four heads that share their keys and values, which are panels of floats."""

    depth: int
    value_depth: int

    @property
    def title(self) -> str:
        return f"fixed_shared_{self.depth}x{self.value_depth}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("q", "in"),
            Parameter("k", "in"),
            Parameter("v", "in"),
            Parameter("scratch", "both", "int32"),
            Parameter("powers", "in", "int32"),
            Parameter("keys", "int"),
            Parameter("tiles", "int"),
            Parameter("out", "out"),
        )

    def macs(self, keys: int) -> int:
        return PANEL * (self.depth + self.value_depth) * keys

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        at = {name: b.address(p[name], 0) for name in ("q", "k", "v", "scratch", "powers", "out")}
        rest = at["scratch"], at["powers"], p["keys"], p["tiles"], at["out"]
        b.do("sp_k_fixed_shared", at["q"], self.depth, at["k"], at["v"], self.value_depth, *rest)
