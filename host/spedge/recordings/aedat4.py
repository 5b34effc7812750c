"""AEDAT 4 files: a header, then packets of events in FlatBuffers, as they are or compressed by LZ4 or Zstandard.

Read here and not by a library because the libraries there are end the process on some damaged files.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError, UsageError
from spedge.events.arrays import empty_events
from spedge.recordings.base import SeekingRecording, choose_geometry, gathered
from spedge.recordings.inivation import sensor
from spedge.recordings.seek import Place

MAGIC = b"#!AER-DAT4.0\r\n"
PACKET = struct.Struct("<ii")  # stream, bytes
EVENT = np.dtype(
    {"names": ["t", "x", "y", "p"], "formats": ["<i8", "<i2", "<i2", "u1"], "offsets": [0, 8, 10, 12], "itemsize": 16}
)
_EVENTS_TYPE = "EVTS"
_LONGEST_HEADER = 1 << 24
_LONGEST_PACKET = 1 << 28
_PIECE = 1 << 18


class Aedat4Recording(SeekingRecording):
    """AEDAT 4: the one stream of events in it. Times are as in the file, µs since 1970."""

    format = "AEDAT 4"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        self.path = path
        with path.open("rb") as file:
            self._header = _read_header(file, path)
        self._unpack = _unpacker(path, self._header.compression)
        size = (self._header.width, self._header.height)
        super().__init__(path, *choose_geometry(path, size, width, height))

    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        return gathered(self._packets(*(place or (self._header.start,))))

    def _packets(self, begin: int) -> Iterator[NDArray[np.void]]:
        at = begin
        self._here = lambda: (at,)
        size, table = self.path.stat().st_size, self._header.table
        end = size
        if table >= 0:  # an index of the packets; it need not be there
            if table < self._header.start:
                raise InputError(f"{self.path}: the index of packets cannot be at byte {table}; the header is damaged")
            end = min(size, table)
        with self.path.open("rb") as file:
            file.seek(begin)
            while at < end:
                head = file.read(min(PACKET.size, end - at))
                if len(head) < PACKET.size:
                    raise CutError(f"{self.path}: cut off in the packet at byte {at}")
                stream, length = PACKET.unpack(head)
                if stream < 0 or not 0 <= length <= _LONGEST_PACKET:
                    raise InputError(f"{self.path}: there is no packet at byte {at}; it is damaged")
                if length > end - at - PACKET.size:
                    if end < size:
                        raise InputError(f"{self.path}: the packet at byte {at} reaches into the index at byte {end}")
                    if stream == self._header.stream:
                        yield from self._before_cut(file.read())
                    raise CutError(f"{self.path}: cut off in the packet at byte {at}, at byte {end}")
                body = file.read(length)
                before, at = at, at + PACKET.size + length
                if stream == self._header.stream:
                    yield from self._events(body, before)
            if table > size:
                raise CutError(f"{self.path}: cut off at byte {size}, before the index of packets at byte {table}")
            if table >= 0:
                self._check_index(file.read(), at)

    def _check_index(self, body: bytes, at: int) -> None:
        """The index is not used, but without all of it the file is cut off."""
        try:
            index = _joined(self._unpack(body))
            whole = len(index) >= 4 and int.from_bytes(index[:4], "little") + 4 <= len(index)
        except Exception:  # whatever the libraries raise for damaged data
            whole = False
        if not whole:
            raise CutError(
                f"{self.path}: the index of packets at byte {at} is damaged or cut off; the events are all there"
            )

    def _before_cut(self, body: bytes) -> Iterator[NDArray[np.void]]:
        """The events of the beginning of a packet."""
        out = bytearray()
        with suppress(Exception):  # whatever the libraries raise at the cut
            for piece in self._unpack(body):
                out += piece
        with suppress(struct.error, ValueError):  # cut off before its events
            found = _events_of(bytes(out[:_LONGEST_PACKET]), whole=False)
            yield self._good(found)[0]

    def _events(self, body: bytes, at: int) -> Iterator[NDArray[np.void]]:
        try:
            found = _events_of(_joined(self._unpack(body)))
        except Exception as error:  # whatever the libraries raise for damaged data
            raise InputError(f"{self.path}: the packet at byte {at} is damaged ({error})") from None
        events, bad = self._good(found)
        yield events
        if bad is not None:
            raise InputError(f"{self.path}: event {bad} of the packet at byte {at} is no event; it is damaged")

    def _good(self, found: NDArray[np.void]) -> tuple[NDArray[np.void], int | None]:
        """Those before the first that is none, and the number of that."""
        bad = np.flatnonzero((found["t"] < 0) | (found["p"] > 1))
        found = found[: bad[0]] if len(bad) else found
        events = empty_events(len(found))
        for name in ("t", "x", "y", "p"):
            events[name] = found[name].astype(events.dtype[name])  # a negative pixel is a large one: outside, too
        return events, int(bad[0]) if len(bad) else None


def _unpacker(path: Path, compression: int) -> Callable[[bytes], Iterator[bytes]]:
    """What takes a packet's compression off, in pieces."""
    try:
        if compression in (1, 2):
            from lz4.frame import LZ4FrameDecompressor

            return lambda data: _lz4_pieces(LZ4FrameDecompressor(), data)
        if compression in (3, 4):
            from zstandard import ZstdDecompressor

            return lambda data: _zstd_pieces(ZstdDecompressor(max_window_size=1 << 27), data)
    except ImportError as error:
        raise UsageError(f"{path}: AEDAT 4 needs the library {error.name}: pip install 'spedge[recordings]'") from None
    if compression == 0:
        return lambda data: iter([data])
    raise InputError(
        f"{path}: the header at byte {len(MAGIC)} names compression {compression}, which AEDAT 4 does not have"
    )


def _lz4_pieces(decompressor: Any, data: bytes) -> Iterator[bytes]:
    while not decompressor.eof:
        if decompressor.needs_input and not data:
            raise ValueError("its compressed data does not end")
        yield decompressor.decompress(data, max_length=_PIECE)
        data = b""


def _zstd_pieces(decompressor: Any, data: bytes) -> Iterator[bytes]:
    reader = decompressor.stream_reader(data)
    while piece := reader.read(_PIECE):
        yield piece


def _joined(pieces: Iterator[bytes]) -> bytes:
    """In pieces, because the libraries take the memory for the most that they may give.

    Raises ValueError for more than _LONGEST_PACKET bytes.
    """
    out = bytearray()
    for piece in pieces:
        out += piece
        if len(out) > _LONGEST_PACKET:
            raise ValueError(f"it unpacks to more than {_LONGEST_PACKET} bytes")
    return bytes(out)


# ---------------------------------------------------------------- header


@dataclass(frozen=True)
class _Header:
    """stream: number of the stream of events. start, table: where packets and their index begin (-1: no index)."""

    compression: int
    stream: int
    width: int | None
    height: int | None
    start: int
    table: int


def _read_header(file: BinaryIO, path: Path) -> _Header:
    file.seek(len(MAGIC))
    size = int.from_bytes(file.read(4), "little")
    data = file.read(size) if size <= _LONGEST_HEADER else b""
    if len(data) < max(size, 8):
        raise InputError(f"{path}: the header at byte {len(MAGIC)} is damaged or cut off")
    try:
        table = _Table.root(data)
        compression, position = table.number(0, "<i", 0), table.number(1, "<q", -1)
        streams = _event_streams(ElementTree.fromstring(table.bytes(2, 1)))
    except (struct.error, ValueError, ElementTree.ParseError, LookupError) as error:
        raise InputError(f"{path}: the header at byte {len(MAGIC)} is damaged ({error})") from None
    if len(streams) != 1:
        raise InputError(f"{path}: there are {len(streams)} streams of events in it; only files with one can be read")
    stream, width, height = streams[0]
    if width is not None and height is not None and not (0 < width <= 65535 and 0 < height <= 65535):
        raise InputError(f"{path}: the header at byte {len(MAGIC)} gives a sensor of {width}x{height} pixels")
    return _Header(compression, stream, width, height, len(MAGIC) + 4 + size, position)


def _event_streams(tree: ElementTree.Element) -> list[tuple[int, int | None, int | None]]:
    """Number, width and height of each stream of events; others of the camera, or its name, may say the size."""
    streams = [stream for out in tree.iter("node") if out.get("name") == "outInfo" for stream in out.findall("node")]
    sizes = {_source(stream): size for stream in streams if (size := _size(stream)) is not None}
    return [
        (int(stream.get("name") or -1), *(_size(stream) or sizes.get(_source(stream)) or sensor(_source(stream))))
        for stream in streams
        if _attribute(stream, "typeIdentifier") == _EVENTS_TYPE
    ]


def _source(stream: ElementTree.Element) -> str:
    """The camera that it is of."""
    return _attribute(_info(stream), "source") or ""


def _size(stream: ElementTree.Element) -> tuple[int, int] | None:
    width, height = (_attribute(_info(stream), key) for key in ("sizeX", "sizeY"))
    return (int(width), int(height)) if width and height else None


def _info(stream: ElementTree.Element) -> ElementTree.Element:
    return next((node for node in stream.findall("node") if node.get("name") == "info"), stream)


def _attribute(node: ElementTree.Element, key: str) -> str | None:
    return next((attribute.text for attribute in node.findall("attr") if attribute.get("key") == key), None)


# ---------------------------------------------------------------- FlatBuffers


def _events_of(data: bytes, whole: bool = True) -> NDArray[np.void]:
    """The vector of events of a size-prefixed EventPacket; if that need not be whole, as many as are there."""
    if len(data) < 12 or data[8:12] != _EVENTS_TYPE.encode():
        raise ValueError("it holds no events")
    return np.frombuffer(_Table.root(data[4:]).bytes(0, EVENT.itemsize, whole), EVENT)


class _Table:
    """A FlatBuffers table. Every access is checked to lie in the data; raises struct.error or ValueError."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._fields = at - self._get("<i", at)

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data)[0])

    def _get(self, format: str, at: int) -> int:
        if at < 0:
            raise ValueError("an offset is negative")
        return int(struct.unpack_from(format, self._data, at)[0])

    def _place(self, index: int) -> int | None:
        """Where a field is, or None when it is left out."""
        entry = 4 + 2 * index
        if entry + 2 > self._get("<H", self._fields):
            return None
        offset = self._get("<H", self._fields + entry)
        return self._at + offset if offset else None

    def number(self, index: int, format: str, default: int) -> int:
        place = self._place(index)
        return default if place is None else self._get(format, place)

    def bytes(self, index: int, size: int, whole: bool = True) -> bytes:
        """A vector of things of `size` bytes; empty when it is left out. If not whole: those that are in the data."""
        place = self._place(index)
        if place is None:
            return b""
        start = place + self._get("<I", place)
        length = size * self._get("<I", start)
        if start + 4 + length > len(self._data):
            if whole:
                raise ValueError("a vector is longer than the data")
            length = max(len(self._data) - start - 4, 0) // size * size
        return self._data[start + 4 : start + 4 + length]
