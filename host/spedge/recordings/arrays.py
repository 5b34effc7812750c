"""NumPy files: .npz of an array a field, or of one array of events, and .npy of one array of events.

An array of events is structured, with the usual names, or a table with a row an event.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError, line_of
from spedge.events.arrays import Columns
from spedge.recordings import layout
from spedge.recordings.base import CHUNK_EVENTS, Recording, choose_geometry
from spedge.recordings.layout import NOTHING, Said
from spedge.recordings.triggers import no_triggers, of_numbers

#: What zipfile and numpy raise for damaged files.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    TokenError,
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError),
    *(RuntimeError, SyntaxError, TypeError, ValueError),
)
_PIECE_BYTES = 1 << 16
_TRIGGERS = ("trigger_t", "trigger_id", "trigger_p")


class _File:
    """A .npy file, or the members of an .npz file: streams of bytes by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.zipped = path.suffix.lower() == ".npz"

    def names(self) -> list[str]:
        if not self.zipped:
            return [self._path.stem]
        with zipfile.ZipFile(self._path) as file:
            return [name.removesuffix(".npy") for name in file.namelist()]

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        with ExitStack() as stack:
            if self.zipped:
                yield stack.enter_context(stack.enter_context(zipfile.ZipFile(self._path)).open(f"{name}.npy"))
            else:
                yield stack.enter_context(self._path.open("rb"))


@dataclass(frozen=True)
class _Array:
    """What a .npy file says of its array. data_at: where its numbers begin."""

    name: str
    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]
    data_at: int

    @classmethod
    def read(cls, name: str, file: IO[bytes]) -> _Array:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"an array is of version {version}")
        shape, fortran, dtype = read(file)
        if any(side < 0 for side in shape):
            raise ValueError(f"an array is of shape {shape}")
        if dtype.hasobject:
            raise ValueError("an array holds Python objects")
        return cls(name, shape, fortran and len(shape) > 1, dtype, file.tell())

    @property
    def is_events(self) -> bool:
        """Whether it may be all of the events."""
        if self.dtype.names is not None:
            return layout.named(self.dtype.names) is not None
        return len(self.shape) == 2 and self.dtype.kind in "iufb"


@dataclass(frozen=True)
class _Table:
    """Arrays side by side whose columns make the events; each stands in a stream, or each of its columns does.

    names: of the columns; empty where they have none.
    """

    arrays: tuple[_Array, ...]
    names: tuple[str, ...]

    @property
    def rows(self) -> int:
        return self.arrays[0].shape[0]

    def streams(self) -> Iterator[tuple[str, int, np.dtype[Any], int]]:
        """Array, offset of the first number, dtype and numbers of a row."""
        for array in self.arrays:
            width = array.shape[1] if len(array.shape) == 2 else 1
            if array.by_columns:
                size = array.dtype.itemsize * self.rows
                yield from ((array.name, array.data_at + size * i, array.dtype, 1) for i in range(width))
            else:
                yield array.name, array.data_at, array.dtype, width

    def columns(self, data: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Of what was read of the streams."""
        if len(data) > 1:
            return [part[:, 0] for part in data]
        names = data[0].dtype.names
        return [data[0][name][:, 0] for name in names] if names else list(data[0].T)


class ArrayRecording(Recording):
    """NumPy's files; width and height may stand beside the events in an .npz file.

    The numbers may be real; what the columns and the unit of the times are is told as layout.py says.
    """

    def __init__(self, path: Path, width: int | None = None, height: int | None = None, said: Said = NOTHING) -> None:
        self.path = path
        self._file = _File(path)
        self.format = "NPZ" if self._file.zipped else "NPY"
        try:
            arrays = [self._array(name) for name in self._file.names()]
            size = (self._scalar(arrays, "width"), self._scalar(arrays, "height"))
        except InputError:
            raise
        except _DAMAGE as error:
            raise InputError(self._complaint(error)) from None
        self._table = self._choose([array for array in arrays if array.name not in ("width", "height")], said)
        sample, problem = next(self._columns(layout.SAMPLE_ROWS), ([], None))
        if problem is not None and not len(sample[0]):
            raise problem
        self._order, unit = self._tell(sample, said)
        t = self._raw(sample).t if sample else np.empty(0)
        ours = None not in size and t.dtype.kind in "iu"  # as we write them, in µs however many
        self._unit = unit or ("us" if ours else layout.unit_of(path, t, said))
        super().__init__(path, *choose_geometry(path, size, width, height))
        polarity = layout.polarity_of(path, self._raw(sample).p) if sample else ""
        self.layout = layout.described(self._order, self._unit, polarity)

    def _array(self, name: str) -> _Array:
        with self._file.opened(name) as file:
            return _Array.read(name, file)

    def _scalar(self, arrays: list[_Array], name: str) -> int | None:
        array = next((array for array in arrays if array.name == name), None)
        if array is None:
            return None
        if int(np.prod(array.shape)) == 1 and array.dtype.kind in "iu":
            with self._file.opened(name) as file:
                file.read(array.data_at)
                value = int(np.frombuffer(file.read(array.dtype.itemsize), array.dtype)[0])
            if 0 < value <= 65535:
                return value
        raise InputError(f"{self.path}: {name} is not a whole number of 1 to 65535")

    def _choose(self, arrays: list[_Array], said: Said) -> _Table:
        """The arrays that the events are in."""
        fields = layout.named([array.name for array in arrays]) if self._file.zipped else None
        if fields is not None and said.stream is None:
            said.refuse(self.path, "columns")
            chosen = [array for array, field in zip(arrays, fields.fields, strict=True) if field != "-"]
            self._check_fields(chosen)
            return _Table(tuple(chosen), tuple(array.name for array in chosen))
        events = {array.name: array for array in arrays if array.is_events}
        if not events:
            raise InputError(f"{self.path}: {self._lack(arrays)}")
        table = events[layout.one_of(self.path, list(events), said)]
        self._check_table(table)
        return _Table((table,), table.dtype.names or ())

    def _lack(self, arrays: list[_Array]) -> str:
        found = ", ".join(f"{array.name} {array.shape} of {array.dtype}" for array in arrays[:8]) or "nothing"
        what = "there are no arrays t, x, y and p (or on), nor one of events, in it" if self._file.zipped else "it is"
        return (
            f"{what}: {found}"
            if self._file.zipped
            else f"{what} no array of events, structured or a row an event: {found}"
        )

    def _check_fields(self, arrays: list[_Array]) -> None:
        times = next(array for array in arrays if layout.FIELDS[array.name.lower()] == "t")
        for array in arrays:
            if len(array.shape) != 1 or array.dtype.names:
                where = f"{self.path}: the array {array.name}"
                raise InputError(f"{where} must be one-dimensional, not of shape {array.shape}")
            if array.dtype.kind not in "iufb":
                raise InputError(f"{self.path}: the array {array.name} must hold numbers, not {array.dtype}")
            if array.shape != times.shape:
                counts = f"{array.name} has {array.shape[0]} entries but {times.name} has {times.shape[0]}"
                raise InputError(f"{self.path}: {counts}")

    def _check_table(self, array: _Array) -> None:
        dtype = array.dtype
        if dtype.names is not None:
            if len(array.shape) != 1:
                raise InputError(f"{self.path}: events must be one-dimensional, not of shape {array.shape}")
            for name, field in zip(dtype.names, layout.named(dtype.names) or "", strict=False):
                if field != "-" and dtype[name].kind not in "iufb":
                    raise InputError(f"{self.path}: the field {name} must hold numbers, not {dtype[name]}")
        elif array.shape[0] == 4 and array.shape[1] > 4:
            raise InputError(
                f"{self.path}: the array is of shape {array.shape}, an event a column: write its transpose, array.T"
            )

    def _tell(self, sample: list[NDArray[Any]], said: Said) -> tuple[str, str | None]:
        """What the columns are, and the unit if it is said."""
        count = len(sample) or len(self._table.names) or self._table.arrays[0].shape[-1]
        if said.columns is not None:
            layout.check_count(self.path, said.columns, count)
            return said.columns, said.time_unit
        named = layout.named(self._table.names)
        if named is not None:
            return named.fields, said.time_unit or named.unit
        if count != 4:
            raise InputError(
                f"{self.path}: it has {count} columns without names, not 4: say what they are, columns='txyp-' or the "
                "like (--columns txyp-); - is one to pass over"
            )
        if self._table.rows == 0:
            return layout.ORDERS[0], said.time_unit
        return layout.order_of(self.path, np.stack(sample, axis=1).astype(np.float64)), said.time_unit

    def _raw(self, columns: list[NDArray[Any]]) -> Columns:
        return Columns(*(columns[self._order.index(name)] for name in Columns._fields))

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        start = 0
        for columns, problem in self._columns(CHUNK_EVENTS):
            raw = self._raw(columns)
            yield from layout.events_of(self.path, raw, self._unit, start)
            start += len(raw.t)
            if problem is not None:
                raise problem

    def triggers(self) -> NDArray[np.void]:
        """The arrays trigger_t, trigger_id and trigger_p of an .npz file."""
        if not self._file.zipped:
            return no_triggers()
        try:
            if not set(_TRIGGERS) <= set(self._file.names()):
                return no_triggers()
            columns = [self._whole(name) for name in _TRIGGERS]
        except InputError:
            raise
        except _DAMAGE as error:
            raise InputError(self._complaint(error)) from None
        if len({len(column) for column in columns}) > 1:
            raise InputError(f"{self.path}: the arrays {', '.join(_TRIGGERS)} differ in length")
        t, id, p = columns
        return of_numbers(t, id, p, str(self.path))

    def _whole(self, name: str) -> NDArray[Any]:
        with self._file.opened(name) as file:
            array = _Array.read(name, file)
            if len(array.shape) != 1 or array.dtype.kind not in "iub":
                raise InputError(f"{self.path}: {name} is no row of whole numbers")
            rows, problem = _rows(file, array.dtype, 1, array.shape[0])
        if problem is not None:
            raise self._cut(name, len(rows), problem)
        return rows[:, 0]

    def _columns(self, most: int) -> Iterator[tuple[list[NDArray[Any]], InputError | None]]:
        """Columns of at most so many rows, and what is wrong behind them."""
        with ExitStack() as stack:
            streams = []
            try:
                for name, offset, dtype, width in self._table.streams():
                    file = stack.enter_context(self._file.opened(name))
                    if _passed(file, offset) < offset:
                        raise EOFError("it is shorter than it says")
                    streams.append((name, file, dtype, width))
            except _DAMAGE as error:
                raise InputError(self._complaint(error)) from None
            for start in range(0, self._table.rows, most):
                count = min(most, self._table.rows - start)
                data, problem = [], None
                for name, file, dtype, width in streams:
                    part, damage = _rows(file, dtype, width, count)
                    data.append(part)
                    if damage is not None and problem is None:
                        problem = self._cut(name, start + len(part), damage)
                least = min(map(len, data))
                yield self._table.columns([part[:least] for part in data]), problem
                if problem is not None:
                    return

    def _cut(self, name: str, row: int, error: Exception) -> InputError:
        what = f"{self.path}: the array {name} is damaged or cut off at entry {row} or after ({line_of(error)})"
        return CutError(what) if isinstance(error, EOFError) else InputError(what)

    def _complaint(self, error: Exception) -> str:
        size = self.path.stat().st_size
        if isinstance(error, zipfile.BadZipFile) and "not a zip file" in str(error):
            what = "not an .npz file, or cut off: there is no directory of arrays before its end at byte"
            return f"{self.path}: {what} {size}"
        kind = ".npz" if self._file.zipped else ".npy"
        return f"{self.path}: not a readable {kind} file, or cut off before its end at byte {size} ({line_of(error)})"


def _passed(file: IO[bytes], count: int) -> int:
    """Bytes of a stream that were passed over; those of a compressed one have to be read."""
    passed = 0
    while passed < count and (data := file.read(min(_PIECE_BYTES, count - passed))):
        passed += len(data)
    return passed


def _rows(file: IO[bytes], dtype: np.dtype[Any], width: int, count: int) -> tuple[NDArray[Any], Exception | None]:
    """The next rows, [count, width]; fewer where the stream ends or is damaged, and the error then."""
    row, data = dtype.itemsize * width, bytearray()
    error: Exception | None = None
    try:
        while len(data) < row * count:
            piece = file.read(min(_PIECE_BYTES, row * count - len(data)))
            if not piece:
                raise EOFError("it is shorter than it says")
            data += piece
    except _DAMAGE as problem:
        error = problem
    whole = len(data) // row * row if row else 0
    return np.frombuffer(bytes(data[:whole]), dtype).reshape(-1, width), error
