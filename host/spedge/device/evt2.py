"""Events to EVT2 words, which is what a device takes over the link."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spedge.errors import InputError

#: EVT2 tells times below this apart; a sensor's clock wraps here.
TIME_RANGE = 1 << 34
MAX_SIDE = 1 << 11

_TIME_HIGH = 0x8 << 28
_HALF_RANGE = TIME_RANGE >> 1
_MOST_GAP_WORDS = 1 << 20


def time_base(events: NDArray) -> int:
    """The part of the first event's time that EVT2 cannot say; a device gives times without it. 0 for no events."""
    return int(events["t"][0]) & ~(TIME_RANGE - 1) if len(events) else 0


def encode(events: NDArray, last_high: int | None = None) -> NDArray[np.uint32]:
    """Events (structured t in µs, x, y, p; times non-decreasing) as little-endian EVT2 words.

    last_high: `t >> 6` of the last event already sent in this stream, None at its start. A time word is written
    whenever the upper bits of the time change, and on the way across a gap of more than half the range, so
    that the reader sees every wrap of the clock.
    Raises InputError when a coordinate needs more than 11 bits, or a gap is longer than any recording.
    """
    n = len(events)
    if n == 0:
        return np.empty(0, "<u4")
    x, y = events["x"].astype(np.uint32), events["y"].astype(np.uint32)
    if int(x.max()) >= MAX_SIDE or int(y.max()) >= MAX_SIDE:
        raise InputError(f"pixel ({int(x.max())}, {int(y.max())}) does not fit EVT2, whose coordinates have 11 bits")
    t = events["t"].astype(np.uint64)
    high = (t >> np.uint64(6)).astype(np.int64)
    before = np.concatenate(([high[0] if last_high is None else last_high], high[:-1]))
    hops = (high - before - 1) // (_HALF_RANGE >> 6)  # further time words needed to cross a gap
    hops = np.maximum(hops, 0)
    if int(hops.sum()) > _MOST_GAP_WORDS:
        raise InputError("the recording has a gap of centuries between two events: its times are damaged")
    changes = high != before
    if last_high is None:
        changes[0] = True
    times = np.where(changes, 1 + hops, 0)

    words = np.empty(n + int(times.sum()), "<u4")
    at = np.arange(n) + np.cumsum(times)  # where each event's word goes
    words[at] = (
        (events["p"].astype(bool).astype(np.uint32) << 28) | ((t & np.uint64(63)).astype(np.uint32) << 22) | (x << 11) | y
    )
    words[at[changes] - 1] = _time_words(high[changes])
    for i in np.flatnonzero(hops):
        steps = before[i] + (_HALF_RANGE >> 6) * np.arange(1, hops[i] + 1)
        words[at[i] - 1 - hops[i] : at[i] - 1] = _time_words(steps)
    return words


def _time_words(high: NDArray[np.int64]) -> NDArray[np.uint32]:
    return (np.uint32(_TIME_HIGH) | (high & 0x0FFFFFFF)).astype(np.uint32)
