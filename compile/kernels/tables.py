"""Tables of cubics for kernel_panel.h: a function on intervals of the same width, each by its own polynomial."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

EXP2_STEPS, EXP2_ENTRIES = 8, 256
NORMAL_STEPS, NORMAL_ENTRIES = 8, 128


def exp2_table() -> Array:
    """Entry i + 255, for i = -255 .. 0: 2^((i + f) / 8) as a cubic in f for |f| <= 1/2. float32 [256, 4].

    The first is zero.
    """
    entries = range(1 - EXP2_ENTRIES, 1)
    table = [_cubic(lambda u: 2.0 ** (u / EXP2_STEPS), i, -0.5, 0.5) for i in entries]
    table[0] = (0.0, 0.0, 0.0, 0.0)
    return np.array(table, np.float32)


def normal_table() -> Array:
    """Entry i + 64, for i = -64 .. 63: the standard normal distribution function at (i + f) / 8 as a cubic in f.

    0 <= f < 1 above i = 0, -1 < f <= 0 below, -1 < f < 1 at 0. The first and the last are constant. float32 [128, 4].
    """

    def normal(u: float) -> float:
        return 0.5 * math.erfc(-u / NORMAL_STEPS / math.sqrt(2))

    half = NORMAL_ENTRIES // 2
    table = [_cubic(normal, i, -1 if i <= 0 else 0, 1 if i >= 0 else 0) for i in range(-half, half)]
    table[0], table[-1] = (0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)
    return np.array(table, np.float32)


def _cubic(function: Callable[[float], float], start: int, low: float, high: float) -> tuple[float, ...]:
    """The cubic in f through function(start + f) at the Chebyshev points of low .. high, constant first."""
    middle, half = (low + high) / 2, (high - low) / 2
    points = middle + half * np.cos((2 * np.arange(4) + 1) * np.pi / 8)
    values = [function(start + float(f)) for f in points]
    coefficients = np.linalg.solve(np.vander(points, 4, increasing=True), np.array(values))
    return tuple(float(c) for c in coefficients)
