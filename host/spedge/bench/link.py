"""What the link carries: event payloads through the protocol, next to the same words, and any bytes, without it."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spedge.base.errors import DeviceRefused, DeviceTimeout, UsageError
from spedge.boards.build import build
from spedge.boards.launch import running
from spedge.boards.manifest import load_board
from spedge.device.open import Device
from spedge.events.arrays import EVENT_DTYPE
from spedge.events.evt2 import encode_words
from spedge.link.protocol import Configuration, pack_tokenizer
from spedge.link.transport import Transport
from spedge.tokens.settings import TokenizerSettings

SECONDS = 1.0  #: that a round takes about
ROUNDS = 5
_BURST_SECONDS = 0.002
_FIRST_BYTES = 4096
_PIECE_BYTES = 1 << 16  # as much as a Device hands over at once
_MOST_BYTES = 1 << 26
_SIDE = 320
_TOKENIZER = TokenizerSettings(_SIDE, _SIDE)
_FORGET, _TOKENIZE, _CONFIGURE = range(3)  # as in firmware/bench/link
_REQUEST, _REPLY = struct.Struct("<IB"), struct.Struct("<IQQ")
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class LinkBench:
    """Bytes a second from the host to the device, of the quickest of the rounds each, taken by turns.

    line_rate: what the line was held to, None when it was left as quick as it is. raw: bytes that the device reads and
    forgets. words: EVT2 words without the protocol, that the device reads and tokenizes. payload: the same words
    through the protocol, from the first frame until the device has tokenized all of them. A round counts only when
    the device says that all bytes came and, of words and payload, that it tokenized all `events`.
    resent: frames sent again meanwhile; not 0 when the device was too slow for its time-outs.
    """

    board: str
    line_rate: float | None
    bytes: int
    events: int
    raw: float
    words: float
    payload: float
    resent: int

    @property
    def of_raw(self) -> float:
        """Payload as a part of raw: what protocol and tokenizer leave of the line."""
        return self.payload / self.raw

    @property
    def of_words(self) -> float:
        """Payload as a part of words: what the protocol leaves."""
        return self.payload / self.words

    def to_json(self) -> dict[str, Any]:
        return {
            "board": self.board,
            "line_bytes_per_s": self.line_rate,
            "bytes": self.bytes,
            "events": self.events,
            "raw_bytes_per_s": round(self.raw),
            "words_bytes_per_s": round(self.words),
            "payload_bytes_per_s": round(self.payload),
            "payload_of_raw": round(self.of_raw, 3),
            "payload_of_words": round(self.of_words, 3),
            "frames_resent": self.resent,
        }


class Paced:
    """A transport held to so many bytes a second towards the device, as a cable does."""

    def __init__(self, inner: Transport, rate: float) -> None:
        self.inner, self.name, self._rate = inner, inner.name, rate
        self._free_at = time.monotonic()  # when the line has carried all that was given to it

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        now = time.monotonic()
        if out and self._free_at > now:
            out, timeout = b"", min(timeout, self._free_at - now)
        written, received = self.inner.exchange(out[: max(int(self._rate * _BURST_SECONDS), 1)], timeout)
        self._free_at = max(self._free_at, now) + written / self._rate
        return written, received

    def unsent(self) -> int:
        return self.inner.unsent()

    def close(self) -> None:
        self.inner.close()


def bench_link(
    board_name: str,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
    line_rate: float | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> LinkBench:
    """Measure the link of a board that this machine can be. line_rate: bytes a second to hold the line to.

    A pseudo-terminal and a TCP connection within one machine carry bytes as quickly as the kernel copies them, which no
    cable does; what events get of that says how much processor time the protocol and the tokenizer take.
    Raises UsageError for a board on a cable, whose program would have to be changed in between, and what build.build
    and the device raise.
    """
    say = on_progress or (lambda _: None)
    board = load_board(board_name)
    if board.runs == "serial":
        raise UsageError(f"{board.name} is on a cable: this needs a board that is simulated or emulated here")
    plain, application = build(board, None, say, program="bench/link"), build(board, None, say)
    with running(board, plain.path) as (bare, _), running(board, application.path) as (carrier, obituary):
        line = Paced(bare, line_rate) if line_rate else bare
        device = Device(Paced(carrier, line_rate) if line_rate else carrier, obituary=obituary)
        device.configure(Configuration(_TOKENIZER, model=False))
        _ask(line, _CONFIGURE, pack_tokenizer(_TOKENIZER))
        quick = _raw_seconds(line, bytes(_FIRST_BYTES))
        data = event_bytes(int(min(max(_FIRST_BYTES / quick * seconds, _FIRST_BYTES), _MOST_BYTES)))
        quick = min(_raw_seconds(line, data) for _ in range(3))  # the first one also waited for the machine to start
        data = event_bytes(int(min(max(len(data) / quick * seconds, _FIRST_BYTES), _MOST_BYTES)))
        events = int(np.count_nonzero(np.frombuffer(data, "<u4") >> 28 <= 1))
        raw, words, payload = [], [], []
        for i in range(rounds):
            say(f"{board.name}: round {i + 1} of {rounds}")
            raw.append(_raw_seconds(line, data))
            words.append(_words_seconds(line, data, events))
            payload.append(_payload_seconds(device, data, events))
        size = len(data)
        return LinkBench(
            board.name, line_rate, size, events, size / min(raw), size / min(words), size / min(payload), device.resent
        )


def event_bytes(n: int) -> bytes:
    """About n bytes of EVT2 words: a million events a second all over a 320x320 sensor."""
    events = np.zeros(max(n // 4, 1), EVENT_DTYPE)
    random = np.random.default_rng(0)
    events["t"] = np.arange(len(events))
    events["x"], events["y"] = random.integers(0, _SIDE, (2, len(events)))
    events["p"] = random.integers(0, 2, len(events))
    return encode_words(events).tobytes()[: 4 * max(n // 4, 1)]


def _raw_seconds(line: Transport, data: bytes) -> float:
    return _ask(line, _FORGET, data)[0]


def _words_seconds(line: Transport, data: bytes, events: int) -> float:
    seconds, taken, lost = _ask(line, _TOKENIZE, data)
    _require_all(line.name, events, taken, lost)
    return seconds


def _payload_seconds(device: Device, data: bytes, events: int) -> float:
    device.reset()
    begin = time.perf_counter()
    device.send(data)
    status = device.flush()
    seconds = time.perf_counter() - begin
    _require_all(device.name, events, status.events, status.lost)
    return seconds


def _require_all(name: str, events: int, taken: int, lost: int) -> None:
    if (taken, lost) != (events, 0):
        raise DeviceRefused(f"{name} took {taken} of {events} events and lost {lost}: this is no measurement")


def _ask(line: Transport, what: int, data: bytes) -> tuple[float, int, int]:
    """Send bytes to firmware/bench/link: seconds until it said that all came, events that it took and that it lost."""
    waiting, answer = memoryview(_REQUEST.pack(len(data), what) + data), b""
    begin = time.perf_counter()
    while len(answer) < _REPLY.size:
        written, received = line.exchange(waiting[:_PIECE_BYTES], 1.0)
        waiting, answer = waiting[written:], answer + received
        if time.perf_counter() - begin > _TIMEOUT_SECONDS:
            raise DeviceTimeout(f"{line.name} does not take {len(data)} bytes within {_TIMEOUT_SECONDS:g} s")
    seconds = time.perf_counter() - begin
    if len(answer) != _REPLY.size or waiting:
        raise DeviceRefused(f"{line.name} answers {answer!r} after {len(data)} bytes")
    came, taken, lost = _REPLY.unpack(answer)
    if came != len(data):
        raise DeviceRefused(f"{line.name} says that {came} of {len(data)} bytes came")
    return seconds, taken, lost
