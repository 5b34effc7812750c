"""What a detector's RESULT has instead of numbers: boxes, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.link.frames import Reader

#: A box as SPEC.md has it: upper left corner and size in pixels, score, number of its class.
WIRE_BOX_DTYPE = np.dtype([*((name, "<f4") for name in ("x", "y", "w", "h", "score")), ("label", "<u2")])


@dataclass(frozen=True)
class StepResult:
    """A detector's step on a device.

    boxes: WIRE_BOX_DTYPE [n], by falling score; found: how many there are, more than these until all have been read.
    ran: False for a result that was asked for when there was no step to make.
    tokens_left_out: older than those that the steps had room for, or of steps that were left out; steps_left_out: in
    live mode, because a later one was there already. Both in the session so far. boxes_left_out: candidates for a box
    of this step beyond those that a device looks at.
    """

    boxes: NDArray[Any]
    found: int
    ran: bool
    tokens_left_out: int
    steps_left_out: int
    boxes_left_out: int

    @classmethod
    def take(cls, reader: Reader) -> StepResult:
        tokens, steps, left_out, found, ran, _ = reader.take("IIIHBB")
        return cls(take_boxes(reader), found, bool(ran), tokens, steps, left_out)


@dataclass(frozen=True)
class BoxesPage:
    """Reply to BOXES: boxes first, first + 1, … of the step of that run, which is the device's last; or none."""

    run: int
    first: int
    boxes: NDArray[Any]

    @classmethod
    def unpack(cls, payload: bytes) -> BoxesPage:
        reader = Reader(payload, "BOXES reply")
        run, first = reader.take("II")
        return cls(run, first, take_boxes(reader))


def take_boxes(reader: Reader) -> NDArray[Any]:
    """Boxes to the end of the payload."""
    size = WIRE_BOX_DTYPE.itemsize
    return np.frombuffer(reader.raw(reader.left // size * size), WIRE_BOX_DTYPE)
