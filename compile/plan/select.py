"""Which kernel computes what: by the target, by how many rows there are and by how they lie."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..graph.bounds import largest_score, largest_sum
from ..graph.nodes import ALL, Attention, Graph, HeadLinear, Linear, Map, demand
from ..kernels.base import PANEL, Layout, LinearKernel
from ..kernels.int8 import RowWeightLinearKernel, WeightLinearKernel
from ..kernels.panel import COLUMNS as ROW_COLUMNS
from ..kernels.panel import PanelLinearKernel, RowLinearKernel
from ..kernels.tables import GELU_HALF, GELU_MOST, GELU_STEPS, POWERS_OCTAVES
from ..kernels.vector import COLUMNS, ROWS, VectorLinearKernel
from ..targets import Target


def block_rows(target: Target, blocks: bool = True) -> int:
    """Rows that a kernel computes at a time."""
    return (PANEL if target.panels else target.rows) if blocks else 1


def tile_of(target: Target, width: int, blocks: bool) -> int:
    """Columns of a linear's tile."""
    wide = PANEL if target.panels else target.columns
    return min(wide if blocks else target.single_columns, width)


def panel_attentions(graph: Graph, target: Target) -> frozenset[Attention]:
    """The attentions that kernels on panels compute."""
    needed = demand(graph)

    def fits(node: Attention) -> bool:
        alone = isinstance(graph.producer(node.q), Linear) and graph.used_once(node.q) and graph.used_once(node.v)
        rows = needed[node.out] == ALL and node.out is not graph.output
        return alone and rows and not node.shared and node.value_depth % PANEL == 0

    if not target.panels:
        return frozenset()
    return frozenset(n for n in graph.nodes if isinstance(n, Attention) and fits(n))


def heads_in_panels(graph: Graph, target: Target) -> frozenset[Attention]:
    """The attentions of one row whose heads, which read the same rows, are computed in fours, as a panel's rows."""

    def fits(node: Attention) -> bool:
        alone = isinstance(graph.producer(node.q), HeadLinear) and graph.used_once(node.q)
        same = node.k is node.v and node.v is not graph.output and node.value_depth % 2 == 0
        return alone and same and node.heads % PANEL == 0 and not node.causal

    shared = [n for n in graph.nodes if isinstance(n, Attention) and n.shared]
    if not target.panels or target.integers or not shared:
        return frozenset()
    needed = demand(graph)
    return frozenset(n for n in shared if needed[n.out] != ALL and fits(n))


def in_a_row(target: Target, x: Layout, blocks: bool, tile: int) -> bool:
    """Whether RowLinearKernel computes a tile of one row."""
    return target.panels and not blocks and not x.tile and tile == ROW_COLUMNS


def by_vectors(target: Target, blocks: bool, tile: int) -> bool:
    """Whether a tile is one that kernel_vector.h computes, and the target is better off with that."""
    return target.vectors and (block_rows(target, blocks), tile) == (ROWS, COLUMNS)


def rows_kernel(target: Target, node: Linear | HeadLinear, x: Layout, blocks: bool, tile: int) -> type[LinearKernel]:
    """Of one row alone, or of any."""
    alone = in_a_row(target, x, blocks, tile)
    if node.quant is not None:
        return RowWeightLinearKernel if alone else WeightLinearKernel
    return RowLinearKernel if alone else LinearKernel


def linear_kernel(target: Target, node: Linear, x: Layout, blocks: bool, tile: int) -> type[LinearKernel]:
    if node.quant is None and blocks and x.panel and tile == PANEL:
        return PanelLinearKernel
    if node.quant is None and by_vectors(target, blocks, tile):
        return VectorLinearKernel
    return rows_kernel(target, node, x, blocks, tile)


def scores_within(graph: Graph, attentions: Iterable[Attention]) -> frozenset[Attention]:
    """The attentions whose scores sp_k_panel_powers_within takes as they are, whatever the input."""
    largest = {node: largest_score(graph, node) for node in attentions}
    return frozenset(n for n, most in largest.items() if most is not None and most < POWERS_OCTAVES - 1)


def gelus_within(graph: Graph, target: Target) -> tuple[frozenset[Linear], int]:
    """The linears whose GELU a table has in full, whatever the input, and how many entries either half of it needs."""
    if not target.panels or target.integers:
        return frozenset(), GELU_HALF
    largest = dict[Linear, float]()
    for node in graph.nodes:
        linear = graph.producer(node.inputs[0]) if isinstance(node, Map) and node.op == "gelu" else None
        most = largest_sum(graph, linear) if isinstance(linear, Linear) and linear.quant is None else None
        if isinstance(linear, Linear) and most is not None and most < GELU_MOST:
            largest[linear] = most
    return frozenset(largest), max(GELU_HALF, math.ceil(GELU_STEPS * max(largest.values(), default=0)) + 1)
