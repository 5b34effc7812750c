"""Who does many tasks: this process, processes on this machine, or a Dask cluster."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from spedge.base.errors import SpedgeError, UsageError, line_of

#: Runs a function of one task on all of them, and hands out results as they come, in any order.
Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]

PATIENCE_S = 10  #: for a scheduler and its first worker
_RETRIES = 3  # of a task whose worker has gone


@contextmanager
def workers(jobs: int, scheduler: str | None) -> Iterator[Run]:
    """jobs: processes on this machine. scheduler: address of a Dask scheduler, in their place.

    Raises UsageError, also from what it yields, when there is no scheduler, or when workers are ended from outside.
    """
    if scheduler is not None:
        with _dask(scheduler) as run:
            yield run
    elif jobs == 1:
        yield lambda function, tasks: map(function, tasks)
    else:
        executor: Executor = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
        try:
            yield lambda function, tasks: _on_processes(executor, function, tasks)
        finally:
            executor.shutdown(cancel_futures=True)


def _on_processes(executor: Executor, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
    with _unheard(signal.SIGINT):  # by the processes that are started here, too: this one tells them
        futures = [executor.submit(function, task) for task in tasks]
    try:
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise UsageError(
            "A process was ended from outside, as for want of memory: run it again with fewer --jobs; what is done is "
            "kept."
        ) from None


@contextmanager
def _unheard(number: signal.Signals) -> Iterator[None]:
    """A signal is ignored; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def _dask(address: str) -> Iterator[Run]:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--scheduler needs Dask: pip install 'spedge[cluster]'.") from None
    hint = f"start one with 'dask scheduler', and workers with 'dask worker {address}'"
    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"There is no Dask scheduler at {address} ({line_of(error)}): {hint}.") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except OSError:
            raise UsageError(f"The Dask scheduler at {address} has no workers: {hint}.") from None
        yield lambda function, tasks: _on_cluster(client, address, function, tasks)


def _on_cluster(client: Any, address: str, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
    from distributed import as_completed as completed

    try:
        for future in completed(client.map(function, tasks, pure=False, retries=_RETRIES), loop=client.loop):
            yield future.result()
    except SpedgeError:
        raise
    except Exception as error:  # whatever the workers lack, or the cluster says that is being ended
        raise UsageError(
            f"The Dask cluster at {address} has not done it ({type(error).__name__}: {line_of(error)}): its workers "
            "need this version of spedge and the same paths; run it again, what is done is kept."
        ) from None
