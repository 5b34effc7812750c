"""Events as the bytes of any camera format, for measuring decoders."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.events import evt2, evt3, evt21
from spedge.events.decoders import FORMATS
from spedge.events.words import EDVS_SIDE, encoder


def encode(events: NDArray[Any], format: str) -> bytes:
    """A stream of `format`, a key of decoders.FORMATS, with these events.

    events: structured with t (µs), x, y, p, sorted by time. eDVS has 128x128 pixels: coordinates are taken modulo 128;
    its times wrap as its clocks do, and those of E1 begin at 0. EVT3 gets no vector words.
    Raises UsageError for an unknown format, InputError for events that a format cannot hold.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; known are {', '.join(FORMATS)}")
    if format == "EVT2":
        return evt2.encode(events)
    if format == "EVT3":
        return evt3.encode(events)
    if format.startswith("EVT21"):
        return evt21.encode(events, legacy=format.endswith("legacy"))
    folded = events.copy()
    for name in ("x", "y"):
        folded[name] %= EDVS_SIDE
    if format.endswith("E1"):
        folded["t"] -= folded["t"][:1]
    return encoder(f"edvs-{format[-2:].lower()}")(folded)
