"""The paper's changes to the events of a training sample, each with its draw given (experiments.md F).

events: EVENT_DTYPE [n], sorted by time. All return new arrays, or the given one where nothing changes; events that
leave the sensor are gone. Where pixels are computed from real numbers they are rounded down. Events are kept by
`compress`, which copies each as a whole: a mask as an index copies its fields one by one, and takes ten times as long.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import copied

Events = NDArray[Any]


class Area(NamedTuple):
    """Pixels from left to right and top to bottom, these included. It may reach outside the sensor."""

    left: int
    right: int
    top: int
    bottom: int

    def holds(self, events: Events) -> NDArray[np.bool_]:
        """Which of the events are in it."""
        x, y = events["x"], events["y"]
        return (x >= self.left) & (x <= self.right) & (y >= self.top) & (y <= self.bottom)


def flip(events: Events, width: int) -> Events:
    """Left is right: x becomes width - 1 - x."""
    out = copied(events)
    out["x"] = width - 1 - events["x"].astype(np.int64)
    return out


def area_around(centre_x: int, centre_y: int, ratio: float, width: int, height: int) -> Area:
    """The area of `ratio` of both of the sensor's sides, rounded up."""
    across, down = math.ceil(ratio * width), math.ceil(ratio * height)
    return Area(centre_x + -across // 2, centre_x + across // 2, centre_y + -down // 2, centre_y + down // 2)


def drop_area(events: Events, area: Area) -> Events:
    """Without those in the area."""
    return events.compress(~area.holds(events))


def drop_time(events: Events, start: float, length: float) -> Events:
    """Without those from `start` on for `length`, both shares of the time from the first event to the last."""
    if not len(events):
        return events
    first = float(events["t"][0])
    duration = float(events["t"][-1]) - first
    begin = first + start * duration
    t = events["t"].astype(np.float64)
    return events.compress((t < begin) | (t > begin + length * duration))


def drop_events(events: Events, share: float, draws: NDArray[np.float64]) -> Events:
    """Without those whose draw, uniform in [0, 1) and one for each, is at most `share`."""
    return events.compress(draws > share)


def shear(events: Events, slope: float, width: int) -> Events:
    """x + y * slope: row 0 stays."""
    x = np.floor(events["x"] + events["y"] * slope)
    return _moved(events, x, events["y"].astype(np.float64), width, 1 << 16)


def roll(events: Events, dx: int, dy: int, width: int, height: int) -> Events:
    """Shifted by whole pixels; what leaves on one side comes back on the other."""
    out = copied(events)
    out["x"] = (events["x"].astype(np.int64) + dx) % width
    out["y"] = (events["y"].astype(np.int64) + dy) % height
    return out


def rotate(events: Events, angle: float, width: int, height: int) -> Events:
    """Turned by `angle`, rad, about the middle (width / 2, height / 2), from x towards y."""
    x, y = rotated(events["x"], events["y"], angle, width, height)
    return _moved(events, np.floor(x), np.floor(y), width, height)


def rotated(
    x: NDArray[Any], y: NDArray[Any], angle: float, width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates turned by `angle`, rad, about (width / 2, height / 2), float64."""
    sine, cosine = math.sin(angle), math.cos(angle)
    dx, dy = x - width / 2, y - height / 2
    return width / 2 + dx * cosine - dy * sine, height / 2 + dx * sine + dy * cosine


def _moved(events: Events, x: NDArray[np.float64], y: NDArray[np.float64], width: int, height: int) -> Events:
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    out = events.compress(inside)
    out["x"], out["y"] = x.compress(inside), y.compress(inside)
    return out
