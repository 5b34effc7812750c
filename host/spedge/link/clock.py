"""The clock that the link goes by, to be replaced in tests: nothing there has to wait."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds, from any beginning. The module `time` is one."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


SYSTEM: Clock = time
