"""Positions of a sample's tokens or events to the graphs that GNN and PCN go by. Numpy and the C library, for loaders.

Which neighbours survive a cap: ours are the nearest. The authors' are arbitrary on a CPU and those of the lowest
numbers on a GPU, where the GNN's second graph looks for one more and removes the node itself afterwards;
`rule="lowest"` does as that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.model.parts import Gnn, Pcn
from spedge.tokens.graph import Neighbours, farthest_points, neighbours


class EdgeArrays(NamedTuple):
    """source, target: int64 [E], ordered by target. relative: float32 [E, 3], source less target over the radius.

    nodes: number of targets; sources: of what `source` numbers.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    relative: NDArray[np.float32]
    nodes: int
    sources: int


class GnnArrays(NamedTuple):
    """One sample: near edges of all nodes, the sampled nodes int64 [m], and far edges among these. kept: float64
    [m, 3], their positions."""

    near: EdgeArrays
    sampled: NDArray[np.int64]
    far: EdgeArrays
    kept: NDArray[np.float64]


class PcnArrays(NamedTuple):
    """One sample: edges of each stage to its centres. kept: float32 [m, 3], positions of the last centres."""

    stages: tuple[EdgeArrays, ...]
    kept: NDArray[np.float32]


def gnn_arrays(
    positions: NDArray[Any], config: Gnn, start: int = 0, rule: str = "nearest", near_rule: str | None = None
) -> GnnArrays:
    """The graphs of one sample. positions: [n, 3], column, row, scaled time; taken as float64. start: first sampled.

    near_rule: of the first graph, which the authors make on the CPU; the same as `rule` without it.
    """
    points = np.ascontiguousarray(positions, np.float64)
    near = neighbours(points, config.node_radius, config.neighbours, rule=near_rule or rule)
    sampled = farthest_points(points, config.fps_ratio, start)
    kept = points[sampled]
    far = _without_loops(kept, config, rule)
    return GnnArrays(
        edge_arrays(points, points, near.edges(), config.node_radius),
        sampled,
        edge_arrays(kept, kept, far, config.pool_radius),
        kept,
    )


def _without_loops(points: NDArray[np.float64], config: Gnn, rule: str) -> NDArray[np.int64]:
    if rule == "lowest":
        edges = neighbours(points, config.pool_radius, config.neighbours + 1, rule=rule).edges()
        return edges[:, edges[0] != edges[1]]
    return neighbours(points, config.pool_radius, config.neighbours, loops=False, rule=rule).edges()


def pcn_arrays(positions: NDArray[Any], config: Pcn, starts: tuple[int, ...], rule: str = "nearest") -> PcnArrays:
    """The graphs of one sample. positions: [n, 3], taken as float32. starts: first sampled point of each stage."""
    points = np.ascontiguousarray(positions, np.float32)
    stages = []
    for radius, ratio, start in zip(config.radii, config.fps_ratios, starts, strict=True):
        centres = farthest_points(points, ratio, start)
        found: Neighbours = neighbours(points, radius, config.neighbours, centres=centres, rule=rule)
        stages.append(edge_arrays(points, points[centres], found.edges(), radius))
        points = points[centres]
    return PcnArrays(tuple(stages), points)


def edge_arrays(points: NDArray[Any], centres: NDArray[Any], edges: NDArray[np.int64], radius: float) -> EdgeArrays:
    """edges: int64 [2, E], number of the point, number of the centre."""
    source, target = edges
    relative = ((points[source] - centres[target]) / radius).astype(np.float32)
    return EdgeArrays(source, target, relative, len(centres), len(points))
