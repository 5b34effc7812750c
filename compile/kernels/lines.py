"""The kernels of a detector's grid: each works on one line of cells.

A line lies cell by cell, the features of each side by side. Sizes of sums are arguments: few functions serve all
convolutions, so that a device's flash holds weights and not code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import ELEMENTWISE, Kernel, Parameter
from .vector import COLUMNS, ROWS

if TYPE_CHECKING:
    from ..graph.nodes import Array
    from .builder import Builder

ARITHMETIC = frozenset(("add", "divide", "multiply", "negative", "subtract"))  # which TVM writes where they are read


def _ints(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, "int") for name in names)


@dataclass(frozen=True)
class SumsKernel(Kernel):
    """out[i * out_step + c] += sum over k < depth of x[i * x_step + k] w[c / tile][k][c % tile].

    For `blocks` times `rows` cells i and `rest` more, and `tiles` times `tile` features c.
    """

    tile: int
    unroll: int

    @property
    def title(self) -> str:
        return f"sums_{self.rows}x{self.tile}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        sizes = _ints("blocks", "rest", "x_step", "depth", "tiles", "out_step")
        return (Parameter("x", "in"), Parameter("w", "in"), *sizes, Parameter("out", "both"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(p["tiles"], "tile") as t:
            with b.loop(p["blocks"], "block") as block:
                self.sums(b, p, t, block * self.rows, self.rows)
            with b.loop(p["rest"], "cell") as cell:
                self.sums(b, p, t, p["blocks"] * self.rows + cell, 1)

    def sums(self, b: Builder, p: dict[str, Any], t: Any, first: Any, rows: int) -> None:
        """A tile of sums in registers."""
        tile = range(self.tile)
        sums = b.array(rows * self.tile, "sums")
        x = [(first + r) * p["x_step"] for r in range(rows)]
        out = [(first + r) * p["out_step"] + t * self.tile for r in range(rows)]
        w = t * p["depth"] * self.tile
        for r in range(rows):
            for c in tile:
                b.store(sums, r * self.tile + c, p["out"][out[r] + c])

        def step(k: Any) -> None:
            weights = [b.local(p["w"][w + k * self.tile + c], "weight") for c in tile]
            for r in range(rows):
                value = b.local(p["x"][x[r] + k], "value")
                for c in tile:
                    at = r * self.tile + c
                    b.store(sums, at, b.fma(value, weights[c], sums[at]))

        b.unrolled(p["depth"], self.unroll, step)
        for r in range(rows):
            for c in tile:
                b.store(p["out"], out[r] + c, sums[r * self.tile + c])


@dataclass(frozen=True)
class VectorSumsKernel(SumsKernel):
    """SumsKernel with tiles of ROWS x COLUMNS by kernel_vector.h."""

    @property
    def title(self) -> str:
        return f"vector_{super().title}"

    def sums(self, b: Builder, p: dict[str, Any], t: Any, first: Any, rows: int) -> None:
        if rows != ROWS or self.tile != COLUMNS:
            super().sums(b, p, t, first, rows)
            return
        sums = b.array(ROWS * COLUMNS, "sums")
        out = [(first + r) * p["out_step"] + t * COLUMNS for r in range(ROWS)]
        for r in range(ROWS):
            with b.loop(COLUMNS, "c") as c:
                b.store(sums, r * COLUMNS + c, p["out"][out[r] + c])
        x, w = b.address(p["x"], first * p["x_step"]), b.address(p["w"], t * p["depth"] * COLUMNS)
        b.do("sp_k_tile_4x8", x, p["x_step"], w, COLUMNS, p["depth"], b.address(sums, 0))
        for r in range(ROWS):
            with b.loop(COLUMNS, "c") as c:
                b.store(p["out"], out[r] + c, sums[r * COLUMNS + c])


@dataclass(frozen=True)
class BiasKernel(Kernel):
    """out[i * out_step + c] = bias[c]: what sums begin with."""

    @property
    def title(self) -> str:
        return "bias"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("bias", "in"), *_ints("cells", "width", "out_step"), Parameter("out", "out"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(p["cells"], "cell") as i, b.loop(p["width"], "c") as c:
            b.store(p["out"], i * p["out_step"] + c, p["bias"][c])


@dataclass(frozen=True)
class AfterKernel(Kernel):
    """out[i * out_step + c] = the operations on it, one after the other."""

    operations: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"after_{'_'.join(self.operations)}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (*_ints("cells", "width", "out_step"), Parameter("out", "both"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(p["cells"], "cell") as i, b.loop(p["width"], "c") as c:
            value = b.local(p["out"][i * p["out_step"] + c])
            for operation in self.operations:
                value = b.local(ELEMENTWISE[operation](b, value))
            b.store(p["out"], i * p["out_step"] + c, value)


@dataclass(frozen=True)
class PoolKernel(Kernel):
    """out[i, c]: the largest of two cells of a line, and with `more` of what out has; beyond `inside` cells is 0.

    steps: from one cell to the next, of x and of out.
    """

    cells: int
    width: int
    inside: int
    steps: tuple[int, int]
    more: bool

    @property
    def title(self) -> str:
        return f"pool_{'more_' if self.more else ''}{self.cells}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("x", "in"), Parameter("out", "both" if self.more else "out"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        whole = min(self.cells, self.inside // 2)

        def write(i: Any, c: Any, candidates: list[Any]) -> None:
            at = i * self.steps[1] + c
            for one in candidates[1:] + ([p["out"][at]] if self.more else []):
                candidates = [b.local(b.maximum(candidates[0], one))]
            b.store(p["out"], at, candidates[0])

        with b.loop(whole, "cell") as i, b.loop(self.width, "c") as c:
            write(i, c, [p["x"][(2 * i + side) * self.steps[0] + c] for side in (0, 1)])
        for i in range(whole, self.cells):
            with b.loop(self.width, "c") as c:
                inside = [p["x"][2 * i * self.steps[0] + c]] if 2 * i < self.inside else []
                write(i, c, [*inside, b.number(0)])


@dataclass(frozen=True)
class EachKernel(Kernel):
    """out[i, c] = the term, for `cells` cells of `width` features.

    term: an operation's name and its arguments, which are terms, ("x", i) for input i, ("v", i) for constant vector i,
    ("c", x) for the number x. steps: from one cell to the next, of each input and, last, of out.
    """

    cells: int
    width: int
    term: tuple[Any, ...]
    steps: tuple[int, ...]
    vectors: int

    @property
    def title(self) -> str:
        return f"each_{self.term[0]}_{self.cells}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        inputs = [Parameter(f"x{i}", "in") for i in range(len(self.steps) - 1)]
        vectors = [Parameter(f"v{i}", "in") for i in range(self.vectors)]
        return (*inputs, *vectors, Parameter("out", "out"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        def value(term: tuple[Any, ...], i: Any, c: Any) -> Any:
            kind, *arguments = term
            if kind == "x":
                return p[f"x{arguments[0]}"][i * self.steps[arguments[0]] + c]
            if kind == "v":
                return p[f"v{arguments[0]}"][c]
            if kind == "c":
                return b.number(arguments[0])
            result = ELEMENTWISE[kind](b, *(value(a, i, c) for a in arguments))
            return result if kind in ARITHMETIC else b.local(result)

        with b.loop(self.cells, "cell") as i, b.loop(self.width, "c") as c:
            b.store(p["out"], i * self.steps[-1] + c, value(self.term, i, c))


def packed(weight: Array, tile: int) -> tuple[Array, Array]:
    """A matrix [depth, width] as SumsKernel takes it: its whole tiles, and the columns that are left as one more."""
    whole = weight.shape[1] // tile * tile
    tiles = weight[:, :whole].reshape(len(weight), -1, tile).transpose(1, 0, 2)
    return np.ascontiguousarray(tiles).reshape(-1), np.ascontiguousarray(weight[:, whole:]).reshape(-1)
