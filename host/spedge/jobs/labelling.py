"""The last seconds of a source as labelled samples: a folder for each class, which training takes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, InputError, UsageError
from spedge.events.arrays import concatenate, copied
from spedge.recordings import write
from spedge.sources import Source

#: Of the labels, in their order; none of the keys that the page has for other things.
KEYS = "1234567890qwertyuioasfghjklzxcvbnm"
_PARTS = ("train", "validation", "test")  # folders of these names are parts of a data set, and no classes


@dataclass(frozen=True)
class Kept:
    """A sample that was written. number: of its class, from 1. seconds: from its first event to its last."""

    path: Path
    label: str
    number: int
    events: int
    seconds: float


class Labeller:
    """Holds the newest `seconds` of a source's events, and keeps them in `folder` when it is told what they show.

    labels: names of classes and of their folders. Several threads may use it. Raises UsageError for labels that no
    folders can have, or that are too many, and for times that are none.
    """

    def __init__(self, folder: Path, labels: Sequence[str], width: int, height: int, seconds: float = 1.0) -> None:
        if not labels or len(labels) > len(KEYS) or len(set(labels)) != len(labels):
            raise UsageError(f"labels are 1 to {len(KEYS)} different names, and not {','.join(labels)!r}")
        for label in labels:
            if label != label.strip() or not label or label[0] == "." or set(label) & set("/\\\0") or label in _PARTS:
                raise UsageError(f"a label is the name of a folder, and {label!r} is none for a class")
        if not 0 < seconds <= 3600:
            raise UsageError(f"{seconds:g} s cannot be kept: give more than 0 and at most 3600")
        self.folder, self.labels = folder, tuple(labels)
        self._size, self._most_us = (width, height), round(seconds * 1e6)
        self._lock = threading.Lock()
        self._held: deque[NDArray[np.void]] = deque()
        self.kept: list[Kept] = []

    def take(self, events: NDArray[np.void]) -> None:
        """The next events (EVENT_DTYPE, sorted); what is older than can be kept goes."""
        if not len(events):
            return
        with self._lock:
            if self._held and events["t"][0] < self._held[-1]["t"][-1]:  # it begins anew
                self._held.clear()
            self._held.append(copied(events))
            since = int(events["t"][-1]) - self._most_us
            while int(self._held[0]["t"][-1]) <= since:
                self._held.popleft()

    def number_of(self, told: str) -> int | None:
        """The label of that name, or key; None where there is none."""
        if told in self.labels:
            return self.labels.index(told)
        at = KEYS.find(told.lower()) if len(told) == 1 else -1
        return at if 0 <= at < len(self.labels) else None

    def keep(self, number: int) -> Kept:
        """Write what is held as a sample of that label. Raises UsageError where there is no such label, nothing has
        come, or no file can be written."""
        if not 0 <= number < len(self.labels):
            raise UsageError(f"there is no label {number}")
        label = self.labels[number]
        with self._lock:
            parts = list(self._held)
            if not parts:
                raise UsageError(f"nothing has come yet to be kept as {label}")
            events = concatenate(parts)
            events = events[events["t"].astype(np.int64) > int(events["t"][-1]) - self._most_us]
            (self.folder / label).mkdir(parents=True, exist_ok=True)
            path, count = self._next(self.folder / label)
            write(path, events, *self._size)
            seconds = int(events["t"][-1] - events["t"][0]) / 1e6
            self.kept.append(Kept(path, label, count, len(events), seconds))
            return self.kept[-1]

    @staticmethod
    def _next(folder: Path) -> tuple[Path, int]:
        taken = [int(file.stem) for file in folder.glob("*.raw") if file.stem.isdigit()]
        number = max(taken, default=0) + 1
        return folder / f"{number:04d}.raw", number


@dataclass(frozen=True)
class Labelled:
    """What became of a source. kept: samples, in their order. problem: why it ended early, None if not."""

    events: int
    kept: tuple[Kept, ...]
    problem: str | None


def label_source(
    source: Source,
    labeller: Labeller,
    *,
    watch: Callable[[NDArray[np.void]], None] | None = None,
    told: Callable[[], Sequence[int]] = lambda: (),
    at_end: int | None = None,
    on_progress: Callable[[int], bool] | None = None,
) -> Labelled:
    """Give a source's events to a labeller until it ends or is stopped.

    watch: gets them, too. told: labels that somebody has said since it was asked. at_end: the label of what is held at
    the end. on_progress: is told how many events have come; True ends it. Raises UsageError as `Labeller.keep`.
    """
    events, problem = 0, None
    try:
        for packet in source.packets():
            labeller.take(packet)
            events += len(packet)
            if watch is not None:
                watch(packet)
            for number in told():
                labeller.keep(number)
            if on_progress is not None and on_progress(events):
                break
    except (DeviceError, InputError) as error:
        problem = str(error)
    if at_end is not None:
        labeller.keep(at_end)
    return Labelled(events, tuple(labeller.kept), problem)
