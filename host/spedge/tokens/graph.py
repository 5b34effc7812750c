"""Graphs on tokens or events: neighbours within a radius, and farthest-point sampling. Computed by the C library.

Points are (column, row, time): patches or pixels, and time in units of the model's time scale. The published GNN works
in float64 and its PCN in float32; what borders on the radius depends on it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spedge import _graph
from spedge.base.errors import UsageError
from spedge.base.parameters import real_number, whole_number

#: Which points in reach stay when there are more than the cap; of equals the lowest number.
RULES = ("nearest", "lowest")
_MOST_POINTS = 2**32 - 1


class Neighbours(NamedTuple):
    """sources: uint32 [m, cap], whose row i starts with the numbers of centre i's neighbours. counts: uint32 [m]."""

    sources: NDArray[np.uint32]
    counts: NDArray[np.uint32]

    def edges(self) -> NDArray[np.int64]:
        """int64 [2, edges]: number of the neighbour, number of the centre; centre by centre."""
        kept = np.arange(self.sources.shape[1]) < self.counts[:, None]
        targets = np.repeat(np.arange(len(self.counts)), self.counts)
        return np.stack([self.sources[kept].astype(np.int64), targets])


def neighbours(
    points: NDArray[Any],
    radius: float,
    cap: int,
    *,
    centres: ArrayLike | None = None,
    loops: bool = True,
    rule: str = "nearest",
) -> Neighbours:
    """For each centre the points strictly nearer than `radius`, at most `cap` of them.

    points: float32 or float64 [n, 3]; distances are computed in that type. centres: numbers of points, [m]; None: all.
    loops: whether a centre is its own neighbour. rule: one of RULES: "nearest" keeps the nearest, nearest first;
    "lowest" those of the lowest numbers, as the published code does on a GPU. Bounded memory: 4 bytes a point.
    Raises UsageError for what cannot be.
    """
    given = _points(points)
    if rule not in RULES:
        raise UsageError(f"there is no rule {rule!r}; use one of {', '.join(RULES)}")
    chosen = None
    if centres is not None:
        chosen = np.ascontiguousarray(centres, np.uint32)
        if chosen.ndim != 1 or (chosen >= len(given)).any():
            raise UsageError(f"centres must be numbers of the {len(given)} points")
    reach = real_number("radius", radius, 0, math.inf, with_high=False)
    most = whole_number("cap", cap, 1, 65535)
    return Neighbours(*_graph.neighbours(given, chosen, reach, most, RULES.index(rule), loops))


def farthest_points(points: NDArray[Any], ratio: float, start: int = 0) -> NDArray[np.int64]:
    """Farthest-point sampling: numbers of ceil(ratio * n) points, int64.

    The first is `start`, each further one that which is farthest from all before it; of equals the lowest number.
    Raises UsageError for what cannot be.
    """
    given = _points(points)
    count = math.ceil(real_number("ratio", ratio, 0, 1) * len(given))
    first = whole_number("start", start, 0, max(len(given) - 1, 0))
    return _graph.sample(given, first, count).astype(np.int64)


def _points(points: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(points)
    if array.dtype not in (np.float32, np.float64) or array.ndim != 2 or array.shape[1] != 3:
        raise UsageError(f"points are float32 or float64 [n, 3], not {array.dtype} {list(array.shape)}")
    if len(array) > _MOST_POINTS:
        raise UsageError(f"{len(array)} points are too many for a graph")
    return array
