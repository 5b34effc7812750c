"""Large recordings of the formats that spedge reads but does not write, to see what reading takes.

Quick to make: blocks of events that differ in time only, 64 µs each; the pixels of a block fit N-MNIST's sensor.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import recording_files as files

BLOCK = 4096
_T = np.arange(BLOCK) // 64
_X, _Y, _P = np.arange(BLOCK) % 32, np.arange(BLOCK) // 32 % 32, np.arange(BLOCK) % 2


def write(path: Path, format: str, blocks: int) -> None:
    _WRITERS[format](path, blocks)


def _records(fields: list[tuple[str, str]], **values: NDArray[Any]) -> NDArray[np.void]:
    out = np.empty(np.broadcast_shapes(*(v.shape for v in values.values())), fields)
    for name, value in values.items():
        out[name] = value
    return out


def _times(blocks: int) -> NDArray[np.int64]:
    return 64 * np.arange(blocks)[:, None] + _T


def _evt21(path: Path, blocks: int, legacy: bool = False) -> None:
    head = 8 << 60 | np.arange(blocks, dtype=np.uint64)[:, None] << 32
    event = (
        _P.astype(np.uint64) << 60 | _T.astype(np.uint64) << 54 | _Y.astype(np.uint64) << 32 | 1 << _X.astype(np.uint64)
    )
    words = np.hstack([head, np.broadcast_to(event, (blocks, BLOCK))])
    if legacy:
        words = words << np.uint64(32) | words >> np.uint64(32)
    kind = f"format EVT21;height={files.HEIGHT};width={files.WIDTH};endianness={'legacy' if legacy else 'little'}"
    path.write_bytes(files.prophesee_header(kind) + words.tobytes())


def _dat(path: Path, blocks: int) -> None:
    head = f"% Data file\n% Height {files.HEIGHT}\n% Width {files.WIDTH}\n".encode() + bytes([12, 8])
    records = _records([("t", "<u4"), ("a", "<u4")], t=_times(blocks), a=_P << 28 | _Y << 14 | _X)
    path.write_bytes(head + records.tobytes())


def _aedat2(path: Path, blocks: int) -> None:
    records = _records([("a", ">u4"), ("t", ">u4")], t=_times(blocks), a=_Y << 8 | _X << 1 | _P)
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: DVS128\r\n" + records.tobytes())


def _aedat3(path: Path, blocks: int) -> None:
    records = _records([("a", "<u4"), ("t", "<u4")], t=_times(blocks), a=_X << 17 | _Y << 2 | _P << 1 | 1)
    head = struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, BLOCK, BLOCK, BLOCK)
    with path.open("wb") as file:
        file.write(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n")
        file.writelines(head + block.tobytes() for block in records)


def _aedat4(path: Path, blocks: int, compression: str) -> None:
    """The header of a file of the vendor's software without its index, and packets of our own."""
    import lz4.frame
    import zstandard

    compress = lz4.frame.compress if compression == "lz4" else zstandard.ZstdCompressor().compress
    golden = (files.GOLDEN / f"dv_346x260_{compression}.aedat4").read_bytes()
    end = 18 + int.from_bytes(golden[14:18], "little")
    at = golden.index(b"<dv") - 12  # the index's place, the length of the text, the text
    head = golden[:at] + b"\xff" * 8 + golden[at + 8 : end]
    fields = [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("rest", "V3")]
    # Root table at 16, its only field at 20, the vector at 24.
    table = struct.pack("<I4sHHHxxiII", 16, b"EVTS", 6, 8, 4, 8, 4, BLOCK)
    with path.open("wb") as file:
        file.write(head)
        for t in _times(blocks):
            data = table + _records(fields, t=t, x=_X, y=_Y, p=_P).tobytes()
            body = compress(struct.pack("<I", len(data)) + data)
            file.write(struct.pack("<ii", 0, len(body)) + body)


def _event_stream(path: Path, blocks: int, kind: int) -> None:
    step = np.diff(_T, prepend=-1)
    first = {1: step << 1 | _P, 2: step << 2 | _P << 1, 4: step}[kind]
    fields = [("first", "u1"), ("x", "<u2"), ("y", "<u2"), *([("color", "V3")] if kind == 4 else [])]
    block = _records(fields, first=first, x=_X, y=_Y).tobytes()
    head = b"Event Stream" + bytes([2, 0, 0, kind]) + struct.pack("<HH", files.WIDTH, files.HEIGHT)
    path.write_bytes(head + block * blocks)


def _nmnist(path: Path, blocks: int) -> None:
    t = _times(blocks)
    fields = [("x", "u1"), ("y", "u1"), ("pt", "u1"), ("t", ">u2")]
    path.write_bytes(_records(fields, x=_X, y=_Y, pt=_P << 7 | t >> 16, t=t & 0xFFFF).tobytes())


def _ecf(path: Path, blocks: int) -> None:
    events = list(zip(_T.tolist(), _X.tolist(), _Y.tolist(), _P.tolist(), strict=True))
    block = bytearray(files.ecf_block(events, 2))
    with files.ecf_dataset(path, blocks * BLOCK, BLOCK) as array:
        for i in range(blocks):
            block[4:12] = struct.pack("<Q", 64 * i)
            array.write_direct_chunk((i * BLOCK,), bytes(block))


def _etram(path: Path, blocks: int) -> None:
    import h5py
    import hdf5plugin

    with h5py.File(path, "w") as file:
        file.attrs["width"], file.attrs["height"] = files.WIDTH, files.HEIGHT
        for name, values, kind in (("t", _times(blocks), "<i8"), ("x", _X, "<u2"), ("y", _Y, "<u2"), ("p", _P, "u1")):
            data = np.broadcast_to(values, (blocks, BLOCK)).reshape(-1).astype(kind)
            file.create_dataset(
                f"events/{name}", data=data, chunks=(1 << 16,), compression=hdf5plugin.Blosc(cname="zstd")
            )


_WRITERS: dict[str, Callable[[Path, int], None]] = {
    "evt21.raw": _evt21,
    "evt21-legacy.raw": lambda path, blocks: _evt21(path, blocks, legacy=True),
    "dat.dat": _dat,
    "aedat2.aedat": _aedat2,
    "aedat3.aedat": _aedat3,
    "aedat4-lz4.aedat4": lambda path, blocks: _aedat4(path, blocks, "lz4"),
    "aedat4-zstd.aedat4": lambda path, blocks: _aedat4(path, blocks, "zstd"),
    "dvs.es": lambda path, blocks: _event_stream(path, blocks, 1),
    "atis.es": lambda path, blocks: _event_stream(path, blocks, 2),
    "color.es": lambda path, blocks: _event_stream(path, blocks, 4),
    "nmnist.bin": _nmnist,
    "ecf.hdf5": _ecf,
    "etram.h5": _etram,
}
FORMATS = tuple(_WRITERS)
