"""AEDAT 2.0 files, jAER's: header lines, then a big-endian address and a time an event.

The file keeps the chip's addresses; what they mean is known to jAER's class of the chip, which the header names or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError
from spedge.events.arrays import empty_events
from spedge.recordings.base import CHUNK_EVENTS, SeekingRecording, Unwrap, choose_geometry
from spedge.recordings.seek import Place

_RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
_END = b"#end of ascii header"
_LONGEST_LINE = 1 << 16
_MOST_LINES = 10_000
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_PROBED = 1 << 16  # records that are looked at where the header does not say whose they are

_Size = tuple[int, int]


@dataclass(frozen=True)
class _Family:
    """What the addresses of a family of chips mean.

    x, y, p: the lowest bit of each; x_bits, y_bits: how many. special: a record with one of these bits is no event.
    never: bits that no record of these chips has. flipped: the origin is at the lower right; both axes are turned here,
    so that columns count from the left and rows from the top.
    """

    name: str
    x: int
    x_bits: int
    y: int
    y_bits: int
    p: int
    special: int
    never: int = 0
    flipped: bool = False


_DVS128 = _Family("DVS128", x=1, x_bits=7, y=8, y_bits=7, p=0, special=0x80008000, never=0x7FFF0000)
_DVS640 = _Family("DVS640", x=1, x_bits=10, y=11, y_bits=10, p=0, special=0x80000000, never=0x7FE00000)
_DVXPLORER = _Family("DVXplorer", x=12, x_bits=10, y=22, y_bits=9, p=11, special=0x80000400)
_DAVIS = _Family("DAVIS", x=12, x_bits=10, y=22, y_bits=9, p=11, special=0x80000400, flipped=True)

#: jAER's classes of chips, without their package: their family, and their size.
_CHIPS: tuple[tuple[re.Pattern[str], _Family, _Size], ...] = (
    (re.compile(r"dvs128|tmpdiff128", re.I), _DVS128, (128, 128)),
    (re.compile(r"davis128\w*", re.I), _DAVIS, (128, 128)),
    (re.compile(r"davis208\w*", re.I), _DAVIS, (208, 192)),
    (re.compile(r"davis240\w*|dvs240", re.I), _DAVIS, (240, 180)),
    (re.compile(r"davis346\w*", re.I), _DAVIS, (346, 260)),
    (re.compile(r"davis640\w*", re.I), _DAVIS, (640, 480)),
    (re.compile(r"dvs640|secdvs640gen2", re.I), _DVS640, (640, 480)),
    (re.compile(r"dvxplorerlite", re.I), _DVXPLORER, (320, 240)),
    (re.compile(r"dvxplorer\w*", re.I), _DVXPLORER, (640, 480)),
)
#: What is known of a file that names no chip by the size that the user gives. v2e writes these, and no chip.
_BY_SIZE = {(128, 128): _DVS128, (240, 180): _DAVIS, (346, 260): _DAVIS, (640, 480): _DVS640}
_BY_INTERFACE = (("davis", _DAVIS), ("dvs128", _DVS128), ("dvxplorer", _DVXPLORER))


class Aedat2Recording(SeekingRecording):
    """AEDAT 2.0 of the chips DVS128, DAVIS, DVS640 and DVXplorer.

    Without a chip in the header, width and height tell which it is; without these too, it is a DVS128 if all addresses
    at the beginning can be. left_out: `other`, records that are no polarity events (synchronisation, frames, inertial
    measurements).
    """

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            header = _read_header(file, path)
            self._start = header.size
            addresses = np.frombuffer(file.read(_RECORD.itemsize * _PROBED), "u1")
        records = addresses[: len(addresses) // _RECORD.itemsize * _RECORD.itemsize].view(_RECORD)
        given = None if width is None or height is None else (width, height)
        self._family, found = _family(path, header, given, records["address"])
        self.format = f"AEDAT 2.0 {self._family.name}"
        # v2e turns both axes for DVS640 as for DAVIS; others' addresses are taken as they are.
        self._flipped = self._family.flipped or (header.by_v2e and self._family is _DVS640)
        super().__init__(path, *choose_geometry(path, found, width, height))

    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        begin, *clock = place or (self._start,)
        unwrap = Unwrap(32, *clock)
        at = begin
        self._here = lambda: (at, *unwrap.state)
        with self.path.open("rb") as file:
            file.seek(begin)
            while data := file.read(_RECORD.itemsize * CHUNK_EVENTS):
                records = np.frombuffer(data, _RECORD, len(data) // _RECORD.itemsize)
                address = records["address"].astype(np.uint32)
                bad = np.flatnonzero(address & self._family.never)
                good = int(bad[0]) if len(bad) else len(address)
                events = self._events(address[:good], unwrap(records["t"][:good]))
                self._leave_out("other", good - len(events))
                before, at = at, at + len(data)
                yield events
                if len(bad):
                    raise InputError(
                        f"{self.path}: byte {before + _RECORD.itemsize * good} holds {address[good]:#010x}, which is "
                        f"no {self._family.name} address; it is damaged, or of another chip"
                    )
                if len(data) % _RECORD.itemsize:
                    raise CutError(
                        f"{self.path}: cut off in the middle of an event at byte {at - len(data) % _RECORD.itemsize}"
                    )

    def _events(self, address: NDArray[np.uint32], t: NDArray[np.uint64]) -> NDArray[np.void]:
        f = self._family
        kept = address & f.special == 0
        address, t = address[kept], t[kept]
        events = empty_events(len(address))
        x, y = address >> f.x & (1 << f.x_bits) - 1, address >> f.y & (1 << f.y_bits) - 1
        if self._flipped:  # those outside stay there
            x = np.where(x < self.width, np.uint32(self.width - 1) - x, x)
            y = np.where(y < self.height, np.uint32(self.height - 1) - y, y)
        events["t"], events["x"], events["y"], events["p"] = t, x, y, address >> f.p & 1
        return events


# ---------------------------------------------------------------- header


@dataclass
class _Header:
    """size: its bytes. chip, interface: the class of the chip and the device, or ''. by_v2e: v2e wrote it."""

    size: int = 0
    chip: str = ""
    interface: str = ""
    by_v2e: bool = False


def _read_header(file: BinaryIO, path: Path) -> _Header:
    """Leaves the file at its first record.

    Header lines begin with # and are text. A record may begin with that byte too, but those that do hold a 0; and where
    there is a line that says so, the header ends there.
    """
    header = _Header()
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        if not line.startswith(b"#") or _NO_TEXT.search(line):
            file.seek(header.size)
            return header
        if not line.endswith(b"\n"):
            raise InputError(f"{path}: the header line at byte {header.size} has no end")
        header.size += len(line)
        if line.strip().lower() == _END:
            return header
        key, _, value = line[1:].decode("latin-1").partition(":")
        if key.strip() == "AEChip" and value.strip():
            header.chip = value.split()[0]
        elif key.strip() == "HardwareInterface":
            header.interface = value.strip()
        header.by_v2e |= b"v2e" in line
    raise InputError(f"{path}: the header has no end")


def _family(
    path: Path, header: _Header, given: _Size | None, addresses: NDArray[np.uint32]
) -> tuple[_Family, tuple[int | None, int | None]]:
    """What the addresses mean, and the sensor's size as far as the file tells. Never a guess between two."""
    if header.chip:
        name = header.chip.rpartition(".")[2]
        for pattern, family, size in _CHIPS:
            if pattern.fullmatch(name):
                return family, size
        families = ", ".join(family.name for family in (_DVS128, _DAVIS, _DVS640, _DVXPLORER))
        raise InputError(
            f"{path}: the header, up to byte {header.size}, names the chip {name[:40]}; cannot read AEDAT 2.0 of "
            f"it, only of {families}"
        )
    for part, family in _BY_INTERFACE:
        if part in header.interface.lower():
            return family, (128, 128) if family is _DVS128 else (None, None)
    sizes = ", ".join(f"{width}x{height} ({family.name})" for (width, height), family in _BY_SIZE.items())
    if given is not None:
        if given not in _BY_SIZE:
            raise InputError(
                f"{path}: the header, up to byte {header.size}, names no chip; without one, a recording of {sizes} can "
                f"be read, and not of {given[0]}x{given[1]}"
            )
        return _BY_SIZE[given], (None, None)
    if header.by_v2e or np.any(addresses & _DVS128.never):
        raise InputError(
            f"{path}: the header, up to byte {header.size}, names no chip, and this is no DVS128's: pass width and "
            f"height, {sizes}"
        )
    return _DVS128, (128, 128)
