"""GNN and PCN as functions of tensors of fixed sizes, in the weights of the trained model: what is exported.

One sample; its graphs are tables of `spedge.model.graph.graph_inputs`, whose rows and columns past their counts are
never looked at. Only gathers, matrix products, maxima and elementwise operators are needed, and nothing is scattered.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.gnn import GnnClassifier, GnnEncoder, GnnLayer
from ..models.graph import KERNEL, PointMlp, SetAbstraction
from ..models.inputs import CellLinear
from ..models.on_graphs import EventFeatures, GraphClassifier
from ..models.pcn import PcnClassifier, PcnEncoder


class FixedEncoder(nn.Module):
    """Features of tokens or events, and graphs, to logits: encoder.onnx."""

    def __init__(self, model: GraphClassifier) -> None:
        super().__init__()
        self.classifier: nn.Module
        if isinstance(model.classifier, GnnClassifier):
            self.classifier = FixedGnn(model.classifier)
        else:
            self.classifier = FixedPcn(model.classifier)

    def forward(self, tokens: Tensor, *graph: Tensor) -> Tensor:
        """tokens [1, N, features]; graph: in the order of `graph_inputs`. Returns [1, classes]."""
        logits: Tensor = self.classifier(tokens.squeeze(0), *(part.squeeze(0) for part in graph))
        return logits


class FixedModel(nn.Module):
    """Volumes or polarities, and graphs, to logits: model.onnx."""

    def __init__(self, model: GraphClassifier) -> None:
        super().__init__()
        self.embedding = model.embedding
        self.encoder = FixedEncoder(model)

    def forward(self, features: Tensor, *graph: Tensor) -> Tensor:
        """features: volumes [1, N, 2, B, P, P] or polarities [1, N]. Returns [1, classes]."""
        logits: Tensor = self.encoder(embedded(self.embedding, features), *graph)
        return logits


def embedded(embedding: CellLinear | EventFeatures, features: Tensor) -> Tensor:
    """Of volumes or polarities, [1, N, features]. A polarity that padding has is taken for 1."""
    if isinstance(embedding, CellLinear):
        rows: Tensor = embedding(features)
        return rows
    return torch.where((features == 0).unsqueeze(-1), embedding.weight[0], embedding.weight[1])


class FixedGnn(nn.Module):
    """`GnnClassifier` on tables."""

    def __init__(self, model: GnnClassifier) -> None:
        super().__init__()
        self.nodes, self.head = GnnNodes(model.encoder), model.head

    def forward(self, x: Tensor, *graph: Tensor) -> Tensor:
        """x [N, features] to logits [1, classes]."""
        logits: Tensor = self.head(_largest(*self.nodes(x, *graph)))
        return logits.unsqueeze(0)


class GnnNodes(nn.Module):
    """`GnnEncoder` on tables."""

    def __init__(self, encoder: GnnEncoder) -> None:
        super().__init__()
        self.norms = nn.ModuleList(layer.norm for layer in _layers(encoder))
        self.weights = nn.ParameterList(_shared(layer.conv.weight.flatten(0, 1)) for layer in _layers(encoder))

    def forward(
        self,
        x: Tensor,
        near: Tensor,
        near_count: Tensor,
        near_relative: Tensor,
        far: Tensor,
        far_count: Tensor,
        far_relative: Tensor,
        sampled: Tensor,
        kept: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """x [N, features] to features of the sampled nodes, [m, features], and which of these there are, bool [m]."""
        graph = _SplineTable(near, near_count, near_relative)
        x = self._layer(1, self._layer(0, x, graph), graph)
        x = self._layer(4, x + self._layer(3, self._layer(2, x, graph), graph), graph)
        there = _present(kept, len(sampled))
        x, graph = _gathered(x, torch.where(there, sampled, 0)), _SplineTable(far, far_count, far_relative)
        return x + self._layer(6, self._layer(5, x, graph), graph), there

    def _layer(self, number: int, x: Tensor, graph: _SplineTable) -> Tensor:
        normed: Tensor = self.norms[number](F.elu(graph.mean(x, self.weights[number])))
        return normed


class FixedPcn(nn.Module):
    """`PcnClassifier` on tables."""

    def __init__(self, model: PcnClassifier) -> None:
        super().__init__()
        self.nodes, self.head = PcnNodes(model.encoder, model.points), model.head

    def forward(self, x: Tensor, *graph: Tensor) -> Tensor:
        """x [N, features] to logits [1, classes]."""
        logits: Tensor = self.head(_largest(*self.nodes(x, *graph)))
        return logits.unsqueeze(0)


class PcnNodes(nn.Module):
    """`PcnEncoder`, and the MLP on the last centres' features and positions, on tables."""

    def __init__(self, encoder: PcnEncoder, points: PointMlp) -> None:
        super().__init__()
        self.stages, self.radii, self.points = encoder.stages, encoder.radii, points

    def forward(self, x: Tensor, *graph: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, features] to features of the last centres, [m, features], and which of these there are, bool [m]."""
        *tables, position, kept = graph
        for stage, radius, table in zip(self.stages, self.radii, _threes(tables), strict=True):
            sources, count, relative = table
            there = _present(count, sources.shape[1])
            seen = torch.cat([_gathered(x, torch.where(there, sources, 0)), relative * radius], dim=-1)
            assert isinstance(stage, SetAbstraction)
            x = _largest(stage.mlp(seen.flatten(0, 1)).unflatten(0, sources.shape), there)
        points: Tensor = self.points(torch.cat([x, position], dim=-1))
        return points, _present(kept, len(position))


class _SplineTable:
    """A graph with the weights of its edges, which all convolutions on it share.

    The spline of degree 1 that `spline_basis` gives by its corners is a product of three hats: a matrix of the kernel
    takes part by max(0, 1 - its distance) in each dimension.
    """

    def __init__(self, sources: Tensor, count: Tensor, relative: Tensor) -> None:
        there = _present(count, sources.shape[1])
        self.sources = torch.where(there, sources, 0)
        self.degree = count.clamp(min=1).to(relative.dtype).unsqueeze(-1)
        place = (0.5 + relative / 2) * (KERNEL - 1)
        knots = torch.arange(KERNEL, dtype=place.dtype)
        x, y, t = (1 - (place.unsqueeze(-1) - knots).abs()).clamp(min=0).unbind(-2)
        hats = t[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]
        self.weights = torch.where(there.unsqueeze(-1), hats.flatten(-3), 0.0).transpose(1, 2)  # [nodes, 64, columns]

    def mean(self, x: Tensor, weight: Tensor) -> Tensor:
        """`SplineConv` on this graph: x [nodes, inputs], weight [64 inputs, outputs], to [nodes, outputs]."""
        sums = torch.matmul(self.weights, _gathered(x, self.sources)).flatten(1)
        return torch.matmul(sums, weight) / self.degree


def _layers(encoder: GnnEncoder) -> list[GnnLayer]:
    return [layer for layer in encoder.layers if isinstance(layer, GnnLayer)]


def _shared(weight: Tensor) -> nn.Parameter:
    """The same memory in another shape."""
    return nn.Parameter(weight.detach(), requires_grad=False)


def _present(count: Tensor, columns: int) -> Tensor:
    """count int [...] to bool [..., columns]: which columns hold something."""
    return torch.arange(columns, dtype=count.dtype) < count.unsqueeze(-1)


def _gathered(x: Tensor, rows: Tensor) -> Tensor:
    """x [n, features], rows int32 [...] to [..., features]. A plain Gather in ONNX, which x[rows] is not."""
    return x.index_select(0, rows.flatten()).view(*rows.shape, x.shape[1])


def _largest(x: Tensor, there: Tensor) -> Tensor:
    """Of each feature among those there: x [..., n, features], there [..., n]; 0 where there are none."""
    lowest = torch.finfo(x.dtype).min
    largest = torch.where(there.unsqueeze(-1), x, lowest).amax(dim=-2)
    return torch.where(there[..., :1], largest, 0.0)


def _threes(tensors: list[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    return zip(tensors[0::3], tensors[1::3], tensors[2::3], strict=True)
