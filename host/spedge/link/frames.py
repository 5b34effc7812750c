"""The wire of firmware/lib/SPEC.md: frames, and what takes the fields from their payloads."""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from cobs import cobs
from numpy.typing import NDArray

from spedge._frames import encode_frame
from spedge.base.errors import DeviceRefused

VERSION = 9
REPLY_BIT = 0x80
FLAG_YIELD = 1  #: of HELLO's frame: leave the device to the host that has it, if there is another one
FLAG_KEY = 128  #: of HELLO's reply: it is no more than a challenge, which a key has to answer

_HEADER = struct.Struct("<BBHI")
_CRC = struct.Struct("<I")


class Type(enum.IntEnum):
    """Requests. The reply has REPLY_BIT set, or is ERROR."""

    HELLO = 0x01
    OUTPUTS = 0x02
    CONFIGURE = 0x03
    RESET = 0x04
    EVENTS = 0x05
    FLUSH = 0x06
    TOKENS = 0x07
    INFER = 0x08
    STATS = 0x09
    RESULTS = 0x0A
    RAW = 0x0B
    VALUES = 0x0C
    IMAGE = 0x0D
    REBOOT = 0x0E
    BOXES = 0x0F
    RESULT_PUSH = 0x40  #: of the device, unasked
    ERROR = 0xFF


class ErrorCode(enum.IntEnum):
    TYPE = 1
    LENGTH = 2
    SESSION = 3
    NO_SESSION = 4
    VALUE = 5
    MEMORY = 6
    NO_MODEL = 7
    RANGE = 8
    UNREAD = 9
    MODEL = 10
    FAULT = 11
    TAKEN = 12
    KEY = 13


class ProtocolError(DeviceRefused):
    """A good frame whose payload does not say what its type promises."""


@dataclass(frozen=True)
class Frame:
    """One frame. `flags` of a request come back in its reply."""

    type: int
    seq: int
    session: int
    payload: bytes = b""
    flags: int = 0

    def encode(self) -> bytes:
        """The frame on the wire, with its delimiter."""
        return encode_frame(self.type, self.flags, self.seq, self.session, self.payload)


@dataclass
class FrameReader:
    """Collects bytes, yields good frames, counts the others."""

    limit: int = 1 << 16
    frames: int = 0
    corrupted: int = 0
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        self._rest += data
        while (end := self._rest.find(0)) >= 0:
            chunk = bytes(self._rest[:end])
            del self._rest[: end + 1]
            if chunk:
                frame = self._open(chunk)
                if frame is not None:
                    self.frames += 1
                    yield frame
        if len(self._rest) > self.limit:  # noise without a delimiter
            self.corrupted += 1
            self._rest.clear()

    def _open(self, chunk: bytes) -> Frame | None:
        try:
            body = bytes(cobs.decode(chunk))
        except cobs.DecodeError:
            body = b""
        if len(body) < _HEADER.size + _CRC.size or zlib.crc32(body[:-4]) != _CRC.unpack(body[-4:])[0]:
            self.corrupted += 1
            return None
        kind, flags, seq, session = _HEADER.unpack_from(body)
        return Frame(kind, seq, session, body[_HEADER.size : -_CRC.size], flags)


class Reader:
    """Takes fields from a payload; every shortage is a ProtocolError."""

    def __init__(self, payload: bytes, what: str) -> None:
        self._payload = payload
        self._at = 0
        self._what = what

    def take(self, layout: str) -> tuple:  # the types are those of the layout
        try:
            values = struct.unpack_from("<" + layout, self._payload, self._at)
        except struct.error:
            raise ProtocolError(f"the device sent a {self._what} of only {len(self._payload)} bytes") from None
        self._at += struct.calcsize("<" + layout)
        return values

    def raw(self, n: int) -> bytes:
        return bytes(self.take(f"{n}s")[0])

    def string(self) -> str:
        return self.short().decode("utf-8", "replace")

    def short(self) -> bytes:
        """A string's bytes."""
        (n,) = self.take("B")
        return self.raw(n)

    def numbers(self) -> NDArray[np.float32]:
        """float32 to the end of the payload."""
        return np.frombuffer(self.raw(self.left // 4 * 4), "<f4").astype(np.float32)

    @property
    def left(self) -> int:
        return len(self._payload) - self._at
