"""Detection sets (GEN1, 1Mpx, eTraM): recordings with a file of boxes beside each, found and cut into chunks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge import recordings
from spedge.base.errors import InputError

from .base import About, Description
from .boxes import BoxRules, clean_boxes, read_boxes, without_duplicates
from .published import Found, Source, read_sorted

#: Folders of the parts, as published, and what they are called here.
FOLDERS = {"train": "train", "val": "validation", "test": "test"}
_PACKED = (".7z", ".zip", ".rar", ".tar", ".gz", ".tgz", ".001")


@dataclass(frozen=True)
class Chunked:
    """A recording on a grid of chunks of `chunk_us` from t = 0: chunk k has k * chunk_us <= t < (k + 1) * chunk_us.

    events: EVENT_DTYPE, sorted, times of the recording's clock. places: int64 [n], k of each chunk that holds events,
    ascending. offsets: int64 [n + 1]: that chunk's events. boxes: BOX_DTYPE, cleaned, sorted by time.
    """

    chunk_us: int
    events: NDArray[Any]
    places: NDArray[np.int64]
    offsets: NDArray[np.int64]
    boxes: NDArray[Any]


@dataclass(frozen=True)
class DrivingSet:
    """A detection set on disk. ending: of its recordings, `*_td` with it. by_name: folders' and files' names begin with
    the part, as in train_day_0001_td.h5; else they lie in folders of just that name."""

    about: Description
    published: About
    rules: BoxRules
    ending: str
    by_name: bool = False

    def find(self, folder: Path) -> Found:
        """The recordings that have a file of boxes, at any depth, by parts."""
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}: give the one where the data set was unpacked.")
        sources: list[Source] = []
        problems: list[str] = []
        astray: set[Path] = set()
        for events in sorted(folder.rglob(f"*_td{self.ending}")):
            part = _part_of(events, folder, self.by_name)
            stem = events.name.removesuffix(f"_td{self.ending}")
            boxes = events.with_name(f"{stem}_bbox.npy")
            if part is None:
                astray.add(events.parent)
            elif not boxes.exists():
                problems.append(f"{events} has no {boxes.name} beside it: unpack the archive of its boxes there.")
            else:
                name = (events.parent / stem).relative_to(folder).as_posix()
                sources.append(Source(name, part, (events, boxes)))
        problems += _lonely(folder, self.ending)
        problems += [
            f"{place} is no part of {self.about.title}: rename it to one of {', '.join(FOLDERS)}."
            for place in sorted(astray)
        ]
        missing = _missing(folder, self.published, self.about.title, sources, bool(astray))
        return Found(folder, tuple(sources), (*missing, *problems))

    def glance(self, source: Source) -> None:
        """Raises InputError when a recording's beginning or its boxes cannot be read."""
        recordings.open(source.files[0], width=self.about.sensor.width, height=self.about.sensor.height)
        self._boxes(source)

    def chunks(self, source: Source, chunk_us: int, drop_duplicates: bool = False) -> Chunked:
        """A recording's events and boxes. Each event is in the chunk of its own time, wherever it stands in the file.

        Labels belong to the chunk that contains their time, with events or without: the authors look for a chunk that
        ends at it, and lose all labels behind one that has none (experiments.md, fault 3). drop_duplicates: of boxes
        that stand in the file several times, as some of GEN1's do, only the first one counts.
        Raises InputError for what cannot be read, and for boxes that are all later than the recording.
        """
        sensor = self.about.sensor
        events = read_sorted(source.files[0], sensor.width, sensor.height)
        boxes = self._boxes(source)
        boxes = without_duplicates(boxes) if drop_duplicates else boxes
        end = int(events["t"][-1]) if len(events) else -1
        if len(boxes) and int(boxes["t"][0]) // chunk_us > end // chunk_us + 1:
            raise InputError(
                f"{source.files[1]} has its first box at {boxes['t'][0]} µs and the recording ends at {max(end, 0)} "
                "µs: they do not belong together; copy both again."
            )
        places, firsts = np.unique((events["t"] // np.uint64(chunk_us)).astype(np.int64), return_index=True)
        offsets = np.append(firsts, len(events)).astype(np.int64)
        cleaned = clean_boxes(boxes, sensor, self.rules, source.part == "train")
        return Chunked(chunk_us, events, places, offsets, cleaned)

    def _boxes(self, source: Source) -> NDArray[Any]:
        return read_boxes(source.files[1], len(self.about.labels), self.rules)


def _missing(folder: Path, about: About, title: str, sources: list[Source], astray: bool) -> list[str]:
    """What is said of parts without recordings."""
    missing = [name for name, part in FOLDERS.items() if not any(source.part == part for source in sources)]
    packed = sorted(p.name for p in folder.rglob("*") if p.suffix.lower() in _PACKED)
    if not missing or (astray and not packed):
        return []
    if packed:
        return [f"{folder} lacks {' and '.join(missing)} and holds packed archives ({packed[0]}): unpack them there."]
    if len(missing) == len(FOLDERS):
        return [f"{folder} holds no {title} ({about.layout}): {'see ' * about.link.startswith('http')}{about.link}."]
    if folder.name in FOLDERS:
        return [f"{folder} is only one part of {title}: give the folder above it."]
    return [f"{folder} lacks recordings of {' and '.join(missing)}: unpack their archives there."]


def _part_of(path: Path, folder: Path, by_name: bool) -> str | None:
    above = [parent.name for parent in path.parents if parent == folder or folder in parent.parents]
    for name in above:
        if name in FOLDERS:
            return FOLDERS[name]
    if by_name:
        for name in (path.name, *above):
            for start, part in FOLDERS.items():
                if name.startswith(f"{start}_"):
                    return part
    return None


def _lonely(folder: Path, ending: str) -> list[str]:
    """What is said of boxes without a recording."""
    return [
        f"{boxes} has no recording beside it: unpack the archive of the recordings there."
        for boxes in sorted(folder.rglob("*_bbox.npy"))
        if not boxes.with_name(boxes.name.removesuffix("_bbox.npy") + f"_td{ending}").exists()
    ]
