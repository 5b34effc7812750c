"""Parts of recordings by time: as the whole has them, by an index that is kept and belongs to one state of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.recordings import create
from spedge.recordings.base import SeekingRecording
from spedge.recordings.seek import Index, Point
from tests import large_files
from tests import recording_files as files

BLOCKS = 200
OURS = ("a.raw", "evt3.raw", "a.dat", "a.h5", "a.csv", "a.aedat4", "a.npz")
#: Read from the start to the time that is wanted.
WITHOUT = ("dvs.es", "atis.es", "color.es", "a.npz")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("spedge.recordings.base.WORTHWHILE_BYTES", 1 << 10)
    return tmp_path / "cache"


def ours(path: Path, count: int = 800_000) -> None:
    rng = np.random.default_rng(3)
    events = np.zeros(count, spedge.EVENT_DTYPE)
    events["t"] = np.cumsum(rng.choice([0, 0, 1, 60], count)) + (1 << 24) - 1000
    events["x"], events["y"], events["p"] = (rng.integers(0, n, count) for n in (640, 480, 2))
    with create(path, 640, 480, "evt3" if path.stem == "evt3" else None) as writer:
        writer.write(events)


def made(path: Path, name: str) -> Path:
    (ours(path / name) if name in OURS else large_files.write(path / name, name, BLOCKS))
    return path / name


def times(events: NDArray[np.void]) -> list[tuple[int, int]]:
    """Some at the ends, some between, some of an event and some with nothing in them."""
    first, last = int(events["t"][0]), int(events["t"][-1])
    rng = np.random.default_rng(1)
    some = sorted(rng.integers(first, last, 8).tolist())
    at = int(events["t"][len(events) // 2])
    pairs = [(some[i], some[j]) for i, j in ((0, 1), (2, 3), (6, 7), (1, 2))]
    return [
        *pairs,
        (0, first),
        (first, first + 1),
        (at, at + 1),
        (last, last + 9),
        (last + 1, 1 << 64),
        (-5, first + 2),
    ]


@pytest.mark.parametrize("name", [*OURS, *large_files.FORMATS])
def test_a_part_is_as_the_whole_has_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, name)
    events = spedge.open(path).events()
    recording = spedge.open(path)
    for t0, t1 in times(events):
        part = events[(events["t"] >= max(t0, 0)) & (events["t"].astype(float) < t1)]
        np.testing.assert_array_equal(recording.between(t0, t1), part)
    if name in WITHOUT:
        return
    indexes: list[Index] = []
    before = Index.before

    def seen(index: Index, t: np.uint64) -> Point:
        indexes.append(index)
        return before(index, t)

    monkeypatch.setattr(Index, "before", seen)
    monkeypatch.setattr(SeekingRecording, "_make_index", lambda _: pytest.fail("it is in the cache"))
    t0, t1 = times(events)[2]
    part = events[(events["t"] >= t0) & (events["t"] < t1)]
    np.testing.assert_array_equal(spedge.open(path).between(t0, t1), part)
    assert len(indexes[0].t) >= 2


def test_only_the_part_is_read(tmp_path: Path) -> None:
    """What is wrong elsewhere is not seen once there is an index; by who reads there it is."""
    path = tmp_path / "a.raw"
    ours(path)
    events = spedge.open(path).events()
    t0, t1 = int(events["t"][500_000]), int(events["t"][500_100])
    expected = spedge.open(path).between(t0, t1)
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"\xff\xff\x3f\x10" * 9)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nobody had noticed
    np.testing.assert_array_equal(spedge.open(path).between(t0, t1), expected)
    with pytest.raises(spedge.InputError, match="before the event ahead of it"):
        spedge.open(path).between(0, t1)


def test_a_file_that_changes_gets_another_index(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.dat"
    ours(path)
    recording = spedge.open(path)
    t1 = int(recording.events()["t"][-1]) + 1
    assert len(recording.between(t1 - 50, t1)) == len(spedge.open(path).between(t1 - 50, t1)) > 0
    assert len(list((cache / "indexes").iterdir())) == 1
    data = path.read_bytes()
    path.write_bytes(data[: -8 * 1000])
    assert len(recording.between(0, t1)) == 799_000
    assert len(list((cache / "indexes").iterdir())) == 2


def test_a_damaged_index_or_no_cache_makes_it_anew(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.raw"
    ours(path)
    t1 = int(spedge.open(path).events()["t"][600_000])
    count = len(spedge.open(path).between(t1 - 300, t1))
    for file in (cache / "indexes").glob("*/index.npz"):
        file.write_bytes(b"PK no")
    assert len(spedge.open(path).between(t1 - 300, t1)) == count
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "file"))
    assert len(spedge.open(path).between(t1 - 300, t1)) == count


@pytest.mark.parametrize("cut", [False, True])
def test_what_is_before_damage_can_be_had(cut: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    ours(path)
    events = spedge.open(path).events()
    data = bytearray(path.read_bytes())
    at = len(data) * 3 // 4
    path.write_bytes(data[:at] if cut else data[:at] + b"\xff" * 40000 + data[at + 40000 :])
    t0 = int(events["t"][300_000])
    part = spedge.open(path).between(t0, t0 + 100)
    np.testing.assert_array_equal(part, events[(events["t"] >= t0) & (events["t"] < t0 + 100)])
    with pytest.raises(spedge.InputError):
        spedge.open(path).between(t0, 1 << 60)


def test_a_sorted_one_and_a_small_one_have_no_index(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("SPEDGE_CACHE", str(cache))
    path = tmp_path / "a.csv"
    expected: Any = files.write(path, "text.csv")
    t0, t1 = expected[40][0], expected[90][0]
    for sort in (False, True):
        part = spedge.open(path, sort=sort).between(t0, t1).tolist()
        assert part == [event for event in expected if t0 <= event[0] < t1]
    assert not cache.exists()
    with pytest.raises(spedge.UsageError, match="is before the start"):
        spedge.open(path).between(5, 4)
