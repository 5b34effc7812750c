"""DvsGesture (Amir et al. 2017): AEDAT 3.1 recordings of a user under one light, and a table of gestures for each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spedge import recordings
from spedge.base.errors import InputError
from spedge.model.parts import Sensor

from .base import About, Description
from .published import Found, Slice, Source, read_sorted, root_with, table_of, whole_seconds

SIDE = 128
VERSION = 1
VALIDATION_USERS = (21, 22, 23)
DESCRIPTION = Description(
    "dvsgesture",
    "DvsGesture (Amir et al. 2017)",
    Sensor(SIDE, SIDE),
    (
        "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
        "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
    ),
    mirrored=((1, 2), (3, 6), (4, 5)),
)  # fmt: skip
ABOUT = About(
    "https://research.ibm.com/interactive/dvsgesture/",
    "3 GB packed, 5 GB unpacked",
    "CC BY 4.0",
    "userNN_LIGHT.aedat, userNN_LIGHT_labels.csv, trials_to_train.txt, trials_to_test.txt",
)
_LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}


def find(folder: Path) -> Found:
    """The recordings that the two lists name. Users 21 to 23 of the first are the validation part."""
    root = root_with(folder, *_LISTS.values(), "user*_labels.csv")
    if root is None:
        if any(folder.rglob("*.tar.gz")):
            return Found(
                folder, (), (f"{folder} holds the packed archive: unpack it there (tar xzf DvsGesture.tar.gz).",)
            )
        return Found(
            folder, (), (f"{folder} holds no DvsGesture ({_LISTS['train']} and user*_labels.csv): see {ABOUT.link}.",)
        )
    sources: list[Source] = []
    problems: list[str] = []
    for part, list_name in _LISTS.items():
        if not (root / list_name).exists():
            problems.append(f"{root / list_name} is missing: unpack the archive again.")
            continue
        for line in (root / list_name).read_text().split():
            events = root / line.strip()
            labels = events.with_name(f"{events.stem}_labels.csv")
            missing = [path.name for path in (events, labels) if not path.exists()]
            if missing:
                problems.append(
                    f"{root} lacks {' and '.join(missing)}, which {list_name} names: unpack the archive again."
                )
                continue
            user = _user_of(events)
            sources.append(
                Source(
                    events.stem,
                    "validation" if part == "train" and user in VALIDATION_USERS else part,
                    (events, labels),
                )
            )
    return Found(root, tuple(sources), tuple(problems))


def glance(source: Source) -> None:
    """Raises InputError for what is damaged at first sight."""
    recordings.open(source.files[0], width=SIDE, height=SIDE)
    table_of(source.files[1], 3)


def slices(source: Source) -> Iterator[Slice]:
    """Gestures of its table (class from 1, start and end in µs, both inclusive), a second at a time."""
    events = read_sorted(source.files[0], SIDE, SIDE)
    times = events["t"].astype(np.int64)
    for label, start, end in table_of(source.files[1], 3).tolist():
        if not 1 <= label <= len(DESCRIPTION.labels) or start > end:
            raise InputError(
                f"{source.files[1]} has a gesture of class {label} from {start} to {end} µs: copy it again."
            )
        if not len(times) or start > times[-1] or end < times[0]:
            raise InputError(
                f"{source.files[1]} has a gesture from {start} to {end} µs, where {source.files[0].name} has no "
                "events: they do not belong together; copy both again."
            )
        first, last = times.searchsorted([start, end + 1])
        for piece in whole_seconds(events[first:last], start):
            yield Slice(piece, label - 1, f"{source.name} {label} {start}")


def _user_of(path: Path) -> int:
    match = re.match(r"user(\d+)", path.stem)
    return int(match.group(1)) if match else 0
