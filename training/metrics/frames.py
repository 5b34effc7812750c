"""How well a detector does at each label time, to find those that are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    for box in found[np.argsort(-found["score"], kind="stable")]:
        overlap = np.where(free & (labels["label"] == box["label"]), overlaps(box, labels), 0.0)
        best = int(overlap.argmax())
        if overlap[best] >= MATCHED:
            free[best] = False
            total, right = total + float(overlap[best]), right + 1
    missed, wrong = len(labels) - right, len(found) - right
    return FrameScore(recording, t, labels, found, right, missed, wrong, total / (right + (missed + wrong) / 2))


def overlaps(box: Any, boxes: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of a box with each of some, float64 [n]."""
    both = np.ones(len(boxes))
    for corner, side in (("x", "w"), ("y", "h")):
        low = np.maximum(boxes[corner].astype(float), float(box[corner]))
        high = np.minimum(boxes[corner].astype(float) + boxes[side], float(box[corner]) + float(box[side]))
        both *= np.clip(high - low, 0, None)
    areas = boxes["w"].astype(float) * boxes["h"] + float(box["w"]) * float(box["h"])
    shares: NDArray[np.float64] = both / np.maximum(areas - both, 1e-12)
    return shares
