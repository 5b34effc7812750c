"""A recording, played as a camera would send it or as fast as it is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.recordings import PLAIN, Reading
from spedge.sources.base import PACKET_SECONDS, Source

_LOST = ("unknown", "untimed", "clipped", "outside")  # of what a recording leaves out, as other sources count it
_PACKET_EVENTS = 1 << 14  # of a recording at full speed: small enough to be interrupted


class RecordingSource(Source):
    """The events of a file.

    speed: as a multiple of the time in which it was made; then it is like a camera, and a slow reader finds larger
    packets waiting. None: at full speed, and it waits for its reader. reading: how it is opened.
    Raises UsageError for a speed that is not positive, InputError as spedge.open.
    """

    def __init__(self, path: Path, speed: float | None = None, reading: Reading = PLAIN) -> None:
        if speed is not None and not 0 < speed < float("inf"):
            raise UsageError(f"a speed of {speed} is not possible; it must be more than 0")
        self.recording = reading.open(path)
        self.speed = speed
        self._begin: float | None = None  # when the first event was due
        self._first = 0  # its time
        super().__init__(path.name, self.recording.width, self.recording.height, live=speed is not None)

    def check(self) -> int:
        """Read it once, so that a damaged file is found before a board is started. Returns the number of events.

        Raises InputError for a damaged file or one without events.
        """
        count = sum(map(len, self.recording))
        if not count:
            raise self.recording.no_events()
        return count

    def packets(self) -> Iterator[NDArray[np.void]]:
        for chunk in self.recording:
            self._count()
            yield from self._paced(chunk) if self.speed else self._cut(chunk)
            if self._stopped.is_set():
                return
        self._count()  # what is behind the last event

    def _count(self) -> None:
        self.lost = {name: count for name, count in self.recording.left_out.items() if name in _LOST}

    def nothing(self, problem: str | None) -> InputError:
        return InputError(problem) if problem else self.recording.no_events()

    def _cut(self, chunk: NDArray[np.void]) -> Iterator[NDArray[np.void]]:
        for start in range(0, len(chunk), _PACKET_EVENTS):
            if self._stopped.is_set():
                return
            yield chunk[start : start + _PACKET_EVENTS]

    def _paced(self, chunk: NDArray[np.void]) -> Iterator[NDArray[np.void]]:
        """What is due by now, each PACKET_SECONDS."""
        assert self.speed is not None
        if self._begin is None:
            self._begin, self._first = time.monotonic(), int(chunk["t"][0])
        sent = 0
        while sent < len(chunk) and not self._stopped.is_set():
            passed = (time.monotonic() - self._begin) * self.speed
            due = int(np.searchsorted(chunk["t"], np.uint64(self._first + int(passed * 1e6)), side="right"))
            yield chunk[sent : max(sent, due)]
            sent = max(sent, due)
            if sent < len(chunk):
                ahead = (int(chunk["t"][sent]) - self._first) / 1e6 - passed
                self._stopped.wait(min(max(ahead / self.speed, 0.001), PACKET_SECONDS))

    def close(self) -> None:
        """Nothing is kept open between packets."""
