"""Recordings of every format against files written by the formats' definitions (tests/recording_files.py)."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.recordings import CHUNK_EVENTS, create, formats, hdf5
from tests import large_files
from tests import recording_files as files
from tests.ends import children

POSITION = r"byte \d+|line \d+|entry \d+|event \d+|events \d+"
#: Files of these say how long they are.
WHOLE = ("aedat4-lz4.aedat4", "aedat4-zstd.aedat4", "prophesee.hdf5", "ecf.hdf5", "etram.h5", "numpy.npz")


def listed(path: Path, width: int | None = None, height: int | None = None) -> list[tuple[int, ...]]:
    return list(spedge.open(path, width=width, height=height).events().tolist())


@pytest.mark.parametrize("format", files.FORMATS)
def test_events_and_geometry(format: str, tmp_path: Path) -> None:
    expected = files.write(tmp_path / format, format)
    recording = spedge.open(tmp_path / format)
    assert (recording.width, recording.height) == files.geometry(format)
    assert recording.events().dtype == spedge.EVENT_DTYPE
    assert recording.events().tolist() == expected
    assert recording.events().tolist() == expected, "the second time"


@pytest.mark.parametrize(
    ("format", "left_out"),
    [
        ("evt3.raw", {"untimed": 1}),
        ("aedat2.aedat", {"other": 1}),
        ("aedat3.aedat", {"invalid": 6, "special": 1}),
        ("atis.es", {"exposures": 57}),
        ("evt2.raw", {}),
    ],
)
def test_what_a_format_leaves_out_is_counted(format: str, left_out: dict[str, int], tmp_path: Path) -> None:
    files.write(tmp_path / format, format)
    recording = spedge.open(tmp_path / format)
    recording.events()
    assert recording.left_out == left_out


# ---------------------------------------------------------------- reference recordings


def golden(shared: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(shared / "golden" / f"{name}.npz") as file:
        return {field: file[field] for field in "txyp"}


@pytest.mark.parametrize(
    ("name", "reference", "shift"),
    [
        ("evt3_sample.raw", "evt3_1280x720.decoded", 0),
        ("evt2_sample.raw", "evt2_640x480.events", 1_317_888),
        ("dvs.es", "dvs_320x240.events", 0),
    ],
)
def test_reference_recordings(shared: Path, name: str, reference: str, shift: int) -> None:
    events = spedge.open(shared / "data/recordings" / name).events()
    expected = golden(shared, reference)
    expected["t"] += np.uint64(shift)  # the reference begins at 0, the file does not
    for field in "txyp":
        np.testing.assert_array_equal(events[field], expected[field], field)


def test_the_last_event_of_the_evt3_sample(shared: Path) -> None:
    events = spedge.open(shared / "data/recordings/evt3_sample.raw").events()
    assert len(events) == 219_596
    assert events["t"][-1] == 11_727_457
    assert (np.diff(events["t"].astype(np.int64)) >= 0).all()


# ---------------------------------------------------------------- damaged files


def read_until_error(path: Path, **options: Any) -> tuple[list[tuple[int, ...]], str | None]:
    events: list[tuple[int, ...]] = []
    try:
        for chunk in spedge.open(path, **options):
            events += chunk.tolist()
    except spedge.InputError as error:
        return events, str(error)
    return events, None


@pytest.mark.parametrize("format", files.FORMATS)
def test_a_cut_file_gives_what_was_before_the_cut_and_says_where(format: str, tmp_path: Path) -> None:
    """Silence is for a cut between two words or events, in formats that do not say how many there are."""
    path = tmp_path / format
    expected = files.write(path, format)
    data = path.read_bytes()
    complaints = 0
    for cut in sorted({*range(1, 40), *np.linspace(40, len(data) - 2, 60).astype(int).tolist()}):
        path.write_bytes(data[:cut])
        events, complaint = read_until_error(path)
        # A number at the end of a text may have lost digits.
        whole = events[:-1] if format == "text.csv" else events
        assert whole == expected[: len(whole)], cut
        if complaint is not None:
            complaints += 1
            assert str(path) in complaint
            assert re.search(POSITION, complaint) or "pass width and height" in complaint, (cut, complaint)
        else:
            assert format not in WHOLE, cut
    assert complaints > 20


@pytest.mark.parametrize("format", [format for format in files.FORMATS if format != "text.csv"])
def test_a_file_without_its_last_byte_says_where_it_ends(format: str, tmp_path: Path) -> None:
    path = tmp_path / format
    files.write(path, format)
    path.write_bytes(path.read_bytes()[:-1])
    _, complaint = read_until_error(path)
    assert complaint is not None
    assert re.search(POSITION, complaint), complaint


@pytest.mark.parametrize("suffix", formats())
@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"this is a text, not a recording\n" * 40, bytes(range(256)) * 20, b"% no\n", b"#!AER-DAT9\r\n"],
)
def test_a_file_that_is_something_else(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    events, complaint = read_until_error(path)
    # Nothing in N-MNIST says what it is but that its pixels are inside.
    inside = suffix == ".bin" and content == bytes(range(256)) * 20
    assert [event[1:3] for event in events] == ([(x, x + 1) for x in range(0, 33, 5)] if inside else [])
    assert complaint is not None
    assert str(path) in complaint
    assert re.search(POSITION, complaint), complaint


@pytest.mark.parametrize("format", ["evt2.raw", "evt21.raw", "evt21-legacy.raw", "evt3.raw"])
def test_words_of_no_type_are_skipped_and_counted(format: str, tmp_path: Path) -> None:
    """As by every board. IMX636 cameras send 0x9999 as padding."""
    path = tmp_path / format
    expected = files.write(path, format)
    data = path.read_bytes()
    size = {"evt2.raw": 4, "evt3.raw": 2}.get(format, 8)
    start = data.index(b"% end\n") + 6
    padding = b"\x99" * size
    for at in (start, start + size * ((len(data) - start) // size // 2), len(data)):
        path.write_bytes(data[:at] + 3 * padding + data[at:])
        recording = spedge.open(path)
        assert recording.events().tolist() == expected
        assert recording.left_out == {"unknown": 3} | ({"untimed": 1} if format == "evt3.raw" else {})


@pytest.mark.parametrize(
    "format", ["evt2.raw", "evt3.raw", "dvs.es", "dat.dat", "text.csv", "numpy.npz", "prophesee.hdf5"]
)
def test_an_event_outside_the_sensor_is_named(format: str, tmp_path: Path) -> None:
    path = tmp_path / format
    events = files.some_events()
    events[100] = (events[100][0], files.WIDTH + 3, 1, 1)
    files.write(path, format, events)
    read, complaint = read_until_error(path, outside="refuse")
    assert complaint is not None
    assert f"outside the {files.WIDTH}x{files.HEIGHT} sensor" in complaint
    assert re.search(POSITION, complaint)
    assert "sort" not in complaint
    assert len(read) <= 100


def test_vector_words_may_reach_over_the_right_edge(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    words = [0x8001, 0x0003, 0x3000 | 124, 0x4FFF]  # 12 pixels from column 124 of 128
    path.write_bytes(files.prophesee_header("evt 3.0") + struct.pack("<4H", *words))
    recording = spedge.open(path)
    assert recording.events()["x"].tolist() == [124, 125, 126, 127]
    assert recording.left_out == {"clipped": 8}


@pytest.mark.parametrize("format", ["evt2.raw", "dat.dat", "text.csv", "numpy.npz", "prophesee.hdf5"])
def test_unsorted_events_are_an_error_unless_sorting_is_asked_for(format: str, tmp_path: Path) -> None:
    path = tmp_path / format
    events = [event for event in files.some_events() if event[0] < 1 << 30]
    swapped = [*events[:200], *events[300:], *events[200:300]]
    files.write(path, format, swapped)
    with pytest.raises(spedge.InputError, match=r"event 4\d\d is at .* before the event ahead.*sort=True"):
        spedge.open(path).events()
    expected = sorted(swapped, key=lambda event: event[0])
    assert spedge.open(path, sort=True).events().tolist() == expected


@pytest.mark.parametrize("format", ["text.csv", "numpy.npz", "prophesee.hdf5"])
def test_what_is_before_a_wrong_event_is_handed_out(format: str, tmp_path: Path) -> None:
    path = tmp_path / format
    events = files.some_events()
    late = [*events[:200], events[100], *events[200:]]
    files.write(path, format, late)
    before, complaint = read_until_error(path)
    assert before == events[:200]
    assert "event 200 is at" in str(complaint)
    width, _ = files.geometry(format)
    outside = [*events[:200], (events[200][0], width, 0, 1), *events[200:]]
    files.write(path, format, outside)
    before, complaint = read_until_error(path)
    assert before == events[:200]
    assert f"event 200 at pixel ({width}, 0)" in str(complaint)
    shuffled = [*outside[300:], *outside[:300]]
    files.write(path, format, shuffled)
    with pytest.raises(spedge.InputError, match=rf"event {len(shuffled) - 100} at pixel \({width}, 0\)"):
        spedge.open(path, sort=True).events()  # its place in the file, not in order of time


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"7,4,1,2", "line 4 has p=2; it must be -1 to 1"),
        (b"-7,4,1,1", "line 4 has t=-7; it must be 0 to 18446744073709551615"),
        (b"18446744073709551616,4,1,1", "line 4 has t=18446744073709551616"),
        (b"7,70000,1,1", "line 4 has x=70000; it must be 0 to 65535"),
        (b"7,4,1", "line 4 is '7,4,1', not 4 whole numbers"),
        (b"7,4,1,0.5", "line 4 has p=0.5; it must be a whole number"),
        (b"7,4.5,1,1", "line 4 has x=4.5; it must be a whole number"),
        (b"7.5,4,1,1", "line 4 has t=7.5, but the times before it are whole: say their unit, time_unit='us'"),
        (b"7,4,1,yes", "line 4 is '7,4,1,yes', not 4 whole numbers"),
        (b",,,", "line 4 is ',,,', not 4 whole numbers with commas between"),
    ],
)
def test_a_wrong_line_of_csv_is_named_behind_those_before_it(line: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"%geometry:40,30\nt,x,y,p\n5,39,29,-1\n" + line + b"\n9,1,1,1\n")
    events, problem = read_until_error(path)
    assert events == [(5, 39, 29, 0)]
    assert complaint in str(problem)


@pytest.mark.parametrize("format", ["evt2.raw", "prophesee.hdf5"])
def test_a_file_that_may_not_be_read(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / format
    files.write(path, format)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(spedge.InputError, match=f"{format}: cannot be read: Permission denied"):
        spedge.open(path)


# ---------------------------------------------------------------- formats' particulars


def test_the_clock_of_dat_and_aedat2_wraps_after_2_to_32(tmp_path: Path) -> None:
    events = [(t, 1, 2, 1) for t in ((1 << 32) - 5, (1 << 32) + 5, (1 << 33) - 1, 1 << 33)]
    for format in ("dat.dat", "aedat2.aedat"):
        files.write(tmp_path / format, format, events)
        assert listed(tmp_path / format) == events


def test_the_overflow_counter_of_aedat3(tmp_path: Path) -> None:
    events = [(t, 1, 2, 0) for t in (5, (1 << 31) - 1, 1 << 31, 3 << 31)]
    files.write(tmp_path / "a.aedat", "aedat3.aedat", events)
    assert listed(tmp_path / "a.aedat") == events


def test_evt21_without_endianness_is_settled_by_its_words(tmp_path: Path) -> None:
    for format in ("evt21.raw", "evt21-legacy.raw"):
        path = tmp_path / format
        expected = files.write(path, format)
        path.write_bytes(re.sub(rb";endianness=\w+", b"", path.read_bytes()))
        assert listed(path) == expected


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["format EVT3;height=10;width=20", "geometry 21x10"], "two values for width, 20 and 21"),
        (["evt 3.0", "format EVT2"], "two values for encoding"),
        (["evt 3.0", "system_ID 48", "geometry 640x480"], "two values for width"),
        (["evt 3.0"], "pass width and height"),
        (["evt 4.0", "geometry 64x48"], "cannot read EVT 4.0"),
        (["geometry 64x48"], "names no encoding"),
        (["evt 3.0", "geometry 64 by 48"], "WIDTHxHEIGHT"),
        (["format EVT3;height=0;width=20"], "no valid sensor size"),
    ],
)
def test_headers_that_do_not_say_enough_or_too_much(lines: list[str], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes("".join(f"% {line}\n" for line in lines).encode() + b"\0\x80")
    with pytest.raises(spedge.InputError, match=complaint):
        spedge.open(path)


def test_geometry_by_system_and_from_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"% evt 2.0\n% system_ID 48\n" + struct.pack("<I", 0x80000000))
    assert (spedge.open(path).width, spedge.open(path).height) == (1280, 720)
    path.write_bytes(b"% evt 2.0\n" + struct.pack("<I", 0x80000000))
    assert spedge.open(path, width=20, height=10).width == 20
    path.write_bytes(b"% evt 2.0\n% geometry 20x10\n")
    with pytest.raises(spedge.InputError, match="20x10, not 10x20"):
        spedge.open(path, width=10, height=20)


def test_davis_addresses_of_aedat2(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    address = (345 - 7) << 12 | (259 - 9) << 22 | 1 << 11  # the origin is at the lower right
    records = [(address, 5), (address | 1 << 31, 6), (address | 1 << 10, 7), (address & ~(1 << 11), 8)]
    head = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis346red\r\n"
    path.write_bytes(head + b"".join(struct.pack(">II", *record) for record in records))
    recording = spedge.open(path)
    assert (recording.width, recording.height) == (346, 260)
    assert recording.events().tolist() == [(5, 7, 9, 1), (8, 7, 9, 0)]
    assert recording.left_out == {"other": 2}


def test_csv_as_metavision_writes_it_and_with_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("%geometry:20,10\n3,4,1,100\n5,6,0,101")
    assert listed(path) == [(100, 3, 4, 1), (101, 5, 6, 0)]
    path.write_text("# from elsewhere\npolarity,timestamp,frame,x,y\n-1,7,0,3,4\n1,8,0,5,6\n")
    assert listed(path, width=20, height=10) == [(7, 3, 4, 0), (8, 5, 6, 1)]
    path.write_text("t,x,y,p\n1,2,3,1\n2,2,x,1\n")
    with pytest.raises(spedge.InputError, match="line 3 is '2,2,x,1'"):
        listed(path, width=20, height=10)


def test_hdf5_with_an_offset_of_time(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, values in files.columns([(5, 1, 2, 1), (6, 1, 2, 0)], t="<u4").items():
            file.create_dataset(f"events/{name}", data=values)
        file["t_offset"] = 1000
    assert listed(path, width=20, height=10) == [(1005, 1, 2, 1), (1006, 1, 2, 0)]
    with pytest.raises(spedge.InputError, match="pass width and height"):
        spedge.open(path)


def test_hdf5_that_keeps_the_library_in_a_loop_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libhdf5 2.0 never comes back from a heap with free space of 0 bytes."""
    path = tmp_path / "a.hdf5"
    events = files.write(path, "prophesee.hdf5")
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    while (place := struct.unpack_from("<H6xQ", data, at))[0]:  # its texts, and then the space that is free
        at += 16 + (place[1] + 7) // 8 * 8
    struct.pack_into("<Q", data, at + 8, 0)
    damaged = tmp_path / "damaged.hdf5"
    damaged.write_bytes(data)
    monkeypatch.setattr(hdf5, "PATIENCE_S", 1.0)
    with pytest.raises(spedge.InputError, match="damaged: the HDF5 library was not done with its beginning after 1 s"):
        spedge.open(damaged)
    assert listed(path) == events, "the next file, by the next process"


def test_hdf5_that_crashes_the_library_is_refused(tmp_path: Path) -> None:
    """A helper that is killed while a file is read stands for a crash; what came before it was handed out."""
    path = tmp_path / "a.hdf5"
    events = np.zeros(4 * CHUNK_EVENTS, spedge.EVENT_DTYPE)
    spedge.recordings.write(path, events, 20, 10)
    chunks = iter(spedge.open(path))
    taken = len(next(chunks))
    for pid in children(os.getpid()):
        if b"hdf5_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGSEGV)
    with pytest.raises(spedge.InputError, match=r"the HDF5 library crashed at chunk \d of its events \(SIGSEGV\)"):
        for chunk in chunks:
            taken += len(chunk)
    assert taken < len(events)
    assert len(spedge.open(path).events()) == len(events)


def test_helpers_for_hdf5_are_used_again_and_end_with_the_process(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    files.write(path, "prophesee.hdf5")
    program = f"""
from pathlib import Path
import spedge
next(iter(spedge.open({str(path)!r})))
for _ in range(5):
    spedge.open({str(path)!r}).events()
print(*(file.read_text() for file in Path("/proc/self/task").glob("*/children")))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    helpers = [int(word) for word in done.stdout.split()]
    assert len(helpers) == 1
    assert not any(Path(f"/proc/{helper}").exists() for helper in helpers)


def test_a_reader_of_hdf5_that_becomes_garbage_closes_its_pipe_once(tmp_path: Path) -> None:
    """As where an error's traceback holds the frame that holds the error. A second time it may be another's file."""
    path = tmp_path / "a.hdf5"
    spedge.recordings.write(path, np.zeros(4 * CHUNK_EVENTS, spedge.EVENT_DTYPE), 20, 10)
    program = f"""
import gc
import os
import spedge
closed, close = [], os.close
import multiprocessing.connection
multiprocessing.connection.Connection._close.__defaults__ = (lambda fd: (closed.append(fd), close(fd)),)
for _ in range(3):
    chunks = iter(spedge.open({str(path)!r}))
    next(chunks)
    ring = [chunks]
    ring.append(ring)
    closed.clear()
    del chunks, ring
    gc.collect()
    print(len(closed))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["1"] * 3, "")


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("name", ["a.raw", "evt3.raw", "a.npz", "a.h5", "a.csv"])
def test_memory_does_not_grow_with_the_recording(name: str, tmp_path: Path) -> None:
    """All events at once would take 13 bytes each. Writing is bounded as well."""
    count = 400_000 if name == "a.csv" else 6_000_000
    limit = 13 * count // (1 if name == "a.csv" else 2)
    chunk = np.zeros(count // 100, spedge.EVENT_DTYPE)
    chunk["x"] = np.arange(len(chunk)) % 1000
    chunk["y"] = np.arange(len(chunk)) // 1000 % 700
    path = tmp_path / name
    limit = max(limit, 24 << 20)
    tracemalloc.start()
    try:
        with create(path, 1280, 720, "EVT3" if name == "evt3.raw" else None) as writer:
            for i in range(100):
                chunk["t"] = i * 1000 + np.arange(len(chunk)) // 64
                writer.write(chunk)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        total = sum(len(part) for part in spedge.open(path))
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == count
    assert written < limit
    assert read < limit


@pytest.mark.parametrize("format", large_files.FORMATS)
def test_reading_takes_memory_for_a_part_of_the_recording(format: str, tmp_path: Path) -> None:
    """The formats that we do not write; the others are in the test above."""
    path = tmp_path / format
    blocks = 1000
    large_files.write(path, format, blocks)
    tracemalloc.start()
    try:
        total = last = 0
        for part in spedge.open(path):
            total, last = total + len(part), int(part["t"][-1])
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (total, last) == (blocks * large_files.BLOCK, 64 * blocks - (1 if not format.endswith(".es") else 0))
    assert read < 13 * total // 2


def test_every_format_is_tested_for_memory() -> None:
    written = {"evt2.raw", "evt3.raw", "numpy.npz", "prophesee.hdf5", "text.csv"}
    assert written | set(large_files.FORMATS) == set(files.FORMATS)
