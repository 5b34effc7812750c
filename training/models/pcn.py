"""The paper's PCN on tokens or events: PointNet++ with two stages of set abstraction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spedge.model.parts import Pcn

from .graph import Edges, PointMlp, SetAbstraction, segment_max

DROPOUT = 0.1


class PcnGraph(NamedTuple):
    """A batch of samples, point after point: what `PcnEncoder` goes by.

    stages: edges from the points of a stage (numbers among them) to its centres, each centre among its own. position:
    float32 [m, 3], column, row, time of the last stage's centres; sample: int64 [m], which sample each of them is of.
    """

    stages: tuple[Edges, ...]
    position: Tensor
    sample: Tensor


class PcnEncoder(nn.Module):
    """Point features to features of the last stage's centres (experiments.md D)."""

    def __init__(self, config: Pcn) -> None:
        super().__init__()
        self.radii = config.radii
        pairs = zip(config.channels[:-1], config.channels[1:], strict=True)
        self.stages = nn.ModuleList(SetAbstraction(*pair) for pair in pairs)

    def forward(self, x: Tensor, graph: PcnGraph) -> Tensor:
        """x [points, channels[0]] to [last centres, channels[-1]]."""
        for stage, edges, radius in zip(self.stages, graph.stages, self.radii, strict=True):
            x = stage(x, edges, radius)
        return x


class PcnClassifier(nn.Module):
    """A last MLP on features and absolute positions, the largest of each over a sample, and an MLP with dropout."""

    def __init__(self, config: Pcn, classes: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.encoder = PcnEncoder(config)
        width = config.gives
        self.points = PointMlp(width + 3, width, width, width)
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, classes),
        )  # fmt: skip

    def features(self, x: Tensor, graph: PcnGraph, samples: int) -> Tensor:
        """x [points, channels[0]] to one row a sample, [samples, channels[-1]]."""
        seen = torch.cat([self.encoder(x, graph), graph.position.to(x.dtype)], dim=1)
        return segment_max(self.points(seen), graph.sample, samples)

    def forward(self, x: Tensor, graph: PcnGraph, samples: int) -> Tensor:
        """x [points, channels[0]] to logits [samples, classes]."""
        logits: Tensor = self.head(self.features(x, graph, samples))
        return logits
