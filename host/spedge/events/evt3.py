"""Prophesee EVT3: events to 16-bit words. The decoder is spedge.decoders.Evt3Decoder.

A little-endian word: type 15:12, then 12 bits. TIME_HIGH (8) and TIME_LOW (6) hold 12 bits of the time each,
ADDR_Y (0) the row of the coming events, ADDR_X (2) the column and the polarity (bit 11) of one event. The clock wraps
after 2^24 µs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import check_events, columns
from spedge.events.evt2 import check_side

_ADDR_Y, _ADDR_X, _TIME_LOW, _TIME_HIGH = 0x0000, 0x2000, 0x6000, 0x8000
_HALF_RANGE = 1 << 11  # in units of TIME_HIGH, 4096 µs
_MOST_GAP_WORDS = 1 << 20


class Encoder:
    """Events to EVT3 bytes, a piece of the stream at a time. They decode to the same events, times included."""

    def __init__(self) -> None:
        self._started = False
        self._high = 0
        self._low = self._y = -1

    def encode(self, events: NDArray[Any]) -> bytes:
        """Words of the events that follow; structured with t (µs), x, y, p, sorted by time.

        A TIME_HIGH word is written when the upper bits of the time change, and several across a gap of more than half
        the clock's range, so that a reader sees every wrap; TIME_LOW and ADDR_Y when they change.
        Raises InputError when a coordinate needs more than 11 bits or a gap is centuries long.
        """
        if len(events) == 0:
            return b""
        c = columns(events)
        check_side(c, "EVT3")
        check_events(c)
        t = c.t.astype(np.uint64)
        high, low = ((t >> np.uint64(12)).astype(np.int64), (t & np.uint64(0xFFF)).astype(np.int64))
        y = c.y.astype(np.int64)
        high_before = _before(high, self._high)
        hops = np.maximum((high - high_before - 1) // _HALF_RANGE, 0)  # time words on the way across a gap
        if int(hops.sum()) > _MOST_GAP_WORDS:
            raise InputError("the time before an event is longer than EVT3 can bridge: shift the times towards 0")
        new_high = high != high_before
        new_high[0] |= not self._started
        self._started = True
        new_low = np.where(new_high, low != 0, low != _before(low, self._low))
        new_y = y != _before(y, self._y)
        self._high, self._low, self._y = int(high[-1]), int(low[-1]), int(y[-1])

        ends = np.cumsum(hops + new_high + new_low + new_y + 1)
        words = np.empty(int(ends[-1]), "<u2")
        words[ends - 1] = _ADDR_X | c.p.astype(np.uint16) << 11 | c.x
        words[(ends - 2)[new_y]] = _ADDR_Y | y[new_y]
        words[(ends - 2 - new_y)[new_low]] = _TIME_LOW | low[new_low]
        at_high = ends - 2 - new_y - new_low
        words[at_high[new_high]] = _TIME_HIGH | high[new_high] & 0xFFF
        for i in np.flatnonzero(hops):
            way = high_before[i] + _HALF_RANGE * np.arange(1, hops[i] + 1)
            words[at_high[i] - hops[i] : at_high[i]] = _TIME_HIGH | way & 0xFFF
        return words.tobytes()


def encode(events: NDArray[Any]) -> bytes:
    """A whole recording as EVT3 bytes (see Encoder.encode)."""
    return Encoder().encode(events)


def _before(values: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Each value's predecessor."""
    before = np.empty_like(values)
    before[0] = first
    before[1:] = values[:-1]
    return before
