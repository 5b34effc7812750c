"""External triggers: read from RAW, HDF5 and NPZ and kept in them; elsewhere counted as left out."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.recordings import create, write
from spedge.recordings.convert import convert
from spedge.recordings.info import recording_info
from spedge.recordings.triggers import TRIGGER_DTYPE
from tests import recording_files as files

KEEPING = (("a.raw", "evt2"), ("a.raw", "evt3"), ("a.h5", None), ("a.npz", None))


def events(count: int = 3000) -> NDArray[np.void]:
    return np.array(files.some_events(count), spedge.EVENT_DTYPE)


def triggers(times: NDArray[np.uint64], count: int = 40) -> NDArray[np.void]:
    """Before the events, between, at the time of one, two at a time, and after them."""
    rng = np.random.default_rng(4)
    out = np.zeros(count, TRIGGER_DTYPE)
    some = rng.integers(int(times[0]), int(times[-1]), count - 5).tolist()
    out["t"] = sorted([*some, 5, int(times[9]), int(times[9]), int(times[-1]) + 70_000, int(times[-1]) + 10**8])
    out["id"], out["p"] = rng.integers(0, 12, count), rng.integers(0, 2, count)
    return out


@pytest.mark.parametrize(("name", "encoding"), KEEPING)
def test_triggers_are_kept_and_events_are_as_without(name: str, encoding: str | None, tmp_path: Path) -> None:
    made, marks = events(), triggers(events()["t"])
    path = tmp_path / name
    write(path, made, files.WIDTH, files.HEIGHT, encoding, triggers=marks)
    recording = spedge.open(path)
    np.testing.assert_array_equal(recording.triggers(), marks)
    np.testing.assert_array_equal(recording.events(), made)
    assert recording.left_out == ({"triggers": len(marks)} if name == "a.raw" else {})
    assert recording_info(path).triggers == len(marks)
    for target, to in KEEPING:
        done = convert(path, tmp_path / f"other-{target}", encoding=to)
        again = spedge.open(tmp_path / f"other-{target}")
        np.testing.assert_array_equal(again.triggers(), marks)
        np.testing.assert_array_equal(again.events(), made)
        assert (done.triggers, done.left_out) == (len(marks), {})
    done = convert(path, tmp_path / "none.csv")
    assert (done.triggers, done.left_out) == (0, {"triggers": len(marks)})
    assert len(spedge.open(tmp_path / "none.csv").triggers()) == 0


@pytest.mark.parametrize("encoding", ["evt2", "evt3"])
def test_writing_in_pieces_puts_each_between_the_events_of_its_time(encoding: str, tmp_path: Path) -> None:
    made, marks = events(), triggers(events()["t"])
    with create(tmp_path / "a.raw", files.WIDTH, files.HEIGHT, encoding) as writer:
        previous = 0
        for start in range(0, len(made), 100):
            part = made[start : start + 100]
            due = int(np.searchsorted(marks["t"], part["t"][-1], side="right"))
            writer.add_triggers(marks[previous:due])
            previous = due
            writer.write(part)
        writer.add_triggers(marks[previous:])
    recording = spedge.open(tmp_path / "a.raw")
    np.testing.assert_array_equal(recording.triggers(), marks)
    np.testing.assert_array_equal(recording.events(), made)


def test_words_by_their_definition(tmp_path: Path) -> None:
    """Type, id and value where the formats have them; a trigger before any time word has no time."""
    evt2 = [0xA << 28 | 1 << 8 | 1, 8 << 28 | 5, 0xA << 28 | 9 << 22 | 3 << 8 | 1, 1 << 28 | 10 << 22 | 7 << 11 | 4]
    head = files.prophesee_header("evt 2.0")
    (tmp_path / "a.raw").write_bytes(head + struct.pack("<4I", *evt2))
    assert spedge.open(tmp_path / "a.raw").triggers().tolist() == [(5 * 64 + 9, 3, 1)]
    evt3 = [0x8002, 0x6003, 0xA100, 0x0005, 0x2807, 0x6009, 0xAF01]
    (tmp_path / "b.raw").write_bytes(files.prophesee_header("evt 3.0") + struct.pack("<7H", *evt3))
    assert spedge.open(tmp_path / "b.raw").triggers().tolist() == [(0x2003, 1, 0), (0x2009, 15, 1)]
    for legacy in (False, True):
        words = [(word << 32) for word in evt2[:3]] + [evt2[3] << 32 | 1]
        words = [word >> 32 | (word & 0xFFFFFFFF) << 32 for word in words] if legacy else words
        kind = f"format EVT21;height=96;width=128;endianness={'legacy' if legacy else 'little'}"
        (tmp_path / "c.raw").write_bytes(files.prophesee_header(kind) + struct.pack("<4Q", *words))
        assert spedge.open(tmp_path / "c.raw").triggers().tolist() == [(5 * 64 + 9, 3, 1)]


def test_a_part_has_its_triggers_and_a_shift_takes_them_along(tmp_path: Path) -> None:
    made, marks = events(), triggers(events()["t"])
    source, target = tmp_path / "a.h5", tmp_path / "b.raw"
    write(source, made, files.WIDTH, files.HEIGHT, triggers=marks)
    first = int(made["t"][0])
    start, end = 1_000_000, 20_000_000
    inside = marks[(marks["t"] >= first + start) & (marks["t"] < first + end)]
    done = convert(source, target, start_us=start, end_us=end, shift_us=-1000)
    np.testing.assert_array_equal(spedge.open(target).triggers()["t"] + np.uint64(1000), inside["t"])
    assert (done.triggers, done.left_out) == (len(inside), {"triggers": len(marks) - len(inside)})
    done = convert(source, target, from_zero=True)  # the first trigger would be before 0
    assert done.left_out == {"triggers": 1}
    assert spedge.open(target).triggers()["t"].tolist() == (marks["t"][1:] - np.uint64(first)).tolist()


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    made, marks = events(100), triggers(events(100)["t"])
    with pytest.raises(spedge.UsageError, match="no place for triggers"):
        write(tmp_path / "a.csv", made, files.WIDTH, files.HEIGHT, triggers=marks)
    marks["id"][3] = 40
    with pytest.raises(spedge.InputError, match="input 40, and evt2 holds up to 31"):
        write(tmp_path / "a.raw", made, files.WIDTH, files.HEIGHT, triggers=marks)
    write(tmp_path / "a.npz", made, files.WIDTH, files.HEIGHT, triggers=marks)
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    for name, wrong, complaint in (
        ("trigger_t", arrays["trigger_t"].astype(np.int64) - 100, "is none"),
        ("trigger_p", arrays["trigger_p"][1:], "differ in length"),
        ("trigger_id", arrays["trigger_id"] / 2.0, "no row of whole numbers"),
    ):
        np.savez(tmp_path / "b.npz", **(arrays | {name: wrong}))
        with pytest.raises(spedge.InputError, match=complaint):
            spedge.open(tmp_path / "b.npz").triggers()
        assert len(spedge.open(tmp_path / "b.npz").events()) == len(made)


def test_the_commands_count_them(tmp_path: Path) -> None:
    made = events(100)
    write(tmp_path / "a.raw", made, files.WIDTH, files.HEIGHT, triggers=triggers(made["t"]))
    for command in (["info", "a.raw", "--json"], ["convert", "a.raw", "b.h5", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "spedge", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["triggers"] == 40
