"""Classification: cross entropy on shares of classes; the slices of a recording vote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..data.base import Sample
from ..metrics.top1 import Votes
from ..represent.collate import Batch
from ..seen import SeenRecording


def loss_of(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy. labels: shares of the classes, [N, classes]."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


@dataclass(frozen=True)
class Predictions:
    """What a model said of samples.

    index: int64 [n], numbers in the part. probabilities: float64 [n, classes], of each slice. points: tokens or events
    of all. loss: mean cross entropy of a slice, nats. largest: points of the sample that has the most.
    """

    index: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    points: int
    loss: float = float("nan")
    largest: int = 0


class Voted(NamedTuple):
    """Confusion [true, predicted] of recordings, and each of them."""

    confusion: NDArray[np.int64]
    recordings: tuple[SeenRecording, ...]


def predict(model: Callable[[Batch], Tensor], batches: Iterable[Batch]) -> Predictions:
    """Go through the batches. model: a batch's logits. Samples that no model input can be made of are not in it."""
    index: list[NDArray[np.int64]] = []
    probabilities: list[NDArray[np.float64]] = []
    points, largest, loss = 0, 0, 0.0
    with torch.no_grad():
        for batch in batches:
            if batch.inputs is None:
                continue
            logits = model(batch).float()
            points += batch.points
            largest = max(largest, batch.largest)
            loss += float(loss_of(logits, batch.labels.to(logits.device))) * batch.samples
            index.append(batch.number.cpu().numpy())
            probabilities.append(torch.softmax(logits, 1).cpu().numpy().astype(np.float64))
    if not index:
        return Predictions(np.zeros(0, np.int64), np.zeros((0, 0)), points)
    every = np.concatenate(index)
    return Predictions(every, np.concatenate(probabilities), points, loss / len(every), largest)


def vote(predictions: Predictions, part: Sequence[Sample], classes: int) -> Voted:
    """Recordings, whose slices vote."""
    votes = Votes(classes)
    numbers: dict[str, list[int]] = {}
    seen = dict(zip(predictions.index.tolist(), predictions.probabilities, strict=True))
    for number in range(len(part)):
        label, group = about(part, number)
        votes.add(label, group, seen.get(number))
        numbers.setdefault(group, []).append(number)
    decided = votes.decided()
    recordings = tuple(SeenRecording(group, tuple(numbers[group]), *decided[group]) for group in numbers)
    return Voted(votes.confusion(), recordings)


def about(part: Sequence[Sample], number: int) -> tuple[int, str]:
    """Label and recording of a sample; parts that keep them apart are not asked for its events."""
    look = getattr(part, "about", None)
    if look is not None:
        label, group = look(number)
        return int(label), str(group)
    sample = part[number]
    return sample.label, sample.group or f"#{number}"
