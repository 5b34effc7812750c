"""Event Stream files (.es), version 2: DVS, ATIS and color."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge._recordings import EventStreamDecoder
from spedge.base.errors import CutError, InputError
from spedge.recordings.base import CHUNK_EVENTS, DROP_HINT, Recording, choose_geometry

_MAGIC = b"Event Stream"
_HEADER_BYTES = 20
_KINDS = {1: "DVS", 2: "ATIS", 4: "color"}
_OTHER_KINDS = {0: "generic events", 3: "display events"}


class EventStreamRecording(Recording):
    """An Event Stream. The y axis of the file points up; rows here count from the top, as everywhere.

    ATIS: the events of the change detector; left_out counts the `exposures`. Color events have no polarity: p is 1.
    """

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
        if not head.startswith(_MAGIC):
            raise InputError(f"{path}: no '{_MAGIC.decode()}' at byte 0; this is not an Event Stream file")
        if len(head) > 15 and head[12] != 2:
            raise InputError(
                f"{path}: Event Stream version {head[12]}.{head[13]}.{head[14]} at byte 12; only 2 can be read"
            )
        if len(head) > 15 and head[15] not in _KINDS:
            what = _OTHER_KINDS.get(head[15], f"type {head[15]}")
            raise InputError(f"{path}: byte 15 says {what}; only {', '.join(_KINDS.values())} can be read")
        if len(head) < _HEADER_BYTES:
            raise InputError(f"{path}: cut off in the header at byte {len(head)}")
        self._kind = head[15]
        size = (int.from_bytes(head[16:18], "little"), int.from_bytes(head[18:20], "little"))
        if 0 in size:
            raise InputError(f"{path}: byte 16 gives a sensor of {size[0]}x{size[1]} pixels")
        super().__init__(path, *choose_geometry(path, size, width, height))
        self.format = f"Event Stream {_KINDS[self._kind]}"

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        decoder = EventStreamDecoder(self._kind, self.width, self.height, self.outside == "drop")
        with self.path.open("rb") as file:
            file.seek(_HEADER_BYTES)
            while data := file.read(5 * CHUNK_EVENTS):
                events = decoder.feed(data)
                counts = {"exposures": decoder.exposures, "outside": 0 if decoder.damaged else decoder.outside}
                self.left_out = {name: count for name, count in counts.items() if count}
                yield events
                at = _HEADER_BYTES + decoder.consumed
                if decoder.damaged:
                    raise InputError(
                        f"{self.path}: the event that ends before byte {at} is outside the {self.width}x{self.height} "
                        f"sensor; it is damaged, or {DROP_HINT}"
                    )
        if decoder.held:
            at = _HEADER_BYTES + decoder.consumed - decoder.held
            raise CutError(f"{self.path}: cut off in the middle of an event at byte {at}")
