"""NumPy .npz files: the arrays t, x, y and p (or on), and width and height."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from spedge.errors import InputError
from spedge.events import EVENT_DTYPE, columns
from spedge.recordings.base import CHUNK_EVENTS, Recording, Writer, choose_geometry

#: What zipfile and numpy raise for damaged files.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    TokenError,
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError),
    *(RuntimeError, SyntaxError, TypeError, ValueError),
)
_COLUMNS = ("t", "x", "y", "p")


class NpzRecording(Recording):
    """An .npz file: 1-D integer arrays t (µs), x, y and p or on, and optionally the scalars width and height."""

    format = "NPZ"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        try:
            with zipfile.ZipFile(path) as file:
                names = {name.removesuffix(".npy") for name in file.namelist()}
                self._names = ("t", "x", "y", "p" if "p" in names else "on")
                for name in self._names:
                    if name not in names:
                        raise InputError(f"{path}: there is no array {'p (or on)' if name == 'on' else name}")
                size = (_scalar(path, file, names, "width"), _scalar(path, file, names, "height"))
                self._count = _check_shapes(path, file, self._names)
        except InputError:
            raise
        except _DAMAGE as error:
            raise InputError(_complaint(path, error)) from None
        super().__init__(path, *choose_geometry(path, size, width, height))

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        with ExitStack() as stack:
            try:
                file = stack.enter_context(zipfile.ZipFile(self.path))
                arrays = [_Array(stack.enter_context(file.open(f"{name}.npy"))) for name in self._names]
            except _DAMAGE as error:
                raise InputError(_complaint(self.path, error)) from None
            for start in range(0, self._count, CHUNK_EVENTS):
                count = min(CHUNK_EVENTS, self._count - start)
                yield self._chunk(arrays, start, count)

    def _chunk(self, arrays: list[_Array], start: int, count: int) -> NDArray[np.void]:
        parts = {}
        for name, array in zip(self._names, arrays, strict=True):
            try:
                parts[name] = array.read(count)
            except _DAMAGE as error:
                raise InputError(
                    f"{self.path}: the array {name} is damaged or cut off at entry {start} or after ({_line(error)})"
                ) from None
        view = np.empty(count, [(name, parts[name].dtype) for name in self._names])
        for name, part in parts.items():
            view[name] = part
        events = np.empty(count, EVENT_DTYPE)
        try:
            fields = columns(view)
        except InputError as error:
            raise InputError(f"{self.path}: from entry {start} on, {error}") from None
        for name, values in zip(_COLUMNS, fields, strict=True):
            events[name] = values
        return events


class _Array:
    """A one-dimensional .npy array that is read piece by piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.shape, self.dtype = _read_header(file)

    def read(self, count: int) -> NDArray[Any]:
        """The next entries. Raises EOFError when there are fewer."""
        data = self._file.read(count * self.dtype.itemsize)
        if len(data) < count * self.dtype.itemsize:
            raise EOFError("it is shorter than it says")
        return np.frombuffer(data, self.dtype)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array is of version {version}")
    shape, _, dtype = read(file)
    if any(side < 0 for side in shape):
        raise ValueError(f"an array is of shape {shape}")
    if dtype.hasobject:
        raise ValueError("an array holds Python objects")
    return shape, dtype


def _check_shapes(path: Path, file: zipfile.ZipFile, names: tuple[str, ...]) -> int:
    counts = {}
    for name in names:
        with file.open(f"{name}.npy") as member:
            array = _Array(member)
        if len(array.shape) != 1:
            raise InputError(f"{path}: the array {name} must be one-dimensional, not of shape {array.shape}")
        if array.dtype.kind not in "iub":
            raise InputError(f"{path}: the array {name} must hold whole numbers, not {array.dtype}")
        counts[name] = array.shape[0]
        if counts[name] != counts["t"]:
            raise InputError(f"{path}: {name} has {counts[name]} entries but t has {counts['t']}")
    return counts["t"]


def _scalar(path: Path, file: zipfile.ZipFile, names: set[str], name: str) -> int | None:
    if name not in names:
        return None
    with file.open(f"{name}.npy") as member:
        array = _Array(member)
        if int(np.prod(array.shape)) == 1 and array.dtype.kind in "iu":
            value = int(array.read(1)[0])
            if 0 < value <= 65535:
                return value
    raise InputError(f"{path}: {name} is not a whole number of 1 to 65535")


def _complaint(path: Path, error: Exception) -> str:
    size = path.stat().st_size
    if isinstance(error, zipfile.BadZipFile) and "not a zip file" in str(error):
        return f"{path}: not an .npz file, or cut off: there is no directory of arrays before its end at byte {size}"
    return f"{path}: not a readable .npz file ({_line(error)})"


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _spool(path: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=path.parent)


class NpzWriter(Writer):
    """Writes t, x, y, p, width and height, compressed. Columns wait in temporary files beside the target."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        self._stack = ExitStack()
        self._file = self._stack.enter_context(path.open("wb"))
        self._spools = {name: self._stack.enter_context(_spool(path)) for name in _COLUMNS}
        self._count = 0

    def write(self, events: NDArray[np.void]) -> None:
        self._count += len(events)
        for name, spool in self._spools.items():
            spool.write(np.ascontiguousarray(events[name]).tobytes())

    def close(self) -> None:
        with self._stack, zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
            for name, spool in self._spools.items():
                header = {"descr": EVENT_DTYPE[name].str, "fortran_order": False, "shape": (self._count,)}
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, header)
                    spool.seek(0)
                    shutil.copyfileobj(spool, member, 1 << 20)
            for name, value in (("width", self.width), ("height", self.height)):
                with file.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.array(value, np.uint16))

    def discard(self) -> None:
        self._stack.close()
