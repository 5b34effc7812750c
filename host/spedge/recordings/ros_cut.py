"""ROS bags without an end: what of their messages is there, record by record from the start.

The library that reads whole bags looks for an index at their end, which is not there in one that was cut off.
"""

from __future__ import annotations

import bz2
import re
import sqlite3
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

_ROS1_MAGIC = b"#ROSBAG V2.0\n"
_MCAP_MAGIC = b"\x89MCAP0\r\n"
_MESSAGE, _CHUNK, _CONNECTION = b"\2", b"\5", b"\7"  # records of ROS 1
_SCHEMA, _CHANNEL, _MCAP_MESSAGE, _MCAP_CHUNK = b"\3", b"\4", b"\5", b"\6"
_LONGEST_RECORD = 1 << 32
_PIECE = 1 << 20
_STEP = 1 << 12  # bytes that are unpacked at once


class Record(NamedTuple):
    """A topic and its type, without data, or a message of it."""

    topic: str
    kind: str
    data: bytes | None


class _End(Exception):
    """From here on it is cut off or damaged."""


def records(path: Path) -> Iterator[Record]:
    """What is there, up to the end or the first damage; whole messages only."""
    for file in storages(path):
        read = {".bag": _ros1, ".mcap": _mcap, ".db3": _sqlite}[file.suffix.lower()]
        try:
            yield from read(file)
        except _End:
            return


def storages(path: Path) -> list[Path]:
    """The files of a bag, in order."""
    if not path.is_dir():
        return [path]
    found = [file for file in path.iterdir() if file.suffix in (".mcap", ".db3")]
    return sorted(
        found, key=lambda file: [int(part) if part.isdigit() else 0 for part in re.split(r"(\d+)", file.stem)]
    )


def is_cut(path: Path) -> bool:
    """Whether a bag whose beginning can be read is known to be shorter than it says: a data base that lacks pages."""
    for file in storages(path):
        with file.open("rb") as opened:
            head = opened.read(32)
        if head.startswith(b"SQLite format 3\0") and len(head) == 32:
            page, count = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
            if file.stat().st_size < (1 << 16 if page == 1 else page) * count:
                return True
    return False


# ---------------------------------------------------------------- ROS 1


def _ros1(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        if file.readline(len(_ROS1_MAGIC)) == _ROS1_MAGIC:
            yield from _ros1_records(file, {})


def _ros1_records(file: IO[bytes], connections: dict[bytes, tuple[str, str]]) -> Iterator[Record]:
    while head := file.read(4):
        fields = _fields(_bytes(file, _number(head, "<I")))
        kind = fields.get(b"op", b"")[:1]
        size = _number(file.read(4), "<I")
        if kind == _CHUNK:
            data = _read(file, size)
            inside, whole = _unpacked(fields.get(b"compression", b""), data)
            yield from _ros1_records(BytesIO(inside), connections)
            if not whole or len(data) < size:
                raise _End
            continue
        data = _bytes(file, size)
        number = fields.get(b"conn", b"")
        if kind == _CONNECTION:
            package, _, name = _fields(data).get(b"type", b"").decode("latin-1").rpartition("/")
            topic = "/".join(filter(None, fields.get(b"topic", b"").decode("latin-1").split("/")))
            connections[number] = f"/{topic}", f"{package}/msg/{name}"
            yield Record(*connections[number], None)
        elif kind == _MESSAGE and number in connections:
            yield Record(*connections[number], data)


def _fields(data: bytes) -> dict[bytes, bytes]:
    """Pairs name=value, each behind its length."""
    file, found = BytesIO(data), {}
    while head := file.read(4):
        name, _, value = _bytes(file, _number(head, "<I")).partition(b"=")
        found[name] = value
    return found


# ---------------------------------------------------------------- ROS 2


def _mcap(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        if file.read(len(_MCAP_MAGIC)) == _MCAP_MAGIC:
            yield from _mcap_records(file, {}, {})


def _mcap_records(file: IO[bytes], schemas: dict[int, str], channels: dict[int, Record]) -> Iterator[Record]:
    while kind := file.read(1):
        size = _number(file.read(8), "<Q")
        if kind == _MCAP_CHUNK:
            data = _read(file, size)
            inside, whole = _mcap_chunk(data)
            yield from _mcap_records(BytesIO(inside), schemas, channels)
            if not whole or len(data) < size:
                raise _End
            continue
        data = _bytes(file, size)
        body = BytesIO(data)
        if kind == _SCHEMA:
            number = _number(body.read(2), "<H")
            schemas[number] = _text(body)
        elif kind == _CHANNEL:
            number, schema = _number(body.read(2), "<H"), _number(body.read(2), "<H")
            channels[number] = Record(_text(body), schemas.get(schema, ""), None)
            yield channels[number]
        elif kind == _MCAP_MESSAGE and len(data) > 22:
            channel = channels.get(_number(data[:2], "<H"))
            if channel is not None:
                yield channel._replace(data=data[22:])


def _mcap_chunk(data: bytes) -> tuple[bytes, bool]:
    """Records of a chunk, or what is there of them, and whether that is all. Whole ones are held to their checksum."""
    body = BytesIO(data)
    body.read(16)  # times
    size, checksum = _number(body.read(8), "<Q"), _number(body.read(4), "<I")
    compression = _text(body).encode()
    body.read(8)
    inside, whole = _unpacked(compression, body.read())
    whole = whole and len(inside) == size
    if whole and checksum and zlib.crc32(inside) != checksum:
        raise _End
    return inside, whole


def _sqlite(path: Path) -> Iterator[Record]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as base:
        try:
            topics = {
                number: (topic, kind) for number, topic, kind in base.execute("SELECT id, name, type FROM topics")
            }
            yield from (Record(*topic, None) for topic in topics.values())
            for number, data in base.execute("SELECT topic_id, data FROM messages ORDER BY id"):
                if number in topics:
                    yield Record(*topics[number], bytes(data))
        except (sqlite3.Error, TypeError, ValueError):
            return


# ---------------------------------------------------------------- bytes


def _bytes(file: IO[bytes], size: int) -> bytes:
    data = _read(file, size)
    if len(data) < size:
        raise _End
    return data


def _read(file: IO[bytes], size: int) -> bytes:
    """So many bytes or those that are there; memory is taken for these only, whatever a damaged number says."""
    pieces = []
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _text(file: IO[bytes]) -> str:
    return _bytes(file, _number(file.read(4), "<I")).decode("latin-1")


def _number(data: bytes, code: str) -> int:
    if len(data) < struct.calcsize(code):
        raise _End
    (number,) = struct.unpack(code, data)
    if number >= _LONGEST_RECORD and code == "<Q":
        raise _End
    return int(number)


def _unpacked(compression: bytes, data: bytes) -> tuple[bytes, bool]:
    """What can be unpacked of a chunk that may be cut off or damaged, and whether that is all."""
    unpackers: dict[bytes, Callable[[], Any]] = {b"bz2": bz2.BZ2Decompressor, b"lz4": _lz4, b"zstd": _zstd}
    if compression not in unpackers:
        return (data, True) if compression in (b"", b"none") else (b"", False)
    unpacker, found, at = unpackers[compression](), [], 0
    try:
        while at < len(data) and not unpacker.eof:
            found.append(unpacker.decompress(data[at : at + _STEP]))
            at += _STEP
    except Exception:  # each library has its own
        return b"".join(found), False
    return b"".join(found), unpacker.eof


def _lz4() -> Any:
    from lz4.frame import LZ4FrameDecompressor

    return LZ4FrameDecompressor()


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor()
