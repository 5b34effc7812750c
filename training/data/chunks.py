"""Preprocessed detection sets: the chunks of a recording, on a fixed grid of time, and its boxes.

Chunk k has the events with k * chunk_us <= t < (k + 1) * chunk_us. A file holds t u32 (from its chunk's start), x u16,
y u16, p u8 of all events; `place` (k of each chunk that holds events: those without are left out), `offsets` (the
events of the i-th of them are offsets[i] to offsets[i + 1]); and `boxes`, BOX_DTYPE.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError

from . import store
from .base import Description
from .boxes import BOX_DTYPE
from .driving import Chunked
from .published import PARTS

CHUNK_MS = 50.0  #: of the paper's detection sets


@dataclass(frozen=True)
class ChunkEntry(store.Entry):
    """A recording's chunks. chunks: how many hold events. events, boxes: of all. length: chunks of the grid, from t = 0
    to the last with an event or a box. labelled: k of the chunks with boxes, ascending."""

    chunks: int
    events: int
    boxes: int
    length: int
    labelled: tuple[int, ...]

    @property
    def samples(self) -> int:
        """How many chunks are stored."""
        return self.chunks


def write(place: store.Place, recording: Chunked) -> ChunkEntry:
    """Write a recording; the file appears whole or not at all."""
    events, starts = recording.events, recording.places * recording.chunk_us
    since = events["t"].astype(np.int64) - np.repeat(starts, np.diff(recording.offsets))
    columns = {name: events[name] for name in ("x", "y", "p")} | {"t": since}
    tables = {"place": recording.places, "offsets": recording.offsets, "boxes": recording.boxes}
    store.write_file(place, columns, tables)
    return _entry(place, tables, recording.chunk_us)


def entry_of(place: store.Place, chunk_us: int) -> ChunkEntry | None:
    """What the index says of a file that was made with that key; None when it is not there, or stale, or damaged."""
    tables = store.read_tables(place, ("place", "offsets", "boxes"))
    return None if tables is None else _entry(place, tables, chunk_us)


def _entry(at: store.Place, tables: Mapping[str, NDArray[Any]], chunk_us: int) -> ChunkEntry:
    places, boxes = tables["place"], tables["boxes"]
    labelled = np.unique(boxes["t"] // chunk_us)
    length = 1 + max([-1, *places[-1:].tolist(), *labelled[-1:].tolist()])
    return ChunkEntry(
        at.name,
        at.part,
        at.file,
        at.key,
        chunks=len(places),
        events=int(tables["offsets"][-1]),
        boxes=len(boxes),
        length=length,
        labelled=tuple(labelled.tolist()),
    )


@dataclass(frozen=True)
class Chunk:
    """What a recording holds from start_us to before end_us. place: k. events: EVENT_DTYPE, sorted; boxes: BOX_DTYPE;
    both may be empty, with times of the recording's clock in µs."""

    place: int
    start_us: int
    end_us: int
    events: NDArray[Any]
    boxes: NDArray[Any]


class ChunkedRecording(Sequence[Chunk]):
    """A recording as the chunks of its grid from t = 0, those without events among them: `recording[k]` is chunk k.

    Files are opened when events or boxes are asked for, by each process that does; it can be sent to another.

    name, part: as in the data set. chunk_us: of a chunk. labelled: int64 [m], k of the chunks that hold boxes.
    Reading raises InputError, naming the file, where it is damaged.
    """

    def __init__(self, files: store.Files, entry: ChunkEntry, chunk_us: int) -> None:
        self._files, self._entry = files, entry
        self.name, self.part, self.chunk_us = entry.name, entry.part, chunk_us
        self.labelled = np.array(entry.labelled, np.int64)

    def __len__(self) -> int:
        return self._entry.length

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            first, end, step = number.indices(len(self))
            if step != 1:
                return [self[i] for i in range(first, end, step)]
            return list(self.chunks(first, end))
        place = range(len(self))[number]
        return next(self.chunks(place, place + 1))

    def chunks(self, first: int, end: int) -> Iterator[Chunk]:
        """Chunks first to before end, cut to those that there are; their events are read at once."""
        first, end = max(first, 0), min(end, len(self))
        events = self.events(first, end)
        edges = np.arange(first, max(first, end) + 1, dtype=np.int64) * self.chunk_us
        at = events["t"].searchsorted(edges.astype(np.uint64))
        of = self.boxes["t"].searchsorted(edges)
        for i, place in enumerate(range(first, end)):
            yield Chunk(
                place,
                int(edges[i]),
                int(edges[i + 1]),
                events[at[i] : at[i + 1]],
                self.boxes[of[i] : of[i + 1]],
            )

    def events(self, first: int, end: int) -> NDArray[Any]:
        """Events of the chunks first to before end: EVENT_DTYPE, sorted, times of the recording's clock in µs."""
        a, b = self.places.searchsorted([first, max(first, end)]).tolist()
        offsets = self._tables["offsets"]
        events = self._files.events(self._entry, int(offsets[a]), int(offsets[b]))
        events["t"] += np.repeat((self.places[a:b] * self.chunk_us).astype(np.uint64), np.diff(offsets[a : b + 1]))
        return events

    @property
    def places(self) -> NDArray[np.int64]:
        """k of each chunk that holds events, ascending."""
        places: NDArray[np.int64] = self._tables["place"]
        return places

    @property
    def counts(self) -> NDArray[np.int64]:
        """Events of each of these."""
        return np.diff(self._tables["offsets"])

    @property
    def boxes(self) -> NDArray[Any]:
        """All boxes: BOX_DTYPE, sorted by time."""
        return self._tables["boxes"]

    @cached_property
    def _tables(self) -> dict[str, NDArray[Any]]:
        tables = self._files.read(self._entry, ("place", "offsets", "boxes"))
        return tables | {"boxes": tables["boxes"].astype(BOX_DTYPE)}


@dataclass(frozen=True)
class ChunkStore:
    """A complete store of a detection set. part: its recordings, which are read when they are asked for."""

    root: Path
    about: Description
    chunk_us: int
    entries: tuple[ChunkEntry, ...]
    command: str
    made_by: str

    @property
    def fingerprint(self) -> str:
        """16 hex digits of what all its recordings were made from."""
        return store.fingerprint_of(self.entries)

    def part(self, name: str) -> tuple[ChunkedRecording, ...]:
        """The recordings of a part, by name. Raises UsageError for a part that no data set has."""
        if name not in PARTS:
            raise UsageError(f"There is no part '{name}'. Choose one of: {', '.join(PARTS)}.")
        files = store.Files(self.root, self.command)
        return tuple(ChunkedRecording(files, entry, self.chunk_us) for entry in self.entries if entry.part == name)


def open_chunks(root: str | os.PathLike[str], name: str, chunk_ms: float | None = None) -> ChunkStore:
    """The store of that detection set. chunk_ms: the length that its chunks must have, of a model's steps.

    Raises UsageError or InputError as `store.read_index`, and UsageError for chunks of another length.
    """
    index = store.read_index(root, name)
    chunk_us = int(index.settings["chunk_us"])
    if chunk_ms is not None and round(chunk_ms * 1000) != chunk_us:
        settings = {**index.settings, "chunk_us": round(chunk_ms * 1000)}
        raise UsageError(
            f"{root} has chunks of {chunk_us / 1000:g} ms and {chunk_ms:g} ms are asked for: run "
            f"'{store.command_of(root, name, replace(index, settings=settings))}', which makes it anew."
        )
    entries = tuple(ChunkEntry(**{**entry, "labelled": tuple(entry["labelled"])}) for entry in index.recordings)
    return ChunkStore(Path(root), index.about, chunk_us, entries, store.command_of(root, name, index), index.made_by)
