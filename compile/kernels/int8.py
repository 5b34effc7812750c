"""Kernels of reduced precision: weights in 8 bits, and linears that are 8 bits on both sides.

The integer products are C of the runtime (kernel_int8.h: portable, and by the DSP instructions of a Cortex-M);
TensorIR holds what is around them. Both give the same integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .base import Epilogue, Kernel, Layout, LinearKernel, Parameter
from .panel import COLUMNS as ROW_COLUMNS
from .panel import GELU, row_sums

if TYPE_CHECKING:
    from .builder import Builder

GROUP = 4  # steps of the reduction that are stored together
_ORDER = [0, 2, 1, 3]  # within a group: sxtb16 takes every second byte


def groups(depth: int) -> int:
    """Groups of a reduction, the last one filled up with zeros."""
    return -(-depth // GROUP)


def pack(values: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights [k, n] as the kernel reads them: a row per output, in groups, bytes in the order 0, 2, 1, 3."""
    depth, width = values.shape
    padded = np.zeros((groups(depth) * GROUP, width), np.int8)
    padded[:depth] = values
    return np.ascontiguousarray(padded.T.reshape(width, -1, GROUP)[:, :, _ORDER])


@dataclass(frozen=True)
class WeightLinearKernel(LinearKernel):
    """A linear on 8-bit weights: out = epilogue(bias[c] + scale[c] * sum_k x[r, k] w[c / tile][k][c % tile])."""

    @property
    def title(self) -> str:
        return f"int8w_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        x, _, *rest = super().parameters
        return (x, Parameter("w", "in", "int8"), Parameter("scale", "in"), *rest)

    def start(self, b: Builder, p: dict[str, Any], column: Any) -> Any:
        return b.number(0)

    def weight(self, b: Builder, p: dict[str, Any], at: Any) -> Any:
        return b.cast(p["w"][at], "float32")

    def finish(self, b: Builder, p: dict[str, Any], total: Any, column: Any) -> Any:
        return _scaled(b, p, total, column, self.bias)


@dataclass(frozen=True)
class RowWeightLinearKernel(WeightLinearKernel):
    """WeightLinearKernel of one row with tiles of eight columns."""

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(self.width // ROW_COLUMNS, "tile") as t:
            sums = row_sums(self, b, p, t, "sp_k_row_bytes")
            for c in range(ROW_COLUMNS):
                column = t * ROW_COLUMNS + c
                value = self.epilogue.apply(b, p, self.finish(b, p, sums[c], column), 0, column)
                b.store(p["out"], self.out.at(0, column), value)


@dataclass(frozen=True)
class QuantiseKernel(Kernel):
    """out = x * inverse, rounded to the nearest (ties to even) and limited to 8 bits, as int16 [k / 4][rows][4]."""

    depth: int
    x: Layout

    @property
    def title(self) -> str:
        return f"quantise_{self.rows}x{self.depth}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("x", "in"), Parameter("inverse", "in"), Parameter("out", "out", "int16"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        inverse = b.local(p["inverse"][0], "inverse")
        whole, rest = divmod(self.depth, GROUP)
        with b.loop(whole, "k") as k:
            for r in range(self.rows):
                for i in range(GROUP):
                    self.one(b, p, inverse, k, r, i)
        for r in range(self.rows):
            for i in range(GROUP if rest else 0):
                if i < rest:
                    self.one(b, p, inverse, whole, r, i)
                else:
                    b.store(p["out"], (whole * self.rows + r) * GROUP + i, b.cast(b.number(0), "int16"))

    def one(self, b: Builder, p: dict[str, Any], inverse: Any, k: Any, r: int, i: int) -> None:
        x = p["x"][self.x.at(r, k * GROUP + i)] * inverse
        value = b.integer_call("int16", "sp_k_quantise", x)
        b.store(p["out"], (k * self.rows + r) * GROUP + i, value)


@dataclass(frozen=True)
class Int8LinearKernel(Kernel):
    """out[r, c] = epilogue(bias[c] + scale[c] * sum_k x[r, k] w[k, c]) with x and w in 8 bits, the sum an int32."""

    depth: int
    width: int
    bias: bool
    out: Layout
    epilogue: Epilogue

    @property
    def title(self) -> str:
        return f"int8_linear{self.epilogue.title}_{self.rows}x{self.depth}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        bias = (Parameter("bias", "in"),) if self.bias else ()
        return (
            Parameter("x", "in", "int16"),
            Parameter("w", "in", "int8"),
            Parameter("scale", "in"),
            *bias,
            *self.epilogue.parameters,
            *((Parameter("table", "in"),) if self.gelu else ()),
            Parameter("out", "out"),
        )

    @property
    def gelu(self) -> bool:
        """Whether a column's GELU is one for a panel."""
        return self.epilogue.steps == GELU and self.out.panel

    def macs(self, keys: int) -> int:
        return self.rows * self.depth * self.width

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        count = groups(self.depth)
        with b.loop(self.width, "column") as column:
            sums = b.array(self.rows, "sums", "int32")
            weights = b.address(p["w"], column * (count * GROUP))
            b.do("sp_k_dot", b.address(p["x"], 0), weights, count, self.rows, b.address(sums, 0))
            for r in range(self.rows):
                value = _scaled(b, p, b.cast(sums[r], "float32"), column, self.bias)
                if not self.gelu:
                    value = self.epilogue.apply(b, p, value, r, column)
                b.store(p["out"], self.out.at(r, column), value)
            if self.gelu:
                b.do("sp_k_panel_gelu", b.address(p["out"], self.out.at(0, column)), b.address(p["table"], 0))


def _scaled(b: Builder, p: dict[str, Any], total: Any, column: Any, bias: bool) -> Any:
    scaled = b.fma(total, p["scale"][column], p["bias"][column]) if bias else total * p["scale"][column]
    return b.local(scaled)
