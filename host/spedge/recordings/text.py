"""Text files: an event a line, in numbers between spaces, tabs, commas or semicolons."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import ge
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge._recordings import COLUMNS_MAX, read_lines
from spedge.base.errors import CutError, InputError
from spedge.events.arrays import concatenate
from spedge.events.times import seconds_of_digits
from spedge.recordings import layout
from spedge.recordings.base import CHUNK_EVENTS, SeekingRecording, choose_geometry
from spedge.recordings.layout import NOTHING, Said
from spedge.recordings.seek import Place

_VENDOR_ORDER = "xypt"  # Metavision's, after its line %geometry
_GEOMETRY = re.compile(r"[%#]\s*geometry\s*[:=]?\s*(\d{1,5})\s*[,x]\s*(\d{1,5})\s*$", re.I)
_SIZED = re.compile(r"\s*([xy])\s*@\s*(\d{1,5})\s*", re.I)  # faery's name of a column
_UNIT_APART = re.compile(r"\s+(?=[\[(][a-zµ]+[\])])", re.I)  # before the unit behind a name
_LONGEST_LINE = 1 << 12
_HEAD_BYTES = 1 << 18  # that tell what a file is; comments have to end in them
_BLOCK_BYTES = 1 << 22
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
_WORDS = {"true": 1.0, "false": 0.0}
_EXPONENTS = {"s": 6, "ms": 3, "us": 0, "ns": -3}
_RANGES = {"t": (0, 2**64 - 1), "x": (0, 65535), "y": (0, 65535), "p": (-1, 1)}

_SEPARATORS = {" ": "spaces", ",": "commas", ";": "semicolons"}


@dataclass
class _Head:
    """What the lines before the events say, and where the events begin."""

    size: tuple[int | None, int | None] = (None, None)
    names: layout.Named | None = None
    vendor: bool = False  # Metavision's comment is there
    at: int = 0
    lines: int = 0
    rows: list[list[str]] = field(default_factory=list)  # of the first events
    separator: str = " "


class TextRecording(SeekingRecording):
    """Lines of t, x, y and p: 0/1, -1/+1 or True/False.

    The columns are told by a line of names (or a comment that is one), after Metavision's %geometry:WIDTH,HEIGHT as x,
    y, p, t, or by their values; times by the names or by whether they have fractions (then they are seconds). Blank
    lines and comments (`#`, `%`) are passed over. The sensor's size may stand in %geometry, in faery's names (x@320,
    y@240), or alone on the first line.
    """

    def __init__(self, path: Path, width: int | None = None, height: int | None = None, said: Said = NOTHING) -> None:
        said.refuse(path, "stream")
        self.path = path
        with path.open("rb") as file:
            data = file.read(_HEAD_BYTES)
        head = self._head(data, len(data) < _HEAD_BYTES, said)
        order = self._order(head, said)
        unit = self._unit(head, order, said)
        self._start, self._lines, self._separator, self._order_ = head.at, head.lines, head.separator, order
        self._columns = bytes("txyp-".index(name) for name in order)
        self._exponent = _EXPONENTS[unit]
        self._whole = (
            unit == "us"
            and said.time_unit is None
            and (head.vendor or not any(_fraction(t) for t in self._times(head, order)))
        )
        self.format = "CSV" if head.separator in ",;" else "text"
        super().__init__(path, *choose_geometry(path, head.size, width, height))
        columns = layout.described(order, unit, self._polarity(head, order))
        self.layout = f"{columns}, between {_SEPARATORS[head.separator]}"

    def _head(self, data: bytes, whole: bool, said: Said) -> _Head:
        head = _Head()
        lines = data.split(b"\n")
        if not whole:
            lines.pop()  # cut by us
        for number, raw in enumerate(lines):
            try:
                line = self._text(raw, number + 1).strip()
            except InputError:
                if head.rows:  # to be found again behind the events before it
                    break
                raise
            if not head.rows and line[:1] in ("#", "%"):
                self._comment(head, line, number + 1)
            elif not line or line[:1] in ("#", "%"):
                pass
            elif head.rows:
                head.rows.append(_split(line, head.separator))
            elif not self._first_line(head, line, number + 1, said):
                head.at, head.lines = sum(map(len, lines[:number])) + number, number
                head.rows = [_split(line, head.separator)]
            if len(head.rows) == layout.SAMPLE_ROWS:
                break
        if not head.rows:
            if head.names is None or not whole:
                raise InputError(f"{self.path}: there is no line of an event before byte {len(data)}")
            head.at, head.lines = len(data), len(lines) - 1
        return head

    def _comment(self, head: _Head, line: str, number: int) -> None:
        if match := _GEOMETRY.match(line):
            head.size, head.vendor = self._checked((int(match[1]), int(match[2])), number), True
        else:
            line = _UNIT_APART.sub("", line.lstrip("#% "))
            head.names = layout.named(_split(line, _separator(line))) or head.names

    def _first_line(self, head: _Head, line: str, number: int, said: Said) -> bool:
        """Whether a line before the first event is about them; else it is that event's."""
        head.separator = _separator(line)
        parts = _split(_UNIT_APART.sub("", line), head.separator)
        if len(parts) == 2 and all(part.isdigit() for part in parts):  # RPG's: width and height
            head.size = self._checked((int(parts[0]), int(parts[1])), number)
            return True
        if all(_value(part) is not None for part in parts if part):
            return False
        if said.columns is not None and any(_value(part) is not None for part in parts):
            return False  # no line of names is like this: then it is a wrong line of events
        sides = {match[1].lower(): int(match[2]) for part in parts if (match := _SIZED.fullmatch(part))}
        if len(sides) == 2:
            head.size = self._checked((sides["x"], sides["y"]), number)
            parts = [part.partition("@")[0] for part in parts]
        names = layout.named(parts)
        if names is None and head.names is not None:
            return False  # names stood before: then this is a wrong line of events
        head.names = names
        if head.names is None and said.columns is None:
            raise InputError(
                f"{self.path}: line {number} does not name the columns; begin the file with 't,x,y,p', or say their "
                "order, columns='txyp' (--columns txyp)"
            )
        return True

    def _checked(self, size: tuple[int, int], number: int) -> tuple[int, int]:
        if not all(0 < side <= 65535 for side in size):
            raise InputError(f"{self.path}: line {number} gives a sensor of {size[0]}x{size[1]} pixels")
        return size

    def _order(self, head: _Head, said: Said) -> str:
        if said.columns is not None:
            return said.columns
        if head.names is not None:
            if len(head.names.fields) > COLUMNS_MAX:
                raise InputError(f"{self.path}: line {head.lines} names more than {COLUMNS_MAX} columns")
            return head.names.fields
        count = len(head.rows[0])
        if count != 4:
            raise InputError(
                f"{self.path}: line {head.lines + 1} has {count} columns without names, not 4: say what they are, "
                "columns='txyp-' or the like (--columns txyp-); - is one to pass over"
            )
        if head.vendor:
            return _VENDOR_ORDER
        return layout.order_of(self.path, _numbers(head.rows))

    def _unit(self, head: _Head, order: str, said: Said) -> str:
        if said.time_unit is not None:
            return said.time_unit
        if head.names is not None and head.names.unit is not None:
            return head.names.unit
        texts = self._times(head, order)
        if head.vendor or not texts:
            return "us"
        fractions = any(not text.lstrip("+-").isdigit() for text in texts)
        t = np.array([time for time in map(float, texts) if math.isfinite(time)])
        if not len(t):
            return "us"
        decimals = max(len(text.partition(".")[2]) for text in texts)
        if decimals > 3 and seconds_of_digits(t):
            return "s"
        return layout.unit_of(self.path, t, said, fractions)

    @staticmethod
    def _times(head: _Head, order: str) -> list[str]:
        at = order.index("t")
        return [row[at] for row in head.rows if len(row) == len(order) and _value(row[at]) is not None]

    def _polarity(self, head: _Head, order: str) -> str:
        texts = [row[order.index("p")] for row in head.rows if len(row) == len(order)]
        if any(text.lower() in _WORDS for text in texts):
            return "True/False"
        values = (_value(text) for text in texts)
        return layout.polarity_of(self.path, np.array([value for value in values if value is not None]))

    def _text(self, raw: bytes, number: int) -> str:
        if len(raw) >= _LONGEST_LINE or b"\0" in raw:
            raise InputError(f"{self.path}: line {number} is no line of a text file")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: line {number} is no line of a text file") from None

    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        begin, number = place or (self._start, self._lines)
        rest, at = b"", 0
        self._here = lambda: (begin + at, number)
        with self.path.open("rb") as file:
            file.seek(max(self._start, begin - _LONGEST_LINE))
            before = file.read(begin - file.tell()).rstrip().rpartition(b"\n")[2]
            while data := file.read(_BLOCK_BYTES):
                block, at = rest + data, 0
                for events, used, lines in self._read(block, number):
                    at, number = at + used, number + lines
                    yield events
                before = block[:at].rstrip().rpartition(b"\n")[2] or before
                rest, begin, at = block[at:], begin + at, 0
                if len(rest) > _LONGEST_LINE:
                    raise InputError(f"{self.path}: line {number + 1} is no line of a text file")
        if rest:
            self._here = None  # it is not known yet how much of it is an event
            yield from self._last_line(rest, number, before)

    def _last_line(self, rest: bytes, number: int, before: bytes) -> Iterator[NDArray[np.void]]:
        """Of a line that does not end, which is of an event if it has all digits of that: the next time has not fewer
        than the time before it."""
        problem = f"{self.path}: line {number + 1} has no line break: it is cut off, or add one"
        try:
            events = concatenate([events for events, _, _ in self._read(rest + b"\n", number)])
        except InputError as error:
            raise CutError(f"{problem} ({str(error).removeprefix(f'{self.path}: ')})") from None
        last, earlier = (self._last_digits(line) for line in (rest, before))
        if len(events) and self._order_[-1] not in "p-" and not (last and earlier and all(map(ge, last, earlier))):
            raise CutError(problem)
        yield events

    def _last_digits(self, line: bytes) -> tuple[int, int, float] | None:
        """Of the number at the end of a line: digits before and behind the point, and the value."""
        text = _split(line.decode("latin-1").strip(), self._separator)[-1:]
        if not text or not _NUMBER.fullmatch(text[0]):
            return None
        whole, _, fraction = text[0].partition(".")
        return len(whole), len(fraction), float(text[0])

    def _read(self, block: bytes, number: int) -> Iterator[tuple[NDArray[np.void], int, int]]:
        """Events, bytes and lines, up to the last whole line."""
        view, at = memoryview(block), 0
        while True:
            events, used, lines = read_lines(
                view[at:], self._columns, ord(self._separator), self._exponent, self._whole, CHUNK_EVENTS
            )
            yield events, used, lines
            at, number = at + used, number + lines
            if used == 0 or at == len(block):
                break
        end = block.find(b"\n", at)
        if end >= 0:
            line = self._text(block[at : min(end, at + _LONGEST_LINE)], number + 1)
            raise InputError(f"{self.path}: line {number + 1} {self._complaint(line)}")

    def _complaint(self, line: str) -> str:
        """What is wrong with a line."""
        parts = _split(line.strip(), self._separator)
        if len(parts) == len(self._order_):
            for name, text in zip(self._order_, parts, strict=True):
                if name != "-" and _NUMBER.fullmatch(text):
                    complaint = self._value_complaint(name, text)
                    if complaint:
                        return complaint
        kind = "whole numbers" if self._whole else "numbers"
        between = _SEPARATORS[self._separator]
        return f"is {line[:40].strip()!r}, not {len(self._order_)} {kind} with {between} between"

    def _value_complaint(self, name: str, text: str) -> str | None:
        value = float(text) if re.search(r"[.eE]", text) else int(text)
        low, high = _RANGES[name]
        if name == "t" and self._exponent:
            fits = 0 <= value * 10.0**self._exponent < 1.8e19
            return None if fits else f"has t={text}; it must be at least 0 and, in microseconds, at most {high}"
        if not low <= value <= high:
            return f"has {name}={text}; it must be {low} to {high}"
        if value != int(value) and name == "t":
            hint = "say their unit, time_unit='us' (--time-unit us) or another"
            return f"has t={text}, but the times before it are whole: {hint}"
        return f"has {name}={text}; it must be a whole number" if value != int(value) else None


def _separator(line: str) -> str:
    return next((separator for separator in ",;" if separator in line), " ")


def _split(line: str, separator: str) -> list[str]:
    return line.split() if separator == " " else [part.strip() for part in line.split(separator)]


def _value(text: str) -> float | None:
    """The number that a text is."""
    return float(text) if _NUMBER.fullmatch(text) else _WORDS.get(text.lower())


def _fraction(text: str) -> bool:
    return not float(text).is_integer()


def _numbers(rows: list[list[str]]) -> NDArray[np.float64]:
    """The first rows that are four numbers each."""
    out = []
    for row in rows:
        values = [_value(text) for text in row]
        if len(values) != 4 or None in values:
            break
        out.append(values)
    return np.array(out, np.float64).reshape(-1, 4)
