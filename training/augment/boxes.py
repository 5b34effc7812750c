"""What the paper's changes do to boxes (experiments.md F).

boxes: float64 [n, 4], x, y of the upper left corner, w, h.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .transforms import Area, rotated

Boxes = NDArray[np.float64]


def flip_boxes(boxes: Boxes, width: int) -> Boxes:
    """Left is right."""
    out = boxes.copy()
    out[:, 0] = width - (boxes[:, 0] + boxes[:, 2])
    return out


def untouched(boxes: Boxes, area: Area) -> NDArray[np.bool_]:
    """Which boxes do not touch an area that is dropped: the others are removed."""
    x, y, w, h = boxes.T
    clear: NDArray[np.bool_] = (x > area.right) | (x + w < area.left) | (y > area.bottom) | (y + h < area.top)
    return clear


def rotate_boxes(boxes: Boxes, angle: float, width: int, height: int) -> tuple[Boxes, NDArray[np.bool_]]:
    """The upright boxes around the turned ones, and which of them stay on the sensor: the others are removed."""
    x, y, w, h = boxes.T
    corners_x, corners_y = np.stack([x, x + w, x, x + w]), np.stack([y, y, y + h, y + h])
    turned_x, turned_y = rotated(corners_x, corners_y, angle, width, height)
    left, top, right, bottom = turned_x.min(axis=0), turned_y.min(axis=0), turned_x.max(axis=0), turned_y.max(axis=0)
    inside = (left >= 0) & (top >= 0) & (right < width) & (bottom < height)
    return np.stack([left, top, right - left, bottom - top], axis=1), inside
