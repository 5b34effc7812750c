"""Graphs of samples to one graph of a batch: node numbers are shifted, tensors made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spedge.model.graph import EdgeArrays, GnnArrays, PcnArrays

from ..models.gnn import GnnGraph
from ..models.graph import Edges
from ..models.pcn import PcnGraph


def gnn_batch(samples: Sequence[GnnArrays]) -> GnnGraph:
    """The samples of a batch, at least one, one after another."""
    starts = np.cumsum([0] + [arrays.near.nodes for arrays in samples])
    sampled = np.concatenate([arrays.sampled + start for arrays, start in zip(samples, starts, strict=False)])
    return GnnGraph(
        _edges([arrays.near for arrays in samples]),
        torch.from_numpy(sampled),
        _edges([arrays.far for arrays in samples]),
        _sample([len(arrays.sampled) for arrays in samples]),
    )


def pcn_batch(samples: Sequence[PcnArrays]) -> PcnGraph:
    """The samples of a batch, at least one, one after another."""
    stages = zip(*(arrays.stages for arrays in samples), strict=True)
    return PcnGraph(
        tuple(_edges(stage) for stage in stages),
        torch.from_numpy(np.concatenate([arrays.kept for arrays in samples])),
        _sample([len(arrays.kept) for arrays in samples]),
    )


def _edges(parts: Sequence[EdgeArrays]) -> Edges:
    sources = np.cumsum([0] + [part.sources for part in parts])
    targets = np.cumsum([0] + [part.nodes for part in parts])
    return Edges(
        torch.from_numpy(np.concatenate([part.source + start for part, start in zip(parts, sources, strict=False)])),
        torch.from_numpy(np.concatenate([part.target + start for part, start in zip(parts, targets, strict=False)])),
        torch.from_numpy(np.concatenate([part.relative for part in parts])),
        int(targets[-1]),
    )


def _sample(counts: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
