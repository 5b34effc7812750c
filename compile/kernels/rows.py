"""Kernels on whole matrices (kernel_rows.h), for cores with vectors and a cache: all rows that are present at a time.

They compute what those of base.py do, on as many threads as there are, with `rows` as an argument where `given`;
weights lie in panels of PANEL columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .base import Kernel, Layout, LinearKernel, MapKernel, NormKernel, Parameter, Step

if TYPE_CHECKING:
    from .builder import Builder

PANEL = 32  # columns
TILE_ROWS = 12  # of a tile, at most
WORKERS = 16  # threads that share the heads of an attention, at most
GELU = (Step("gelu", (("t", 0),)),)
ADD = ((Step("add", (("t", 0), ("x", 0))),), (Step("add", (("x", 0), ("t", 0))),))
ROWS = Parameter("rows", "int")
NOTHING = 0  # a pointer to nothing


def panels(width: int) -> int:
    """Panels of so many columns."""
    return -(-width // PANEL)


def pack_panels(weight: NDArray[Any]) -> NDArray[Any]:
    """Weights [k, n] as the kernels read them: [panels][k][PANEL], the last filled up with zeros."""
    depth, width = weight.shape
    packed = np.zeros((depth, panels(width) * PANEL), weight.dtype)
    packed[:, :width] = weight
    return np.ascontiguousarray(packed.reshape(depth, -1, PANEL).transpose(1, 0, 2))


def pack_pairs(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights [k, n] of 8 bits as RowsInt8LinearKernel reads them: [panels][k / 2][PANEL][2], filled up with zeros."""
    packed = pack_panels(np.pad(weight, ((0, len(weight) % 2), (0, 0))))
    return np.ascontiguousarray(packed.reshape(len(packed), -1, 2, PANEL).transpose(0, 1, 3, 2))


def pad_panels(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """A number for each column, filled up with zeros to whole panels."""
    return np.pad(vector, (0, -len(vector) % PANEL))


def fits(steps: tuple[Step, ...]) -> bool:
    """Whether a linear of rows does these steps itself."""
    return steps in ((), GELU, *ADD)


@dataclass(frozen=True)
class RowsLinearKernel(LinearKernel):
    """LinearKernel on panels, with an epilogue that `fits`. scaled: weights of 8 bits, with a scale for each column."""

    given: bool = False
    scaled: bool = False

    @property
    def title(self) -> str:
        return f"{'int8w_' if self.scaled else ''}rows_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        weights = (Parameter("w", "in", "int8"), Parameter("scale", "in")) if self.scaled else (Parameter("w", "in"),)
        bias = (Parameter("bias", "in"),) if self.bias else ()
        rows = (ROWS,) if self.given else ()
        return (Parameter("x", "in"), *weights, *bias, *self.epilogue.parameters, Parameter("out", "out"), *rows)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        rows = p["rows"] if self.given else self.rows
        front = (b.address(p["x"], 0), self.x_stride, rows, b.address(p["w"], 0))
        scale = (b.address(p["scale"], 0),) if self.scaled else ()
        bias = b.address(p["bias"], 0) if self.bias else NOTHING
        plus, stride = NOTHING, 0
        if self.epilogue.steps in ADD:
            plus, stride = b.address(p["x0"], 0), self.epilogue.layouts[0].size
        end = (bias, plus, stride, int(self.epilogue.steps == GELU), b.address(p["out"], 0), self.out.size)
        b.do(self.function, *front, self.steps, self.width, *scale, *end)

    @property
    def function(self) -> str:
        return "sp_k_rows_product_bytes" if self.scaled else "sp_k_rows_product"

    @property
    def steps(self) -> int:
        """Of the reduction, as the weights are stored."""
        return self.depth

    @property
    def x_stride(self) -> int:
        return self.x.size


@dataclass(frozen=True)
class RowsInt8LinearKernel(RowsLinearKernel):
    """The same on x of 8 bits, as RowsQuantiseKernel leaves it, and weights by `pack_pairs`."""

    @property
    def title(self) -> str:
        return super().title.replace("int8w_", "int8_")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        _, *rest = super().parameters
        return (Parameter("x", "in", "int16"), *rest)

    @property
    def function(self) -> str:
        return "sp_k_rows_product_int8"

    @property
    def steps(self) -> int:
        return self.depth + self.depth % 2

    @property
    def x_stride(self) -> int:
        return self.steps


@dataclass(frozen=True)
class RowsQuantiseKernel(Kernel):
    """x * inverse, rounded to the nearest (ties to even) and limited to 8 bits: int16 rows of an even length."""

    depth: int
    x: Layout
    given: bool = False

    @property
    def title(self) -> str:
        return f"rows_quantise_{self.rows}x{self.depth}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        front = (Parameter("x", "in"), Parameter("inverse", "in"), Parameter("out", "out", "int16"))
        return (*front, *((ROWS,) if self.given else ()))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        rows = p["rows"] if self.given else self.rows
        x, out = b.address(p["x"], 0), b.address(p["out"], 0)
        b.do("sp_k_rows_quantise", x, self.x.size, rows, self.depth, p["inverse"][0], out, self.depth + self.depth % 2)


@dataclass(frozen=True)
class RowsNormKernel(NormKernel):
    """NormKernel by vectors; of one row, or of as many as it is told."""

    @property
    def title(self) -> str:
        return f"rows_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (*super().parameters, *((ROWS,) if self.rows > 1 else ()))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        rows = p["rows"] if self.rows > 1 else 1
        affine = [b.address(p[name], 0) if self.affine else NOTHING for name in ("scale", "shift")]
        numbers = b.number(1 / self.width), b.number(self.epsilon)
        x, out = b.address(p["x"], 0), b.address(p["out"], 0)
        b.do("sp_k_rows_norm", x, self.x.size, rows, self.width, *numbers, *affine, out, self.out.size)


@dataclass(frozen=True)
class RowsMapKernel(MapKernel):
    """MapKernel of the rows that are present."""

    @property
    def title(self) -> str:
        return f"rows_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (*super().parameters, ROWS)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(p["rows"], "row") as row, b.loop(self.width, "column") as column:
            value = self.epilogue.apply(b, p, p["x"][self.x.at(row, column)], row, column)
            b.store(p["out"], self.out.at(row, column), value)


@dataclass(frozen=True)
class RowsAttentionKernel(Kernel):
    """Attention of all heads. given: a query for each key, else for `rows` rows. steps: floats from a head to the next,
    of q, k, v and out. most_keys: that its scratch is for, of up to WORKERS threads."""

    depth: int
    head_width: int  # of what a head writes
    q: Layout
    k: Layout
    v: Layout
    out: Layout
    heads: int
    steps: tuple[int, int, int, int]
    most_keys: int
    given: bool = False

    @property
    def title(self) -> str:
        return f"rows_attention_{self.heads}x{self.rows}x{self.depth}x{self.head_width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        matrices = (*(Parameter(name, "in") for name in "qkv"), Parameter("scratch", "both"), Parameter("out", "out"))
        return (*matrices, Parameter("keys", "int"))

    @property
    def width(self) -> int:
        """Of what it writes."""
        return self.heads * self.head_width

    @property
    def workers(self) -> int:
        """Threads that have room to compute it."""
        return min(self.heads, WORKERS)

    @property
    def scratch(self) -> int:
        """Floats of a thread's scratch."""
        wide = panels(self.most_keys) * PANEL
        return wide * self.depth + panels(self.head_width) * PANEL * self.most_keys + TILE_ROWS * wide

    def macs(self, keys: int) -> int:
        return self.heads * self.rows * (self.depth + self.head_width) * keys

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        matrices = [
            item
            for name, step in zip("qkv", self.steps, strict=False)
            for item in (b.address(p[name], 0), getattr(self, name).size, step)
        ]
        rows = p["keys"] if self.given else self.rows
        sizes = (rows, p["keys"], self.depth, self.head_width, self.heads)
        scratch, out = (b.address(p["scratch"], 0), self.scratch, self.workers), b.address(p["out"], 0)
        b.do("sp_k_rows_attention", *matrices, *sizes, *scratch, out, self.out.size, self.steps[3])
