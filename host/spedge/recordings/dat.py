"""Prophesee DAT files: header lines as in RAW, two bytes, then 8 bytes an event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError
from spedge.events.arrays import empty_events
from spedge.recordings.base import CHUNK_EVENTS, SeekingRecording, Unwrap, Writer, choose_geometry
from spedge.recordings.raw import read_header
from spedge.recordings.seek import Place

_EVENT_TYPES = (0, 12)
_RECORD = np.dtype([("t", "<u4"), ("address", "<u4")])


@dataclass(frozen=True)
class _Layout:
    """Where an event's fields are: x from bit 0 to y, y to p, and p one bit. sensor: the only one that had it."""

    y: int
    p: int
    sensor: tuple[int | None, int | None] = (None, None)


_LAYOUTS = {"1": _Layout(y=9, p=17, sensor=(304, 240)), "2": _Layout(y=14, p=28)}  # by the header's Version
_USUAL_VERSION = "2"  # of files that do not say it, as the vendor's own tools have it


class DatRecording(SeekingRecording):
    """A Prophesee DAT file of change detection events, version 1 (ATIS) or 2. Its clock of 32 bits is unwrapped."""

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            header = read_header(file, path)
            if not header.size:
                raise InputError(f"{path}: no header line '% ...' at byte 0; this is not a Prophesee DAT file")
            file.seek(header.size)
            kind = file.read(2)
        fields = {key.lower(): value for key, value in header.fields.items()}
        version = fields.get("version", _USUAL_VERSION)
        if version not in _LAYOUTS:
            raise InputError(
                f"{path}: the header, up to byte {header.size}, says DAT version {version[:20]!r}; only "
                f"{' and '.join(_LAYOUTS)} can be read"
            )
        if len(kind) < 2:
            raise InputError(f"{path}: cut off at byte {header.size + len(kind)}, after the header")
        if kind[0] not in _EVENT_TYPES or kind[1] != _RECORD.itemsize:
            raise InputError(
                f"{path}: byte {header.size} says events of type {kind[0]} and {kind[1]} bytes; only type 0 or 12 of "
                f"{_RECORD.itemsize} bytes can be read"
            )
        self.format = "DAT" if version == _USUAL_VERSION else f"DAT version {version}"
        self._start = header.size + 2
        self._layout = _LAYOUTS[version]
        size = (header.width, header.height)
        if None in size and width is None:
            size = self._layout.sensor
        super().__init__(path, *choose_geometry(path, size, width, height))

    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        begin, *clock = place or (self._start,)
        unwrap = Unwrap(32, *clock)
        at = begin
        self._here = lambda: (at, *unwrap.state)
        with self.path.open("rb") as file:
            file.seek(begin)
            while data := file.read(_RECORD.itemsize * CHUNK_EVENTS):
                whole = len(data) // _RECORD.itemsize
                records = np.frombuffer(data, _RECORD, whole)
                bad = np.flatnonzero(records["address"] >> self._layout.p + 1)
                before, at = at, at + len(data)
                yield self._decode(records[: bad[0]] if len(bad) else records, unwrap)
                if len(bad):
                    where = before + int(bad[0]) * _RECORD.itemsize
                    raise InputError(
                        f"{self.path}: the event at byte {where} has a polarity that is not 0 or 1; it is damaged"
                    )
                if len(data) % _RECORD.itemsize:
                    raise CutError(
                        f"{self.path}: cut off in the middle of an event at byte {at - len(data) % _RECORD.itemsize}"
                    )

    def _decode(self, records: NDArray[np.void], unwrap: Unwrap) -> NDArray[np.void]:
        events = empty_events(len(records))
        address, layout = records["address"], self._layout
        events["t"] = unwrap(records["t"])
        events["x"] = address & (1 << layout.y) - 1
        events["y"] = address >> layout.y & (1 << layout.p - layout.y) - 1
        events["p"] = address >> layout.p & 1
        return events


class DatWriter(Writer):
    """Writes version 2. Raises InputError for a sensor of more than 14 bits, and for times that 32 bits cannot hold."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        most = 1 << _LAYOUTS[_USUAL_VERSION].y
        if max(width, height) > most:
            raise InputError(
                f"DAT is for sensors of up to {most}x{most} pixels, not {width}x{height}: choose another format"
            )
        self._file = path.open("wb")
        lines = ["Data file containing CD events.", f"Version {_USUAL_VERSION}", f"Height {height}", f"Width {width}"]
        self._file.write("".join(f"% {line}\n" for line in lines).encode())
        self._file.write(bytes([_EVENT_TYPES[0], _RECORD.itemsize]))

    def write(self, events: NDArray[np.void]) -> None:
        if len(events) and int(events["t"][-1]) >> 32:
            raise InputError(f"DAT holds times of up to {2**32 - 1} µs, not {events['t'][-1]}: choose another format")
        layout = _LAYOUTS[_USUAL_VERSION]
        records = np.empty(len(events), _RECORD)
        records["t"] = events["t"]
        records["address"] = (
            events["x"].astype(np.uint32)
            | events["y"].astype(np.uint32) << layout.y
            | events["p"].astype(np.uint32) << layout.p
        )
        self._file.write(records.tobytes())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
