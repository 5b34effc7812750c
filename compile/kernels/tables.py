"""Tables of polynomials for kernel_panel.h: a function on intervals of the same width, each by its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

EXP2_STEPS, EXP2_ENTRIES = 8, 256
POWERS_STEPS, POWERS_MIDDLE = 1024, 1477
POWERS_OCTAVES = 64  #: what scores may be at most, and their negatives
GELU_STEPS, GELU_HALF, GELU_COLUMNS = 32, 256, 4
GELU_MOST = 16  #: what numbers may be at most, and their negatives, for a table that has them all


def exp2_table() -> Array:
    """Entry i + 255, for i = -255 .. 0: 2^((i + f) / 8) as a cubic in f for |f| <= 1/2. float32 [256, 4].

    The first is zero.
    """
    entries = range(1 - EXP2_ENTRIES, 1)
    table = [_polynomial(lambda u: 2.0 ** (u / EXP2_STEPS), i, -0.5, 0.5, 3) for i in entries]
    table[0] = (0.0, 0.0, 0.0, 0.0)
    return np.array(table, np.float32)


def powers_table() -> Array:
    """What sp_k_panel_powers_within wants: the bits of c 2^(i / 1024) less i << 13, as numbers. float32 [1024].

    c f is 2^(f / 1024) for f from 1476.5 to 1477.5, as much too small at most as too large.
    """
    extremes = np.array([POWERS_MIDDLE - 0.5, POWERS_STEPS / math.log(2)])  # of 2^(f / 1024) / f
    c = float(np.mean(2 ** (extremes / POWERS_STEPS) / extremes))
    entries = np.arange(POWERS_STEPS, dtype=np.uint32)
    bits: NDArray[np.uint32] = (c * 2 ** (entries / POWERS_STEPS)).astype(np.float32).view(np.uint32)
    table: Array = (bits - (entries << (24 - POWERS_STEPS.bit_length()))).view(np.float32)
    return table


def gelu_table(half: int = GELU_HALF) -> Array:
    """Entry i + half, for i = -half .. half - 1: -i, then gelu((i + f) / 32) as a square in f, |f| <= 1/2.

    half: 256 or more. float32 [2 half, 4]. From -256 down it is 0 and from 255 on (i + f) / 32: what lies beyond, too.
    """

    def gelu(u: float) -> float:
        x = u / GELU_STEPS
        return x * 0.5 * math.erfc(-x / math.sqrt(2))

    def entry(i: int) -> tuple[float, ...]:
        if i <= -GELU_HALF or i >= GELU_HALF - 1:
            return (-i, i / GELU_STEPS, 1 / GELU_STEPS, 0.0) if i > 0 else (-i, 0.0, 0.0, 0.0)
        return (-i, *_polynomial(gelu, i, -0.5, 0.5, 2))

    return np.array([entry(i) for i in range(-half, half)], np.float32)


def _polynomial(
    function: Callable[[float], float], start: int, low: float, high: float, degree: int
) -> tuple[float, ...]:
    """That of f through function(start + f) at the Chebyshev points of low .. high, constant first."""
    middle, half = (low + high) / 2, (high - low) / 2
    count = degree + 1
    points = middle + half * np.cos((2 * np.arange(count) + 1) * np.pi / (2 * count))
    values = [function(start + float(f)) for f in points]
    return tuple(np.linalg.solve(np.vander(points, count, increasing=True), values))
