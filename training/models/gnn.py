"""The paper's GNN on tokens or events: spline convolutions, farthest-point sampling, spline convolutions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spedge.model.parts import Gnn

from .graph import Edges, SplineBasis, SplineConv, segment_max, spline_basis


class GnnGraph(NamedTuple):
    """A batch of samples, node after node: what `GnnEncoder` goes by.

    near: edges of all nodes within node_radius, loops included. sampled: int64 [m], nodes that are kept. far: edges of
    these within pool_radius, numbered among them, without loops. sample: int64 [m], which sample each of them is of.
    """

    near: Edges
    sampled: Tensor
    far: Edges
    sample: Tensor


class GnnLayer(nn.Module):
    """Spline convolution, ELU, then batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = SplineConv(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor, edges: Edges, basis: SplineBasis) -> Tensor:
        """x [nodes, inputs] to [nodes, outputs]."""
        normed: Tensor = self.norm(F.elu(self.conv(x, edges, basis)))
        return normed


class GnnEncoder(nn.Module):
    """Node features to features of the sampled nodes (experiments.md D)."""

    def __init__(self, config: Gnn) -> None:
        super().__init__()
        first, middle, last = config.channels
        sizes = [(first, middle), *[(middle, middle)] * 3, (middle, last), (last, last), (last, last)]
        self.layers = nn.ModuleList(GnnLayer(*size) for size in sizes)

    def forward(self, x: Tensor, graph: GnnGraph) -> Tensor:
        """x [nodes, channels[0]] to [sampled nodes, channels[-1]]."""
        layers, near = self.layers, (graph.near, spline_basis(graph.near))
        x = layers[1](layers[0](x, *near), *near)
        x = layers[4](x + layers[3](layers[2](x, *near), *near), *near)
        x, far = x[graph.sampled], (graph.far, spline_basis(graph.far))
        pooled: Tensor = x + layers[6](layers[5](x, *far), *far)
        return pooled


class GnnClassifier(nn.Module):
    """The largest of each feature over a sample's nodes, and a linear map without bias."""

    def __init__(self, config: Gnn, classes: int) -> None:
        super().__init__()
        self.encoder = GnnEncoder(config)
        self.head = nn.Linear(config.gives, classes, bias=False)

    def forward(self, x: Tensor, graph: GnnGraph, samples: int) -> Tensor:
        """x [nodes, channels[0]] to logits [samples, classes]."""
        logits: Tensor = self.head(segment_max(self.encoder(x, graph), graph.sample, samples))
        return logits


class TokenFeatures(nn.Module):
    """Linear map of log(1 + count) of the cells of each token's log-time volume."""

    def __init__(self, cells: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(cells, features)

    def forward(self, volumes: Tensor) -> Tensor:
        """volumes [nodes, 2, B, P, P], counts, to [nodes, features]."""
        features: Tensor = self.linear(torch.log1p(volumes.flatten(1)))
        return features


class EventFeatures(nn.Embedding):
    """A learned vector for each polarity: int64 [nodes] to [nodes, features]."""

    def __init__(self, features: int) -> None:
        super().__init__(2, features)
