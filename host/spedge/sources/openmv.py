"""OpenMV cameras with a GENX320: our program is sent to the camera and started there, and its events are fetched."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, DeviceGone, DeviceRefused
from spedge.events.arrays import EVENT_DTYPE
from spedge.link.transport import BAUD, connect
from spedge.sources.base import PACKET_SECONDS, Source
from spedge.sources.openmv_link import (
    STDIN_EXEC,
    STDIN_RESET,
    STDIN_STOP,
    LinkTrouble,
    OpenMvLink,
)
from spedge.sources.openmv_script import CHANNEL, HEAD, HEIGHT, MARK, SCRIPT, WIDTH

#: USB ids of OpenMV's cameras; product None: all of this vendor.
USB_IDS = ((0x37C5, None), (0x1209, 0xABD1))
_ROW = np.dtype([(name, "<u2") for name in ("type", "s", "ms", "us", "x", "y")])
_OFF, _ON = 0, 1  # types of events; others are triggers
_SECONDS_WRAP = 1 << 16
_COUNTS = 1 << 32
_START_SECONDS = 5.0  # the sensor is set up by I2C before the channel is there


class OpenMvCamera(Source):
    """A GENX320 on an OpenMV camera at a USB port.

    patience: seconds within which a camera that was reset, or does not answer, has to be back.
    `lost`: `events` that the camera had no room for while they waited to be fetched, counted there; `restarts` of the
    camera, each of which took what had not been fetched; `failed reads` of the sensor; what lies `outside` of it, goes
    `backwards` in time, or is no event of a pixel (`other`). What the sensor's receiver drops, the camera does
    not tell.
    After a restart the time goes on where it was.
    Raises DeviceError when the port cannot be opened, no OpenMV camera is there, or it does not run the program.
    """

    def __init__(self, port: str, *, patience: float = 5.0) -> None:
        super().__init__(f"openmv:{port}", WIDTH, HEIGHT, live=True)
        self.empty = 0  #: times that a read brought no block
        self._address = port
        self._patience = patience
        self._link = OpenMvLink(connect(port, BAUD))
        self._channel = 0
        self._starting = False  # the program was sent, and does not run yet as far as is known
        self._begun()
        try:
            self._recover(first=True)
        except BaseException:
            self.close()
            raise

    def _begun(self) -> None:
        """The program runs anew on the camera."""
        self._number = 0  # of the block expected next
        self._total = 0  # events before it
        self._failed = 0
        self._lap = 0  # of the camera's clock, µs
        self._last: int | None = None  # what it said last
        self._shift: int | None = None  # to where the time was

    def packets(self) -> Iterator[NDArray[np.void]]:
        while not self._stopped.is_set():
            try:
                block = self._fetch()
            except DeviceError:
                self._recover()
                block = None
            if block is None:
                self._stopped.wait(PACKET_SECONDS / 10)
            yield np.empty(0, EVENT_DTYPE) if block is None else block

    # ---- blocks -----------------------------------------------------------------------------------------------

    def _fetch(self) -> NDArray[np.void] | None:
        """The events of the next block, or None when there is none yet. A block is taken once, and then let go of."""
        size = self._link.size(self._channel)
        data = self._link.read(self._channel, size) if size else b""
        rows = self._opened(data)
        if rows is None:
            self.empty += 1
            return None
        _, number, total, count, failed = HEAD.unpack_from(data)
        events = None
        if number >= self._number:
            self._count_lost("events", (total - self._total) % _COUNTS)
            self._count_lost("failed reads", failed - self._failed)
            self._number, self._total, self._failed = number + 1, total + count, failed
            events = self._events(rows)
        try:
            self._link.write(self._channel, number.to_bytes(4, "little"))
        except LinkTrouble:
            self._recover()  # it may come again, and is not taken again then
        return events

    @staticmethod
    def _opened(data: bytes) -> NDArray[np.void] | None:
        """The rows of a block; None for what is none: zeros, as they come for what is not there, or a part of one."""
        if len(data) < HEAD.size:
            return None
        mark, _, _, count, _ = HEAD.unpack_from(data)
        if mark != MARK or len(data) != HEAD.size + count * _ROW.itemsize:
            return None
        return np.frombuffer(data, _ROW, offset=HEAD.size)

    def _events(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        pixels = rows[rows["type"] <= _ON]
        self._count_lost("other", len(rows) - len(pixels))
        events = np.zeros(len(pixels), EVENT_DTYPE)
        if not len(pixels):
            return events
        events["t"] = self._time(pixels)
        events["x"], events["y"] = pixels["x"], pixels["y"]
        events["p"] = pixels["type"] == _ON
        return self._kept(events)

    def _time(self, rows: NDArray[np.void]) -> NDArray[np.int64]:
        """µs, through the wraps of the camera's seconds and its restarts."""
        t: NDArray[np.int64] = (rows["s"].astype(np.int64) * 1000 + rows["ms"]) * 1000 + rows["us"]
        wrap = _SECONDS_WRAP * 1_000_000
        steps = np.diff(t, prepend=t[0] if self._last is None else self._last)
        laps = self._lap + np.cumsum(steps < -wrap // 2)
        self._last, self._lap = int(t[-1]), int(laps[-1])
        t += laps * wrap
        if self._shift is None:
            self._shift = max(self._newest - int(t[0]), 0) if self._newest else 0
        t += self._shift
        return t

    # ---- the program on the camera ----------------------------------------------------------------------------

    def _recover(self, first: bool = False) -> None:
        """Get on with the camera after something was lost, and start the program where it does not run."""
        deadline = time.monotonic() + self._patience
        while not self._stopped.is_set():
            try:
                self._link.sync()
                channels = self._link.channels()
                if first or CHANNEL not in channels:
                    self._count_lost("restarts", 0 if first or self._starting else 1)
                    self._starting = True
                    channels = self._start(channels)
                self._channel, self._starting = channels[CHANNEL], False
                return
            except DeviceRefused:
                raise
            except DeviceError as error:
                if time.monotonic() > deadline:
                    what = "is no OpenMV camera that answers" if first else "is gone"
                    raise DeviceGone(f"{self.name} {what} ({error}): plug it in again") from None
                if not isinstance(error, LinkTrouble):
                    self._reopen()

    def _reopen(self) -> None:
        self._link.port.close()
        time.sleep(PACKET_SECONDS)
        with contextlib.suppress(DeviceError):
            self._link = OpenMvLink(connect(self._address, BAUD))

    def _start(self, channels: dict[str, int]) -> dict[str, int]:
        """Returns the channels that there are then."""
        if "stdin" not in channels:
            raise DeviceRefused(f"{self.name} takes no programs: its firmware is too old, update it with OpenMV's IDE")
        stdin = channels["stdin"]
        for command in (STDIN_STOP, STDIN_RESET):
            self._link.ioctl(stdin, command)
        self._link.write(stdin, SCRIPT.encode())
        self._begun()  # whether the reply comes or not
        self._link.ioctl(stdin, STDIN_EXEC)
        deadline = time.monotonic() + _START_SECONDS
        while CHANNEL not in (channels := self._link.channels()):
            if time.monotonic() > deadline:
                raise DeviceRefused(f"{self.name} does not run the program{self._said(channels)}")
            time.sleep(PACKET_SECONDS)
        return channels

    def _said(self, channels: dict[str, int]) -> str:
        """The last line that the camera has printed, such as why a program ended."""
        if "stdout" not in channels:
            return ""
        text = self._link.read(channels["stdout"], self._link.size(channels["stdout"])).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f": {lines[-1]}" if lines else ""

    def close(self) -> None:
        """The program is stopped, if the camera is there."""
        with contextlib.suppress(DeviceError):
            self._link.sync()
            self._link.ioctl(self._link.channels()["stdin"], STDIN_STOP)
        self._link.port.close()
