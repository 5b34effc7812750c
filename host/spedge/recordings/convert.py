"""Recordings from one format to another, and parts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.base.files import whole
from spedge.recordings import Recording, create
from spedge.recordings import open as open_recording
from spedge.recordings.base import UntilCut


@dataclass(frozen=True)
class Conversion:
    """What was written. Times in µs, as in the target.

    events_read: those of the source, up to the end of the wanted part. triggers: external ones in the target.
    left_out: see Recording; triggers: those of the source that are not in the target.
    """

    source: Path
    target: Path
    source_format: str
    source_layout: str
    width: int
    height: int
    events_read: int
    events: int
    first_us: int | None
    last_us: int | None
    triggers: int
    left_out: dict[str, int]


def convert(
    source: Path,
    target: Path,
    *,
    width: int | None = None,
    height: int | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
    shift_us: int | None = None,
    from_zero: bool = False,
    sort: bool = False,
    outside: str | None = None,
    encoding: str | None = None,
    on_progress: Callable[[int], None] | None = None,
    **said: str | None,
) -> Conversion:
    """Write a recording, or a part of it, in the format that the target's ending names (see recordings.create).

    width, height: the sensor, pixels, for a source that does not say it.
    start_us, end_us: keep the events from start_us on and before end_us, both counted from the source's first event.
    shift_us: added to all times, after the choice of the part. from_zero: shift so that the first event kept is at 0.
    sort, outside, said (columns, time_unit, stream): see recordings.open. encoding: of a .raw target, evt2 or evt3.
    on_progress gets the events read so far.
    Memory does not grow with the recording, unless sort is set. The target appears whole or not at all.
    Raises InputError for a damaged source or events that the target's format cannot hold, UsageError for options that
    do not fit each other and where no file can be written. Raises CutError for a source that is cut off, when the
    events before the cut are written; a target that was there before is not replaced by these.
    """
    for name, limit in (("start", start_us), ("end", end_us)):
        if limit is not None and limit < 0:
            raise UsageError(f"the {name}, {limit} µs, is counted from the first event; it must be at least 0")
    if start_us is not None and end_us is not None and end_us <= start_us:
        raise UsageError(f"the end, {end_us} µs, must be after the start, {start_us} µs")
    if shift_us is not None and from_zero:
        raise UsageError("give a shift or a start from zero, not both")
    recording = open_recording(source, width=width, height=height, sort=sort, outside=outside, **said)
    if target.exists() and target.samefile(recording.path):
        raise UsageError(f"{target} is the source: give another name to write to")
    chunks = UntilCut(recording)
    part = _Part(recording, chunks, start_us, end_us, shift_us, from_zero, on_progress)
    size = (recording.width, recording.height)
    triggers: NDArray[np.void] | None = None
    with whole(target) as partial, create(partial, *size, encoding, name=target) as writer:
        for chunk in part.chunks():
            if triggers is None:
                triggers = part.triggers()
                triggers = triggers if writer.keeps_triggers else triggers[:0]
                writer.add_triggers(triggers)
            writer.write(chunk)
        chunks.finish(target, part.kept)
    kept = 0 if triggers is None else len(triggers)
    chunks.end(target, f"the {part.kept:,} events")
    return Conversion(
        source=source,
        target=target,
        source_format=recording.format,
        source_layout=recording.layout,
        width=recording.width,
        height=recording.height,
        events_read=part.read,
        events=part.kept,
        first_us=part.first,
        last_us=part.last,
        triggers=kept,
        left_out=_left_out(recording, part.found - kept),
    )


def _left_out(recording: Recording, triggers: int) -> dict[str, int]:
    """Of triggers those that are not in the target, either."""
    others = {name: count for name, count in recording.left_out.items() if name != "triggers"}
    return others | ({"triggers": triggers} if triggers else {})


@dataclass
class _Part:
    """The wanted events of a recording, shifted."""

    recording: Recording
    source: UntilCut
    start: int | None
    end: int | None
    shift: int | None
    from_zero: bool
    on_progress: Callable[[int], None] | None
    read: int = 0
    kept: int = 0
    first: int | None = None
    last: int | None = None
    origin: int | None = None  # the time of the source's first event
    found: int = 0  # triggers

    def triggers(self) -> NDArray[np.void]:
        """Those of the source in the part, by time, shifted, without those before 0; once it has begun."""
        found = self.recording.triggers()
        self.found = len(found)
        t, origin = found["t"], self.origin or 0
        keep = np.ones(len(t), np.bool_)
        if self.start is not None:
            keep &= t >= np.uint64(origin + self.start)
        if self.end is not None:
            keep &= t < np.uint64(origin + self.end)
        if self.shift:
            keep &= t >= np.uint64(max(-self.shift, 0))
        found = found[keep]
        found["t"] += np.uint64((self.shift or 0) % (1 << 64))
        return found[np.argsort(found["t"], kind="stable")]

    def chunks(self) -> Iterator[NDArray[np.void]]:
        for chunk in self.source:
            origin = self.origin = int(chunk["t"][0]) if self.origin is None else self.origin
            low = 0 if self.start is None else _position(chunk, origin + self.start)
            high = len(chunk) if self.end is None else _position(chunk, origin + self.end)
            self.read += high
            if low < high:
                yield self._shifted(chunk[low:high])
            if self.on_progress is not None:
                self.on_progress(self.read)
            if high < len(chunk):
                return

    def _shifted(self, chunk: NDArray[np.void]) -> NDArray[np.void]:
        if self.from_zero and self.shift is None:
            self.shift = -int(chunk["t"][0])
        if self.shift:
            chunk = chunk.copy()
            if int(chunk["t"][0]) + self.shift < 0 or int(chunk["t"][-1]) + self.shift >= 1 << 64:
                at = int(chunk["t"][0])
                raise InputError(
                    f"{self.recording.path}: a shift of {self.shift} µs takes the event at t={at} µs out of range"
                )
            chunk["t"] += np.uint64(self.shift % (1 << 64))
        self.kept += len(chunk)
        self.first = int(chunk["t"][0]) if self.first is None else self.first
        self.last = int(chunk["t"][-1])
        return chunk


def _position(chunk: NDArray[np.void], t: int) -> int:
    """How many events are before t."""
    return int(np.searchsorted(chunk["t"], np.uint64(min(max(t, 0), (1 << 64) - 1)), side="left"))
