"""Write what a source sends to a recording, as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spedge.base.errors import DeviceError, InputError
from spedge.base.files import whole
from spedge.recordings import create
from spedge.sources import Source


@dataclass(frozen=True)
class Captured:
    """What was written. lost: as the source counts it. problem: why it ended early, None if not."""

    path: Path
    events: int
    seconds: float
    first_t: int | None
    last_t: int | None
    lost: dict[str, int]
    problem: str | None

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


def capture(
    source: Source,
    path: Path,
    *,
    encoding: str | None = None,
    seconds: float | None = None,
    on_progress: Callable[[Captured], None] | None = None,
) -> Captured:
    """Write a source's events to `path` (by its ending: .raw, .hdf5, .npz, .csv) until it ends, is stopped, or for
    `seconds`.

    The file appears when it is complete; when the source breaks off, with what had come, and `problem` says why.
    Raises UsageError for an unknown ending and where no file can be written, InputError when nothing came at all.
    """
    begin = time.monotonic()
    events, first, last = 0, None, None
    problem: str | None = None

    def state() -> Captured:
        return Captured(path, events, time.monotonic() - begin, first, last, dict(source.lost), problem)

    with whole(path) as partial:
        with create(partial, source.width, source.height, encoding, name=path) as writer:
            try:
                for packet in source.packets():
                    if len(packet):
                        writer.write(packet)
                        events += len(packet)
                        first = int(packet["t"][0]) if first is None else first
                        last = int(packet["t"][-1])
                    if on_progress is not None:
                        on_progress(state())
                    if seconds is not None and time.monotonic() - begin >= seconds:
                        break
            except (DeviceError, InputError) as error:
                problem = str(error)
        if events == 0:
            raise source.nothing(problem)
    return state()
