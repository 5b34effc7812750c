"""What every source of events offers."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.decoders import Decoder
from spedge.recordings.triggers import no_triggers

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

#: A source hands out at least so often, an empty packet if nothing came, so that whoever reads it can do other things.
PACKET_SECONDS = 0.02


class Source(ABC):
    """Packets of events (EVENT_DTYPE; t in µs of the source's clock, sorted; x, y inside the sensor), as they come.

    name: for people. width, height: of the sensor, pixels. live: it does not wait for who reads it slowly.
    lost: what the source knows to have lost before it came here, by cause; `events` where the number is known,
    `overflows` (how often) where only that is. keeps_triggers: whether external triggers are kept until they are taken;
    who takes them says so before it asks for packets, as else they would pile up.
    """

    def __init__(self, name: str, width: int, height: int, live: bool) -> None:
        self.name = name
        self.width = width
        self.height = height
        self.live = live
        self.lost: dict[str, int] = {}
        self.keeps_triggers = False
        self._triggers: list[NDArray[np.void]] = []
        self._stopped = threading.Event()
        self._newest = 0  # time, µs
        self._outside = 0

    def check(self) -> int | None:
        """The number of events where that is known beforehand. Raises InputError for a damaged recording."""
        return None

    @abstractmethod
    def packets(self) -> Iterator[NDArray[np.void]]:
        """Packets, possibly empty ones, until the source ends or is stopped.

        Raises DeviceError for a camera that is gone, InputError for a damaged recording.
        """

    def take_triggers(self) -> NDArray[np.void]:
        """External triggers (TRIGGER_DTYPE) that came since they were taken last; none unless `keeps_triggers`."""
        taken, self._triggers = self._triggers, []
        return np.concatenate(taken) if taken else no_triggers()

    def nothing(self, problem: str | None) -> InputError:
        """What is said when it has sent no events. problem: what ended it, if it was not its end."""
        return InputError(f"{self.name} sent no events: {problem or 'is it looking at something that moves?'}")

    def stop(self) -> None:
        """Make `packets` end soon. May be called from any thread or a signal handler."""
        self._stopped.set()

    @abstractmethod
    def close(self) -> None:
        """Let go of the camera or the file. May be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.close()

    def _checked(self, decoder: Decoder, events: NDArray[np.void]) -> NDArray[np.void]:
        """What a decoder of a camera's words gave, without events outside the sensor or older than one before them, as
        after lost bytes. What is left out here and in the decoder is counted."""
        events = self._kept(events)
        stats = decoder.stats
        for cause, count in (
            ("unknown", stats.unknown),
            ("untimed", stats.untimed),
            ("outside", stats.outside + stats.clipped + self._outside),
            ("skipped bytes", stats.skipped),
        ):
            if count:
                self.lost[cause] = count
        return events

    def _kept(self, events: NDArray[np.void]) -> NDArray[np.void]:
        """Those inside the sensor that are not older than one before them; the others are counted."""
        inside = (events["x"] < self.width) & (events["y"] < self.height)
        outside = len(events) - int(np.count_nonzero(inside))
        if outside:
            self._outside += outside
            self.lost["outside"] = self._outside
        events = events[inside]
        newest = np.maximum.accumulate(np.append(np.uint64(self._newest), events["t"]))
        self._newest = int(newest[-1])
        in_order = events["t"] >= newest[:-1]
        self._count_lost("backwards", len(events) - int(np.count_nonzero(in_order)))
        return events[in_order]

    def _count_lost(self, cause: str, count: int) -> None:
        if count:
            self.lost[cause] = self.lost.get(cause, 0) + count
