"""A bad line between a host and a device: frames dropped, damaged, doubled and swapped, by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from spedge.device.transport import Transport


@dataclass
class Faults:
    """Probabilities per frame, the same in both directions."""

    drop: float = 0.0
    flip: float = 0.0
    double: float = 0.0
    swap: float = 0.0
    noise: float = 0.0


@dataclass
class _Direction:
    faults: Faults
    random: random.Random
    done: int = 0  # frames that had something done to them
    _rest: bytes = b""
    _held: bytes = b""  # waits to come after its successor

    def feed(self, data: bytes) -> bytes:
        *frames, self._rest = (self._rest + data).split(b"\0")
        return b"".join(self._mangle(frame + b"\0") for frame in frames)

    def _mangle(self, frame: bytes) -> bytes:
        f, chance = self.faults, self.random.random
        if chance() < f.drop:
            self.done += 1
            return b""
        if chance() < f.flip:
            self.done += 1
            at = self.random.randrange(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ 1 << self.random.randrange(8)]) + frame[at + 1 :]
        if chance() < f.double:
            self.done += 1
            frame += frame
        if chance() < f.noise:
            self.done += 1
            frame = self.random.randbytes(self.random.randrange(300)) + frame
        if self._held:
            frame, self._held = frame + self._held, b""
        elif chance() < f.swap:
            self.done += 1
            self._held, frame = frame, b""
        return frame


@dataclass
class FaultyTransport:
    """A transport whose frames suffer on the way."""

    inner: Transport
    faults: Faults
    seed: int = 0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.inner.name
        self._out = _Direction(self.faults, random.Random(self.seed))
        self._in = _Direction(self.faults, random.Random(self.seed + 1))
        self._waiting = b""

    @property
    def done(self) -> int:
        return self._out.done + self._in.done

    def exchange(self, out: bytes, timeout: float) -> tuple[int, bytes]:
        self._waiting += self._out.feed(out)
        written, received = self.inner.exchange(self._waiting, timeout)
        self._waiting = self._waiting[written:]
        return len(out), self._in.feed(received)

    def unsent(self) -> int:
        return len(self._waiting) + self.inner.unsent()

    def close(self) -> None:
        self.inner.close()
