"""CSV files: a line that names the columns t, x, y and p, then one event a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import EVENT_DTYPE, Columns, as_records, columns
from spedge.recordings.base import CHUNK_EVENTS, Recording, Writer, choose_geometry

_NAMES = {"t": "t", "timestamp": "t", "time": "t", "x": "x", "y": "y", "p": "p", "on": "p", "polarity": "p"}
_VENDOR_ORDER = ("x", "y", "p", "t")  # Metavision's, after its line %geometry
_GEOMETRY = re.compile(r"[%#]\s*geometry\s*[:=]?\s*(\d{1,5})\s*[,x]\s*(\d{1,5})\s*$", re.I)
_LONGEST_LINE = 1 << 12
_MOST_COMMENTS = 1000
_LINES = 1 << 16
_NUMBER = re.compile(rb"\s*[-+]?\d{1,20}\s*")
_RANGES = {"t": (0, 2**64 - 1), "x": (0, 65535), "y": (0, 65535), "p": (-1, 1)}


class CsvRecording(Recording):
    """Comma-separated whole numbers: t in µs, x, y, p as 0/1 or -1/+1.

    The first line that is no comment (`#`, `%`) names the columns. The sensor's size may stand in a comment
    `%geometry:WIDTH,HEIGHT`; after it the names may be left out if the columns are x, y, p, t, as Metavision writes
    them.
    """

    format = "CSV"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        self.path = path
        with path.open("rb") as file:
            self._names, size, self._start, self._lines = self._header(file)
        super().__init__(path, *choose_geometry(path, size, width, height))

    def _header(self, file: IO[bytes]) -> tuple[list[str], tuple[int | None, int | None], int, int]:
        """Names of the columns, the sensor's size, where the events begin, and the lines before them."""
        size: tuple[int | None, int | None] = (None, None)
        at = 0
        for number in range(_MOST_COMMENTS):
            raw = file.readline(_LONGEST_LINE)
            line = self._text(raw, number + 1).strip()
            if line[:1] in ("#", "%"):
                if match := _GEOMETRY.match(line):
                    size = (int(match[1]), int(match[2]))
                    if not all(0 < side <= 65535 for side in (int(match[1]), int(match[2]))):
                        raise InputError(
                            f"{self.path}: line {number + 1} gives a sensor of {match[1]}x{match[2]} pixels"
                        )
                at += len(raw)
                continue
            names = [_NAMES.get(name.strip().lower(), "") for name in line.split(",")]
            if set(Columns._fields) <= set(names) and len(set(names) - {""}) == len([name for name in names if name]):
                return names, size, at + len(raw), number + 1
            if size[0] is not None and re.fullmatch(r"\d+(\s*,\s*-?\d+){3}", line):
                return list(_VENDOR_ORDER), size, at, number
            raise InputError(f"{self.path}: line {number + 1} does not name the columns; begin the file with 't,x,y,p'")
        raise InputError(f"{self.path}: the first {_MOST_COMMENTS} lines are comments")

    def _text(self, raw: bytes, number: int) -> str:
        if len(raw) == _LONGEST_LINE or b"\0" in raw:
            raise InputError(f"{self.path}: line {number} is no line of a CSV file")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: line {number} is no line of a CSV file") from None

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        number, rest = self._lines, b""
        with self.path.open("rb") as file:
            file.seek(self._start)
            while data := file.read(_LINES * 24):
                whole, newline, rest = (rest + data).rpartition(b"\n")
                if newline:
                    lines = whole.split(b"\n")
                    yield from self._events(lines, number)
                    number += len(lines)
                elif len(rest) > _LONGEST_LINE:
                    raise InputError(f"{self.path}: line {number + 1} is no line of a CSV file")
        if rest:
            yield from self._events([rest], number)

    def _events(self, lines: list[bytes], before: int) -> Iterator[NDArray[np.void]]:
        """Events of lines; `before` of them came before. A wrong one is named by its number, behind those before it."""
        events = self._parse(lines)
        if events is not None:
            yield events
            return
        records = []
        for line in lines:
            try:
                records.append(self._record(line))
            except ValueError as error:
                yield np.array(records, EVENT_DTYPE)
                raise InputError(f"{self.path}: line {before + len(records) + 1} {error}") from None
        yield np.array(records, EVENT_DTYPE)

    def _parse(self, lines: list[bytes]) -> NDArray[np.void] | None:
        """All lines at once; None if there is something in them that needs a closer look."""
        try:
            table = np.loadtxt(lines, np.int64, comments=None, delimiter=",", ndmin=2, usecols=range(len(self._names)))
            c = columns(Columns(*(table[:, self._names.index(name)] for name in Columns._fields)))
        except (ValueError, UnicodeDecodeError, OverflowError):  # an InputError, too
            return None
        if len(table) != len(lines) or any(line.count(b",") != len(self._names) - 1 for line in lines):
            return None
        return as_records(c)

    def _record(self, line: bytes) -> tuple[int, ...]:
        """t, x, y, p of a line. Raises ValueError, saying what it is."""
        parts = line.split(b",")
        if len(parts) != len(self._names) or not all(_NUMBER.fullmatch(part) for part in parts):
            shown = line[:40].decode("latin-1").strip()
            raise ValueError(f"is {shown!r}, not {len(self._names)} whole numbers with commas between")
        numbers = dict(zip(self._names, map(int, parts), strict=True))
        for name, (low, high) in _RANGES.items():
            if not low <= numbers[name] <= high:
                raise ValueError(f"has {name}={numbers[name]}; it must be {low} to {high}")
        return (numbers["t"], numbers["x"], numbers["y"], int(numbers["p"] > 0))


class CsvWriter(Writer):
    """Writes `%geometry:WIDTH,HEIGHT`, `t,x,y,p` and a line an event."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        self._file = path.open("w", encoding="ascii", newline="\n")
        self._file.write(f"%geometry:{width},{height}\nt,x,y,p\n")

    def write(self, events: NDArray[np.void]) -> None:
        for start in range(0, len(events), CHUNK_EVENTS):
            part = events[start : start + CHUNK_EVENTS]
            rows = zip(*(part[name].tolist() for name in Columns._fields), strict=True)
            self._file.writelines(f"{t},{x},{y},{p}\n" for t, x, y, p in rows)

    def close(self) -> None:
        self._file.close()
