"""What is measured on this machine is given as a multiple of what numpy takes to count the same events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATCH = 16


class AgainstBincount:
    """For results of `against_bincount`, of so many events: the rates."""

    events: int
    seconds: float
    bincount_seconds: float

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds

    @property
    def times_bincount(self) -> float:
        return self.seconds / self.bincount_seconds


def against_bincount(
    run: Callable[[], object], x: NDArray[Any], y: NDArray[Any], width: int, height: int, repeats: int
) -> tuple[float, float]:
    """Seconds of the quickest of `repeats` runs, and of the quickest of as many counts of events per patch.

    x, y: uint16, pixels, of events on width x height pixels.
    """
    columns, rows = -(-width // PATCH), -(-height // PATCH)

    def count() -> None:
        np.bincount((y // PATCH).astype(np.int64) * columns + x // PATCH, minlength=columns * rows)

    counting, running = float("inf"), float("inf")
    for _ in range(repeats):  # by turns, so that other load on the machine hits both
        counting = min(counting, _seconds(count))
        running = min(running, _seconds(run))
    return running, counting


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
