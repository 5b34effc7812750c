"""Where in a file a time is: an index of places, made when a recording is first read for it, and kept in the cache.

An index belongs to what is in the file (its size, when it was changed, a digest of its ends) and to how it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.base.store import stored

#: What a reader goes on from: numbers of 64 bits that mean something to it alone; empty: a file's beginning, or end.
Place = tuple[int, ...]
#: Files of fewer bytes are read from their start.
WORTHWHILE_BYTES = 1 << 22
_POINT_EVENTS = 1 << 18  # from one point to the next, at least
_END_BYTES = 1 << 16
_VERSION = 1
_FILE = "index.npz"


@dataclass(frozen=True)
class Point:
    """A place in a file. t: of the last event before it, µs. number: of events before it, left out ones included."""

    t: int
    number: int
    place: Place


BEGINNING = Point(0, 0, ())


@dataclass(frozen=True)
class Index:
    """Points in the order of the file: their times, numbers and places [n, numbers of a place]."""

    t: NDArray[np.uint64]
    number: NDArray[np.uint64]
    place: NDArray[np.uint64]

    @classmethod
    def of(cls, points: list[Point]) -> Index:
        numbers = [[point.t, point.number, *point.place] for point in points]
        table = np.array(numbers, np.uint64).reshape(len(points), -1 if points else 2)
        return cls(table[:, 0].copy(), table[:, 1].copy(), table[:, 2:].copy())

    def before(self, t: np.uint64) -> Point:
        """The last point before which all events are earlier than t."""
        i = int(np.searchsorted(self.t, t)) - 1
        return BEGINNING if i < 0 else Point(int(self.t[i]), int(self.number[i]), tuple(self.place[i].tolist()))

    def behind(self, t: np.uint64) -> Place:
        """The first place behind which no event is earlier than t; empty where that may be the end."""
        i = int(np.searchsorted(self.t, t))
        return tuple(self.place[i].tolist()) if i < len(self.t) else ()


class Points:
    """Points being collected while a file is read."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._next = _POINT_EVENTS

    def due(self, number: int) -> bool:
        """Whether there is to be a point behind so many events."""
        return number >= self._next

    def add(self, point: Point) -> None:
        self.points.append(point)
        self._next = point.number + _POINT_EVENTS


def key_of(path: Path, reading: str) -> str:
    """Of the index of a file that is read so: changes with the file."""
    status = path.stat()
    digest = hashlib.sha256(f"{_VERSION} {reading} {status.st_size} {status.st_mtime_ns}".encode())
    with path.open("rb") as file:
        digest.update(file.read(_END_BYTES))
        file.seek(max(0, status.st_size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return digest.hexdigest()


class Shelf:
    """The index of one recording: kept in memory, and in the cache where that can be written to."""

    def __init__(self) -> None:
        self._key = ""
        self._index: Index | None = None

    def get(self, path: Path, reading: str, make: Callable[[], Index]) -> Index:
        """The index of the file as it is now. make: reads it, if nobody has before."""
        key = key_of(path, reading)
        if self._index is None or key != self._key:
            self._index, self._key = _kept(key, make), key
        return self._index


def _kept(key: str, make: Callable[[], Index]) -> Index:
    made: list[Index] = []

    def write(folder: Path) -> None:
        made.append(make())
        index = made[0]
        np.savez(folder / _FILE, t=index.t, number=index.number, place=index.place)

    try:
        with np.load(stored("indexes", key, write) / _FILE, allow_pickle=False) as file:
            return Index(file["t"], file["number"], file["place"])
    except (UsageError, OSError, ValueError, LookupError):  # no cache, or a file in it that is damaged
        return made[0] if made else make()
