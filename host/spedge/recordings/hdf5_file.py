"""HDF5 files, read by h5py: Prophesee's (/CD/events) and those with an array per field (/events/x …: eTraM, DSEC).

A damaged file can end the process that does this (hdf5.py, which calls it in another one, says why).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge._decoders import ecf_decode
from spedge.base.errors import InputError, UsageError
from spedge.events.arrays import Columns, as_records, columns
from spedge.recordings.base import CHUNK_EVENTS, Recording, choose_geometry, gathered

_ECF_FILTER = 36559
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


def library(path: Path) -> ModuleType:
    """h5py, with the filters of hdf5plugin where it is installed. Raises UsageError without h5py."""
    try:
        import h5py
    except ImportError:
        raise UsageError(f"{path}: HDF5 needs the library h5py: pip install 'spedge[recordings]'") from None
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  (registers the filters Blosc, LZ4, Zstandard and others)
    return h5py  # type: ignore[no-any-return]


class Hdf5File(Recording):
    """An HDF5 file. The sensor's size comes from the attributes geometry (WxH) or width and height.

    Blocks of Prophesee's ECF codec are decoded here when the codec's HDF5 plugin is not installed.

    /t_offset, where there is one, is added to the times.
    """

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        self._h5py = library(path)
        self._ecf = False  # blocks that we decode ourselves: the codec's plugin is not there
        if not self._h5py.is_hdf5(path):
            raise InputError(f"{path}: does not begin as an HDF5 file at byte 0")
        self.path = path
        with self._opened() as file:
            arrays, offset = self._arrays(file)
            size = _geometry(path, file)
            self.format = "HDF5 /CD/events" if len(arrays) == 1 else "HDF5 /events"
            self._count = len(arrays[0])
            self._offset = offset
        super().__init__(path, *choose_geometry(path, size, width, height))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with self._h5py.File(self.path, "r") as file:
                yield file
        except InputError:
            raise
        except _DAMAGE as error:
            end = self.path.stat().st_size
            raise InputError(f"{self.path}: damaged, or cut off at byte {end} ({_line(error)})") from None

    def _arrays(self, file: Any) -> tuple[list[Any], int]:
        """/CD/events, or the four arrays of /events."""
        group = file.get("CD")
        if isinstance(group, self._h5py.Group) and "events" in group:
            arrays, names = [group["events"]], set(Columns._fields)
            found = set(getattr(arrays[0].dtype, "names", None) or ())
        else:
            group = file.get("events")
            found = set(group) if isinstance(group, self._h5py.Group) else set()
            names = set(Columns._fields)
            arrays = [group[name] for name in Columns._fields] if names <= found else []
        if not names <= found:
            raise InputError(
                f"{self.path}: there is neither /CD/events nor /events with the fields t, x, y and p in it"
            )
        for array in arrays:
            self._check_array(array)
        if any(len(array) != len(arrays[0]) for array in arrays):
            raise InputError(f"{self.path}: the arrays of /events differ in length: {[len(array) for array in arrays]}")
        offset = file.get("t_offset")
        return arrays, int(offset[()]) if isinstance(offset, self._h5py.Dataset) else 0

    def _check_array(self, array: Any) -> None:
        if not isinstance(array, self._h5py.Dataset) or array.ndim != 1:
            raise InputError(f"{self.path}: {array.name} is not a one-dimensional array")
        plist = array.id.get_create_plist()
        for i in range(plist.get_nfilters()):
            number, _, _, name = plist.get_filter(i)
            if self._h5py.h5z.filter_avail(number):
                continue
            if number == _ECF_FILTER and plist.get_nfilters() == 1 and array.dtype.names:
                self._ecf = True
                continue
            raise InputError(
                f"{self.path}: {array.name} is compressed with filter {number} ({name.decode('latin-1')}), which is "
                "missing here: pip install hdf5plugin"
            )

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        if self._ecf:
            yield from gathered(self._ecf_blocks())
            return
        for start in range(0, self._count, CHUNK_EVENTS):
            yield self._read(start, min(start + CHUNK_EVENTS, self._count))

    def _read(self, start: int, end: int) -> NDArray[np.void]:
        with self._opened() as file:
            arrays, _ = self._arrays(file)
            try:
                if len(arrays) == 1:
                    found = arrays[0][start:end]
                else:
                    parts = dict(zip(Columns._fields, (array[start:end] for array in arrays), strict=True))
                    found = np.empty(end - start, [(name, part.dtype) for name, part in parts.items()])
                    for name, part in parts.items():
                        found[name] = part
            except _DAMAGE as error:
                raise InputError(f"{self.path}: cannot read events {start} to {end - 1} ({_line(error)})") from None
        return self._checked(found, start)

    def _ecf_blocks(self) -> Iterator[NDArray[np.void]]:
        with self._opened() as file:
            array = self._arrays(file)[0][0]
            size = int(array.chunks[0])
            for start in range(0, self._count, size):
                count = min(size, self._count - start)
                try:
                    skipped, data = array.id.read_direct_chunk((start,))
                    found = np.frombuffer(data, array.dtype) if skipped & 1 else ecf_decode(data)
                    if len(found) < count:
                        raise ValueError(f"it holds {len(found)} events")
                except _DAMAGE as error:
                    where = f"{self.path}: events {start} to {start + count - 1}"
                    raise InputError(f"{where}: the block is damaged ({_line(error)})") from None
                yield self._checked(found[:count], start)

    def _checked(self, found: NDArray[Any], start: int) -> NDArray[np.void]:
        try:
            fields = columns(found)
        except InputError as error:
            raise InputError(f"{self.path}: from event {start} on, {error}") from None
        events = as_records(fields)
        if self._offset:
            t = fields.t.astype(np.int64) + self._offset
            if len(t) and t.min() < 0:
                raise InputError(
                    f"{self.path}: event {start + int(np.argmin(t))} is before 0 with t_offset={self._offset}"
                )
            events["t"] = t
        return events


def _geometry(path: Path, file: Any) -> tuple[int | None, int | None]:
    text = _text(file.attrs.get("geometry"))
    if text is not None:
        match = re.fullmatch(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*", text)
        if match and 0 < int(match[1]) <= 65535 and 0 < int(match[2]) <= 65535:
            return int(match[1]), int(match[2])
        raise InputError(f"{path}: the attribute geometry is {text[:40]!r}, not of the form WIDTHxHEIGHT")
    sides = [_text(file.attrs.get(name)) for name in ("width", "height")]
    if all(side is not None and side.isdigit() and 0 < int(side) <= 65535 for side in sides):
        return int(sides[0] or 0), int(sides[1] or 0)
    return None, None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
