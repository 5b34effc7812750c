"""A bad line between a host and a device: frames dropped, damaged, doubled, delayed and swapped, and the line cut."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from dataclasses import dataclass, field, fields

from spedge.base.errors import UsageError
from spedge.link.clock import SYSTEM, Clock
from spedge.link.transport import Reconnecting, Transport

_CUT_FRAMES = (10, 60)  # least and most frames towards the device before the next cut
_NOISE_BYTES = 300
_CHANCES = ("drop", "flip", "dup", "delay", "swap", "noise")


@dataclass(frozen=True)
class Faults:
    """What goes wrong, the same in both directions.

    Chances per frame, 0 to 1: drop: it is lost. flip: a bit of it changes. dup: it comes twice. delay: it comes up to
    `late` seconds late, and others pass it. swap: its successor comes before it. noise: random bytes come before it.
    cut: how many times the connection is broken, some dozens of frames apart, each time for `away` seconds.
    The same seed and frames bring the same faults, but for the timing of late frames.
    """

    drop: float = 0.0
    flip: float = 0.0
    dup: float = 0.0
    delay: float = 0.0
    swap: float = 0.0
    noise: float = 0.0
    cut: int = 0
    late: float = 0.05
    away: float = 0.5
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Faults:
        """From `drop=0.01,flip=0.01,cut=2,seed=1`. Raises UsageError, naming what there is, for anything else."""
        values: dict[str, float | int] = {}
        for part in filter(None, text.split(",")):
            name, _, value = (piece.strip() for piece in part.partition("="))
            whole = name in ("cut", "seed")
            if name not in {f.name for f in fields(cls)}:
                raise UsageError(f"there is no fault {name!r} (known: {', '.join(f.name for f in fields(cls))})")
            try:
                number = int(value) if whole else float(value)
            except ValueError:
                number = math.nan
            if not 0 <= number <= (1 if name in _CHANCES else 1 << 32):
                what = "a whole number" if whole else "a chance between 0 and 1" if name in _CHANCES else "seconds"
                raise UsageError(f"fault {part!r}: give {name}={what}")
            values[name] = number
        return cls(**values)  # type: ignore[arg-type]


@dataclass
class _Direction:
    faults: Faults
    random: random.Random
    done: Counter[str]
    clock: Clock
    _rest: bytes = b""
    _held: bytes = b""  # waits to come after its successor
    _late: list[tuple[float, int, bytes]] = field(default_factory=list)  # when due, a number to sort by, frame
    frames: int = 0

    def feed(self, data: bytes | memoryview) -> bytes:
        """What comes out at the other end now."""
        *frames, self._rest = (self._rest + data).split(b"\0")
        return b"".join([*self._due(), *(self._mangle(frame + b"\0") for frame in frames)])

    def _due(self) -> list[bytes]:
        now, due = self.clock.monotonic(), []
        while self._late and self._late[0][0] <= now:
            due.append(heapq.heappop(self._late)[2])
        return due

    @property
    def waits(self) -> float:
        """Seconds until the next late frame is due; infinity when none is."""
        return max(self._late[0][0] - self.clock.monotonic(), 0.0) if self._late else math.inf

    def lose_all(self) -> None:
        """What is on its way goes with the line."""
        self._rest, self._held, self._late = b"", b"", []

    def _hits(self, name: str) -> bool:
        hit: bool = self.random.random() < getattr(self.faults, name)
        self.done[name] += hit
        return hit

    def _mangle(self, frame: bytes) -> bytes:
        self.frames += 1
        if self._hits("drop"):
            return b""
        if self._hits("flip"):
            at = self.random.randrange(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ 1 << self.random.randrange(8)]) + frame[at + 1 :]
        if self._hits("dup"):
            frame += frame
        if self._hits("noise"):
            frame = self.random.randbytes(self.random.randrange(_NOISE_BYTES)) + frame
        if self._hits("delay"):
            due = self.clock.monotonic() + self.random.uniform(0, self.faults.late)
            heapq.heappush(self._late, (due, self.frames, frame))
            return b""
        if self._held:
            frame, self._held = frame + self._held, b""
        elif self._hits("swap"):
            self._held, frame = frame, b""
        return frame


class FaultyTransport:
    """A transport whose frames suffer on the way. `done` counts what was done to them, by kind."""

    def __init__(self, inner: Transport, faults: Faults, clock: Clock = SYSTEM) -> None:
        self.inner = inner
        self.name = inner.name
        self.done: Counter[str] = Counter()
        self._faults = faults
        self._random = random.Random(faults.seed)
        self.clock = clock
        self._out, self._in = (
            _Direction(faults, random.Random(self._random.random()), self.done, clock) for _ in range(2)
        )
        self._waiting = b""
        self._cuts = faults.cut
        self._cut_at = self._next_cut()
        self._away_until = 0.0

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        self._waiting += self._out.feed(out)
        if self._cuts and self._out.frames >= self._cut_at and not self._is_away:
            self._cut()
        left = self._away_until - self.clock.monotonic()
        if left > 0:  # what is sent into a line that is not there is lost
            self._out.lose_all()
            self._waiting = b""
            self.clock.sleep(min(timeout, left))
            return len(out), b""
        wait = min(timeout, self._out.waits, self._in.waits)
        written, received = self.inner.exchange(self._waiting, wait)
        self._waiting = self._waiting[written:]
        return len(out), self._in.feed(received)

    @property
    def _is_away(self) -> bool:
        return isinstance(self.inner, Reconnecting) and self.inner.away

    def _next_cut(self) -> int:
        return self._out.frames + self._random.randint(*_CUT_FRAMES)

    def _cut(self) -> None:
        self._cuts -= 1
        self.done["cut"] += 1
        self._cut_at = self._next_cut()
        self._away_until = self.clock.monotonic() + self._faults.away
        self._in.lose_all()
        if isinstance(self.inner, Reconnecting):
            self.inner.hang_up(self._faults.away)

    def unsent(self) -> int:
        return len(self._waiting) + self.inner.unsent()

    def close(self) -> None:
        self.inner.close()


def with_faults(transport: Transport, faults: Faults | None) -> Transport:
    """The transport, behind a bad line if faults are given."""
    return FaultyTransport(transport, faults) if faults else transport
