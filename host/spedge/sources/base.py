"""What every source of events offers."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

#: A source hands out at least so often, an empty packet if nothing came, so that whoever reads it can do other things.
PACKET_SECONDS = 0.02


class Source(ABC):
    """Packets of events (EVENT_DTYPE; t in µs of the source's clock, sorted; x, y inside the sensor), as they come.

    name: for people. width, height: of the sensor, pixels. live: it does not wait for who reads it slowly.
    lost: what the source knows to have lost before it came here, by cause; `events` where the number is known,
    `overflows` (how often) where only that is.
    """

    def __init__(self, name: str, width: int, height: int, live: bool) -> None:
        self.name = name
        self.width = width
        self.height = height
        self.live = live
        self.lost: dict[str, int] = {}
        self._stopped = threading.Event()

    def check(self) -> int | None:
        """The number of events where that is known beforehand. Raises InputError for a damaged recording."""
        return None

    @abstractmethod
    def packets(self) -> Iterator[NDArray[np.void]]:
        """Packets, possibly empty ones, until the source ends or is stopped.

        Raises DeviceError for a camera that is gone, InputError for a damaged recording.
        """

    def stop(self) -> None:
        """Make `packets` end soon. May be called from any thread or a signal handler."""
        self._stopped.set()

    @abstractmethod
    def close(self) -> None:
        """Let go of the camera or the file. May be called again."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.close()

    def _count_lost(self, cause: str, count: int) -> None:
        if count:
            self.lost[cause] = self.lost.get(cause, 0) + count
