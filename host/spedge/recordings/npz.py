"""NumPy .npz files: the arrays t, x, y and p (or on), and width and height."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.errors import InputError
from spedge.events import EVENT_DTYPE, columns
from spedge.recordings.base import CHUNK_EVENTS, Recording

_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError, RuntimeError)


class NpzRecording(Recording):
    """An .npz file: 1-D integer arrays t (µs), x, y and p or on, and optionally the scalars width and height."""

    format = "NPZ"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        arrays = _load(path)
        said = tuple(_scalar(path, arrays, name) for name in ("width", "height"))
        if None not in said and width is not None and (width, height) != said:
            raise InputError(f"{path}: the file gives {said[0]}x{said[1]}, not {width}x{height}; leave width and height out")
        size = (width, height) if None in said else said
        if size[0] is None or size[1] is None:
            raise InputError(f"{path}: the file does not give the sensor's size; pass width and height")
        super().__init__(path, size[0], size[1])
        self._events = _assemble(path, arrays)

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        for start in range(0, len(self._events), CHUNK_EVENTS):
            yield self._events[start : start + CHUNK_EVENTS]


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: this is one array, not an .npz file with t, x, y and p")
            return {name: file[name] for name in ("t", "x", "y", "p", "on", "width", "height") if name in file.files}
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path}: not a readable .npz file ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from None


def _scalar(path: Path, arrays: dict[str, NDArray[Any]], name: str) -> int | None:
    value = arrays.get(name)
    if value is None:
        return None
    if value.size != 1 or value.dtype.kind not in "iu" or not 0 < int(value.reshape(())) <= 65535:
        raise InputError(f"{path}: {name} is not a whole number of 1 to 65535")
    return int(value.reshape(()))


def _assemble(path: Path, arrays: dict[str, NDArray[Any]]) -> NDArray[np.void]:
    names = ("t", "x", "y", "p" if "p" in arrays else "on")
    for name in names:
        if name not in arrays:
            raise InputError(f"{path}: there is no array {'p (or on)' if name == 'on' else name}")
        if arrays[name].ndim != 1:
            raise InputError(f"{path}: the array {name} must be one-dimensional, not of shape {arrays[name].shape}")
        if len(arrays[name]) != len(arrays["t"]):
            raise InputError(f"{path}: {name} has {len(arrays[name])} entries but t has {len(arrays['t'])}")
    view = np.empty(len(arrays["t"]), [(name, arrays[name].dtype) for name in names])
    for name in names:
        view[name] = arrays[name]
    try:
        fields = columns(view)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    events = np.empty(len(view), EVENT_DTYPE)
    for name, values in zip(("t", "x", "y", "p"), fields, strict=True):
        events[name] = values
    return events


def write_npz(path: Path, events: NDArray[np.void], width: int, height: int) -> None:
    """Write t, x, y, p, width and height, compressed."""
    with path.open("wb") as file:  # given a name, numpy would append an ending
        np.savez_compressed(
            file, t=events["t"], x=events["x"], y=events["y"], p=events["p"], width=np.uint16(width), height=np.uint16(height)
        )
