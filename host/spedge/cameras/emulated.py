"""`EmulatedCamera`: plays a recording at a board's camera port, on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, DeviceTimeout, UsageError
from spedge.cameras.edvs import Edvs
from spedge.events.arrays import as_events, empty_events
from spedge.events.decoders import Decoder
from spedge.events.formats import WORD_FORMATS, format_name
from spedge.events.words import EDVS_SIDE, encoder
from spedge.link.transport import connect

#: "edvs" is told what to send; the others send words as soon as they are made to `play`.
PROTOCOLS = ("edvs", *WORD_FORMATS)

_PIECE_EVENTS = 256
_PIECE_US = 1000
_WAIT = 0.02  # longest look at the line, s


def protocol_of(format: str) -> str:
    """Of a camera that sends this format, one of FORMATS. Raises UsageError for another."""
    format = format_name(format)
    return "edvs" if format.startswith("edvs") else format


def heard(events: NDArray[Any], format: str) -> NDArray[np.void]:
    """What a reader that loses nothing makes of `events` from a camera of that format (one of FORMATS).

    All of them, with times as far as the format can say them. Raises InputError for events that it cannot say at all.
    """
    return _decoded(encoder(format)(events), format)


def _decoded(data: bytes, format: str) -> NDArray[np.void]:
    return Decoder(format).feed(data)


class EmulatedCamera:
    """A camera on the other end of a camera port; a context manager.

    address: as of `Device.camera_address`. events: what it sees (structured with t µs, x, y, p; sorted by time; an eDVS
    has 128x128 pixels). protocol: one of PROTOCOLS. pace: "realtime", "full" speed, or how many times faster than real.
    An eDVS begins when the board tells it to (`E+`), and from the beginning after each reset (`R`); the others begin
    with `play`, at best after the board was configured: what is sent before, nobody receives.
    A line that does not take its bytes holds the camera up and loses nothing. Times are those of `events`, as far as
    the format can say them.
    Raises UsageError for a wrong argument, InputError for events that cannot be played, DeviceError when nobody is at
    the address.
    """

    def __init__(
        self,
        address: str,
        events: NDArray[Any],
        protocol: str = "edvs",
        pace: str | float = "realtime",
        boot_seconds: float = 0.01,
    ) -> None:
        if protocol not in PROTOCOLS:
            raise UsageError(f"there is no camera protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
        speed = {"realtime": 1.0, "full": float("inf")}.get(pace, 0.0) if isinstance(pace, str) else pace
        if not speed > 0:
            raise UsageError(f"pace {pace!r} is none; use 'realtime', 'full' or a factor above 0")
        self.protocol = protocol
        self.boot_seconds = boot_seconds
        self._speed = speed
        self._edvs = Edvs(boot_seconds) if protocol == "edvs" else None
        self._lock = threading.Lock()
        self._stop, self._played, self._told_to_play = threading.Event(), threading.Event(), threading.Event()
        self._pieces: Iterator[tuple[float, bytes]] | None = None
        self._waiting: tuple[float, bytes] | None = None  # the piece that is not due yet
        self._starts = 0
        self._said = bytearray()  # replies
        self._log = bytearray()  # of events, written
        self._format = protocol
        self._late = 0.0
        self._error: DeviceError | None = None
        self.load(events)
        self._line = connect(address)
        self._thread = threading.Thread(target=self._run, name=f"camera {protocol}", daemon=True)
        self._thread.start()

    def load(self, events: NDArray[Any]) -> None:
        """What the camera sees from its next start on."""
        side = EDVS_SIDE if self.protocol == "edvs" else None
        events = as_events(events, side, side)
        with self._lock:
            self._events = events

    def play(self) -> None:
        """Begin, from the start. Not for an eDVS: the board begins."""
        if self._edvs:
            raise UsageError("an eDVS plays when it is told to over its line")
        self._told_to_play.set()

    def wait(self, seconds: float) -> None:
        """Wait until all has been sent. Raises DeviceError when that takes longer or the line broke."""
        if not self._played.wait(seconds) or self._error:
            raise self._error or DeviceTimeout(f"the camera has not sent everything after {seconds:g} s")

    @property
    def played(self) -> bool:
        """Whether all has been sent since the last start. Raises DeviceError when the line broke."""
        if self._error:
            raise self._error
        return self._played.is_set()

    @property
    def sent(self) -> bytes:
        """The bytes of events sent since the last start; an eDVS's replies are not among them."""
        with self._lock:
            return bytes(self._log)

    @property
    def sent_events(self) -> NDArray[np.void]:
        """What a reader that lost nothing makes of `sent`: the events with the times that the format can say."""
        with self._lock:
            data, format = bytes(self._log), self._format
        return _decoded(data, format) if data else empty_events()

    @property
    def late(self) -> float:
        """By how many seconds, at most, an event left later than it should have."""
        return self._late

    @property
    def starts(self) -> int:
        """How often it has begun to send events."""
        return self._starts

    def close(self) -> None:
        """Unplug. May be called again."""
        self._stop.set()
        self._thread.join()
        self._line.close()

    def __enter__(self) -> EmulatedCamera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        out = bytearray()  # of events, not yet written
        try:
            while not self._stop.is_set():
                if self._told_to_play.is_set():
                    self._told_to_play.clear()
                    out.clear()
                    self._begin(self.protocol)
                wait = _WAIT
                if not out and self._pieces:
                    wait = self._next_piece(out, time.monotonic())
                self._exchange(out, wait)
        except DeviceError as error:
            self._error = error
            self._played.set()

    def _exchange(self, out: bytearray, wait: float) -> None:
        """Write and read for a while; replies go first, as an eDVS speaks only between events."""
        saying = bool(self._said)
        line = self._said if saying else out
        written, received = self._line.exchange(bytes(line), wait)
        if not saying:
            with self._lock:
                self._log += out[:written]
        del line[:written]
        if self._edvs:
            self._listen(received, out)

    def _listen(self, received: bytes, out: bytearray) -> None:
        assert self._edvs
        self._said += self._edvs.feed(received)
        if self._edvs.starts != self._starts:
            out.clear()
            self._begin(f"edvs-e{self._edvs.mode}")
        elif not self._edvs.streaming and self._pieces:
            self._pieces = None
            out.clear()

    def _begin(self, format: str) -> None:
        with self._lock:
            self._log.clear()
            self._played.clear()
            self._format = format
            self._starts += 1
            self._late = 0.0
            self._waiting = None
            self._pieces = self._make_pieces(format, self._events)

    def _make_pieces(self, format: str, events: NDArray[np.void]) -> Iterator[tuple[float, bytes]]:
        """(when it is due, bytes), in order."""
        encode = encoder(format)
        t = events["t"]
        begin, at = time.monotonic(), 0
        while at < len(events):
            until = int(np.searchsorted(t, t[at] + np.uint64(_PIECE_US)))
            end = min(until, at + _PIECE_EVENTS)
            due = begin + float(t[end - 1] - t[0]) / (1e6 * self._speed)
            yield due, encode(events[at:end])
            at = end

    def _next_piece(self, out: bytearray, now: float) -> float:
        """Put the next piece into out when it is due. Returns how long to wait."""
        assert self._pieces
        if self._waiting is None:
            self._waiting = next(self._pieces, None)
        if self._waiting is None:
            self._pieces = None
            self._played.set()
            return _WAIT
        due, data = self._waiting
        if due > now:
            return min(due - now, _WAIT)
        if self._speed != float("inf"):
            self._late = max(self._late, now - due)
        out += data
        self._waiting = None
        return 0.0
