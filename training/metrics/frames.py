"""How well a detector does at each label time, to find those that are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.model.matching import overlaps

from .coco import Rule

SHOWN = 0.3  #: boxes of a lower score are not looked at
MATCHED = 0.5  #: IoU from which on a box of the right class has found its label


@dataclass(frozen=True)
class FrameScore:
    """A label time, µs, of a recording. labels, found: SCORED_DTYPE, those that count. right, missed, wrong: labels
    that were found, those that were not, and boxes that found none. quality: panoptic quality (Kirillov et al. 2019),
    the IoUs of what is right over right + (missed + wrong) / 2; 0 to 1."""

    recording: int
    t: int
    labels: NDArray[Any]
    found: NDArray[Any]
    right: int
    missed: int
    wrong: int
    quality: float


def scored_frames(recordings: Sequence[tuple[NDArray[Any], NDArray[Any]]], rule: Rule) -> list[FrameScore]:
    """Of all label times, the best first; of equals the earliest. recordings: of each its labels and what was found."""
    frames = []
    for number, (labels, found) in enumerate(recordings):
        labels = labels[rule.counts(labels)]
        found = found[rule.counts(found) & (found["score"] >= SHOWN)]
        for t in np.unique(labels["t"]).tolist():
            near = found[np.abs(found["t"] - t) <= rule.tolerance_us]
            frames.append(_scored(number, t, labels[labels["t"] == t], near))
    return sorted(frames, key=lambda frame: (-frame.quality, frame.recording, frame.t))


def _scored(recording: int, t: int, labels: NDArray[Any], found: NDArray[Any]) -> FrameScore:
    free = np.ones(len(labels), bool)
    total, right = 0.0, 0
    best_first = found[np.argsort(-found["score"], kind="stable")]
    for box, shares in zip(best_first, overlaps(best_first, labels), strict=True):
        overlap = np.where(free & (labels["label"] == box["label"]), shares, 0.0)
        best = int(overlap.argmax())
        if overlap[best] >= MATCHED:
            free[best] = False
            total, right = total + float(overlap[best]), right + 1
    missed, wrong = len(labels) - right, len(found) - right
    return FrameScore(recording, t, labels, found, right, missed, wrong, total / (right + (missed + wrong) / 2))
