"""Many recordings at once, on several threads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.errors import InputError
from spedge.events import Columns
from spedge.tokenizer import Tokenizer, Tokens, whole_number

_MOST_THREADS = 1 << 16


def tokenize_batch(
    list_of_events: Iterable[NDArray[Any] | Columns],
    kind: str = "continuous",
    *,
    threads: int | None = None,
    sort: bool = False,
    **parameters: Any,
) -> list[Tokens]:
    """Tokens of each of several streams, each by a tokenizer of its own, in their order.

    list_of_events: what Tokenizer.push takes. kind and parameters: as for Tokenizer (width, height, patch_size, …).
    threads: how many run at once, without the GIL; default: as many as this process may use processors.
    Raises UsageError for wrong parameters, and InputError naming the first stream and event that are wrong.
    """
    streams = _listed(list_of_events)
    workers = len(os.sched_getaffinity(0)) if threads is None else whole_number("threads", threads, 1, _MOST_THREADS)
    idle = SimpleQueue[Tokenizer]()  # a thread's memory serves its next stream, too: new pages are slow
    idle.put(Tokenizer(kind, **parameters))  # wrong parameters are said before any work

    def tokenize(numbered: tuple[int, NDArray[Any] | Columns]) -> Tokens:
        number, events = numbered
        try:
            tokenizer = idle.get_nowait()
        except Empty:
            tokenizer = Tokenizer(kind, **parameters)
        try:
            return tokenizer.push(events, sort=sort)
        except InputError as error:
            raise InputError(f"stream {number}: {error}") from None
        finally:
            tokenizer.reset()
            idle.put(tokenizer)

    workers = min(workers, len(streams))
    if workers < 2:
        return [tokenize(numbered) for numbered in enumerate(streams)]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(tokenize, enumerate(streams)))


def _listed(streams: Iterable[NDArray[Any] | Columns]) -> list[NDArray[Any] | Columns]:
    alone = isinstance(streams, np.ndarray) and streams.ndim == 1 and streams.dtype.names is not None
    if alone or isinstance(streams, Columns):
        raise InputError("a batch is a list of streams: put this one stream into a list")
    try:
        return list(streams)
    except TypeError:
        raise InputError(f"a batch is a list of streams, not {type(streams).__name__}") from None
