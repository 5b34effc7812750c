"""NumPy .npz files: the arrays t, x, y and p (or on), and width and height."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import EVENT_DTYPE, columns
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


class NpzArrays:
    """An .npz file of one-dimensional arrays that grow. They wait in temporary files beside it."""

    def __init__(self, path: Path, dtypes: Mapping[str, str]) -> None:
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._counts = dict.fromkeys(dtypes, 0)
        self._stack = ExitStack()
        self._file = self._stack.enter_context(path.open("wb"))
        self._spools = {name: self._stack.enter_context(_spool(path)) for name in dtypes}

    def append(self, name: str, values: NDArray[Any]) -> None:
        """Entries of an array that follow."""
        self._counts[name] += len(values)
        self._spools[name].write(np.ascontiguousarray(values, self._dtypes[name]).tobytes())

    def close(self, scalars: Mapping[str, Any]) -> None:
        """Write all arrays, compressed, and these."""
        with self._stack, zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
            for name, spool in self._spools.items():
                header = {"descr": self._dtypes[name].str, "fortran_order": False, "shape": (self._counts[name],)}
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, header)
                    spool.seek(0)
                    shutil.copyfileobj(spool, member, 1 << 20)
            for name, value in scalars.items():
                with file.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(value))

    def discard(self) -> None:
        """Let go of the file, unfinished."""
        self._stack.close()


class NpzWriter(Writer):
    """Writes t, x, y, p, width and height."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        self._file = NpzArrays(path, {name: EVENT_DTYPE[name].str for name in _COLUMNS})

    def write(self, events: NDArray[np.void]) -> None:
        for name in _COLUMNS:
            self._file.append(name, events[name])

    def close(self) -> None:
        self._file.close({"width": np.uint16(self.width), "height": np.uint16(self.height)})

    def discard(self) -> None:
        self._file.discard()
