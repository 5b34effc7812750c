"""The events of recordings that a bundle is checked with: all of them, and those that its model sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.events.part import Part
from spedge.jobs.play import load_events, require_part
from spedge.model.bundle import Bundle
from spedge.recordings import PLAIN, Reading

KEPT_EVENTS = 1 << 26  #: of recordings that were read before the device was there, 1 GiB


@dataclass(frozen=True)
class Given:
    """Recordings for a bundle. reading: how they are opened. read: the events of those that were read before.

    part: of their sensor that the bundle's is. None: they are of the bundle's sensor.
    """

    bundle: Bundle
    reading: Reading = PLAIN
    part: Part | None = None
    read: Mapping[Path, NDArray[np.void]] = field(default_factory=dict)

    def events(self, path: Path) -> NDArray[np.void]:
        """All of a recording (EVENT_DTYPE), read now if it was not before. Raises what `load_events` raises."""
        events = self.read.get(path)
        return load_events(path, self.bundle, self.reading, self.part is not None) if events is None else events

    def seen(self, path: Path, events: NDArray[np.void]) -> NDArray[np.void]:
        """Those of a recording's events that the model sees. Raises InputError where that is none."""
        if self.part is None:
            return events
        seen = self.part.of(events, self.bundle.sensor.width, self.bundle.sensor.height)
        if len(seen) == 0:
            raise InputError(f"{path}: none of its {len(events)} events is in the part that the model sees")
        return seen


def require_recordings(
    bundle: Bundle, recordings: Sequence[Path], reading: Reading = PLAIN, any_size: bool = False
) -> dict[Path, NDArray[np.void]]:
    """Read all recordings, so that a bad one is found before a device is built and started.

    Returns the events of those that came first and are KEPT_EVENTS together; the others have to be read again.
    Raises UsageError for one of another sensor size, InputError for a damaged or empty one.
    """
    kept: dict[Path, NDArray[np.void]] = {}
    room = KEPT_EVENTS
    for path in recordings:
        events = load_events(path, bundle, reading, any_size)
        room -= len(events)
        if room >= 0:
            kept[path] = events
    return kept


def part_of_recordings(
    bundle: Bundle, recordings: Sequence[Path], reading: Reading, corner: tuple[int, int] | None, bin: int | None
) -> Part:
    """What the model sees of recordings of one size. corner, bin: as given. Raises UsageError where it is not there."""
    sizes = {(recording.width, recording.height): path for path in recordings for recording in [reading.open(path)]}
    if len(sizes) > 1:
        raise UsageError(f"the recordings are of several sensors, {sorted(sizes)}: check those of one at a time")
    ((source, path),) = sizes.items()
    return require_part(bundle, str(path), source, corner, bin)
