"""A compiled detector on a device: checked at every step, over bad lines; run; and live, when it is too slow."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.base.errors import UsageError
from spedge.boards.build import compile_model
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.part import Part
from spedge.jobs.check_boxes import ComparedBoxes, check_boxes
from spedge.link.faults import Faults
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration, Result
from spedge.model.boxes import BOX_DTYPE
from spedge.model.bundle import Bundle
from spedge.model.detecting import DetectorReference
from spedge.model.matching import box_difference
from spedge.model.parts import Sensor
from spedge.recordings import write
from tests.detector_bundles import STEP_US, kept_bundle, moving, tiny
from tests.ends import cli_command
from tests.needs import needs
from tests.tiny import SANITIZED, Tap, build_firmware, play_live

needs("platformio", "tvm", "torch", "cc")

SENSOR = Sensor(96, 64)
STEPS = 5  # of each recording: one of six chunks has no event


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return kept_bundle(tiny(sensor=SENSOR, hidden=8, head=8))


@pytest.fixture(scope="module")
def image(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = compile_model(bundle, "native")
    flags = ("-O0", *SANITIZED[1:])  # kernels for vectors take the compiler four times as long at -O1
    return build_firmware("sim", tmp_path_factory.mktemp("image") / "sim", model, flags)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """They begin long after time 0, and not on the grid of EVT2's clock."""
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(3):
        write(folder / f"{seed}.npz", moving(seed, 6, 600, SENSOR, (1 << 20) + 7), SENSOR.width, SENSOR.height)
    return sorted(folder.iterdir())


@pytest.fixture
def device(image: Path) -> Iterator[Device]:
    with open_board(load_board("sim"), image) as opened:
        yield opened


def test_every_step_is_the_hosts_on_a_bad_line_and_after_each_reset(
    bundle: Bundle, image: Path, recordings: list[Path]
) -> None:
    faults = Faults(drop=0.02, flip=0.02, dup=0.02, swap=0.02, noise=0.02, cut=1, away=0.05, seed=5)
    with open_board(load_board("sim"), image, timeouts=Timeouts(0.02, 0.1), faults=faults) as opened:
        report = check_boxes(bundle, [*recordings, recordings[0]], opened)
    assert report.passed and report.line.resent > 0 and sum(report.faults.values()) > 5
    for checked in report.recordings:
        assert checked.problem is None and checked.steps == checked.results == STEPS and checked.boxes > STEPS
        assert 0 < checked.head_max_abs_diff < 1e-5 and 0 < checked.state_max_abs_diff < 1e-5
        assert checked.tokens_equal and checked.tokens_host > 0 and checked.costs.encode > 0


def test_a_camera_at_the_board_may_play_them(bundle: Bundle, device: Device, recordings: list[Path]) -> None:
    report = check_boxes(bundle, recordings[:1], device, camera="evt3")
    assert report.passed and report.recordings[0].steps == STEPS


@pytest.mark.parametrize("camera", [None, "evt3"])
def test_a_larger_sensor_is_cropped_and_binned_on_the_device(
    bundle: Bundle, device: Device, tmp_path: Path, camera: str | None
) -> None:
    """A chunk that has events beside the part only makes no step."""
    events = moving(1, 6, 3000, Sensor(300, 200))
    alone = events["t"] // STEP_US == 4
    events["x"][alone] = 250
    write(tmp_path / "a.npz", events, 300, 200)
    part = Part(7, 12, 2)
    (checked,) = check_boxes(bundle, [tmp_path / "a.npz"], device, camera=camera, part=part).recordings
    assert checked.problem is None and checked.boxes > checked.steps == STEPS - 1
    assert checked.tokens_equal and checked.tokens_host > 20
    assert checked.events_dropped["outside"] == len(events) - len(part.of(events, SENSOR.width, SENSOR.height)) > 0


def test_what_is_compared_is_shown_on_a_page(
    bundle: Bundle, device: Device, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes of host and device at every step, and the report that is made without a page."""
    needs("starlette", "uvicorn", "wsproto")
    from spedge.view.checking import CheckStage
    from spedge.view.server import Server
    from tests.page_client import Page

    stage = CheckStage("a check", bundle.token_input.tokenizer, "sim", 2)
    compared: list[ComparedBoxes] = []

    def watch(one: ComparedBoxes) -> None:
        compared.append(one)
        stage.add(one)

    (checked,) = check_boxes(bundle, recordings[:1], device, watch=watch).recordings
    (plain,) = check_boxes(bundle, recordings[:1], device).recordings
    assert checked.differences() == plain.differences() and checked.passed
    take, fewer = device.take_results, with_boxes(lambda boxes: boxes[:-1])
    monkeypatch.setattr(device, "take_results", lambda: [fewer(result) for result in take()])
    (wrong,) = check_boxes(bundle, recordings[1:2], device, watch=stage.add).recordings
    assert not wrong.passed
    with Server(stage) as server:
        page = Page(server.address)
        told = page.ask("state", seen=0)["checks"]
        assert [(one["name"], one["passed"]) for one in told] == [("0.npz", True), ("1.npz", False)]
        assert told[0]["host"] == told[0]["device"] == f"{checked.boxes} boxes" and told[1]["host"] != told[1]["device"]
        page.ask("show", number=0)
        series = page.ask("series")
        assert (series["boxes_of"], series["names"]) == ("sim", list(bundle.labels)) and "labels" not in series
        assert series["boxes_verdict"] == {"equal": True, "problem": "", "compared": STEPS, "of": STEPS}
        seen = 0
        for step in DetectorReference(bundle).detect(compared[0].events):
            boxes = page.ask("frame", t=step.step.time, fade=50_000)["boxes"]
            host, there = ([box[:6] for box in boxes if box[6] == whose] for whose in ("host", "device"))
            assert len(host) == len(there) == len(step.kept.boxes) and np.allclose(host, there, atol=0.02)
            seen += len(host)
        assert seen == checked.boxes
        page.ask("show", number=1)
        assert page.ask("series")["boxes_verdict"]["problem"] == wrong.problem
        page.close()


Change = Callable[[Result], Result | None]


def with_outputs(name: str, by: float) -> Change:
    def change(result: Result) -> Result:
        moved = result.outputs[name].copy()
        moved.flat[7] += by
        return replace(result, outputs={**result.outputs, name: moved})

    return change


def with_boxes(change: Callable[[Any], Any]) -> Change:
    def of(result: Result) -> Result:
        assert result.step is not None
        return replace(result, step=replace(result.step, boxes=change(result.step.boxes.copy())))

    return of


def moved_box(boxes: Any) -> Any:
    boxes["x"][0] += 0.05 * boxes["w"][0]
    return boxes


def another_class(boxes: Any) -> Any:
    boxes["label"][0] = 1 - boxes["label"][0]
    return boxes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_outputs("head", 2e-4), "step 3 .*the largest difference of the head is 0.0002"),
        (with_outputs("state", 2e-4), "step 3 .*the largest difference of the state is 0.0002"),
        (with_outputs("head", np.nan), "step 3 .*the largest difference of the head is nan"),
        (with_boxes(moved_box), "step 3 .*not those of its own head: no box like the one at"),
        (with_boxes(another_class), "step 3 .*not those of its own head: no box like the one at"),
        (with_boxes(lambda boxes: boxes[1:]), "step 3 .*not those of its own head: .* boxes, not "),
        (lambda result: None, r"step 3 .*the device's is at \d+, and the host's \d+"),
        (lambda result: replace(result, window=result.window - 1), r"step 3 .*the device's has a window of \d+, and"),
    ],
    ids=["head", "state", "no number", "moved", "class", "missing box", "missing step", "window"],
)
def test_what_a_step_has_otherwise_is_said(
    bundle: Bundle, device: Device, recordings: list[Path], change: Change, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, seen = device.take_results, []

    def altered() -> list[Result]:
        results: list[Result] = []
        for result in take():
            seen.append(result)
            wrong = change(result) if len(seen) == 3 else result
            results += [] if wrong is None else [wrong]
        return results

    monkeypatch.setattr(device, "take_results", altered)
    report = check_boxes(bundle, recordings[:1], device)
    assert not report.passed
    assert report.recordings[0].problem is not None
    assert re.search(said, report.recordings[0].problem)


def test_a_step_too_many_or_too_few_is_said(
    bundle: Bundle, device: Device, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = DetectorReference.steps
    monkeypatch.setattr(DetectorReference, "steps", lambda *given: whole(*given)[:-1])
    (checked,) = check_boxes(bundle, recordings[:1], device).recordings
    assert checked.problem and "and the host has no more" in checked.problem
    monkeypatch.setattr(DetectorReference, "steps", lambda *given: [*whole(*given), whole(*given)[-1]])
    (checked,) = check_boxes(bundle, recordings[:1], device).recordings
    assert checked.problem and f"the device made {STEPS} steps, and not the one at" in checked.problem


def test_the_command_checks_and_runs_it(bundle: Bundle, image: Path, recordings: list[Path], tmp_path: Path) -> None:
    command = cli_command(image, "check", bundle.path, *recordings, "--json")
    document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert document["passed"] and [r["steps"] for r in document["recordings"]] == [STEPS] * 3
    assert all(r["head_max_abs_diff"] < 1e-5 and r["steps_at_an_edge"] == 0 for r in document["recordings"])
    page = tmp_path / "page.html"
    command = cli_command(image, "check", bundle.path, recordings[0], "--html", page)
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "1 of 1 passed" in page.read_text()
    assert shown.returncode == 0 and "1 of 1 recordings passed" in shown.stdout and "at an edge" in shown.stdout
    refused = cli_command(image, "check", bundle.path, recordings[0], "--every-ms", "10")
    done = subprocess.run(refused, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "a detector has its own steps" in done.stderr

    out = tmp_path / "boxes.jsonl"
    run = cli_command(image, "run", bundle.path, recordings[0], "--out", out)
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    steps = list(DetectorReference(bundle).detect(moving(0, 6, 600, SENSOR, (1 << 20) + 7)))
    documents = [json.loads(line) for line in out.read_text().splitlines()]
    assert [d["t_us"] for d in documents] == [s.step.time for s in steps]
    for document, step in zip(documents, steps, strict=True):
        boxes = np.zeros(len(document["boxes"]), BOX_DTYPE)
        for box, given in zip(boxes, document["boxes"], strict=True):
            box["label"] = bundle.labels.index(given["label"])
            for name in ("x", "y", "w", "h", "score"):
                box[name] = given[name]
        assert box_difference(step.kept.boxes, boxes) is None
    assert sum("class 0 " in line or "class 1 " in line for line in printed.splitlines()) == STEPS


def test_live_a_detector_that_is_too_slow_leaves_steps_out_and_its_state_is_of_those_it_made(
    bundle: Bundle, image: Path
) -> None:
    """It keeps the grid of its steps, and says what it left out; fed forty times as fast as life."""
    events = moving(3, 60, 800, SENSOR)
    with open_board(load_board("sim"), image) as opened:
        opened.configure(Configuration(mode="live", push=True))
        tap = Tap(opened.link.transport)
        opened.link.transport = tap
        results = play_live(opened, events, pace=40).results
        numbers = opened.infer()
        stats = opened.stats()
    results.append(numbers)
    accepted = spedge.evt2.Decoder().push(np.concatenate(tap.words).tobytes())
    assert stats.imbalance(len(events)) is None and stats.taken == len(accepted)
    made = {r.t for r in results}
    chunks = len(np.unique(accepted["t"] // STEP_US))
    assert all((t + 1) % STEP_US == 0 for t in made)
    assert stats.steps_left_out == chunks - len(made) > 0
    assert [r.step.steps_left_out for r in results if r.step][-1] == stats.steps_left_out
    reference = DetectorReference(bundle)
    twin = list(reference.encoded([s for s in reference.steps(accepted) if s.time in made]))
    assert stats.tokens_left_out == stats.tokens - sum(len(t.step.seen) for t in twin)
    for result, step in zip(results, twin, strict=True):
        assert (result.t, result.window) == (step.step.time, len(step.step.seen))
        assert result.step is not None
        if not result.gone:
            assert box_difference(step.kept.boxes, result.step.boxes) is None
    assert not results[-1].gone


def test_of_a_device_that_keeps_its_state_for_itself_it_is_said(
    bundle: Bundle, device: Device, recordings: Sequence[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "hello", replace(device.hello, state=0))
    with pytest.raises(UsageError, match="does not tell its detector's state"):
        check_boxes(bundle, recordings, device)
