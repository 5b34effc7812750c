"""Linears on 8-bit weights and activations for cores that multiply and add sixteen bytes at once.

The products are C of the runtime (kernel_int8_vector.h: portable, and by the vector instructions of a Cortex-M55).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .base import PANEL, Parameter
from .int8 import Int8LinearKernel, QuantiseKernel
from .panel import adds

if TYPE_CHECKING:
    from .builder import Builder

BLOCK = 16  # steps of the reduction in a vector


def padded(depth: int) -> int:
    """Steps of a reduction, filled up to whole blocks."""
    return -(-depth // BLOCK) * BLOCK


def pack_blocks(values: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights [k, n] as the kernel reads them: a row per output, filled up with zeros."""
    depth, width = values.shape
    packed = np.zeros((width, padded(depth)), np.int8)
    packed[:, :depth] = values.T
    return packed


@dataclass(frozen=True)
class VectorQuantiseKernel(QuantiseKernel):
    """QuantiseKernel to int8 [k / 16][rows][16], k filled up with zeros."""

    @property
    def title(self) -> str:
        return f"vector_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        *front, _ = super().parameters
        return (*front, Parameter("out", "out", "int8"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        if self.x.panel and self.rows == PANEL:
            b.do("sp_k_quantise_panel", b.address(p["x"], 0), p["inverse"][0], self.depth, b.address(p["out"], 0))
        else:
            inverse = b.local(p["inverse"][0], "inverse")
            for r in range(self.rows):
                with b.loop(self.depth, "k") as k:
                    value = b.integer_call("int16", "sp_k_quantise", p["x"][self.x.at(r, k)] * inverse)
                    b.store(p["out"], self.at(r, k), b.cast(value, "int8"))
        for r in range(self.rows):
            for k in range(self.depth, padded(self.depth)):
                b.store(p["out"], self.at(r, k), b.cast(b.number(0), "int8"))

    def at(self, row: int, k: Any) -> Any:
        return (k // BLOCK * self.rows + row) * BLOCK + k % BLOCK


@dataclass(frozen=True)
class Int8VectorLinearKernel(Int8LinearKernel):
    """Int8LinearKernel on x int8 [k / 16][rows][16] and w int8 [c][k]."""

    @property
    def title(self) -> str:
        return f"vector_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        _, *rest = super().parameters
        return (Parameter("x", "in", "int8"), *rest)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        depth = padded(self.depth)
        alone = self.out.panel and (self.gelu or not self.epilogue.steps)
        added = self.rows == PANEL and adds(self.epilogue, self.out)
        with b.loop(self.width, "column") as column:
            values = p["out"] if alone else b.array(self.rows, "values")
            at = b.address(values, column * PANEL if alone else 0)
            bias = p["bias"][column] if self.bias else b.number(0)
            weights = b.address(p["w"], column * depth)
            x = b.address(p["x"], 0)
            b.do("sp_k_dot16", x, weights, depth // BLOCK, self.rows, p["scale"][column], bias, at)
            if self.gelu:
                b.do("sp_k_panel_gelu", at, b.address(p["table"], 0))
            if added:
                to = column * PANEL
                b.do("sp_k_panel_add_column", b.address(p["x0"], to), at, b.address(p["out"], to))
            for r in range(0 if alone or added else self.rows):
                value = self.epilogue.apply(b, p, values[r], r, column)
                b.store(p["out"], self.out.at(r, column), value)
