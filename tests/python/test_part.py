"""A larger sensor on a model's: cropped and binned by the host and by the device, with the same tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.base.errors import DeviceRefused, UsageError
from spedge.boards.manifest import load_board
from spedge.cameras import EmulatedCamera
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.events.part import Part, part_for
from spedge.jobs.check import check
from spedge.jobs.given import part_of_recordings, require_recordings
from spedge.jobs.run import Session, Triggers
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle
from spedge.recordings import PLAIN, write
from spedge.sources import RecordingSource
from spedge.tokens.settings import TokenizerSettings
from spedge.view.reports import scenes
from tests.events import scattered
from tests.needs import needs
from tests.tiny import PATCH, build_firmware, model_source, tiny_bundle

needs("cc")

#: Corner and bin of 34x34 pixels in 150x150 ones.
PARTS = (Part(0, 0, 2), Part(7, 31, 3), Part(50, 60, 1), Part(0, 0, 4), Part(100, 140, 5), Part(149, 0, 255))


def by_hand(events: NDArray[np.void], part: Part, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Event by event, in Python's own integers."""
    seen = []
    for t, x, y, p in events.tolist():
        column, row = (x - part.left) // part.bin, (y - part.top) // part.bin
        if x >= part.left and y >= part.top and column < width and row < height:
            seen.append((t, column, row, p))
    return seen


@pytest.mark.parametrize("part", PARTS)
def test_the_host_sees_what_the_definition_says(part: Part) -> None:
    events = scattered(4000, 400_000, side=150)
    copy = events.copy()
    assert part.of(events, 34, 30).tolist() == by_hand(events, part, 34, 30)
    np.testing.assert_array_equal(events, copy)
    assert len(part.of(events[:0], 34, 30)) == 0


def test_where_the_part_is_if_nobody_says() -> None:
    assert part_for((640, 480), (320, 240), None, 1) == Part(160, 120, 1)
    assert part_for((640, 480), (320, 240), None, 2) == Part(0, 0, 2)
    assert part_for((1280, 720), (320, 320), None, 3) == Part(160, 0, 3)  # rows from 720 / 3 on stay dark
    assert part_for((640, 480), (320, 240), (5, 6), 2) == Part(5, 6, 2)
    assert part_for(None, (320, 240), None, 2) == Part(0, 0, 2)
    for wrong in ((0, 0, 0), (0, 0, 256), (-1, 0, 1), (0, 70_000, 1)):
        with pytest.raises(UsageError, match=r"--bin|--crop"):
            Part(*wrong)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", ["continuous", "discrete", "voxel"])
def test_tokens_are_those_of_the_events_by_hand(device: Device, part: Part, kind: str) -> None:
    events = scattered(6000, 600_000, side=150)
    settings = TokenizerSettings(34, 34, 4, 6.0, kind=kind, duration_us=None if kind == "continuous" else 300_000)
    device.configure(Configuration(model=False, tokenizer=settings, report_tokens=64, part=part))
    device.send(encode_words(events))
    theirs = device.tokens()
    stats = device.stats()
    seen = np.array(by_hand(events, part, 34, 34), spedge.EVENT_DTYPE)
    ours = spedge.Tokenizer.by(settings, 1 << 16).push(seen, end=False)  # the last bin of voxels is not over
    assert len(ours) > 0 or part.bin > 4
    assert theirs.tolist() == as_reported(ours).tolist()
    assert (stats.taken, stats.outside) == (len(events), len(events) - len(seen))
    assert stats.imbalance(len(events)) is None


@pytest.mark.parametrize("part", PARTS[:4])
@pytest.mark.parametrize("camera", [None, "evt2", "evt3", "evt2.1-legacy"])
def test_check_is_exact(bundle: Bundle, device: Device, tmp_path: Path, part: Part, camera: str | None) -> None:
    path = tmp_path / "a.npz"
    write(path, scattered(30_000, 800_000, side=150, start=12_345_678), 150, 150)
    (outcome,) = check(bundle, [path], device, camera=camera, part=part).recordings
    assert outcome.problem is None
    assert outcome.tokens_equal and outcome.tokens_device > 0
    assert outcome.logits_max_abs_diff < 1e-5
    inside = len(by_hand(scattered(30_000, 800_000, side=150), part, 34, 34))
    assert outcome.events_dropped["outside"] == 30_000 - inside


def test_a_report_draws_what_the_model_has_seen(bundle: Bundle, device: Device, tmp_path: Path) -> None:
    path, events, part = tmp_path / "a.npz", scattered(3000, 400_000, side=80), Part(3, 5, 2)
    write(path, events, 80, 80)
    document = check(bundle, [path], device, part=part).to_json()
    (scene,) = scenes(bundle, [path], document, part=part).values()
    assert (scene.width, scene.height) == (34, 34) and scene.results is not None
    assert len(scene.events) == len(by_hand(events, part, 34, 34))


@pytest.mark.parametrize("threshold", [0.0, 5.0])
def test_voxels_are_checked_bin_by_bin(tmp_path: Path, threshold: float) -> None:
    """With threshold 0 every patch of every bin is a token. The last bin is not over on the device."""
    settings = TokenizerSettings(patch_size=PATCH, threshold=threshold, kind="voxel", duration_us=30_000)
    bundle = tiny_bundle(tmp_path / "bundle", tokenizer=settings)
    image = build_firmware("sim", tmp_path / "sim", model_source(bundle))
    for side in (34, 80):
        write(tmp_path / f"{side}.npz", scattered(6000, 400_000, side=side, start=12_345_678), side, side)
    with open_board(load_board("sim"), image) as device:
        for camera in (None, "evt3"):
            for side, part in ((34, None), (80, Part(3, 5, 2))):
                for every_us, every_tokens in ((0, 0), (50_000, 0), (0, 7)):
                    every = {"every_us": every_us, "every_tokens": every_tokens}
                    path = tmp_path / f"{side}.npz"
                    (outcome,) = check(bundle, [path], device, camera=camera, part=part, **every).recordings  # type: ignore[arg-type]
                    assert outcome.problem is None, (camera, part, every)
                    assert outcome.tokens_device > 100 and outcome.events_pending > 0
                    assert outcome.results > 4 or not any(every.values())


@pytest.mark.parametrize("every", [{"every_us": 20_000}, {"every_tokens": 7, "window_us": 40_000}])
def test_results_on_the_way_too(bundle: Bundle, device: Device, tmp_path: Path, every: dict[str, int]) -> None:
    path = tmp_path / "a.npz"
    write(path, scattered(8000, 800_000, side=80), 80, 80)
    (outcome,) = check(bundle, [path], device, part=Part(3, 5, 2), **every).recordings  # type: ignore[arg-type]
    assert outcome.problem is None
    assert outcome.results > 5


def test_a_device_that_took_another_part_fails(
    bundle: Bundle, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    write(path, scattered(8000, 800_000, side=80), 80, 80)
    configure = device.configure

    def other(configuration: Configuration) -> Any:
        object.__setattr__(configuration, "part", Part(3, 6, 2))
        return configure(configuration)

    monkeypatch.setattr(device, "configure", other)
    (outcome,) = check(bundle, [path], device, part=Part(3, 5, 2)).recordings
    assert outcome.problem is not None
    assert not outcome.tokens_equal


def test_the_camera_on_the_board_is_binned_on_the_board(bundle: Bundle, device: Device) -> None:
    events = scattered(5000, 200_000, side=100)
    session = Session(device, bundle, None, Triggers(0), mode="lossless", crop=(9, 20), bin=2)
    run = session.run()
    next(run)
    assert device.camera_address
    with EmulatedCamera(device.camera_address, events, "evt2", "full") as camera:
        camera.play()
        camera.wait(10)
        while device.stats().taken < len(events):
            next(run)
    session.stop()
    for _ in run:
        pass
    inside = len(by_hand(events, Part(9, 20, 2), 34, 34))
    assert session.summary().stats.outside == len(events) - inside


def test_a_recording_is_binned_before_it_is_sent(bundle: Bundle, device: Device, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    events = scattered(3000, 200_000, side=80)
    write(path, events, 80, 80)
    with RecordingSource(path) as source:
        session = Session(device, bundle, source, Triggers(0), bin=2)
        for _ in session.run():
            pass
    summary = session.summary()
    assert summary.offered == len(by_hand(events, Part(6, 6, 2), 34, 34)) == summary.stats.taken
    assert summary.accounted


def test_what_cannot_be_is_refused(device: Device) -> None:
    plain = TokenizerSettings(34, 34, 4, 1.0)
    with pytest.raises(DeviceRefused, match="come cropped and binned"):
        device.configure(Configuration(model=False, tokenizer=plain, mode="live", part=Part(1, 0, 1)))


def test_recordings_of_several_sensors_are_checked_apart(bundle: Bundle, tmp_path: Path) -> None:
    for side in (60, 80):
        write(tmp_path / f"{side}.npz", scattered(100, 1000, side=side), side, side)
    paths = [tmp_path / "60.npz", tmp_path / "80.npz"]
    with pytest.raises(UsageError, match="of several sensors"):
        part_of_recordings(bundle, paths, PLAIN, None, 2)
    assert part_of_recordings(bundle, paths[:1], PLAIN, None, 1) == Part(13, 13, 1)
    assert len(require_recordings(bundle, paths, any_size=True)) == 2


def test_a_small_sensor_on_a_larger_model(device: Device, bundle: Bundle, tmp_path: Path) -> None:
    """With --bin 1 its pixels are in the corner, and the others stay dark."""
    path = tmp_path / "a.npz"
    write(path, scattered(6000, 600_000, side=20), 20, 20)
    part = part_of_recordings(bundle, [path], PLAIN, None, 1)
    assert part == Part(0, 0, 1)
    (outcome,) = check(bundle, [path], device, part=part).recordings
    assert outcome.problem is None
    assert outcome.events_dropped["outside"] == 0
