"""Kernels that go by the tables of a graph (kernel_graph.h); products and what follows them are those of kernels/."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..kernels.base import Kernel, Layout, Parameter
from .layers import CELLS

if TYPE_CHECKING:
    from ..kernels.builder import Builder

_CORNERS = 8
_TABLE = (Parameter("sources", "in", "int32"), Parameter("counts", "in", "int32"))


def _column(layout: Layout) -> int:
    """Floats from a column to the next, in one row."""
    return int(layout.at(0, 1)) if layout.size > 1 else 1


@dataclass(frozen=True)
class GraphKernel(Kernel):
    """One that kernel_graph.h computes."""

    width: int

    def base(self, b: Builder, p: dict[str, Any], *names: str) -> list[Any]:
        return [b.address(p[name], 0) for name in names]


@dataclass(frozen=True)
class SplineKernel(GraphKernel):
    """out[r][cell * width + f]: the mean over the edges of target first + r of x[source, f] times the cell's share."""

    cap: int
    radius: float
    out: Layout

    @property
    def title(self) -> str:
        return f"spline_{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        points, x, out = Parameter("points", "in", "float64"), Parameter("x", "in"), Parameter("out", "out")
        return (*_TABLE, points, x, out, Parameter("first", "int"), Parameter("left", "int"))

    def macs(self, keys: int) -> int:
        return self.rows * self.cap * _CORNERS * self.width

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        inputs = self.base(b, p, "sources", "counts", "points", "x")
        for r in range(self.rows):
            at = b.address(p["out"], self.out.at(r, 0))
            sizes = (self.cap, self.width, b.number(1 / self.radius), _column(self.out))
            b.do("sp_k_spline", *inputs, p["first"] + r, p["left"], *sizes, at)


@dataclass(frozen=True)
class EdgesKernel(GraphKernel):
    """out[r] = relu(y[source of edge first + r] + (its place less the centre's) @ w)."""

    cap: int
    out: Layout

    @property
    def title(self) -> str:
        return f"edges_{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        floats = tuple(Parameter(name, "in") for name in ("points", "centres", "y", "w"))
        return (*_TABLE, *floats, Parameter("out", "out"), Parameter("centre", "int"), Parameter("first", "int"))

    def macs(self, keys: int) -> int:
        return self.rows * 3 * self.width

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        inputs = self.base(b, p, "sources", "counts", "points", "centres", "y", "w")
        for r in range(self.rows):
            at = b.address(p["out"], self.out.at(r, 0))
            sizes = (self.cap, self.width, _column(self.out))
            b.do("sp_k_edge", *inputs, p["centre"], p["first"] + r, *sizes, at)


@dataclass(frozen=True)
class BesideKernel(GraphKernel):
    """out[r] = x[first + r], and its point."""

    out: Layout

    @property
    def title(self) -> str:
        return f"beside_{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        inputs = (Parameter("x", "in"), Parameter("points", "in"))
        return (*inputs, Parameter("out", "out"), Parameter("first", "int"), Parameter("left", "int"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        for r in range(self.rows):
            at = b.address(p["out"], self.out.at(r, 0))
            given = (*self.base(b, p, "x", "points"), p["first"] + r, p["left"])
            b.do("sp_k_beside", *given, self.width, _column(self.out), at)


@dataclass(frozen=True)
class ChosenKernel(GraphKernel):
    """out = the rows of x that were sampled, all of them."""

    @property
    def title(self) -> str:
        return f"chosen_{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        inputs = (Parameter("x", "in"), Parameter("chosen", "in", "int32"))
        return (*inputs, Parameter("out", "out"), Parameter("left", "int"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        b.do("sp_k_chosen", *self.base(b, p, "x", "chosen"), p["left"], self.width, b.address(p["out"], 0))


@dataclass(frozen=True)
class LowestKernel(GraphKernel):
    """out = what maxima of that many rows begin with."""

    @property
    def title(self) -> str:
        return f"lowest_{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("out", "out"), Parameter("there", "int"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        b.do("sp_k_lowest", p["there"], self.width, b.address(p["out"], 0))


@dataclass(frozen=True)
class LargestKernel(GraphKernel):
    """out = the larger of out and each of the rows of x from the first up to `left` of them."""

    x: Layout

    @property
    def title(self) -> str:
        return f"largest_{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("x", "in"), Parameter("out", "both"), Parameter("left", "int"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        for r in range(self.rows):
            with b.when(p["left"] > r), b.loop(self.width, "column") as c:
                b.store(p["out"], c, b.maximum(p["out"][c], p["x"][self.x.at(r, c)]))


def spline_width(features: int) -> int:
    """Columns of a SplineKernel's result."""
    return CELLS * features
