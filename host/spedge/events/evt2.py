"""Prophesee EVT2: events to 32-bit words and back. Devices take these words over the link.

A little-endian word: type 31:28 (0 off, 1 on, 8 TIME_HIGH), then for an event the low 6 bits of the time, x and y of
11 bits; for TIME_HIGH the upper 28 bits of the time. The clock wraps after 2^34 µs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.events.arrays import Columns, check_events, columns
from spedge.events.decoders import Evt2Decoder

#: Times that EVT2 can tell apart, µs.
TIME_RANGE = 1 << 34
#: One more than the largest coordinate.
MAX_SIDE = 1 << 11

_TIME_HIGH = 0x8 << 28
_HALF_RANGE = TIME_RANGE >> 7  # in units of TIME_HIGH, 64 µs
_MOST_GAP_WORDS = 1 << 20


def time_base(t: int, grid_us: int = 1) -> int:
    """The part of a time that EVT2 cannot say, µs: whole ranges of its clock, or nearly so in whole steps of a grid.

    What is left is below 2^34, and as far from the grid's points as before.
    """
    usable = TIME_RANGE // grid_us * grid_us
    return t // usable * usable


class Decoder(Evt2Decoder):
    """EVT2 bytes to events, streaming, whatever the sensor; of this module's name for what Decoder.feed does."""

    push = Evt2Decoder.feed


class Encoder:
    """Events to EVT2, a piece of the stream at a time.

    start: what a reader's clock begins with, µs. None: a reader adds the `time_base` of the first event itself.
    """

    def __init__(self, start: int | None = None) -> None:
        self._high = None if start is None else start >> 6  # of the event before: what the last time word said
        self._started = False

    @property
    def high(self) -> int:
        """The time that the last time word said, in units of 64 µs."""
        return self._high or 0

    def words(self, events: NDArray[Any], time_first: bool = False) -> NDArray[np.uint32]:
        """Words of the events that follow (see encode_words). time_first: begin with a time word in any case."""
        words = encode_words(events, self._high, first=time_first or not self._started)
        if len(events):
            self._started = True
            self._high = int(events["t"][-1]) >> 6
        return words

    def encode(self, events: NDArray[Any]) -> bytes:
        """The same as bytes."""
        return self.words(events).astype("<u4", copy=False).tobytes()


def encode(events: NDArray[Any]) -> bytes:
    """A whole recording as EVT2 bytes that decode to the same events, times of 2^34 µs and more included.

    events: structured, sorted by time. Raises InputError (see encode_words).
    """
    return Encoder(start=0).encode(events)


def encode_words(events: NDArray[Any], last_high: int | None = None, first: bool = False) -> NDArray[np.uint32]:
    """Events as EVT2 words, uint32 [words].

    events: structured with t (µs), x, y, p, sorted by time.
    last_high: `t >> 6` of the event before these in the stream. None at the start of a stream whose reader adds the
    part of the time beyond 2^34 µs itself.
    first: write a time word before the first event whatever last_high is.
    A time word is written whenever the upper bits of the time change, and several across a gap of more than half
    the clock's range, so that a reader sees every wrap.
    Raises InputError when a coordinate needs more than 11 bits or a gap between events is centuries long.
    """
    if len(events) == 0:
        return np.empty(0, np.uint32)
    c = columns(events)
    check_side(c, "EVT2")
    check_events(c)
    t, x, y, p = c
    high = (t.astype(np.uint64) >> np.uint64(6)).astype(np.int64)
    before = np.empty_like(high)
    before[0] = high[0] if last_high is None else last_high
    before[1:] = high[:-1]
    hops = np.maximum((high - before - 1) // _HALF_RANGE, 0)  # time words on the way across a gap
    if int(hops.sum()) > _MOST_GAP_WORDS:
        raise InputError("a gap between two events is longer than EVT2 can bridge: shift the times towards 0")
    changes = high != before
    changes[0] |= first or last_high is None
    times = np.where(changes, 1 + hops, 0)

    words = np.empty(len(t) + int(times.sum()), np.uint32)
    at = np.arange(len(t)) + np.cumsum(times)  # where each event's word goes
    low = (t.astype(np.uint64) & np.uint64(63)).astype(np.uint32)
    words[at] = (p.astype(np.uint32) << 28) | (low << 22) | (x.astype(np.uint32) << 11) | y.astype(np.uint32)
    words[at[changes] - 1] = _time_words(high[changes])
    for i in np.flatnonzero(hops):
        way = before[i] + _HALF_RANGE * np.arange(1, hops[i] + 1)
        words[at[i] - 1 - hops[i] : at[i] - 1] = _time_words(way)
    return words


def check_side(c: Columns, encoding: str) -> None:
    """Raises InputError for a pixel that a word of EVT2 or EVT3 cannot hold."""
    if len(c.t) and max(c.x.max(), c.y.max()) >= MAX_SIDE:
        at = int(np.argmax((c.x >= MAX_SIDE) | (c.y >= MAX_SIDE)))
        raise InputError(
            f"event {at} is at pixel ({c.x[at]}, {c.y[at]}), and {encoding} holds coordinates up to {MAX_SIDE - 1}: "
            "choose another format"
        )


def time_words(t: int, last_t: int) -> NDArray[np.uint32]:
    """EVT2 words that bring a reader's clock from last_t to t, µs, or up to 63 µs further; uint32 [words].

    They end the bins of a voxel tokenizer on a device, the last of which no later event would end.
    Raises UsageError for a t before last_t.
    """
    if t < last_t:
        raise UsageError(f"the clock cannot go back from {last_t} µs to {t} µs")
    way = np.arange((last_t >> 6) + _HALF_RANGE, -(-t >> 6), _HALF_RANGE)
    return _time_words(np.append(way, -(-t >> 6)).astype(np.int64))


def _time_words(high: NDArray[np.int64]) -> NDArray[np.uint32]:
    return (np.uint32(_TIME_HIGH) | (high & 0x0FFFFFFF)).astype(np.uint32)
