"""Layers on graphs: spline convolution (SplineCNN) and set abstraction (PointNet++), as in the paper's GNN and PCN.

A graph is tensors alone: the neighbours were looked for in C by the loader's workers (`spedge.tokens.graph`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

KERNEL = 4  #: of a spline in each of three dimensions
CORNERS = 8
CHUNK_FLOATS = 1 << 25  # of one convolution's intermediate sums at once


class Edges(NamedTuple):
    """Edges of a batch of graphs, ordered by target.

    source, target: int64 [E], node numbers. relative: float32 [E, 3], position of the source less that of the target,
    over the radius: each in (-1, 1). nodes: how many targets there are.
    """

    source: Tensor
    target: Tensor
    relative: Tensor
    nodes: int


class SplineBasis(NamedTuple):
    """What edges have in common for all convolutions on them.

    cell: int64 [E, 8], the kernel's matrices that an edge takes part in; weight: float32 [E, 8], how much.
    """

    cell: Tensor
    weight: Tensor


def spline_basis(edges: Edges) -> SplineBasis:
    """Open B-splines of degree 1 (experiments.md D; Fey et al. 2018): three linear weights on a grid of KERNEL^3.

    The matrix of a grid point is kx + KERNEL ky + KERNEL^2 kt.
    """
    place = (0.5 + edges.relative / 2) * (KERNEL - 1)
    low = place.floor().clamp(0, KERNEL - 2)
    share = place - low
    cell = torch.zeros(len(place), 1, dtype=torch.int64, device=place.device)
    weight = torch.ones(len(place), 1, dtype=place.dtype, device=place.device)
    for axis in range(3):
        first, part = low[:, axis : axis + 1].long(), share[:, axis : axis + 1]
        step = KERNEL**axis
        cell = torch.cat([cell + first * step, cell + (first + 1) * step], dim=1)
        weight = torch.cat([weight * (1 - part), weight * part], dim=1)
    return SplineBasis(cell, weight)


class SplineConv(nn.Module):
    """Mean over a node's incoming edges of the source's features times the edge's mixture of matrices.

    No root weight, no bias: a node without edges gets 0. Uniform start in ±1 / sqrt(64 inputs).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(KERNEL**3, inputs, outputs))
        bound = (KERNEL**3 * inputs) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, edges: Edges, basis: SplineBasis) -> Tensor:
        """x [sources, inputs] to [edges.nodes, outputs].

        Features are summed into (node, matrix, input) first and go through one product then: the same as a product
        for every edge. A few nodes at a time, and again when gradients are computed, since those sums are large.
        """
        cells, inputs, outputs = self.weight.shape
        step = max(1, CHUNK_FLOATS // (cells * inputs))
        if edges.nodes <= step:
            return self._nodes(x, edges, basis, self.weight)
        bounds = torch.arange(0, edges.nodes + step, step, device=x.device).clamp(max=edges.nodes)
        at = torch.searchsorted(edges.target, bounds).tolist()
        parts = []
        for i in range(len(at) - 1):
            first, last = i * step, min((i + 1) * step, edges.nodes)
            own = slice(at[i], at[i + 1])
            part = Edges(edges.source[own], edges.target[own] - first, edges.relative[own], last - first)
            some = SplineBasis(basis.cell[own], basis.weight[own])
            parts.append(checkpoint(self._nodes, x, part, some, self.weight, use_reentrant=False))
        return torch.cat(parts) if parts else x.new_zeros(0, outputs)

    @staticmethod
    def _nodes(x: Tensor, edges: Edges, basis: SplineBasis, weight: Tensor) -> Tensor:
        cells, inputs, outputs = weight.shape
        sums = x.new_zeros(edges.nodes * cells, inputs)
        for corner in range(CORNERS):
            rows = edges.target * cells + basis.cell[:, corner]
            sums = sums.index_add(0, rows, x[edges.source] * basis.weight[:, corner, None].to(x.dtype))
        degree = torch.bincount(edges.target, minlength=edges.nodes).clamp(min=1)
        mixed = sums.view(edges.nodes, cells * inputs) @ weight.view(cells * inputs, outputs)
        return mixed / degree[:, None].to(mixed.dtype)


def segment_max(x: Tensor, segment: Tensor, segments: int) -> Tensor:
    """Largest of each feature in each segment: x [n, features], segment int64 [n] to [segments, features].

    0 where a segment is empty.
    """
    index = segment[:, None].expand(-1, x.shape[1])
    return x.new_zeros(segments, x.shape[1]).scatter_reduce(0, index, x, "amax", include_self=False)


class PointMlp(nn.Sequential):
    """Linear, norm, ReLU twice, and a plain Linear: sizes are those of its input and of each output."""

    def __init__(self, inputs: int, first: int, second: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(inputs, first), nn.BatchNorm1d(first), nn.ReLU(),
            nn.Linear(first, second), nn.BatchNorm1d(second), nn.ReLU(),
            nn.Linear(second, outputs),
        )  # fmt: skip


class SetAbstraction(nn.Module):
    """For each centre the largest of MLP([features of a neighbour, its position less the centre's])."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mlp = PointMlp(inputs + 3, inputs, inputs, outputs)

    def forward(self, x: Tensor, edges: Edges, radius: float) -> Tensor:
        """x [sources, inputs] to [edges.nodes, outputs]. radius: what edges.relative was divided by."""
        seen = torch.cat([x[edges.source], (edges.relative * radius).to(x.dtype)], dim=1)
        return segment_max(self.mlp(seen), edges.target, edges.nodes)
