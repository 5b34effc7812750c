"""Events as the bytes of any camera format, for measuring decoders."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from spedge.events import evt2
from spedge.events.formats import WORD_FORMATS, format_name
from spedge.events.words import EDVS_SIDE, encoder


def encode(events: NDArray[Any], format: str) -> bytes:
    """A stream of `format`, one of formats.FORMATS, with these events.

    events: structured with t (µs), x, y, p, sorted by time. eDVS has 128x128 pixels: coordinates are taken modulo 128;
    its times wrap as its clocks do, and those of E1 begin at 0. EVT3 gets no vector words.
    Raises UsageError for an unknown format, InputError for events that a format cannot hold.
    """
    format = format_name(format)
    if format == "evt2":
        return evt2.encode(events)
    if format in WORD_FORMATS:
        return encoder(format)(events)
    folded = events.copy()
    for name in ("x", "y"):
        folded[name] %= EDVS_SIDE
    if format == "edvs-e1":
        folded["t"] -= folded["t"][:1]
    return encoder(format)(folded)
