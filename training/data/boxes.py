"""Labels of the detection sets: read from `_bbox.npy`, and cleaned as the paper does (experiments.md A)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, line_of
from spedge.model.parts import Sensor

#: A labelled box: t in µs of the recording's clock, x, y of the upper left corner, w, h in pixels, label: index into
#: the data set's labels, confidence and track as the file has them.
BOX_DTYPE = np.dtype(
    [
        ("t", "<i8"),
        ("x", "<f4"),
        ("y", "<f4"),
        ("w", "<f4"),
        ("h", "<f4"),
        ("label", "u1"),
        ("confidence", "<f4"),
        ("track", "<u4"),
    ]
)
_TIMES = ("t", "ts")  # both are about; GEN1's files say ts
_SOURCES = {"label": ("class_id",), "confidence": ("class_confidence", "confidence"), "track": ("track_id",)}
_OPTIONAL = {"confidence": 1.0, "track": 0}


@dataclass(frozen=True)
class BoxRules:
    """Which boxes are too small: with a side below `side`, or a diagonal below `diagonal`, both in pixels.

    kept_classes: those of the file's classes that are used, the first so many; the others are left out. None: all, and
    another one is an error.
    """

    side: int
    diagonal: int
    kept_classes: int | None = None


def read_boxes(path: Path, labels: int, rules: BoxRules) -> NDArray[Any]:
    """All boxes of a file whose class is used: BOX_DTYPE [n], sorted by time, equal times as in the file.

    labels: how many the data set has. Raises InputError, naming the file, for one that is no such table, for numbers
    that are none, and for a class that the data set does not have.
    """
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is no table of boxes ({line_of(error)}): copy it again.") from None
    names = table.dtype.names if isinstance(table, np.ndarray) and table.ndim == 1 else None
    if names is None:
        raise InputError(f"{path} is no table of boxes (an array of records, one a box): copy it again.")
    boxes = np.zeros(len(table), BOX_DTYPE)
    for field in BOX_DTYPE.names or ():
        sources = _TIMES if field == "t" else _SOURCES.get(field, (field,))
        source = next((name for name in sources if name in names), None)
        if source is None and field not in _OPTIONAL:
            raise InputError(f"{path} has no field '{sources[0]}' ({', '.join(names)}): copy it again.")
        boxes[field] = _OPTIONAL[field] if source is None else table[source]
    if not all(np.isfinite(boxes[side]).all() for side in "xywh") or (boxes["t"] < 0).any():
        raise InputError(f"{path} has boxes whose places or times are no numbers: copy it again.")
    if rules.kept_classes is not None:
        boxes = boxes[boxes["label"] < rules.kept_classes]
    if (boxes["label"] >= labels).any():
        raise InputError(
            f"{path} has a box of class {int(boxes['label'].max())} and the data set has classes 0 to {labels - 1}: "
            "it is of another data set, or damaged."
        )
    return boxes[np.argsort(boxes["t"], kind="stable")]


def clean_boxes(boxes: NDArray[Any], sensor: Sensor, rules: BoxRules, train: bool) -> NDArray[Any]:
    """Boxes clipped to the sensor, without those that are too small, in float32 as the authors compute.

    train: leaves out, besides, boxes wider than nine tenths of the sensor, whose tracks follow the camera's own car.
    """
    out = boxes.copy()
    for corner, side, pixels in (("x", "w", sensor.width), ("y", "h", sensor.height)):
        last = np.float32(pixels - 1)
        low = np.clip(boxes[corner], 0, last)
        high = np.clip(boxes[corner] + boxes[side], 0, last)
        out[corner], out[side] = low, high - low
    w, h = out["w"], out["h"]
    kept = (w > 0) & (h > 0) & (w >= rules.side) & (h >= rules.side) & (w * w + h * h >= rules.diagonal**2)
    if train:
        kept &= w <= 9 * sensor.width // 10
    cleaned: NDArray[Any] = out[kept]
    return cleaned
