"""The camera at a board's camera port, seen through the board."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spedge.device.open import Device
from spedge.events.decoders import Decoder
from spedge.events.formats import FORMATS, TIMED_FORMATS, WORD_FORMATS, format_name
from spedge.link.protocol import Configuration
from spedge.sources.base import PACKET_SECONDS, Source
from spedge.tokens.settings import TokenizerSettings

_EVT3_BYTES, _EVT3_ROW, _EVT3_TIME_HIGH = 2, 0x0, 0x8  # of a word; types of words
_PATCH_SIZE, _THRESHOLD = 16, 256.0  # what the board does with the events is not looked at


class BoardCamera(Source):
    """Events of the camera at a board's camera port, from the bytes that the board passes on.

    port: where the camera is, "camera" (a UART) or "frames".
    format: of the camera, as in device.Configuration, without "edvs-e0", whose events have no time. mode: "live", in
    which the camera is never held up and bytes that the link has no room for are lost, or "lossless", in which it is
    held up. lost: `bytes` of the camera that did not get through, and what the decoder left out after such a gap.
    Raises UsageError for an unknown format; `packets` what the device raises.
    """

    def __init__(
        self,
        device: Device,
        format: str,
        *,
        width: int,
        height: int,
        mode: str = "live",
        baud: int = 0,
        port: str = "camera",
    ) -> None:
        format = format_name(format, TIMED_FORMATS)
        super().__init__(f"the camera of {device.name}", width, height, live=mode == "live")
        self._device = device
        self._word = FORMATS[format].word
        edvs = format not in WORD_FORMATS
        self._decoder = Decoder(format) if edvs else Decoder(format, width=width, height=height)
        self._timed_words = not edvs  # events get their times from words before them
        self._unsure = False  # after a gap, until such words have come
        self._timed = False
        self._rest = b""  # of a word that is not complete
        self._at = 0  # bytes of the stream so far, lost ones included
        tokenizer = TokenizerSettings(width, height, _PATCH_SIZE, _THRESHOLD)
        self._configuration = Configuration(
            model=False, tokenizer=tokenizer, source=port, format=format, mode=mode, baud=baud, raw=True
        )

    def packets(self) -> Iterator[NDArray[np.void]]:
        self._device.configure(self._configuration)
        while not self._stopped.is_set():
            lost, data = self._device.raw()
            if lost:
                self._skip(lost)
            yield self._checked(self._decoder, self._decode(data))
            if not data:
                self._device.wait(PACKET_SECONDS / 4)

    def _skip(self, lost: int) -> None:
        """The next bytes do not follow those before: they may begin inside a word, and the time may have moved on."""
        self._count_lost("bytes", lost)
        self._at += lost
        self._rest = b""
        self._unsure, self._timed = self._timed_words, False

    def _decode(self, data: bytes) -> NDArray[np.void]:
        begins = -self._at % self._word if not self._rest else 0
        self._at += len(data)
        data = self._rest + data[begins:]
        whole = len(data) - len(data) % self._word
        data, self._rest = data[:whole], data[whole:]
        if self._unsure:
            data = data[self._find_time(data) :]
        return self._decoder.feed(data)

    def _find_time(self, data: bytes) -> int:
        """Where the first event is whose time, and row, words after the gap have said; those before are left out."""
        for at in range(0, len(data), self._word):
            times = self._decoder.stats.times
            self._count_lost("after a gap", len(self._decoder.feed(data[at : at + self._word])))
            kind = data[at + 1] >> 4 if self._word == _EVT3_BYTES else None
            if kind == _EVT3_TIME_HIGH:
                self._timed = True
            elif kind is None:
                self._timed = self._decoder.stats.times > times
            if self._timed and kind in (None, _EVT3_ROW):
                self._unsure = False
                return at + self._word
        return len(data)

    def close(self) -> None:
        """The device belongs to whoever opened it."""
