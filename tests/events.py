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


def strokes(label: int, number: int) -> NDArray[np.void]:
    """Events of a made-up digit: a bar at a place that depends on the label, sweeping."""
    random = np.random.default_rng((label, number))
    n = 2500
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, 300_000, n))
    along = events["t"] / 300_000 * 20 + 6 + random.uniform(-1, 1)
    across = 4 + 2.7 * label + random.normal(0, 0.7, n)
    events["x"] = np.clip(along + random.normal(0, 1, n), 0, 33)
    events["y"] = np.clip(across, 0, 33)
    events["p"] = random.integers(0, 2, n)
    return events


def nmnist_bytes(events: NDArray[np.void]) -> bytes:
    """As N-MNIST's files have them, five bytes an event."""
    raw = np.zeros((len(events), 5), np.uint8)
    raw[:, 0], raw[:, 1] = events["x"], events["y"]
    raw[:, 2] = (events["p"] << 7) | (events["t"] >> 16).astype(np.uint8)
    raw[:, 3], raw[:, 4] = (events["t"] >> 8) & 255, events["t"] & 255
    return raw.tobytes()
