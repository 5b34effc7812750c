"""What the link carries: event payloads through the protocol, next to bytes that are only read and forgotten."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spedge.boards import load_board
from spedge.build import build
from spedge.device import Configuration, Device, TokenizerSettings
from spedge.device.launch import running
from spedge.device.transport import Transport
from spedge.errors import DeviceError, UsageError
from spedge.events import EVENT_DTYPE
from spedge.evt2 import encode_words

SECONDS = 1.0  #: that a round takes about
ROUNDS = 5
_BURST_SECONDS = 0.002
_FIRST_BYTES = 4096
_PIECE_BYTES = 1 << 15  # as much as a Device hands over at once
_MOST_BYTES = 1 << 26
_SIDE = 320
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class LinkBench:
    """Bytes a second from the host to the device, of the quickest of the rounds each, taken by turns.

    line_rate: what the line was held to, None when it was left as quick as it is. raw: bytes that the device reads and
    forgets. payload: EVT2 words, from the first frame until the device has tokenized all of them. resent: frames sent
    again meanwhile; not 0 when the device was too slow for its time-outs.
    """

    board: str
    line_rate: float | None
    bytes: int
    raw: float
    payload: float
    resent: int

    @property
    def ratio(self) -> float:
        """Payload as a part of raw."""
        return self.payload / self.raw

    def to_json(self) -> dict[str, Any]:
        return {
            "board": self.board,
            "line_bytes_per_s": self.line_rate,
            "bytes": self.bytes,
            "raw_bytes_per_s": round(self.raw),
            "payload_bytes_per_s": round(self.payload),
            "payload_of_raw": round(self.ratio, 3),
            "frames_resent": self.resent,
        }


class Paced:
    """A transport held to so many bytes a second towards the device, as a cable does."""

    def __init__(self, inner: Transport, rate: float) -> None:
        self.inner, self.name, self._rate = inner, inner.name, rate
        self._free_at = time.monotonic()  # when the line has carried all that was given to it

    def exchange(self, out: bytes, timeout: float) -> tuple[int, bytes]:
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
    swallower, application = build(board, None, say, program="bench/link"), build(board, None, say)
    with running(board, swallower.path) as (bare, _), running(board, application.path) as (carrier, obituary):
        line = Paced(bare, line_rate) if line_rate else bare
        device = Device(Paced(carrier, line_rate) if line_rate else carrier, obituary=obituary)
        device.configure(Configuration(TokenizerSettings(_SIDE, _SIDE), model=False))
        quick = _raw_seconds(line, bytes(_FIRST_BYTES))
        data = event_bytes(int(min(max(_FIRST_BYTES / quick * seconds, _FIRST_BYTES), _MOST_BYTES)))
        quick = _raw_seconds(line, data)  # the first one also waited for the machine to start
        data = event_bytes(int(min(max(len(data) / quick * seconds, _FIRST_BYTES), _MOST_BYTES)))
        raw, payload = [], []
        for i in range(rounds):
            say(f"{board.name}: round {i + 1} of {rounds}")
            raw.append(_raw_seconds(line, data))
            payload.append(_payload_seconds(device, data))
        size = len(data)
        return LinkBench(board.name, line_rate, size, size / min(raw), size / min(payload), device.resent)


def event_bytes(n: int) -> bytes:
    """About n bytes of EVT2 words: a million events a second all over a 320x320 sensor."""
    events = np.zeros(max(n // 4, 1), EVENT_DTYPE)
    random = np.random.default_rng(0)
    events["t"] = np.arange(len(events))
    events["x"], events["y"] = random.integers(0, _SIDE, (2, len(events)))
    events["p"] = random.integers(0, 2, len(events))
    return encode_words(events).tobytes()[: 4 * max(n // 4, 1)]


def _raw_seconds(line: Transport, data: bytes) -> float:
    begin = time.perf_counter()
    count = struct.pack("<I", len(data))
    waiting, answer = memoryview(count + data), b""
    while len(answer) < len(count):
        written, received = line.exchange(bytes(waiting[:_PIECE_BYTES]), 1.0)
        waiting, answer = waiting[written:], answer + received
        if time.perf_counter() - begin > _TIMEOUT_SECONDS:
            raise DeviceError(f"{line.name} does not take {len(data)} bytes within {_TIMEOUT_SECONDS:g} s")
    if answer != count:
        raise DeviceError(f"{line.name} answers {answer!r} after {len(data)} bytes")
    return time.perf_counter() - begin


def _payload_seconds(device: Device, data: bytes) -> float:
    device.reset()
    begin = time.perf_counter()
    device.send(data)
    status = device.flush()
    seconds = time.perf_counter() - begin
    words = np.frombuffer(data, "<u4")
    if status.events != int(np.count_nonzero(words >> 28 <= 1)):
        raise DeviceError(f"{device.name} took {status.events} events of {len(words)} words")
    return seconds
