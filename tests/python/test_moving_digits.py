"""Digits that move: made the same again, their boxes around their events, no digit in two parts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import spedge
from spedge.events.arrays import empty_events
from spedge.training.data import moving_digits
from spedge.training.data.base import Sample
from spedge.training.data.moving_digits import SENSOR, STEP_US, Flight, parts_of, scene, write
from spedge.training.data.registry import load_chunks
from spedge.training.preprocess import preprocess
from tests.events import nmnist_bytes
from tests.needs import needs

needs("h5py")


def digit(label: int, seed: int) -> Sample:
    """A square of 10 to 20 pixels that fires all over for a third of a second."""
    random = np.random.default_rng(seed)
    events = empty_events(900)
    events["t"] = np.sort(random.integers(0, 300_000, 900))
    side = int(random.integers(10, 20))
    events["x"], events["y"] = 7 + random.integers(0, side, 900), 8 + random.integers(0, side, 900)
    events["p"] = random.integers(0, 2, 900)
    return Sample(events, label, f"digit {seed}")


DIGITS = [digit(seed % 10, seed) for seed in range(30)]


def test_a_box_is_around_its_digits_events_wherever_it_is() -> None:
    flight = Flight(DIGITS[0], 120_000, 1_900_000, (-20.0, 60.0), (110.0, 12.0))
    events, boxes = flight.events(), flight.boxes(3)
    assert events["t"].min() >= 120_000
    assert events["t"].max() < 1_900_000
    assert set((boxes["ts"] + 1) % (2 * STEP_US)) == {0}
    for box in boxes:
        near = events[np.abs(events["t"].astype(np.int64) - int(box["ts"])) < 20_000]
        inside = (near["x"] >= box["x"] - 4) & (near["x"] <= box["x"] + box["w"] + 4)
        inside &= (near["y"] >= box["y"] - 2) & (near["y"] <= box["y"] + box["h"] + 2)
        assert len(near) > 20
        assert inside.mean() > 0.98
        centre, wide = float(near["x"].mean()), float(box["w"])
        if box["x"] >= 0:
            assert abs(centre - (float(box["x"]) + wide / 2)) < 4
    assert (np.diff(boxes["x"]) > 0).all()
    assert set(boxes["track_id"]) == {3}


def test_a_box_is_there_while_its_middle_is_on_the_sensor() -> None:
    flight = Flight(DIGITS[1], 0, 3_000_000, (250.0, 100.0), (100.0, 0.0))
    boxes = flight.boxes(0)
    assert (boxes["x"] + boxes["w"] / 2 < SENSOR.width).all()
    last = int(boxes["ts"][-1])
    x, _ = flight.corner(np.array([last + 2 * STEP_US]))
    assert x[0] + 7 + boxes["w"][0] / 2 > SENSOR.width - 1


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_makes_the_same_files_and_another_others(tmp_path: Path) -> None:
    parts = parts_of(DIGITS, [], 0)
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        assert write(tmp_path / name, parts, seed, seconds=1.0, per_recording=10, rounds={"train": 2}) == 8
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a") != files(tmp_path / "c")


def test_no_digit_is_in_two_parts() -> None:
    parts = parts_of(DIGITS, [], 1)
    names = [sample.name for part in parts.values() for sample in part]
    assert len(names) == len(set(names)) == 30
    assert {name: len(part) for name, part in parts.items()} == {"train": 24, "val": 3, "test": 3}
    own = parts_of(DIGITS[:20], DIGITS[20:], 1)
    assert own["test"] == DIGITS[20:]
    assert len(own["train"]) == 18


def test_a_scene_is_a_recording() -> None:
    events, boxes = scene(DIGITS[:4], 2.0, np.random.default_rng(0))
    assert (np.diff(events["t"].astype(np.int64)) >= 0).all()
    assert (events["x"] < SENSOR.width).all()
    assert (events["y"] < SENSOR.height).all()
    assert (np.diff(boxes["ts"].astype(np.int64)) >= 0).all()
    assert set(boxes["class_id"]) <= {0, 1, 2, 3}


def test_the_command_makes_a_set_that_is_found_and_preprocessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for sample in DIGITS:
        path = tmp_path / "nmnist/Train" / str(sample.label) / f"{sample.name[6:]}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nmnist_bytes(sample.events))
    out = tmp_path / "set"
    monkeypatch.setattr(sys, "argv", ["moving_digits", str(tmp_path / "nmnist"), str(out), "--rounds", "1"])
    moving_digits.main()
    assert capsys.readouterr().out == f"3 recordings in {out}\n"
    report = preprocess("nmnist-det", out, tmp_path / "store", chunk_ms=50)
    assert (report.recordings, report.problems) == (3, ())
    store = load_chunks("nmnist-det", tmp_path / "store", 50)
    (validation,) = store.part("validation")
    raw = spedge.open(out / "val/digits_0001_td.dat").events()
    np.testing.assert_array_equal(np.concatenate([chunk.events for chunk in validation]), raw)
    boxes = np.concatenate([chunk.boxes for chunk in validation])
    assert len(boxes) > 3
    assert set(boxes["label"]) <= set(range(10))
