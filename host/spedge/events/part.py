"""A part of a sensor, or pixels of it taken together, as another sensor would see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.events.arrays import cropped

_MOST_BIN = 255
_MOST_CORNER = 65535


@dataclass(frozen=True)
class Part:
    """Where a model's sensor is in a larger one: its left upper corner there, and how many pixels along a side are one.

    Raises UsageError for numbers that devices cannot be told.
    """

    left: int = 0
    top: int = 0
    bin: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.bin <= _MOST_BIN:
            raise UsageError(f"--bin {self.bin}: it must be 1 to {_MOST_BIN} pixels")
        if not (0 <= self.left <= _MOST_CORNER and 0 <= self.top <= _MOST_CORNER):
            raise UsageError(f"--crop {self.left},{self.top}: a corner is at 0 to {_MOST_CORNER} from left and top")

    def of(self, events: NDArray[Any], width: int, height: int) -> NDArray[Any]:
        """These events, as a sensor of that size here would have given them. A copy."""
        return cropped(events, self.left, self.top, width, height, self.bin)


WHOLE = Part()


def part_for(source: tuple[int, int] | None, sensor: tuple[int, int], corner: tuple[int, int] | None, bin: int) -> Part:
    """The part of a source's pixels that a model's sensor is, in the middle where no corner is given.

    source: None where its size is not known: then from its corner on.
    """
    if corner is None and source is not None:
        corner = (max(source[0] - bin * sensor[0], 0) // 2, max(source[1] - bin * sensor[1], 0) // 2)
    left, top = corner or (0, 0)
    return Part(left, top, bin)
