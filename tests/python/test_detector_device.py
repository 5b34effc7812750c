"""A detector on a device: its steps, boxes, numbers and state, by a model written by hand and its twin in numpy."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spedge
from spedge.base.errors import DeviceError, DeviceRefused
from spedge.boards.manifest import load_board
from spedge.cameras import EmulatedCamera
from spedge.device.open import Device, open_board
from spedge.events.evt2 import TIME_RANGE, encode_words, time_base
from spedge.events.words import encoder
from spedge.link.faults import Faults
from spedge.link.frames import Type
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration, Result, ValuesPage
from spedge.link.steps import BoxesPage
from tests.needs import needs
from tests.stand_in import (
    CELLS,
    LABELS,
    NUMBERS,
    STATE_NUMBERS,
    STEP_US,
    TOKENS,
    Step,
    events_of,
    source,
    steps_of,
)
from tests.tiny import SANITIZED, SMALL_FRAMES, Tap, build_firmware, play_live

needs("cc")

NUMBERS_TOO = Configuration(numbers_every=1)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_firmware("sim", tmp_path_factory.mktemp("detector") / "sim", source(), SANITIZED)


@pytest.fixture(scope="module")
def opened(image: Path) -> Iterator[Device]:
    with open_board(load_board("sim"), image) as device:
        yield device


def all_results(device: Device, events: np.ndarray, piece: int = 4096) -> list[Result]:
    """Of a stream to its end: its last step is asked for."""
    data = encode_words(events).tobytes()
    results = []
    for at in range(0, len(data), piece):
        device.send(data[at : at + piece])
        results += device.take_results()
    device.flush()
    results += device.take_results()
    return [*results, device.infer()]


def require_equal(results: Sequence[Result], steps: Sequence[Step], live: bool = False) -> None:
    """Assert that the device's steps are those of the twin. live: the best boxes may be all that came of them."""
    assert [r.t for r in results] == [s.time for s in steps]
    for result, step in zip(results, steps, strict=True):
        assert (result.code, result.window) == (0, step.rows)
        assert result.step and result.step.ran and result.step.found == len(step.boxes)
        came = len(result.boxes)
        assert came == len(step.boxes) if not result.gone else live and came >= 38
        assert result.boxes["label"].tolist() == step.boxes["label"][:came].tolist()
        for name in ("x", "y", "w", "h", "score"):
            np.testing.assert_allclose(result.boxes[name], step.boxes[name][:came], atol=1e-4, rtol=1e-5)
        if "head" in result.outputs:
            np.testing.assert_allclose(result.outputs["head"], step.head, atol=1e-5)
            np.testing.assert_allclose(result.outputs["state"], step.state, atol=1e-5)


# ---- what a step is ----------------------------------------------------------------------------------------------


def test_the_device_says_that_it_has_a_detector(opened: Device) -> None:
    hello = opened.hello
    assert (hello.task, hello.detects, hello.step_us) == ("detection", True, STEP_US)
    assert (hello.outputs, hello.numbers, hello.state) == (1, NUMBERS, STATE_NUMBERS)
    assert [(o.name, o.shape) for o in opened.outputs] == [("head", (CELLS, 5 + len(LABELS)))]
    configured = opened.configure(Configuration())
    assert (configured.candidates, configured.results, configured.window_tokens) == (CELLS, 8, TOKENS)
    assert opened.configure(NUMBERS_TOO).results == 1


@pytest.mark.parametrize(
    "configuration",
    [
        NUMBERS_TOO,
        Configuration(numbers_every=3, report_tokens=20),
        Configuration(push=True),
        Configuration(),
        Configuration(numbers_every=1, outputs=()),
    ],
    ids=["numbers", "some numbers", "pushed", "boxes", "state"],
)
def test_steps_are_those_of_the_twin_over_the_stream_and_after_a_reset(
    opened: Device, configuration: Configuration
) -> None:
    """State is carried from step to step; a reset forgets it."""
    most = opened.configure(configuration).candidates
    for seed in (0, 1):
        events = events_of(4000, 300_000, seed, start=5_000 + 17 * seed)
        steps = steps_of(events, most=most)
        results = all_results(opened, events, 2999)
        require_equal(results, steps)
        assert [r.cause for r in results] == ["step"] * (len(steps) - 1) + ["asked"]
        assert [r.index for r in results] == list(range(len(steps)))
        assert [r.run for r in results] == list(range(1, len(steps) + 1))
        every = configuration.numbers_every
        with_numbers = [i for i, r in enumerate(results) if "state" in r.outputs]
        assert with_numbers == (list(range(0, len(results), every)) if every else [])
        assert all(("head" in r.outputs) == ("state" in r.outputs and configuration.outputs is None) for r in results)
        left_out = sum(s.tokens - s.rows for s in steps)
        stats = opened.stats()
        assert left_out > 50 and (stats.tokens_left_out, stats.steps_left_out) == (left_out, 0)
        assert results[-1].step and results[-1].step.tokens_left_out == left_out
        assert stats.imbalance(len(events)) is None
        opened.reset()


def test_a_state_that_is_not_forgotten_shows(opened: Device) -> None:
    """Else the tests above would pass for a device that forgets, or does not."""
    events = events_of(2000, 100_000)
    opened.configure(NUMBERS_TOO)
    results = all_results(opened, events)
    alone = steps_of(events[events["t"] >= 2 * STEP_US])
    assert np.abs(results[2].outputs["state"] - alone[0].state).max() > 0.05


def test_chunks_without_events_make_no_step_and_those_without_tokens_do(opened: Device) -> None:
    events = events_of(300, 10_000)
    far, alone, last = events.copy(), events[:1].copy(), events[:200].copy()
    far["t"] += 7 * STEP_US
    alone["t"][0] = 30 * STEP_US  # the first time of a chunk; no token
    last["t"] += 2_000_000_000
    stream = np.concatenate([events, far, alone, last])
    opened.configure(NUMBERS_TOO)
    results = all_results(opened, stream)
    require_equal(results, steps_of(stream))
    assert [r.t // STEP_US for r in results] == [0, 7, 30, 100_000]
    assert [r.window > 0 for r in results] == [True, True, False, True]


def test_the_last_step_is_asked_for_once(opened: Device) -> None:
    opened.configure(NUMBERS_TOO)
    nothing = opened.infer()
    assert (nothing.t, nothing.run, nothing.gone, len(nothing.boxes)) == (0, 0, (), 0)
    assert nothing.step and not nothing.step.ran
    events = events_of(500, STEP_US)
    opened.send(encode_words(events))
    first, again = opened.infer(), opened.infer()
    require_equal([first], steps_of(events))
    assert again.step and not again.step.ran
    assert (again.t, again.run, again.window, len(again.boxes)) == (first.t, 1, 0, 0)
    assert opened.take_results() == []
    more = events_of(500, 2 * STEP_US, 1, STEP_US)
    opened.send(encode_words(more, int(events["t"][-1]) >> 6))
    results = [*opened.take_results(), opened.infer()]
    assert [r.t for r in results] == [2 * STEP_US - 1, 3 * STEP_US - 1]
    require_equal(results, steps_of(np.concatenate([events, more]))[1:])


def test_a_chunk_that_goes_on_after_its_step_makes_another_one_of_the_rest(opened: Device) -> None:
    events = events_of(600, STEP_US)
    cut = 300
    opened.configure(Configuration())
    opened.send(encode_words(events[:cut]))
    early = opened.infer()
    opened.send(encode_words(events[cut:], int(events["t"][cut - 1]) >> 6))
    rest = opened.infer()
    assert early.t == rest.t == STEP_US - 1
    assert early.window > 0 and rest.window > 0
    assert early.newest + min(rest.newest - early.newest, TOKENS) == early.newest + rest.window


@pytest.mark.parametrize("name", ["evt2.1", "evt3", "edvs-e4"])
def test_other_formats_make_the_same_steps(opened: Device, name: str) -> None:
    events = events_of(1500, 150_000)
    opened.configure(Configuration(format=name, numbers_every=1))
    data = encoder(name)(events)
    for at in range(0, len(data), 1777):
        opened.send(data[at : at + 1777])
    opened.flush()
    require_equal([*opened.take_results(), opened.infer()], steps_of(events))


@pytest.mark.parametrize("more", [{"every_us": 1000}, {"every_tokens": 3}, {"window_us": 1000}])
def test_other_intervals_than_its_own_are_refused(opened: Device, more: dict[str, int]) -> None:
    with pytest.raises(DeviceRefused, match="a detector's results and windows are those of its steps"):
        opened.configure(Configuration(**more))  # type: ignore[arg-type]


# ---- losing nothing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers_every", [0, 2])
def test_nothing_is_lost_on_a_bad_line_that_is_cut(image: Path, numbers_every: int) -> None:
    faults = Faults(drop=0.02, flip=0.02, dup=0.02, swap=0.02, noise=0.02, cut=1, away=0.05, seed=5)
    events = events_of(5000, 400_000)
    with open_board(load_board("sim"), image, timeouts=Timeouts(0.02, 0.1), faults=faults) as device:
        device.configure(Configuration(numbers_every=numbers_every, push=numbers_every == 0))
        for _ in range(2):
            require_equal(all_results(device, events), steps_of(events))
            device.reset()
        assert device.resent > 0 and sum(device.faults_done.values()) > 5


def test_the_device_waits_until_boxes_and_numbers_have_been_read(image: Path, tmp_path: Path) -> None:
    small = build_firmware("sim", tmp_path / "sim", source(), SMALL_FRAMES)
    with open_board(load_board("sim"), small) as device:
        for configuration in (Configuration(), NUMBERS_TOO):
            device.configure(configuration)
            data = encode_words(events_of(4000, 200_000)).tobytes()
            for at in range(0, 6 * 1024, 1024):
                device.session.sender.offer(data[at : at + 1024])
                frame = device.session.sender.next_frame()
                assert frame is not None
                device.link.put(frame)
            device.link.request(Type.FLUSH)
            stats = device.stats()
            assert (stats.results, stats.results_kept, stats.status.queued > 0) == (1, 1, True)
            with pytest.raises(DeviceError, match="unread tokens or results"):
                device.link.request(Type.INFER)
            assert device.stats().results == 1


def page(device: Device, kind: Type, run: int, first: int) -> bytes:
    return device.link.request(kind, struct.pack("<II", run, first)).payload


def test_boxes_and_numbers_are_those_of_the_run_that_was_asked_for_or_none(opened: Device) -> None:
    events = events_of(500, STEP_US)
    opened.configure(Configuration())
    opened.send(encode_words(events))
    boxes = opened.infer().boxes
    whole = BoxesPage.unpack(page(opened, Type.BOXES, 1, 0))
    assert (whole.run, whole.first) == (1, 0)
    np.testing.assert_array_equal(whole.boxes, boxes[: len(whole.boxes)])
    last = BoxesPage.unpack(page(opened, Type.BOXES, 1, len(boxes) - 1))
    np.testing.assert_array_equal(last.boxes, boxes[-1:])
    for run, first in ((1, len(boxes)), (1, 2**32 - 1), (2, 0), (0, 0)):
        gone = BoxesPage.unpack(page(opened, Type.BOXES, run, first))
        assert (gone.run, len(gone.boxes)) == (1, 0)
    (step,) = steps_of(events)
    for first in (0, NUMBERS - 1, NUMBERS, NUMBERS + STATE_NUMBERS - 1):
        numbers = ValuesPage.unpack(page(opened, Type.VALUES, 1, first)).numbers
        expected = np.concatenate([step.head.ravel(), step.state])[first:][: len(numbers)]
        assert len(numbers) == min(254, NUMBERS + STATE_NUMBERS - first)
        np.testing.assert_allclose(numbers, expected, atol=1e-5)
    assert len(ValuesPage.unpack(page(opened, Type.VALUES, 1, NUMBERS + STATE_NUMBERS)).numbers) == 0


# ---- live --------------------------------------------------------------------------------------------------------


def test_live_a_device_that_keeps_up_makes_every_step(image: Path) -> None:
    events = events_of(3000, 400_000)
    events["t"] += 1_700_000_000_012_345
    with open_board(load_board("sim"), image) as device:
        device.configure(Configuration(mode="live", push=True))
        tap = Tap(device.link.transport)
        device.link.transport = tap
        results = [*play_live(device, events).results, device.infer()]
        stats = device.stats()
    assert (stats.taken, stats.loss.lost, stats.steps_left_out) == (len(events), 0, 0)
    assert all((r.t + 1) % STEP_US == 0 for r in results)  # the grid is that of the recording's own clock
    steps = steps_of(events)
    assert [r.t for r in results[:-1]] == [s.time for s in steps[:-1]]
    assert [r.window for r in results] == [s.rows for s in steps]


def test_live_a_device_that_is_fed_faster_than_it_can_detect(tmp_path: Path) -> None:
    """It keeps its step's interval and leaves whole steps out; its state stays that of what it saw."""
    slow = build_firmware("sim", tmp_path / "sim", source(work=60_000_000), SMALL_FRAMES)
    events = events_of(60_000, 1_000_000)
    with open_board(load_board("sim"), slow) as device:
        candidates = device.configure(Configuration(mode="live", push=True)).candidates
        tap = Tap(device.link.transport)
        device.link.transport = tap
        results = play_live(device, events).results
        last = device.infer()
        numbers = ValuesPage.unpack(page(device, Type.VALUES, last.run, NUMBERS)).numbers
        stats = device.stats()
    results.append(last)
    accepted = spedge.evt2.Decoder().push(np.concatenate(tap.words).tobytes())
    assert stats.imbalance(len(events)) is None
    assert stats.taken == len(accepted) == len(events) - stats.loss.link

    chunks = len(np.unique(accepted["t"] // STEP_US))
    assert stats.steps_left_out == chunks - len(results) > chunks // 4
    assert [r.step.steps_left_out for r in results if r.step][-1] == stats.steps_left_out
    made = {r.t for r in results}
    twin = steps_of(accepted, made=made, most=candidates)
    require_equal(results, twin, live=True)
    np.testing.assert_allclose(numbers, twin[-1].state, atol=1e-5)
    assert stats.tokens_left_out == stats.tokens - sum(s.rows for s in twin)


def test_a_cameras_steps(image: Path) -> None:
    """The events come from the camera at the board, losslessly: the same steps."""
    events = events_of(3000, 200_000)
    with open_board(load_board("sim"), image) as device:
        assert device.camera_address
        with EmulatedCamera(device.camera_address, events, "evt3", "full") as camera:
            device.configure(Configuration(source="camera", format="evt3", numbers_every=4))
            camera.play()
            results: list[Result] = []
            while device.stats().events < len(events):
                results += device.take_results()
        results += device.take_results()
        results.append(device.infer())
    require_equal(results, steps_of(events))


# ---- the grid of time --------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 62), st.integers(1, 10_000_000))
def test_what_evt2_cannot_say_of_a_time_is_whole_steps(t: int, step: int) -> None:
    base = time_base(t, step)
    assert base % step == 0
    assert 0 <= t - base < TIME_RANGE
    assert time_base(t) == t - t % TIME_RANGE
    assert base == 0 or t >= TIME_RANGE - step
