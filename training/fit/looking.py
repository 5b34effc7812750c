"""Looking at samples with a model as it is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    """Raises InputError where there are none in so many samples."""
    if not points:
        raise InputError(
            f"Nothing can be learned: none of {samples} recordings gives a single token. "
            "Are they what the preset is for, and are there events in them?"
        )
