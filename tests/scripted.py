"""Devices that play a part or are stopped, and clocks that nobody has to wait for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from spedge.link.transport import Transport


class Simulated:
    """Time that passes only when somebody sleeps or waits on a line that goes by it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


class Scripted:
    """A line to a device that plays a part: `answer` makes of what was sent what comes, now. Waiting takes no time but
    the clock's."""

    name = "/dev/ttyTEST0"

    def __init__(self, clock: Simulated, answer: Callable[[bytes], bytes]) -> None:
        self.clock = clock
        self.answer = answer

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        received = self.answer(bytes(out))
        self.clock.sleep(0.001 if received else max(timeout, 0.0))
        return len(out), received

    def unsent(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Skipped:
    """Real time, and besides what nobody has to wait for."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def sleep(self, seconds: float, /) -> None:
        self.skipped += seconds


class Stoppable:
    """A line to a real device that can be stopped, as by SIGSTOP: what it is sent then waits, as far as there is room,
    and waiting for it takes no time but the clock's."""

    def __init__(self, inner: Transport, clock: Skipped, room: int = 4096) -> None:
        self.inner = inner
        self.name = inner.name
        self.clock = clock
        self.room = room
        self._waiting = b""
        self._until = 0.0
        self._lapse = 0.0

    def stop(self, seconds: float = math.inf, host: float = 0.0) -> None:
        """The device, for that long; the host, too, for `host` seconds, of which it knows nothing."""
        self._until, self._lapse = self.clock.monotonic() + seconds, host

    def go_on(self) -> None:
        self._until = 0.0

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        self.clock.sleep(self._lapse)
        self._lapse = 0.0
        if self.clock.monotonic() < self._until:
            taken = bytes(out[: self.room - len(self._waiting)])
            self._waiting += taken
            if not taken:
                self.clock.sleep(max(min(timeout, self._until - self.clock.monotonic()), 0.0))
            return len(taken), b""
        if self._waiting:
            written, received = self.inner.exchange(self._waiting, timeout)
            self._waiting = self._waiting[written:]
            return 0, received
        return self.inner.exchange(out, timeout)

    def unsent(self) -> int:
        return len(self._waiting) + self.inner.unsent()

    def close(self) -> None:
        self.inner.close()
