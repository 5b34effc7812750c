"""Prophesee EVT2: events to 32-bit words and back (`spedge.events.evt2`)."""

from spedge.events.decoders import DecodeStats
from spedge.events.evt2 import (
    MAX_SIDE,
    TIME_RANGE,
    Decoder,
    Encoder,
    check_side,
    encode,
    encode_words,
    time_base,
    time_words,
)

__all__ = [
    "MAX_SIDE",
    "TIME_RANGE",
    "DecodeStats",
    "Decoder",
    "Encoder",
    "check_side",
    "encode",
    "encode_words",
    "time_base",
    "time_words",
]
