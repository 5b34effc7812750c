"""Kernels on panels (kernel_panel.h): four rows column by column, so that all that a step needs lies side by side.

They compute what the kernels of kernels.py do, in the layouts that `Layout` names, with the same parameters or a table
more. What they do not cover (8-bit weights, a width that is no multiple of four) is left to those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .base import (
    KEY_TILE,
    PANEL,
    Epilogue,
    Kernel,
    Layout,
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


ROWS = Parameter("left", "int")  # of a panel that are wanted, at least; see kernel_panel.h


def kept_columns(weight: NDArray[np.float32]) -> int | None:
    """Where the rows of weights [k, n] begin that are the identity, if there are such; n is less than k."""
    depth, width = weight.shape
    starts = range(depth - width + 1) if width < depth else range(0)
    return next((at for at in starts if np.array_equal(weight[at : at + width], np.eye(width))), None)


def adds(epilogue: Epilogue, out: Layout) -> bool:
    """Whether an epilogue adds a panel that lies as the result does."""
    return epilogue.steps in ADD and epilogue.layouts[0].panel and out.panel


@dataclass(frozen=True)
class PanelLinearKernel(LinearKernel):
    """LinearKernel with tiles of four rows and four columns; x is a panel.

    `bias` holds what a tile's 16 sums start from, as they lie (`starts`). Without one the result is added to a panel,
    or its sums start from columns of x, from `kept` on: the weights of those are the identity, and are not there.
    Then the weights of what comes before these columns lie before those of what comes behind.
    within: a GELU's table has all that its sums can be.
    """

    kept: int | None = None
    within: bool = False

    @property
    def title(self) -> str:
        kept, within = "" if self.kept is None else "kept_", "_within" if self.within else ""
        return f"panel_{kept}{super().title}{within}"

    @property
    def gelu(self) -> bool:
        return self.epilogue.steps == GELU

    @property
    def by_rows(self) -> bool:
        """Whether a tile of the result lies row by row."""
        return bool(self.out.tile) and not self.epilogue.steps

    def macs(self, keys: int) -> int:
        return self.rows * self.steps * self.width

    @property
    def steps(self) -> int:
        """Of the reduction."""
        return self.depth - (0 if self.kept is None else self.width)

    def starts(self, bias: NDArray[np.float32]) -> NDArray[np.float32]:
        """The constant for a bias [width]."""
        tiles = np.broadcast_to(bias.reshape(-1, 1, PANEL), (self.width // PANEL, PANEL, PANEL))
        return tiles if self.by_rows else tiles.transpose(0, 2, 1)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        *front, out = super().parameters
        return (*front, *((Parameter("table", "in"),) if self.gelu else ()), out, ROWS)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        x, w, rows, tiles = b.address(p["x"], 0), b.address(p["w"], 0), p["left"], self.width // PANEL
        start = b.address(p["bias"], 0) if self.bias else None
        together = self.out.panel and not self.by_rows
        if adds(self.epilogue, self.out):
            residual, out = b.address(p["x0"], 0), b.address(p["out"], 0)
            if self.bias:
                b.do("sp_k_panel_add", start, residual, w, x, self.depth, tiles, rows, out)
            else:
                b.do("sp_k_panel_columns", residual, TILE, w, x, self.depth, tiles, rows, out)
        elif self.kept is not None:
            self.from_kept(b, p, self.kept)
        elif together and self.gelu:
            out, table = b.address(p["out"], 0), b.address(p["table"], 0)
            b.do("sp_k_panel_columns_gelu", start, w, x, self.depth, tiles, rows, table, int(self.within), out)
        elif together and not self.epilogue.steps:
            b.do("sp_k_panel_columns", start, TILE, w, x, self.depth, tiles, rows, b.address(p["out"], 0))
        else:
            with b.loop(tiles, "tile") as t:
                weights, start = b.address(p["w"], t * (self.depth * PANEL)), b.address(p["bias"], t * TILE)
                if self.by_rows:
                    out = b.address(p["out"], t * self.out.tile)
                    b.do("sp_k_panel_rows", start, x, weights, self.depth, rows, out)
                else:
                    self.any_epilogue(b, p, t, start, weights)

    def packed(self, weight: NDArray[Any]) -> NDArray[Any]:
        if self.kept is None:
            return super().packed(weight)
        parts = [part for part in np.split(weight, [self.kept]) if len(part)]
        return np.concatenate([super(PanelLinearKernel, self).packed(part).ravel() for part in parts])

    def from_kept(self, b: Builder, p: dict[str, Any], kept: int) -> None:
        """Start from columns of x: what comes before these is added, and then what comes behind."""
        tiles, left, out = self.width // PANEL, p["left"], p["out"]
        for first, x_at, steps in ((0, 0, kept), (kept, kept + self.width, self.steps - kept)):
            if steps == 0:
                continue
            x, w = b.address(p["x"], x_at * PANEL), first * self.width
            if not self.by_rows:
                start = b.address(out, 0) if first else b.address(p["x"], kept * PANEL)
                b.do("sp_k_panel_columns", start, TILE, b.address(p["w"], w), x, steps, tiles, left, b.address(out, 0))
                continue
            with b.loop(tiles, "tile") as t:
                weights, to = b.address(p["w"], w + t * (steps * PANEL)), b.address(out, t * self.out.tile)
                if first:
                    b.do("sp_k_panel_rows", to, x, weights, steps, left, to)
                else:
                    b.do("sp_k_panel_keep", b.address(p["x"], kept * PANEL + t * TILE), x, weights, steps, left, to)

    def any_epilogue(self, b: Builder, p: dict[str, Any], t: Any, start: Any, weights: Any) -> None:
        sums = b.array(TILE, "sums")
        at = b.address(sums, 0)
        b.do("sp_k_panel_columns", start, TILE, weights, b.address(p["x"], 0), self.depth, 1, p["left"], at)
        if self.gelu:
            b.do("sp_k_panel_gelus", at, PANEL, b.address(p["table"], 0), int(self.within), p["left"])
        for c in range(PANEL):
            for r in range(PANEL):
                column, value = t * PANEL + c, sums[c * PANEL + r]
                if not self.gelu:
                    value = self.epilogue.apply(b, p, value, r, column)
                b.store(p["out"], self.out.at(r, column), value)


def started(
    kernel: PanelLinearKernel, weight: NDArray[Any], bias: NDArray[np.float32] | None
) -> tuple[PanelLinearKernel, NDArray[Any], NDArray[np.float32] | None]:
    """The kernel that is best for these weights and this bias, and both as it reads them; see PanelLinearKernel."""
    if bias is None and not adds(kernel.epilogue, kernel.out):
        plain = not kernel.epilogue.steps and (kernel.out.panel or kernel.by_rows)
        kept = kept_columns(weight) if plain else None
        if kept is not None:
            return replace(kernel, kept=kept), np.delete(weight, slice(kept, kept + kernel.width), axis=0), None
        bias = np.zeros(kernel.width, np.float32)
    return replace(kernel, bias=bias is not None), weight, None if bias is None else kernel.starts(bias)


def row_sums(kernel: LinearKernel, b: Builder, p: dict[str, Any], t: Any, product: str) -> Any:
    """The sums of tile t of one row, by a function of kernel_panel.h."""
    sums = b.array(COLUMNS, "sums")
    for c in range(COLUMNS):
        b.store(sums, c, kernel.start(b, p, t * COLUMNS + c))
    weights, apart = b.address(p["w"], t * (kernel.depth * COLUMNS)), PANEL if kernel.x.panel else 1
    b.do(product, b.address(p["x"], 0), apart, weights, kernel.depth, b.address(sums, 0))
    return sums


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
            sums = row_sums(self, b, p, t, "sp_k_row")
            for c in range(0, COLUMNS if self.gelu else 0, PANEL):
                b.do("sp_k_panel_gelu", b.address(sums, c), b.address(p["table"], 0))
            for c in range(COLUMNS):
                column, value = t * COLUMNS + c, sums[c]
                if not self.gelu:
                    value = self.epilogue.apply(b, p, value, 0, column)
                b.store(p["out"], self.out.at(0, column), value)


@dataclass(frozen=True)
class PanelNormKernel(NormKernel):
    """NormKernel without scale and shift, from a panel to a panel; centred: of rows whose means are zero."""

    centred: bool = False

    @property
    def title(self) -> str:
        return f"panel_{'centred_' if self.centred else ''}{super().title}"

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        numbers = b.number(1 / self.width), b.number(self.epsilon)
        function = "sp_k_panel_norm_centred" if self.centred else "sp_k_panel_norm"
        b.do(function, b.address(p["x"], 0), self.width, *numbers, b.address(p["out"], 0))


@dataclass(frozen=True)
class PanelKernel(Kernel):
    """A block of rows to a panel in the same place, by way of `scratch`; centred: less the mean of each."""

    width: int
    centred: bool = False

    @property
    def title(self) -> str:
        return f"panel_{'centred_' if self.centred else ''}{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("scratch", "both"), Parameter("out", "both"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        scratch, out = b.address(p["scratch"], 0), b.address(p["out"], 0)
        b.do("sp_k_panel_copy", out, self.rows * self.width, scratch)
        b.do("sp_k_panel_turn", scratch, self.width, out)
        if self.centred:
            b.do("sp_k_panel_centre", out, self.width, b.number(1 / self.width))


@dataclass(frozen=True)
class PanelScoresKernel(ScoresKernel):
    """scores[j][r] = q[r] . k[j]: the scores of a key for all rows lie side by side."""

    @property
    def title(self) -> str:
        return f"panel_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("zeros", "in"), *super().parameters, Parameter("keys", "int"), ROWS)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        q, zeros, last = b.address(p["q"], 0), b.address(p["zeros"], 0), p["tiles"] - 1

        def columns(t: Any, tiles: Any) -> None:
            scores, keys = b.address(p["scores"], t * TILE), b.address(p["k"], t * (self.k.size * KEY_TILE))
            b.do("sp_k_panel_columns", zeros, 0, keys, q, self.depth, tiles, p["left"], scores)

        if self.k.size == self.depth:
            columns(0, last)
        else:
            with b.loop(last, "tile") as t:
                columns(t, 1)
        keys, scores = b.address(p["k"], last * (self.k.size * KEY_TILE)), b.address(p["scores"], last * TILE)
        b.do("sp_k_panel_rows", zeros, keys, q, self.depth, p["keys"] - last * KEY_TILE, scores)


@dataclass(frozen=True)
class PanelSoftmaxKernel(SoftmaxKernel):
    """scores[j][r] = 2^((scores[j][r] - max) / 8), times a number near one; those after `keys` become 0 in the end.

    within: no score is beyond 2^16, or its negative, so that nothing need be taken from them: 2^(scores[j][r] / 1024).
    """

    within: bool = False

    @property
    def title(self) -> str:
        return f"panel_{super().title}{'_within' if self.within else ''}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        scores, *rest = super().parameters
        return (scores, Parameter("table", "in"), *rest, ROWS)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        scores, keys = p["scores"], p["keys"]
        total = b.array(PANEL, "total")
        spare = p["tiles"] * KEY_TILE - keys
        at, table, totals = b.address(scores, 0), b.address(p["table"], 0), b.address(total, 0)
        if self.within:
            b.do("sp_k_panel_exp2_within", at, keys, table, p["left"], totals)
        else:
            top = b.array(PANEL, "top")
            with b.loop(spare, "spare") as j:
                for r in range(PANEL):
                    b.store(scores, (keys + j) * PANEL + r, scores[r])
            b.do("sp_k_panel_top", at, p["tiles"], b.address(top, 0))
            b.do("sp_k_panel_exp2", at, keys, b.address(top, 0), table, p["left"], totals)
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
        return (Parameter("zeros", "in"), *super().parameters, ROWS)

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        weights, zeros = b.address(p["weights"], 0), b.address(p["zeros"], 0)
        with b.loop(self.depth // PANEL, "tile") as t:
            values, out = b.address(p["v"], t * self.v.tile), b.address(p["out"], t * TILE)
            b.do("sp_k_panel_columns", zeros, 0, values, weights, p["keys"], 1, p["left"], out)
            b.do("sp_k_panel_scale", out, b.address(p["inverse"], 0))


@dataclass(frozen=True)
class HeadsPanelKernel(Kernel):
    """The queries of four heads, one after the other, as a panel."""

    width: int

    @property
    def title(self) -> str:
        return f"heads_panel_{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("x", "in"), Parameter("out", "out"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        b.do("sp_k_panel_turn", b.address(p["x"], 0), self.width, b.address(p["out"], 0))


@dataclass(frozen=True)
class HeadsMixKernel(MixKernel):
    """MixKernel of one row and four heads that read the same values, a panel: `rows` are heads, `out` their results."""

    @property
    def title(self) -> str:
        return f"heads_{super().title}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        *rest, _ = super().parameters
        return (*rest, Parameter("tiles", "int"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        sums = b.array(2 * PANEL, "sums")
        weights, stride = b.address(p["weights"], 0), PANEL * self.v.size
        with b.loop(self.depth // 2, "pair") as pair:
            values = b.address(p["v"], pair * (2 * PANEL))
            b.do("sp_k_panel_mixtures", weights, values, p["tiles"], stride, b.address(sums, 0))
            for head in range(PANEL):
                inverse = b.local(p["inverse"][head], "inverse")
                for c in range(2):
                    b.store(p["out"], head * self.depth + pair * 2 + c, sums[2 * head + c] * inverse)
