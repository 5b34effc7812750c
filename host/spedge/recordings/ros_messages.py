"""Messages of events on ROS topics, from the bytes they travel as: packed in ROS 1, aligned (CDR) in ROS 2."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import EVENT_DTYPE
from spedge.events.decoders import Decoder

#: Messages that hold an event a record: pixel, time of the clock of Unix, polarity.
ARRAYS = ("dvs_msgs/msg/EventArray", "prophesee_event_msgs/msg/EventArray")
#: Messages that hold a camera's bytes; the second is the name from before.
PACKETS = ("event_camera_msgs/msg/EventPacket", "event_array_msgs/msg/EventArray")
#: Of a packet's bytes, those that can be read.
ENCODINGS = ("evt2", "evt3", "libcaer", "mono")

_PACKED = np.dtype([("x", "<u2"), ("y", "<u2"), ("s", "<u4"), ("ns", "<u4"), ("p", "u1")])
_ALIGNED = np.dtype([*_PACKED.descr[:2], ("", "V2"), *_PACKED.descr[2:], ("", "V1")])
_LITTLE_ENDIAN = b"\x00\x01"
_PADDING = 7  # bytes that may stand behind an aligned message
_LIBCAER_WRAP_US = 1 << 31


@dataclass(frozen=True)
class Head:
    """What a message says of its events. encoding, number (of the packet) and base_ns: of a packet only."""

    width: int
    height: int
    encoding: str | None = None
    number: int = 0
    base_ns: int = 0


def read(data: bytes, kind: str, ros2: bool) -> tuple[Head, NDArray[Any]]:
    """A message of one of ARRAYS, with its records, or of PACKETS, with its bytes.

    Raises ValueError for one that is not as it should be.
    """
    fields = _Fields(data, ros2)
    fields.header()
    height, width = fields.number("I"), fields.number("I")
    if kind in ARRAYS:
        body: NDArray[Any] = fields.records(fields.number("I"))
        head = Head(width, height)
    else:
        number, base, encoding, big = fields.number("Q"), fields.number("Q"), fields.text(), fields.number("B")
        if big:
            raise ValueError("its bytes are big-endian, which cannot be read")
        head = Head(width, height, encoding, number, base)
        body = np.frombuffer(fields.bytes(fields.number("I")), np.uint8)
    fields.end()
    return head, body


class _Fields:
    """The fields of a message, one after another."""

    def __init__(self, data: bytes, ros2: bool) -> None:
        self._data, self._ros2, self._at = data, ros2, 0
        if ros2:
            if self.bytes(2) != _LITTLE_ENDIAN:
                raise ValueError("it is not serialized as plain little-endian CDR")
            self.bytes(2)
            self._data, self._at = data[4:], 0  # alignment counts from here

    def number(self, code: str) -> int:
        size = struct.calcsize(f"<{code}")
        if self._ros2:
            self._at += -self._at % size
        return int(struct.unpack(f"<{code}", self.bytes(size))[0])

    def bytes(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise ValueError(f"it ends at its byte {len(self._data)}, where more is to follow")
        self._at += count
        return found

    def text(self) -> str:
        return self.bytes(self.number("I")).rstrip(b"\0").decode("latin-1")

    def header(self) -> None:
        """std_msgs/Header: a number (ROS 1), the time of the message, the frame's name."""
        for _ in range(2 if self._ros2 else 3):
            self.number("I")
        self.text()

    def records(self, count: int) -> NDArray[Any]:
        """Events. Aligned, they take 16 bytes each, and the first one's pixel stands 2 bytes later."""
        if not self._ros2 or not count:
            return np.frombuffer(self.bytes(_PACKED.itemsize * count), _PACKED)
        body = self.bytes(_ALIGNED.itemsize * count - 3)
        return np.frombuffer(body[:4] + body[2:] + b"\0", _ALIGNED)

    def end(self) -> None:
        rest = len(self._data) - self._at
        if not 0 <= rest <= (_PADDING if self._ros2 else 0):
            raise ValueError(f"it has {rest} bytes more than its fields")


class Events:
    """Events of one topic's messages. left_out: as of a recording.

    encoding: of packets; None for arrays. The times of arrays are the clock of Unix, those of packets the sensor's, or
    as libcaer's and mono's time base says, another's.
    """

    def __init__(self, encoding: str | None) -> None:
        self._decoder = Decoder(encoding) if encoding in ("evt2", "evt3") else None
        self._encoding = encoding
        self._number: int | None = None
        self._lost = self._invalid = 0

    def of(self, head: Head, body: NDArray[Any]) -> NDArray[np.void]:
        """Events (EVENT_DTYPE) of the message that follows; anywhere on the sensor or outside.

        Raises ValueError for damaged ones.
        """
        if self._encoding is None:
            return _of_records(body)
        if self._number is not None and head.number > self._number + 1:
            self._lost += head.number - self._number - 1
        self._number = head.number
        if self._decoder is not None:
            return self._decoder.feed(body.tobytes())
        if len(body) % 8:
            raise ValueError(f"its {len(body)} bytes of events are not 8 each")
        return self._libcaer(head, body) if self._encoding == "libcaer" else _of_mono(head, body)

    def _libcaer(self, head: Head, body: NDArray[np.uint8]) -> NDArray[np.void]:
        data, stamps = body.view("<u4").reshape(-1, 2).T
        t = stamps.astype(np.int64)
        if (t >= _LIBCAER_WRAP_US).any():
            raise ValueError("it has an event of a time below 0")
        t = t + np.cumsum(np.diff(t, prepend=t[:1]) < 0) * _LIBCAER_WRAP_US
        valid = data & 1 == 1
        self._invalid += int(np.count_nonzero(~valid))
        events = _events(
            np.uint64(head.base_ns) + t.astype(np.uint64) * np.uint64(1000), data >> 17, data >> 2 & 0x7FFF
        )
        events["p"] = data >> 1 & 1
        kept: NDArray[np.void] = events[valid]
        return kept

    @property
    def left_out(self) -> dict[str, int]:
        stats = self._decoder.stats if self._decoder is not None else None
        counts = {name: getattr(stats, name, 0) for name in ("unknown", "triggers", "other", "untimed", "clipped")}
        return counts | {"invalid": self._invalid, "lost packets": self._lost}


def encoding_of(name: str) -> str:
    """One of ENCODINGS. Raises InputError for another."""
    if name not in ENCODINGS:
        raise InputError(f"packets of encoding {name!r} cannot be read, only {', '.join(ENCODINGS)}")
    return name


def _of_records(records: NDArray[Any]) -> NDArray[np.void]:
    if (records["ns"] >= 10**9).any() or (records["s"] >> 31).any():
        raise ValueError("it has an event of a time that is none")
    if (records["p"] > 1).any():
        raise ValueError("it has an event of a polarity that is neither 0 nor 1")
    ns = records["s"].astype(np.uint64) * np.uint64(10**9) + records["ns"]
    events = _events(ns, records["x"], records["y"])
    events["p"] = records["p"]
    return events


def _of_mono(head: Head, body: NDArray[np.uint8]) -> NDArray[np.void]:
    words = body.view("<u8")
    events = _events(
        np.uint64(head.base_ns) + (words & 0xFFFFFFFF).astype(np.uint64), words >> 32 & 0xFFFF, words >> 48 & 0x7FFF
    )
    events["p"] = words >> 63
    return events


def _events(ns: NDArray[np.uint64], x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.void]:
    events = np.zeros(len(ns), EVENT_DTYPE)
    events["t"] = ns // np.uint64(1000) + (ns % np.uint64(1000) >= 500)
    events["x"], events["y"] = x, y
    return events
