"""Camera formats: streaming decoders from bytes to events, in C.

A decoder takes the bytes of its format in any pieces; what is left of a cut word waits for the next piece. Bytes are
not trusted: whatever comes in, a decoder gives events inside the sensor and counts what it left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spedge import _decoders
from spedge.base.parameters import whole_number
from spedge.events.formats import FORMATS, format_name

__all__ = ["FORMATS", "DecodeStats", "Decoder", "EdvsDecoder", "Evt2Decoder", "Evt3Decoder", "Evt21Decoder"]


@dataclass(frozen=True)
class DecodeStats:
    """What became of the words.

    words = singles + vectors + addresses + times + triggers + other + unknown + untimed, and
    singles (words that are one event) = events + outside + clipped - vector_events.
    """

    words: int  #: whole words; eDVS: whole events
    events: int  #: events handed out
    times: int  #: time words
    triggers: int  #: external trigger words
    other: int  #: the vendor's other and continued words
    unknown: int  #: words of a type that the format does not define
    untimed: int  #: event words before the first time word (EVT3: time, row or base), lost
    addresses: int  #: EVT3: words that set the row or the base of vectors
    vectors: int  #: EVT2.1, EVT3: words that hold a mask of events
    vector_events: int  #: set bits of those masks
    outside: int  #: events outside the sensor, dropped; not those of `clipped`
    clipped: int  #: set bits of masks that reach over the sensor's right edge, dropped
    skipped: int  #: eDVS: bytes skipped to find the start of an event

    @property
    def singles(self) -> int:
        """Words that are one event each."""
        return self.events + self.outside + self.clipped - self.vector_events


class Decoder:
    """Bytes of one format (one of FORMATS) to events.

    width, height: the sensor, pixels; events outside are dropped and counted. None: whatever the format can say.
    invert_polarity: a polarity bit of 1 means off.
    Raises UsageError for an unknown format or a wrong size.
    """

    def __init__(
        self, format: str, *, width: int | None = None, height: int | None = None, invert_polarity: bool = False
    ) -> None:
        right, bottom = (
            0 if value is None else whole_number(name, value, 1, 65535)
            for name, value in (("width", width), ("height", height))
        )
        self.format = format_name(format)
        self._native = _decoders.Decoder(FORMATS[self.format].library, right, bottom, invert_polarity)

    def feed(self, data: bytes | bytearray | memoryview) -> NDArray[np.void]:
        """Events of these bytes (EVENT_DTYPE; t in µs of the sensor's clock, its wraps added)."""
        return self._native.feed(data)

    def reset(self) -> None:
        """Forget the time, the counts and the first bytes of a cut word."""
        self._native.reset()

    def copy(self) -> Decoder:
        """A decoder that goes on from here on its own."""
        other = Decoder.__new__(type(self))
        other.format = self.format
        other._native = self._native.copy()
        return other

    def state(self) -> tuple[int, ...]:
        """All that it knows of the words so far, without the counts, as numbers of 64 bits for `restore`."""
        return tuple(np.frombuffer(self._native.state(), np.uint64).tolist())

    def restore(self, state: Sequence[int]) -> None:
        """Go on from what a decoder of this format knew; counts begin anew. Raises ValueError for another's state."""
        self._native.restore(np.array(state, np.uint64).tobytes())

    @property
    def time(self) -> int:
        """µs. EVT2 and EVT2.1: of the last time word, which has no low 6 bits; else now, or of the last event."""
        return self._native.time

    @property
    def timed(self) -> bool:
        """Whether a time word has come."""
        return self._native.timed

    @property
    def partial_bytes(self) -> int:
        """Bytes of a cut word that wait for the rest of it."""
        return self._native.partial_bytes

    @property
    def stats(self) -> DecodeStats:
        """Counts since the start or the last reset."""
        return DecodeStats(**self._native.stats())


class Evt2Decoder(Decoder):
    """Prophesee EVT2, 32-bit words."""

    def __init__(self, *, width: int | None = None, height: int | None = None) -> None:
        super().__init__("evt2", width=width, height=height)


class Evt21Decoder(Decoder):
    """Prophesee EVT2.1, 64-bit words.

    legacy: their 32-bit halves are swapped (IMX636); the RAW header says `endianness=legacy`.
    """

    def __init__(self, *, width: int | None = None, height: int | None = None, legacy: bool = False) -> None:
        super().__init__("evt2.1-legacy" if legacy else "evt2.1", width=width, height=height)


class Evt3Decoder(Decoder):
    """Prophesee EVT3, 16-bit words."""

    def __init__(self, *, width: int | None = None, height: int | None = None) -> None:
        super().__init__("evt3", width=width, height=height)


class EdvsDecoder(Decoder):
    """eDVS over UART, 128x128 pixels.

    mode: event format as set with `!E0` to `!E4`. With 0 the events carry no time and get the one of set_time.
    The clocks of 2 (wraps after 65.5 ms), 3 (16.8 s) and 4 (71.6 min) are unwrapped; of a longer pause nothing is seen.
    """

    def __init__(self, mode: int = 4, *, invert_polarity: bool = False) -> None:
        super().__init__(f"edvs-e{whole_number('mode', mode, 0, 4)}", invert_polarity=invert_polarity)

    def set_time(self, t: int) -> None:
        """Time, µs, of the events that follow (mode 0), or of the origin of the differences (mode 1)."""
        self._native.set_time(whole_number("t", t, 0, 2**64 - 1))
