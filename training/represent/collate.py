"""Arrays of many samples to one batch of tensors, without padding: everything lies one sample after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spedge.model.graph import GnnArrays, PcnArrays

from ..models.gnn import GnnGraph
from ..models.inputs import Cells, GraphBatch, TokenBatch
from ..models.pcn import PcnGraph
from .collate_graph import gnn_batch, pcn_batch
from .samples import Arrays, CellArrays, GraphArrays, TokenArrays


class Item(NamedTuple):
    """One sample that was read. label: shares of the classes, float32 [classes]. number: of it in its part."""

    arrays: Arrays | None
    label: NDArray[np.float32]
    number: int


class Batch(NamedTuple):
    """inputs: what the model takes; None where no sample can be had. labels: float32 [N, classes]. number: int64
    [N], of each sample in its part. largest: tokens or events of the sample that has the most. cpu_seconds: that a
    process of its own has used for it."""

    inputs: TokenBatch | GraphBatch | None
    labels: Tensor
    number: Tensor
    largest: int = 0
    cpu_seconds: float = 0.0

    @property
    def points(self) -> int:
        """Tokens or events of all samples."""
        return 0 if self.inputs is None else self.inputs.points

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.number)


def collate(items: Sequence[Item]) -> Batch:
    """A batch of the samples that there are. Those without tokens or events are in no batch of a GNN or PCN."""
    there = [item for item in items if item.arrays is not None]
    arrays = [item.arrays for item in there if item.arrays is not None]
    labels = np.stack([item.label for item in there]) if there else np.zeros((0, len(items[0].label)), np.float32)
    numbers = torch.tensor([item.number for item in there], dtype=torch.int64)
    largest = max((a.points for a in arrays), default=0)
    return Batch(inputs_of(arrays) if arrays else None, torch.from_numpy(labels), numbers, largest)


def inputs_of(arrays: Sequence[Arrays]) -> TokenBatch | GraphBatch:
    """Samples of one family, at least one, one after another."""
    tokens = [a for a in arrays if isinstance(a, TokenArrays)]
    if tokens:
        return TokenBatch(
            _cells([a.cells for a in tokens]),
            torch.from_numpy(np.concatenate([a.positions for a in tokens])),
            torch.tensor([len(a.positions) for a in tokens]),
        )
    graphs = [a for a in arrays if isinstance(a, GraphArrays)]
    return GraphBatch(_features(graphs), _graph([a.graph for a in graphs]), len(graphs))


def _features(graphs: Sequence[GraphArrays]) -> Cells | Tensor:
    cells = [a.features for a in graphs if isinstance(a.features, CellArrays)]
    if cells:
        return _cells(cells)
    return torch.from_numpy(np.concatenate([a.features for a in graphs if isinstance(a.features, np.ndarray)]))


def _graph(graphs: Sequence[GnnArrays | PcnArrays]) -> GnnGraph | PcnGraph:
    gnn = [graph for graph in graphs if isinstance(graph, GnnArrays)]
    return gnn_batch(gnn) if gnn else pcn_batch([graph for graph in graphs if isinstance(graph, PcnArrays)])


def _cells(parts: Sequence[CellArrays]) -> Cells:
    starts = np.cumsum([0, *(len(part.number) for part in parts)])
    bounds = [part.bounds[:-1] + start for part, start in zip(parts, starts, strict=False)]
    return Cells(
        torch.from_numpy(np.concatenate([part.number for part in parts])),
        torch.from_numpy(np.concatenate([part.log_count for part in parts])),
        torch.from_numpy(np.concatenate(bounds).astype(np.int32)),
    )
