"""From the graph to a program: loops over row blocks, kernel calls, buffers.

Rows are computed in blocks of `target.rows`. What lives only inside a block takes a block's room; a value
that outlives the loop over blocks is stored whole. Attention needs its keys and values whole, so every
attention has two phases: one that stores them, and one that does all the rest up to the next attention.
Cheap row operations (normalisation) are computed again rather than stored. Where one row alone is read
(the last layer: CLS), one row is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import CompileError
from ..graph.nodes import (
    ALL,
    Array,
    Attention,
    Demand,
    Graph,
    HeadLinear,
    Linear,
    Map,
    Node,
    Norm,
    Source,
    Value,
    demand,
)
from ..kernels.base import (
    KEY_TILE,
    PANEL,
    Epilogue,
    Layout,
    LinearKernel,
    MapKernel,
    MixKernel,
    NormKernel,
    ScoresKernel,
    SoftmaxKernel,
    Step,
)
from ..kernels.int8 import Int8LinearKernel, QuantiseKernel, WeightLinearKernel, groups, pack
from ..kernels.int8_vector import Int8VectorLinearKernel, VectorQuantiseKernel, pack_blocks, padded
from ..kernels.panel import COLUMNS as ROW_COLUMNS
from ..kernels.panel import (
    PanelKernel,
    PanelLinearKernel,
    PanelMixKernel,
    PanelNormKernel,
    PanelScoresKernel,
    PanelSoftmaxKernel,
    RowLinearKernel,
)
from ..kernels.tables import EXP2_STEPS, exp2_table, normal_table
from ..kernels.vector import COLUMNS, ROWS, VectorLinearKernel, VectorMixKernel
from ..targets import Target
from .program import Arg, Buffer, Call, HeadLoop, Item, Phase, Program, Stored


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
        self.buffers: list[Buffer] = []
        self.constants: dict[str, Stored] = {}
        self.stored: dict[Value, Buffer] = {}
        self.time = 0
        self.phases: list[Phase] = []
        self.panels = target.panels
        self.rows = PANEL if target.panels else target.rows  # in a block
        self.factors: dict[Value, float] = {}

    # -- phases
    def run(self) -> Program:
        attentions = [n for n in self.graph.nodes if isinstance(n, Attention)]
        levels = self.levels(attentions)
        slices = [self.slice_of(a) for a in attentions]
        source = self.new_whole(self.graph.source.out)
        source.first = 0
        self.stored[self.graph.source.out] = source
        if self.panels:
            self.factors = {n.q: EXP2_STEPS for n in attentions if self.in_panels(n)}
            self.to_panels(source)
        for level in range(len(attentions) + 1):
            targets = self.kept(level, levels, slices)
            if level > 0:
                attention = attentions[level - 1]
                keys = [v for v in dict.fromkeys((attention.k, attention.v)) if v not in self.stored]
                self.phase(f"keys and values of attention {level}", keys)
            targets = [v for v in targets if v not in self.stored]
            self.phase(f"attention {level} and what follows" if level else "before the first attention", targets)
        output = self.stored[self.graph.output]
        at = 0 if output.floats == output.row else self.graph.output_row * output.row
        self.touch(output)
        return Program(
            self.phases,
            self.buffers,
            self.constants,
            source,
            Arg(output, offset=at),
            self.rows,
            self.graph,
            self.factors,
        )

    def to_panels(self, source: Buffer) -> None:
        """The rows of the input become panels, in their place."""
        width = source.layout.size
        scratch = self.new_buffer("scratch", Layout(width), self.rows, False)
        self.touch(source, scratch)
        call = Call(PanelKernel(self.rows, width), (Arg(scratch), self.write(source, True)), source.name)
        self.phases.append(Phase("rows to panels", [call]))
        self.time += 1

    def in_panels(self, node: Attention) -> bool:
        """Whether an attention is one that kernels on panels compute."""
        q = self.by_value[node.q]
        alone = isinstance(q, Linear) and self.graph.used_once(node.q) and self.graph.used_once(node.v)
        rows = self.rows_needed[node.out] == ALL and node.out is not self.graph.output
        return self.panels and alone and rows and not node.shared and node.value_depth % PANEL == 0

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
            if linear or _cheap(node):
                found.add(value)
                for i in node.inputs:
                    visit(i, False)

        for value in attention.inputs:
            visit(value, True)
        return found

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
        self.block_local: dict[Value, Buffer] = {}
        self.row_local: dict[Value, Buffer] = {}
        self.rounded: dict[tuple[Value, bool], Buffer] = {}
        wide = [n for n in nodes if rows[n.out] == ALL]
        narrow = [n for n in nodes if rows[n.out] != ALL]
        crossing = {i for n in narrow for i in n.inputs} & {n.out for n in wide}
        keep = list(dict.fromkeys([*(v for v in targets if rows[v] == ALL), *crossing]))
        started = self.time
        self.emit(wide, phase.blocks, keep, blocks=True)
        self.span_loop(started)
        self.emit(narrow, phase.once, [v for v in targets if rows[v] != ALL], blocks=False)

    def closure(self, targets: Iterable[Value]) -> list[Node]:
        needed: set[Value] = set()

        def visit(value: Value) -> None:
            if value in needed or value in self.stored:
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

    # -- buffers
    def new_whole(self, value: Value) -> Buffer:
        """Room for all rows, rounded up to whole blocks and whole tiles of keys."""
        rows = max(-(-self.graph.rows // step) * step for step in (self.rows, KEY_TILE))
        readers = self.graph.consumers(value)
        layout = Layout(value.width, self.panels and value is not self.graph.output)
        if any(isinstance(n, Attention) and n.v is value and self.in_panels(n) for n in readers):
            layout = Layout(value.width, tile=PANEL * rows)
        return self.new_buffer(value.name, layout, rows, whole=True)

    def new_buffer(self, name: str, layout: Layout, rows: int, whole: bool) -> Buffer:
        again = sum(b.name == name or b.name.startswith(f"{name}_again") for b in self.buffers)
        buffer = Buffer(f"{name}_again{again}" if again else name, layout, layout.size * rows, whole)
        self.buffers.append(buffer)
        return buffer

    def touch(self, *buffers: Buffer) -> None:
        for buffer in buffers:
            buffer.first = min(buffer.first, self.time)
            buffer.last = max(buffer.last, self.time)

    def span_loop(self, started: int) -> None:
        """Whole buffers used in a loop are in use from its start to its end."""
        for buffer in self.buffers:
            if buffer.whole and buffer.last >= started:
                buffer.first = min(buffer.first, started)
                buffer.last = max(started, self.time - 1)

    def place(self, value: Value, blocks: bool, keep: Sequence[Value]) -> Buffer:
        """The buffer that a value is written to."""
        if any(value is k for k in keep):
            buffer = self.new_whole(value) if blocks else self.new_buffer(value.name, Layout(value.width), 1, False)
            self.stored[value] = buffer
            return buffer
        rows = self.rows if blocks else 1
        buffer = self.new_buffer(value.name, Layout(value.width, blocks and self.panels), rows, False)
        (self.block_local if blocks else self.row_local)[value] = buffer
        return buffer

    def read(self, value: Value, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        """Where a kernel finds its rows of a value."""
        local = (self.block_local if blocks else self.row_local).get(value)
        buffer = local or self.stored[value]
        self.touch(buffer)
        row = self.graph.output_row if not blocks and buffer.whole else 0
        return self.place_in(buffer, blocks, row, column, per_head)

    def write(self, buffer: Buffer, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        self.touch(buffer)
        return self.place_in(buffer, blocks, 0, column, per_head)

    def place_in(self, buffer: Buffer, blocks: bool, row: int, column: int, per_head: int) -> Arg:
        """The place of a row and column, in the block at hand; column and per_head are whole tiles where there are."""
        layout = buffer.layout
        per_block = layout.block(self.rows) if blocks and buffer.whole else 0
        return Arg(buffer, "", layout.at(row, column), per_block, layout.at(0, per_head))

    def constant(self, name: str, array: Stored) -> Arg:
        dtype = np.dtype(np.int8 if array.dtype == np.int8 else np.float32)
        whole: Stored = np.ascontiguousarray(array, dtype)
        self.constants[name] = whole
        return Arg(symbol=name)

    # -- kernels
    def emit(self, nodes: Sequence[Node], items: list[Item], keep: Sequence[Value], blocks: bool) -> None:
        for group in _groups(self.graph, nodes, keep):
            node = group[0]
            out = group[-1].out
            if isinstance(node, Linear):
                items.extend(self.linear(node, group[1:], out, keep, blocks))
            elif isinstance(node, HeadLinear):
                items.append(self.head_linear(node, keep, blocks))
            elif isinstance(node, Norm):
                items.append(self.norm(node, keep, blocks))
            elif isinstance(node, Map):
                items.append(self.map(group, out, keep, blocks))
            elif isinstance(node, Attention):
                items.append(self.attention(node, keep, blocks))
            else:
                raise CompileError(f"{type(node).__name__} cannot stand inside the encoder")
            self.time += 1

    def block_rows(self, blocks: bool) -> int:
        return self.rows if blocks else 1

    def tile(self, width: int, blocks: bool) -> int:
        wide = PANEL if self.panels else self.target.columns
        wish = wide if blocks else self.target.single_columns
        return min(wish, width)

    def linear(self, node: Linear, maps: Sequence[Node], out: Value, keep: Sequence[Value], blocks: bool) -> list[Item]:
        """One call, or two when the width is not a multiple of the tile."""
        if node.quant is not None and node.quant.x_scale is not None:
            return self.int8_linear(node, maps, out, keep, blocks)
        x = self.read(node.x, blocks)
        assert x.buffer is not None
        factor = np.float32(self.factors.get(node.out, 1))
        weight: Stored = node.weight * factor if node.quant is None else node.quant.values
        epilogue, matrices, vectors = self.epilogue(node.out, maps, blocks)
        buffer = self.place(out, blocks, keep)
        width, tile = node.out.width, self.tile(node.out.width, blocks)
        calls: list[Item] = []
        for start, stop, step in ((0, width - width % tile, tile), (width - width % tile, width, width % tile)):
            if start == stop:
                continue
            tail = "_tail" if start else ""
            part = weight[:, start:stop]
            packed = part.reshape(part.shape[0], -1, step).transpose(1, 0, 2)
            kind = self.linear_kernel(node, x.buffer, blocks, step)
            bias = node.bias
            if bias is None and kind is PanelLinearKernel:
                bias = np.zeros(width, np.float32)
            args = [x, self.constant(f"{node.out.name}_weight{tail}", packed)]
            if node.quant is not None:
                args.append(self.constant(f"{node.out.name}_scale{tail}", node.quant.scale[start:stop] * factor))
            if bias is not None:
                args.append(self.constant(f"{node.out.name}_bias{tail}", bias[start:stop] * factor))
            for matrix in matrices:
                assert matrix.buffer is not None
                at = matrix.offset + matrix.buffer.layout.at(0, start)
                args.append(Arg(matrix.buffer, "", at, matrix.per_block))
            for i, vector in enumerate(vectors):
                args.append(self.constant(f"{out.name}_vector{i}{tail}", vector[start:stop]))
            kernel = kind(
                self.block_rows(blocks),
                part.shape[0],
                stop - start,
                step,
                self.target.unroll,
                bias is not None,
                x.buffer.layout,
                buffer.layout,
                epilogue,
            )
            if any(p.name == "table" for p in kernel.parameters):
                args.append(self.constant("normal_table", normal_table()))
            args.append(self.write(buffer, blocks, start))
            calls.append(Call(kernel, tuple(args), out.name))
        return calls

    def in_a_row(self, x: Buffer, blocks: bool, tile: int) -> bool:
        """Whether RowLinearKernel computes a tile of one row."""
        return self.target.panels and not blocks and not x.layout.panel and not x.layout.tile and tile == ROW_COLUMNS

    def vector(self, blocks: bool, tile: int) -> bool:
        """Whether a tile is one that kernel_vector.h computes, and the target is better off with that."""
        return self.target.vectors and (self.block_rows(blocks), tile) == (ROWS, COLUMNS)

    def linear_kernel(self, node: Linear, x: Buffer, blocks: bool, tile: int) -> type[LinearKernel]:
        if node.quant is not None:
            return WeightLinearKernel
        if blocks and x.layout.panel and tile == PANEL:
            return PanelLinearKernel
        if self.in_a_row(x, blocks, tile):
            return RowLinearKernel
        return VectorLinearKernel if self.vector(blocks, tile) else LinearKernel

    def int8_linear(
        self, node: Linear, maps: Sequence[Node], out: Value, keep: Sequence[Value], blocks: bool
    ) -> list[Item]:
        """A call that rounds the input, unless an earlier linear of the loop has done it, and one for the linear."""
        assert node.quant is not None
        name, rows, wide = node.out.name, self.block_rows(blocks), self.target.int8_vectors
        depth, width = node.weight.shape
        calls: list[Item] = []
        rounded = self.rounded.get((node.x, blocks))
        if rounded is None:
            x = self.read(node.x, blocks)
            assert x.buffer is not None and node.quant.x_scale is not None
            inverse = self.constant(f"{node.x.name}_inverse", np.array([1 / node.quant.x_scale], np.float32))
            size = padded(depth) // 4 if wide else 2 * groups(depth)
            rounded = self.new_buffer(f"{node.x.name}_rounded", Layout(size), rows, False)
            self.rounded[node.x, blocks] = rounded
            self.touch(rounded)
            quantise = (VectorQuantiseKernel if wide else QuantiseKernel)(rows, depth, x.buffer.layout)
            calls.append(Call(quantise, (x, inverse, Arg(rounded)), name))
        self.touch(rounded)
        epilogue, matrices, vectors = self.epilogue(node.out, maps, blocks)
        buffer = self.place(out, blocks, keep)
        factor = np.float32(self.factors.get(node.out, 1))
        scale = node.quant.scale * np.float32(node.quant.x_scale) * factor
        packed = (pack_blocks if wide else pack)(node.quant.values)
        constants = [self.constant(f"{name}_weight", packed), self.constant(f"{name}_scale", scale)]
        if node.bias is not None:
            constants.append(self.constant(f"{name}_bias", node.bias * factor))
        extra = [self.constant(f"{out.name}_vector{i}", v) for i, v in enumerate(vectors)]
        kind = Int8VectorLinearKernel if wide else Int8LinearKernel
        kernel = kind(rows, depth, width, node.bias is not None, buffer.layout, epilogue)
        if kernel.gelu:
            extra.append(self.constant("normal_table", normal_table()))
        args = (Arg(rounded), *constants, *matrices, *extra, self.write(buffer, blocks))
        return [*calls, Call(kernel, args, out.name)]

    def head_linear(self, node: HeadLinear, keep: Sequence[Value], blocks: bool) -> HeadLoop:
        heads, depth, width = node.weight.shape
        tile = self.tile(width, blocks)
        while width % tile:
            tile -= 1
        x = self.read(node.x, blocks, per_head=depth)
        buffer = self.place(node.out, blocks, keep)
        values: Stored = node.weight if node.quant is None else node.quant.values
        packed = values.reshape(heads, depth, -1, tile).transpose(0, 2, 1, 3)
        weight = self.constant(f"{node.out.name}_weight", packed)
        args = [x, Arg(symbol=weight.symbol, per_head=depth * width)]
        if node.quant is not None:
            scale = self.constant(f"{node.out.name}_scale", node.quant.scale)
            args.append(Arg(symbol=scale.symbol, per_head=width))
        if node.bias is not None:
            bias = self.constant(f"{node.out.name}_bias", node.bias)
            args.append(Arg(symbol=bias.symbol, per_head=width))
        args.append(self.write(buffer, blocks, per_head=width))
        assert x.buffer is not None
        row = RowLinearKernel if self.in_a_row(x.buffer, blocks, tile) else LinearKernel
        kind = row if node.quant is None else WeightLinearKernel
        kernel = kind(
            self.block_rows(blocks),
            depth,
            width,
            tile,
            self.target.unroll,
            node.bias is not None,
            x.buffer.layout,
            buffer.layout,
        )
        return HeadLoop(heads, (Call(kernel, tuple(args), node.out.name),))

    def norm(self, node: Norm, keep: Sequence[Value], blocks: bool) -> Call:
        x = self.read(node.x, blocks)
        buffer = self.place(node.out, blocks, keep)
        affine = []
        if node.scale is not None:
            shift = np.zeros_like(node.scale) if node.shift is None else node.shift
            affine = [
                self.constant(f"{node.out.name}_scale", node.scale),
                self.constant(f"{node.out.name}_shift", shift),
            ]
        assert x.buffer is not None
        panels = blocks and x.buffer.layout.panel and buffer.layout.panel and not affine
        kernel = (PanelNormKernel if panels else NormKernel)(
            self.block_rows(blocks), node.out.width, node.epsilon, bool(affine), x.buffer.layout, buffer.layout
        )
        return Call(kernel, (x, *affine, self.write(buffer, blocks)), node.out.name)

    def map(self, group: Sequence[Node], out: Value, keep: Sequence[Value], blocks: bool) -> Call:
        start = group[0].inputs[0]
        x = self.read(start, blocks)
        epilogue, matrices, vectors = self.epilogue(start, group, blocks)
        buffer = self.place(out, blocks, keep)
        constants = [self.constant(f"{out.name}_vector{i}", v) for i, v in enumerate(vectors)]
        assert x.buffer is not None
        kernel = MapKernel(self.block_rows(blocks), out.width, x.buffer.layout, buffer.layout, epilogue)
        return Call(kernel, (x, *matrices, *constants, self.write(buffer, blocks)), out.name)

    def epilogue(self, start: Value, maps: Sequence[Node], blocks: bool) -> tuple[Epilogue, list[Arg], list[Array]]:
        """The steps of a group's elementwise nodes, with the row matrices and vectors they read."""
        results = {start: 0}
        matrices: dict[Value, Arg] = {}
        vectors: list[Array] = []
        steps = []
        for node in maps:
            assert isinstance(node, Map)
            operands: list[tuple[str, float]] = []
            for arg in node.args:
                if isinstance(arg, Value):
                    if arg in results:
                        operands.append(("t", results[arg]))
                        continue
                    if arg not in matrices:
                        matrices[arg] = self.read(arg, blocks)
                    operands.append(("x", list(matrices).index(arg)))
                elif arg.ndim == 0:
                    operands.append(("c", float(arg)))
                else:
                    operands.append(("v", len(vectors)))
                    vectors.append(arg)
            steps.append(Step(node.op, tuple(operands)))
            results[node.out] = len(steps)
        layouts = tuple(a.buffer.layout for a in matrices.values() if a.buffer is not None)
        return Epilogue(tuple(steps), layouts, len(vectors)), list(matrices.values()), vectors

    def attention(self, node: Attention, keep: Sequence[Value], blocks: bool) -> HeadLoop:
        rows = self.block_rows(blocks)
        q = self.read(node.q, blocks, per_head=node.depth)
        k, v = self.stored[node.k], self.stored[node.v]
        self.touch(k, v)
        buffer = self.place(node.out, blocks, keep)
        width = -(-self.graph.rows // KEY_TILE) * KEY_TILE
        scores = self.new_buffer(f"{node.out.name}_scores", Layout(width), rows, False)
        inverse = self.new_buffer(f"{node.out.name}_inverse", Layout(1), rows, False)
        self.touch(scores, inverse)
        tile = self.tile(node.value_depth, blocks)
        while node.value_depth % tile:
            tile -= 1
        assert q.buffer is not None
        keys, tiles = Arg(symbol="keys"), Arg(symbol="tiles")
        k_arg = Arg(k, per_head=0 if node.shared else k.layout.at(0, node.depth))
        v_arg = Arg(v, per_head=0 if node.shared else v.layout.at(0, node.value_depth))
        out = self.write(buffer, blocks, per_head=node.value_depth)
        panels = blocks and self.in_panels(node)
        mixer = PanelMixKernel if panels else VectorMixKernel if self.vector(blocks, tile) else MixKernel
        mix = mixer(rows, node.value_depth, tile, v.layout, buffer.layout, width)
        shape = (rows, node.depth, q.buffer.layout, k.layout, width, self.target.unroll)
        name = node.out.name
        if panels:
            zeros = self.constant("zeros", np.zeros(PANEL, np.float32))
            table = self.constant("exp2_table", exp2_table())
            calls = (
                Call(PanelScoresKernel(*shape), (zeros, q, k_arg, Arg(scores), tiles), name),
                Call(PanelSoftmaxKernel(rows, width), (Arg(scores), table, Arg(inverse), keys, tiles), name),
                Call(mix, (zeros, Arg(scores), Arg(inverse), v_arg, out, tiles), name),
            )
        else:
            calls = (
                Call(ScoresKernel(*shape), (q, k_arg, Arg(scores), tiles), name),
                Call(SoftmaxKernel(rows, width), (Arg(scores), Arg(inverse), keys, tiles), name),
                Call(mix, (Arg(scores), Arg(inverse), v_arg, out, keys), name),
            )
        return HeadLoop(node.heads, calls)


def _groups(graph: Graph, nodes: Sequence[Node], keep: Sequence[Value]) -> list[list[Node]]:
    """Nodes that become one kernel: a linear (or a first map) and the elementwise nodes after it.

    A group is the longest run of maps that starts from the kernel's result, reads nothing that is not
    there yet, and leaves exactly one value that anyone else reads.
    """
    left = list(nodes)
    groups: list[list[Node]] = []
    ready = {i for n in nodes for i in n.inputs} - {n.out for n in nodes}
    while left:
        head = left.pop(0)
        members, best = [head], [head]
        if isinstance(head, Linear | Map):
            outs = {head.out}
            for node in left:
                joins = isinstance(node, Map) and any(i in outs for i in node.inputs)
                if not joins or not all(i in outs or i in ready for i in node.inputs):
                    continue
                members = [*members, node]
                outs.add(node.out)
                seen = [
                    m.out
                    for m in members
                    if m.out is graph.output
                    or any(m.out is k for k in keep)
                    or any(all(r is not x for x in members) for r in graph.consumers(m.out))
                ]
                if seen == [node.out] or seen == []:
                    best = members
        groups.append(best)
        left = [n for n in left if all(n is not m for m in best)]
        ready.update(n.out for n in best)
    return groups
