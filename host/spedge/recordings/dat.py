"""Prophesee DAT files: header lines as in RAW, two bytes, then 8 bytes an event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import empty_events
from spedge.recordings.base import CHUNK_EVENTS, Recording, Unwrap, choose_geometry
from spedge.recordings.raw import read_header

_EVENT_TYPES = (0, 12)
_RECORD = np.dtype([("t", "<u4"), ("address", "<u4")])


class DatRecording(Recording):
    """A Prophesee DAT file of change detection events. Its clock of 32 bits is unwrapped."""

    format = "DAT"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            header = read_header(file, path)
            if not header.size:
                raise InputError(f"{path}: no header line '% ...' at byte 0; this is not a Prophesee DAT file")
            file.seek(header.size)
            kind = file.read(2)
        if len(kind) < 2:
            raise InputError(f"{path}: cut off at byte {header.size + len(kind)}, after the header")
        if kind[0] not in _EVENT_TYPES or kind[1] != _RECORD.itemsize:
            raise InputError(
                f"{path}: byte {header.size} says events of type {kind[0]} and {kind[1]} bytes; only type 0 or 12 of "
                f"{_RECORD.itemsize} bytes can be read"
            )
        self._start = header.size + 2
        super().__init__(path, *choose_geometry(path, (header.width, header.height), width, height))

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        unwrap = Unwrap(32)
        with self.path.open("rb") as file:
            at = file.seek(self._start)
            while data := file.read(_RECORD.itemsize * CHUNK_EVENTS):
                whole = len(data) // _RECORD.itemsize
                records = np.frombuffer(data, _RECORD, whole)
                bad = np.flatnonzero(records["address"] >> 29)
                yield _decode(records[: bad[0]] if len(bad) else records, unwrap)
                if len(bad):
                    where = at + int(bad[0]) * _RECORD.itemsize
                    raise InputError(
                        f"{self.path}: the event at byte {where} has a polarity that is not 0 or 1; it is damaged"
                    )
                at += len(data)
                if len(data) % _RECORD.itemsize:
                    raise InputError(
                        f"{self.path}: cut off in the middle of an event at byte {at - len(data) % _RECORD.itemsize}"
                    )


def _decode(records: NDArray[np.void], unwrap: Unwrap) -> NDArray[np.void]:
    events = empty_events(len(records))
    address = records["address"]
    events["t"] = unwrap(records["t"])
    events["x"] = address & 0x3FFF
    events["y"] = address >> 14 & 0x3FFF
    events["p"] = address >> 28
    return events
