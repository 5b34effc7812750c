"""The simulated camera and the data set it makes: reproducible, physical, and different in motion only."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import pytest

import spedge
from spedge.base.errors import InputError
from spedge.training import gestures
from spedge.training.data import gestures_320
from spedge.training.data.dvs import PixelConfig, Pixels

QUIET = PixelConfig(threshold=0.2, mismatch=0.0, refractory_us=0, noise_hz=0.0)


@functools.cache
def recorded(label: str, number: int) -> np.ndarray:
    """One of a set of recordings that tests look at and do not change."""
    events: np.ndarray = gestures.record(label, number, 11)
    return events


def watch(config: PixelConfig, frames: list[np.ndarray], step_us: int = 1000) -> np.ndarray:
    height, width = frames[0].shape
    pixels = Pixels(width, height, config, np.random.default_rng(0))
    return np.concatenate([pixels.step(i * step_us, frame) for i, frame in enumerate(frames)])


def test_a_pixel_fires_once_per_threshold_at_the_time_it_is_crossed() -> None:
    events = watch(QUIET, [np.zeros((1, 1)), np.full((1, 1), 1.01)])
    assert events["p"].tolist() == [1] * 5
    assert np.abs(events["t"] - 1000 * 0.2 * np.arange(1, 6) / 1.01).max() <= 1
    falling = watch(QUIET, [np.zeros((1, 1)), np.full((1, 1), -0.5)])
    assert falling["p"].tolist() == [0, 0]


def test_small_steps_add_up_to_the_same_events() -> None:
    whole = watch(QUIET, [np.zeros((1, 1)), np.ones((1, 1)) * 0.9], 1000)
    steps = watch(QUIET, [np.ones((1, 1)) * 0.09 * i for i in range(11)], 100)
    assert len(whole) == len(steps) == 4
    assert np.abs(whole["t"].astype(int) - steps["t"].astype(int)).max() <= 1


def test_a_pixel_rests_for_the_refractory_time() -> None:
    random = np.random.default_rng(1)
    frames = [random.normal(0, 1, (8, 8)) for _ in range(50)]
    config = PixelConfig(threshold=0.1, mismatch=0.02, refractory_us=700, noise_hz=200.0)
    events = watch(config, frames)
    assert len(events) > 1000
    assert (np.diff(events["t"].astype(np.int64)) >= 0).all()
    for pixel in range(64):
        mine = events["t"][(events["y"] * 8 + events["x"]) == pixel].astype(np.int64)
        assert (np.diff(mine) >= 699).all()


def test_noise_comes_at_its_rate_in_both_polarities() -> None:
    config = PixelConfig(noise_hz=5.0, refractory_us=1000)
    events = watch(config, [np.zeros((64, 64))] * 201, 5000)
    assert len(events) == pytest.approx(5 * 64 * 64, rel=0.05)
    assert events["p"].mean() == pytest.approx(0.5, abs=0.02)


def test_mismatch_makes_pixels_differ() -> None:
    frames = [np.zeros((16, 16)), np.ones((16, 16))]
    same = watch(QUIET, frames)
    other = watch(PixelConfig(threshold=0.2, mismatch=0.04, refractory_us=0, noise_hz=0.0), frames)
    assert len(np.unique(same["t"])) <= 5
    assert len(np.unique(other["t"])) > 100


def test_a_recording_follows_from_its_seed() -> None:
    first = gestures.record("wave", 3, 5)
    assert np.array_equal(first, gestures.record("wave", 3, 5))
    assert not np.array_equal(first[:100], gestures.record("wave", 4, 5)[:100])
    assert not np.array_equal(first[:100], gestures.record("wave", 3, 6)[:100])


def centroids(events: np.ndarray, parts: int = 25) -> np.ndarray:
    """Median position of the events of each part: [parts, 2]."""
    out = []
    for piece in np.array_split(events, parts):
        out.append([np.median(piece["x"].astype(float)), np.median(piece["y"].astype(float))])
    return np.array(out)


@pytest.mark.parametrize(
    ("label", "axis", "sign"),
    [("swipe left", 0, -1), ("swipe right", 0, 1), ("swipe up", 1, -1), ("swipe down", 1, 1)],
)
def test_swipes_go_their_way(label: str, axis: int, sign: int) -> None:
    for number in range(3):
        steps = np.diff(centroids(recorded(label, number)), axis=0)
        steps = steps[np.abs(steps).max(axis=1) < 40]  # coming back out of sight is a jump
        assert sign * np.median(steps[:, axis]) > 2 * abs(np.median(steps[:, 1 - axis]))


@pytest.mark.parametrize(("label", "sign"), [("circle clockwise", 1), ("circle counter-clockwise", -1)])
def test_circles_turn_their_way(label: str, sign: int) -> None:
    for number in range(3):
        path = centroids(recorded(label, number))
        path = path - path.mean(axis=0)
        turn = np.diff(np.unwrap(np.arctan2(path[:, 1], path[:, 0])))  # y points down: positive is clockwise
        assert sign * turn.sum() > np.pi


@pytest.mark.parametrize(("label", "sign"), [("approach", 1), ("retreat", -1)])
def test_zooms_change_size(label: str, sign: int) -> None:
    """A large outline that grows at the same relative rate makes more events than a small one."""
    for number in range(3):
        t = recorded(label, number)["t"]
        early = (t < gestures.DURATION_US // 2).sum()
        assert sign * (len(t) - 2 * early) > 0.1 * len(t)


def test_classes_look_alike_but_for_their_motion() -> None:
    """Twins (same number and seed but for the direction) have similar counts, polarities and shares of the view."""
    for one, other in (("swipe left", "swipe right"), ("circle clockwise", "circle counter-clockwise")):
        means = []
        for label in (one, other):
            recordings = [recorded(label, number) for number in range(6)]
            means.append([np.mean([len(r) for r in recordings]), np.mean([r["p"].mean() for r in recordings])])
        assert means[0][0] == pytest.approx(means[1][0], rel=0.5)
        assert means[0][1] == pytest.approx(means[1][1], abs=0.05)


def test_every_class_fits_the_sensor_and_the_second() -> None:
    for label in gestures.LABELS:
        events = recorded(label, 0)
        assert 1_000 < len(events) < 200_000
        assert max(events["x"].max(), events["y"].max()) < gestures.CAMERA.side
        assert events["t"].max() <= gestures.DURATION_US


def test_written_and_read_again(tmp_path: Path) -> None:
    dataset = gestures.make(train_per_class=1, test_per_class=0)
    gestures.write(tmp_path, dataset)
    again = gestures.load(tmp_path)
    assert len(again.train) == len(dataset.train) == len(gestures.LABELS)
    by_label = {sample.label: sample for sample in again.train}
    for sample in dataset.train:
        assert np.array_equal(by_label[sample.label].events, sample.events)
    recording = spedge.open(next(tmp_path.rglob("*.raw")))
    assert (recording.width, recording.height) == (128, 128)
    with pytest.raises(InputError, match="no gestures"):
        gestures.load(tmp_path / "train")
    with pytest.raises(InputError, match="128x128, and 'gestures-320' is of 320x320"):
        gestures.load(tmp_path, gestures_320.CAMERA)


def test_more_pixels_see_the_same_scene() -> None:
    """Of another sensor: the same places at the same times, as finely as there are pixels."""
    for label in ("wave", "circle clockwise"):
        small, large = recorded(label, 0), gestures.record(label, 0, 11, gestures_320.CAMERA)
        assert large["x"].max() >= 256 and large["x"].max() < 320 and len(large) < 5 * len(small)
        for part in range(8):
            begin, end = part * 125_000, (part + 1) * 125_000
            one, other = (e[(e["t"] >= begin) & (e["t"] < end)] for e in (small, large))
            for axis in "xy":
                apart = 2.5 * np.median(one[axis].astype(float)) - np.median(other[axis].astype(float))
                assert abs(apart) < 25


def test_the_camera_needs_no_torch() -> None:
    import subprocess

    code = (
        "import sys; sys.modules['torch'] = None\nfrom spedge.training import gestures\ngestures.record('clap', 0, 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
