"""Kernels for cores with wide vectors: tiles of four rows and eight columns by kernel_vector.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .base import LinearKernel, MixKernel

if TYPE_CHECKING:
    from .builder import Builder

ROWS, COLUMNS = 4, 8


@dataclass(frozen=True)
class VectorLinearKernel(LinearKernel):
    """LinearKernel with a tile of ROWS x COLUMNS."""

    @property
    def title(self) -> str:
        return f"vector_{super().title}"

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(self.width // COLUMNS, "tile") as t:
            sums = b.array(ROWS * COLUMNS, "sums")
            with b.loop(COLUMNS, "c") as c:
                for r in range(ROWS):
                    b.store(sums, r * COLUMNS + c, self.start(b, p, t * COLUMNS + c))
            weights = b.address(p["w"], t * (self.depth * COLUMNS))
            x = b.address(p["x"], 0)
            b.do("sp_k_tile_4x8", x, self.x.size, weights, COLUMNS, self.depth, b.address(sums, 0))
            for r in range(ROWS):
                with b.loop(COLUMNS, "c") as c:
                    column = t * COLUMNS + c
                    value = self.epilogue.apply(b, p, sums[r * COLUMNS + c], r, column)
                    b.store(p["out"], self.out.at(r, column), value)


@dataclass(frozen=True)
class VectorMixKernel(MixKernel):
    """MixKernel with a tile of ROWS x COLUMNS."""

    @property
    def title(self) -> str:
        return f"vector_{super().title}"

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(self.depth // COLUMNS, "tile") as t:
            sums = b.array(ROWS * COLUMNS, "sums")
            with b.loop(ROWS * COLUMNS, "i") as i:
                b.store(sums, i, b.number(0))
            weights, values = b.address(p["weights"], 0), b.address(p["v"], t * COLUMNS)
            b.do("sp_k_tile_4x8", weights, self.row_scores, values, self.v.size, p["keys"], b.address(sums, 0))
            for r in range(ROWS):
                inverse = b.local(p["inverse"][r], "inverse")
                with b.loop(COLUMNS, "c") as c:
                    at = self.out.at(r, t * COLUMNS + c)
                    b.store(p["out"], at, sums[r * COLUMNS + c] * inverse)
