"""Classification: cross entropy on shares of classes; the slices of a recording vote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..data.base import Sample
from ..metrics.top1 import confusion_matrix
from ..represent.collate import Batch


def loss_of(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy. labels: shares of the classes, [N, classes]."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


@dataclass(frozen=True)
class Predictions:
    """What a model said of samples.

    index: int64 [n], numbers in the part. probabilities: float64 [n, classes], of each slice. loss: mean cross entropy
    of the slices. points: tokens or events of all.
    """

    index: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    loss: float
    points: int = 0


def predict(model: Callable[[Batch], Tensor], batches: Iterable[Batch]) -> Predictions:
    """Go through the batches. model: a batch's logits. Samples that no model input can be made of are not in it."""
    index: list[NDArray[np.int64]] = []
    probabilities: list[NDArray[np.float64]] = []
    losses: list[float] = []
    points = 0
    with torch.no_grad():
        for batch in batches:
            if batch.inputs is None:
                continue
            logits = model(batch).float()
            points += batch.points
            losses.append(float(loss_of(logits, batch.labels.to(logits.device))) * batch.samples)
            index.append(batch.number.cpu().numpy())
            probabilities.append(torch.softmax(logits, 1).cpu().numpy().astype(np.float64))
    count = sum(map(len, index))
    if count == 0:
        return Predictions(np.zeros(0, np.int64), np.zeros((0, 0)), float("nan"))
    return Predictions(np.concatenate(index), np.concatenate(probabilities), sum(losses) / count, points)


def vote(predictions: Predictions, part: Sequence[Sample], classes: int) -> NDArray[np.int64]:
    """Confusion [true, predicted] of recordings: the mean of the probabilities of a recording's slices decides.

    A recording none of whose slices could be looked at counts as class 0's prediction: it is not left out.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    truth: dict[str, int] = {}
    for number in range(len(part)):
        label, group = about(part, number)
        truth.setdefault(group, label)
        sums.setdefault(group, np.zeros(classes))
    for number, row in zip(predictions.index.tolist(), predictions.probabilities, strict=True):
        sums[about(part, number)[1]] += row
    groups = list(truth)
    return confusion_matrix([truth[g] for g in groups], [int(sums[g].argmax()) for g in groups], classes)


def about(part: Sequence[Sample], number: int) -> tuple[int, str]:
    """Label and recording of a sample; parts that keep them apart are not asked for its events."""
    look = getattr(part, "about", None)
    if look is not None:
        label, group = look(number)
        return int(label), str(group)
    sample = part[number]
    return sample.label, sample.group or f"#{number}"
