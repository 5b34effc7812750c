"""Boxes over time, from files: what a detector said, and what is there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.view.scene import SEEN_DTYPE

_SIDES = ("x", "y", "w", "h")


def truths(boxes: NDArray[Any]) -> NDArray[np.void]:
    """Labels as SEEN_DTYPE. boxes: fields t (µs), x, y of the upper left corner, w, h (pixels), label."""
    seen = np.zeros(len(boxes), SEEN_DTYPE)
    for name in ("t", *_SIDES, "label"):
        seen[name] = boxes[name]
    seen["score"] = 1
    return seen


def found(t: int, boxes: NDArray[Any]) -> NDArray[np.void]:
    """What a detector says at time t (µs) as SEEN_DTYPE. boxes: fields x, y of the upper left corner, w, h, score,
    label."""
    seen = np.zeros(len(boxes), SEEN_DTYPE)
    for name in (*_SIDES, "label"):
        seen[name] = boxes[name]
    seen["t"], seen["score"] = t, np.clip(boxes["score"], 0.0, _BELOW_ONE)
    return seen


def said_boxes(path: Path, names: Sequence[str] = ()) -> tuple[NDArray[np.void], tuple[str, ...]]:
    """What a detector said: SEEN_DTYPE, and the names of its classes, those given and then those of the file.

    path: JSON lines. Each has `t_us` and `boxes`, a list of objects with x, y (upper left corner), w, h in pixels,
    score, and label: a name, or a number of one of `names`. Lines without `boxes`, as a summary, are passed over.
    Raises InputError, naming file and line, for anything else.
    """
    known = list(names)
    rows: list[tuple[Any, ...]] = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a file of a detector's results.") from None
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line) if line.strip() else {}
            if "boxes" not in document:
                continue
            t = int(document["t_us"])
            rows += [_row(t, box, known) for box in document["boxes"]]
        except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            raise InputError(
                f"{path}, line {number} has no boxes with their time ({type(error).__name__}: {error}): give a file of "
                "a detector's results."
            ) from None
    seen = np.array(rows, SEEN_DTYPE) if rows else np.zeros(0, SEEN_DTYPE)
    return seen[np.argsort(seen["t"], kind="stable")], tuple(known)


def _row(t: int, box: dict[str, Any], known: list[str]) -> tuple[Any, ...]:
    sides = [float(box[side]) for side in _SIDES]
    score = float(box["score"])
    if not np.isfinite([*sides, score]).all():
        raise ValueError("a number that is none")
    label = box["label"]
    if isinstance(label, str):
        if label not in known:
            known.append(label)
        label = known.index(label)
    elif not 0 <= int(label) < 1 << 16:
        raise ValueError(f"class {label}")
    return t, *sides, min(max(score, 0.0), _BELOW_ONE), int(label)


_BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))  # a score of 1 is a truth's


def together(parts: Iterable[NDArray[np.void]]) -> NDArray[np.void]:
    """All boxes, sorted by time."""
    boxes = np.concatenate([np.zeros(0, SEEN_DTYPE), *parts])
    return boxes[np.argsort(boxes["t"], kind="stable")]
