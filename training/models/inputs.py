"""What models are fed in training: tensors of a batch, sample after sample, and the layers that take them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .gnn import GnnGraph
from .pcn import PcnGraph


class Cells(NamedTuple):
    """The cells of tokens' log-time volumes that hold events: about one in twenty.

    number: int32 [m]. log_count: float32 [m], log(1 + count). starts: int32 [n], where each token's begin.
    """

    number: Tensor
    log_count: Tensor
    starts: Tensor


class TokenBatch(NamedTuple):
    """Samples for a transformer. positions: float64 [n, 3]. lengths: int64 [N], tokens of each sample."""

    cells: Cells
    positions: Tensor
    lengths: Tensor

    @property
    def points(self) -> int:
        """Tokens of all samples."""
        return len(self.positions)


class GraphBatch(NamedTuple):
    """Samples for a GNN or PCN. features: cells of tokens, or polarities of events, int64 [n]."""

    features: Cells | Tensor
    graph: GnnGraph | PcnGraph
    samples: int

    @property
    def points(self) -> int:
        """Tokens or events of all samples."""
        return len(self.features.starts) if isinstance(self.features, Cells) else len(self.features)

    @property
    def can_be_normed(self) -> bool:
        """Whether each batch norm has two rows at least, without which there is no variance to learn with."""
        if isinstance(self.graph, PcnGraph):
            rows = [len(stage.source) for stage in self.graph.stages] + [len(self.graph.position)]
        else:
            rows = [self.graph.near.nodes, len(self.graph.sampled)]
        return min(rows) >= 2


class CellLinear(nn.Linear):
    """A linear map of log(1 + count) of the cells of log-time volumes.

    Starts as the published convolution over the patch does (Kaiming uniform, a = √5: torch's default for both).
    """

    def forward(self, volumes: Tensor) -> Tensor:
        """volumes [..., 2, B, P, P], counts, to [..., features]."""
        mapped: Tensor = super().forward(torch.log1p(volumes.flatten(-4)))
        return mapped

    def of_cells(self, cells: Cells) -> Tensor:
        """The same without the empty cells: [n, features]."""
        if len(cells.number) == 0:  # the weight takes part: processes of one training wait for its gradient
            return (self.bias + 0.0 * self.weight.sum()).expand(len(cells.starts), -1)
        table = self.weight.t().contiguous()
        mapped = F.embedding_bag(
            cells.number, table, cells.starts, mode="sum", per_sample_weights=cells.log_count.to(table.dtype)
        )
        return mapped + self.bias
