"""Prophesee EVT2.1: events to 64-bit words. The decoder is spedge.decoders.Evt21Decoder.

The upper half of a word has the fields of an EVT2 word, with x a multiple of 32; the lower half is a mask of the 32
pixels from x on that had the event. The IMX636 sends the halves swapped ("legacy").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.events import evt2

_TIME_HIGH = 8
_X_IN_GROUP = np.uint32(31 << 11)


class Encoder:
    """Events to EVT2.1 bytes, a piece of the stream at a time; as evt2.Encoder. legacy: with the halves swapped."""

    def __init__(self, legacy: bool = False) -> None:
        self._evt2 = evt2.Encoder()
        self._legacy = legacy

    def encode(self, events: NDArray[Any]) -> bytes:
        """Words of the events that follow. Raises InputError as evt2.encode_words."""
        return _vectors(self._evt2.words(events), self._legacy)


def encode(events: NDArray[Any], legacy: bool = False) -> bytes:
    """Events as EVT2.1 bytes (see Encoder)."""
    return Encoder(legacy).encode(events)


def _vectors(words: NDArray[np.uint32], legacy: bool) -> bytes:
    """EVT2 words as EVT2.1.

    Neighbours in the array with one time, row and polarity share a word while their x ascend within 32 pixels, so that
    the words decode to the same events in the same order.
    """
    if len(words) == 0:
        return b""
    is_event = words >> np.uint32(28) != _TIME_HIGH
    heads = np.where(is_event, words & ~_X_IN_GROUP, words)
    masks = np.where(is_event, np.uint32(1) << ((words & _X_IN_GROUP) >> np.uint32(11)), np.uint32(0))
    begins = np.ones(len(words), bool)
    begins[1:] = (heads[1:] != heads[:-1]) | (masks[1:] <= masks[:-1])
    at = np.flatnonzero(begins)
    halves = np.empty((len(at), 2), "<u4")
    halves[:, 0 if legacy else 1] = heads[at]
    halves[:, 1 if legacy else 0] = np.bitwise_or.reduceat(masks, at)
    return halves.tobytes()
