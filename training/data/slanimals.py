"""SL-Animals-DVS (Vasudevan et al. 2021): AEDAT 2.0 recordings of a signer, and a table of signs for each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spedge import recordings
from spedge.base.errors import InputError
from spedge.model.parts import Sensor

from .base import About, Description
from .published import Found, Slice, Source, read_sorted, root_with, table_of, whole_seconds

SIDE = 128
VERSION = 1
#: Users of the parts by where they were recorded (experiments.md, reference.md 7); all others are to learn from.
VALIDATION = {"indoor": (12, 13), "sunlight": (22,), "imse": (31, 32), "dc": (50, 51, 52, 53)}
TEST = {"indoor": (14, 15, 16, 17), "sunlight": (23, 24), "imse": (33, 34), "dc": (54, 55, 56, 57, 58, 59)}
# Its files number the signs and name none.
DESCRIPTION = Description(
    "slanimals",
    "SL-Animals-DVS (Vasudevan et al. 2021)",
    Sensor(SIDE, SIDE),
    tuple(f"sign {number}" for number in range(1, 20)),
    mirrored=(),
)
ABOUT = About(
    "http://www2.imse-cnm.csic.es/neuromorphs/index.php/SL-ANIMALS-DVS-Database",
    "1 GB packed",
    "for research, on request",
    "allusers_aedat/userNN_PLACE.aedat, tags_updated_19_08_2020/userNN_PLACE.csv",
)
_EVENTS, _TAGS = "allusers_aedat", "tags_updated_19_08_2020"


def find(folder: Path) -> Found:
    """The recordings that have a table of signs."""
    root = root_with(folder, _EVENTS, _TAGS)
    if root is None:
        if any(folder.rglob("*.zip")) or any(folder.rglob("*.rar")):
            return Found(
                folder, (), (f"{folder} holds packed archives: unpack them there, into {_EVENTS}/ and {_TAGS}/.",)
            )
        return Found(folder, (), (f"{folder} holds no SL-Animals-DVS ({_EVENTS}/ and {_TAGS}/): see {ABOUT.link}.",))
    problems = [
        f"{root / name} is missing: unpack its archive there."
        for name in (_EVENTS, _TAGS)
        if not (root / name).is_dir()
    ]
    sources: list[Source] = []
    for events in sorted((root / _EVENTS).glob("*.aedat")):
        tags = root / _TAGS / f"{events.stem}.csv"
        if tags.exists():
            sources.append(Source(events.stem, part_of(events.stem), (events, tags)))
        elif (root / _TAGS).is_dir():
            problems.append(f"{tags} is missing: unpack the archive of tags again.")
    return Found(root, tuple(sources), tuple(problems))


def glance(source: Source) -> None:
    """Raises InputError for what is damaged at first sight."""
    recordings.open(source.files[0], width=SIDE, height=SIDE)
    table_of(source.files[1], 3)


def slices(source: Source) -> Iterator[Slice]:
    """Signs of its table (class from 1, first event and the one after the last, of the sorted events), by seconds."""
    events = read_sorted(source.files[0], SIDE, SIDE)
    for label, first, end in table_of(source.files[1], 3).tolist():
        if not 1 <= label <= len(DESCRIPTION.labels) or not 0 <= first <= end:
            raise InputError(
                f"{source.files[1]} has a sign of class {label} from event {first} to {end}: copy it again."
            )
        if first >= len(events):
            raise InputError(
                f"{source.files[1]} has a sign from event {first} on, and {source.files[0].name} has {len(events)}: "
                "they do not belong together; copy both again."
            )
        sign = events[first:end]
        for piece in whole_seconds(sign, int(sign["t"][0]) if len(sign) else 0):
            yield Slice(piece, label - 1, f"{source.name} {label} {first}")


def part_of(stem: str) -> str:
    """The part of a recording, by its user and place."""
    match = re.match(r"user(\d+)_?(\w*)", stem)
    user, place = (int(match.group(1)), match.group(2)) if match else (0, "")
    for part, users in (("validation", VALIDATION), ("test", TEST)):
        for where, numbers in users.items():
            if user in numbers and where in place:
                return part
    return "train"
