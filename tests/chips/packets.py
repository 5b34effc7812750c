"""What a GENX320 sends: EVT2 words in packets of 1024 bytes, each with the time when it is sent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.events.evt2 import encode_words
from tests.chips.receivers import PACKET_BYTES

PACKET_WORDS = PACKET_BYTES // 4
#: Words that are no events: of EVT2's types "other" and "continued".
PADDING = np.array([0xE0000000, 0xFFFFFFFF], np.uint32)
_TIME_HIGH = 8


def packets_of(events: NDArray[Any], filled: int = PACKET_WORDS) -> NDArray[np.void]:
    """For the double's option frames: records of a time, µs (u64), and 256 words, `filled` of which say something.

    A packet is sent at the time of its last event; the last one is filled up whatever `filled` says.
    """
    words = encode_words(events, first=True)
    kinds = words >> 28
    high = np.maximum.accumulate(np.where(kinds == _TIME_HIGH, words & 0x0FFFFFFF, 0).astype(np.uint64))
    times = (high << np.uint64(6)) | np.where(kinds == _TIME_HIGH, 0, words >> 22 & 63).astype(np.uint64)
    count = -(-len(words) // filled)
    records = np.zeros(count, np.dtype([("us", "<u8"), ("words", "<u4", PACKET_WORDS)]))
    records["words"] = np.resize(PADDING, PACKET_WORDS)
    padded = np.resize(PADDING, count * filled)
    padded[: len(words)] = words
    records["words"][:, :filled] = padded.reshape(count, filled)
    records["us"] = times[np.minimum(np.arange(1, count + 1) * filled, len(words)) - 1]
    return records
