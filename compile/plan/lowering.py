"""From the graph to a program: loops over row blocks, kernel calls, buffers.

Rows are computed in blocks of `target.rows`; for a target with vectors of floats and a cache there is one block, of all
rows that are present. What lives only inside a block takes a block's room; a value
that outlives the loop over blocks is stored whole. Attention needs its keys and values whole, so every
attention has two phases: one that stores them, and one that does all the rest up to the next attention.
Cheap row operations (normalisation) are computed again rather than stored. Where one row alone is read
(the last layer: CLS), one row is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..graph.nodes import ALL, Attention, Demand, Graph, HeadLinear, Linear, Map, Node, Norm, Source, Value, demand
from ..kernels.base import Layout
from ..kernels.panel import PanelKernel
from ..targets import Target
from .calls import Calls
from .fixed_calls import FixedCalls
from .memory import Memory
from .places import BlockPlaces
from .program import Arg, Buffer, Call, Phase, Program
from .row_calls import RowCalls
from .select import block_rows, panel_attentions


def lower(graph: Graph, target: Target) -> Program:
    """Split the graph into phases and its nodes into kernel calls."""
    return Lowering(graph, target).run()


def _cheap(node: Node) -> bool:
    return isinstance(node, Norm) or (isinstance(node, Map) and len(node.inputs) == 1)


class Lowering:
    """One lowering under way."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.by_value = {n.out: n for n in graph.nodes}
        self.rows_needed = demand(graph)
        self.phases: list[Phase] = []
        self.rows = graph.rows if target.vectors else block_rows(target)
        in_panels = panel_attentions(graph, target)
        self.memory = Memory()
        tiled = frozenset(n.v for n in in_panels)
        self.places = BlockPlaces(graph, self.memory, self.rows, target.panels, tiled, target.vectors)
        kind = RowCalls if target.vectors else FixedCalls if target.integers else Calls
        self.calls = kind(graph, target, self.memory, self.places, in_panels)

    def run(self) -> Program:
        attentions = [n for n in self.graph.nodes if isinstance(n, Attention)]
        levels = self.levels(attentions)
        slices = [self.slice_of(a) for a in attentions]
        source = self.places.new_whole(self.graph.source.out)
        source.first = 0
        self.places.stored[self.graph.source.out] = source
        if self.target.panels:
            self.to_panels(source)
        for level in range(len(attentions) + 1):
            targets = self.kept(level, levels, slices)
            if level > 0:
                attention = attentions[level - 1]
                keys = [v for v in dict.fromkeys((attention.k, attention.v)) if v not in self.places.stored]
                self.phase(f"keys and values of attention {level}", keys)
                if isinstance(self.calls, FixedCalls) and (made := self.calls.keys_and_values(attention)):
                    self.phases.append(Phase("these as integers", once=list(made)))
            targets = [v for v in targets if v not in self.places.stored]
            self.phase(f"attention {level} and what follows" if level else "before the first attention", targets)
        output = self.places.stored[self.graph.output]
        row = self.graph.prefix if self.graph.output_row == ALL else self.graph.output_row
        at = 0 if output.floats == output.row else row * output.row
        self.memory.touch(output)
        return Program(
            self.phases,
            self.memory.buffers,
            self.memory.constants,
            source,
            Arg(output, offset=at),
            self.rows,
            self.graph,
            self.calls.factors,
            self.target.vectors,
        )

    def to_panels(self, source: Buffer) -> None:
        """The rows of the input become panels, in their place."""
        width = source.layout.size
        scratch = self.memory.new_buffer("scratch", Layout(width), self.rows)
        self.memory.touch(source, scratch)
        kernel = PanelKernel(self.rows, width, self.graph.source.centred)
        call = Call(kernel, (Arg(scratch), self.places.write(source, True)), source.name)
        self.phases.append(Phase("rows to panels", [call]))
        self.memory.time += 1

    def levels(self, attentions: Sequence[Attention]) -> dict[Value, int]:
        """How many attentions a value has behind it."""
        levels: dict[Value, int] = {}
        for node in self.graph.nodes:
            levels[node.out] = max((levels[i] for i in node.inputs), default=0)
            if isinstance(node, Attention):
                levels[node.out] = attentions.index(node) + 1
        return levels

    def slice_of(self, attention: Attention) -> set[Value]:
        """The row operations that lead to q, k and v from values stored before."""
        found: set[Value] = set()

        def visit(value: Value, first: bool) -> None:
            node = self.by_value[value]
            linear = isinstance(node, Linear | HeadLinear) and (first or self.graph.used_once(value))
            if linear or (_cheap(node) and not self.target.vectors and not self.of_heads(node)):
                found.add(value)
                for i in node.inputs:
                    visit(i, False)

        for value in attention.inputs:
            visit(value, True)
        return found

    def of_heads(self, node: Node) -> bool:
        """Whether attentions of single heads read it, one after the other (graph/rewrite.py): it is then stored."""
        linears = [r.out for r in self.graph.consumers(node.out) if isinstance(r, Linear)]
        queries = [n.q for n in self.graph.nodes if isinstance(n, Attention) and n.heads == 1 and not n.shared]
        return sum(q in linears for q in queries) > 1

    def kept(self, level: int, levels: dict[Value, int], slices: Sequence[set[Value]]) -> list[Value]:
        """Values of this level that something after this level's phase reads."""
        kept = []
        for node in self.graph.nodes:
            value = node.out
            if levels[value] != level or isinstance(node, Source):
                continue
            in_slice = any(value in s for s in slices[level:])
            readers = self.graph.consumers(value)
            later = [r for r in readers if levels[r.out] > level or any(r.out in s for s in slices[level:])]
            if value is self.graph.output or (later and not in_slice):
                kept.append(value)
        return kept

    def phase(self, label: str, targets: Sequence[Value]) -> None:
        """Compute the targets from what is stored, and store them."""
        if not targets:
            return
        nodes = self.closure(targets)
        rows = self.phase_demand(nodes, targets)
        phase = Phase(label)
        self.phases.append(phase)
        self.places.begin_phase()
        self.calls.begin_phase()
        wide = [n for n in nodes if rows[n.out] == ALL]
        narrow = [n for n in nodes if rows[n.out] != ALL]
        crossing = {i for n in narrow for i in n.inputs} & {n.out for n in wide}
        keep = list(dict.fromkeys([*(v for v in targets if rows[v] == ALL), *crossing]))
        started = self.memory.time
        self.calls.emit(wide, phase.blocks, keep, blocks=True)
        if not self.target.vectors:
            self.memory.span_loop(started)
        self.calls.emit(narrow, phase.once, [v for v in targets if rows[v] != ALL], blocks=False)

    def closure(self, targets: Iterable[Value]) -> list[Node]:
        needed: set[Value] = set()

        def visit(value: Value) -> None:
            if value in needed or value in self.places.stored:
                return
            needed.add(value)
            for i in self.by_value[value].inputs:
                visit(i)

        for value in targets:
            visit(value)
        return [n for n in self.graph.nodes if n.out in needed]

    def phase_demand(self, nodes: Sequence[Node], targets: Sequence[Value]) -> Demand:
        rows: Demand = {v: self.rows_needed[v] for v in targets}
        for node in reversed(nodes):
            for i in node.inputs:
                if isinstance(node, Attention) and i is not node.q:
                    continue
                asked = rows[node.out]
                rows[i] = asked if rows.get(i, asked) == asked else ALL
        return rows
