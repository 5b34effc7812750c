"""Events to the bytes of a camera, a piece of the stream at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events import evt2, evt3, evt21
from spedge.events.arrays import check_events, columns
from spedge.events.formats import format_name

#: Takes the events that follow (structured with t µs, x, y, p; sorted by time), gives their bytes.
Encoder = Callable[[NDArray[Any]], bytes]


#: Pixels of an eDVS, each way.
EDVS_SIDE = 128
_MOST_DELTA = 1 << 28  # of format 1, µs


def encoder(format: str) -> Encoder:
    """An encoder at the start of a stream of one of formats.FORMATS.

    It raises InputError for events that the format cannot say. Raises UsageError for another format.
    """
    format = format_name(format)
    if format == "evt2":
        return evt2.Encoder().encode
    if format.startswith("evt2.1"):
        return evt21.Encoder(legacy=format.endswith("legacy")).encode
    if format == "evt3":
        return evt3.Encoder().encode
    return _Edvs(int(format[-1]))


class _Edvs:
    """eDVS: `1yyyyyyy pxxxxxxx`, then the time in µs: nothing (0), what has passed since the event before in 7-bit
    groups, the last one marked (1), or its low 16, 24 or 32 bits, big-endian (2, 3, 4)."""

    def __init__(self, mode: int) -> None:
        self._mode = mode
        self._before = 0

    def __call__(self, events: NDArray[Any]) -> bytes:
        c = columns(events)
        check_events(c, EDVS_SIDE, EDVS_SIDE)
        t = c.t.astype(np.int64)
        address = np.stack([0x80 | c.y, c.p.astype(np.uint16) << 7 | c.x], axis=1).astype(np.uint8)
        if self._mode == 0:
            return address.tobytes()
        if self._mode == 1:
            return self._with_deltas(address, t)
        stamps = (t.astype(">u8")).view(np.uint8).reshape(len(t), 8)[:, -self._mode :]
        return np.concatenate([address, stamps], axis=1).tobytes()

    def _with_deltas(self, address: NDArray[np.uint8], t: NDArray[np.int64]) -> bytes:
        delta = np.diff(t, prepend=self._before)
        if len(t):
            self._before = int(t[-1])
        if np.any(delta >= _MOST_DELTA):
            raise InputError("a pause between events is longer than eDVS format 1 can say")
        rows = np.zeros((len(t), 6), np.uint8)
        rows[:, :2] = address
        for group in range(4):
            rows[:, 2 + group] = delta >> 7 * (3 - group) & 0x7F
        rows[:, 5] |= 0x80
        used = np.ones((len(t), 6), bool)
        for group in range(3):
            used[:, 2 + group] = delta >= 1 << 7 * (3 - group)
        return rows[used].tobytes()
