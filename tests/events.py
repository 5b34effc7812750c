"""Events for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import spedge


def scattered(n: int, span_us: int, seed: int = 0, side: int = 34, start: int = 0) -> NDArray[np.void]:
    """n events anywhere on side x side pixels, at any times of span_us from start on, µs."""
    random = np.random.default_rng(seed)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, span_us, n)) + start
    events["x"], events["y"] = random.integers(0, side, (2, n))
    events["p"] = random.integers(0, 2, n)
    return events
