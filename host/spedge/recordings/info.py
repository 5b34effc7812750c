"""What a recording holds: size, times, rates, and the first thing that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spedge.base.errors import InputError
from spedge.recordings import open as open_recording

PEAK_WINDOW_US = 10_000


@dataclass(frozen=True)
class RecordingInfo:
    """Counts are of the events before the `problem`, if there is one. Times in us of the sensor's clock, rates per s.

    `busiest`: the most events in a PEAK_WINDOW_US, of those that begin at its multiples. `longest_gap_us`: the longest
    time between two events.
    `layout`: how a file was taken that leaves open what its columns are. `size_from`: who says the sensor's size.
    `triggers`: external ones in the file that have a time. `left_out`: what the format's own rules
    leave out, by name (see Recording).
    """

    path: Path
    format: str
    layout: str
    width: int
    height: int
    size_from: str
    events: int
    on_events: int
    first_us: int | None
    last_us: int | None
    busiest: int
    longest_gap_us: int
    triggers: int
    left_out: dict[str, int]
    problem: str | None

    @property
    def duration_us(self) -> int:
        return 0 if self.first_us is None or self.last_us is None else self.last_us - self.first_us

    @property
    def mean_rate(self) -> float:
        return self.events / (self.duration_us / 1e6) if self.duration_us else 0.0

    @property
    def peak_rate(self) -> float:
        """Of the busiest PEAK_WINDOW_US, or of the whole recording when that is shorter."""
        return max(self.busiest / (PEAK_WINDOW_US / 1e6), self.mean_rate)


def recording_info(
    path: Path,
    width: int | None = None,
    height: int | None = None,
    on_progress: Callable[[int], None] | None = None,
    sort: bool = False,
    outside: str | None = None,
    **said: str | None,
) -> RecordingInfo:
    """Read a whole recording and count. on_progress gets the events read so far.

    sort, outside, said (columns, time_unit, stream): see recordings.open.

    Raises InputError when the file cannot be opened at all; damage further in becomes the result's `problem`.
    """
    recording = open_recording(path, width=width, height=height, sort=sort, outside=outside, **said)
    events = on = peak = busy = gap = 0
    first = last = None
    window = -1  # the one that `busy` counts
    problem, triggers = None, 0
    try:
        for chunk in recording:
            t = chunk["t"]
            first = int(t[0]) if first is None else first
            gap = max(gap, int(np.diff(t, prepend=t[0] if last is None else np.uint64(last)).max()))
            numbers, counts = np.unique(t // np.uint64(PEAK_WINDOW_US), return_counts=True)
            if numbers[0] == window:
                counts[0] += busy
            peak = max(peak, int(counts.max()))
            window, busy, last = int(numbers[-1]), int(counts[-1]), int(t[-1])
            events += len(chunk)
            on += int(np.count_nonzero(chunk["p"]))
            if on_progress is not None:
                on_progress(events)
        triggers = len(recording.triggers())
    except InputError as error:
        problem = str(error)
    if problem is None and events == 0:
        problem = str(recording.no_events())
    return RecordingInfo(
        path=recording.path,
        format=recording.format,
        layout=recording.layout,
        width=recording.width,
        height=recording.height,
        size_from=recording.size_from,
        events=events,
        on_events=on,
        first_us=first,
        last_us=last,
        busiest=peak,
        longest_gap_us=gap,
        triggers=triggers,
        left_out=dict(recording.left_out),
        problem=problem,
    )
