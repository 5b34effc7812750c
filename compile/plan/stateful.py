"""Stateful models: a causal encoder as one step per token, its keys, values and running sum kept in the arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import CompileError
from ..graph.nodes import Attention, Graph, Mean, Value
from ..kernels.base import Epilogue, Layout, MapKernel, Step
from ..targets import Target
from .arena import ALIGN, place
from .lowering import Lowering
from .program import Arg, Buffer, Call, HeadLoop, Item, Stored

FOREVER = 1 << 29


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
    return _StepLowering(graph, target).steps()


class _StepLowering(Lowering):
    """One row at a time: everything is row-local but the caches, which are written at the token's place."""

    def steps(self) -> StatefulProgram:
        graph = self.graph
        mean = next(n for n in graph.nodes if isinstance(n, Mean))
        at = graph.nodes.index(mean)
        before = [n for n in graph.nodes[:at] if n is not graph.source]
        if any(isinstance(n, Mean | Attention) for n in graph.nodes[at + 1 :]):
            raise CompileError("nothing but row operations may follow the mean over the rows")
        self.block_local, self.row_local = {}, {}
        self.panels, self.rows = False, 1  # one row at a time
        self.rounded = {}
        self.caches: dict[Value, Buffer] = {}
        for node in before:
            if isinstance(node, Attention):
                for value in (node.k, node.v):
                    if value not in self.caches:
                        self.caches[value] = self.stored[value] = self.persistent(self.new_whole(value))
        source = self.row(graph.source.out)
        total = self.persistent(self.new_buffer("total", Layout(mean.x.width), 1, False))
        token: list[Item] = []
        self.emit(before, token, [*self.caches, mean.x], blocks=False)
        token.append(self.accumulate(mean.x, total))
        self.time += 1
        mean_row = self.row(mean.out)
        head: list[Item] = []
        self.rounded = {}
        self.emit(graph.nodes[at + 1 :], head, [graph.output], blocks=False)
        output = self.read(graph.output, blocks=False)
        return StatefulProgram(
            graph, token, head, self.buffers, self.constants, source, total, mean_row, output, self.input_rows()
        )

    def persistent(self, buffer: Buffer) -> Buffer:
        buffer.first, buffer.last = 0, FOREVER
        return buffer

    def row(self, value: Value) -> Buffer:
        buffer = self.new_buffer(value.name, Layout(value.width), 1, False)
        self.row_local[value] = buffer
        self.touch(buffer)
        return buffer

    def input_rows(self) -> Buffer:
        """Where `encode` finds all its rows: in a cache of the same width, whose row is written only after the
        input's row has been taken in; room of their own where there is none."""
        for buffer in reversed(list(self.caches.values())):
            if buffer.row == self.graph.source.out.width:
                return buffer
        width = self.graph.source.out.width
        return self.persistent(self.new_buffer("rows", Layout(width), self.graph.capacity, True))

    def accumulate(self, value: Value, total: Buffer) -> Call:
        x = self.read(value, blocks=False)
        assert x.buffer is not None
        add = Epilogue((Step("add", (("t", 0), ("x", 0))),), (total.layout,))
        kernel = MapKernel(1, value.width, x.buffer.layout, total.layout, add)
        return Call(kernel, (x, Arg(total), Arg(total)), "total")

    def place(self, value: Value, blocks: bool, keep: Sequence[Value]) -> Buffer:
        return self.caches[value] if value in self.caches else self.row(value)

    def read(self, value: Value, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        if value in self.caches:
            buffer = self.caches[value]
            return Arg(buffer, offset=column, per_block=buffer.row, per_head=per_head)
        return super().read(value, blocks, column, per_head)

    def write(self, buffer: Buffer, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        per_block = buffer.row if any(b is buffer for b in self.caches.values()) else 0
        if not per_block:
            self.touch(buffer)
        return Arg(buffer, offset=column, per_block=per_block, per_head=per_head)

    def touch(self, *buffers: Buffer) -> None:
        super().touch(*(b for b in buffers if b.last < FOREVER))


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
