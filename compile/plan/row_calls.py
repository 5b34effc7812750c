"""Nodes as calls of kernels on whole matrices (kernels/rows.py), for targets with vectors of floats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph.nodes import Attention, Linear, Node, Value
from ..kernels.base import Epilogue, Layout, MapKernel, NormKernel
from ..kernels.rows import (
    PANEL,
    RowsAttentionKernel,
    RowsInt8LinearKernel,
    RowsLinearKernel,
    RowsMapKernel,
    RowsNormKernel,
    RowsQuantiseKernel,
    fits,
    pack_pairs,
    pack_panels,
    pad_panels,
)
from .calls import Calls
from .program import Arg, Call, Item, Stored

PRESENT = Arg(symbol="keys")  # the rows


class RowCalls(Calls):
    """`blocks`: all rows that are present, which a kernel is told; else one row."""

    def rows(self, blocks: bool) -> int:
        return self.graph.rows if blocks else 1

    def given(self, blocks: bool) -> tuple[Arg, ...]:
        return (PRESENT,) if blocks else ()

    def linear(self, node: Linear, maps: Sequence[Node], out: Value, keep: Sequence[Value], blocks: bool) -> list[Item]:
        """One call, in front of it one that rounds the input to 8 bits unless an earlier linear has, behind it one for
        the elementwise nodes that it does not do."""
        items, x, kind, weight = self.operands(node, blocks)
        epilogue, matrices, _ = self.epilogue(node.out, maps, blocks)
        apart = not fits(epilogue.steps)
        if apart:
            epilogue, matrices = Epilogue(), []
        buffer = self.places.place(node.out if apart else out, blocks, keep)
        name, quant = node.out.name, node.quant
        args = [x, self.memory.constant(f"{name}_weight", weight)]
        if quant is not None:
            args.append(self.memory.constant(f"{name}_scale", pad_panels(quant.scale * np.float32(quant.x_scale or 1))))
        if node.bias is not None:
            args.append(self.memory.constant(f"{name}_bias", pad_panels(node.bias)))
        assert x.buffer is not None
        kernel = kind(
            self.rows(blocks),
            node.x.width,
            node.out.width,
            PANEL,
            1,
            node.bias is not None,
            x.buffer.layout,
            buffer.layout,
            epilogue,
            given=blocks,
            scaled=quant is not None,
        )
        args += [*matrices, self.places.write(buffer, blocks), *self.given(blocks)]
        items.append(Call(kernel, tuple(args), name if apart else out.name))
        if apart:
            self.memory.time += 1
            items.append(self.map(maps, out, keep, blocks))
        return items

    def operands(self, node: Linear, blocks: bool) -> tuple[list[Item], Arg, type[RowsLinearKernel], Stored]:
        """What comes first, then x, the kernel and the packed weight."""
        x = self.places.read(node.x, blocks)
        if node.quant is None:
            return [], x, RowsLinearKernel, pack_panels(node.weight)
        if node.quant.x_scale is None:
            return [], x, RowsLinearKernel, pack_panels(node.quant.values)
        items: list[Item] = []
        rounded = self.rounded.get((node.x, blocks))
        if rounded is None:
            assert x.buffer is not None
            depth, rows = node.x.width, self.rows(blocks)
            inverse = self.memory.constant(f"{node.x.name}_inverse", np.array([1 / node.quant.x_scale], np.float32))
            rounded = self.memory.new_buffer(f"{node.x.name}_rounded", Layout(-(-depth // 2)), rows)
            self.rounded[node.x, blocks] = rounded
            quantise = RowsQuantiseKernel(rows, depth, x.buffer.layout, blocks)
            items = [Call(quantise, (x, inverse, Arg(rounded), *self.given(blocks)), node.out.name)]
        self.memory.touch(rounded)
        return items, Arg(rounded), RowsInt8LinearKernel, pack_pairs(node.quant.values)

    def norm_kernel(self, blocks: bool, layouts: tuple[Layout, Layout], affine: bool) -> type[NormKernel]:
        return RowsNormKernel

    def map_kernel(self, blocks: bool) -> type[MapKernel]:
        return RowsMapKernel if blocks else MapKernel

    def attention(self, node: Attention, keep: Sequence[Value], blocks: bool) -> Item:
        """Of all heads; of one row, where they read the same keys and values."""
        if not blocks and not node.shared:
            return super().attention(node, keep, blocks)
        q = self.places.read(node.q, blocks)
        k, v = self.places.stored[node.k], self.places.stored[node.v]
        self.memory.touch(k, v)
        buffer = self.places.place(node.out, blocks, keep)
        out = self.places.write(buffer, blocks)
        assert q.buffer is not None
        rows, heads, ours, theirs = self.rows(blocks), node.heads, q.buffer.layout, buffer.layout
        if not blocks:  # its heads become the rows of one
            rows, heads, ours, theirs = node.heads, 1, Layout(node.depth), Layout(node.value_depth)
        shares = 0 if node.shared else 1
        steps = (node.depth, shares * node.depth, shares * node.value_depth, node.value_depth)
        layouts = ours, k.layout, v.layout, theirs
        kernel = RowsAttentionKernel(
            rows, node.depth, node.value_depth, *layouts, heads, steps, self.graph.rows, given=blocks
        )
        scratch = self.memory.new_buffer(f"{node.out.name}_scratch", Layout(kernel.workers * kernel.scratch), 1)
        self.memory.touch(scratch)
        return Call(kernel, (q, Arg(k), Arg(v), Arg(scratch), out, PRESENT), node.out.name)
