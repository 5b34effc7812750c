"""What a decoder costs: events per second on this machine, instructions per word on an emulated board."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceRefused, UsageError
from spedge.bench.host import AgainstBincount, against_bincount
from spedge.bench.preloaded import run_preloaded
from spedge.bench.streams import encode
from spedge.boards.manifest import Board
from spedge.events.decoders import Decoder, DecodeStats
from spedge.events.formats import FORMATS, format_name
from spedge.recordings.base import Recording
from spedge.recordings.raw import RawRecording

REPEATS = 7
PIECE = 1 << 18  #: bytes given to the decoder at once on this machine


@dataclass(frozen=True)
class HostCost(AgainstBincount):
    """Of the quickest of REPEATS runs, one thread, from bytes in pieces of PIECE to event arrays.

    times_bincount: the time of an event, as a multiple of that which
    `np.bincount((y // 16).astype(np.int64) * columns + x // 16, minlength=patches)` takes for one of these events.
    """

    words: int
    events: int
    bytes: int
    seconds: float
    bincount_seconds: float


@dataclass(frozen=True)
class BoardCost:
    """Instructions for decoding words in memory into a buffer of 1024 events, again and again the same one.

    words: for eDVS, events with their times.
    """

    words: int
    events: int
    instructions: int

    @property
    def instructions_per_word(self) -> float:
        return self.instructions / self.words


def stream_of(recording: Recording, format: str | None) -> tuple[str, bytes]:
    """A format and bytes of it: a RAW recording's own words if they are of that format, else its events encoded.

    format: None: the recording's own, or evt2. Raises UsageError for an unknown format, InputError for damaged files.
    """
    own = recording.format.removeprefix("RAW ") if isinstance(recording, RawRecording) else None
    format = format_name(format or own or "evt2")
    events = recording.events()  # also of a stream that is used as it is: says what is wrong with the file
    if len(events) == 0:
        raise UsageError(f"{recording.path} has no events to measure with")
    if isinstance(recording, RawRecording) and own is not None and format == format_name(own):
        return format, recording.path.read_bytes()[recording.header.size :]
    return format, encode(events, format)


def host_cost(format: str, data: bytes, repeats: int = REPEATS) -> HostCost:
    """Time new decoders of a format (one of formats.FORMATS) on bytes of it."""
    view = memoryview(data)
    decoder = Decoder(format)

    def decode() -> list[NDArray[np.void]]:
        decoder.reset()
        return [decoder.feed(view[at : at + PIECE]) for at in range(0, len(data), PIECE)]

    events = np.concatenate(decode())
    stats = decoder.stats
    x, y = events["x"].copy(), events["y"].copy()
    seconds, counting = against_bincount(decode, x, y, int(x.max()) + 1, int(y.max()) + 1, repeats)
    return HostCost(stats.words, len(events), len(data), seconds, counting)


def board_cost(format: str, data: bytes, board: Board, on_progress: Callable[[str], None] | None = None) -> BoardCost:
    """Put bytes of a format into an emulated board's memory and count what decoding them takes.

    Raises UsageError for a board that QEMU does not run or bytes that do not fit, DeviceError when the board fails or
    makes something else of the bytes than this machine, and what build.build raises.
    """
    image = b"SPB2" + struct.pack("<IHHI", len(data), 0, 0, FORMATS[format].library) + data
    words, events, instructions = run_preloaded(board, "bench/decoder", image, on_progress or (lambda _: None))
    here = _stats(format, data)
    if (words, events) != (here.words, here.events):
        raise DeviceRefused(
            f"{board.name} made {events} events of {words} words, this machine {here.events} of {here.words}"
        )
    return BoardCost(words, events, instructions)


def _stats(format: str, data: bytes) -> DecodeStats:
    decoder = Decoder(format)
    decoder.feed(data)
    return decoder.stats
