"""Stateful models: a causal encoder as one step per token, its keys, values and running sum kept in the arena."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import CompileError
from ..graph.nodes import Attention, Graph, Mean, Value
from ..kernels.base import Epilogue, Layout, MapKernel, Step
from ..targets import Target
from .arena import ALIGN, place
from .calls import Calls
from .fixed_calls import FixedCalls
from .memory import FOREVER, Memory, whole_rows
from .program import Arg, Buffer, Call, HeadLoop, Item, Stored
from .row_calls import RowCalls


@dataclass
class StatefulProgram:
    """What a step does: `token` takes in one row and adds to `total`; `head` turns their mean into logits.

    Buffers that keep the state are in use at all times. In `token`, `block` is the token's place in its window.
    """

    graph: Graph
    token: list[Item]
    head: list[Item]
    buffers: list[Buffer]
    constants: dict[str, Stored]
    source: Buffer
    total: Buffer
    mean: Buffer
    output: Arg
    input: Buffer

    def items(self) -> list[tuple[Item, bool]]:
        """All items in order; True: once per token."""
        return [(i, True) for i in self.token] + [(i, False) for i in self.head]

    def plan(self) -> tuple[dict[Buffer, int], int]:
        """Offset of every buffer and the size of the arena, in floats; the count of tokens is the last word."""
        offsets, floats = place({b: (b.floats, b.first, b.last) for b in self.buffers}, lambda b: b.name)
        return offsets, -(-floats // ALIGN) * ALIGN + ALIGN


def lower_stateful(graph: Graph, target: Target) -> StatefulProgram:
    """The steps of a graph with causal attention and a mean at its end."""
    mean = next(n for n in graph.nodes if isinstance(n, Mean))
    at = graph.nodes.index(mean)
    before, after = [n for n in graph.nodes[:at] if n is not graph.source], graph.nodes[at + 1 :]
    if any(isinstance(n, Mean | Attention) for n in after):
        raise CompileError("nothing but row operations may follow the mean over the rows")
    memory = Memory()
    places = StepPlaces(graph, memory, [v for n in before if isinstance(n, Attention) for v in (n.k, n.v)])
    kind = RowCalls if target.vectors else FixedCalls if target.integers else Calls
    calls = kind(graph, target, memory, places)
    source = places.row(graph.source.out)
    total = _persistent(memory.new_buffer("total", Layout(mean.x.width), 1))
    token: list[Item] = []
    calls.emit(before, token, [*places.stored, mean.x], blocks=False)
    token.append(_accumulate(places, mean.x, total))
    memory.time += 1
    mean_row = places.row(mean.out)
    head: list[Item] = []
    calls.begin_phase()
    calls.emit(after, head, [graph.output], blocks=False)
    output = places.read(graph.output, blocks=False)
    rows = places.input_rows()
    return StatefulProgram(graph, token, head, memory.buffers, memory.constants, source, total, mean_row, output, rows)


def _persistent(buffer: Buffer) -> Buffer:
    buffer.first, buffer.last = 0, FOREVER
    return buffer


def _accumulate(places: StepPlaces, value: Value, total: Buffer) -> Call:
    x = places.read(value, blocks=False)
    assert x.buffer is not None
    add = Epilogue((Step("add", (("t", 0), ("x", 0))),), (total.layout,))
    kernel = MapKernel(1, value.width, x.buffer.layout, total.layout, add)
    return Call(kernel, (x, Arg(total), Arg(total)), "total")


class StepPlaces:
    """One row at a time: every value has a row's room but the cached ones, which are written at the token's place."""

    def __init__(self, graph: Graph, memory: Memory, cached: Iterable[Value]) -> None:
        self.graph, self.memory = graph, memory
        self.rows: dict[Value, Buffer] = {}
        self.stored: dict[Value, Buffer] = {}
        for value in dict.fromkeys(cached):
            whole = memory.new_buffer(value.name, Layout(value.width), whole_rows(graph, 1), whole=True)
            self.stored[value] = _persistent(whole)

    def row(self, value: Value) -> Buffer:
        """A new row for a value."""
        buffer = self.rows[value] = self.memory.new_buffer(value.name, Layout(value.width), 1)
        self.memory.touch(buffer)
        return buffer

    def input_rows(self) -> Buffer:
        """Where `encode` finds all its rows: in a cache of the same width, whose row is written only after the
        input's row has been taken in; room of their own where there is none."""
        width = self.graph.source.out.width
        for buffer in reversed(list(self.stored.values())):
            if buffer.row == width:
                return buffer
        return _persistent(self.memory.new_buffer("rows", Layout(width), self.graph.capacity, whole=True))

    def place(self, value: Value, blocks: bool, keep: Sequence[Value]) -> Buffer:
        """The buffer that a value is written to."""
        return self.stored[value] if value in self.stored else self.row(value)

    def read(self, value: Value, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        """Where a kernel finds its row of a value."""
        return self.write(self.stored.get(value) or self.rows[value], blocks, column, per_head)

    def write(self, buffer: Buffer, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        """Where a kernel writes its row."""
        self.memory.touch(buffer)
        per_block = buffer.row if any(b is buffer for b in self.stored.values()) else 0
        return Arg(buffer, offset=column, per_block=per_block, per_head=per_head)


def macs(program: StatefulProgram) -> list[tuple[Call, int, int]]:
    """Each call, how often it runs for a full window and its multiply-accumulates then."""
    tokens = program.graph.capacity
    found = []
    for item, per_token in program.items():
        heads = item.heads if isinstance(item, HeadLoop) else 1
        for call in item.calls if isinstance(item, HeadLoop) else (item,):
            runs = range(1, tokens + 1) if per_token else range(tokens, tokens + 1)
            found.append((call, heads * len(runs), heads * sum(call.kernel.macs(keys) for keys in runs)))
    return found
