"""Write what a source sends to a recording, as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spedge.base.errors import DeviceError, InputError, SpedgeError, UsageError
from spedge.base.files import part_of, require_place, whole
from spedge.events.evt2 import MAX_SIDE
from spedge.recordings import create, grows
from spedge.recordings.convert import convert
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

    The file appears when it is complete; when the source breaks off, with what had come, and `problem` says why. Until
    then the events are in a file beside it that can be read while it grows, NAME.raw.part; of formats that cannot, in
    NAME.hdf5.raw.part, which is converted in the end. There it stays when we are killed.
    Raises UsageError for an unknown ending, where no file can be written and where one stayed of a recording that was
    killed; InputError when nothing came at all.
    """
    begin = time.monotonic()
    events, first, last = 0, None, None
    problem: str | None = None

    def state() -> Captured:
        return Captured(path, events, time.monotonic() - begin, first, last, dict(source.lost), problem)

    growing = path if grows(path, encoding) else _beside(path, source)
    require_place(path)
    if part_of(growing).exists():
        raise UsageError(
            f"{part_of(growing)} is of a recording that was killed, or goes on: give it another name to keep it, or "
            "delete it"
        )
    source.keeps_triggers = True
    with whole(growing) as partial:
        with create(partial, source.width, source.height, encoding, name=growing) as writer:
            try:
                for packet in source.packets():
                    triggers = source.take_triggers()
                    if len(triggers):
                        writer.add_triggers(triggers)
                    if len(packet):
                        writer.write(packet)
                        writer.flush()
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
    if growing != path:
        try:
            convert(growing, path)
        except SpedgeError as error:
            raise type(error)(f"{error}; the events are in {growing}") from None
        growing.unlink()
    return state()


def _beside(path: Path, source: Source) -> Path:
    """What is written while events come, where `path` can only be written whole: EVT2, or text for a large sensor."""
    return path.with_name(path.name + (".raw" if max(source.width, source.height) <= MAX_SIDE else ".csv"))
