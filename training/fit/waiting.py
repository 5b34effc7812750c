"""How long the steps of training wait for their batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Waiting:
    """Wall time between a step's end and its next batch, and in steps. Looks and checkpoints are neither."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._mark: float | None = None
        self.waited = self.stepped = 0.0

    def free(self) -> None:
        """From now on nothing is done but waiting for a batch."""
        self._mark = self._clock()

    def begins(self) -> None:
        """A step begins: its batch is there. The first one of a process, with what is set up for it, does not count."""
        now = self._clock()
        if self._mark is not None:
            self.waited += now - self._mark
        self._mark = now

    def ends(self) -> None:
        """It has ended."""
        if self._mark is not None:
            self.stepped += self._clock() - self._mark

    @property
    def share(self) -> float:
        """Of the time from the end of a step to the end of the next, that which was waited; nan before any."""
        whole = self.waited + self.stepped
        return self.waited / whole if whole else math.nan
