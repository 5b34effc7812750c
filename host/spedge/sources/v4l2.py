"""Cameras whose events come in V4L2's frames, as on a Raspberry Pi: from the device, or from a file of such frames.

A frame has a fixed size. The words of its events, EVT3, end with a marker; what lies behind that is what an earlier
frame has left there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.events.arrays import EVENT_DTYPE
from spedge.events.decoders import Evt3Decoder
from spedge.sources.base import PACKET_SECONDS, Source
from spedge.sources.v4l2_device import V4l2Device

FRAME_BYTES = 4096 * 391  #: as a Raspberry Pi's receiver is set up for a GENX320
END = 0xE019  #: the word behind the last one of a frame
SIDE = 320  #: of a GENX320
_ROW, _TIME_HIGH = 0x0, 0x8  # types of words
_COUNTS = 1 << 32


class _Frames(Source):
    """lost: frames without an end (`unended frames`) are taken whole. What decoders leave out, by cause."""

    def __init__(self, name: str, width: int, height: int, live: bool) -> None:
        super().__init__(name, width, height, live)
        self._decoder = Evt3Decoder(width=width, height=height)
        self._unsure = False  # after a gap, until words have said the time and the row

    def _of_frame(self, data: bytes) -> NDArray[np.void]:
        words = np.frombuffer(data, "<u2", len(data) // 2)
        ends = np.flatnonzero(words == END)
        if len(ends):
            words = words[: ends[0]]
        else:
            self._count_lost("unended frames", 1)
        if self._unsure:
            words = self._behind_gap(words)
        return self._checked(self._decoder, self._decoder.feed(words.tobytes()))

    def _behind_gap(self, words: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """From the first word on whose time, and row, were said after the gap."""
        kinds = words >> 12
        timed = np.flatnonzero(kinds == _TIME_HIGH)
        rows = np.flatnonzero(kinds == _ROW)
        rows = rows[rows > timed[0]] if len(timed) else rows[:0]
        begin = int(rows[0]) if len(rows) else len(words)
        self._unsure = not len(rows)
        self._count_lost("after a gap", len(self._decoder.feed(words[:begin].tobytes())))
        return words[begin:]


class V4l2Camera(_Frames):
    """A camera behind a V4L2 device that sends EVT3 in frames.

    `lost`: `frames` that the driver had no buffer for, by its count, `damaged frames`, and events `after a gap`
    whose time was not known. Raises DeviceError when the device cannot be opened.
    """

    def __init__(self, path: str, *, width: int = SIDE, height: int = SIDE, device: V4l2Device | None = None) -> None:
        super().__init__(f"v4l2:{path}", width, height, live=True)
        self._device = device or V4l2Device(path)
        self._next: int | None = None  # number of the frame that follows

    def packets(self) -> Iterator[NDArray[np.void]]:
        while not self._stopped.is_set():
            frame = self._device.frame(PACKET_SECONDS)
            if frame is None:
                yield np.empty(0, EVENT_DTYPE)
                continue
            gap = 0 if self._next is None else (frame.sequence - self._next) % _COUNTS
            self._next = frame.sequence + 1
            self._count_lost("frames", gap)
            self._count_lost("damaged frames", int(frame.damaged))
            self._unsure |= bool(gap) or frame.damaged
            yield np.empty(0, EVENT_DTYPE) if frame.damaged else self._of_frame(frame.data)

    def close(self) -> None:
        self._device.close()


class V4l2File(_Frames):
    """A file of such frames, one behind the other, as `v4l2-ctl --stream-to` writes it.

    frame_bytes: of each. Raises InputError for a file that is missing or not of whole frames.
    """

    def __init__(self, path: Path, *, width: int = SIDE, height: int = SIDE, frame_bytes: int = FRAME_BYTES) -> None:
        super().__init__(f"v4l2:{path}", width, height, live=False)
        if frame_bytes < 2 or frame_bytes % 2:
            raise UsageError(f"frame={frame_bytes} is not possible: a frame is of 16-bit words; give bytes")
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        if not size or size % frame_bytes:
            raise InputError(
                f"{path}: {size} bytes are no frames of {frame_bytes}: is the file cut, or are they of another size? "
                "Say it with ,frame=BYTES"
            )
        self._path, self._frame_bytes = path, frame_bytes

    def packets(self) -> Iterator[NDArray[np.void]]:
        with self._path.open("rb") as file:
            while not self._stopped.is_set() and (data := file.read(self._frame_bytes)):
                if len(data) < self._frame_bytes:
                    raise InputError(f"{self._path}: it became shorter while it was read")
                yield self._of_frame(data)

    def close(self) -> None:
        """Nothing is kept open between packets."""
