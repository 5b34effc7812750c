"""N-MNIST (Orchard et al. 2015, CC BY-SA 4.0) in its native layout: `N-MNIST/{Train,Test}/<digit>/<id>.bin`."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.events.arrays import as_events
from spedge.model.parts import Sensor
from spedge.recordings.nmnist import RECORD_BYTES, SIDE
from spedge.recordings.nmnist import decode as decode_records

from .base import About, Dataset, Description, Sample
from .published import Found, Source

WIDTH = HEIGHT = SIDE
LABELS = tuple("0123456789")
DESCRIPTION = Description("nmnist", "N-MNIST (Orchard et al. 2015)", Sensor(WIDTH, HEIGHT), LABELS)

ABOUT = About(
    "https://www.garrickorchard.com/datasets/n-mnist", "1.2 GB", "CC BY-SA 4.0", "N-MNIST/{Train,Test}/<digit>/<id>.bin"
)


def load(path: str | os.PathLike[str]) -> Dataset:
    """Read the data set from a directory or a .zip file.

    Takes the folder with `Train` and `Test`, either of these alone, the ten digit folders alone, or any folder or
    zip that holds one of these further down. Samples outside a folder `Test` are the training part.
    Raises InputError when there are no samples or one is damaged.
    """
    root = Path(path)
    if not root.exists():
        raise InputError(f"There is no file or directory {root}: give the N-MNIST directory or zip file.")
    train: list[Sample] = []
    test: list[Sample] = []
    for name, content in _zip_members(root) if root.is_file() else _files(root):
        label = name.parent.name
        part = test if _part_of(name) == "test" else train
        part.append(Sample(decode(content, f"{root}:{name}"), int(label), str(name)))
    if not train and not test:
        raise InputError(f"{root} holds no N-MNIST recordings (<digit>/<id>.bin, as in N-MNIST/Train/7/00042.bin).")
    return Dataset("nmnist", WIDTH, HEIGHT, LABELS, tuple(train), tuple(test))


def read(data: str | os.PathLike[str] | None, parts: Sequence[str]) -> Dataset:
    """The data set from a directory or a .zip file, all its parts."""
    if data is None:
        raise UsageError("N-MNIST is not made here: give its directory or zip file as the data.")
    return load(data)


def find(folder: Path) -> Found:
    """What of it is in a directory or a .zip file. Every recording is read, and none is kept."""
    if not folder.exists():
        raise InputError(f"There is no file or directory {folder}: give the N-MNIST directory or zip file.")
    sources: list[Source] = []
    problems: list[str] = []
    for name, content in _zip_members(folder) if folder.is_file() else _files(folder):
        try:
            decode(content, f"{folder}:{name}")
        except InputError as error:
            problems.append(str(error))
        else:
            sources.append(Source(str(name), _part_of(name), (folder,)))
    packed = sorted(folder.rglob("*.zip")) if folder.is_dir() else []
    for part in ("train", "test"):
        digits = {PurePosixPath(source.name).parent.name for source in sources if source.part == part}
        if not digits:
            how = f"unpack {packed[0]} there" if packed else f"see {ABOUT.link}"
            problems.append(f"{folder} has no recordings of N-MNIST's {part.capitalize()}: {how}.")
        elif len(digits) < len(LABELS):
            lost = ", ".join(sorted(set(LABELS) - digits))
            problems.append(f"{folder} lacks the digits {lost} of {part.capitalize()}: unpack the archive again.")
    return Found(folder, tuple(sources), tuple(problems))


def _part_of(name: PurePosixPath) -> str:
    return "test" if name.parent.parent.name.lower() == "test" else "train"


def _is_sample(name: PurePosixPath) -> bool:
    return name.suffix == ".bin" and name.parent.name in LABELS


def _files(root: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    for file in sorted(root.rglob("*.bin")):
        name = PurePosixPath(root.name) / file.relative_to(root).as_posix()  # root may be the folder Test itself
        if _is_sample(name):
            yield name, file.read_bytes()


def _zip_members(root: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    try:
        with zipfile.ZipFile(root) as archive:
            for member in sorted(archive.namelist()):
                if _is_sample(PurePosixPath(member)):
                    yield PurePosixPath(member), archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise InputError(f"{root} is not a good zip file ({error}): copy it again, or give a directory.") from None


def decode(content: bytes, name: str) -> NDArray[Any]:
    """Events of one `.bin` file's bytes. Raises InputError, naming the file, for bytes that are no such events."""
    if not content or len(content) % RECORD_BYTES:
        raise InputError(f"{name} is damaged ({len(content)} bytes are not a whole number of events): copy it again.")
    try:
        return as_events(decode_records(np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)), WIDTH, HEIGHT)
    except InputError as error:
        raise InputError(f"{name} is damaged ({error}): copy it again.") from None
