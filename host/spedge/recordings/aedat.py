"""AEDAT files of any version: the reader of the one that a file says it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spedge.base.errors import InputError
from spedge.recordings.aedat2 import Aedat2Recording
from spedge.recordings.aedat3 import Aedat3Recording
from spedge.recordings.aedat4 import Aedat4Recording
from spedge.recordings.base import Recording

_MAGIC = b"#!AER-DAT"
_LONGEST_LINE = 1 << 16
_READERS: dict[str, Callable[[Path, int | None, int | None], Recording]] = {
    "2.0": Aedat2Recording,
    "3.1": Aedat3Recording,
    "4.0": Aedat4Recording,
}


def open_aedat(path: Path, width: int | None = None, height: int | None = None) -> Recording:
    """An AEDAT file of the version that it says itself."""
    with path.open("rb") as file:
        line = file.readline(_LONGEST_LINE)
    if not line.startswith(_MAGIC):
        raise InputError(f"{path}: no '{_MAGIC.decode()}' at byte 0; this is not an AEDAT file")
    version = line[len(_MAGIC) :].strip().decode("latin-1")
    reader = _READERS.get(version)
    if reader is None:
        raise InputError(
            f"{path}: byte {len(_MAGIC)} says AEDAT version {version[:20]!r}; only 2.0, 3.1 and 4.0 can be read"
        )
    return reader(path, width, height)
