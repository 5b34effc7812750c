"""Positions of tokens or events to the graphs that GNN and PCN go by: for the loaders of training, and for the host.

Which neighbours survive a cap: ours are the nearest. The authors' are arbitrary on a CPU and those of the lowest
numbers on a GPU, where the GNN's second graph looks for one more and removes the node itself afterwards; the rule
"lowest" of a model's description does as that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.model.parts import Gnn, Model, Pcn
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
    """One sample: edges of each stage to its centres. kept: float32 [m, 3], positions of the last centres.

    centres: of each stage, int64 [m], numbers among its points.
    """

    stages: tuple[EdgeArrays, ...]
    kept: NDArray[np.float32]
    centres: tuple[NDArray[np.int64], ...]


def graph_arrays(positions: NDArray[np.float64], config: Model, starts: tuple[int, ...] = ()) -> GnnArrays | PcnArrays:
    """The graphs of one sample, by the model's rule. starts: number of the first point of each sampling, 0 without.

    positions: float64 [n, 3], column, row, scaled time.
    """
    if isinstance(config, Gnn):
        return gnn_arrays(positions, config, starts[0] if starts else 0)
    assert isinstance(config, Pcn)
    return pcn_arrays(positions, config, starts or (0,) * len(config.radii))


def gnn_arrays(positions: NDArray[Any], config: Gnn, start: int = 0, near_rule: str = "nearest") -> GnnArrays:
    """The graphs of one sample. positions: [n, 3], column, row, scaled time; taken as float64. start: first sampled.

    near_rule: of the first graph, which the authors make on the CPU.
    """
    points = np.ascontiguousarray(positions, np.float64)
    near = neighbours(points, config.node_radius, config.neighbours, rule=near_rule)
    sampled = farthest_points(points, config.fps_ratio, start)
    kept = points[sampled]
    return GnnArrays(
        edge_arrays(points, points, near.edges(), config.node_radius),
        sampled,
        edge_arrays(kept, kept, _without_loops(kept, config), config.pool_radius),
        kept,
    )


def _without_loops(points: NDArray[np.float64], config: Gnn) -> NDArray[np.int64]:
    if config.rule == "lowest":
        edges = neighbours(points, config.pool_radius, config.neighbours + 1, rule="lowest").edges()
        return edges[:, edges[0] != edges[1]]
    return neighbours(points, config.pool_radius, config.neighbours, loops=False, rule=config.rule).edges()


def pcn_arrays(positions: NDArray[Any], config: Pcn, starts: tuple[int, ...]) -> PcnArrays:
    """The graphs of one sample. positions: [n, 3], taken as float32. starts: first sampled point of each stage."""
    points = np.ascontiguousarray(positions, np.float32)
    stages, chosen = [], []
    for radius, ratio, start in zip(config.radii, config.fps_ratios, starts, strict=True):
        centres = farthest_points(points, ratio, start)
        found: Neighbours = neighbours(points, radius, config.neighbours, centres=centres, rule=config.rule)
        stages.append(edge_arrays(points, points[centres], found.edges(), radius))
        chosen.append(centres)
        points = points[centres]
    return PcnArrays(tuple(stages), points, tuple(chosen))


def edge_arrays(points: NDArray[Any], centres: NDArray[Any], edges: NDArray[np.int64], radius: float) -> EdgeArrays:
    """edges: int64 [2, E], number of the point, number of the centre."""
    source, target = edges
    relative = ((points[source] - centres[target]) / radius).astype(np.float32)
    return EdgeArrays(source, target, relative, len(centres), len(points))


# ---------------------------------------------------------------- of a fixed size


class Room(NamedTuple):
    """What a graph of fixed size has room for: points before (sources) and after (targets), and edges of a target
    (columns)."""

    name: str
    sources: int
    targets: int
    columns: int


def rooms(config: Model, points: int) -> list[Room]:
    """Of each graph of a GNN or PCN on so many points at most, in order; of a transformer none."""
    if isinstance(config, Gnn):
        sampled = math.ceil(config.fps_ratio * points)
        far = config.neighbours + (config.rule == "lowest")  # see the module's docstring
        return [Room("near", points, points, config.neighbours), Room("far", sampled, sampled, far)]
    found = []
    if isinstance(config, Pcn):
        for number, ratio in enumerate(config.fps_ratios, 1):
            centres = math.ceil(ratio * points)
            found.append(Room(f"stage{number}", points, centres, config.neighbours))
            points = centres
    return found


def graph_inputs(graph: GnnArrays | PcnArrays, config: Model, points: int) -> dict[str, NDArray[Any]]:
    """What a bundle's graphs take of a sample's, padded to the room of so many points: a batch of one.

    Of each of `rooms` NAME: int32 [1, targets, columns], numbers of a target's sources; NAME_count: int32 [1, targets],
    how many; NAME_relative: float32 [1, targets, columns, 3]. Of a GNN sampled: int32 [1, m]; of a PCN position:
    float32 [1, m, 3]. kept: int32 [1], how many points are left after the last sampling.
    """
    found: dict[str, NDArray[Any]] = {}
    edges = graph.stages if isinstance(graph, PcnArrays) else (graph.near, graph.far)
    wanted = rooms(config, points)
    for room, some in zip(wanted, edges, strict=True):
        found |= _table(room, some)
    if isinstance(graph, PcnArrays):
        found["position"] = padded(graph.kept, wanted[-1].targets)
    else:
        found["sampled"] = padded(graph.sampled.astype(np.int32), wanted[-1].targets)
    return found | {"kept": np.array([edges[-1].nodes], np.int32)}


def _table(room: Room, edges: EdgeArrays) -> dict[str, NDArray[Any]]:
    counts = np.bincount(edges.target, minlength=room.targets).astype(np.int32)
    place = np.arange(len(edges.target)) - (np.cumsum(counts) - counts)[edges.target]
    sources = np.zeros((1, room.targets, room.columns), np.int32)
    relative = np.zeros((1, room.targets, room.columns, 3), np.float32)
    sources[0, edges.target, place] = edges.source
    relative[0, edges.target, place] = edges.relative
    return {room.name: sources, f"{room.name}_count": counts[None], f"{room.name}_relative": relative}


def padded(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """A batch of one, [1, count, …], of at most `count` rows."""
    whole = np.zeros((1, count, *rows.shape[1:]), rows.dtype)
    whole[0, : len(rows)] = rows
    return whole


# ---------------------------------------------------------------- kept and compared


def graph_columns(config: Model) -> tuple[str, ...]:
    """Names of what `graph_numbers` gives, for a model."""
    if isinstance(config, Gnn):
        return "near", "sampled", "far"
    stages = range(1, len(config.radii) + 1) if isinstance(config, Pcn) else ()
    return tuple(name for number in stages for name in (f"centres{number}", f"edges{number}"))


def graph_numbers(graph: GnnArrays | PcnArrays) -> Mapping[str, NDArray[np.int32]]:
    """A sample's graphs as whole numbers, in a bundle's vectors: edges [2, E], source and target; samples [m]."""

    def pairs() -> Iterator[tuple[str, NDArray[np.int64]]]:
        if isinstance(graph, GnnArrays):
            yield from (("near", _both(graph.near)), ("sampled", graph.sampled), ("far", _both(graph.far)))
            return
        for number, (edges, centres) in enumerate(zip(graph.stages, graph.centres, strict=True), 1):
            yield f"centres{number}", centres
            yield f"edges{number}", _both(edges)

    return {name: numbers.astype(np.int32) for name, numbers in pairs()}


def edges_of(graph: GnnArrays | PcnArrays | None) -> int | None:
    """How many there are in all graphs of a sample; None for a model without."""
    return None if graph is None else sum(part.shape[1] for part in graph_numbers(graph).values() if part.ndim == 2)


def _both(edges: EdgeArrays) -> NDArray[np.int64]:
    return np.stack([edges.source, edges.target])


# ---------------------------------------------------------------- on a device


class DeviceWords(NamedTuple):
    """The tables of a device's model, uint32 [size], as sp_graph_plan_t has them (firmware/lib graph.h)."""

    config: Gnn | Pcn
    rooms: tuple[Room, ...]
    size: int

    def difference(self, graph: GnnArrays | PcnArrays, words: NDArray[np.uint32]) -> str | None:
        """None where the words are these graphs, else a sentence on the first part that differs."""
        if len(words) != self.size:
            return f"the device has {len(words)} words of graphs, and this model {self.size}"
        left = words[: len(self.rooms)].tolist()
        found = self._parts(words, left)
        for name, ours in graph_numbers(graph).items():
            theirs = found[name]
            if ours.shape != theirs.shape:
                return f"the graph's '{name}' is of {ours.shape[-1]} on the host and {theirs.shape[-1]} on the device"
            if not np.array_equal(ours, theirs):
                at = int(np.argmax((ours != theirs).reshape(-1, ours.shape[-1]).any(axis=0)))
                shown = " and ".join(str(part[..., at].tolist()) for part in (ours, theirs))
                return f"the graph's '{name}' differs in number {at}: {shown}, host and device"
        return None

    def _parts(self, words: NDArray[np.uint32], left: Sequence[int]) -> dict[str, NDArray[np.int32]]:
        """By the names of `graph_numbers`. left: targets of each table."""
        found: dict[str, NDArray[np.int32]] = {}
        at = len(self.rooms)
        for room, count in zip(self.rooms, left, strict=True):
            count = min(count, room.targets)
            name = room.name.replace("stage", "edges")
            if room.name != "near":
                chosen = "sampled" if room.name == "far" else room.name.replace("stage", "centres")
                found[chosen] = words[at : at + count].astype(np.int32)
                at += room.targets
            counts = words[at : at + count]
            at += room.targets
            table = words[at : at + room.targets * room.columns].reshape(room.targets, room.columns)[:count]
            at += room.targets * room.columns
            kept = np.arange(room.columns) < counts[:, None]
            found[name] = np.stack([table[kept], np.repeat(np.arange(count), kept.sum(axis=1))]).astype(np.int32)
        return found


def device_words(config: Model, points: int) -> DeviceWords:
    """Of a model on so many points at most."""
    assert isinstance(config, Gnn | Pcn)
    wanted = tuple(rooms(config, points))
    samples = [room.name != "near" for room in wanted]
    sizes = [room.targets * (1 + room.columns + sampled) for room, sampled in zip(wanted, samples, strict=True)]
    return DeviceWords(config, wanted, len(wanted) + sum(sizes))
