"""Cameras and boards that send raw words on a serial port."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, DeviceTimeout, UsageError
from spedge.events.decoders import Decoder, EdvsDecoder
from spedge.events.formats import WORD_FORMATS, format_name
from spedge.link.transport import BAUD, connect
from spedge.sources.base import PACKET_SECONDS, Source

_EDVS_SIDE = 128
_EDVS_BAUD = 4_000_000
_COMMAND_SECONDS = 1.0
_QUIET_SECONDS = 0.05


class SerialSource(Source):
    """Raw words of one format (one of formats.WORD_FORMATS) from a serial port, or whatever device.connect opens.

    width, height: of the sensor, pixels. baud: None for transport.BAUD; USB serial ports ignore it.
    `lost`: what the decoder left out, by cause. A port that loses bytes does not say so.
    Raises UsageError for an unknown format, DeviceError when the port cannot be opened.
    """

    def __init__(
        self,
        port: str,
        format: str,
        *,
        width: int,
        height: int,
        baud: int | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        self._decoder = decoder or Decoder(format_name(format, WORD_FORMATS), width=width, height=height)
        super().__init__(port, width, height, live=True)
        self._port = connect(port, baud or BAUD)
        self._early = b""  # came before anybody asked for packets

    def packets(self) -> Iterator[NDArray[np.void]]:
        data, self._early = self._early, b""
        yield self._checked(self._decoder, self._decoder.feed(data))
        while not self._stopped.is_set():
            _, data = self._port.exchange(b"", PACKET_SECONDS)
            yield self._checked(self._decoder, self._decoder.feed(data))

    def close(self) -> None:
        self._port.close()


class EdvsCamera(SerialSource):
    """An eDVS (128x128) on a serial port: told to send events, and to stop when closed.

    baud: None for 4000000. mode: event format 0 to 4, None for 4 (32-bit times). invert_polarity: a bit of 1 means
    off. Raises UsageError for an unknown mode or one without times, DeviceError when the port cannot be opened.
    """

    def __init__(
        self, port: str, *, baud: int | None = None, mode: int | None = None, invert_polarity: bool = False
    ) -> None:
        mode = 4 if mode is None else mode
        if mode not in (1, 2, 3, 4):
            raise UsageError(f"eDVS event format {mode} is not possible here: 1 to 4 say when an event was")
        decoder = EdvsDecoder(mode, invert_polarity=invert_polarity)
        super().__init__(
            port, f"edvs-e{mode}", width=_EDVS_SIDE, height=_EDVS_SIDE, baud=baud or _EDVS_BAUD, decoder=decoder
        )
        self._command("E-", "!U0", f"!E{mode}")
        while self._port.exchange(b"", _QUIET_SECONDS)[1]:
            pass  # what it said before, and its answers
        self._early = self._command("E+")

    def _command(self, *lines: str) -> bytes:
        """Send commands. Returns what came meanwhile."""
        heard = b""
        out = "".join(line + "\n" for line in lines).encode()
        deadline = time.monotonic() + _COMMAND_SECONDS
        while out:
            written, received = self._port.exchange(out, PACKET_SECONDS)
            out, heard = out[written:], heard + received
            if time.monotonic() > deadline:
                raise DeviceTimeout(f"{self.name} takes no commands: is it the eDVS's port, and the baud rate right?")
        return heard

    def close(self) -> None:
        with contextlib.suppress(DeviceError):  # it may be gone
            self._command("E-")
        super().close()
