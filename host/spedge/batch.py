"""Many recordings at once, on several threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

from numpy.typing import NDArray

from spedge.errors import InputError, UsageError
from spedge.events import Columns
from spedge.tokenizer import Tokenizer, Tokens


def tokenize_batch(
    list_of_events: Sequence[NDArray[Any] | Columns],
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
    if threads is not None and threads < 1:
        raise UsageError(f"threads={threads} is out of range; it must be at least 1")
    idle = SimpleQueue[Tokenizer]()  # a thread's memory serves its next stream, too: new pages are slow
    idle.put(Tokenizer(kind, **parameters))  # wrong parameters are said before any work
    threads = threads or len(os.sched_getaffinity(0))

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

    if threads == 1 or len(list_of_events) < 2:
        return [tokenize(numbered) for numbered in enumerate(list_of_events)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(tokenize, enumerate(list_of_events)))
