"""Many recordings at once, on several threads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.base.parameters import whole_number
from spedge.events.arrays import Columns
from spedge.tokens.tokenizer import NO_TOKENS, Tokenizer, Tokens

_MOST_THREADS = 1024


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
    workers = max(1, min(workers, len(streams)))
    tokenizers = [Tokenizer(kind, **parameters) for _ in range(workers)]  # wrong parameters are said before any work
    results: list[Tokens] = [NO_TOKENS] * len(streams)
    problems: dict[int, Exception] = {}
    waiting = iter(enumerate(streams))  # each next() of it is one step under the GIL

    def work(tokenizer: Tokenizer) -> None:
        """Streams one after the other: a tokenizer's memory serves again, and new pages are slow."""
        for number, events in waiting:
            try:
                results[number] = tokenizer.push(events, sort=sort)
            except Exception as error:
                problems[number] = error
            if problems:  # all streams before one that is wrong have been begun
                return
            tokenizer.reset()

    others = [Thread(target=work, args=(tokenizer,)) for tokenizer in tokenizers[1:]]
    try:
        for thread in others:
            thread.start()
        work(tokenizers[0])
    finally:
        for _ in waiting:  # after an interrupt nothing more is begun
            pass
        for thread in others:
            if thread.ident is not None:
                thread.join()
    if problems:
        number = min(problems)
        if isinstance(problems[number], InputError):
            raise InputError(f"stream {number}: {problems[number]}") from None
        raise problems[number]
    return results


def _listed(streams: Iterable[NDArray[Any] | Columns]) -> list[NDArray[Any] | Columns]:
    alone = isinstance(streams, np.ndarray) and streams.ndim == 1 and streams.dtype.names is not None
    if alone or isinstance(streams, Columns):
        raise InputError("a batch is a list of streams: put this one stream into a list")
    try:
        return list(streams)
    except TypeError:
        raise InputError(f"a batch is a list of streams, not {type(streams).__name__}") from None
