"""Whether two sets of boxes are the same ones, one to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

IOU, SCORE = 0.999, 1e-3  #: the least IoU of two boxes that are one, and by how much their scores may differ


def box_difference(expected: NDArray[Any], given: NDArray[Any]) -> str | None:
    """None when each box has one of its own among the others: of its class, IoU at least `IOU`, score within `SCORE`.

    Else a sentence on the first that has none. expected, given: fields x, y, w, h, score, label, in any order.
    """
    if len(expected) != len(given):
        return f"{len(given)} boxes, not {len(expected)}"
    same = (expected["label"][:, None] == given["label"]) & (overlaps(expected, given) >= IOU)
    same &= np.abs(expected["score"][:, None].astype(float) - given["score"]) <= SCORE
    free = np.ones(len(given), bool)
    for number, row in enumerate(same):
        own = np.flatnonzero(row & free)
        if len(own) == 0:
            box = expected[number]
            sides = ", ".join(f"{float(box[side]):.2f}" for side in "xywh")
            return f"no box like the one at {sides} of class {box['label']} and score {float(box['score']):.3f}"
        free[own[0]] = False
    return None


def overlaps(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of each box of a with each of b: float64 [n, m]. Fields x, y, w, h."""
    (x1, y1, w1, h1), (x2, y2, w2, h2) = ([boxes[side].astype(np.float64) for side in "xywh"] for boxes in (a, b))
    w = np.minimum((x1 + w1)[:, None], x2 + w2) - np.maximum(x1[:, None], x2)
    h = np.minimum((y1 + h1)[:, None], y2 + h2) - np.maximum(y1[:, None], y2)
    both = np.clip(w, 0, None) * np.clip(h, 0, None)
    union = (w1 * h1)[:, None] + w2 * h2 - both
    shares: NDArray[np.float64] = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return shares
