"""What the processes of one training say to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..tasks.classification import Predictions


def rank_of_ranks() -> tuple[int, int]:
    """Number of this process, and how many there are."""
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
        max(part.largest for part in parts),
    )
