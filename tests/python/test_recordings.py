"""Recordings: what is read equals what was recorded, and damage ends in a sentence."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import spedge
from spedge import recordings
from spedge.events import evt2

HEADER = b"% format EVT2;height=20;width=30\n% end\n"


def some_events(n: int = 500, start: int = 0) -> NDArray[np.void]:
    rng = np.random.default_rng(5)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.cumsum(rng.integers(0, 1000, n)) + start
    events["x"], events["y"], events["p"] = rng.integers(0, 30, n), rng.integers(0, 20, n), rng.integers(0, 2, n)
    return events


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read_all(path: Path, **size: Any) -> NDArray[np.void]:
    return spedge.open(path, **size).events()


# ---------------------------------------------------------------- reference recordings


def test_evt2_sample_equals_the_reference(shared: Path) -> None:
    """The reference's times start at 0; the file's are the sensor's."""
    recording = spedge.open(shared / "data/recordings/evt2_sample.raw")
    events = recording.events()
    assert (recording.width, recording.height) == (640, 480)
    with np.load(shared / "golden/evt2_640x480.events.npz") as arrays:
        for name in ("x", "y", "p"):
            np.testing.assert_array_equal(events[name], arrays[name])
        np.testing.assert_array_equal(events["t"] - events["t"][0], arrays["t"])
    assert events["t"][0] == 1_317_888
    np.testing.assert_array_equal(np.concatenate(list(recording)), events)


def test_all_nmnist_samples_are_read(shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "data/nmnist-800.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".bin")]
        assert len(names) == 800
        for name in names:
            content = archive.read(name)
            path = written(tmp_path, "sample.bin", content)
            events = read_all(path)
            assert len(events) == len(content) // 5 - content[1::5].count(240)
            assert len(events) > 300


# ---------------------------------------------------------------- writing and reading again


@pytest.mark.parametrize(
    ("ending", "encoding"),
    [(".raw", None), (".raw", "EVT3"), (".npz", None), (".h5", None), (".hdf5", None), (".csv", None)],
)
@pytest.mark.parametrize("start", [0, 1 << 24, 1 << 32, 1 << 34, (1 << 34) - 100_000, 3 << 40])
def test_what_is_written_is_read(tmp_path: Path, ending: str, encoding: str | None, start: int) -> None:
    events = some_events(start=start)
    path = tmp_path / f"recording{ending}"
    recordings.write(path, events, 30, 20, encoding)
    recording = spedge.open(path)
    assert (recording.width, recording.height) == (30, 20)
    np.testing.assert_array_equal(recording.events(), events)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("start", [0, 1 << 24, (1 << 32) - 2_000_000])
def test_what_is_written_as_dat_is_read(tmp_path: Path, start: int) -> None:
    events = some_events(start=start)
    recordings.write(tmp_path / "recording.dat", events, 30, 20)
    recording = spedge.open(tmp_path / "recording.dat")
    assert (recording.format, recording.width, recording.height) == ("DAT", 30, 20)
    np.testing.assert_array_equal(recording.events(), events)


def test_what_dat_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(spedge.InputError, match=r"DAT holds times of up to 4294967295 µs, not \d+: choose another"):
        recordings.write(tmp_path / "late.dat", some_events(start=1 << 32), 30, 20)
    with pytest.raises(spedge.InputError, match="DAT is for sensors of up to 16384x16384 pixels, not 16385x1"):
        recordings.write(tmp_path / "wide.dat", some_events(0), 16385, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".raw", ".npz", ".h5", ".csv", ".dat"])
def test_no_events_are_a_recording_too(tmp_path: Path, ending: str) -> None:
    recordings.write(tmp_path / f"none{ending}", some_events(0), 30, 20)
    assert len(read_all(tmp_path / f"none{ending}")) == 0


@pytest.mark.parametrize("ending", [".raw", ".npz", ".h5", ".dat"])
def test_chunks_join_to_the_whole(tmp_path: Path, ending: str) -> None:
    events = some_events(2 * recordings.CHUNK_EVENTS + 17)
    recordings.write(tmp_path / f"long{ending}", events, 30, 20)
    recording = spedge.open(tmp_path / f"long{ending}")
    chunks = list(recording)
    assert len(chunks) > 1
    assert max(len(chunk) for chunk in chunks) <= 2 * recordings.CHUNK_EVENTS
    np.testing.assert_array_equal(np.concatenate(chunks), events)
    np.testing.assert_array_equal(np.concatenate(list(recording)), events)


def test_wrong_events_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(spedge.InputError, match="event"):
        recordings.write(tmp_path / "a.raw", some_events(), 30, 10)
    with pytest.raises(spedge.InputError, match="event"):
        recordings.write(tmp_path / "a.npz", some_events()[::-1], 30, 20)
    with pytest.raises(spedge.InputError, match="4000x20"):
        recordings.write(tmp_path / "a.raw", some_events(), 4000, 20)
    with pytest.raises(spedge.UsageError, match=r"\.bin"):
        recordings.write(tmp_path / "a.bin", some_events(), 30, 20)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- Prophesee RAW headers

WORDS = evt2.encode(some_events())


@pytest.mark.parametrize(
    "header",
    [
        "% format EVT2;height=20;width=30\n",
        "% format EVT2;width=30;height=20\n% end\n",
        "% Date 2020-09-14\n% evt 2.0\n% geometry 30x20\n",
        "% evt 2.0\n% format EVT2;height=20;width=30\n% geometry 30x20\n% end\n",
    ],
)
def test_raw_headers(tmp_path: Path, header: str) -> None:
    path = written(tmp_path, "a.raw", header.encode() + WORDS)
    recording = spedge.open(path)
    assert (recording.width, recording.height) == (30, 20)
    np.testing.assert_array_equal(recording.events(), some_events())


@pytest.mark.parametrize(("system", "size"), [("21", (640, 480)), ("48", (1280, 720))])
def test_old_raw_headers_name_the_system(tmp_path: Path, system: str, size: tuple[int, int]) -> None:
    recording = spedge.open(written(tmp_path, "a.raw", f"% system_ID {system}\n% evt 2.0\n".encode() + WORDS))
    assert (recording.width, recording.height) == size


def test_raw_without_geometry_asks_for_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a.raw", b"% evt 2.0\n" + WORDS)
    with pytest.raises(spedge.InputError, match="pass width and height"):
        spedge.open(path)
    np.testing.assert_array_equal(read_all(path, width=30, height=20), some_events())
    with pytest.raises(spedge.UsageError, match="both"):
        spedge.open(path, width=30)
    with pytest.raises(spedge.UsageError, match="width=0 is out of range; it must be 1 to 65535"):
        spedge.open(path, width=0, height=20)
    with pytest.raises(spedge.UsageError, match="height must be a whole number"):
        spedge.open(path, width=30, height=20.5)  # type: ignore[arg-type]


# ---------------------------------------------------------------- damage


def nmnist(*records: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack(">BBBH", x, y, p << 7 | t >> 16, t & 0xFFFF) for x, y, p, t in records)


def npz(path: Path, **arrays: Any) -> bytes:
    np.savez(path, **arrays)
    return path.read_bytes()


T = np.arange(3)
GOOD = {"t": T, "x": T, "y": T, "p": T % 2, "width": 30, "height": 20}
BACK = struct.pack("<4I", 0x80000009, 0x10000000, 0x80000003, 0x10000000)

DAMAGED: dict[str, tuple[str, bytes, list[str]]] = {
    "cut word": ("a.raw", HEADER + WORDS[:-1], ["byte", str(len(HEADER) + len(WORDS) - 4)]),
    "outside": ("a.raw", b"% format EVT2;height=20;width=7\n" + WORDS, ["event", "7x20"]),
    "backwards": ("a.raw", HEADER + BACK, ["event 1", "t="]),
    "no time word": ("a.raw", HEADER + b"\0\0\0\x10" * 9, ["time word"]),
    "text": ("a.raw", b"hello, this is only a text file\nof two lines\n", ["RAW"]),
    "empty raw": ("a.raw", b"", ["a.raw"]),
    "garbage": ("a.raw", HEADER + bytes(range(256)) * 9, ["byte"]),
    "two sizes": ("a.raw", b"% format EVT2;height=20;width=30\n% geometry 640x480\n", ["30", "640"]),
    "size and system": ("a.raw", b"% evt 2.0\n% geometry 30x20\n% system_ID 48\n" + WORDS, ["1280"]),
    "two encodings": ("a.raw", b"% format EVT2;height=20;width=30\n% evt 3.0\n" + WORDS, ["EVT2", "EVT3"]),
    "unknown encoding": ("a.raw", b"% format EVT9;height=20;width=30\n" + WORDS, ["EVT9"]),
    "no encoding": ("a.raw", b"% geometry 30x20\n" + WORDS, ["encoding"]),
    "bad size": ("a.raw", b"% format EVT2;height=2o;width=30\n" + WORDS, ["height=2o"]),
    "size 0": ("a.raw", b"% evt 2.0\n% geometry 0x20\n" + WORDS, ["0x20"]),
    "bad geometry": ("a.raw", b"% evt 2.0\n% geometry wide\n" + WORDS, ["wide"]),
    "header without end": ("a.raw", b"% " + b"x" * 100_000, ["byte 0"]),
    "header line cut": ("a.raw", b"% evt 2.0\n% geometry 3", ["byte 10"]),
    "cut sample": ("a.bin", nmnist((1, 2, 1, 5), (3, 4, 0, 6))[:-2], ["byte 5"]),
    "empty sample": ("a.bin", b"", ["empty"]),
    "sample outside": ("a.bin", nmnist((1, 2, 1, 5), (34, 4, 0, 6)), ["byte 5", "34"]),
    "sample backwards": ("a.bin", nmnist((1, 2, 1, 5), (3, 4, 0, 4)), ["event 1"]),
    "text named .bin": ("a.bin", b"0123456789", ["byte 0"]),
    "text named .npz": ("a.npz", b"hello", [".npz"]),
    "empty npz": ("a.npz", b"", [".npz"]),
    "unknown ending": ("a.mp4", b"hello", [".mp4", ".raw"]),
    "no ending": ("recording", b"hello", [".raw"]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    file, content, words = DAMAGED[name]
    path = written(tmp_path, file, content)
    with pytest.raises(spedge.InputError) as caught:
        read_all(path)
    assert caught.value.exit_code == 4
    for word in [str(path), *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"t": T[::-1]}, ["event 1"]),
        ({"x": T + 28}, ["event 2", "30x20"]),
        ({"y": -T}, ["event 1", "y=-1"]),
        ({"p": T}, ["event 2", "p=2"]),
        ({"t": T - 1.5}, ["event 0", "t=-1.5", "at least 0"]),
        ({"t": T + np.nan}, ["event 0", "t=nan"]),
        ({"x": T + 0.5}, ["event 0", "x=0.5", "whole number"]),
        ({"x": T[1:]}, ["x", "2"]),
        ({"y": T.reshape(1, 3)}, ["y", "one-dimensional"]),
        ({"t": np.array([1, None, 3])}, ["a.npz"]),
        ({"t": None}, ["t"]),
        ({"p": None}, ["p"]),
        ({"width": None}, ["width"]),
        ({"height": -3}, ["height"]),
        ({"width": np.array([1, 2])}, ["width"]),
    ],
)
def test_wrong_npz_is_named(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    path = tmp_path / "a.npz"
    arrays = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    npz(path, **arrays)
    with pytest.raises(spedge.InputError) as caught:
        read_all(path)
    for word in ["a.npz", *words]:
        assert word in str(caught.value)


def test_npz_with_on_and_without_size(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", t=T, x=T, y=T, on=T == 1)
    assert read_all(tmp_path / "a.npz", width=9, height=9)["p"].tolist() == [0, 1, 0]


def test_damaged_zip_members_are_named(tmp_path: Path) -> None:
    content = bytearray(npz(tmp_path / "a.npz", **GOOD))
    at = content.find(b"\x93NUMPY")
    content[at + 130] ^= 0xFF
    with pytest.raises(spedge.InputError, match=r"a\.npz"):
        read_all(written(tmp_path, "a.npz", bytes(content)))
    with pytest.raises(spedge.InputError, match=r"a\.npz"):
        read_all(written(tmp_path, "a.npz", bytes(content[: len(content) // 2])))


def test_a_file_that_is_missing_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(spedge.InputError, match="no such file"):
        spedge.open(tmp_path / "none.raw")
    with pytest.raises(spedge.InputError, match="not a file"):
        spedge.open(tmp_path)


def test_other_sets_in_nmnists_records(tmp_path: Path) -> None:
    """N-Caltech101: up to 240x180. Whoever follows the sentence has all events."""
    path = tmp_path / "image_0001.bin"
    path.write_bytes(nmnist((1, 2, 1, 8000), (0, 240, 0, 0), (233, 179, 0, 10), (5, 6, 1, 11)))
    with pytest.raises(
        spedge.InputError, match=r"byte 10 holds pixel \(233, 179\).*\(N-Caltech101: --width 240 --height 180\)"
    ):
        spedge.open(path).events()
    recording = spedge.open(path, width=240, height=180)
    assert recording.events().tolist() == [(8000, 1, 2, 1), (8202, 233, 179, 0), (8203, 5, 6, 1)]
    assert (recording.format, recording.size_from) == ("N-MNIST's records", "the caller")
    assert spedge.open(path).size_from == "the format"
    assert spedge.open(path, width=34, height=34).format == "N-MNIST"
    for width, height in ((257, 100), (100, 241)):
        with pytest.raises(spedge.InputError, match=f"for up to 256x240 pixels, not {width}x{height}"):
            spedge.open(path, width=width, height=height)


def test_nmnist_time_overflow(tmp_path: Path) -> None:
    path = written(
        tmp_path, "a.bin", nmnist((1, 2, 1, 8000), (0, 240, 0, 0), (3, 4, 0, 10), (9, 240, 1, 0), (5, 6, 1, 1))
    )
    assert read_all(path).tolist() == [(8000, 1, 2, 1), (8192 + 10, 3, 4, 0), (16384 + 1, 5, 6, 1)]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".raw", ".bin", ".npz"]), st.booleans())
def test_any_bytes_are_events_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str, headed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_bytes((HEADER if headed else b"") + content)
    try:
        events = read_all(path, width=34, height=34) if ending != ".raw" else read_all(path)
    except spedge.InputError as error:
        assert str(path) in str(error)
    else:
        assert events.dtype == spedge.EVENT_DTYPE
