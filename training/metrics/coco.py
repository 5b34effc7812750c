"""Mean average precision by Prophesee's protocol: COCO's six figures over the label times of recordings.

experiments.md G and H: only label times count. Predictions within the tolerance of one belong to it; labels and
predictions of a recording's first half second and those that are too small count neither way.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What is scored: x, y of the upper left corner, w, h in pixels at a time in µs. Labels have a score of 0.
SCORED_DTYPE = np.dtype([("t", "<i8"), *((n, "<f4") for n in ("x", "y", "w", "h")), ("label", "<u4"), ("score", "<f4")])
FIGURES = ("mAP", "mAP@.50", "mAP@.75", "mAP@S", "mAP@M", "mAP@L")


@dataclass(frozen=True)
class Rule:
    """side, diagonal: the least of a box that counts, in pixels. skip_us: time from a recording's start in which
    nothing counts. tolerance_us: how far a prediction may lie from a label's time, inclusive."""

    side: float
    diagonal: float
    skip_us: int = 500_000
    tolerance_us: int = 25_000

    def counts(self, boxes: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of them do. boxes: SCORED_DTYPE [n]."""
        w, h = boxes["w"], boxes["h"]
        large = (w >= self.side) & (h >= self.side) & (w**2 + h**2 >= self.diagonal**2)
        kept: NDArray[np.bool_] = (boxes["t"] > self.skip_us) & large
        return kept


@dataclass(frozen=True)
class Precision:
    """figures: by the names of FIGURES, -1 where there is no such label. per_class: mAP and mAP@.50 of each class, by
    its number. recall: share of labels found at IoU .50, of all, small, medium and large ones. labels: that count."""

    figures: dict[str, float]
    per_class: dict[int, tuple[float, float]]
    recall: dict[str, float]
    labels: int

    @property
    def best_by(self) -> float:
        """What the paper chooses the best checkpoint by."""
        return self.figures["mAP@.50"]


def mean_average_precision(
    recordings: Sequence[tuple[NDArray[Any], NDArray[Any]]], classes: int, rule: Rule
) -> Precision:
    """recordings: of each its labels and its predictions, both SCORED_DTYPE, in any order."""
    images: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for labels, predictions in recordings:
        labels, predictions = labels[rule.counts(labels)], predictions[rule.counts(predictions)]
        order = np.argsort(predictions["t"], kind="stable")
        predictions = predictions[order]
        for t in np.unique(labels["t"]).tolist():
            images.append({"id": len(images) + 1})
            image = len(images)
            truths += [_entry(box, image, len(truths) + i + 1) for i, box in enumerate(labels[labels["t"] == t])]
            low = predictions["t"].searchsorted(t - rule.tolerance_us, "left")
            high = predictions["t"].searchsorted(t + rule.tolerance_us, "right")
            found += [{**_entry(box, image, 0), "score": float(box["score"])} for box in predictions[low:high]]
    if not truths:
        nothing = dict.fromkeys(FIGURES, -1.0)
        return Precision(nothing, {}, dict.fromkeys(("all", "S", "M", "L"), -1.0), 0)
    dataset = {
        "info": {},
        "images": images,
        "annotations": truths,
        "categories": [{"id": i + 1, "name": str(i)} for i in range(classes)],
    }
    return _evaluated(dataset, found, len(truths))


def _entry(box: Any, image: int, number: int) -> dict[str, Any]:
    x, y, w, h = (float(box[name]) for name in ("x", "y", "w", "h"))
    entry = {"image_id": image, "category_id": int(box["label"]) + 1, "bbox": [x, y, w, h]}
    return entry if number == 0 else {**entry, "id": number, "area": w * h, "iscrowd": 0}


def _evaluated(dataset: dict[str, Any], found: list[dict[str, Any]], labels: int) -> Precision:
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(dataset)
        seen = truth.loadRes(found) if found else COCO({**dataset, "annotations": []})
        scored = COCOeval_faster(truth, seen, iouType="bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    precision = scored.eval["precision"]  # [IoU, recall, class, area, most detections]
    recall = scored.eval["recall"]  # [IoU, class, area, most detections]
    return Precision(
        dict(zip(FIGURES, (float(value) for value in scored.stats[:6]), strict=True)),
        {
            k: (_mean(precision[:, :, k, 0, -1]), _mean(precision[0, :, k, 0, -1]))
            for k in range(precision.shape[2])
            if _mean(precision[:, :, k, 0, -1]) >= 0
        },
        {name: _mean(recall[0, :, i, -1]) for i, name in enumerate(("all", "S", "M", "L"))},
        labels,
    )


def _mean(values: NDArray[np.float64]) -> float:
    """Of those that there are; -1 of none."""
    there = values[values > -1]
    return float(there.mean()) if there.size else -1.0


__all__ = ["FIGURES", "SCORED_DTYPE", "Precision", "Rule", "mean_average_precision"]
