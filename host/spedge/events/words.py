"""Events to the bytes of a camera, a piece of the stream at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.events import evt2, evt3, evt21
from spedge.events.arrays import check_events, columns

#: Takes the events that follow (structured with t µs, x, y, p; sorted by time), gives their bytes.
Encoder = Callable[[NDArray[Any]], bytes]


class Format(NamedTuple):
    """decoder: ours, a key of decoders.FORMATS. word: bytes of a word, for an eDVS of an event; 1: they differ."""

    decoder: str
    word: int


#: What a camera port can be told to take, as in device.Configuration.
FORMATS = {
    "evt2": Format("EVT2", 4),
    "evt2.1": Format("EVT21", 8),
    "evt2.1-legacy": Format("EVT21 legacy", 8),
    "evt3": Format("EVT3", 2),
    "edvs-e0": Format("eDVS E0", 2),
    "edvs-e1": Format("eDVS E1", 1),
    "edvs-e2": Format("eDVS E2", 4),
    "edvs-e3": Format("eDVS E3", 5),
    "edvs-e4": Format("eDVS E4", 6),
}
#: Pixels of an eDVS, each way.
EDVS_SIDE = 128
_MOST_DELTA = 1 << 28  # of format 1, µs


def encoder(format: str) -> Encoder:
    """An encoder at the start of a stream of one of FORMATS.

    It raises InputError for events that the format cannot say. Raises UsageError for another format.
    """
    if format == "evt2":
        return _Evt2(lambda events, high: evt2.encode_words(events, high).astype("<u4", copy=False).tobytes())
    if format in ("evt2.1", "evt2.1-legacy"):
        return _Evt2(lambda events, high: evt21.encode(events, high, legacy=format.endswith("legacy")))
    if format == "evt3":
        return evt3.Encoder().encode
    if format in FORMATS:
        return _Edvs(int(format[-1]))
    raise UsageError(f"there is no camera format {format!r}")


class _Evt2:
    """EVT2 and EVT2.1: what the next piece has to know is the last time word."""

    def __init__(self, encode: Callable[[NDArray[Any], int | None], bytes]) -> None:
        self._encode = encode
        self._high: int | None = None

    def __call__(self, events: NDArray[Any]) -> bytes:
        data = self._encode(events, self._high)
        if len(events):
            self._high = int(events["t"][-1]) >> 6
        return data


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
