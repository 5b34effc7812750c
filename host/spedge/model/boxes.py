"""From a detector's outputs to the boxes that are kept. Computed by the C library, as on a device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge import _boxes
from spedge.base.errors import UsageError
from spedge.model.parts import Detection, Sensor

#: A box: upper left corner and size in pixels (x, y, w, h), score, label's number, and number among those given.
BOX_DTYPE: np.dtype[Any] = _boxes.DTYPE
MOST = 1000  #: boxes that are looked at, the best ones


class Kept(NamedTuple):
    """boxes: BOX_DTYPE [m], by falling score, of equals the lowest number first. left_out: candidates beyond MOST."""

    boxes: NDArray[Any]
    left_out: int


def keep(boxes: NDArray[Any], scores: NDArray[Any], task: Detection, sensor: Sensor, most: int = MOST) -> Kept:
    """Boxes of a score of at least `task.score`, thinned class by class at `task.nms_iou`, cut to the sensor.

    boxes: float32 [n, 4], centre x, centre y, width, height in pixels. scores: float32 [n, classes]. A box has the
    class of its highest score. Boxes of no area on the sensor, or that are no numbers, are left out. The source is the
    paper's decoding. Raises UsageError for other shapes.
    """
    given, of = np.ascontiguousarray(boxes, np.float32), np.ascontiguousarray(scores, np.float32)
    if given.ndim != 2 or given.shape[1] != 4 or of.shape != (len(given), len(task.labels)):
        raise UsageError(
            f"boxes [n, 4] go with scores [n, {len(task.labels)}], not {list(given.shape)} with {list(of.shape)}"
        )
    return Kept(*_boxes.keep(given, of, task.score, task.nms_iou, sensor.width, sensor.height, most))
