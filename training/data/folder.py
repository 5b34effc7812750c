"""`folder`: any recordings that `spedge.open` reads, a folder for each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from spedge import recordings
from spedge.base.errors import InputError
from spedge.model.parts import Sensor

from .base import About, Description
from .published import PARTS, Found, Slice, Source, read_sorted

VERSION = 1
ABOUT = About(
    "your own",
    "any",
    "yours",
    "CLASS/RECORDING, or PART/CLASS/RECORDING with the parts train, validation and test; or CLASS/RECORDING with lists "
    "of files train.txt, validation.txt and test.txt beside the classes",
)


def find(folder: Path) -> Found:
    """Recordings by class, in parts by folders or by lists; all are to learn from without either."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the one that holds a folder for each class.")
    problems: list[str] = []
    folders = sorted(child for child in folder.iterdir() if child.is_dir())
    if any(child.name in PARTS for child in folders):
        found = [source for part in PARTS for source in _classes(folder / part, folder, lambda _, part=part: part)]
        problems += [
            f"{child} is no part: rename it to one of {', '.join(PARTS)}."
            for child in folders
            if child.name not in PARTS
        ]
    else:
        problems += [
            f"{child} holds folders and no recordings: those of a class lie right in its folder, and parts are called "
            f"{', '.join(PARTS)}."
            for child in folders
            if not any(_recordings(child)) and any(inner.is_dir() for inner in child.iterdir())
        ]
        lists = _lists(folder, problems)
        found = list(_classes(folder, folder, lambda name: lists.get(name, "train" if not lists else "")))
        problems += [
            f"{folder} lacks {name}, which the list of its {part} names."
            for name, part in lists.items()
            if not (folder / name).exists()
        ]
        found = [source for source in found if source.part]
    if not found:
        problems.append(
            f"{folder} holds no recordings ({ABOUT.layout}); these can be read: {', '.join(recordings.formats())}."
        )
    return Found(folder, tuple(found), tuple(problems))


def glance(source: Source) -> None:
    """Raises InputError for what is damaged at first sight."""
    recordings.open(source.files[0])


def describe(found: Found) -> Description:
    """Sensor and labels of what was found. Raises InputError when the recordings are of several sensors."""
    labels = sorted({source.files[0].parent.name for source in found.sources})
    sensor: Sensor | None = None
    for source in found.sources:
        try:
            recording = recordings.open(source.files[0])
        except InputError:
            continue  # is said of it when it is to be read
        own = Sensor(recording.width, recording.height)
        if sensor is not None and own != sensor:
            raise InputError(
                f"{source.files[0]} is of a sensor of {own.width}x{own.height} pixels and others of "
                f"{sensor.width}x{sensor.height}: one data set is of one sensor; crop them with 'spedge convert'."
            )
        sensor = own
    return Description("folder", found.root.name, sensor or Sensor(1, 1), tuple(labels))


def slices(source: Source, about: Description) -> Iterator[Slice]:
    """A recording is one sample, its time from its first event."""
    events = read_sorted(source.files[0], about.sensor.width, about.sensor.height)
    if len(events):
        events["t"] -= events["t"][0]
        yield Slice(events, about.labels.index(source.files[0].parent.name), source.name)


def _classes(folder: Path, root: Path, part_of) -> Iterator[Source]:  # type: ignore[no-untyped-def]
    if not folder.is_dir():
        return
    for label in sorted(child for child in folder.iterdir() if child.is_dir()):
        for file in _recordings(label):
            name = file.relative_to(root).as_posix()
            yield Source(name, part_of(name), (file,))


def _recordings(label: Path) -> Iterator[Path]:
    return (file for file in sorted(label.iterdir()) if file.suffix in recordings.formats())


def _lists(folder: Path, problems: list[str]) -> Mapping[str, str]:
    """File names to parts."""
    parts: dict[str, str] = {}
    for part in PARTS:
        path = folder / f"{part}.txt"
        for name in path.read_text().splitlines() if path.exists() else ():
            if name.strip() and parts.setdefault(name.strip(), part) != part:
                problems.append(
                    f"{name.strip()} is in the lists of both {parts[name.strip()]} and {part}: take it out of one."
                )
    return parts
