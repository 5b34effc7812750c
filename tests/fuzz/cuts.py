"""Cuts and flips: small files of every format, cut anywhere or with one fault in them.

    python -m tests.fuzz.cuts [--runs N] [--seed N] [FORMAT...]

Whatever is done to a file, a reader gives events or an InputError. Of a file that is cut it gives exactly the events
before the cut, and of one with a fault at least those before the fault. N is of all formats together. What is found is
kept in tests/fuzz/build/found.
"""

from __future__ import annotations

import argparse
import itertools
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import spedge
from spedge.base.errors import CutError
from spedge.recordings import hdf5
from tests import recording_files as files
from tests.fuzz.readers import FOUND, limited, prepare
from tests.recording_files import Event

COUNT = 60  # events of a file
SLOW = ("prophesee.hdf5", "ecf.hdf5", "etram.h5")  # read by another process, which a fault may end


@dataclass(frozen=True)
class Sample:
    """A whole file. ends: where each event ends, in bytes; None where a part of the file cannot be opened.

    exact: not a byte less is enough for an event; packets that are compressed may say some of theirs earlier.
    start: where the header ends; with a fault in that nothing can be said. told: what the columns are is told by their
    values, so that one that is wrong may make a reader ask. mark: bytes behind an event that may be missing, and not be
    wrong. options: of open.
    """

    name: str
    data: bytes
    events: list[Event]
    ends: list[int] | None = None
    exact: bool = True
    start: int = 0
    told: bool = False
    mark: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def before(self, at: int, cut: bool) -> int:
        """How many events end at or before a byte that is the first to be missing, or is wrong."""
        return sum(end + (0 if cut else self.mark) <= at for end in self.ends or ())


# ---------------------------------------------------------------- samples

_Writer = Callable[[Path, list[Event]], Any]


def samples(folder: Path, names: tuple[str, ...] = ()) -> list[Sample]:
    """One of each format, or of those that are named."""
    makers = {**dict.fromkeys(files.FORMATS, _of_format), **_MAKERS}
    return [maker(folder / name) for name, maker in makers.items() if not names or name in names]


def _of_format(path: Path) -> Sample:
    """As recording_files writes it; where its events end is what the file with fewer events takes."""
    name = path.name
    if name.startswith("aedat4"):
        return _compressed_aedat4(path)
    events = files.write(path, name, files.some_events(COUNT, *_size(name)))
    data = path.read_bytes()
    if name in SLOW or name == "numpy.npz":
        return Sample(name, data, events)
    given = files.some_events(COUNT, *_size(name))
    ends = [_size_of(path, name, given[: i + 1]) - _extra(name, i) for i in range(len(given))]
    if name == "evt3.raw":
        ends = [ends[i] for i in _last_of_vectors(given)]
    start = ends[0] - (ends[1] - ends[0]) if name in ("dat.dat", "aedat2.aedat", "nmnist.bin") else _header(name, data)
    sample = Sample(name, data, events, ends, start=start)
    return _closed(sample, True) if name == "text.csv" else sample


def _size(name: str) -> tuple[int, int]:
    return (34, 34) if name == "nmnist.bin" else (files.WIDTH, files.HEIGHT)


def _size_of(path: Path, name: str, events: list[Event]) -> int:
    files.write(path, name, events)
    return path.stat().st_size


def _extra(name: str, i: int) -> int:
    """Bytes behind the last event that are not its."""
    if name == "atis.es":
        return 5 if i % 9 == 0 else 0
    return {"aedat2.aedat": 8, "aedat3.aedat": 8}.get(name, 0)


def _last_of_vectors(events: list[Event]) -> list[int]:
    """For each event the last one of its vector word, as recording_files.evt3 makes them."""
    last: list[int] = []
    while len(last) < len(events):
        i, run = len(last), 1
        t, x, y, p = events[i]
        while i + run < len(events) and run < 12 and events[i + run] == (t, x + run, y, p):
            run += 1
        last += [i + run - 1] * run
    return last


def _header(name: str, data: bytes) -> int:
    if name.endswith(".raw"):
        return data.index(b"% end\n") + 6
    if name == "aedat3.aedat":
        return data.index(b"#!END-HEADER\r\n") + 14
    return data.index(b"x,y,p,t\n") + 8 if name == "text.csv" else 20  # 20: an Event Stream


def _written(path: Path, head: bytes, records: Callable[[list[Event]], list[bytes]], **more: Any) -> Sample:
    """A header and a record an event."""
    events = files.some_events(COUNT, 34, 34)
    parts = records(events)
    ends = list(itertools.accumulate(map(len, parts), initial=len(head)))[1:]
    return Sample(path.name, head + b"".join(parts), events, ends, start=len(head), **more)


def _lines(pattern: str, seconds: bool, **more: Any) -> Callable[[Path], Sample]:
    """Text, an event a line; an event ends with its last digit, before the line does."""

    def made(path: Path) -> Sample:
        head = more.get("head", "").encode()
        time: Callable[[int], Any] = (lambda t: f"{t / 1e6:.6f}") if seconds else (lambda t: t)
        sample = _written(
            path,
            head,
            lambda events: [pattern.format(t=time(t), x=x, y=y, p=p).encode() + b"\n" for t, x, y, p in events],
            told=not head.startswith(b"%geometry"),  # only that says the unit of the times
            options=more.get("options", {}),
        )
        return _closed(sample, pattern.endswith("{t}"))

    return made


def _closed(sample: Sample, times: bool) -> Sample:
    """Lines without their break at the end are whole; where they end in times, nothing says so of the first one."""
    assert sample.ends is not None
    ends = [end - (i > 0 or not times) for i, end in enumerate(sample.ends)]
    return replace(sample, ends=ends, mark=1)


def _davis(path: Path) -> Sample:
    head = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n#End Of ASCII Header\r\n"
    return _written(
        path,
        head,
        lambda events: [
            struct.pack(">II", 179 - y << 22 | 239 - x << 12 | p << 11, t & 0xFFFFFFFF) for t, x, y, p in events
        ],
    )


def _no_chip(path: Path) -> Sample:
    head = b"#!AER-DAT2.0\r\n"
    return _written(
        path,
        head,
        lambda events: [struct.pack(">II", y << 8 | x << 1 | p, t & 0xFFFFFFFF) for t, x, y, p in events],
        told=True,
    )


def _dat_1(path: Path) -> Sample:
    head = b"% Version 1\n" + bytes([0, 8])
    return _written(path, head, lambda events: [struct.pack("<II", t, p << 17 | y << 9 | x) for t, x, y, p in events])


def _npy(path: Path) -> Sample:
    events = files.some_events(COUNT, 34, 34)
    table = np.array(events, [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")])
    np.save(path, table)
    data = path.read_bytes()
    start = len(data) - table.nbytes
    ends = [start + table.itemsize * (i + 1) for i in range(len(events))]
    return Sample(path.name, data, events, ends, start=start, told=True, **_SIZED)


def _bag(kind: str) -> Callable[[Path], Sample]:
    """A ROS bag of five messages; a flip in its index can make any of them unreadable."""

    def made(path: Path) -> Sample:
        from spedge.recordings import ros_cut
        from tests.ros_bags import KINDS, UNIX, Bag

        ros, options = KINDS[kind]
        events = files.some_events(COUNT)
        bag = Bag(path.with_name(f"{path.name} made{'.bag' if ros == 1 else ''}"), ros, **options)
        for start in range(0, len(events), 12):
            bag.array(events[start : start + 12])
        (file,) = ros_cut.storages(bag.close())
        return Sample(path.name, file.read_bytes(), [(t + UNIX * 10**6, x, y, p) for t, x, y, p in events])

    return made


def _mvsec(path: Path) -> Sample:
    """A table of doubles in HDF5, in seconds, beside others."""
    import h5py

    events = files.some_events(COUNT, 34, 34)
    rows = np.array(events, np.float64)[:, [1, 2, 0, 3]] * [1, 1, 1e-6, 2] - [0, 0, 0, 1]
    with h5py.File(path, "w") as file:
        file.create_dataset("davis/left/events", data=rows, chunks=(16, 4), compression="gzip")
        file["davis/left/imu"] = np.zeros((9, 6))
    return Sample(path.name, path.read_bytes(), events, told=True, **_SIZED)


def _dsec(path: Path) -> Sample:
    """An array a field, compressed, times from an offset on, and where each millisecond begins."""
    import h5py
    import hdf5plugin

    events = files.some_events(COUNT, 34, 34)
    with h5py.File(path, "w") as file:
        for name, values in files.columns(events, t="<u4").items():
            file.create_dataset(f"events/{name}", data=values, chunks=(16,), compression=hdf5plugin.Blosc(cname="zstd"))
        file["ms_to_idx"] = np.arange(9, dtype=np.uint64)
        file["t_offset"] = np.int64(49_000_000_000)
    told = [(t + 49_000_000_000, x, y, p) for t, x, y, p in events]
    return Sample(path.name, path.read_bytes(), told, told=True, **_SIZED)


def _caltech(path: Path) -> Sample:
    """N-Caltech101: N-MNIST's records on a larger sensor, with marks of overflows between them."""
    events = files.some_events(COUNT, 240, 180)
    data, ends, laps = b"", [], 0
    for t, x, y, p in events:
        while t - 8192 * laps >= 1 << 23 or (t >> 13) - laps > 40:
            data += bytes([0, 240, 0, 0, 0])
            laps += 1
        rest = t - 8192 * laps
        data += bytes([x, y, p << 7 | rest >> 16, rest >> 8 & 0xFF, rest & 0xFF])
        ends.append(len(data))
    return Sample(path.name, data, events, ends, options={"width": 240, "height": 180})


def _written_aedat4(path: Path) -> Sample:
    """Ours, of packets of seven events."""
    from spedge.recordings import create

    events = files.some_events(COUNT, 34, 34)
    array = np.array(events, spedge.EVENT_DTYPE)
    with create(path, 34, 34) as writer:
        for start in range(0, len(array), 7):
            writer.write(array[start : start + 7])
    return replace(_compressed(path, events), name=path.name)


def _compressed_aedat4(path: Path) -> Sample:
    return _compressed(path, files.write(path, path.name))


def _compressed(path: Path, events: list[Event]) -> Sample:
    data = path.read_bytes()
    bodies, start, _ = _aedat4_packets(data)
    counts = [len(_events_of_packet(path.name, body)) for _, body in bodies]
    ends, at, done = [], start, 0
    for (_, body), count in zip(bodies, counts, strict=True):
        at += 8 + len(body)
        ends += [at] * count
        done += count
    assert done == len(events)
    return Sample(path.name, data, events, ends, exact=False, start=start)


def _plain_aedat4(path: Path) -> Sample:
    """The LZ4 file with that taken off."""
    events = files.write(path, "aedat4-lz4.aedat4")
    data = path.read_bytes()
    bodies, start, index = _aedat4_packets(data)
    header = bytearray(data[:start])
    compression, table = (_field(header, i) for i in (0, 1))
    struct.pack_into("<i", header, compression, 0)
    out, ends = bytes(header), []
    for stream, body in bodies:
        found = _unpacked("lz4", body)
        out += struct.pack("<ii", stream, len(found)) + found
        count = len(_events_of_packet("lz4", body))
        trailing = len(out) - 16 * count
        ends += [trailing + 16 * (i + 1) for i in range(count)]
    struct.pack_into("<q", header, table, len(out))
    out = bytes(header) + out[start:] + _unpacked("lz4", index)
    return Sample(path.name, out, events, ends, start=start)


def _aedat4_packets(data: bytes) -> tuple[list[tuple[int, bytes]], int, bytes]:
    """Stream and body of each packet, where the first one begins, and the index behind them."""
    start = 14 + 4 + struct.unpack_from("<I", data, 14)[0]
    table = struct.unpack_from("<q", data, _field(data, 1))[0]
    at, packets = start, []
    while at < table:
        stream, length = struct.unpack_from("<ii", data, at)
        packets.append((stream, data[at + 8 : at + 8 + length]))
        at += 8 + length
    return packets, start, data[table:]


def _field(data: bytes | bytearray, number: int) -> int:
    """Where a field of the header's FlatBuffer is."""
    root: int = 18 + struct.unpack_from("<I", data, 18)[0]
    fields = root - struct.unpack_from("<i", data, root)[0]
    offset: int = struct.unpack_from("<H", data, fields + 4 + 2 * number)[0]
    return root + offset


def _unpacked(name: str, body: bytes) -> bytes:
    if "zstd" in name:
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    import lz4.frame

    return bytes(lz4.frame.decompress(body))


def _events_of_packet(name: str, body: bytes) -> range:
    """As many as its FlatBuffer, whose vector of 16 bytes an event is its end, has."""
    data = _unpacked(name, body)
    if data[8:12] != b"EVTS":
        return range(0)
    root = 4 + struct.unpack_from("<I", data, 4)[0]
    fields = root - struct.unpack_from("<i", data, root)[0]
    place = root + struct.unpack_from("<H", data, fields + 4)[0]
    count = struct.unpack_from("<I", data, place + struct.unpack_from("<I", data, place)[0])[0]
    return range(count)


_SIZED: dict[str, Any] = {"options": {"width": 34, "height": 34}}
_MAKERS: dict[str, Callable[[Path], Sample]] = {
    "davis.aedat": _davis,
    "no-chip.aedat": _no_chip,
    "version-1.dat": _dat_1,
    "plain.aedat4": _plain_aedat4,
    "events.npy": _npy,
    "mvsec.hdf5": _mvsec,
    "dsec.h5": _dsec,
    "caltech.bin": _caltech,
    "written.aedat4": _written_aedat4,
    "ros1.bag": _bag("ROS 1"),
    "ros1-lz4.bag": _bag("ROS 1, lz4"),
    "ros2.mcap": _bag("ROS 2, mcap"),
    "ros2.db3": _bag("ROS 2, sqlite"),
    "seconds.txt": _lines("{t} {x} {y} {p}", True, **_SIZED),
    "sized.txt": _lines("{t} {x} {y} {p}", True, head="34 34\n"),
    "faery.csv": _lines("{t},{x},{y},{p}", False, head="t,x@34,y@34,on\n"),
    "vendor.csv": _lines("{x},{y},{p},{t}", False, head="%geometry:34,34\n"),
}

# ---------------------------------------------------------------- faults


def damaged(sample: Sample, rng: random.Random) -> tuple[bytes, int, bool]:
    """A file with a fault, where it is, and whether it is a cut there. Half of them are cuts."""
    at = rng.randrange(len(sample.data))
    if rng.random() < 0.5:
        return sample.data[:at], at, True
    wrong = rng.randrange(1, 256) if rng.random() < 0.3 else 1 << rng.randrange(8)
    return sample.data[:at] + bytes([sample.data[at] ^ wrong]) + sample.data[at + 1 :], at, False


def read(path: Path, options: dict[str, Any]) -> tuple[list[Event], spedge.InputError | None, bool]:
    """The events before the end or an error, that error, and whether the file could be opened."""
    events: list[Event] = []
    opened = False
    try:
        recording = spedge.open(path, **options)
        opened = True
        for chunk in recording:
            assert int(chunk["x"].max()) < recording.width
            assert int(chunk["y"].max()) < recording.height
            events += map(tuple, chunk[["t", "x", "y", "p"]].tolist())
    except spedge.InputError as error:
        assert str(path) in str(error), f"the sentence does not name the file: {error}"
        return events, error, opened
    return events, None, opened


def check(sample: Sample, at: int, cut: bool, path: Path) -> None:
    """Read the file at path, whose fault is at that byte, and assert what is promised."""
    events, problem, opened = read(path, sample.options)
    assert all(int(a[0]) <= int(b[0]) for a, b in itertools.pairwise(events))
    whole = sample.before(at, cut)
    if cut:
        assert events == sample.events[: len(events)], f"cut at {at}: other events than before the cut"
        assert not events or problem is None or isinstance(problem, CutError), f"cut at {at}: {problem}"
    if at < sample.start or (sample.told and not opened):
        return
    wanted = sample.events[:whole]
    assert events[:whole] == wanted, f"fault at {at}: {len(events)} events of {whole} before it; {problem}"
    if cut and sample.exact and sample.ends is not None:
        assert len(events) == whole, f"cut at {at}: {len(events)} events, and {whole} are before it"


def fuzz(sample: Sample, seed: int, runs: int, folder: Path, found: Path) -> int:
    """How many of the files were cut. Raises AssertionError, or what a reader raised, and keeps the file."""
    rng = random.Random(f"{sample.name} {seed}")
    cuts = 0
    for _ in range(runs):
        data, at, cut = damaged(sample, rng)
        cuts += cut
        with limited(folder / sample.name, data, found / f"{seed}-{sample.name}") as path:
            check(sample, at, cut, path)
    return cuts


def shares(runs: int, chosen: list[Sample]) -> Iterator[tuple[Sample, int]]:
    """The runs of each, together so many."""
    for i, sample in enumerate(chosen):
        yield sample, runs * (i + 1) // len(chosen) - runs * i // len(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.cuts", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("formats", nargs="*", metavar="FORMAT")
    arguments = parser.parse_args()
    prepare()
    hdf5.PATIENCE_S = 1.0  # libhdf5's loops are known: more files in the time
    with tempfile.TemporaryDirectory() as folder:
        chosen = samples(Path(folder), tuple(arguments.formats))
        for sample, runs in shares(arguments.runs, chosen):
            cuts = fuzz(sample, arguments.seed, runs, Path(folder), FOUND)
            print(f"{sample.name}: {runs} files, {cuts} of them cut", flush=True)


if __name__ == "__main__":
    main()
