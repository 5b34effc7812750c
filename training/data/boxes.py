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


@dataclass(frozen=True)
class BoxInfo:
    """What a file of boxes holds. times: how many different ones. per_class: boxes by the file's class numbers.
    duplicates: boxes that stand in it already, with the same time, class and place, whatever their track."""

    boxes: int
    times: int
    first_us: int | None
    last_us: int | None
    per_class: dict[int, int]
    tracks: int
    duplicates: int


def box_info(path: Path) -> BoxInfo:
    """Count the boxes of a `_bbox.npy`, as it is. Raises InputError as `read_boxes`."""
    boxes = read_boxes(path, None, None)
    classes, counts = np.unique(boxes["label"], return_counts=True)
    return BoxInfo(
        len(boxes),
        len(np.unique(boxes["t"])),
        int(boxes["t"][0]) if len(boxes) else None,
        int(boxes["t"][-1]) if len(boxes) else None,
        dict(zip(classes.tolist(), counts.tolist(), strict=True)),
        len(np.unique(boxes["track"])),
        len(boxes) - len(without_duplicates(boxes)),
    )


def without_duplicates(boxes: NDArray[Any]) -> NDArray[Any]:
    """Of the boxes (BOX_DTYPE) that have the same time, class and place the first one, in their order."""
    _, firsts = np.unique(boxes[["t", "x", "y", "w", "h", "label"]], return_index=True)
    kept: NDArray[Any] = boxes[np.sort(firsts)]
    return kept


def read_boxes(path: Path, labels: int | None, rules: BoxRules | None) -> NDArray[Any]:
    """All boxes of a file whose class is used: BOX_DTYPE [n], sorted by time, equal times as in the file.

    labels: how many the data set has; None: any class is one. rules: None: all boxes are used. Raises InputError,
    naming the file, for one that is no such table, for numbers that are none, and for a class that the data set does
    not have.
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
    if rules is not None and rules.kept_classes is not None:
        boxes = boxes[boxes["label"] < rules.kept_classes]
    if labels is not None and (boxes["label"] >= labels).any():
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
