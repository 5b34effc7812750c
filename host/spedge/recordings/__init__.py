"""Recordings of event cameras: open one whatever its format, write EVT2 RAW and NPZ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spedge.errors import InputError, UsageError
from spedge.events import as_events
from spedge.recordings.base import CHUNK_EVENTS, Recording
from spedge.recordings.nmnist import NMnistRecording
from spedge.recordings.npz import NpzRecording, write_npz
from spedge.recordings.raw import RawRecording, write_raw

__all__ = ["CHUNK_EVENTS", "Recording", "formats", "open", "write"]

_READERS: dict[str, Callable[[Path, int | None, int | None], Recording]] = {
    ".raw": RawRecording,
    ".bin": NMnistRecording,
    ".npz": NpzRecording,
}
_WRITERS: dict[str, Callable[[Path, NDArray[Any], int, int], None]] = {".raw": write_raw, ".npz": write_npz}


def formats() -> tuple[str, ...]:
    """The file name endings that can be opened."""
    return tuple(_READERS)


def open(path: str | Path, *, width: int | None = None, height: int | None = None) -> Recording:
    """Open a recording: Prophesee RAW (.raw, EVT2), N-MNIST (.bin) or NumPy (.npz with t, x, y, p).

    width, height: the sensor in pixels, for files that do not say it themselves.
    The header is read now, events when they are asked for. Raises InputError, naming the file and the place in it,
    for a file that is missing, damaged, of an unknown kind or of unknown geometry.
    """
    path = Path(path)
    if (width is None) != (height is None):
        raise UsageError("give both width and height, or neither")
    if width is not None and height is not None and not (0 < width <= 65535 and 0 < height <= 65535):
        raise UsageError(f"{width}x{height} is no sensor size; both must be 1 to 65535")
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: cannot read {path.suffix or 'a file without an ending'}; {_known()}")
    return reader(path, width, height)


def write(path: str | Path, events: NDArray[Any], width: int, height: int) -> None:
    """Write a recording in the format that the file name's ending names: .raw (EVT2) or .npz.

    events: structured, t in µs, sorted by time, inside width x height. The file appears whole or not at all.
    Raises InputError for wrong events, UsageError for an unknown ending.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UsageError(f"{path}: cannot write {path.suffix or 'a file without an ending'}; use {' or '.join(_WRITERS)}")
    checked = as_events(events, width, height)
    partial = path.with_name(path.name + ".part")
    try:
        writer(partial, checked, width, height)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _known() -> str:
    return f"known are Prophesee RAW (.raw), N-MNIST (.bin) and NumPy (.npz), not {', '.join(_LATER)} yet"


_LATER = (".dat", ".hdf5", ".aedat", ".aedat4", ".es", ".csv")
