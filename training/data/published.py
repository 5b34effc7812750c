"""Data sets as they are published: what lies where, and how a recording is cut into labelled slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spedge import recordings
from spedge.base.errors import InputError
from spedge.events.arrays import concatenate

from .base import About, Description

SLICE_US = 1_000_000
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """A recording of a data set on disk. files: events first, then its labels. part: one of PARTS."""

    name: str
    part: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Slice:
    """A labelled piece of a recording. events: EVENT_DTYPE, times from its start. group: whose slices vote together."""

    events: NDArray[Any]
    label: int
    group: str


@dataclass(frozen=True)
class Found:
    """What is there of a data set. problems: sentences on what is missing or wrong, and what mends it."""

    root: Path
    sources: tuple[Source, ...]
    problems: tuple[str, ...]


class Published(Protocol):
    """A data set with recordings on disk. With boxes it has `chunks` in the place of `slices`: `driving.DrivingSet`."""

    DESCRIPTION: Description
    ABOUT: About
    VERSION: int  #: of how it is cut: raised when that changes

    def find(self, folder: Path) -> Found:
        """What of it is in a folder."""

    def glance(self, source: Source) -> None:
        """Raises InputError, naming the file, for a recording whose beginning or labels cannot be read."""

    def slices(self, source: Source) -> Iterator[Slice]:
        """Its labelled slices. Raises InputError, naming the file, for what cannot be read."""


def root_with(folder: Path, *markers: str, depth: int = 3) -> Path | None:
    """The folder that holds one of `markers`, itself or some way down: an archive may be unpacked a level deeper."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the one where the data set was unpacked.")
    level = [folder]
    for _ in range(depth + 1):
        for place in level:
            if any(any(place.glob(marker)) for marker in markers):
                return place
        level = sorted(child for place in level for child in place.iterdir() if child.is_dir())
    return None


def read_sorted(path: Path, width: int, height: int) -> NDArray[Any]:
    """All events of a recording, sorted by time, equal times as in the file; those outside the sensor are left out."""
    parts = list(recordings.open(path, width=width, height=height, sort=True, outside="drop"))
    return concatenate(parts)


def table_of(path: Path, columns: int) -> NDArray[np.int64]:
    """Rows of whole numbers, at least one, of a CSV file whose first line names the columns: int64 [n, columns]."""
    try:
        if not any(line.strip() for line in path.read_text("utf-8-sig").splitlines()[1:]):
            raise InputError(f"{path} holds no rows: copy it again.")
        rows = np.loadtxt(path, np.int64, delimiter=",", skiprows=1, ndmin=2, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a table of {columns} whole numbers a line ({error}): copy it again.") from None
    if rows.size and rows.shape[1] != columns:
        raise InputError(f"{path} has {rows.shape[1]} columns and should have {columns}: copy it again.")
    return rows.reshape(-1, columns)


def whole_seconds(events: NDArray[Any], start_us: int) -> Iterator[NDArray[Any]]:
    """Slices of a gesture, [k, k + 1) s after its start, with times from each one's start; empty ones are left out.

    The authors count ceil((last - first) / 1 s) slices from the start, which loses the tail of a gesture whose first
    event is late (experiments.md, fault 10): here every event is in the slice of its time.
    """
    since = events["t"].astype(np.int64) - start_us
    first = 0
    while first < len(since):
        number = int(since[first]) // SLICE_US
        end = int(since.searchsorted((number + 1) * SLICE_US))
        piece = events[first:end].copy()
        piece["t"] = since[first:end] - number * SLICE_US
        yield piece
        first = end
