"""What the files of preprocessed data sets share: an HDF5 file for each recording, and an index of all, written last.

Every byte of a file is under a checksum of HDF5's, so that one that was damaged is refused and never misread: columns
and tables are stored in blocks with a checksum, their places by the newest form of the format, and texts at a fixed
length, as those of any length lie outside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, SpedgeError, UsageError, line_of
from spedge.base.files import whole
from spedge.base.interrupts import held_back
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.parts import Sensor
from spedge.recordings.hdf5_file import library
from spedge.recordings.hdf5_layouts import DAMAGE
from spedge.recordings.hdf5_sink import Sink

from .base import Description

INDEX = "index.json"
SCHEMA = 2
COLUMNS = {"t": np.uint32, "x": np.uint16, "y": np.uint16, "p": np.uint8}
_ROWS = 1 << 15
_READ_BYTES = 1 << 22
_MOST_OPEN = 64


@dataclass(frozen=True)
class Place:
    """Where a recording's file is. file: relative to the store's root. name, part: of the recording. key: of what it is
    made from and by."""

    root: Path
    file: str
    name: str
    part: str
    key: str = ""

    def made_from(self, key: str) -> Place:
        """The same with its key."""
        return replace(self, key=key)

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.root / self.file


@dataclass(frozen=True)
class Entry:
    """A recording in an index. file: relative to the store. key: of what it was made from and by."""

    name: str
    part: str
    file: str
    key: str


@dataclass(frozen=True)
class Index:
    """What a store says of itself. data: the folder that it was made from. settings: the same for all recordings.

    made_by: the code. recordings: as `write_index` was given them, each as a dictionary.
    """

    about: Description
    data: str
    settings: dict[str, Any]
    made_by: str
    recordings: tuple[dict[str, Any], ...]


def key_of(files: Sequence[Path], made_by: str) -> str:
    """32 hex digits of the files' names, sizes and contents, and of what makes samples of them."""
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


def write_file(place: Place, columns: Mapping[str, NDArray[Any]], tables: Mapping[str, NDArray[Any]]) -> None:
    """Write a recording's file; it appears whole or not at all. Raises UsageError where it cannot be written.

    columns: of events, by COLUMNS. tables: everything else.
    """
    h5py = library(place.path)
    place.path.parent.mkdir(parents=True, exist_ok=True)
    with _kept(), whole(place.path, unique=True) as part, Sink(part) as sink:
        with held_back(), h5py.File(sink, "w", libver="latest") as file:
            for name, dtype in COLUMNS.items():
                column = columns[name].astype(dtype, copy=False)
                packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if len(column) else {}
                file.create_dataset(name, data=column, **_blocks(len(column)), **packing)
            for name, table in tables.items():
                file.create_dataset(name, data=table, **_blocks(len(table)))
            file.attrs["schema"], file.attrs["key"] = SCHEMA, np.bytes_(place.key.encode())
        sink.check()


@contextmanager
def _kept() -> Iterator[None]:
    """A file that cannot be written takes no others with it, and that is said."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{error}; make room there and run it again, which does only what is left.") from None


def _blocks(rows: int) -> dict[str, Any]:
    return {"chunks": (min(rows, _ROWS),), "fletcher32": True} if rows else {}


def read_tables(place: Place, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
    """A file's tables; None when it is not there, was made from or by something else, or any of it is damaged.

    All events are read, too: what is kept is whole.
    """
    h5py = library(place.path)
    try:
        with h5py.File(place.path, "r") as file:
            if file.attrs["schema"] != SCHEMA or file.attrs["key"].decode() != place.key:
                return None
            tables = {name: file[name][:] for name in names}
            rows = int(tables["offsets"][-1])
            for name in COLUMNS:
                if len(file[name]) != rows:
                    return None
                for start in range(0, rows, _ROWS):
                    file[name][start : start + _ROWS]
            return tables
    except DAMAGE:
        return None


def write_index(
    root: Path,
    about: Description,
    data: Path,
    settings: Mapping[str, Any],
    made_by: str,
    entries: Sequence[Entry],
) -> None:
    """Say that the store is complete. entries: all fields of theirs are kept."""
    document = {
        "schema": SCHEMA,
        "name": about.name,
        "title": about.title,
        "sensor": asdict(about.sensor),
        "labels": about.labels,
        "mirrored": about.mirrored,
        "data": str(data),
        "settings": dict(settings),
        "made_by": made_by,
        "recordings": [asdict(entry) for entry in entries],
    }
    with _kept(), whole(root / INDEX) as part:
        part.write_text(json.dumps({"digest": _digest(document), **document}) + "\n")


def kind_of(root: Path) -> str | None:
    """The data set that a store says it is of; None where it does not say so."""
    try:
        return str(json.loads((root / INDEX).read_text())["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_index(root: str | os.PathLike[str], name: str) -> Index:
    """The index of a store of that data set.

    Raises UsageError where there is none, or it is not finished, of another set, or made by another version of the
    code; InputError for one that is damaged.
    """
    folder = Path(root)
    again = f"run 'spedge preprocess {name} --data DIR --out {folder}'"
    try:
        document: dict[str, Any] = json.loads((folder / INDEX).read_text())
        if document.pop("digest", None) != _digest(document) and document["schema"] == SCHEMA:
            raise ValueError("its checksum differs")
        if document["name"] != name:
            raise UsageError(f"{folder} holds the data set '{document['name']}', and '{name}' is asked for.")
        if document["schema"] != SCHEMA:
            raise UsageError(f"{folder} was preprocessed by another version of spedge: {again}, which makes it anew.")
        mirrored = document["mirrored"]
        about = Description(
            name,
            document["title"],
            Sensor(**document["sensor"]),
            tuple(document["labels"]),
            None if mirrored is None else tuple((a, b) for a, b in mirrored),
        )
        return Index(about, document["data"], document["settings"], document["made_by"], tuple(document["recordings"]))
    except SpedgeError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{folder} is no preprocessed data set, or one that is not finished: {again}, which goes on where it was "
            "stopped; with another --out where this is the data set itself."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / INDEX} is damaged ({line_of(error)}): {again} again.") from None


def command_of(root: str | os.PathLike[str], name: str, index: Index) -> str:
    """What makes a store with these settings from the folder that it was made from."""
    words = ["spedge", "preprocess", name, "--data", index.data, "--out", str(root)]
    if "chunk_us" in index.settings:
        words += ["--chunk-duration-ms", f"{index.settings['chunk_us'] / 1000:g}"]
    if index.settings.get("drop_duplicates"):
        words += ["--drop-duplicates"]
    return shlex.join(words)


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def fingerprint_of(entries: Sequence[Entry]) -> str:
    """16 hex digits of what all recordings of a store were made from."""
    return hashlib.sha256("".join(sorted(entry.key for entry in entries)).encode()).hexdigest()[:16]


class Files:
    """The files of a store's recordings, opened by each process that reads them, a few at a time.

    command: what makes a damaged one anew, for its message.
    """

    def __init__(self, root: Path, command: str) -> None:
        self._root, self._command = root, command
        self._open: dict[str, Any] = {}
        self._process = os.getpid()

    def events(self, entry: Entry, first: int, last: int) -> NDArray[Any]:
        """Events first to last of a recording, EVENT_DTYPE, times as stored. Raises InputError for a damaged file."""
        events = np.empty(last - first, EVENT_DTYPE)
        for name, values in self.read(entry, tuple(COLUMNS), first, last).items():
            events[name] = values
        return events

    def read(
        self, entry: Entry, names: Sequence[str], first: int = 0, last: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Rows first to last, or all, of columns or tables. Raises InputError for a damaged file."""
        path = self._root / entry.file
        h5py = library(path)
        try:
            file = self._file(entry, path, h5py)
            return {name: file[name][first:last] for name in names}
        except DAMAGE as error:
            raise InputError(
                f"{path} is damaged ({line_of(error)}): run '{self._command}' again, which makes it anew."
            ) from None

    def _file(self, entry: Entry, path: Path, h5py: ModuleType) -> Any:
        if self._process != os.getpid():  # a file must not be shared with the process that forked this one
            self._open, self._process = {}, os.getpid()
        if entry.file not in self._open:
            if len(self._open) >= _MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            file = h5py.File(path, "r")
            if file.attrs["key"].decode() != entry.key:
                file.close()
                raise ValueError("it was made from other data than the index says")
            self._open[entry.file] = file
        return self._open[entry.file]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}
