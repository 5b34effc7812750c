"""Recordings of every format that spedge reads, written by the formats' definitions and not by spedge.

Only small ones for tests: a loop over events, bytes by bytes.
"""

from __future__ import annotations

import itertools
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).resolve().parent / "golden"
WIDTH, HEIGHT = 128, 96
FORMATS = (
    "evt2.raw",
    "evt21.raw",
    "evt21-legacy.raw",
    "evt3.raw",
    "dat.dat",
    "aedat2.aedat",
    "aedat3.aedat",
    "aedat4-lz4.aedat4",
    "aedat4-zstd.aedat4",
    "dvs.es",
    "atis.es",
    "color.es",
    "nmnist.bin",
    "prophesee.hdf5",
    "ecf.hdf5",
    "etram.h5",
    "numpy.npz",
    "text.csv",
)

Event = tuple[int, int, int, int]  # t, x, y, p


def some_events(count: int = 400, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> list[Event]:
    """Sorted events with equal times, short and long gaps, and rows of several pixels."""
    rng = np.random.default_rng(seed)
    t, events = 3_000, []
    for i in range(count):
        t += int(rng.choice([0, 0, 1, 7, 130, 5000, 70_000]))
        events.append((t, int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(2))))
        if i % 50 == 0:
            events += [(t, x, 5, 1) for x in range(20, 34)]
    return events


def write(path: Path, format: str, events: list[Event] | None = None) -> list[Event]:
    """Write a recording and return the events that a reader must give."""
    if format.startswith("aedat4"):
        path.write_bytes((GOLDEN / f"dv_346x260_{format[7:].partition('.')[0]}.aedat4").read_bytes())
        with np.load(GOLDEN / "dv_346x260.npz") as file:
            return list(zip(*(file[name].tolist() for name in "txyp"), strict=True))
    if format == "nmnist.bin" and events is None:
        events = [(t, x % 34, y % 34, p) for t, x, y, p in some_events()]
    events = some_events() if events is None else events
    return _WRITERS[format](path, events) or events


def geometry(format: str) -> tuple[int, int]:
    """Width and height of what write() writes."""
    return (
        (346, 260)
        if format.startswith("aedat4")
        else (34, 34)
        if format == "nmnist.bin"
        else ((128, 128) if format in ("aedat2.aedat", "aedat3.aedat") else (WIDTH, HEIGHT))
    )


def prophesee_header(*lines: str) -> bytes:
    return "".join(f"% {line}\n" for line in (*lines, f"geometry {WIDTH}x{HEIGHT}", "end")).encode()


def evt2(path: Path, events: list[Event]) -> None:
    words, high = [], -1
    for t, x, y, p in events:
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high & 0x0FFFFFFF)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    path.write_bytes(prophesee_header("evt 2.0") + struct.pack(f"<{len(words)}I", *words))


def evt21(path: Path, events: list[Event], legacy: bool = False) -> None:
    words, high, i = [], -1, 0
    while i < len(events):
        t, x, y, p = events[i]
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 60 | (high & 0x0FFFFFFF) << 32)
        base, mask = x & ~31, 0
        # Neighbours of one time, row and polarity in ascending order share a word.
        while i < len(events) and events[i][0] == t and events[i][2:] == (y, p):
            bit = 1 << (events[i][1] - base) if base <= events[i][1] < base + 32 else 0
            if bit == 0 or mask >= bit:
                break
            mask |= bit
            i += 1
        words.append(p << 60 | (t & 63) << 54 | base << 43 | y << 32 | mask)
    if legacy:
        words = [(word << 32 | word >> 32) & (1 << 64) - 1 for word in words]
    kind = f"format EVT21;height={HEIGHT};width={WIDTH}" + (";endianness=legacy" if legacy else ";endianness=little")
    path.write_bytes(prophesee_header(kind) + struct.pack(f"<{len(words)}Q", *words))


def evt3(path: Path, events: list[Event]) -> None:
    words, high, i = [], -1, 0
    while i < len(events):
        t, x, y, p = events[i]
        if t >> 12 != high:
            high = t >> 12
            words.append(0x8000 | high & 0xFFF)
        words += [0x6000 | t & 0xFFF, y]
        run = 1
        while i + run < len(events) and run < 12 and events[i + run] == (t, x + run, y, p):
            run += 1
        if run > 1:
            words += [0x3000 | p << 11 | x, 0x4000 | (1 << run) - 1]
        else:
            words.append(0x2000 | p << 11 | x)
        i += run
    words.insert(0, 0x2000)  # an event word before any time: skipped
    path.write_bytes(prophesee_header("evt 3.0") + struct.pack(f"<{len(words)}H", *words))


def dat(path: Path, events: list[Event]) -> None:
    head = f"% Data file containing CD events.\n% Version 2\n% Height {HEIGHT}\n% Width {WIDTH}\n".encode() + bytes(
        [12, 8]
    )
    body = b"".join(struct.pack("<II", t & 0xFFFFFFFF, p << 28 | y << 14 | x) for t, x, y, p in events)
    path.write_bytes(head + body)


def aedat2(path: Path, events: list[Event]) -> None:
    head = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
    body = b"".join(struct.pack(">II", y << 8 | x << 1 | p, t & 0xFFFFFFFF) for t, x, y, p in events)
    sync = struct.pack(">II", 0x8000, events[-1][0] & 0xFFFFFFFF)  # a synchronisation mark is no event
    path.write_bytes(head + body + sync)


def aedat3(path: Path, events: list[Event], packet: int = 100) -> None:
    data = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2026-01-01 00:00:00\r\n#!END-HEADER\r\n"
    data += struct.pack("<HHIIIIII", 0, 1, 8, 4, 0, 1, 1, 1) + bytes(8)  # a packet of special events
    i = 0
    while i < len(events):
        overflow = events[i][0] >> 31
        part = [e for e in events[i : i + packet] if e[0] >> 31 == overflow]
        i += len(part)
        body = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t & 0x7FFFFFFF) for t, x, y, p in part)
        body += struct.pack("<II", 3 << 17 | 1 << 2, part[-1][0] & 0x7FFFFFFF)  # marked as not valid
        data += struct.pack("<HHIIIIII", 1, 1, 8, 4, overflow, len(part) + 1, len(part) + 1, len(part)) + body
    path.write_bytes(data)


def event_stream(path: Path, events: list[Event], kind: int = 1) -> list[Event] | None:
    data, last = b"Event Stream" + bytes([2, 0, 0, kind]) + struct.pack("<HH", WIDTH, HEIGHT), 0
    for i, (t, x, y, p) in enumerate(events):
        gap, last = t - last, t
        place = struct.pack("<HH", x, HEIGHT - 1 - y)
        if kind == 1:
            data += b"\xff" * (gap // 127) + bytes([gap % 127 << 1 | p]) + place
        elif kind == 2:
            while gap >= 63:
                many = min(3, gap // 63)
                data += bytes([0xFC | many])
                gap -= 63 * many
            data += bytes([gap << 2 | p << 1]) + place
            if i % 9 == 0:
                data += bytes([1]) + place  # an exposure measurement
        else:
            data += b"\xff" * (gap // 254) + bytes([gap % 254]) + place + bytes([1, 2, 3])
    path.write_bytes(data)
    return [(t, x, y, 1) for t, x, y, _ in events] if kind == 4 else None


def nmnist(path: Path, events: list[Event]) -> list[Event]:
    data = b""
    out = [(t % (1 << 22), x, y, p) for t, x, y, p in events]
    out.sort(key=lambda event: event[0])
    for t, x, y, p in out:
        data += bytes([x, y, p << 7 | t >> 16 & 0x7F, t >> 8 & 0xFF, t & 0xFF])
    path.write_bytes(data)
    return out


def columns(events: list[Event], **types: Any) -> dict[str, NDArray[Any]]:
    default = {"t": "<i8", "x": "<u2", "y": "<u2", "p": "<u1", **types}
    return {name: np.array([event[i] for event in events], default[name]) for i, name in enumerate("txyp")}


def prophesee_hdf5(path: Path, events: list[Event]) -> None:
    import h5py

    table = np.zeros(len(events), [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    for name, values in columns(events).items():
        table[name] = values
    with h5py.File(path, "w") as file:
        file.attrs["geometry"] = f"{WIDTH}x{HEIGHT}"
        file.create_dataset("CD/events", data=table, chunks=(64,))
        file.create_dataset("CD/indexes", data=np.zeros(1, [("id", "<u8"), ("ts", "<i8")]))


def ecf_block(events: list[Event], style: int) -> bytes:
    """Events in the ECF codec; style 0: masks of columns, 1: columns packed, 2: rows too."""
    data = struct.pack("<IQ", len(events) << 2 | style, events[0][0] if events else 0)
    last = events[0][0] if events else 0
    for t, count in runs([event[0] for event in events]):
        gap, last = t - last, t
        if gap >= 15:
            while gap:
                data += bytes([0xF0 | gap & 15])
                gap >>= 4
        data += bytes([gap << 4 | min(count, 15)]) + (struct.pack("<H", count) if count >= 15 else b"")
    fours = [events[i : i + 4] + [(0, 0, 0, 0)] * (i + 4 - len(events)) for i in range(0, len(events), 4)]
    if style == 2:
        for four in fours:
            a, b, c, d = (y << 12 | x << 1 | p for _, x, y, p in four)
            data += struct.pack("<3I", a << 8 | b & 0xFF, (b >> 8) << 16 | c & 0xFFFF, (c >> 16) << 24 | d)
        return data
    for y, count in runs([event[2] for event in events]):
        data += struct.pack("<H", y << 5 | min(count, 31)) + (struct.pack("<H", count) if count >= 31 else b"")
    if style == 1:
        for four in fours:
            a, b, c, d = (x << 1 | p for _, x, _, p in four)
            data += struct.pack("<3H", a << 4 | b & 15, (b >> 4) << 8 | c & 0xFF, (c >> 8) << 12 | d)
        return data
    i = 0
    while i < len(events):
        x, mask = events[i][1], 0
        i += 1
        for k in range(5):
            if i < len(events) and events[i][1] == x + k + 1:
                mask |= 1 << 4 - k
                i += 1
        data += struct.pack("<H", x << 5 | mask)
    for p, count in runs([event[3] for event in events]):
        data += bytes([p << 7 | min(count, 127)]) + (struct.pack("<H", count) if count >= 127 else b"")
    return data


def runs(values: list[int]) -> list[tuple[int, int]]:
    """Each value and how often it follows itself."""
    return [(value, len(list(group))) for value, group in itertools.groupby(values)]


@contextmanager
def ecf_dataset(path: Path, count: int, size: int) -> Iterator[Any]:
    """A new file's /CD/events, of that many events in blocks of that size, to be written directly."""
    import h5py

    record = [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")]
    with h5py.File(path, "w") as file:
        file.attrs["geometry"] = f"{WIDTH}x{HEIGHT}"
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((size,))
        plist.set_filter(36559, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((count,), (h5py.h5s.UNLIMITED,))
        kind = h5py.h5t.py_create(np.dtype(record), logical=True)
        yield h5py.h5d.create(file.create_group("CD").id, b"events", kind, space, plist)


def ecf_hdf5(path: Path, events: list[Event], size: int = 150) -> None:
    """Blocks of `size` events in the three styles by turns; the last one is filled up with zeros."""
    with ecf_dataset(path, len(events), size) as array:
        for style, start in enumerate(range(0, len(events), size)):
            block = events[start : start + size]
            block += [(block[-1][0], 0, 0, 0)] * (size - len(block))
            array.write_direct_chunk((start,), ecf_block(block, style % 3))


def etram(path: Path, events: list[Event]) -> None:
    import h5py
    import hdf5plugin

    with h5py.File(path, "w") as file:
        file.attrs["width"], file.attrs["height"] = WIDTH, HEIGHT
        for name, values in columns(events).items():
            file.create_dataset(f"events/{name}", data=values, chunks=(64,), compression=hdf5plugin.Blosc(cname="zstd"))


def numpy_npz(path: Path, events: list[Event]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, values in {**columns(events), "width": np.array(WIDTH), "height": np.array(HEIGHT)}.items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values)


def text(path: Path, events: list[Event]) -> None:
    lines = [f"%geometry:{WIDTH},{HEIGHT}", "x,y,p,t", *(f"{x},{y},{p},{t}" for t, x, y, p in events)]
    path.write_text("\n".join(lines) + "\n")


_WRITERS: dict[str, Callable[[Path, list[Event]], list[Event] | None]] = {
    "evt2.raw": evt2,
    "evt21.raw": evt21,
    "evt21-legacy.raw": lambda path, events: evt21(path, events, legacy=True),
    "evt3.raw": evt3,
    "dat.dat": dat,
    "aedat2.aedat": aedat2,
    "aedat3.aedat": aedat3,
    "dvs.es": event_stream,
    "atis.es": lambda path, events: event_stream(path, events, 2),
    "color.es": lambda path, events: event_stream(path, events, 4),
    "nmnist.bin": nmnist,
    "prophesee.hdf5": prophesee_hdf5,
    "ecf.hdf5": ecf_hdf5,
    "etram.h5": etram,
    "numpy.npz": numpy_npz,
    "text.csv": text,
}


#: What becomes of a word by its type, if it is neither an event nor a time nor, in EVT3, a row.
_EVT2_FATES = {**dict.fromkeys((2, 3, 4, 5, 6, 7, 9, 0xB, 0xC, 0xD), "unknown"), 0xA: "triggers"} | dict.fromkeys(
    (0xE, 0xF), "other"
)
_EVT3_FATES = {**dict.fromkeys((1, 9, 0xB, 0xC, 0xD), "unknown"), 0xA: "triggers"} | dict.fromkeys(
    (7, 0xE, 0xF), "other"
)


def with_strays(format: str, path: Path, seed: int) -> tuple[list[Event], dict[str, int]]:
    """A recording with words of every type that is no event put between its own; its events, and how many of which."""
    expected = write(path, format)
    data = path.read_bytes()
    start = data.index(b"% end\n") + 6
    size, fates = {"evt2.raw": (4, _EVT2_FATES), "evt3.raw": (2, _EVT3_FATES)}.get(format, (8, _EVT2_FATES))
    words = [data[at : at + size] for at in range(start, len(data), size)]
    rng = np.random.default_rng(seed)
    counts: dict[str, int] = {"untimed": 1} if format == "evt3.raw" else {}
    for kind, fate in [*fates.items()] * 6:
        word = kind << 8 * size - 4 | int.from_bytes(rng.bytes(size), "little") & (1 << 8 * size - 4) - 1
        if format == "evt21-legacy.raw":
            word = (word << 32 | word >> 32) & (1 << 64) - 1
        words.insert(int(rng.integers(1, len(words))), word.to_bytes(size, "little"))
        counts[fate] = counts.get(fate, 0) + 1
    path.write_bytes(data[:start] + b"".join(words))
    return expected, counts
