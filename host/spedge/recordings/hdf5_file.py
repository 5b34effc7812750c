"""HDF5 files, read by h5py: Prophesee's and the others' that hdf5_layouts.py finds.

A damaged file can end the process that does this (hdf5.py, which calls it in another one, says why).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge._recordings import ecf_decode
from spedge.base.errors import InputError, SpedgeError, UsageError, line_of
from spedge.events.arrays import Columns
from spedge.recordings import hdf5_layouts, layout
from spedge.recordings.base import CHUNK_EVENTS, Recording, choose_geometry, gathered
from spedge.recordings.hdf5_layouts import DAMAGE
from spedge.recordings.layout import NOTHING, Said
from spedge.recordings.triggers import no_triggers, of_numbers

_ECF_FILTER = 36559
_ECF_FIELDS = ["p", "t", "x", "y"]


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
    """An HDF5 file. The sensor's size may stand in attributes or beside the events.

    Blocks of Prophesee's ECF codec are decoded here when the codec's HDF5 plugin is not installed.

    /t_offset, where there is one, is added to the times.
    """

    def __init__(self, path: Path, width: int | None = None, height: int | None = None, said: Said = NOTHING) -> None:
        self._h5py = library(path)
        self._ecf = False  # blocks that we decode ourselves: the codec's plugin is not there
        if not self._h5py.is_hdf5(path):
            raise InputError(f"{path}: does not begin as an HDF5 file at byte 0")
        self.path = path
        with self._opened() as file:
            self._place = hdf5_layouts.find(path, file, said)
            arrays = [self._checked_array(file[name]) for name in self._place.arrays]
            if any(len(array) != len(arrays[0]) for array in arrays):
                lengths = [len(array) for array in arrays]
                raise InputError(f"{path}: the arrays of {self._place.name} differ in length: {lengths}")
            size = hdf5_layouts.geometry(path, file, self._place)
            self._count = len(arrays[0])
            offset = file.get("t_offset")
            self._offset = int(offset[()]) if isinstance(offset, self._h5py.Dataset) else 0
            polarity = self._tell(arrays, said)
        self.format = f"HDF5 {self._place.name}"
        super().__init__(path, *choose_geometry(path, size, width, height))
        self.layout = layout.described(self._order, self._unit, polarity)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with self._h5py.File(self.path, "r") as file:
                yield file
        except SpedgeError:
            raise
        except DAMAGE as error:
            end = self.path.stat().st_size
            raise InputError(f"{self.path}: damaged, or cut off at byte {end} ({line_of(error)})") from None

    def _tell(self, arrays: list[Any], said: Said) -> str:
        """What the columns are, and the unit of the times. Returns how the polarities are written."""
        place = self._place
        if place.name == "/CD/events":
            said.refuse(self.path, "columns", "time_unit")
        if place.fields:
            said.refuse(self.path, "columns")
        elif said.columns is not None:
            layout.check_count(self.path, said.columns, arrays[0].shape[1])
        sample = [] if self._ecf else _sample(arrays, min(self._count, layout.SAMPLE_ROWS))
        self._order = place.fields or said.columns or ""
        if not self._order:
            rows = sample[0].astype(np.float64) if sample else None
            self._order = layout.ORDERS[0] if rows is None else layout.order_of(self.path, rows)
        self._unit = place.unit or "us"
        if said.time_unit is not None:
            self._unit = said.time_unit
        elif place.unit is None and place.name != "/CD/events" and sample:
            self._unit = layout.unit_of(self.path, self._raw(sample, 0, len(sample[0])).t, said)
        return layout.polarity_of(self.path, self._raw(sample, 0, len(sample[0])).p) if sample else ""

    def _raw(self, arrays: list[Any], start: int, end: int) -> Columns:
        """Columns of some events as they are in the file."""
        parts = [np.asarray(array[start:end]) for array in arrays]
        if len(parts) == 1:
            names = parts[0].dtype.names
            parts = [parts[0][name] for name in names] if names else list(parts[0].T)
        raw = Columns(*(parts[self._order.index(name)] for name in Columns._fields))
        if self._offset:
            t = raw.t if raw.t.dtype.kind == "f" else raw.t.astype(np.int64)
            raw = raw._replace(t=t + self._offset)
        return raw

    def _checked_array(self, array: Any) -> Any:
        plist = array.id.get_create_plist()
        for i in range(plist.get_nfilters()):
            number, _, _, name = plist.get_filter(i)
            if self._h5py.h5z.filter_avail(number):
                continue
            if number == _ECF_FILTER and plist.get_nfilters() == 1 and sorted(array.dtype.names or ()) == _ECF_FIELDS:
                self._ecf = True
                continue
            raise InputError(
                f"{self.path}: {array.name} is compressed with filter {number} ({name.decode('latin-1')}), which is "
                "missing here: pip install hdf5plugin"
            )
        return array

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        return self.chunks_of(0, None)

    def chunks_of(self, begin: int, end: int | None) -> Iterator[NDArray[np.void]]:
        """Those of the events from one number to before another. Of ECF all of its block may come, too."""
        end = self._count if end is None else min(end, self._count)
        if self._ecf:
            yield from gathered(self._ecf_blocks(begin, end))
            return
        for start in range(begin, end, CHUNK_EVENTS):
            yield from self._read(start, min(start + CHUNK_EVENTS, end))

    def triggers(self) -> NDArray[np.void]:
        with self._opened() as file:
            array = file.get("EXT_TRIGGER/events") if self._place.name == "/CD/events" else None
            if array is None or not {"t", "id", "p"} <= set(getattr(array.dtype, "names", None) or ()):
                return no_triggers()
            rows = np.asarray(array[:])
            return of_numbers(rows["t"], rows["id"], rows["p"], f"{self.path}: /EXT_TRIGGER/events")

    def _read(self, start: int, end: int) -> Iterator[NDArray[np.void]]:
        """Events; of damaged ones those before the damage, which is found by halves."""
        with self._opened() as file:
            arrays = [file[name] for name in self._place.arrays]
            good, bad, problem = start, end + 1, None
            while bad - good > 1:
                middle = end if problem is None else (good + bad) // 2
                try:
                    raw = self._raw(arrays, good, middle)
                except DAMAGE as error:
                    bad, problem = middle, error
                else:
                    yield from layout.events_of(self.path, raw, self._unit, good)
                    good = middle
            if problem is not None:
                raise InputError(f"{self.path}: cannot read event {good} and those after it ({line_of(problem)})")

    def _ecf_blocks(self, begin: int, end: int) -> Iterator[NDArray[np.void]]:
        with self._opened() as file:
            array = file[self._place.arrays[0]]
            size = int(array.chunks[0])
            for start in range(begin, end, size):
                count = min(size, self._count - start)
                try:
                    skipped, data = array.id.read_direct_chunk((start,))
                    found = np.frombuffer(data, array.dtype) if skipped & 1 else ecf_decode(data)[list(self._order)]
                    if len(found) < count:
                        raise ValueError(f"it holds {len(found)} events")
                except DAMAGE as error:
                    where = f"{self.path}: events {start} to {start + count - 1}"
                    raise InputError(f"{where}: the block is damaged ({line_of(error)})") from None
                yield from layout.events_of(self.path, self._raw([found], 0, count), self._unit, start)


def _sample(arrays: list[Any], count: int) -> list[NDArray[Any]]:
    """The first events of the arrays, so many or as many as can be read; empty where there is none."""
    while count:
        try:
            return [np.asarray(array[:count]) for array in arrays]
        except DAMAGE:
            count //= 2
    return []
