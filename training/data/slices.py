"""Preprocessed classification sets: labelled slices, one after another in their recording's file.

A file holds t u32, x u16, y u16, p u8 of all slices, `offsets` (slice i has the events from offsets[i] to
offsets[i + 1]), `label` and `group` of each slice, and as attributes what it was made from and by.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import store
from .base import Dataset, Description, Sample
from .published import PARTS, Slice


@dataclass(frozen=True)
class SliceEntry(store.Entry):
    """A recording's slices. counts: events of each slice."""

    labels: tuple[int, ...]
    groups: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def samples(self) -> int:
        """How many slices there are."""
        return len(self.labels)

    @property
    def events(self) -> int:
        """Of all slices."""
        return sum(self.counts)


def write(place: store.Place, slices: Sequence[Slice]) -> SliceEntry:
    """Write the slices of a recording; the file appears whole or not at all."""
    columns: dict[str, NDArray[Any]] = {
        name: np.concatenate([piece.events[name] for piece in slices]) if slices else np.zeros(0, dtype)
        for name, dtype in store.COLUMNS.items()
    }
    tables: dict[str, NDArray[Any]] = {
        "offsets": np.cumsum([0, *(len(piece.events) for piece in slices)], dtype=np.int64),
        "label": np.array([piece.label for piece in slices], np.int32),
        "group": np.array([piece.group.encode() for piece in slices] or [b""], "S")[: len(slices)],
    }
    store.write_file(place, columns, tables)
    return _entry(place, tables)


def entry_of(place: store.Place) -> SliceEntry | None:
    """What the index says of a file that was made with that key; None when it is not there, or stale, or damaged."""
    tables = store.read_tables(place, ("offsets", "label", "group"))
    return None if tables is None else _entry(place, tables)


def _entry(place: store.Place, tables: Mapping[str, NDArray[Any]]) -> SliceEntry:
    groups = tuple(group.decode() for group in tables["group"])
    counts = np.diff(tables["offsets"]).tolist()
    labels = tables["label"].tolist()
    return SliceEntry(place.name, place.part, place.file, place.key, tuple(labels), groups, tuple(counts))


@dataclass(frozen=True)
class Store:
    """A complete store. `part` gives its samples, which are read when they are asked for."""

    root: Path
    about: Description
    entries: tuple[SliceEntry, ...]
    command: str
    made_by: str

    @property
    def fingerprint(self) -> str:
        """16 hex digits of what all its recordings were made from."""
        return store.fingerprint_of(self.entries)

    def part(self, name: str) -> StoredPart:
        """The samples of a part, recording after recording."""
        return StoredPart(store.Files(self.root, self.command), [entry for entry in self.entries if entry.part == name])

    def dataset(self) -> Dataset:
        """All of it."""
        parts = {name: self.part(name) for name in PARTS}
        sensor = self.about.sensor
        return Dataset(
            self.about.name,
            sensor.width,
            sensor.height,
            self.about.labels,
            parts["train"],
            parts["test"],
            parts["validation"],
            key=self.fingerprint,
        )


def open_store(root: str | os.PathLike[str], name: str) -> Store:
    """The store of that data set. Raises UsageError or InputError as `store.read_index`."""
    index = store.read_index(root, name)
    entries = tuple(
        SliceEntry(**{**entry, **{field: tuple(entry[field]) for field in ("labels", "groups", "counts")}})
        for entry in index.recordings
    )
    return Store(Path(root), index.about, entries, store.command_of(root, name, index), index.made_by)


class StoredPart(Sequence[Sample]):
    """Samples of a part."""

    def __init__(self, files: store.Files, entries: Sequence[SliceEntry]) -> None:
        self._files, self._entries = files, list(entries)
        self._first = np.cumsum([0, *(len(entry.labels) for entry in entries)])
        self.sizes = np.array([count for entry in entries for count in entry.counts], np.int64)
        self._offsets = [np.cumsum([0, *entry.counts]) for entry in entries]

    def __len__(self) -> int:
        return int(self._first[-1])

    def about(self, number: int) -> tuple[int, str]:
        """Label and group of a sample, without its events."""
        entry, place = self._place(number)
        return self._entries[entry].labels[place], self._entries[entry].groups[place]

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        entry, place = self._place(range(len(self))[number])
        about = self._entries[entry]
        first, last = self._offsets[entry][place : place + 2].tolist()
        events = self._files.events(about, first, last)
        return Sample(events, about.labels[place], f"{about.name}[{place}]", about.groups[place])

    def _place(self, number: int) -> tuple[int, int]:
        entry = int(np.searchsorted(self._first, number, side="right")) - 1
        return entry, number - int(self._first[entry])
