"""Prophesee RAW files: header lines `% key value`, then camera words. EVT2 for now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spedge import evt2
from spedge.errors import InputError
from spedge.recordings.base import CHUNK_EVENTS, Recording

#: Sensors of old files that name only their system.
_SYSTEM_GEOMETRY = {"21": (640, 480), "48": (1280, 720)}
_EVT_VERSIONS = {"2.0": "EVT2", "2.1": "EVT21", "3.0": "EVT3"}
_LONGEST_LINE = 4096
_MOST_LINES = 1000
_EVT2_TYPES = np.array([kind in (0x0, 0x1, 0x8, 0xA, 0xE, 0xF) for kind in range(16)])


@dataclass
class Header:
    """What the header says. size: its bytes."""

    encoding: str | None = None
    width: int | None = None
    height: int | None = None
    fields: dict[str, str] = field(default_factory=dict)
    size: int = 0


class RawRecording(Recording):
    """A Prophesee RAW file."""

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            self.header = read_header(file, path)
        if not self.header.size:
            raise InputError(f"{path}: no header lines starting with '% '; this is not a Prophesee RAW file")
        encoding = self.header.encoding
        if encoding is None:
            raise InputError(f"{path}: the header names no encoding ('% format' or '% evt')")
        if encoding != "EVT2":
            raise InputError(f"{path}: cannot read {encoding} yet, only EVT2")
        size = _choose_geometry(path, self.header, width, height)
        super().__init__(path, *size)
        self.format = f"RAW {encoding}"

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        decoder = evt2.Decoder()
        with self.path.open("rb") as file:
            at = file.seek(self.header.size)
            while data := file.read(4 * CHUNK_EVENTS):
                whole = len(data) - len(data) % 4
                bad = _first_bad_word(np.frombuffer(data[:whole], "<u4"))
                if bad is not None:
                    yield decoder.push(data[: 4 * bad])  # what comes before the damage is good
                    word = int.from_bytes(data[4 * bad : 4 * bad + 4], "little")
                    where = f"byte {at + 4 * bad} holds {word:#010x}"
                    raise InputError(f"{self.path}: {where}, which is no EVT2 word; it is damaged")
                yield decoder.push(data)
                at += len(data)
                if decoder.partial_bytes:
                    raise InputError(f"{self.path}: cut off in the middle of a word at byte {at - decoder.partial_bytes}")
        stats = decoder.stats
        if stats.untimed and not stats.times:
            raise InputError(f"{self.path}: {stats.untimed} events but no time word from byte {self.header.size} on")


def _first_bad_word(words: NDArray[np.uint32]) -> int | None:
    """Index of the first word of a type that EVT2 does not define."""
    good = _EVT2_TYPES[words >> 28]
    return None if good.all() else int(np.argmin(good))


# ---------------------------------------------------------------- header


def read_header(file: BinaryIO, path: Path) -> Header:
    """Read header lines from the start of a file. Raises InputError when they contradict each other."""
    header = Header()
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        if not line.startswith(b"% "):
            return header
        if not line.endswith(b"\n"):
            raise InputError(f"{path}: the header line at byte {header.size} has no end")
        header.size += len(line)
        key, _, value = line[2:].decode("latin-1").strip().partition(" ")
        if key == "end":
            return header
        _take_field(header, path, key, value.strip())
    raise InputError(f"{path}: the header has no end")


def _take_field(header: Header, path: Path, key: str, value: str) -> None:
    header.fields[key] = value
    if key == "format":
        name, *options = value.split(";")
        _agree(header, path, "encoding", name.strip())
        for option in options:
            option_key, _, number = option.partition("=")
            if option_key.strip() in ("width", "height"):
                _agree(header, path, option_key.strip(), _pixels(path, value, number))
    elif key == "evt":
        _agree(header, path, "encoding", _EVT_VERSIONS.get(value, f"EVT {value}"))
    elif key == "geometry":
        match = re.fullmatch(r"(\d+)\s*x\s*(\d+)", value)
        if not match:
            raise InputError(f"{path}: '% geometry {value}' is not of the form WIDTHxHEIGHT")
        _agree(header, path, "width", _pixels(path, value, match[1]))
        _agree(header, path, "height", _pixels(path, value, match[2]))
    elif key.lower() == "system_id" and value in _SYSTEM_GEOMETRY:
        width, height = _SYSTEM_GEOMETRY[value]
        _agree(header, path, "width", width)
        _agree(header, path, "height", height)


def _pixels(path: Path, line: str, text: str) -> int:
    if not text.strip().isascii() or not text.strip().isdigit() or not 0 < int(text) <= 65535:
        raise InputError(f"{path}: the header's '{line}' holds no valid sensor size")
    return int(text)


def _agree(header: Header, path: Path, name: str, value: str | int) -> None:
    before = getattr(header, name)
    if before is not None and before != value:
        raise InputError(f"{path}: the header gives two values for {name}, {before} and {value}")
    setattr(header, name, value)


def _choose_geometry(path: Path, header: Header, width: int | None, height: int | None) -> tuple[int, int]:
    if header.width is None or header.height is None:
        if width is None or height is None:
            raise InputError(f"{path}: the header does not give the sensor's size; pass width and height")
        return width, height
    if width is not None and (width, height) != (header.width, header.height):
        raise InputError(
            f"{path}: the header gives {header.width}x{header.height}, not {width}x{height}; leave width and height out"
        )
    return header.width, header.height


# ---------------------------------------------------------------- writing


def write_raw(path: Path, events: NDArray[np.void], width: int, height: int) -> None:
    """Write EVT2. Raises InputError for coordinates of more than 11 bits."""
    words = evt2.encode(events)
    with path.open("wb") as file:
        file.write(f"% format EVT2;height={height};width={width}\n% evt 2.0\n% geometry {width}x{height}\n% end\n".encode())
        file.write(words)
