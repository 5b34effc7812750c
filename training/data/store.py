"""Preprocessed data sets: one HDF5 file for each recording, with its slices one after another, and an index of all.

A file holds t u32, x u16, y u16, p u8 of all slices, `offsets` (slice i has the events from offsets[i] to
offsets[i + 1]), `label` and `group` of each slice, and as attributes what it was made from and by.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, SpedgeError, UsageError
from spedge.base.files import whole
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.parts import Sensor

from .base import Dataset, Description, Sample
from .published import PARTS, Slice

INDEX = "index.json"
SCHEMA = 1
_COLUMNS = {"t": np.uint32, "x": np.uint16, "y": np.uint16, "p": np.uint8}
_ROWS = 1 << 15
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class Entry:
    """A recording in the index. file: relative to the store. key: of what made it. counts: events of each slice."""

    name: str
    part: str
    file: str
    key: str
    labels: tuple[int, ...]
    groups: tuple[str, ...]
    counts: tuple[int, ...]


def key_of(files: Sequence[Path], made_by: str) -> str:
    """32 hex digits of the files' names, sizes and contents, and of what makes slices of them."""
    digest = hashlib.sha256(made_by.encode())
    for path in files:
        try:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while part := file.read(_READ_BYTES):
                    digest.update(part)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}.") from None
    return digest.hexdigest()[:32]


def write(path: Path, key: str, slices: Sequence[Slice]) -> None:
    """Write the slices of a recording; the file appears whole or not at all."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    counts = [len(piece.events) for piece in slices]
    with whole(path) as part, h5py.File(part, "w") as file:
        for name, dtype in _COLUMNS.items():
            column = np.concatenate([piece.events[name] for piece in slices]) if slices else np.zeros(0, dtype)
            file.create_dataset(name, data=column.astype(dtype), **_packed(len(column)))
        file["offsets"] = np.cumsum([0, *counts], dtype=np.int64)
        file["label"] = np.array([piece.label for piece in slices], np.int32)
        file["group"] = np.array([piece.group.encode() for piece in slices] or [b""], "S")[: len(slices)]
        file.attrs["schema"], file.attrs["key"] = SCHEMA, key


def entry_of(path: Path, root: Path, name: str, part: str, key: str) -> Entry | None:
    """What the index says of a file that was made with that key; None when it is not there, or stale, or damaged."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if file.attrs["schema"] != SCHEMA or file.attrs["key"] != key:
                return None
            counts = np.diff(file["offsets"][:])
            if any(len(file[column]) != counts.sum() for column in _COLUMNS):
                return None
            groups = tuple(group.decode() for group in file["group"][:])
            labels = tuple(file["label"][:].tolist())
    except (OSError, KeyError, ValueError):
        return None
    return Entry(name, part, path.relative_to(root).as_posix(), key, labels, groups, tuple(counts.tolist()))


def write_index(root: Path, about: Description, entries: Sequence[Entry], made_by: str) -> None:
    """Say that the store is complete."""
    document = {
        "schema": SCHEMA,
        "name": about.name,
        "title": about.title,
        "sensor": asdict(about.sensor),
        "labels": about.labels,
        "mirrored": about.mirrored,
        "made_by": made_by,
        "recordings": [asdict(entry) for entry in entries],
    }
    with whole(root / INDEX) as part:
        part.write_text(json.dumps(document) + "\n")


@dataclass(frozen=True)
class Store:
    """A complete store. `part` gives its samples, which are read when they are asked for."""

    root: Path
    about: Description
    entries: tuple[Entry, ...]

    @property
    def fingerprint(self) -> str:
        """16 hex digits of what all its recordings were made from."""
        return hashlib.sha256("".join(sorted(entry.key for entry in self.entries)).encode()).hexdigest()[:16]

    def part(self, name: str) -> StoredPart:
        """The samples of a part, recording after recording."""
        return StoredPart(self.root, [entry for entry in self.entries if entry.part == name])

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
    """The store of that data set. Raises UsageError where there is none, or it is not finished, or of another set."""
    folder = Path(root)
    try:
        document: dict[str, Any] = json.loads((folder / INDEX).read_text())
        if document["schema"] != SCHEMA:
            raise InputError(f"{folder} was preprocessed by another version of spedge: run 'spedge preprocess' again.")
        if document["name"] != name:
            raise UsageError(f"{folder} holds the data set '{document['name']}', and '{name}' is asked for.")
        mirrored = document["mirrored"]
        about = Description(
            name,
            document["title"],
            Sensor(**document["sensor"]),
            tuple(document["labels"]),
            None if mirrored is None else tuple((a, b) for a, b in mirrored),
        )
        entries = tuple(
            Entry(**{**entry, **{field: tuple(entry[field]) for field in ("labels", "groups", "counts")}})
            for entry in document["recordings"]
        )
    except SpedgeError:
        raise
    except FileNotFoundError:
        raise UsageError(
            f"{folder} is no preprocessed data set, or one that is not finished: run 'spedge preprocess {name} "
            f"--data DIR --out {folder}', which goes on where it was stopped."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / INDEX} is damaged ({error}): run 'spedge preprocess' again.") from None
    return Store(folder, about, entries)


class StoredPart(Sequence[Sample]):
    """Samples of a part. Files are opened by each process that reads them."""

    def __init__(self, root: Path, entries: Sequence[Entry]) -> None:
        self._root, self._entries = root, list(entries)
        self._first = np.cumsum([0, *(len(entry.labels) for entry in entries)])
        self.sizes = np.array([count for entry in entries for count in entry.counts], np.int64)
        self._offsets = [np.cumsum([0, *entry.counts]) for entry in entries]
        self._open: dict[int, Any] = {}
        self._process = os.getpid()

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
        return Sample(self._events(entry, place), about.labels[place], f"{about.name}[{place}]", about.groups[place])

    def _place(self, number: int) -> tuple[int, int]:
        entry = int(np.searchsorted(self._first, number, side="right")) - 1
        return entry, number - int(self._first[entry])

    def _events(self, entry: int, place: int) -> NDArray[Any]:
        path = self._root / self._entries[entry].file
        try:
            file = self._file(entry, path)
            first, last = self._offsets[entry][place : place + 2]
            events = np.empty(int(last - first), EVENT_DTYPE)
            for name in _COLUMNS:
                events[name] = file[name][first:last]
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                f"{path} is damaged ({error}): run 'spedge preprocess' again, which makes it anew."
            ) from None
        return events

    def _file(self, entry: int, path: Path) -> Any:
        import h5py

        if self._process != os.getpid():  # a file must not be shared with the process that forked this one
            self._open, self._process = {}, os.getpid()
        if entry not in self._open:
            if len(self._open) >= 64:
                self._open.pop(next(iter(self._open))).close()
            file = h5py.File(path, "r")
            if file.attrs.get("key") != self._entries[entry].key:
                file.close()
                raise ValueError("it was made from other data than the index says")
            self._open[entry] = file
        return self._open[entry]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}


def _packed(rows: int) -> dict[str, Any]:
    return (
        {"chunks": (min(rows, _ROWS),), "compression": "gzip", "compression_opts": 1, "shuffle": True} if rows else {}
    )
