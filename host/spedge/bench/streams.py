"""Events as the bytes of any camera format, for measuring decoders."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge import evt2, evt3
from spedge.decoders import FORMATS
from spedge.errors import UsageError

EDVS_SIDE = 128
_EDVS_CLOCK_BYTES = {"eDVS E0": 0, "eDVS E2": 2, "eDVS E3": 3, "eDVS E4": 4}


def encode(events: NDArray[Any], format: str) -> bytes:
    """A stream of `format`, a key of decoders.FORMATS, with these events.

    events: structured with t (µs), x, y, p, sorted by time. eDVS has 128x128 pixels: coordinates are taken modulo 128; its
    times wrap as its clocks do. EVT2.1 gets one word for events that follow each other in one row, of one polarity and
    time, from left to right; EVT3 gets no vector words.
    Raises UsageError for an unknown format, InputError for events that a format cannot hold.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; known are {', '.join(FORMATS)}")
    if format == "EVT2":
        return evt2.encode(events)
    if format == "EVT3":
        return evt3.encode(events)
    if format.startswith("EVT21"):
        return _evt21(events, legacy=format.endswith("legacy"))
    return _edvs(events, format)


def _evt21(events: NDArray[Any], legacy: bool) -> bytes:
    """From the words of EVT2, which has the same heads."""
    heads = evt2.encode_words(events, last_high=0, first=True)
    is_event = heads >> 28 <= 1
    column = heads >> 11 & 31
    aligned = np.where(is_event, heads & ~np.uint32(31 << 11), heads)
    joins = np.zeros(len(heads), bool)
    joins[1:] = is_event[1:] & (aligned[1:] == aligned[:-1]) & (column[1:] > column[:-1])
    starts = np.flatnonzero(~joins)
    bits = np.where(is_event, np.uint32(1) << column, np.uint32(0))
    words = np.empty((len(starts), 2), "<u4")
    words[:, 0] = np.bitwise_or.reduceat(bits, starts) if len(starts) else 0
    words[:, 1] = aligned[starts]
    return (words[:, ::-1] if legacy else words).tobytes()


def _edvs(events: NDArray[Any], format: str) -> bytes:
    address = np.empty((len(events), 2), np.uint8)
    address[:, 0] = 0x80 | events["y"] % EDVS_SIDE
    address[:, 1] = events["p"].astype(np.uint8) << 7 | (events["x"] % EDVS_SIDE).astype(np.uint8)
    t = events["t"].astype(np.int64)
    if format == "eDVS E1":
        return _with_deltas(address, np.diff(t, prepend=t[:1]))
    clock = t.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - _EDVS_CLOCK_BYTES[format] :]
    return np.hstack([address, clock]).tobytes()


def _with_deltas(address: NDArray[np.uint8], delta: NDArray[np.int64]) -> bytes:
    """7 bits a byte, the upper ones first, the last byte's top bit set."""
    delta = np.minimum(delta, (1 << 28) - 1)
    shifts = np.array([21, 14, 7, 0])
    septets = (delta[:, None] >> shifts & 0x7F).astype(np.uint8)
    septets[:, 3] |= 0x80
    used = np.ones((len(delta), 6), bool)
    used[:, 2:5] = delta[:, None] >> shifts[:3] > 0
    return np.hstack([address, septets])[used].tobytes()
