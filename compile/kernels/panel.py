"""Kernels on panels (kernel_panel.h): four rows column by column, so that all that a step needs lies side by side.

They compute what the kernels of kernels.py do, in the layouts that `Layout` names, with the same parameters or a table
more. What they do not cover (8-bit weights, a width that is no multiple of four) is left to those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .base import (
    KEY_TILE,
    PANEL,
    Kernel,
    LinearKernel,
    MixKernel,
    NormKernel,
    Parameter,
    ScoresKernel,
    SoftmaxKernel,
    Step,
)

if TYPE_CHECKING:
    from .builder import Builder

TILE = PANEL * PANEL
COLUMNS = 8  # of a tile of one row
GELU = (Step("gelu", (("t", 0),)),)
ADD = ((Step("add", (("t", 0), ("x", 0))),), (Step("add", (("x", 0), ("t", 0))),))


@dataclass(frozen=True)
class PanelLinearKernel(LinearKernel):
    """LinearKernel with tiles of four rows and four columns; x is a panel. Without a bias it is given zeros."""

    @property
    def title(self) -> str:
        return f"panel_{super().title}"

    @property
    def gelu(self) -> bool:
        return self.epilogue.steps == GELU

    @property
    def adds(self) -> bool:
        """Whether the epilogue adds a panel that lies as the result does."""
        return self.epilogue.steps in ADD and self.epilogue.layouts[0].panel and self.out.panel

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        *front, out = super().parameters
        return (*front, *((Parameter("table", "in"),) if self.gelu else ()), out)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        x = b.address(p["x"], 0)
        with b.loop(self.width // PANEL, "tile") as t:
            bias, weights = b.address(p["bias"], t * PANEL), b.address(p["w"], t * (self.depth * PANEL))
            if self.adds:
                residual, out = b.address(p["x0"], t * TILE), b.address(p["out"], t * TILE)
                b.do("sp_k_panel_add", bias, residual, weights, x, self.depth, out)
            elif self.out.tile and not self.epilogue.steps:
                b.do("sp_k_panel_rows", bias, x, weights, self.depth, b.address(p["out"], t * self.out.tile))
            elif self.out.panel and (self.gelu or not self.epilogue.steps):
                b.do("sp_k_panel_columns", bias, weights, x, self.depth, b.address(p["out"], t * TILE))
                for c in range(PANEL if self.gelu else 0):
                    b.do("sp_k_panel_gelu", b.address(p["out"], t * TILE + c * PANEL), b.address(p["table"], 0))
            else:
                self.any_epilogue(b, p, t, bias, weights)

    def any_epilogue(self, b: Builder, p: dict[str, Any], t: Any, bias: Any, weights: Any) -> None:
        sums = b.array(TILE, "sums")
        at = b.address(sums, 0)
        b.do("sp_k_panel_columns", bias, weights, b.address(p["x"], 0), self.depth, at)
        for c in range(PANEL if self.gelu else 0):
            b.do("sp_k_panel_gelu", b.address(sums, c * PANEL), b.address(p["table"], 0))
        for c in range(PANEL):
            for r in range(PANEL):
                column, value = t * PANEL + c, sums[c * PANEL + r]
                if not self.gelu:
                    value = self.epilogue.apply(b, p, value, r, column)
                b.store(p["out"], self.out.at(r, column), value)


@dataclass(frozen=True)
class RowLinearKernel(LinearKernel):
    """LinearKernel of one row with tiles of eight columns."""

    @property
    def title(self) -> str:
        return f"row_{super().title}"

    @property
    def gelu(self) -> bool:
        return self.epilogue.steps == GELU

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        *front, out = super().parameters
        return (*front, *((Parameter("table", "in"),) if self.gelu else ()), out)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(self.width // COLUMNS, "tile") as t:
            sums = b.array(COLUMNS, "sums")
            for c in range(COLUMNS):
                b.store(sums, c, self.start(b, p, t * COLUMNS + c))
            weights = b.address(p["w"], t * (self.depth * COLUMNS))
            b.do("sp_k_row", b.address(p["x"], 0), weights, self.depth, b.address(sums, 0))
            for c in range(0, COLUMNS if self.gelu else 0, PANEL):
                b.do("sp_k_panel_gelu", b.address(sums, c), b.address(p["table"], 0))
            for c in range(COLUMNS):
                column, value = t * COLUMNS + c, sums[c]
                if not self.gelu:
                    value = self.epilogue.apply(b, p, value, 0, column)
                b.store(p["out"], self.out.at(0, column), value)


@dataclass(frozen=True)
class PanelNormKernel(NormKernel):
    """NormKernel without scale and shift, from a panel to a panel."""

    @property
    def title(self) -> str:
        return f"panel_{super().title}"

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        numbers = b.number(1 / self.width), b.number(self.epsilon)
        b.do("sp_k_panel_norm", b.address(p["x"], 0), self.width, *numbers, b.address(p["out"], 0))


@dataclass(frozen=True)
class PanelKernel(Kernel):
    """A block of rows to a panel in the same place, by way of `scratch`."""

    width: int

    @property
    def title(self) -> str:
        return f"panel_{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("scratch", "both"), Parameter("out", "both"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        scratch, out = b.address(p["scratch"], 0), b.address(p["out"], 0)
        b.do("memcpy", scratch, out, self.rows * self.width * 4)
        b.do("sp_k_panel_turn", scratch, self.width, out)


@dataclass(frozen=True)
class PanelScoresKernel(ScoresKernel):
    """scores[j][r] = q[r] . k[j]: the scores of a key for all rows lie side by side."""

    @property
    def title(self) -> str:
        return f"panel_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("zeros", "in"), *super().parameters)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        q, zeros = b.address(p["q"], 0), b.address(p["zeros"], 0)
        with b.loop(p["tiles"], "tile") as t:
            keys = b.address(p["k"], t * (self.k.size * KEY_TILE))
            b.do("sp_k_panel_rows", zeros, keys, q, self.depth, b.address(p["scores"], t * TILE))


@dataclass(frozen=True)
class PanelSoftmaxKernel(SoftmaxKernel):
    """scores[j][r] = 2^((scores[j][r] - max) / 8); the scores after `keys` become 0 in the end."""

    @property
    def title(self) -> str:
        return f"panel_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        scores, *rest = super().parameters
        return (scores, Parameter("table", "in"), *rest)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        scores, keys = p["scores"], p["keys"]
        top, total = b.array(PANEL, "top"), b.array(PANEL, "total")
        spare = p["tiles"] * KEY_TILE - keys
        with b.loop(spare, "spare") as j:
            for r in range(PANEL):
                b.store(scores, (keys + j) * PANEL + r, scores[r])
        at, table = b.address(scores, 0), b.address(p["table"], 0)
        b.do("sp_k_panel_top", at, p["tiles"], b.address(top, 0))
        b.do("sp_k_panel_exp2", at, keys, b.address(top, 0), table, b.address(total, 0))
        with b.loop(spare, "spare") as j:
            for r in range(PANEL):
                b.store(scores, (keys + j) * PANEL + r, b.number(0))
        for r in range(PANEL):
            b.store(p["inverse"], r, b.number(1) / total[r])


@dataclass(frozen=True)
class PanelMixKernel(MixKernel):
    """MixKernel from scores by key and values in tiles of four columns, to a panel."""

    @property
    def title(self) -> str:
        return f"panel_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        *rest, _ = super().parameters
        return (Parameter("zeros", "in"), *rest, Parameter("tiles", "int"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        weights, zeros = b.address(p["weights"], 0), b.address(p["zeros"], 0)
        with b.loop(self.depth // PANEL, "tile") as t:
            values, out = b.address(p["v"], t * self.v.tile), b.address(p["out"], t * TILE)
            b.do("sp_k_panel_rows", zeros, values, weights, p["tiles"] * KEY_TILE, out)
            for c in range(PANEL):
                for r in range(PANEL):
                    at = t * TILE + c * PANEL + r
                    b.store(p["out"], at, p["out"][at] * p["inverse"][r])
