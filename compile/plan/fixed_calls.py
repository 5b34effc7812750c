"""Nodes as calls of kernels on integers (kernels/fixed.py), for targets without an FPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph.nodes import Attention, Graph, HeadLinear, Linear, Node, Value
from ..kernels.base import PANEL, Epilogue, Layout, NormKernel
from ..kernels.fixed import (
    FixedAttentionKernel,
    FixedInt8LinearKernel,
    FixedKernel,
    FixedLinearKernel,
    FixedNormKernel,
    FixedQuantiseKernel,
    FixedSharedKernel,
    fixed,
    normals_table,
    pack_bytes,
    powers_table,
)
from ..kernels.int8 import Int8LinearKernel, QuantiseKernel
from ..precision import Quant
from ..targets import Target
from .calls import Calls
from .memory import Memory
from .places import Places
from .program import Arg, Buffer, Call, HeadLoop, Item, Stored

_WIDEST = 4096  # row of a normalisation whose sum of integers fits


class FixedCalls(Calls):
    """Linears in single precision, normalisations and attentions on panels by integers; all else as Calls does."""

    gelu_factor = np.float32(1)

    def __init__(
        self,
        graph: Graph,
        target: Target,
        memory: Memory,
        places: Places,
        in_panels: frozenset[Attention] = frozenset(),
    ) -> None:
        alone = frozenset(n for n in in_panels if graph.used_once(n.k))
        super().__init__(graph, target, memory, places, alone)
        self.factors = {}
        self.kept: dict[Value, tuple[Buffer, Buffer]] = {}  # keys and values as integers, with their exponent

    def begin_phase(self) -> None:
        super().begin_phase()
        self.integers: dict[tuple[Value, bool], tuple[Buffer, Buffer]] = {}

    # ---- linears

    def linear(self, node: Linear, maps: Sequence[Node], out: Value, keep: Sequence[Value], blocks: bool) -> list[Item]:
        """A call that makes integers of the input, unless an earlier linear of the loop has, and one for the linear."""
        if node.quant is not None:
            return super().linear(node, maps, out, keep, blocks)
        depth, width = node.weight.shape
        calls: list[Item] = []
        made = self.integers.get((node.x, blocks))
        if made is None:
            made = self.integers[node.x, blocks] = self.room(node.x.name, depth, self.rows(blocks))
            calls.append(self.input(self.places.read(node.x, blocks), depth, blocks, made, node.out.name))
        self.memory.touch(*made)
        epilogue, matrices, vectors = self.epilogue(node.out, maps, blocks)
        buffer = self.places.place(out, blocks, keep)
        kernel = FixedLinearKernel(self.rows(blocks), depth, width, buffer.layout, epilogue)
        extra = [self.memory.constant(f"{out.name}_vector{i}", v) for i, v in enumerate(vectors)]
        if kernel.gelu:
            extra.append(self.gelu_table())
        constants = self.weight(node, blocks)
        args = (*map(Arg, made), *constants, *matrices, *extra, self.places.write(buffer, blocks))
        return [*calls, Call(kernel, args, out.name)]

    def gelu_table(self) -> Arg:
        return self.memory.constant("normals_table", normals_table())

    def quantise_kernel(self, rows: int, depth: int, x: Layout) -> QuantiseKernel:
        return FixedQuantiseKernel(rows, depth, x)

    def int8_kernel(self, quant: Quant) -> tuple[Stored, type[Int8LinearKernel]]:
        return pack_bytes(quant.values), FixedInt8LinearKernel

    def input(self, x: Arg, depth: int, blocks: bool, made: tuple[Buffer, Buffer], what: str) -> Call:
        """Integers of a block of rows, or of one row."""
        assert x.buffer is not None
        step = PANEL if x.buffer.layout.panel and not blocks else 1
        kernel = FixedKernel(self.rows(blocks), depth * self.rows(blocks), step=step)
        return Call(kernel, (x, *map(Arg, made)), what)

    def room(self, name: str, depth: int, rows: int) -> tuple[Buffer, Buffer]:
        """Integers and their exponent."""
        return (
            self.memory.new_buffer(f"{name}_fixed", Layout(depth), rows),
            self.memory.new_buffer(f"{name}_exponent", Layout(1), 1),
        )

    def weight(self, node: Linear | HeadLinear, blocks: bool) -> list[Arg]:
        """Weights as the kernel reads them, their units and the bias."""
        name, width = node.out.name, node.out.width
        weight = node.weight if node.weight.ndim == 3 else node.weight[None]
        bias = np.zeros(width, np.float32) if node.bias is None else node.bias
        bias = bias.reshape(len(weight), -1)
        integers, powers = fixed(weight)
        if not blocks:  # whole tiles of four columns
            spare = -weight.shape[2] % PANEL
            integers = np.pad(integers, ((0, 0), (0, 0), (0, spare)))
            powers, bias = np.pad(powers, ((0, 0), (0, spare))), np.pad(bias, ((0, 0), (0, spare)))
        heads, depth, _ = integers.shape
        tile = 1 if blocks else PANEL
        packed = integers.reshape(heads, depth, -1, tile).transpose(0, 2, 1, 3)
        wanted = ("weight", packed), ("units", powers), ("bias", bias)
        return [self.memory.constant(f"{name}_{part}", array) for part, array in wanted]

    def head_linear(self, node: HeadLinear, keep: Sequence[Value], blocks: bool) -> HeadLoop:
        heads, depth, width = node.weight.shape
        if node.quant is not None or blocks:
            return super().head_linear(node, keep, blocks)
        x = self.places.read(node.x, blocks, per_head=depth)
        made = self.room(node.x.name, depth, 1)
        self.memory.touch(*made)
        buffer = self.places.place(node.out, blocks, keep)
        kernel = FixedLinearKernel(1, depth, width, buffer.layout, Epilogue())
        tiles = -(-width // PANEL) * PANEL
        weight, units, bias = self.weight(node, blocks)
        constants = (
            Arg(symbol=weight.symbol, per_head=depth * tiles),
            Arg(symbol=units.symbol, per_head=tiles),
            Arg(symbol=bias.symbol, per_head=tiles),
        )
        out = self.places.write(buffer, blocks, per_head=width)
        name = node.out.name
        calls = (
            self.input(x, depth, blocks, made, name),
            Call(kernel, (*map(Arg, made), *constants, out), name),
        )
        return HeadLoop(heads, calls)

    # ---- normalisation and attention

    def norm_kernel(self, blocks: bool, layouts: tuple[Layout, Layout], affine: bool) -> type[NormKernel]:
        x, out = layouts
        fits = not affine and x.size <= _WIDEST and not x.tile and not out.tile
        return FixedNormKernel if fits else NormKernel

    def keys_and_values(self, node: Attention) -> list[Call]:
        """Integers of an attention's keys and values, in their place, once all rows of them are there."""
        if node not in self.in_panels:
            return []
        calls = []
        for value in (node.k, node.v):
            buffer = self.places.stored[value]
            exponent = self.memory.new_buffer(f"{value.name}_exponent", Layout(1), 1, whole=True)
            self.memory.touch(buffer, exponent)
            self.kept[value] = buffer, exponent
            width = buffer.layout.size
            tile = buffer.layout.tile
            shape = (PANEL * PANEL, width // PANEL, tile) if tile else (PANEL * width, 1, 0)
            kernel = FixedKernel(PANEL, *shape, tiled=True)
            calls.append(Call(kernel, (Arg(buffer), Arg(symbol="tiles"), Arg(buffer), Arg(exponent)), node.out.name))
        self.memory.time += 1
        return calls

    def attention(self, node: Attention, keep: Sequence[Value], blocks: bool) -> Item:
        if node.k in self.kept and blocks:
            return self.panel_attention(node, keep)
        k, v = self.places.stored[node.k], self.places.stored[node.v]
        if not blocks and node.shared and node.heads == PANEL and k.layout.panel and v.layout.panel:
            return self.shared_attention(node, k, v, keep)
        return super().attention(node, keep, blocks)

    def panel_attention(self, node: Attention, keep: Sequence[Value]) -> Item:
        q = self.places.read(node.q, True, per_head=node.depth)
        (k, k_exponent), (v, v_exponent) = self.kept[node.k], self.kept[node.v]
        self.memory.touch(k, k_exponent, v, v_exponent)
        buffer = self.places.place(node.out, True, keep)
        out = self.places.write(buffer, True, per_head=node.value_depth)
        tiles = -(-self.graph.rows // PANEL)
        scratch = self.memory.new_buffer(f"{node.out.name}_scratch", Layout(PANEL), PANEL * tiles + node.depth)
        self.memory.touch(scratch)
        kernel = FixedAttentionKernel(
            PANEL, node.depth, node.value_depth, PANEL * k.layout.size, v.layout.tile, buffer.layout
        )
        args = (
            q,
            Arg(k, per_head=k.layout.at(0, node.depth)),
            Arg(k_exponent),
            Arg(v, per_head=v.layout.at(0, node.value_depth)),
            Arg(v_exponent),
            Arg(scratch),
            self.memory.constant("powers_table", powers_table()),
            Arg(symbol="keys"),
            Arg(symbol="tiles"),
            out,
        )
        return HeadLoop(node.heads, (Call(kernel, args, node.out.name),))

    def shared_attention(self, node: Attention, k: Buffer, v: Buffer, keep: Sequence[Value]) -> Item:
        q = self.places.read(node.q, False)
        self.memory.touch(k, v)
        buffer = self.places.place(node.out, False, keep)
        out = self.places.write(buffer, False)
        room = PANEL * -(-self.graph.rows // PANEL) + node.depth + max(node.depth, 2 * node.value_depth)
        scratch = self.memory.new_buffer(f"{node.out.name}_scratch", Layout(PANEL), room)
        self.memory.touch(scratch)
        powers = self.memory.constant("powers_table", powers_table())
        args = (q, Arg(k), Arg(v), Arg(scratch), powers, Arg(symbol="keys"), Arg(symbol="tiles"), out)
        return Call(FixedSharedKernel(1, node.depth, node.value_depth), args, node.out.name)
