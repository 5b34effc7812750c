"""Recordings from one format to another, by the library and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.events import evt2, evt3
from spedge.recordings import write
from spedge.recordings.convert import convert
from spedge.recordings.info import recording_info
from tests import recording_files as files

TARGETS = (
    ("a.raw", None),
    ("a.raw", "EVT2"),
    ("a.raw", "EVT3"),
    ("a.h5", None),
    ("a.hdf5", None),
    ("a.npz", None),
    ("a.csv", None),
    ("a.aedat4", None),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "dat.dat"
    files.write(path, "dat.dat")
    return path


@pytest.mark.parametrize(("name", "encoding"), TARGETS)
def test_every_target_holds_the_same_events(source: Path, tmp_path: Path, name: str, encoding: str | None) -> None:
    done = convert(source, tmp_path / name, encoding=encoding)
    expected = spedge.open(source).events()
    written = spedge.open(tmp_path / name)
    np.testing.assert_array_equal(written.events(), expected)
    assert (written.width, written.height) == (files.WIDTH, files.HEIGHT)
    assert (done.events, done.events_read) == (len(expected), len(expected))
    assert (done.first_us, done.last_us) == (int(expected["t"][0]), int(expected["t"][-1]))
    if encoding:
        assert written.format == f"RAW {encoding}"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


@pytest.mark.parametrize("format", files.FORMATS)
def test_every_source_is_taken(format: str, tmp_path: Path) -> None:
    expected = files.write(tmp_path / format, format)
    convert(tmp_path / format, tmp_path / "out.npz")
    assert spedge.open(tmp_path / "out.npz").events().tolist() == expected


def test_a_part_of_a_recording(source: Path, tmp_path: Path) -> None:
    events = spedge.open(source).events()
    first = int(events["t"][0])
    start, end = 100_000, 2_000_000
    target = tmp_path / "part.raw"
    done = convert(source, target, start_us=start, end_us=end)
    part = events[(events["t"] >= first + start) & (events["t"] < first + end)]
    assert 0 < len(part) < len(events)
    np.testing.assert_array_equal(spedge.open(target).events(), part)
    assert done.events == len(part)
    for options, offset in (({"from_zero": True}, -int(part["t"][0])), ({"shift_us": -50_000}, -50_000)):
        convert(source, target, start_us=start, end_us=end, **options)  # type: ignore[arg-type]
        np.testing.assert_array_equal(
            spedge.open(target).events()["t"].astype(np.int64), part["t"].astype(np.int64) + offset
        )


def test_sorting_is_asked_for(tmp_path: Path) -> None:
    events = files.some_events()
    events = [*events[9:], *events[:9]]
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    files.write(source, "text.csv", events)
    with pytest.raises(spedge.InputError, match="before the event ahead"):
        convert(source, target)
    assert not target.exists()
    convert(source, target, sort=True)
    assert spedge.open(target).events().tolist() == sorted(events, key=lambda event: event[0])
    unsorted = run("tokenize", source, "--threshold", 5)
    assert unsorted.returncode == 4
    assert "event 503 is at" in unsorted.stderr
    assert "--sort" in unsorted.stderr
    done = run("tokenize", source, "--threshold", 5, "--sort", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"] == len(events)


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({"start_us": 5, "end_us": 5}, spedge.UsageError, "must be after the start"),
        ({"shift_us": 1, "from_zero": True}, spedge.UsageError, "not both"),
        ({"shift_us": -(10**9)}, spedge.InputError, "out of range"),
        ({"shift_us": 10**9, "encoding": "EVT4"}, spedge.UsageError, "evt2 or evt3, not EVT4"),
        ({"start_us": -1}, spedge.UsageError, "at least 0"),
        ({"end_us": -1}, spedge.UsageError, "at least 0"),
        ({"width": 5, "height": 5}, spedge.InputError, "leave width and height out"),
    ],
)
def test_options_that_cannot_be(
    source: Path, tmp_path: Path, options: dict[str, Any], kind: type[Exception], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        convert(source, tmp_path / "out.raw", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


@pytest.mark.parametrize("name", ["out.aedat", "out", "out.es"])
def test_targets_that_cannot_be_written(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(spedge.UsageError, match="cannot write"):
        convert(source, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def test_places_where_no_file_can_be_written(source: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.h5").mkdir()
    for name, complaint in (
        ("folder.h5", "is a folder"),
        ("none/a.h5", "there is no folder"),
        ("none/a.raw", "no folder"),
    ):
        with pytest.raises(spedge.UsageError, match=complaint):
            convert(source, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dat.dat", "folder.h5"]


@pytest.mark.parametrize("kilobytes", [1, 100])
@pytest.mark.parametrize("name", ["a.raw", "a.h5", "a.npz", "a.csv", "a.aedat4"])
def test_a_disk_that_is_full(tmp_path: Path, name: str, kilobytes: int) -> None:
    """A limit of the size of files stands for it. HDF5 ended the process here."""
    rng = np.random.default_rng(1)
    events = np.zeros(100_000, spedge.EVENT_DTYPE)
    events["t"] = np.cumsum(rng.integers(0, 100, len(events)))
    events["x"], events["y"] = rng.integers(0, 100, (2, len(events)))
    write(tmp_path / "source.npz", events, 128, 128)
    command = f'ulimit -f {kilobytes}; exec "$0" -m spedge convert source.npz {name}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"spedge: error: {name}: cannot be written: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["source.npz"]


def test_output_that_cannot_be_printed(source: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "spedge", "info", str(source), "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "spedge: error: the output cannot be written: No space left on device\n"


#: Times from 2^63 µs on, and a way to each of them of many wraps of a camera's clock.
LATE = (2**63, 2**63 + 100, 2**64 - 1)


@pytest.mark.parametrize(("name", "encoding"), TARGETS)
def test_times_of_64_bits_are_kept_or_refused(tmp_path: Path, name: str, encoding: str | None) -> None:
    events = np.zeros(len(LATE), spedge.EVENT_DTYPE)
    events["t"] = LATE
    target = tmp_path / name
    if target.suffix in (".npz", ".csv"):
        write(target, events, 40, 30, encoding)
        np.testing.assert_array_equal(spedge.open(target).events(), events)
        info = recording_info(target)
        assert (info.first_us, info.last_us) == (LATE[0], LATE[-1])
        assert (info.duration_us, info.longest_gap_us) == (2**63 - 1, 2**63 - 101)
        done = convert(target, tmp_path / "b.npz", from_zero=True)
        assert (done.first_us, done.last_us) == (0, 2**63 - 1)
    else:
        with pytest.raises(spedge.InputError, match="shift the times towards 0"):
            write(target, events, 40, 30, encoding)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["EVT2", "EVT3"])
def test_a_sensor_that_is_too_large_for_the_format(tmp_path: Path, encoding: str) -> None:
    events = np.zeros(1, spedge.EVENT_DTYPE)
    with pytest.raises(spedge.InputError, match=f"{encoding} is for sensors of up to 2048x2048 pixels, not 2049x1"):
        write(tmp_path / "a.raw", events, 2049, 1, encoding)
    write(tmp_path / "a.raw", events, 2048, 2048, encoding)
    events["x"] = 2048
    with pytest.raises(spedge.InputError, match=rf"event 0 is at pixel \(2048, 0\), and {encoding} holds .* to 2047"):
        (evt2 if encoding == "EVT2" else evt3).encode(events)


def test_a_damaged_source_leaves_what_was_there(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    target.write_bytes(b"before")
    source.write_bytes(source.read_bytes()[:-1])
    with pytest.raises(spedge.InputError, match="cut off"):
        convert(source, target)
    assert target.read_bytes() == b"before"


def test_a_recording_is_not_written_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    events = files.write(path, "text.csv")
    with pytest.raises(spedge.UsageError, match="is the source"):
        convert(path, path)
    assert spedge.open(path).events().tolist() == events


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spedge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.raw"
    done = run("convert", source, target, "--encoding", "evt3", "--start", 1000, "--shift", "zero", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    assert document["first_us"] == 0
    assert document["events"] == len(spedge.open(target).events())
    assert document["source_format"] == "DAT"
    shown = run("info", target)
    assert "RAW EVT3" in shown.stdout
    for arguments, code, complaint in (
        (["convert", source, tmp_path / "out.xyz"], 2, "cannot write .xyz"),
        (["convert", source, target, "--shift", "much"], 2, "--shift much"),
        (["convert", tmp_path / "none.raw", target], 4, "no such file"),
    ):
        failed = run(*arguments)
        assert failed.returncode == code
        assert complaint in failed.stderr
        assert "Traceback" not in failed.stderr


def test_info_counts_what_the_format_leaves_out(tmp_path: Path) -> None:
    files.write(tmp_path / "a.es", "atis.es")
    assert json.loads(run("info", tmp_path / "a.es", "--json").stdout)["left_out"] == {"exposures": 57}
    assert "exposures" in run("info", tmp_path / "a.es").stdout
