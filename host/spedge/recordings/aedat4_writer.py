"""Writing AEDAT 4: packets of events in FlatBuffers, compressed by LZ4 as DV's recorder does. Read by aedat4.py.

The buffers are written as DV lays them out, their tables first, so that their few numbers stand at fixed places.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.recordings.aedat4 import EVENT, MAGIC, PACKET
from spedge.recordings.base import Writer

_LARGEST_SIDE = 1 << 15  # pixels are signed and of 16 bits
_LAST_TIME = (1 << 63) - 1
_PACKET_EVENTS = 1 << 13
_LZ4 = 1
_NO_TABLE = -1  # while there is no index of the packets
# Root, identifier, padding, the table of fields, and the table, whose last field is a vector or a text behind it.
_HEADER = struct.Struct("<I4s6x HHHHH iiIq I")
_VECTOR = struct.Struct("<I4s2x HHH iII")
_TABLE_AT = 36  # of the place of the index, in the header
_ENTRY_FIELDS = struct.pack("<HHHHHHH", 14, 44, 12, 4, 20, 28, 36)
_ENTRY = struct.Struct("<iiiqqqq4x")  # an entry of the index: packet, its events, their first and last time

_ABOUT = """<dv version="2.0">
    <node name="outInfo" path="/mainloop/Recorder/outInfo/">
        <node name="0" path="/mainloop/Recorder/outInfo/0/">
            <attr key="compression" type="string">LZ4</attr>
            <attr key="originalModuleName" type="string">spedge</attr>
            <attr key="originalOutputName" type="string">events</attr>
            <attr key="typeDescription" type="string">Array of events (polarity ON/OFF).</attr>
            <attr key="typeIdentifier" type="string">EVTS</attr>
            <node name="info" path="/mainloop/Recorder/outInfo/0/info/">
                <attr key="sizeX" type="int">{width}</attr>
                <attr key="sizeY" type="int">{height}</attr>
                <attr key="source" type="string">spedge</attr>
            </node>
        </node>
    </node>
</dv>
"""


def compressor(path: Path) -> Any:
    """Of LZ4 frames. Raises UsageError without its library."""
    try:
        import lz4.frame
    except ImportError:
        raise UsageError(f"{path}: AEDAT 4 needs the library lz4: pip install 'spedge[recordings]'") from None
    return lz4.frame.compress


class Aedat4Writer(Writer):
    """Writes one stream of events, in packets, and at the end the index of these.

    Raises InputError for a sensor of more than 15 bits, and for times that 63 bits cannot hold; UsageError without lz4.
    """

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        if max(width, height) > _LARGEST_SIDE:
            raise InputError(
                f"AEDAT 4 is for sensors of up to {_LARGEST_SIDE}x{_LARGEST_SIDE} pixels, not {width}x{height}: "
                "choose another format"
            )
        self._compress = compressor(path)
        self._index: list[tuple[int, int, int, int, int]] = []
        self._file = path.open("wb")
        about = _ABOUT.format(width=width, height=height).encode()
        header = _HEADER.pack(24, b"IOHE", 10, 20, 4, 12, 8, 10, _LZ4, 12, _NO_TABLE, len(about)) + about + b"\0"
        self._file.write(MAGIC + struct.pack("<I", len(header)) + header)

    def write(self, events: NDArray[np.void]) -> None:
        if len(events) and int(events["t"][-1]) > _LAST_TIME:
            raise InputError(f"t={events['t'][-1]} µs is more than AEDAT 4 holds: shift the times towards 0")
        for start in range(0, len(events), _PACKET_EVENTS):
            self._packet(events[start : start + _PACKET_EVENTS])

    def _packet(self, events: NDArray[np.void]) -> None:
        records = np.zeros(len(events), EVENT)
        for name in ("t", "x", "y", "p"):
            records[name] = events[name]
        body = self._compress(_vector(b"EVTS", len(records), records.tobytes()))
        at = self._file.tell() + PACKET.size
        self._file.write(PACKET.pack(0, len(body)) + body)
        self._index.append((len(body), at, len(events), int(events["t"][0]), int(events["t"][-1])))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """The index, and in the header its place: a file without both can be read as well."""
        with self._file as file:
            table = file.tell()
            file.write(self._compress(self._table()))
            file.seek(len(MAGIC) + 4 + _TABLE_AT)
            file.write(struct.pack("<q", table))

    def _table(self) -> bytes:
        count = len(self._index)
        places = _VECTOR.size + 4  # with the length in front
        fields = places + 4 * count
        first = -(-(fields + len(_ENTRY_FIELDS) - 4) // 8) * 8 + 4  # 8 bytes of an entry are at multiples of 8
        at = [first + _ENTRY.size * i for i in range(count)]
        offsets = struct.pack(f"<{count}I", *(entry - (places + 4 * i) for i, entry in enumerate(at)))
        entries = b"".join(
            _ENTRY.pack(place - fields, 0, size, begin, events, start, end)
            for place, (size, begin, events, start, end) in zip(at, self._index, strict=True)
        )
        return _vector(b"FTAB", count, (offsets + _ENTRY_FIELDS).ljust(first - places, b"\0") + entries)

    def discard(self) -> None:
        self._file.close()


def _vector(kind: bytes, count: int, data: bytes) -> bytes:
    """A buffer, its length in front, whose root table has a vector as its only field; data begins with its elements."""
    return struct.pack("<I", _VECTOR.size + len(data)) + _VECTOR.pack(16, kind, 6, 8, 4, 6, 4, count) + data
