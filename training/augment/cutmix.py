"""CutMix of events: a box of one sample is replaced by that of another (experiments.md F; images: Yun et al. 2019)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import concatenate

from .transforms import Area


def box_of(share: float, width: int, height: int) -> tuple[int, int]:
    """Sides of the box for a draw of U(0, 1): the sensor's times sqrt(1 - share), rounded down."""
    return math.floor(width * math.sqrt(1 - share)), math.floor(height * math.sqrt(1 - share))


def cutmix(events: NDArray[Any], other: NDArray[Any], area: Area) -> tuple[NDArray[Any], float]:
    """The sample's events outside of the area and the other's inside, by time; of equal times the sample's first.

    Also the share of the result that is the sample's, which is its label's weight; 1 where nothing is left.
    """
    own, theirs = events.compress(~area.holds(events)), other.compress(area.holds(other))
    mixed = concatenate([own, theirs])
    share = len(own) / len(mixed) if len(mixed) else 1.0
    return mixed.take(np.argsort(mixed["t"], kind="stable")), share


def draw_area(random: np.random.Generator, width: int, height: int) -> Area:
    """A random box that lies inside the sensor."""
    across, down = box_of(random.random(), width, height)
    x, y = _centre(random, across, width), _centre(random, down, height)
    return Area(x - across // 2, x + across // 2, y - down // 2, y + down // 2)


def _centre(random: np.random.Generator, side: int, whole: int) -> int:
    half = side // 2
    return int(random.integers(half, max(whole - half, half + 1)))
