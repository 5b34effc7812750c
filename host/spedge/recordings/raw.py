"""Prophesee RAW files: header lines `% key value`, then camera words: EVT2, EVT2.1 or EVT3."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError
from spedge.events import evt2, evt3
from spedge.events.arrays import empty_events
from spedge.events.decoders import Decoder, DecodeStats
from spedge.events.formats import format_name
from spedge.recordings.base import DROP_HINT, SeekingRecording, Writer, choose_geometry
from spedge.recordings.seek import Place
from spedge.recordings.triggers import no_triggers, of_raw, with_words

#: Sensors of old files that name only their system.
_VGA_SYSTEMS = (21, 23, 25, 28, 29, 33, 34, 35, 40, 41, 151, 153, 161, 162)
_HD_SYSTEMS = (26, 30, 31, 39, 46, 48, 49, 50)
_SYSTEM_GEOMETRY = {
    **dict.fromkeys(map(str, _VGA_SYSTEMS), (640, 480)),
    **dict.fromkeys(map(str, _HD_SYSTEMS), (1280, 720)),
}
_EVT_VERSIONS = {"2.0": "EVT2", "2.1": "EVT21", "3.0": "EVT3"}
_WORD_BYTES = {"EVT2": 4, "EVT21": 8, "EVT3": 2}
_LONGEST_LINE = 4096
_MOST_LINES = 1000
_READ_BYTES = 1 << 19
_LEFT_OUT = ("unknown", "triggers", "other", "untimed", "clipped", "outside")  # of the decoder's counts
_EVT21_TYPES = np.isin(np.arange(16), (0x0, 0x1, 0x8, 0xA, 0xE, 0xF))


@dataclass
class Header:
    """What the header says. size: its bytes."""

    encoding: str | None = None
    width: int | None = None
    height: int | None = None
    fields: dict[str, str] = field(default_factory=dict)
    size: int = 0


class RawRecording(SeekingRecording):
    """A Prophesee RAW file. Events outside the sensor are dropped in EVT3, as its makers do, and refused in the others.

    left_out: `unknown`, words of types that the format does not define (IMX636 cameras send 0x9999 as padding);
    `triggers`, of external inputs; `other`, of the vendor; `untimed`, event words before the first time word;
    `outside`, and `clipped`, those of them that are bits of vector words, over the sensor's right edge.
    """

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        with path.open("rb") as file:
            self.header = read_header(file, path)
            if not self.header.size:
                raise InputError(f"{path}: no header line '% ...' at byte 0; this is not a Prophesee RAW file")
            encoding = self.header.encoding
            if encoding is None:
                end = self.header.size
                raise InputError(f"{path}: the header, up to byte {end}, names no encoding ('% format' or '% evt')")
            if encoding not in _WORD_BYTES:
                raise InputError(f"{path}: cannot read {encoding}, only {', '.join(_WORD_BYTES)}")
            self._word_bytes = _WORD_BYTES[encoding]
            file.seek(self.header.size)
            legacy = encoding == "EVT21" and _is_legacy(self.header, file.read(1 << 13), path)
        super().__init__(path, *choose_geometry(path, (self.header.width, self.header.height), width, height))
        self._encoding = format_name(f"{encoding} legacy" if legacy else encoding)
        self.format = f"RAW {self._encoding.replace('evt', 'EVT')}"
        if encoding == "EVT3":
            self.outside = "drop"

    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        decoder = Decoder(self._encoding, width=self.width, height=self.height)
        begin, *state = place or (self.header.size,)
        if state:
            decoder.restore(state)
        at = begin
        self._here = lambda: (at, *decoder.state())
        with self.path.open("rb") as file:
            file.seek(begin)
            while data := file.read(_READ_BYTES):
                before = decoder.copy()
                events = decoder.feed(data)
                if self.outside == "refuse" and _any_outside(decoder.stats):
                    end = _first(before, data, _any_outside)
                    yield self._counted(before, data[: end - self._word_bytes])  # what comes before it is good
                    raise InputError(self._complaint(at + end - self._word_bytes))
                self._count(decoder.stats)
                at += len(data)
                yield events
        if decoder.partial_bytes:
            raise CutError(f"{self.path}: cut off in the middle of a word at byte {at - decoder.partial_bytes}")
        if decoder.stats.untimed and not decoder.stats.events and not state:
            raise InputError(
                f"{self.path}: {decoder.stats.untimed} event words but no time word from byte {self.header.size} on"
            )

    def triggers(self) -> NDArray[np.void]:
        return of_raw(self.path, self.header.size, self._encoding)

    def _counted(self, decoder: Decoder, data: bytes) -> NDArray[np.void]:
        events = decoder.feed(data)
        self._count(decoder.stats)
        return events

    def _count(self, stats: DecodeStats) -> None:
        self.left_out = {name: n for name in _LEFT_OUT if (n := getattr(stats, name))}

    def _complaint(self, at: int) -> str:
        with self.path.open("rb") as file:
            file.seek(at)
            word = int.from_bytes(file.read(self._word_bytes), "little")
        return (
            f"{self.path}: byte {at} holds {word:#0{2 + 2 * self._word_bytes}x}, an event outside the "
            f"{self.width}x{self.height} sensor; it is damaged, or give the width and height of the camera that "
            f"recorded it, or {DROP_HINT}"
        )


def _any_outside(stats: DecodeStats) -> bool:
    return stats.outside + stats.clipped > 0


def _first(before: Decoder, data: bytes, wrong: Callable[[DecodeStats], bool]) -> int:
    """How many bytes of data make a decoder's stats wrong; all of data does."""
    good, bad = 0, len(data)
    while bad - good > 1:
        middle = (good + bad) // 2
        decoder = before.copy()
        decoder.feed(data[good:middle])
        if wrong(decoder.stats):
            bad = middle
        else:
            good, before = middle, decoder
    return bad


def _is_legacy(header: Header, data: bytes, path: Path) -> bool:
    """Whether the 32-bit halves of EVT2.1 words are swapped. A header that does not say is settled by the words."""
    said = header.fields.get("endianness")
    if said is not None:
        if said not in ("little", "legacy"):
            raise InputError(f"{path}: cannot read EVT21 of endianness {said!r}, only little and legacy")
        return said == "legacy"
    halves = np.frombuffer(data[: len(data) // 8 * 8], "<u4").reshape(-1, 2)
    first, second = (_EVT21_TYPES[halves[:, i] >> 28].mean() if len(halves) else 0.0 for i in (0, 1))
    times_first, times_second = (np.count_nonzero(halves[:, i] >> 28 == 0x8) for i in (0, 1))
    return bool((first, times_first) > (second, times_second))


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
            option_key, _, content = (part.strip() for part in option.partition("="))
            if option_key in ("width", "height"):
                _agree(header, path, option_key, _pixels(path, value, content))
            elif option_key == "endianness":
                header.fields["endianness"] = content
    elif key == "evt":
        _agree(header, path, "encoding", _EVT_VERSIONS.get(value, f"EVT {value}"))
    elif key == "geometry":
        match = re.fullmatch(r"(\d+)\s*x\s*(\d+)", value)
        if not match:
            raise InputError(f"{path}: '% geometry {value}' is not of the form WIDTHxHEIGHT")
        _agree(header, path, "width", _pixels(path, value, match[1]))
        _agree(header, path, "height", _pixels(path, value, match[2]))
    elif key.lower() in ("width", "height"):
        _agree(header, path, key.lower(), _pixels(path, f"{key} {value}", value))
    elif key.lower() == "system_id" and value in _SYSTEM_GEOMETRY:
        width, height = _SYSTEM_GEOMETRY[value]
        _agree(header, path, "width", width)
        _agree(header, path, "height", height)


def _pixels(path: Path, line: str, text: str) -> int:
    number = text.strip()
    if not number.isascii() or not number.isdigit() or len(number) > 5 or not 0 < int(number) <= 65535:
        raise InputError(f"{path}: the header's '{line}' holds no valid sensor size")
    return int(number)


def _agree(header: Header, path: Path, name: str, value: str | int) -> None:
    before = getattr(header, name)
    if before is not None and before != value:
        raise InputError(f"{path}: the header gives two values for {name}, {before} and {value}")
    setattr(header, name, value)


# ---------------------------------------------------------------- writing


class RawWriter(Writer):
    """Writes EVT2 or EVT3. Raises InputError for a sensor whose coordinates need more than 11 bits."""

    keeps_triggers = True

    def __init__(self, path: Path, width: int, height: int, encoding: str = "EVT2") -> None:
        super().__init__(path, width, height)
        if max(width, height) > evt2.MAX_SIDE:
            raise InputError(
                f"{encoding} is for sensors of up to {evt2.MAX_SIDE}x{evt2.MAX_SIDE} pixels, not {width}x{height}: "
                "choose another format"
            )
        self._encoding, self._triggers = encoding.lower(), no_triggers()
        self._encoder = evt3.Encoder() if encoding == "EVT3" else evt2.Encoder(start=0)
        version = {name: number for number, name in _EVT_VERSIONS.items()}[encoding]
        self._file = path.open("wb")
        lines = [
            f"format {encoding};height={height};width={width}",
            f"evt {version}",
            f"geometry {width}x{height}",
            "end",
        ]
        self._file.write("".join(f"% {line}\n" for line in lines).encode())

    def write(self, events: NDArray[np.void]) -> None:
        due = int(np.searchsorted(self._triggers["t"], events["t"][-1], side="right")) if len(events) else 0
        now, self._triggers = self._triggers[:due], self._triggers[due:]
        self._file.write(with_words(events, now, self._encoding, self._encoder.encode))

    def add_triggers(self, triggers: NDArray[np.void]) -> None:
        self._triggers = np.concatenate([self._triggers, triggers])

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        with self._file as file:
            file.write(with_words(empty_events(), self._triggers, self._encoding, self._encoder.encode))

    def discard(self) -> None:
        self._file.close()
