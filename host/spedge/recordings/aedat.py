"""AEDAT files, version 2.0 and 3.1; version 4 is in aedat4."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import empty_events
from spedge.recordings.aedat4 import Aedat4Recording
from spedge.recordings.base import CHUNK_EVENTS, Recording, Unwrap, choose_geometry, gathered

_MAGIC = b"#!AER-DAT"
_END3 = b"#!END-HEADER\r\n"
_LONGEST_LINE = 1 << 16
_MOST_LINES = 10_000
#: Sensors by (a part of) the name of the chip or the source.
_SENSORS = (
    (re.compile(r"davis-?_?346", re.I), (346, 260)),
    (re.compile(r"davis-?_?640", re.I), (640, 480)),
    (re.compile(r"davis-?_?240", re.I), (240, 180)),
    (re.compile(r"davis-?_?128|dvs-?_?128|edvs", re.I), (128, 128)),
    (re.compile(r"dvxplorer.?lite|dvxplorer.?mini", re.I), (320, 240)),
    (re.compile(r"dvxplorer", re.I), (640, 480)),
)


def open_aedat(path: Path, width: int | None = None, height: int | None = None) -> Recording:
    """An AEDAT file of the version that it says itself."""
    with path.open("rb") as file:
        line = file.readline(_LONGEST_LINE)
    if not line.startswith(_MAGIC):
        raise InputError(f"{path}: no '{_MAGIC.decode()}' at byte 0; this is not an AEDAT file")
    version = line[len(_MAGIC) :].strip().decode("latin-1")
    if version == "2.0":
        return Aedat2Recording(path, width, height)
    if version == "3.1":
        return Aedat3Recording(path, width, height)
    if version == "4.0":
        return Aedat4Recording(path, width, height)
    raise InputError(
        f"{path}: byte {len(_MAGIC)} says AEDAT version {version[:20]!r}; only 2.0, 3.1 and 4.0 can be read"
    )


def _sensor(name: str) -> tuple[int | None, int | None]:
    for pattern, size in _SENSORS:
        if pattern.search(name):
            return size
    return None, None


# ---------------------------------------------------------------- 2.0

_RECORD2 = np.dtype([("address", ">u4"), ("t", ">u4")])


class Aedat2Recording(Recording):
    """AEDAT 2.0 of a DVS128 or a DAVIS (from the header's AEChip; DVS128 when it does not say).

    left_out: `other`, records that are no polarity events (synchronisation, frames, inertial measurements).
    """

    format = "AEDAT 2.0"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            self._start, chip = _header2(file, path)
        self._davis = "davis" in chip.lower()
        size = _sensor(chip) if self._davis else (128, 128)
        super().__init__(path, *choose_geometry(path, size, width, height))

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        unwrap, other = Unwrap(32), 0
        with self.path.open("rb") as file:
            at = file.seek(self._start)
            while data := file.read(_RECORD2.itemsize * CHUNK_EVENTS):
                records = np.frombuffer(data, _RECORD2, len(data) // _RECORD2.itemsize)
                address = records["address"].astype(np.uint32)
                if self._davis:
                    kept = address & 0x80000400 == 0  # a frame or inertial sample; an external event
                else:
                    _check_dvs128(self.path, address, at)
                    kept = address & 0x8000 == 0
                t = unwrap(records["t"])
                yield (_davis if self._davis else _dvs128)(address[kept], t[kept], self.height)
                other += int(np.count_nonzero(~kept))
                at += len(data)
                if len(data) % _RECORD2.itemsize:
                    raise InputError(
                        f"{self.path}: cut off in the middle of an event at byte {at - len(data) % _RECORD2.itemsize}"
                    )
        self.left_out = {"other": other} if other else {}


def _header2(file: BinaryIO, path: Path) -> tuple[int, str]:
    """Where the events begin, and the chip's name or ''."""
    at, chip = 0, ""
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        if not line.startswith(b"#"):
            return at, chip
        if not line.endswith(b"\n"):
            raise InputError(f"{path}: the header line at byte {at} has no end")
        at += len(line)
        if match := re.match(rb"#\s*AEChip:\s*(\S+)", line):
            chip = match[1].decode("latin-1")
        if b"HardwareInterface" in line and not chip and b"DAVIS" in line.upper():
            chip = line.decode("latin-1")
    raise InputError(f"{path}: the header has no end")


def _check_dvs128(path: Path, address: NDArray[np.uint32], at: int) -> None:
    bad = np.flatnonzero(address >> 16)
    if len(bad):
        where = at + _RECORD2.itemsize * int(bad[0])
        raise InputError(
            f"{path}: byte {where} holds {address[bad[0]]:#010x}, which is no DVS128 address; it is damaged"
        )


def _dvs128(address: NDArray[np.uint32], t: NDArray[np.uint64], height: int) -> NDArray[np.void]:
    events = empty_events(len(address))
    events["t"] = t
    events["x"] = address >> 1 & 0x7F
    events["y"] = address >> 8 & 0x7F
    events["p"] = address & 1
    return events


def _davis(address: NDArray[np.uint32], t: NDArray[np.uint64], height: int) -> NDArray[np.void]:
    events = empty_events(len(address))
    events["t"] = t
    events["x"] = address >> 12 & 0x3FF
    events["y"] = address >> 22 & 0x1FF
    events["p"] = address >> 11 & 1
    return events


# ---------------------------------------------------------------- 3.1

_PACKET3 = struct.Struct("<HHIIIIII")
_RECORD3 = np.dtype([("data", "<u4"), ("t", "<i4")])
_POLARITY = 1
_LAST_TYPE = 14
_LONGEST_PACKET = 1 << 28


@dataclass(frozen=True)
class _Packet:
    kind: int
    size: int
    overflow: int
    capacity: int


class Aedat3Recording(Recording):
    """AEDAT 3.1: the valid polarity events. left_out: `invalid`, polarity events that the file marks as such."""

    format = "AEDAT 3.1"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            self._start, source = _header3(file, path)
        super().__init__(path, *choose_geometry(path, _sensor(source), width, height))

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        return gathered(self._packets())

    def _packets(self) -> Iterator[NDArray[np.void]]:
        invalid = 0
        with self.path.open("rb") as file:
            at = file.seek(self._start)
            while head := file.read(_PACKET3.size):
                packet = self._packet(head, at)
                body = file.read(packet.size * packet.capacity)
                if packet.kind == _POLARITY:
                    records = np.frombuffer(body, _RECORD3, len(body) // _RECORD3.itemsize)
                    self._check_times(records, at + _PACKET3.size)
                    valid = records["data"] & 1 == 1
                    yield _polarities(records[valid], packet.overflow)
                    invalid += int(np.count_nonzero(~valid))
                if len(body) < packet.size * packet.capacity:
                    raise InputError(
                        f"{self.path}: cut off in the packet at byte {at}, at byte {at + len(head) + len(body)}"
                    )
                at += len(head) + len(body)
        self.left_out = {"invalid": invalid} if invalid else {}

    def _packet(self, head: bytes, at: int) -> _Packet:
        if len(head) < _PACKET3.size:
            raise InputError(f"{self.path}: cut off in the packet header at byte {at}")
        kind, _, size, _, overflow, capacity, number, valid = _PACKET3.unpack(head)
        good = kind <= _LAST_TYPE and size > 0 and valid <= number <= capacity and size * capacity <= _LONGEST_PACKET
        if not good or (kind == _POLARITY and size != _RECORD3.itemsize) or overflow >= 1 << 31:
            raise InputError(f"{self.path}: there is no packet header at byte {at}; it is damaged")
        return _Packet(kind, size, overflow, capacity)

    def _check_times(self, records: NDArray[np.void], at: int) -> None:
        bad = np.flatnonzero((records["t"] < 0) & (records["data"] & 1 == 1))
        if len(bad):
            where = at + _RECORD3.itemsize * int(bad[0])
            raise InputError(f"{self.path}: the event at byte {where} has a negative time; it is damaged")


def _header3(file: BinaryIO, path: Path) -> tuple[int, str]:
    """Where the packets begin, and the name of the source."""
    at, source = 0, ""
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        if not line.startswith(b"#") or not line.endswith(b"\n"):
            raise InputError(
                f"{path}: byte {at} is no header line, and there was no '{_END3.decode().strip()}' before it"
            )
        at += len(line)
        if line == _END3:
            return at, source
        text = line.decode("latin-1").strip()
        if text.startswith("#Format:") and text.partition(":")[2].strip() != "RAW":
            raise InputError(f"{path}: cannot read AEDAT 3.1 of{text.partition(':')[2]} format, only RAW")
        if text.startswith("#Source") and not source:
            source = text.partition(":")[2]
    raise InputError(f"{path}: the header has no end")


def _polarities(records: NDArray[np.void], overflow: int) -> NDArray[np.void]:
    data = records["data"]
    events = empty_events(len(records))
    events["t"] = records["t"].astype(np.uint64) + np.uint64(overflow << 31)
    events["x"] = data >> 17
    events["y"] = data >> 2 & 0x7FFF
    events["p"] = data >> 1 & 1
    return events
