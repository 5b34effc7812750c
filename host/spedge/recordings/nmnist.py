"""N-MNIST's .bin files, 5 bytes an event, 34x34 pixels, and those of other sets with its records (N-Caltech101)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError
from spedge.events.arrays import empty_events
from spedge.recordings.base import CHUNK_EVENTS, DROP_HINT, SeekingRecording
from spedge.recordings.seek import Place

SIDE = 34
RECORD_BYTES = 5
_OVERFLOW_Y = 240
_OVERFLOW_US = 1 << 13
_WIDEST = 1 << 8  # of x and, below the mark of overflows, y
_OTHER = f"not an N-MNIST file ({RECORD_BYTES} bytes an event)"


class NMnistRecording(SeekingRecording):
    """A sample of N-MNIST or, with another size given, of another set in its records."""

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        given = None if width is None or height is None else (width, height)
        if given is not None and (given[0] > _WIDEST or given[1] > _OVERFLOW_Y):
            limit = f"{_WIDEST}x{_OVERFLOW_Y}"
            raise InputError(f"{path}: N-MNIST's records are for up to {limit} pixels, not {given[0]}x{given[1]}")
        if path.stat().st_size < RECORD_BYTES:
            raise InputError(f"{path}: cut off in the middle of an event at byte 0, or {_OTHER}")
        super().__init__(path, *(given or (SIDE, SIDE)), "the format" if given is None else "the caller")
        self.format = "N-MNIST" if given in (None, (SIDE, SIDE)) else "N-MNIST's records"

    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        begin, overflows = place or (0, 0)
        at = begin
        self._here = lambda: (at, overflows)
        with self.path.open("rb") as file:
            file.seek(begin)
            while data := file.read(RECORD_BYTES * CHUNK_EVENTS):
                whole = len(data) - len(data) % RECORD_BYTES
                records = np.frombuffer(data, np.uint8, whole).reshape(-1, RECORD_BYTES)
                good, complaint = self._checked(records, at)
                events = decode(good, overflows)
                overflows += int(np.count_nonzero(records[:, 1] == _OVERFLOW_Y))
                at += len(data)
                yield events
                if complaint:
                    raise InputError(complaint)
                if whole < len(data):
                    where = at - len(data) + whole
                    raise CutError(f"{self.path}: cut off in the middle of an event at byte {where}, or {_OTHER}")

    def _checked(self, records: NDArray[np.uint8], at: int) -> tuple[NDArray[np.uint8], str | None]:
        """The records before the first one outside the sensor, if that is refused, and what is to be said of it."""
        x, y = records[:, 0], records[:, 1]
        bad = np.flatnonzero(((x >= self.width) | (y >= self.height)) & (y != _OVERFLOW_Y))
        if self.outside == "drop" or not len(bad):
            return records, None
        first = int(bad[0])
        return records[:first], (
            f"{self.path}: byte {at + RECORD_BYTES * first} holds pixel ({x[first]}, {y[first]}), outside "
            f"{self.width}x{self.height}; it is damaged, or not of N-MNIST: give width and height for another set in "
            f"these records (N-Caltech101: --width 240 --height 180), or {DROP_HINT}"
        )


def decode(records: NDArray[np.uint8], overflows: int = 0) -> NDArray[np.void]:
    """Events (EVENT_DTYPE, t in µs) of uint8 [n, 5] records after so many time overflows.

    Big-endian: x, y, then 1 bit polarity and 23 bits time. y = 240 is no event: the time overflowed by 2^13 µs.
    """
    raw = records.astype(np.uint64)
    marks = records[:, 1] == _OVERFLOW_Y
    laps = np.cumsum(marks).astype(np.uint64) + np.uint64(overflows)
    t = ((raw[:, 2] & 0x7F) << 16 | raw[:, 3] << 8 | raw[:, 4]) + laps * np.uint64(_OVERFLOW_US)
    kept = ~marks
    events = empty_events(int(np.count_nonzero(kept)))
    events["t"] = t[kept]
    events["x"] = records[kept, 0]
    events["y"] = records[kept, 1]
    events["p"] = records[kept, 2] >> 7
    return events
