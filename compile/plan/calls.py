"""Nodes of the graph as kernel calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..graph.nodes import Array, Attention, Graph, HeadLinear, Linear, Map, Node, Norm, Value
from ..kernels.base import (
    KEY_TILE,
    PANEL,
    Epilogue,
    Layout,
    MapKernel,
    MixKernel,
    NormKernel,
    ScoresKernel,
    SoftmaxKernel,
    Step,
)
from ..kernels.int8 import Int8LinearKernel, QuantiseKernel, groups, pack
from ..kernels.int8_vector import Int8VectorLinearKernel, VectorQuantiseKernel, pack_blocks, padded
from ..kernels.panel import (
    HeadsMixKernel,
    HeadsPanelKernel,
    PanelLinearKernel,
    PanelMixKernel,
    PanelNormKernel,
    PanelScoresKernel,
    PanelSoftmaxKernel,
    started,
)
from ..kernels.tables import (
    EXP2_STEPS,
    GELU_COLUMNS,
    GELU_STEPS,
    POWERS_STEPS,
    exp2_table,
    gelu_table,
    powers_table,
)
from ..kernels.vector import VectorMixKernel
from ..precision import Quant
from ..targets import Target
from .groups import groups_of
from .memory import Memory
from .places import Places
from .program import Arg, Buffer, Call, HeadLoop, Item, Stored
from .select import (
    block_rows,
    by_vectors,
    gelus_within,
    heads_in_panels,
    linear_kernel,
    rows_kernel,
    scores_within,
    tile_of,
)


class Calls:
    """Makes the calls of one lowering. in_panels: the attentions that kernels on panels compute.

    left: in C, how many rows are left from the block at hand on.
    """

    left = Arg(symbol="left")
    gelu_factor = np.float32(GELU_STEPS)  # what the table's kernels want their sums multiplied by

    def __init__(
        self,
        graph: Graph,
        target: Target,
        memory: Memory,
        places: Places,
        in_panels: frozenset[Attention] = frozenset(),
    ) -> None:
        self.graph, self.target, self.memory, self.places = graph, target, memory, places
        self.in_panels, self.heads_in_panels = in_panels, heads_in_panels(graph, target)
        by_panels = () if target.integers else (*in_panels, *self.heads_in_panels)
        self.within = scores_within(graph, by_panels)
        #: Values that are kept multiplied by a number: what those kernels' tables of powers of two want.
        self.factors = {n.q: POWERS_STEPS if n in self.within else EXP2_STEPS for n in by_panels}
        #: Linears whose GELU's table has all that they can be, and the entries of either half.
        self.within_gelu, self.gelu_half = gelus_within(graph, target)
        self.begin_phase()

    def rows(self, blocks: bool) -> int:
        """Rows that a kernel computes at a time."""
        return block_rows(self.target, blocks)

    def given(self, blocks: bool) -> tuple[Arg, ...]:
        """What a kernel is told of them, in the end."""
        return ()

    def begin_phase(self) -> None:
        """What a linear has rounded for others of its loop is gone."""
        self.rounded: dict[tuple[Value, bool], Buffer] = {}

    def emit(self, nodes: Sequence[Node], items: list[Item], keep: Sequence[Value], blocks: bool) -> None:
        for group in groups_of(self.graph, nodes, keep):
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
            self.memory.time += 1

    def linear(self, node: Linear, maps: Sequence[Node], out: Value, keep: Sequence[Value], blocks: bool) -> list[Item]:
        """One call, or two when the width is not a multiple of the tile."""
        if node.quant is not None and node.quant.x_scale is not None:
            return self.int8_linear(node, maps, out, keep, blocks)
        x = self.places.read(node.x, blocks)
        assert x.buffer is not None
        factor = np.float32(self.factors.get(node.out, 1))
        weight: Stored = node.weight * factor if node.quant is None else node.quant.values
        epilogue, matrices, vectors = self.epilogue(node.out, maps, blocks)
        buffer = self.places.place(out, blocks, keep)
        width, tile = node.out.width, tile_of(self.target, node.out.width, blocks)
        calls: list[Item] = []
        for start, stop, step in ((0, width - width % tile, tile), (width - width % tile, width, width % tile)):
            if start == stop:
                continue
            tail = "_tail" if start else ""
            part = weight[:, start:stop]
            kind = linear_kernel(self.target, node, x.buffer.layout, blocks, step)
            bias = None if node.bias is None else node.bias[start:stop] * factor
            sizes = (self.rows(blocks), part.shape[0], stop - start, step, self.target.unroll)
            kernel = kind(*sizes, bias is not None, x.buffer.layout, buffer.layout, epilogue)
            by_table = any(p.name == "table" for p in kernel.parameters)
            if by_table:
                part, bias = part * self.gelu_factor, None if bias is None else bias * self.gelu_factor
            if isinstance(kernel, PanelLinearKernel):
                kernel, part, bias = started(kernel, part, bias)
                kernel = replace(kernel, within=kernel.gelu and node in self.within_gelu)
            args = [x, self.memory.constant(f"{node.out.name}_weight{tail}", kernel.packed(part))]
            if node.quant is not None:
                args.append(self.memory.constant(f"{node.out.name}_scale{tail}", node.quant.scale[start:stop] * factor))
            if bias is not None:
                args.append(self.memory.constant(f"{node.out.name}_bias{tail}", bias))
            for matrix in matrices:
                assert matrix.buffer is not None
                at = matrix.offset + matrix.buffer.layout.at(0, start)
                args.append(Arg(matrix.buffer, "", at, matrix.per_block))
            for i, vector in enumerate(vectors):
                args.append(self.memory.constant(f"{out.name}_vector{i}{tail}", vector[start:stop]))
            if by_table:
                args.append(self.gelu_table())
            args.append(self.places.write(buffer, blocks, start))
            if isinstance(kernel, PanelLinearKernel):
                args.append(self.left)
            calls.append(Call(kernel, tuple(args), out.name))
        return calls

    def int8_linear(
        self, node: Linear, maps: Sequence[Node], out: Value, keep: Sequence[Value], blocks: bool
    ) -> list[Item]:
        """A call that rounds the input, unless an earlier linear of the loop has done it, and one for the linear."""
        assert node.quant is not None
        name, rows, wide = node.out.name, self.rows(blocks), self.target.int8_vectors
        depth, width = node.weight.shape
        calls: list[Item] = []
        rounded = self.rounded.get((node.x, blocks))
        if rounded is None:
            x = self.places.read(node.x, blocks)
            assert x.buffer is not None and node.quant.x_scale is not None
            inverse = self.memory.constant(f"{node.x.name}_inverse", np.array([1 / node.quant.x_scale], np.float32))
            size = padded(depth) // 4 if wide else 2 * groups(depth)
            rounded = self.memory.new_buffer(f"{node.x.name}_rounded", Layout(size), rows)
            self.rounded[node.x, blocks] = rounded
            self.memory.touch(rounded)
            quantise = self.quantise_kernel(rows, depth, x.buffer.layout)
            calls.append(Call(quantise, (x, inverse, Arg(rounded)), name))
        self.memory.touch(rounded)
        epilogue, matrices, vectors = self.epilogue(node.out, maps, blocks)
        buffer = self.places.place(out, blocks, keep)
        factor = np.float32(self.factors.get(node.out, 1))
        packed, kind = self.int8_kernel(node.quant)
        kernel = kind(rows, depth, width, node.bias is not None, buffer.layout, epilogue)
        if kernel.gelu:
            factor = factor * self.gelu_factor
        scale = node.quant.scale * np.float32(node.quant.x_scale) * factor
        constants = [self.memory.constant(f"{name}_weight", packed), self.memory.constant(f"{name}_scale", scale)]
        if node.bias is not None:
            constants.append(self.memory.constant(f"{name}_bias", node.bias * factor))
        extra = [self.memory.constant(f"{out.name}_vector{i}", v) for i, v in enumerate(vectors)]
        if kernel.gelu:
            extra.append(self.gelu_table())
        args = (Arg(rounded), *constants, *matrices, *extra, self.places.write(buffer, blocks))
        return [*calls, Call(kernel, args, out.name)]

    def quantise_kernel(self, rows: int, depth: int, x: Layout) -> QuantiseKernel:
        return (VectorQuantiseKernel if self.target.int8_vectors else QuantiseKernel)(rows, depth, x)

    def int8_kernel(self, quant: Quant) -> tuple[Stored, type[Int8LinearKernel]]:
        """The weights as a kernel reads them, and the kernel."""
        if self.target.int8_vectors:
            return pack_blocks(quant.values), Int8VectorLinearKernel
        return pack(quant.values), Int8LinearKernel

    def gelu_table(self) -> Arg:
        """Its entry of zero."""
        table = self.memory.constant("gelu_table", gelu_table(self.gelu_half))
        return replace(table, offset=self.gelu_half * GELU_COLUMNS)

    def head_linear(self, node: HeadLinear, keep: Sequence[Value], blocks: bool) -> HeadLoop:
        heads, depth, width = node.weight.shape
        tile = tile_of(self.target, width, blocks)
        while width % tile:
            tile -= 1
        x = self.places.read(node.x, blocks, per_head=depth)
        buffer = self.places.place(node.out, blocks, keep)
        factor = np.float32(self.factors.get(node.out, 1))
        values: Stored = node.weight * factor if node.quant is None else node.quant.values
        packed = values.reshape(heads, depth, -1, tile).transpose(0, 2, 1, 3)
        weight = self.memory.constant(f"{node.out.name}_weight", packed)
        args = [x, Arg(symbol=weight.symbol, per_head=depth * width)]
        if node.quant is not None:
            scale = self.memory.constant(f"{node.out.name}_scale", node.quant.scale * factor)
            args.append(Arg(symbol=scale.symbol, per_head=width))
        if node.bias is not None:
            bias = self.memory.constant(f"{node.out.name}_bias", node.bias * factor)
            args.append(Arg(symbol=bias.symbol, per_head=width))
        args.append(self.places.write(buffer, blocks, per_head=width))
        assert x.buffer is not None
        kernel = rows_kernel(self.target, node, x.buffer.layout, blocks, tile)(
            self.rows(blocks),
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
        x = self.places.read(node.x, blocks)
        buffer = self.places.place(node.out, blocks, keep)
        affine = []
        if node.scale is not None:
            shift = np.zeros_like(node.scale) if node.shift is None else node.shift
            affine = [
                self.memory.constant(f"{node.out.name}_scale", node.scale),
                self.memory.constant(f"{node.out.name}_shift", shift),
            ]
        assert x.buffer is not None
        layouts = x.buffer.layout, buffer.layout
        kernel = self.norm_kernel(blocks, layouts, bool(affine))(
            self.rows(blocks), node.out.width, node.epsilon, bool(affine), *layouts
        )
        if isinstance(kernel, PanelNormKernel):
            kernel = replace(kernel, centred=node.centred)
        return Call(kernel, (x, *affine, self.places.write(buffer, blocks), *self.given(blocks)), node.out.name)

    def norm_kernel(self, blocks: bool, layouts: tuple[Layout, Layout], affine: bool) -> type[NormKernel]:
        return PanelNormKernel if blocks and all(layout.panel for layout in layouts) and not affine else NormKernel

    def map(self, group: Sequence[Node], out: Value, keep: Sequence[Value], blocks: bool) -> Call:
        start = group[0].inputs[0]
        x = self.places.read(start, blocks)
        epilogue, matrices, vectors = self.epilogue(start, group, blocks)
        buffer = self.places.place(out, blocks, keep)
        constants = [self.memory.constant(f"{out.name}_vector{i}", v) for i, v in enumerate(vectors)]
        assert x.buffer is not None
        kernel = self.map_kernel(blocks)(self.rows(blocks), out.width, x.buffer.layout, buffer.layout, epilogue)
        args = (x, *matrices, *constants, self.places.write(buffer, blocks), *self.given(blocks))
        return Call(kernel, args, out.name)

    def map_kernel(self, blocks: bool) -> type[MapKernel]:
        return MapKernel

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
                        matrices[arg] = self.places.read(arg, blocks)
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

    def attention(self, node: Attention, keep: Sequence[Value], blocks: bool) -> Item:
        if not blocks and node in self.heads_in_panels:
            return self.heads_attention(node, keep)
        rows = self.rows(blocks)
        q = self.places.read(node.q, blocks, per_head=node.depth)
        k, v = self.places.stored[node.k], self.places.stored[node.v]
        self.memory.touch(k, v)
        buffer = self.places.place(node.out, blocks, keep)
        scores, inverse, width = self.scores_of(node, rows)
        tile = tile_of(self.target, node.value_depth, blocks)
        while node.value_depth % tile:
            tile -= 1
        assert q.buffer is not None
        keys, tiles = Arg(symbol="keys"), Arg(symbol="tiles")
        k_arg = Arg(k, per_head=0 if node.shared else k.layout.at(0, node.depth))
        v_arg = Arg(v, per_head=0 if node.shared else v.layout.at(0, node.value_depth))
        out = self.places.write(buffer, blocks, per_head=node.value_depth)
        panels = blocks and node in self.in_panels
        mixer = PanelMixKernel if panels else VectorMixKernel if by_vectors(self.target, blocks, tile) else MixKernel
        mix = mixer(rows, node.value_depth, tile, v.layout, buffer.layout, width)
        shape = (rows, node.depth, q.buffer.layout, k.layout, width, self.target.unroll)
        name = node.out.name
        if panels:
            mix_args = (self.zeros(), Arg(scores), Arg(inverse), v_arg, out, keys, self.left)
            panel = self.panel_scores(node, PanelScoresKernel(*shape), q, k_arg, scores, inverse, self.left)
            return HeadLoop(node.heads, (*panel, Call(mix, mix_args, name)))
        calls = (
            Call(ScoresKernel(*shape), (q, k_arg, Arg(scores), tiles), name),
            Call(SoftmaxKernel(rows, width), (Arg(scores), Arg(inverse), keys, tiles), name),
            Call(mix, (Arg(scores), Arg(inverse), v_arg, out, keys), name),
        )
        return HeadLoop(node.heads, calls)

    def heads_attention(self, node: Attention, keep: Sequence[Value]) -> Item:
        """Four heads of the one row at a time, as if they were rows."""
        q = self.places.read(node.q, False, per_head=PANEL * node.depth)
        values = self.places.stored[node.v]
        self.memory.touch(values)
        buffer = self.places.place(node.out, False, keep)
        scores, inverse, width = self.scores_of(node, PANEL)
        panel = self.memory.new_buffer(f"{node.q.name}_panel", Layout(node.depth, panel=True), PANEL)
        self.memory.touch(panel)
        tiles, name = Arg(symbol="tiles"), node.out.name
        kernel = PanelScoresKernel(PANEL, node.depth, panel.layout, values.layout, width, self.target.unroll)
        mix = HeadsMixKernel(PANEL, node.value_depth, 2, values.layout, buffer.layout, width)
        out = self.places.write(buffer, False, per_head=PANEL * node.value_depth)
        calls = (
            Call(HeadsPanelKernel(PANEL, node.depth), (q, Arg(panel)), name),
            *self.panel_scores(node, kernel, Arg(panel), Arg(values), scores, inverse, Arg(symbol=str(PANEL))),
            Call(mix, (Arg(scores), Arg(inverse), Arg(values), out, tiles), name),
        )
        return HeadLoop(node.heads // PANEL, calls)

    def scores_of(self, node: Attention, rows: int) -> tuple[Buffer, Buffer, int]:
        """Room for the scores of so many rows, for the inverse of their sums, and how many keys have room."""
        width = -(-self.graph.rows // KEY_TILE) * KEY_TILE
        scores = self.memory.new_buffer(f"{node.out.name}_scores", Layout(width), rows)
        inverse = self.memory.new_buffer(f"{node.out.name}_inverse", Layout(1), rows)
        self.memory.touch(scores, inverse)
        return scores, inverse, width

    def panel_scores(
        self, node: Attention, kernel: PanelScoresKernel, q: Arg, k: Arg, scores: Buffer, inverse: Buffer, left: Arg
    ) -> tuple[Call, Call]:
        """Scores and their softmax on panels."""
        name, within = node.out.name, node in self.within
        table = ("powers_table", powers_table()) if within else ("exp2_table", exp2_table())
        keys, tiles = Arg(symbol="keys"), Arg(symbol="tiles")
        softmax = PanelSoftmaxKernel(kernel.rows, kernel.row_scores, within)
        args = (Arg(scores), self.memory.constant(*table), Arg(inverse), keys, tiles, left)
        return Call(kernel, (self.zeros(), q, k, Arg(scores), tiles, keys, left), name), Call(softmax, args, name)

    def zeros(self) -> Arg:
        """What sums of a tile on panels start from."""
        return self.memory.constant("zeros", np.zeros(PANEL * PANEL, np.float32))
