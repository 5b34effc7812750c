"""The USB protocol of OpenMV cameras (version 2): requests and replies in packets, and the channels of a script.

    packet = AA D5 | seq u8 | channel u8 | flags u8 | opcode u8 | length u16 | CRC-16 of these | payload | CRC-32 of it

Without a payload the second CRC is left out. Little-endian. A reply has the number of its request, its fragments the
numbers after it. What is lost shows as time that passes: then both ends begin to count anew (`sync`), and who asked has
to decide what is to be asked again, since a camera that was reset knows nothing of what it was told before.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError
from spedge.link.transport import Transport

SYNC, GET_CAPS, SET_CAPS = 0x00, 0x01, 0x02
LIST, SIZE, READ, WRITE, IOCTL = 0x20, 0x25, 0x26, 0x27, 0x28
STDIN_STOP, STDIN_EXEC, STDIN_RESET = 1, 2, 3
ACK, NAK, FRAGMENT, EVENT = 1 << 0, 1 << 1, 1 << 4, 1 << 5
MARK = b"\xaa\xd5"
HEADER = struct.Struct("<2sBBBBHH")
FIRST_PAYLOAD = 52  #: most bytes of a packet until both ends have agreed on more
_MOST_PAYLOAD = 4096
_CAPS = 0b1011  # CRCs, numbers, events; no acknowledgements of replies: what is lost is asked for again
_CHANNEL = struct.Struct("<BB14s")
_REPLY_SECONDS = 0.25


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> (bits - 1) & 1 else 0)
        table.append(value & ((1 << bits) - 1))
    return table


_TABLE_16, _TABLE_32 = _table(0xF94F, 16), _table(0xFA567D89, 32)


def crc16(data: bytes | bytearray) -> int:
    crc = 0xFFFF
    for byte in data:
        crc = crc << 8 & 0xFFFF ^ _TABLE_16[crc >> 8 ^ byte]
    return crc


def crc32(data: bytes) -> int:
    if len(data) < 4 or len(data) > _MOST_PAYLOAD:
        crc = 0xFFFFFFFF
        for byte in data:
            crc = crc << 8 & 0xFFFFFFFF ^ _TABLE_32[crc >> 24 ^ byte]
        return crc
    values = np.frombuffer(data, np.uint8).copy()
    values[:4] ^= 0xFF  # what it begins with, taken in with the first bytes
    return int(np.bitwise_xor.reduce(_by_distance()[np.arange(len(data) - 1, -1, -1), values]))


@cache
def _by_distance() -> NDArray[np.uint32]:
    """What a byte adds to the CRC, by how many bytes follow it: a loop over bytes is too slow for a camera."""
    table = np.array(_TABLE_32, np.uint32)
    rows = np.empty((_MOST_PAYLOAD, 256), np.uint32)
    rows[0] = table
    for i in range(1, _MOST_PAYLOAD):
        rows[i] = rows[i - 1] << np.uint32(8) ^ table[rows[i - 1] >> np.uint32(24)]
    return rows


class LinkTrouble(DeviceError):
    """Something was lost on the way, or the camera was reset: `sync` before anything else is asked."""


@dataclass(frozen=True)
class Packet:
    seq: int
    channel: int
    flags: int
    opcode: int
    payload: bytes = b""

    def encode(self) -> bytes:
        head = HEADER.pack(MARK, self.seq, self.channel, self.flags, self.opcode, len(self.payload), 0)[:-2]
        tail = self.payload + crc32(self.payload).to_bytes(4, "little") if self.payload else b""
        return head + crc16(head).to_bytes(2, "little") + tail


class PacketReader:
    """Collects bytes, yields good packets, and skips what is none."""

    def __init__(self) -> None:
        self.most = _MOST_PAYLOAD
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        self._rest += data
        while (at := self._rest.find(MARK)) >= 0:
            del self._rest[:at]
            if len(self._rest) < HEADER.size:
                return
            _, seq, channel, flags, opcode, length, crc = HEADER.unpack_from(self._rest)
            if length > self.most or crc16(self._rest[: HEADER.size - 2]) != crc:
                del self._rest[0]
                continue
            end = HEADER.size + length
            if len(self._rest) < end + (4 if length else 0):
                return
            payload = bytes(self._rest[HEADER.size : end])
            if length and crc32(payload) != int.from_bytes(self._rest[end : end + 4], "little"):
                del self._rest[0]
                continue
            del self._rest[: end + (4 if length else 0)]
            yield Packet(seq, channel, flags, opcode, payload)
        del self._rest[:-1]  # the last byte may begin a mark

    def clear(self) -> None:
        self._rest.clear()


class OpenMvLink:
    """The host's end. Requests raise LinkTrouble when no reply comes or the camera says no."""

    def __init__(self, port: Transport) -> None:
        self.port = port
        self._reader = PacketReader()
        self._heard: list[Packet] = []
        self._seq = 0
        self._payload = FIRST_PAYLOAD

    def sync(self) -> None:
        """Begin to count anew, and agree on what packets have."""
        self._reader.clear()
        self._heard.clear()
        self._seq, self._payload = 0, FIRST_PAYLOAD
        self._send(SYNC, 0, b"")
        deadline = time.monotonic() + _REPLY_SECONDS
        while self._next(deadline).opcode != SYNC:
            pass
        self._seq = 0
        theirs = struct.unpack_from("<IH", self.request(GET_CAPS).ljust(6, b"\0"))[1]
        most = max(min(theirs, _MOST_PAYLOAD), FIRST_PAYLOAD)
        self.request(SET_CAPS, payload=struct.pack("<IH10x", _CAPS, most))
        self._payload = most

    def request(self, opcode: int, channel: int = 0, payload: bytes = b"") -> bytes:
        """Returns the payload of the reply."""
        self._send(opcode, channel, payload)
        deadline = time.monotonic() + _REPLY_SECONDS
        parts: list[bytes] = []
        while True:
            reply = self._next(deadline)
            if reply.flags & EVENT or reply.seq != self._seq:
                continue
            self._seq = (self._seq + 1) & 0xFF
            parts.append(reply.payload)
            if reply.flags & NAK:
                raise LinkTrouble(f"{self.port.name} refuses request {opcode:#x} (status {reply.payload[:2].hex()})")
            if not reply.flags & FRAGMENT:
                return b"".join(parts)
            deadline = time.monotonic() + _REPLY_SECONDS

    def channels(self) -> dict[str, int]:
        """Their numbers by name."""
        listed = self.request(LIST)
        whole = len(listed) // _CHANNEL.size * _CHANNEL.size
        return {
            name.split(b"\0")[0].decode("ascii", "replace"): number
            for number, _, name in _CHANNEL.iter_unpack(listed[:whole])
        }

    def size(self, channel: int) -> int:
        return int.from_bytes(self.request(SIZE, channel)[:4], "little")

    def read(self, channel: int, size: int) -> bytes:
        return self.request(READ, channel, struct.pack("<II", 0, size))

    def write(self, channel: int, data: bytes) -> None:
        step = self._payload - 8
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self.request(WRITE, channel, struct.pack("<II", start, len(piece)) + piece)

    def ioctl(self, channel: int, command: int) -> None:
        self.request(IOCTL, channel, struct.pack("<I", command))

    def _send(self, opcode: int, channel: int, payload: bytes) -> None:
        out = Packet(self._seq, channel, 0, opcode, payload).encode()
        deadline = time.monotonic() + _REPLY_SECONDS
        while out:
            written, heard = self.port.exchange(out, _REPLY_SECONDS)
            out = out[written:]
            self._heard += self._reader.feed(heard)
            if time.monotonic() > deadline:
                raise LinkTrouble(f"{self.port.name} takes no requests")

    def _next(self, deadline: float) -> Packet:
        while not self._heard:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LinkTrouble(f"{self.port.name} does not answer")
            self._heard += self._reader.feed(self.port.exchange(b"", left)[1])
        return self._heard.pop(0)
