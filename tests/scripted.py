"""A device that plays a part, and a clock that nobody has to wait for."""

from __future__ import annotations

from collections.abc import Callable


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
        if not received:
            self.clock.sleep(max(timeout, 0.0))
        return len(out), received

    def unsent(self) -> int:
        return 0

    def close(self) -> None:
        pass
