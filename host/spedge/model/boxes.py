"""From a detector's outputs to the boxes that are kept. Computed by the C library, as on a device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge import _boxes
from spedge.base.errors import UsageError
from spedge.model.parts import Detection, Detector, Sensor
from spedge.model.spec import OTHERS, ModelSpec

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


def levels_of(spec: ModelSpec) -> NDArray[np.uint16]:
    """Stride in pixels, rows and columns of each of a detector's levels, finest first: uint16 [levels, 3]."""
    assert isinstance(spec.model, Detector)
    rows, columns = spec.model.even_grid(spec.sensor, spec.representation)
    sizes = (2 * rows, 2 * columns), (rows, columns), (rows // 2, columns // 2)
    strides = spec.model.strides(spec.representation)
    return np.array([(stride, *size) for stride, size in zip(strides, sizes, strict=True)], np.uint16)


def decode(head: NDArray[Any], levels: NDArray[Any], task: Detection, sensor: Sensor, most: int = MOST) -> Kept:
    """The boxes of a step from its head's numbers: float32 [n, 5 + classes], as `Detection` says; levels: `levels_of`.

    A box's centre is (place + d) * stride, its size exp(log) * stride, its score sigmoid(objectness) * sigmoid(class)
    for the class of the highest logit, of equals the first; then as `keep`. Raises UsageError for other shapes.
    """
    given, cells = np.ascontiguousarray(head, np.float32), np.ascontiguousarray(levels, np.uint16)
    wanted = int((cells[:, 1].astype(int) * cells[:, 2]).sum()), OTHERS + len(task.labels)
    if given.shape != wanted:
        raise UsageError(f"the head of these levels and labels has the shape {list(wanted)}, not {list(given.shape)}")
    return Kept(*_boxes.decode(given, cells, task.score, task.nms_iou, sensor.width, sensor.height, most))
