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
GELU_STEPS, GELU_ENTRIES = 32, 512


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


def gelu_table() -> Array:
    """Entry i + 256, for i = -256 .. 255: -i, then gelu((i + f) / 32) as a square in f, |f| <= 1/2. float32 [512, 4].

    The first is zero and the last (i + f) / 32, for what lies beyond them.
    """

    def gelu(u: float) -> float:
        x = u / GELU_STEPS
        return x * 0.5 * math.erfc(-x / math.sqrt(2))

    half = GELU_ENTRIES // 2
    table = [(-i, *_polynomial(gelu, i, -0.5, 0.5, 2)) for i in range(-half, half)]
    last = half - 1
    table[0], table[-1] = (half, 0.0, 0.0, 0.0), (-last, last / GELU_STEPS, 1 / GELU_STEPS, 0.0)
    return np.array(table, np.float32)


def _polynomial(
    function: Callable[[float], float], start: int, low: float, high: float, degree: int
) -> tuple[float, ...]:
    """That of f through function(start + f) at the Chebyshev points of low .. high, constant first."""
    middle, half = (low + high) / 2, (high - low) / 2
    count = degree + 1
    points = middle + half * np.cos((2 * np.arange(count) + 1) * np.pi / (2 * count))
    values = [function(start + float(f)) for f in points]
    return tuple(np.linalg.solve(np.vander(points, count, increasing=True), values))
