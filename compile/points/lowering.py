"""From a network of layers to a program: loops over blocks of points, and over the edges of a centre; buffers.

Tables and points of the graphs lie in the arena before the program runs and stay there. A value that is read by another
loop is stored whole, row by row; what lives inside a block takes a block's room.

Of a PCN's stage the product of its first layer is split: what a point's features contribute is computed once for each
point, and only what its place adds for each edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spedge.model.graph import Room, rooms
from spedge.model.parts import Gnn, Pcn

from ..graph.nodes import Graph, Linear, Map, Node, Value
from ..kernels.base import PANEL, Layout
from ..plan.arena import ALIGN, place
from ..plan.calls import Calls
from ..plan.memory import FOREVER, Memory
from ..plan.places import BlockPlaces
from ..plan.program import Arg, Buffer, Call, Item, Stored
from ..plan.select import block_rows
from ..targets import Target
from .kernels import (
    BesideKernel,
    ChosenKernel,
    EdgesKernel,
    LargestKernel,
    LowestKernel,
    SplineKernel,
    spline_width,
)
from .layers import Layer, Network


@dataclass(frozen=True)
class Loop:
    """`items` for each block of `rows` rows (a C expression; empty: once). centres: all that for each of so many
    centres, after `first`; `centre` is its number, and `edges[centre]` how many it has, whose table is `edges_at` words
    behind the tables' start. room: how often the items are done at most."""

    label: str
    rows: str
    items: list[Item]
    room: int
    centres: str = ""
    first: tuple[Call, ...] = ()
    edges_at: int = 0


@dataclass(frozen=True)
class Table:
    """A table as sp_graph_table_t has it; points, kept: buffers of the points before, and of the targets'."""

    room: Room
    search: int  # neighbours of a target
    radius: float
    rule: str
    loops: bool
    share: float
    inside: bool
    points: Buffer
    kept: Buffer
    chosen_at: int  # words of the block of tables
    counts_at: int
    sources_at: int

    @property
    def drops_loops(self) -> bool:
        """Whether loops are found first and taken out then."""
        return not self.loops and self.rule == "lowest"


@dataclass
class PointProgram:
    """What the executor does; `rows`: of a block. tables: of the graphs, in one buffer, `words`."""

    network: Network
    capacity: int
    rows: int
    memory: Memory
    source: Buffer
    words: Buffer
    work: Buffer
    tables: list[Table]
    loops: list[Loop] = field(default_factory=list)
    output: Arg = field(default_factory=Arg)

    @property
    def buffers(self) -> list[Buffer]:
        return self.memory.buffers

    @property
    def constants(self) -> dict[str, Stored]:
        return self.memory.constants

    def items(self) -> list[tuple[Item, bool]]:
        """All items in order; True: once per block."""
        return [(i, bool(loop.rows)) for loop in self.loops for i in (*loop.first, *loop.items)]

    def plan(self) -> tuple[dict[Buffer, int], int]:
        """Offset of every buffer and the size of the arena, in floats."""
        spans = {b: (b.floats, b.first, b.last) for b in self.buffers}
        offsets, size = place(spans, lambda b: b.name)
        return offsets, -(-size // ALIGN) * ALIGN


def lower(network: Network, capacity: int, target: Target) -> PointProgram:
    """A network on at most `capacity` tokens."""
    return _Lowering(network, capacity, target).run()


class _Places(BlockPlaces):
    """Whole values lie row by row, with as many rows as the loop at hand has."""

    room = 1

    def new_whole(self, value: Value) -> Buffer:
        rows = -(-self.room // self.rows) * self.rows
        return self.memory.new_buffer(value.name, Layout(value.width), rows, whole=True)


class _Lowering:
    def __init__(self, network: Network, capacity: int, target: Target) -> None:
        self.network, self.target = network, target
        config = network.config
        self.rooms = rooms(config, capacity)
        self.rows = block_rows(target)
        self.memory = Memory()
        self.input = Value(network.features, "tokens")
        self.graph = Graph([], self.input, 0, capacity, 0)
        self.places = _Places(self.graph, self.memory, self.rows, target.panels, frozenset())
        self.calls = Calls(self.graph, target, self.memory, self.places)
        self.calls.left = Arg(symbol=str(PANEL))  # points are computed by whole blocks
        self.places.room = capacity
        source = self.places.new_whole(self.input)
        source.first = source.last = 0
        self.places.stored[self.input] = source
        self.tables = self._tables(capacity)
        tables_words = len(self.tables) + sum(_words(t) for t in self.tables)
        words = self.memory.new_buffer("tables", Layout(tables_words), 1)
        work = self.memory.new_buffer("work", Layout(self._work(capacity)), 1)
        for buffer in (words, *{t.points: 0 for t in self.tables}, *{t.kept: 0 for t in self.tables}):
            buffer.first, buffer.last = 0, FOREVER
        self.memory.time = 0
        self.memory.touch(work)
        self.memory.time = 1
        self.program = PointProgram(network, capacity, self.rows, self.memory, source, words, work, self.tables)

    # -- the graphs' tables
    def _tables(self, capacity: int) -> list[Table]:
        config = self.network.config
        radii = (config.node_radius, config.pool_radius) if isinstance(config, Gnn) else config.radii
        shares = (0.0, config.fps_ratio) if isinstance(config, Gnn) else config.fps_ratios
        double = 2 if isinstance(config, Gnn) else 1
        # The caller writes doubles, of a PCN too.
        before = self.memory.new_buffer("points", Layout(6), capacity)
        at = len(self.rooms)
        found = []
        for room, radius, share in zip(self.rooms, radii, shares, strict=True):
            kept = before
            if share:
                kept = self.memory.new_buffer(f"points_{room.name}", Layout(3 * double), room.targets)
            far = room.name == "far"
            rule = "nearest" if room.name == "near" else config.rule  # as spedge.model.graph has it
            counts_at = at + (room.targets if share else 0)
            table = Table(
                room, room.columns, radius, rule, not far, share, far, before, kept,
                at, counts_at, counts_at + room.targets,
            )  # fmt: skip
            found.append(table)
            at += _words(table)
            before = kept
        return found

    def _work(self, capacity: int) -> int:
        """Floats that sp_graph_build works in; as sp_graph_plan_work has it."""
        most, points = 0, capacity
        for table in self.tables:
            nearest = 8 * points if table.share else 0
            searched = 4 * (table.room.targets if table.inside else points) + 8 * table.search
            most, points = max(most, nearest, searched), table.room.targets
        return -(-most // 4)

    def table(self, table: Table) -> tuple[Arg, Arg]:
        """Its sources and counts."""
        return Arg(self.program.words, offset=table.sources_at), Arg(self.program.words, offset=table.counts_at)

    # -- the loops
    def run(self) -> PointProgram:
        config = self.network.config
        self.head(self.gnn() if isinstance(config, Gnn) else self.pcn(config))
        return self.program

    def gnn(self) -> Value:
        near, far = self.tables
        c = self.network.convolutions
        kept = self.convolution(c[1], self.convolution(c[0], self.input, near, 0), near, 0)
        x = self.convolution(c[2], kept, near, 0)
        x = self.convolution(c[3], x, near, 0, kept)
        x = self.convolution(c[4], x, near, 0)
        kept = self.chosen(x, far)
        x = self.convolution(c[5], kept, far, 1)
        return self.largest(self.convolution(c[6], x, far, 1, kept), far, 1)

    def convolution(self, layer: Layer, x: Value, table: Table, number: int, residual: Value | None = None) -> Value:
        """number: of the table."""
        left = f"left[{number}]"
        sums = self.graph.value(spline_width(x.width), "sums")
        nodes, out = self.nodes_of([layer], sums, residual)

        def spline(buffer: Buffer) -> Call:
            kernel = SplineKernel(self.rows, x.width, table.search, table.radius, buffer.layout)
            points = Arg(table.kept if table.inside else table.points)
            args = (*self.table(table), points, self.stored(x), Arg(buffer), self.block(), Arg(symbol=left))
            return Call(kernel, args, sums.name)

        started = self.begin()
        self.places.room = table.room.targets
        items = [self.gathered(sums, spline)]
        self.calls.emit(nodes, items, [out], blocks=True)
        self.add(Loop(f"convolution to {out.name}", left, items, _blocks(table.room.targets, self.rows)), started)
        return out

    def chosen(self, x: Value, table: Table) -> Value:
        out = self.graph.value(x.width, "chosen")
        self.places.room = table.room.targets
        buffer = self.places.new_whole(out)
        self.places.stored[out] = buffer
        self.memory.touch(buffer)
        chosen = Arg(self.program.words, offset=table.chosen_at)
        args = (self.stored(x), chosen, Arg(buffer), Arg(symbol="left[1]"))
        self.once("sampled", [Call(ChosenKernel(self.rows, x.width), args, out.name)])
        return out

    def largest(self, x: Value, table: Table, number: int) -> Value:
        """Of each feature over all rows."""
        out = self.pooled(x.width)
        whole = self.stored(x)
        assert whole.buffer is not None
        started = self.memory.time
        left = f"left[{number}]"
        first = Call(LowestKernel(1, x.width), (self.stored(out), Arg(symbol=left)), out.name)
        rows = Arg(whole.buffer, per_block=whole.buffer.layout.block(self.rows))
        call = self.maxima(rows, self.stored(out), f"{left} - block * {self.rows}", out)
        self.program.loops.append(Loop("largest, from", "", [first], 1))
        self.memory.time += 1
        self.add(Loop("largest", left, [call], _blocks(table.room.targets, self.rows)), started)
        return out

    def pooled(self, width: int) -> Value:
        out = self.graph.value(width, "pooled")
        self.places.stored[out] = self.memory.new_buffer(out.name, Layout(width), 1, whole=True)
        return out

    def maxima(self, x: Arg, into: Arg, left: str, out: Value) -> Call:
        assert x.buffer is not None
        kernel = LargestKernel(self.rows, out.width, x.buffer.layout)
        return Call(kernel, (x, into, Arg(symbol=left)), out.name)

    def pcn(self, config: Pcn) -> Value:
        x, rows, room = self.input, "points", self.graph.capacity
        for number, (layers, table) in enumerate(zip(self.network.stages, self.tables, strict=True)):
            x = self.stage(layers, self.shared(layers[0], x, rows, room), table, number)
            rows, room = f"left[{number}]", table.room.targets
        return self.last(x, self.tables[-1], len(self.tables) - 1)

    def shared(self, layer: Layer, x: Value, rows: str, room: int) -> Value:
        """What points contribute to the first layer of all of their edges."""
        nodes, out = self.nodes_of([Layer(layer.weight[:-3], layer.bias)], x)
        started = self.begin()
        self.places.room = room
        items: list[Item] = []
        self.calls.emit(nodes, items, [out], blocks=True)
        self.add(Loop("what points have for all their edges", rows, items, _blocks(room, self.rows)), started)
        return out

    def stage(self, layers: Sequence[Layer], shared: Value, table: Table, number: int) -> Value:
        first, *rest = layers
        seen = self.graph.value(first.outputs, "edges")
        nodes, last = self.nodes_of(rest, seen)
        out = self.graph.value(last.width, "centres")
        self.places.room = table.room.targets
        whole = self.places.stored[out] = self.places.new_whole(out)
        places = self.memory.constant(f"{seen.name}_places", first.weight[-3:])
        sources, counts = self.table(table)
        started = self.begin()
        self.memory.touch(whole)

        def edge(buffer: Buffer) -> Call:
            kernel = EdgesKernel(self.rows, first.outputs, table.search, buffer.layout)
            given = (Arg(table.points), Arg(table.kept), self.stored(shared), places)
            return Call(kernel, (sources, counts, *given, Arg(buffer), Arg(symbol="centre"), self.block()), seen.name)

        items = [self.gathered(seen, edge)]
        self.calls.emit(nodes, items, (), blocks=True)
        into = Arg(whole, per_centre=last.width)
        edges = "edges[centre]"
        items.append(self.maxima(self.places.read(last, True), into, f"{edges} - block * {self.rows}", out))
        begin = Call(LowestKernel(1, out.width), (into, Arg(symbol=edges)), out.name)
        room = table.room.targets * _blocks(table.search, self.rows)
        label = f"stage {number + 1}"
        self.add(Loop(label, edges, items, room, f"left[{number}]", (begin,), table.counts_at), started)
        return out

    def last(self, x: Value, table: Table, number: int) -> Value:
        """The layers on the last centres' features and places, and the largest of each feature."""
        left = f"left[{number}]"
        seen = self.graph.value(x.width + 3, "beside")
        nodes, last = self.nodes_of(self.network.points, seen)
        out = self.pooled(last.width)
        begin = Call(LowestKernel(1, out.width), (self.stored(out), Arg(symbol=left)), out.name)
        self.once("largest, from", [begin])
        started = self.begin()

        def beside(buffer: Buffer) -> Call:
            kernel = BesideKernel(self.rows, x.width, buffer.layout)
            args = (self.stored(x), Arg(table.kept), Arg(buffer), self.block(), Arg(symbol=left))
            return Call(kernel, args, seen.name)

        items = [self.gathered(seen, beside)]
        self.calls.emit(nodes, items, (), blocks=True)
        items.append(self.maxima(self.places.read(last, True), self.stored(out), f"{left} - block * {self.rows}", out))
        self.add(Loop("the last centres", left, items, _blocks(table.room.targets, self.rows)), started)
        return out

    def head(self, pooled: Value) -> None:
        nodes, out = self.nodes_of(self.network.head, pooled)
        self.graph.output = out
        self.places.begin_phase()
        self.calls.begin_phase()
        items: list[Item] = []
        self.calls.emit(nodes, items, [out], blocks=False)
        self.program.loops.append(Loop("head", "", items, 1))
        buffer = self.places.stored[out]
        self.memory.touch(buffer)
        self.program.output = Arg(buffer)

    # -- pieces
    def nodes_of(self, layers: Sequence[Layer], x: Value, residual: Value | None = None) -> tuple[list[Node], Value]:
        """Layers as nodes, which join the graph."""
        nodes: list[Node] = []
        for layer in layers:
            x = self.after(nodes, Linear(self.graph.value(layer.outputs, "linear"), x, layer.weight, layer.bias))
            for op, vector in ((layer.activation, None), ("multiply", layer.scale), ("add", layer.shift)):
                if op and (op == layer.activation or vector is not None):
                    args = (x,) if vector is None else (x, vector)
                    x = self.after(nodes, Map(self.graph.value(layer.outputs, op), op, args))
        if residual is not None:
            x = self.after(nodes, Map(self.graph.value(x.width, "sum"), "add", (x, residual)))
        self.graph.nodes += nodes
        return nodes, x

    @staticmethod
    def after(nodes: list[Node], node: Node) -> Value:
        nodes.append(node)
        return node.out

    def begin(self) -> int:
        self.places.begin_phase()
        self.calls.begin_phase()
        return self.memory.time

    def block(self) -> Arg:
        """Number of the block's first row."""
        return Arg(symbol=f"block * {self.rows}")

    def stored(self, value: Value) -> Arg:
        """All of a value."""
        buffer = self.places.stored[value]
        self.memory.touch(buffer)
        return Arg(buffer)

    def gathered(self, value: Value, call: Callable[[Buffer], Call]) -> Item:
        """The call that fills the block's buffer of a value."""
        buffer = self.places.place(value, True, ())
        self.memory.touch(buffer)
        made = call(buffer)
        self.memory.time += 1
        return made

    def once(self, label: str, items: list[Item]) -> None:
        self.program.loops.append(Loop(label, "", items, 1))
        self.memory.time += 1

    def add(self, loop: Loop, started: int) -> None:
        self.program.loops.append(loop)
        self.memory.time += 1
        self.memory.span_loop(started)


def _blocks(rows: int, block: int) -> int:
    return math.ceil(rows / block)


def _words(table: Table) -> int:
    return table.room.targets * ((1 if table.share else 0) + 1 + table.search)
