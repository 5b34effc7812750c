"""Recordings of a data set to samples that are quick to read. What is there and was made from the same is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spedge.base.errors import InputError, UsageError
from spedge.base.store import locked_if_free

from .data import chunks, slices, store
from .data.base import Description
from .data.published import Found, Source
from .data.registry import describe_found, has_boxes, made_by, published
from .workers import workers

_TOLD = 3  # problems in one message
Entry = slices.SliceEntry | chunks.ChunkEntry


@dataclass(frozen=True)
class PreprocessProgress:
    """recordings: done, of total. kept: of these, as they were. events: made in this run, in `seconds`."""

    recordings: int
    total: int
    kept: int
    events: int
    seconds: float

    @property
    def rate(self) -> float:
        """Events made in a second."""
        return self.events / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class PreprocessReport:
    """What is there. samples: slices, or chunks that hold events. problems: a sentence on each thing that is missing,
    and on each recording that cannot be read and is therefore left out."""

    folder: Path
    recordings: int
    made: int
    kept: int
    samples: int
    events: int
    seconds: float
    problems: tuple[str, ...]

    def summary(self) -> str | None:
        """One sentence on what is left out, and what to do; None where nothing is."""
        if not self.problems:
            return None
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return (
            f"{self.folder} holds {self.recordings} recordings and not all: {self.problems[0].rstrip('.')}{more}; mend "
            "that and run it again, which does only what is left."
        )


@dataclass(frozen=True)
class _Task:
    """What a worker needs to make one recording's file: absolute paths, as it may have another folder."""

    name: str
    about: Description
    source: Source
    root: Path
    chunk_us: int
    drop_duplicates: bool


@dataclass(frozen=True)
class _Done:
    """entry: None where the recording cannot be read; problem says why. kept: its file was there."""

    entry: Entry | None
    kept: bool = False
    problem: str = ""


def preprocess(
    name: str,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    chunk_ms: float = chunks.CHUNK_MS,
    drop_duplicates: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
    on_progress: Callable[[PreprocessProgress], None] | None = None,
) -> PreprocessReport:
    """Preprocess a data set into the folder `out`. The same call again does what is left, or what has changed.

    chunk_ms: length of the chunks of a detection set, in milliseconds. drop_duplicates: of boxes that a file holds
    several times one is kept. jobs: processes on this machine. scheduler:
    address of a Dask scheduler (tcp://HOST:PORT) whose workers see the same paths, in their place.

    A recording that cannot be read is left out, and the report's problems say so. Raises UsageError or InputError for a
    wrong name or option, missing data, a full disk, or workers that are gone; what is done is kept.
    """
    if jobs < 1:
        raise UsageError(f"{jobs} processes cannot work: give 1 or more.")
    if not 1 <= chunk_ms <= 60_000:
        raise UsageError(f"Chunks of {chunk_ms:g} ms cannot be made: give 1 to 60000.")
    start = time.monotonic()
    root = Path(out).resolve()
    module = published(name)
    found: Found = module.find(Path(data).resolve())
    if not found.sources:
        raise InputError(_said(found.problems))
    about = describe_found(module, found)
    tasks = [_Task(name, about, source, root, round(chunk_ms * 1000), drop_duplicates) for source in found.sources]
    done: list[_Done] = []
    with _store_of_ones_own(Path(out), root), workers(jobs, scheduler) as run:
        (root / store.INDEX).unlink(missing_ok=True)  # until all is there again
        for result in run(_one, tasks):
            done.append(result)
            if on_progress is not None:
                on_progress(_progress(done, len(tasks), time.monotonic() - start))
        entries = sorted((d.entry for d in done if d.entry is not None), key=lambda entry: (entry.part, entry.name))
        problems = (*found.problems, *sorted(d.problem for d in done if d.entry is None))
        if not entries:
            raise InputError(_said(problems))
        _check_there(root, entries)
        settings: dict[str, Any] = {"chunk_us": tasks[0].chunk_us} if has_boxes(name) else {}
        if drop_duplicates and has_boxes(name):
            settings["drop_duplicates"] = True
        store.write_index(root, about, Path(data).resolve(), settings, made_by(name), entries)
    kept = sum(d.kept for d in done)
    samples, events = sum(entry.samples for entry in entries), sum(entry.events for entry in entries)
    seconds = time.monotonic() - start
    return PreprocessReport(Path(out), len(entries), len(entries) - kept, kept, samples, events, seconds, problems)


def _one(task: _Task) -> _Done:
    """One recording's file, if it is not there."""
    module = published(task.name)
    source, part = task.source, task.source.part
    file = f"{part}/{source.name}.h5"
    boxes = has_boxes(task.name)
    seen = (part, task.about.sensor, task.about.labels)  # those of a folder change with what else is in it
    by = f"{made_by(task.name)}, {seen}" + (f", chunks of {task.chunk_us} µs" if boxes else "")
    by += ", no box twice" if boxes and task.drop_duplicates else ""
    place = store.Place(task.root, file, source.name, part)
    try:
        place = place.made_from(store.key_of(source.files, by))
        before = chunks.entry_of(place, task.chunk_us) if boxes else slices.entry_of(place)
        if before is not None:
            return _Done(before, kept=True)
        if boxes:
            return _Done(chunks.write(place, module.chunks(source, task.chunk_us, task.drop_duplicates)))
        cut = module.slices(source, task.about) if hasattr(module, "describe") else module.slices(source)
        return _Done(slices.write(place, list(cut)))
    except InputError as error:
        return _Done(None, problem=str(error))


@contextmanager
def _store_of_ones_own(given: Path, root: Path) -> Iterator[None]:
    """The folder of a store, which no other process preprocesses to. What one that was killed has begun is removed."""
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            free = stack.enter_context(locked_if_free(root / ".lock"))
        except OSError as error:
            raise UsageError(f"{given} cannot be written to ({error.strerror}): give another --out.") from None
        if not free:
            raise UsageError(f"Another spedge preprocesses to {given} just now: wait for its end.")
        _tidy(root)
        yield
        _tidy(root)  # a cluster may have lost a worker


def _said(problems: Sequence[str]) -> str:
    more = [f"(And {len(problems) - _TOLD} more.)"] if len(problems) > _TOLD else []
    return " ".join([*problems[:_TOLD], *more])


def _tidy(root: Path) -> None:
    for left in root.rglob("*.part"):
        left.unlink(missing_ok=True)


def _check_there(root: Path, entries: Sequence[Entry]) -> None:
    """Raises UsageError when workers have written to folders of their own."""
    for entry in entries:
        if not (root / entry.file).exists():
            raise UsageError(
                f"{root / entry.file} was written and is not here: the workers have to see the same {root}."
            )


def _progress(done: list[_Done], total: int, seconds: float) -> PreprocessProgress:
    events = sum(d.entry.events for d in done if d.entry is not None and not d.kept)
    return PreprocessProgress(len(done), total, sum(d.kept for d in done), events, seconds)
