"""Recordings of a data set to slices that are quick to read. What is there and was made from the same is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from spedge.base.errors import InputError, UsageError

from .data import store
from .data.base import Description
from .data.published import Source
from .data.registry import published


@dataclass(frozen=True)
class PreprocessProgress:
    """recordings: done, of total. kept: of these, as they were. events: made in this run, in `seconds`."""

    recordings: int
    total: int
    kept: int
    events: int
    seconds: float


@dataclass(frozen=True)
class PreprocessReport:
    """What is there. problems: sentences on what was missing."""

    folder: Path
    recordings: int
    made: int
    kept: int
    slices: int
    events: int
    seconds: float
    problems: tuple[str, ...]


def preprocess(
    name: str,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    on_progress: Callable[[PreprocessProgress], None] | None = None,
) -> PreprocessReport:
    """Preprocess a data set into the folder `out`. The same call again does what is left, or what has changed.

    jobs: processes on this machine. scheduler: address of a Dask scheduler (tcp://HOST:PORT) whose workers see the same
    paths, in their place. Raises UsageError or InputError for a wrong name, missing data or a damaged recording: those
    that are done are kept.
    """
    if jobs < 1:
        raise UsageError(f"{jobs} processes cannot work: give 1 or more.")
    start = time.monotonic()
    root = Path(out)
    module = published(name)
    found = module.find(Path(data))
    if not found.sources:
        raise InputError(" ".join(found.problems))
    about: Description = module.describe(found) if hasattr(module, "describe") else module.DESCRIPTION
    root.mkdir(parents=True, exist_ok=True)
    (root / store.INDEX).unlink(missing_ok=True)  # until all is there again
    tasks = [(name, about, source, str(root)) for source in found.sources]
    entries: list[store.Entry] = []
    kept = events = 0
    with _workers(jobs, scheduler) as run:
        for entry, was_there in run(_one, tasks):
            entries.append(entry)
            kept += was_there
            events += 0 if was_there else sum(entry.counts)
            if on_progress is not None:
                on_progress(PreprocessProgress(len(entries), len(tasks), kept, events, time.monotonic() - start))
    entries.sort(key=lambda entry: entry.name)
    store.write_index(root, about, entries, _made_by(module))
    return PreprocessReport(
        root,
        len(entries),
        len(entries) - kept,
        kept,
        sum(len(entry.labels) for entry in entries),
        sum(sum(entry.counts) for entry in entries),
        time.monotonic() - start,
        found.problems,
    )


def _one(task: tuple[str, Description, Source, str]) -> tuple[store.Entry, bool]:
    """One recording; whether its file was there."""
    name, about, source, folder = task
    module, root = published(name), Path(folder)
    key = store.key_of(source.files, _made_by(module))
    path = root / source.part / f"{source.name.replace('/', '_')}.h5"
    entry = store.entry_of(path, root, source.name, source.part, key)
    if entry is not None:
        return entry, True
    cut = module.slices(source, about) if hasattr(module, "describe") else module.slices(source)
    store.write(path, key, list(cut))
    entry = store.entry_of(path, root, source.name, source.part, key)
    assert entry is not None, path
    return entry, False


def _made_by(module: Any) -> str:
    return f"{module.__name__.rpartition('.')[2]} {module.VERSION}, store {store.SCHEMA}"


_Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]


@contextmanager
def _workers(jobs: int, scheduler: str | None) -> Iterator[_Run]:
    """What runs a function on many tasks, and hands out results as they come."""
    if scheduler is not None:
        with _dask(scheduler) as run:
            yield run
    elif jobs == 1:
        yield lambda function, tasks: map(function, tasks)
    else:
        executor: Executor = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
        try:
            yield lambda function, tasks: executor.map(function, tasks)
        finally:
            executor.shutdown(cancel_futures=True)


@contextmanager
def _dask(address: str) -> Iterator[_Run]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise UsageError("--scheduler needs Dask: pip install 'spedge[cluster]'.") from None
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"There is no Dask scheduler at {address} ({error}): start one with 'dask scheduler', and workers with "
            f"'dask worker {address}'."
        ) from None
    with client:
        yield lambda function, tasks: (
            future.result() for future in as_completed(client.map(function, tasks, pure=False, retries=3))
        )
