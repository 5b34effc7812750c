"""The sending half of the lossless event stream: go-back-N with credits. Pure logic, no input or output."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from spedge.link.counts import Status
from spedge.link.frames import Frame, Type

_SEQ = 1 << 16
_HALF = _SEQ >> 1


@dataclass
class RetryTimer:
    """Says when silence has lasted long enough to send again.

    It runs from the last frame sent or heard, or from when the device last took bytes where that is known, so it
    has to span the time between two answers and not a whole window. Its length is the mean of such times plus four
    deviations (RFC 6298), kept within `least` and `most` seconds, and doubles with every retry until something is
    heard again.
    """

    least: float
    most: float
    _mean: float | None = None
    _deviation: float = 0.0
    _start: float = 0.0
    retries: int = 0  #: since something was heard
    _measuring: bool = True

    @property
    def seconds(self) -> float:
        """How long silence may last now."""
        if self._mean is None:
            return self.most
        length = max(self._mean + 4 * self._deviation, self.least)
        return float(min(length * 2**self.retries, self.most))

    def start(self, now: float, measuring: bool = True) -> None:
        """Something was sent. measuring False: the answer waits for work, and its time says nothing of the link."""
        self._start = now
        self._measuring = measuring

    def moved(self, now: float) -> None:
        """The other end has taken some of what waited to be taken."""
        self._start = now

    def retried(self, now: float) -> None:
        self._start = now
        self.retries += 1

    def heard(self, now: float) -> None:
        if self._measuring and self.retries == 0:  # else it is not known what was answered (Karn)
            self._measure(now - self._start)
        self._start = now
        self.retries = 0

    def left(self, now: float) -> float:
        """Seconds until it is time to send again, not below 0."""
        return max(self._start + self.seconds - now, 0.0)

    def _measure(self, seconds: float) -> None:
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(seconds - self._mean) - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8


@dataclass
class EventSender:
    """Frames offered, not yet acknowledged, and which of them may go out now.

    Sequence numbers count frames since the session began, modulo 2^16. `attempt` travels in the frames' flags and
    comes back in the acknowledgements: a complaint about frames sent before the last rewind is thereby ignored.
    """

    session: int
    credits: int
    attempt: int = 0
    resent: int = 0  #: frames sent more than once
    _frames: deque[bytes | memoryview] = field(default_factory=deque)  # from _base on
    _base: int = 0  # oldest not acknowledged
    _next: int = 0  # next to go out
    _limit: int = 0  # frames before this one fit the device
    _fresh: int = 0  # frames before this one have been out at least once

    def __post_init__(self) -> None:
        self._limit = self.credits

    @property
    def pending(self) -> int:
        """Frames not acknowledged yet."""
        return len(self._frames)

    @property
    def in_flight(self) -> int:
        return self._next - self._base

    @property
    def blocked(self) -> bool:
        """Something waits to go out, nothing is on its way, and the device has no room."""
        return self.pending > 0 and self.in_flight == 0 and self._next >= self._limit

    def offer(self, payload: bytes | memoryview) -> None:
        self._frames.append(payload)

    def next_frame(self) -> Frame | None:
        """The next frame to send now, None when the window is used up."""
        if self._next >= min(self._limit, self._base + len(self._frames)):
            return None
        payload = bytes(self._frames[self._next - self._base])
        frame = Frame(Type.EVENTS, self._next % _SEQ, self.session, payload, self.attempt % 256)
        self.resent += self._next < self._fresh
        self._next += 1
        self._fresh = max(self._fresh, self._next)
        return frame

    def on_status(self, status: Status) -> bool:
        """Take in what any reply of this session says of the stream; returns whether it brought progress."""
        accepted = (status.next_seq - self._base) % _SEQ
        if accepted > self._fresh - self._base:
            return False  # older than what is known
        for _ in range(accepted):
            self._frames.popleft()
        self._base += accepted
        self._next = max(self._next, self._base)
        limit = max(self._limit, self._base + status.credits)
        progress = accepted > 0 or limit > self._limit
        self._limit = limit
        return progress

    def on_ack(self, seq: int, flags: int, status: Status) -> bool:
        """The reply to the EVENTS frame `seq`. A frame that the device did not take sends us back to the gap."""
        progress = self.on_status(status)
        refused = (seq - status.next_seq) % _SEQ < _HALF
        if refused and flags == self.attempt % 256 and self.in_flight > 0:
            self.rewind()
        return progress

    def rewind(self) -> None:
        """Send everything unacknowledged again."""
        self._next = self._base
        self.attempt += 1
