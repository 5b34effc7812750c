"""Looking at held-out samples while a model is fitted: by all processes of a training, each at its share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning.fabric.utilities import move_data_to_device

from spedge.base.errors import InputError

from ..represent.collate import Batch
from ..tasks.classification import Predictions, predict


def looked_at(model: Any, batches: Iterable[Batch]) -> Predictions:
    """What a model says of samples, as it is used: no dropout. It is left as it was."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    try:
        return predict(lambda batch: model.of_batch(move_data_to_device(batch.inputs, device)), batches)
    finally:
        model.train(training)


def require_points(points: int, samples: int) -> None:
    if not points:
        raise InputError(
            f"Nothing can be learned: none of {samples} recordings gives a single token. "
            "Are they what the preset is for, and are there events in them?"
        )


def rank_of_ranks() -> tuple[int, int]:
    group = torch.distributed
    return (group.get_rank(), group.get_world_size()) if group.is_initialized() else (0, 1)


def all_of(value: Any) -> list[Any]:
    """What each process has."""
    values = [value] * rank_of_ranks()[1]
    if len(values) > 1:
        torch.distributed.all_gather_object(values, value)
    return values


def take_the_firsts(model: torch.nn.Module) -> None:
    """Averages and batch norms differ a little between processes: all look at the first one's, which are kept."""
    if rank_of_ranks()[1] > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            torch.distributed.broadcast(tensor.detach(), 0)


def of_all(own: Predictions) -> Predictions:
    """The predictions of all processes."""
    parts = all_of(own)
    some = [part for part in parts if len(part.index)] or parts[:1]
    return Predictions(
        np.concatenate([part.index for part in some]),
        np.concatenate([part.probabilities for part in some]),
        sum(part.points for part in parts),
        float(np.average([part.loss for part in some], weights=[max(1, len(part.index)) for part in some])),
    )
