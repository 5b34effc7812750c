"""ROS bags without an end: what of their messages is there, record by record from the start.

The library that reads whole bags looks for an index at their end, which is not there in one that was cut off.
"""

from __future__ import annotations

import bz2
import re
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

_ROS1_MAGIC = b"#ROSBAG V2.0\n"
_MCAP_MAGIC = b"\x89MCAP0\r\n"
_MESSAGE, _CHUNK, _CONNECTION = 2, 5, 7  # of ROS 1
_SCHEMA, _CHANNEL, _MCAP_MESSAGE, _MCAP_CHUNK = 3, 4, 5, 6
_LONGEST_RECORD = 1 << 31


class Record(NamedTuple):
    """A topic and its type, without data, or a message of it."""

    topic: str
    kind: str
    data: bytes | None


def records(path: Path) -> Iterator[Record]:
    """What is there, up to the end or damage; whole messages only."""
    for file in storages(path):
        read = {".bag": _ros1, ".mcap": _mcap, ".db3": _sqlite}[file.suffix]
        yield from read(file)


def storages(path: Path) -> list[Path]:
    """The files of a bag, in order."""
    if not path.is_dir():
        return [path]
    found = [file for file in path.iterdir() if file.suffix in (".mcap", ".db3")]
    return sorted(
        found, key=lambda file: [int(part) if part.isdigit() else 0 for part in re.split(r"(\d+)", file.stem)]
    )


# ---------------------------------------------------------------- ROS 1


def _ros1(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        if file.readline(len(_ROS1_MAGIC)) == _ROS1_MAGIC:
            yield from _ros1_records(file, {})


def _ros1_records(file: IO[bytes], connections: dict[bytes, tuple[str, str]]) -> Iterator[Record]:
    while (header := _sized(file, "<I")) is not None:
        fields = _fields(header)
        kind = fields.get(b"op", b"\0")[0] if fields.get(b"op") else 0
        if kind == _CHUNK:
            yield from _ros1_records(
                BytesIO(_unpacked(fields.get(b"compression", b""), _part(file, "<I"))), connections
            )
            continue
        data = _sized(file, "<I")
        if data is None:
            return
        if kind == _CONNECTION:
            about = _fields(data)
            package, _, name = about.get(b"type", b"").decode("latin-1").rpartition("/")
            topic = "/".join(filter(None, fields.get(b"topic", b"").decode("latin-1").split("/")))
            connections[fields.get(b"conn", b"")] = f"/{topic}", f"{package}/msg/{name}"
            yield Record(*connections[fields.get(b"conn", b"")], None)
        elif kind == _MESSAGE and fields.get(b"conn") in connections:
            yield Record(*connections[fields[b"conn"]], data)


def _fields(data: bytes) -> dict[bytes, bytes]:
    """Pairs name=value, each behind its length."""
    file, found = BytesIO(data), {}
    while pair := _sized(file, "<I"):
        name, _, value = pair.partition(b"=")
        found[name] = value
    return found


# ---------------------------------------------------------------- ROS 2


def _mcap(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        if file.read(len(_MCAP_MAGIC)) == _MCAP_MAGIC:
            yield from _mcap_records(file, {}, {})


def _mcap_records(file: IO[bytes], schemas: dict[int, str], channels: dict[int, Record]) -> Iterator[Record]:
    while kind := file.read(1):
        if kind[0] == _MCAP_CHUNK:
            part = BytesIO(_part(file, "<Q"))
            part.seek(28)  # times, size and checksum
            compression, _ = _sized(part, "<I") or b"", part.read(8)
            yield from _mcap_records(BytesIO(_unpacked(compression, part.read())), schemas, channels)
            continue
        data = _sized(file, "<Q")
        if data is None:
            return
        body = BytesIO(data)
        if kind[0] == _SCHEMA and len(data) > 2:
            number = int.from_bytes(body.read(2), "little")
            schemas[number] = (_sized(body, "<I") or b"").decode("latin-1")
        elif kind[0] == _CHANNEL and len(data) > 4:
            number, schema = struct.unpack("<HH", body.read(4))
            topic = (_sized(body, "<I") or b"").decode("latin-1")
            channels[number] = Record(topic, schemas.get(schema, ""), None)
            yield channels[number]
        elif kind[0] == _MCAP_MESSAGE and len(data) > 22:
            channel = channels.get(int.from_bytes(data[:2], "little"))
            if channel is not None:
                yield channel._replace(data=data[22:])


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


def _sized(file: IO[bytes], code: str) -> bytes | None:
    """Bytes behind their number; None where they are not all there."""
    size = _size(file, code)
    data = b"" if size is None else file.read(size)
    return data if size is not None and len(data) == size else None


def _part(file: IO[bytes], code: str) -> bytes:
    """Bytes behind their number, as many as are there."""
    size = _size(file, code)
    return b"" if size is None else file.read(size)


def _size(file: IO[bytes], code: str) -> int | None:
    head = file.read(struct.calcsize(code))
    if len(head) < struct.calcsize(code):
        return None
    (size,) = struct.unpack(code, head)
    return size if size < _LONGEST_RECORD else None


def _unpacked(compression: bytes, data: bytes) -> bytes:
    """What can be unpacked of a chunk that may be cut off."""
    unpackers: dict[bytes, Callable[[], Any]] = {b"bz2": bz2.BZ2Decompressor, b"lz4": _lz4, b"zstd": _zstd}
    if compression not in unpackers:
        return data if compression in (b"", b"none") else b""
    unpacker, found, at = unpackers[compression](), b"", 0
    try:
        while at < len(data) and not unpacker.eof:
            found += unpacker.decompress(data[at : at + _STEP])
            at += _STEP
    except (OSError, RuntimeError, ValueError, EOFError):
        pass  # damaged from here on
    return found


_STEP = 1 << 12


def _lz4() -> Any:
    from lz4.frame import LZ4FrameDecompressor

    return LZ4FrameDecompressor()


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor()
