"""Two ways for a recording to come to a device, losing nothing: over the link, or at its camera port."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceTimeout, UsageError
from spedge.cameras import EmulatedCamera, heard, protocol_of
from spedge.device.open import Device
from spedge.events.arrays import empty_events, since
from spedge.events.evt2 import encode_words, time_base
from spedge.events.formats import format_name
from spedge.link.protocol import Configuration

Say = Callable[[str], None]
_STUCK_SECONDS = 20.0
_LOOK_SECONDS = 0.05
_PIECE_WORDS = 1 << 16


def _nothing() -> None:
    pass


def _share(say: Say, first: int, words: int, done: int) -> None:
    """done: bytes, of the words from the first on."""
    say(f"{(first + done / 4) / words:.0%} sent")


class Feed(Protocol):
    """`configuration`: of the session that it needs."""

    configuration: Configuration

    def heard(self, events: NDArray[Any]) -> NDArray[np.void]:
        """The events as the device gets them: all of them, with times as this way can say them."""

    def play(self, events: NDArray[np.void], say: Say, between: Callable[[], object] = _nothing) -> None:
        """Begin a new stream of the device's session and bring `events`, which are as heard; say how far it is.

        between: is called now and then on the way, and may take results.
        """


class LinkFeed:
    """The host sends the events to the device. grid_us: times of the stream stay on this grid of the recording's."""

    def __init__(self, device: Device, report_tokens: int, grid_us: int = 1) -> None:
        self.configuration = Configuration(report_tokens=report_tokens)
        self._device, self._grid_us = device, grid_us

    def heard(self, events: NDArray[Any]) -> NDArray[np.void]:
        """The events without the part of their times that EVT2 cannot say; the same for all of them."""
        return since(events, time_base(int(events["t"][0]), self._grid_us))

    def play(self, events: NDArray[np.void], say: Say, between: Callable[[], object] = _nothing) -> None:
        self._device.reset()
        words = encode_words(events)
        for at in range(0, len(words), _PIECE_WORDS):
            piece = words[at : at + _PIECE_WORDS]
            self._device.send(piece, partial(_share, say, at, len(words)))
            between()


class CameraFeed:
    """An emulated camera plays the events at the device's camera port, as fast as the board takes them; the host sends
    none. A context manager.

    format: one of cameras.FORMATS. Raises UsageError for another, and for a device whose camera port cannot be reached
    from here; InputError, in `heard`, for events that the format cannot say.
    """

    def __init__(self, device: Device, format: str, report_tokens: int) -> None:
        format = format_name(format)
        if device.camera_address is None:
            raise UsageError(f"{device.name} has no camera port that can be reached from here: use an emulated board")
        self.configuration = Configuration(report_tokens=report_tokens, source="camera", format=format)
        self._format = format
        self._device = device
        self._camera = EmulatedCamera(device.camera_address, empty_events(), protocol_of(format), "full")

    def heard(self, events: NDArray[Any]) -> NDArray[np.void]:
        return heard(events, self._format)

    def play(self, events: NDArray[np.void], say: Say, between: Callable[[], object] = _nothing) -> None:
        """As Feed.play. Raises DeviceError when the board takes nothing of the camera's for 20 s."""
        self._camera.load(events)
        self._device.reset()
        if self._camera.protocol != "edvs":
            self._camera.play()
        taken, moved = -1, time.monotonic()
        while taken < len(events):
            self._device.tokens()
            between()
            stats = self._device.stats()
            done = stats.events + stats.decoder_outside
            now = time.monotonic()
            if done != taken:
                taken, moved = done, now
                say(f"{taken / len(events):.0%} played")
            elif now - moved > _STUCK_SECONDS:
                raise DeviceTimeout(
                    f"{self._device.name} has taken {taken} of the camera's {len(events)} events and waits"
                )
            time.sleep(_LOOK_SECONDS)

    def __enter__(self) -> CameraFeed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._camera.close()
