"""Recordings of event cameras: open one whatever its format, write RAW, DAT, HDF5, AEDAT 4, NPZ and CSV."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.base.files import PART, whole
from spedge.base.parameters import whole_number
from spedge.base.paths import recording_named
from spedge.events.arrays import as_events
from spedge.recordings.aedat import open_aedat
from spedge.recordings.aedat4_writer import Aedat4Writer, compressor
from spedge.recordings.arrays import ArrayRecording
from spedge.recordings.base import CHUNK_EVENTS, OUTSIDE, Recording, Writer
from spedge.recordings.csv import CsvWriter
from spedge.recordings.dat import DatRecording, DatWriter
from spedge.recordings.es import EventStreamRecording
from spedge.recordings.hdf5 import Hdf5Recording, Hdf5Writer
from spedge.recordings.hdf5_file import library
from spedge.recordings.layout import Said
from spedge.recordings.nmnist import NMnistRecording
from spedge.recordings.npz import NpzWriter
from spedge.recordings.raw import RawRecording, RawWriter
from spedge.recordings.ros import RosRecording, is_bag
from spedge.recordings.text import TextRecording

__all__ = ["CHUNK_EVENTS", "PLAIN", "Reading", "Recording", "Writer", "create", "formats", "open", "write"]

_Reader = Callable[[Path, int | None, int | None, Said], Recording]


def _plain(reader: Callable[[Path, int | None, int | None], Recording]) -> _Reader:
    """Of a format that says itself what its columns are."""

    def opened(path: Path, width: int | None, height: int | None, said: Said) -> Recording:
        said.refuse(path, "columns", "time_unit", "stream")
        return reader(path, width, height)

    return opened


_READERS: dict[str, _Reader] = {
    ".raw": _plain(RawRecording),
    ".dat": _plain(DatRecording),
    ".hdf5": Hdf5Recording,
    ".h5": Hdf5Recording,
    ".aedat": _plain(open_aedat),
    ".aedat4": _plain(open_aedat),
    ".es": _plain(EventStreamRecording),
    ".bin": _plain(NMnistRecording),
    ".npz": ArrayRecording,
    ".npy": ArrayRecording,
    ".csv": TextRecording,
    ".tsv": TextRecording,
    ".txt": TextRecording,
    ".bag": RosRecording,
    ".mcap": RosRecording,
    ".db3": RosRecording,
}
_WRITERS: dict[str, Callable[[Path, int, int], Writer]] = {
    ".hdf5": Hdf5Writer,
    ".h5": Hdf5Writer,
    ".npz": NpzWriter,
    ".csv": CsvWriter,
    ".dat": DatWriter,
    ".aedat4": Aedat4Writer,
}
_GROWING = (".raw", ".csv", ".dat", ".aedat4")
_ENCODINGS = ("evt2", "evt3")


def formats() -> tuple[str, ...]:
    """The file name endings that can be opened."""
    return tuple(_READERS)


def open(
    path: str | Path,
    *,
    width: int | None = None,
    height: int | None = None,
    sort: bool = False,
    outside: str | None = None,
    columns: str | None = None,
    time_unit: str | None = None,
    stream: str | None = None,
) -> Recording:
    """Open a recording, by its file name's ending, or one that comes with spedge by its name, for example "clap".

    Prophesee RAW (.raw: EVT2, EVT2.1, EVT3), DAT (.dat) and HDF5 (.hdf5, .h5; also the field's others),
    AEDAT 2.0, 3.1 and 4 (.aedat, .aedat4), Event Stream (.es), N-MNIST (.bin), NumPy (.npz, .npy), text (.csv, .tsv,
    .txt) and ROS bags (.bag, .mcap, .db3, or the folder of them).
    width, height: the sensor in pixels, for files that do not say it themselves.
    sort: hand the events out in order of time whatever their order in the file; this takes memory for all of them.
    Without it, an event older than the one before it is an error.
    outside: drop events outside the sensor, and count them in left_out, or refuse them. None: what the format's makers
    do with them, which is to drop them for EVT3, and to refuse them where they do not say.
    columns: of text and arrays whose columns have no names, where their values do not tell: a letter each, as in
    "txyp"; - is one to pass over. time_unit: of such times, s, ms, us or ns. stream: which one of several in a file.
    A file that was still being written when its writer was killed ends in .part, behind the ending that counts.
    The header is read now, events when they are asked for. Raises InputError, naming the file and the place in it,
    for a file that is missing, damaged, of an unknown kind or of unknown geometry; UsageError for a missing library.
    """
    path = recording_named(Path(path))
    if outside not in (None, *OUTSIDE):
        raise UsageError(f"outside={outside!r}: it must be {' or '.join(OUTSIDE)}")
    if (width is None) != (height is None):
        raise UsageError("give both width and height, or neither")
    if width is not None and height is not None:
        width, height = whole_number("width", width, 1, 65535), whole_number("height", height, 1, 65535)
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    if not path.is_file() and not is_bag(path):
        raise InputError(f"{path} is not a file")
    kind = Path(path.stem) if path.suffix == PART else path
    reader = RosRecording if path.is_dir() else _READERS.get(kind.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: cannot read {kind.suffix or 'a file without an ending'}; known are {', '.join(_READERS)}"
        )
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; it ends at byte 0")
    try:
        if path.is_file():
            path.open("rb").close()  # may it be read? HDF5 has another process find out
        recording = reader(path, width, height, Said(columns, time_unit, stream))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    recording.sort = sort
    recording.said = f"{columns} {time_unit} {stream}"
    recording.outside = outside or recording.outside
    return recording


@dataclass(frozen=True)
class Reading:
    """How recordings are opened: what open takes, for all of them."""

    width: int | None = None
    height: int | None = None
    sort: bool = False
    outside: str | None = None
    columns: str | None = None
    time_unit: str | None = None
    stream: str | None = None

    def open(self, path: str | Path) -> Recording:
        """As recordings.open."""
        return open(path, **asdict(self))


#: As the files themselves say.
PLAIN = Reading()


def create(
    path: str | Path, width: int, height: int, encoding: str | None = None, *, name: Path | None = None
) -> Writer:
    """Begin to write a recording in the format that the file name's ending names.

    .raw, .dat, .hdf5, .h5, .aedat4, .npz or .csv.

    encoding: of .raw, evt2 (the default) or evt3. name: the file whose ending counts, if not path.
    Raises UsageError for an unknown ending or encoding.
    """
    path = Path(path)
    return _writer(name or path, encoding)(path, width, height)


def grows(path: Path, encoding: str | None = None) -> bool:
    """Whether a recording of that name can be read while it is written. Raises UsageError as create."""
    writer = _writer(path, encoding)
    if writer is Hdf5Writer:
        library(path)
    if writer is Aedat4Writer:
        compressor(path)
    return path.suffix.lower() in _GROWING


def _writer(path: Path, encoding: str | None) -> Callable[[Path, int, int], Writer]:
    suffix = path.suffix.lower()
    if encoding is not None and (suffix != ".raw" or encoding.lower() not in _ENCODINGS):
        raise UsageError(f"{path}: only .raw has an encoding, {' or '.join(_ENCODINGS)}, not {encoding}")
    if suffix == ".raw":
        return partial(RawWriter, encoding=(encoding or "evt2").upper())
    writer = _WRITERS.get(suffix)
    if writer is None:
        what = suffix or "a file without an ending"
        raise UsageError(f"{path}: cannot write {what}; use {', '.join(['.raw', *_WRITERS])}")
    return writer


def write(
    path: str | Path,
    events: NDArray[Any],
    width: int,
    height: int,
    encoding: str | None = None,
    triggers: NDArray[np.void] | None = None,
) -> None:
    """Write a recording in the format that the file name's ending names (see create).

    events: structured, t in µs, sorted by time, inside width x height. triggers: TRIGGER_DTYPE, sorted by time, for
    RAW, HDF5 and NPZ. The file appears whole or not at all.
    Raises InputError for wrong events, and those that the format cannot hold; UsageError for an unknown ending, and
    where no file can be written.
    """
    path = Path(path)
    checked = as_events(events, width, height)
    with whole(path) as part, create(part, width, height, encoding, name=path) as writer:
        if triggers is not None:
            if not writer.keeps_triggers:
                raise UsageError(f"{path}: this format has no place for triggers; use .raw, .hdf5, .h5 or .npz")
            writer.add_triggers(triggers)
        writer.write(checked)
