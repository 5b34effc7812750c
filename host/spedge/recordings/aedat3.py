"""AEDAT 3.1 files, cAER's: header lines, then packets of events of one type and source each."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError
from spedge.events.arrays import empty_events
from spedge.recordings import inivation
from spedge.recordings.base import SeekingRecording, choose_geometry, gathered
from spedge.recordings.seek import Place

_END = b"#!END-HEADER\r\n"
_LONGEST_LINE = 1 << 16
_MOST_LINES = 10_000
_PACKET = struct.Struct("<hhiiiiii")
_RECORD = np.dtype([("data", "<u4"), ("t", "<i4")])
_POLARITY = 1
#: Types of events in the order of their numbers; those from 100 on are the users' own.
_TYPES = (
    "special", "polarity", "frame", "imu6", "imu9", "sample", "ear", "config",
    "point1d", "point2d", "point3d", "point4d", "spike", "matrix4x4",
)  # fmt: skip
_LONGEST_PACKET = 1 << 28


@dataclass(frozen=True)
class _Packet:
    """at: its place in the file. capacity: events that it has room for; number: events in it."""

    at: int
    kind: int
    source: int
    size: int
    overflow: int
    capacity: int
    number: int

    @property
    def bytes(self) -> int:
        """Of its events."""
        return self.size * self.capacity


class Aedat3Recording(SeekingRecording):
    """AEDAT 3.1: the valid polarity events of one source, that of the first packet of them.

    left_out: `invalid`, polarity events that the file marks as such; those of other types, by their names (`special`,
    `frame`, …, `type 100`); polarity events of other sources, as in `source 1 (DVS128)`.
    """

    format = "AEDAT 3.1"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            self._start, self._sources, originals = _read_header(file, path)
            self._source = self._first_source(file, path)
        super().__init__(path, *choose_geometry(path, self._sensor(originals), width, height))

    def _sensor(self, originals: list[str]) -> tuple[int | None, int | None]:
        """Of the source, or, where that is a file or a program, the one that was recorded in the first place."""
        only = next(iter(self._sources.values())) if len(self._sources) == 1 else ""
        found = inivation.sensor(self._sources.get(-1 if self._source is None else self._source, only))
        first = {inivation.sensor(name) for name in originals} if found[0] is None else {found}
        return first.pop() if len(first) == 1 else (None, None)

    def _first_source(self, file: BinaryIO, path: Path) -> int | None:
        """The source of the first packet of polarity events; None if there is none before the end or damage."""
        at = self._start
        while len(head := file.read(_PACKET.size)) == _PACKET.size:
            try:
                packet = _packet(path, head, at)
            except InputError:
                return None
            if packet.kind == _POLARITY:
                return packet.source
            at = file.seek(packet.bytes, 1)
        return None

    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        return gathered(self._packets(*(place or (self._start,))))

    def _packets(self, begin: int) -> Iterator[NDArray[np.void]]:
        at = begin
        self._here = lambda: (at,)
        with self.path.open("rb") as file:
            file.seek(begin)
            while head := file.read(_PACKET.size):
                packet = _packet(self.path, head, at)
                body = file.read(packet.bytes)
                at += len(head) + len(body)
                if packet.kind != _POLARITY:
                    self._leave_out(_type_name(packet.kind), packet.number)
                elif packet.source != self._source:
                    self._leave_out(self._source_name(packet.source), packet.number)
                else:
                    yield from self._polarities(packet, body)
                if len(body) < packet.bytes:
                    raise CutError(f"{self.path}: cut off in the packet at byte {packet.at}, at byte {at}")

    def _polarities(self, packet: _Packet, body: bytes) -> Iterator[NDArray[np.void]]:
        """The valid ones. Records beyond the packet's number are room that was not used."""
        count = min(packet.number, len(body) // _RECORD.itemsize)
        records = np.frombuffer(body, _RECORD, count)
        valid = records["data"] & 1 == 1
        bad = np.flatnonzero((records["t"] < 0) & valid)
        good = int(bad[0]) if len(bad) else count
        self._leave_out("invalid", good - int(np.count_nonzero(valid[:good])))
        yield _events(records[:good][valid[:good]], packet.overflow)
        if len(bad):
            where = packet.at + _PACKET.size + _RECORD.itemsize * good
            raise InputError(f"{self.path}: the event at byte {where} has a negative time; it is damaged")

    def _source_name(self, number: int) -> str:
        name = self._sources.get(number)
        return f"source {number} ({name})" if name else f"source {number}"


def _packet(path: Path, head: bytes, at: int) -> _Packet:
    if len(head) < _PACKET.size:
        raise CutError(f"{path}: cut off in the packet header at byte {at}")
    kind, source, size, _, overflow, capacity, number, valid = _PACKET.unpack(head)
    packet = _Packet(at, kind, source, size, overflow, capacity, number)
    good = kind >= 0 and source >= 0 and size > 0 and 0 <= valid <= number <= capacity and overflow >= 0
    if not good or packet.bytes > _LONGEST_PACKET or (kind == _POLARITY and size != _RECORD.itemsize):
        raise InputError(f"{path}: there is no packet header at byte {at}; it is damaged")
    return packet


def _type_name(kind: int) -> str:
    return _TYPES[kind] if kind < len(_TYPES) else f"type {kind}"


def _read_header(file: BinaryIO, path: Path) -> tuple[int, dict[int, str], list[str]]:
    """Where the packets begin, the sources by number, and what these recorded anew."""
    at, sources, originals = 0, dict[int, str](), list[str]()
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        if not line.startswith(b"#") or not line.endswith(b"\n"):
            raise InputError(
                f"{path}: byte {at} is no header line, and there was no '{_END.decode().strip()}' before it"
            )
        at += len(line)
        if line == _END:
            return at, sources, originals
        text = line.decode("latin-1").strip()
        if text.startswith("#Format:") and text.partition(":")[2].strip() != "RAW":
            raise InputError(f"{path}: cannot read AEDAT 3.1 of{text.partition(':')[2]} format, only RAW")
        if match := re.fullmatch(r"#(-*)Source\s+(\d{1,5})\s*:\s*(.*)", text):
            if match[1]:
                originals.append(match[3])
            else:
                sources[int(match[2])] = match[3]
    raise InputError(f"{path}: the header has no end")


def _events(records: NDArray[np.void], overflow: int) -> NDArray[np.void]:
    data = records["data"]
    events = empty_events(len(records))
    events["t"] = records["t"].astype(np.uint64) + np.uint64(overflow << 31)
    events["x"] = data >> 17
    events["y"] = data >> 2 & 0x7FFF
    events["p"] = data >> 1 & 1
    return events
