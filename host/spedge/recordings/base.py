"""What every recording offers, and what the readers and writers share."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError, UsageError
from spedge.events.arrays import (
    Columns,
    UnsortedError,
    as_records,
    check_events,
    columns,
    concatenate,
    empty_events,
    first_wrong,
)
from spedge.recordings.seek import BEGINNING, WORTHWHILE_BYTES, Index, Place, Point, Points, Shelf
from spedge.recordings.triggers import no_triggers

#: Events handed out at once when a recording is iterated, about.
CHUNK_EVENTS = 1 << 18
#: What may be done with events outside the sensor.
OUTSIDE = ("drop", "refuse")
DROP_HINT = 'leave such events out by outside="drop" (--outside drop), which counts them'


class Recording(ABC):
    """A file of events. Iterating gives chunks (EVENT_DTYPE arrays) without holding the file in memory.

    width, height: the sensor, pixels. format: the encoding's name. path: the file.
    sort: hand the events out in order of time (stable) whatever their order in the file; this holds the whole recording
    in memory.
    layout: how a file was taken that leaves open what its columns are; else empty.
    size_from: who says the sensor's size: the file, the caller, or the format.
    outside: what becomes of events outside the sensor: drop (and count) or refuse. Readers set what the format's makers
    do, which is to refuse where they do not say.
    left_out: how many of what was skipped or dropped, by name: of what has been iterated.
    Every event handed out is sorted by time and inside the sensor; an InputError names the file and the first that
    is not, behind a chunk of those before it. A CutError says so of a file that ends too early.
    """

    format: str
    layout = ""

    def __init__(self, path: Path, width: int, height: int, size_from: str = "the format") -> None:
        self.path = path
        self.width = width
        self.height = height
        self.size_from = size_from
        self.sort = False
        self.outside = "refuse"
        self.left_out: dict[str, int] = {}
        self.said = ""  # by who opened it, of what the file does not say

    @abstractmethod
    def _chunks(self) -> Iterator[NDArray[np.void]]:
        """Chunks as they stand in the file, from its start; events may be outside the sensor and out of order."""

    def _leave_out(self, name: str, count: int) -> None:
        """Count what is not handed out."""
        if count:
            self.left_out[name] = self.left_out.get(name, 0) + count

    def __iter__(self) -> Iterator[NDArray[np.void]]:
        """Chunks in file order; times in µs of the sensor's clock. Can be iterated again."""
        self.left_out = {}
        yield from self._in_order(self._sorted() if self.sort else self._chunks(), BEGINNING)

    def _in_order(
        self,
        chunks: Iterator[NDArray[np.void]],
        point: Point,
        behind: Callable[[int, int], None] | None = None,
    ) -> Iterator[NDArray[np.void]]:
        """Chunks from a point on, up to the first event that is wrong.

        behind: is told behind each the time of the last event, and how many there were.
        """
        last_t, start = point.t, point.number
        for whole in chunks:
            chunk, numbers, wrong = whole, None, self._first_wrong(whole, last_t)
            if wrong is not None and self.outside == "drop":
                chunk, numbers = self._inside(whole)
                wrong = self._first_wrong(chunk, last_t)
            if len(chunk):
                if wrong is None or wrong > 0:
                    yield chunk[:wrong]
                if wrong is not None:
                    number = start + (wrong if numbers is None else int(numbers[wrong]))
                    self._complain(columns(chunk), last_t, number - wrong)
                last_t = int(chunk["t"][-1])
            start += len(whole)
            if behind is not None:
                behind(last_t, start)

    def _first_wrong(self, chunk: NDArray[np.void], last_t: int) -> int | None:
        return first_wrong(columns(chunk), self.width, self.height, last_t) if len(chunk) else None

    def _inside(self, chunk: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.intp]]:
        """The events inside the sensor, the others counted, and their numbers in the chunk."""
        inside = (chunk["x"] < self.width) & (chunk["y"] < self.height)
        self._leave_out("outside", len(chunk) - int(np.count_nonzero(inside)))
        return chunk[inside], np.flatnonzero(inside)

    def events(self) -> NDArray[np.void]:
        """All events (EVENT_DTYPE), times in µs of the sensor's clock."""
        return _joined(list(self))

    def triggers(self) -> NDArray[np.void]:
        """The external triggers in the file (TRIGGER_DTYPE), in its order, of formats that keep them; else none.

        Raises InputError where they are damaged.
        """
        return no_triggers()

    def between(self, t0: int, t1: int) -> NDArray[np.void]:
        """The events of t0 <= t < t1 (EVENT_DTYPE), µs of the sensor's clock.

        Of most formats the first call reads the whole file, and keeps where in it times are (see seek.py) in the cache;
        from then on only that part is read, until the file is changed. What is wrong elsewhere in it is not found.
        Raises UsageError where t1 is before t0, InputError for what is wrong on the way to t1.
        """
        if t1 < t0:
            raise UsageError(f"the end, {t1} µs, is before the start, {t0} µs")
        start, end = (np.uint64(min(max(t, 0), (1 << 64) - 1)) for t in (t0, t1))
        parts = [empty_events()]
        for chunk in self._from(start, end):
            low, high = np.searchsorted(chunk["t"], np.array([start, end])).tolist()
            parts.append(chunk[low:high])
            if high < len(chunk):
                break
        return concatenate(parts)

    def _from(self, start: np.uint64, end: np.uint64) -> Iterator[NDArray[np.void]]:
        """Chunks that hold all events from start to before end, and as few others as can be."""
        return iter(self)

    def no_events(self) -> InputError:
        """What is said of a recording that ends without having handed one out."""
        end = f", up to its end at byte {self.path.stat().st_size}" if self.path.is_file() else ""
        return InputError(f"{self.path}: there is no event in it{end}")

    def _sorted(self) -> Iterator[NDArray[np.void]]:
        """All events in order of time, or those before damage; an event outside the sensor is named by its number."""
        chunks: list[NDArray[np.void]] = []
        problem, start = None, 0
        try:
            for chunk in self._chunks():
                c = columns(chunk)._replace(t=np.zeros(len(chunk), np.uint64))
                wrong = None if self.outside == "drop" else first_wrong(c, self.width, self.height)
                chunks.append(chunk[:wrong])
                if wrong is not None:
                    self._complain(c, 0, start)
                start += len(chunk)
        except InputError as error:
            problem = error
        events = _joined(chunks)
        t = np.ascontiguousarray(events["t"])
        if (t[1:] < t[:-1]).any():
            events = events.take(np.argsort(t, kind="stable"))  # quicker than by an index
        for start in range(0, len(events), CHUNK_EVENTS):
            yield events[start : start + CHUNK_EVENTS]
        if problem is not None:
            raise problem

    def _complain(self, c: Columns, last_t: int, start: int) -> None:
        """Raise what is wrong with the first wrong one of these events, which are numbered from start on."""
        try:
            check_events(c, self.width, self.height, last_t, start)
        except UnsortedError as error:
            hint = "sort=True (spedge convert --sort) puts the events in order of time"
            raise InputError(f"{self.path}: {error.where}; {hint}") from None
        except InputError as error:
            raise InputError(f"{self.path}: {error}, or {DROP_HINT}") from None

    def __repr__(self) -> str:
        return f"<{self.format} recording {self.path}, {self.width}x{self.height}>"


class SeekingRecording(Recording):
    """A file that can be read from places in it on, which an index finds by time (seek.py)."""

    def __init__(self, path: Path, width: int, height: int, size_from: str = "the format") -> None:
        super().__init__(path, width, height, size_from)
        self._here: Callable[[], Place] | None = None  # behind the chunk handed out last; None: no place to go on from
        self._indexes = Shelf()

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        return self._chunks_from((), ())

    @abstractmethod
    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        """Chunks from a place on that _here gave, which is set here. until: what is behind that may be missing."""

    def _from(self, start: np.uint64, end: np.uint64) -> Iterator[NDArray[np.void]]:
        self.left_out = {}
        if self.sort or not self.path.is_file() or self.path.stat().st_size < WORTHWHILE_BYTES:
            return iter(self)
        reading = f"{type(self).__name__} {self.format} {self.layout} {self.width}x{self.height} {self.outside}"
        index = self._indexes.get(self.path, f"{reading} {self.said}", self._make_index)
        point, self.left_out = index.before(start), {}
        return self._in_order(self._chunks_from(point.place, index.behind(end)), point)

    def _make_index(self) -> Index:
        """Up to the first thing that is wrong, which is found again by who reads there."""
        points = Points()

        def behind(t: int, number: int) -> None:
            if self._here is not None and points.due(number):
                points.add(Point(t, number, self._here()))

        with contextlib.suppress(InputError):
            for _ in self._in_order(self._chunks(), BEGINNING, behind):
                pass
        return Index.of(points.points)


class UntilCut:
    """The chunks of a recording up to its end or, if it is cut off, to there; then `cut` says so.

    Raises InputError when there is no event up to there.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.cut: CutError | None = None

    def __iter__(self) -> Iterator[NDArray[np.void]]:
        some = False
        try:
            for chunk in self._recording:
                some = True
                yield chunk
        except CutError as error:
            self.cut = error
        if not some:
            raise self.cut or self._recording.no_events()

    def finish(self, path: Path | None, events: int) -> None:
        """To be called when so many events have been used, and a file of them is about to take its place at `path`.

        Raises CutError, so that it does not, where a cut recording would take the place of a file that was there, and
        where none of its events is wanted.
        """
        if self.cut is not None and path is not None and path.exists():
            raise CutError(f"{self.cut}; {path} was there before and stays as it is")
        if self.cut is not None and not events:
            raise self.cut

    def end(self, path: Path | None, what: str) -> None:
        """Raises CutError for a recording that was cut off, saying what of it is in the file."""
        if self.cut is not None:
            raise CutError(f"{self.cut}; {what} before it are in {path}" if path else str(self.cut))


def _joined(chunks: list[NDArray[np.void]]) -> NDArray[np.void]:
    return chunks[0] if len(chunks) == 1 else concatenate(chunks)


def choose_geometry(
    path: Path, found: tuple[int | None, int | None], width: int | None, height: int | None
) -> tuple[int, int, str]:
    """The sensor's size that the file says, or else the one that the caller gives, and which of them said it.

    Raises InputError when neither says it or the two disagree.
    """
    if found[0] is None or found[1] is None:
        if width is None or height is None:
            raise InputError(
                f"{path}: the file does not give the sensor's size; pass width and height (--width, --height)"
            )
        return width, height, "the caller"
    if width is not None and (width, height) != found:
        raise InputError(
            f"{path}: the file gives {found[0]}x{found[1]}, not {width}x{height}; leave width and height out"
        )
    return found[0], found[1], "the file"


class Unwrap:
    """Times of a clock of 2^bits µs to times that go on: a step back of at least half its range is a wrap."""

    def __init__(self, bits: int, last: int = 0, wraps: int = 0) -> None:
        self._range = 1 << bits
        self._last, self._wraps = last, wraps

    @property
    def state(self) -> tuple[int, int]:
        """What a clock that goes on from here begins with: last, wraps."""
        return self._last, self._wraps

    def __call__(self, t: NDArray[np.integer]) -> NDArray[np.uint64]:
        """t: what the clock showed, the next in the stream."""
        now = t.astype(np.int64)
        if len(now) == 0:
            return now.astype(np.uint64)
        wraps = self._wraps + np.cumsum(np.diff(now, prepend=self._last) <= -(self._range // 2))
        self._last, self._wraps = int(now[-1]), int(wraps[-1])
        return (now + wraps * self._range).astype(np.uint64)


def good_events(fields: Columns) -> tuple[NDArray[np.void], InputError | None]:
    """The fields of events of any dtypes as an EVENT_DTYPE array: all, or those before the first that is none, and why.

    fields: as columns() takes them.
    """
    try:
        return as_records(columns(fields)), None
    except InputError as error:
        problem = error
    good, bad = 0, len(fields.t)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            columns(Columns(*(values[:middle] for values in fields)))
        except InputError:
            bad = middle
        else:
            good = middle
    return as_records(columns(Columns(*(values[:good] for values in fields)))) if good else empty_events(), problem


def gathered(pieces: Iterator[NDArray[np.void]]) -> Iterator[NDArray[np.void]]:
    """Small pieces joined to chunks of about CHUNK_EVENTS. What came before an InputError is handed out first."""
    waiting: list[NDArray[np.void]] = []
    count = 0
    problem: InputError | None = None
    while problem is None:
        try:
            piece = next(pieces)
        except StopIteration:
            break
        except InputError as error:
            problem = error
            break
        waiting.append(piece)
        count += len(piece)
        if count >= CHUNK_EVENTS:
            yield _joined(waiting)
            waiting, count = [], 0
    if count:
        yield _joined(waiting)
    if problem is not None:
        raise problem


class Writer(ABC):
    """A file being written, a chunk at a time. As a context manager it is finished at the end of the block.

    keeps_triggers: whether the format has a place for them.
    """

    keeps_triggers = False

    def __init__(self, path: Path, width: int, height: int) -> None:
        self.path = path
        self.width = width
        self.height = height

    @abstractmethod
    def write(self, events: NDArray[np.void]) -> None:
        """The events that follow (EVENT_DTYPE), sorted by time, inside the sensor."""

    def add_triggers(self, triggers: NDArray[np.void]) -> None:  # noqa: B027
        """External triggers (TRIGGER_DTYPE) that follow, sorted by time, if the format keeps them.

        In RAW they are between the events, if they come before those behind them.
        """

    def flush(self) -> None:  # noqa: B027
        """What was written is in the file, whatever ends us, where the format can be read while it grows."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""

    def discard(self) -> None:
        """Let go of the file, unfinished as it is."""
        self.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
