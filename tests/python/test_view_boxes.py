"""Boxes on the page: labels beside a recording, a detector's by the host, and those of a board, each as what it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spedge.cli.boxes import beside, shown
from spedge.model.bundle import Bundle
from spedge.model.detecting import Detected, DetectorReference
from spedge.recordings import write
from tests.detector_bundles import STEP_US, kept_bundle, moving
from tests.needs import needs
from tests.page_client import Page

needs("torch", "onnx", "onnxscript", "PIL", "starlette", "uvicorn", "wsproto")

from spedge.link.steps import WIRE_BOX_DTYPE, StepResult  # noqa: E402
from spedge.view.live import LiveStage  # noqa: E402
from spedge.view.open import follow, open_scene, open_stage  # noqa: E402
from spedge.view.scene import BOXES_US, Scene  # noqa: E402
from spedge.view.server import Server  # noqa: E402
from spedge.view.stage import RecordingStage, boxes_verdict  # noqa: E402

#: As GEN1 publishes its labels.
LABEL_DTYPE = np.dtype([("t", "<u8"), *((n, "<f4") for n in "xywh"), ("class_id", "u1"), ("track_id", "<u4")])


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return kept_bundle()


@pytest.fixture(scope="module")
def recording(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """And its labels beside it, as detection sets have them."""
    path = tmp_path_factory.mktemp("recording") / "drive_td.dat"
    write(path.with_suffix(".raw"), moving(), bundle.sensor.width, bundle.sensor.height)
    labels = np.zeros(2, LABEL_DTYPE)
    labels["t"], labels["class_id"] = [4 * STEP_US + 7, 6 * STEP_US], [1, 0]
    labels["x"], labels["y"], labels["w"], labels["h"] = [10, 20], [30, 40], [50, 60], [70, 80]
    np.save(path.with_name("drive_bbox.npy"), labels)
    return path.with_suffix(".raw")


@pytest.fixture(scope="module")
def steps(bundle: Bundle) -> list[Detected]:
    return list(DetectorReference(bundle).detect(moving()))


def as_device(boxes: Any) -> Any:
    sent = np.zeros(len(boxes), WIRE_BOX_DTYPE)
    for name in WIRE_BOX_DTYPE.names or ():
        sent[name] = boxes[name]
    return sent


class Board:
    """A session with a board that says what the host says, but for what is changed."""

    def __init__(self, steps: list[Detected], change: Any = lambda step, boxes: boxes) -> None:
        self.steps = [(one.step.time, change(number, as_device(one.kept.boxes))) for number, one in enumerate(steps)]

    def run(self) -> Any:
        for t, boxes in self.steps:
            step = StepResult(boxes, len(boxes), True, 0, 0, 0)
            yield SimpleNamespace(events=t, outcomes=[SimpleNamespace(t=t, step=step)])


def test_each_box_is_told_as_what_it_is(bundle: Bundle, recording: Path, steps: list[Detected]) -> None:
    stage = open_stage(recording, bundle=bundle.path)
    stage.scene = shown(beside(recording), stage.scene)
    follow(Board(steps), stage, "sim")  # type: ignore[arg-type]
    with Server(stage) as server:
        page = Page(server.address)
        series = page.ask("series")
        assert series["names"] == list(bundle.labels) and "labels" not in series
        assert series["boxes_verdict"] == {"equal": True, "problem": "", "compared": len(steps), "of": len(steps)}
        assert series["boxes_of"] == "sim"
        some = 0
        for one in steps:
            told = page.ask("frame", t=one.step.time, fade=50_000)["boxes"]
            for whose in ("host", "device"):
                own = np.array([box[:6] for box in told if box[6] == whose]).reshape(-1, 6)
                there = [[float(box[name]) for name in ("x", "y", "w", "h", "score")] for box in one.kept.boxes]
                assert np.allclose(own[:, :5], np.reshape(there, (-1, 5)), atol=1e-3)
                assert own[:, 5].tolist() == one.kept.boxes["label"].tolist()
            some += len(one.kept.boxes)
        assert some > 10
        truth = [box for box in page.ask("frame", t=4 * STEP_US + 7, fade=1000)["boxes"] if box[6] == "truth"]
        assert truth == [[10, 30, 50, 70, 1, 1, "truth"]]
        gone = page.ask("frame", t=6 * STEP_US + BOXES_US + 1, fade=1000)["boxes"]
        assert not [box for box in gone if box[6] == "truth"]
        page.close()


def test_a_board_that_says_otherwise_is_told(bundle: Bundle, recording: Path, steps: list[Detected]) -> None:
    def moved(step: int, boxes: Any) -> Any:
        if step == 2:
            boxes = boxes.copy()
            boxes["x"][0] += 9
        return boxes

    stage = open_stage(recording, bundle=bundle.path)
    for change, why in (
        (moved, "no box like the one at"),
        (lambda step, boxes: boxes[: -1 if step == 1 else None], "boxes, not"),
    ):
        stage = RecordingStage("a", stage.scene, bundle.token_input.tokenizer)
        follow(Board(steps, change), stage, "sim")  # type: ignore[arg-type]
        verdict = stage.answer({"op": "series"}).document["boxes_verdict"]
        assert not verdict["equal"] and why in verdict["problem"]
    stage.device_boxes("sim", 12_345, as_device(np.zeros(0, WIRE_BOX_DTYPE)))
    assert stage.scene.steps is not None
    of_another_time = boxes_verdict(stage.scene, [(12_345, stage.scene.boxes[:0])])
    assert of_another_time is not None and "a step that the host has not" in of_another_time["problem"]


def test_what_is_rendered_has_the_models_boxes_and_those_of_files(bundle: Bundle, recording: Path) -> None:
    scene = shown(beside(recording), open_scene(recording, bundle=bundle.path))
    assert (scene.boxes["score"] >= 1).sum() == 2 and (scene.boxes["score"] < 1).sum() > 10
    assert (np.diff(scene.boxes["t"]) >= 0).all() and scene.names == bundle.labels


def test_labels_are_found_beside_a_recording(tmp_path: Path) -> None:
    for name in ("a_bbox.npy", "b_bbox.npy"):
        (tmp_path / name).touch()
    assert beside(tmp_path / "a_td.dat") == [tmp_path / "a_bbox.npy"] == beside(tmp_path / "a.raw")
    assert beside(tmp_path / "c.raw") == []


def test_a_live_boards_boxes_are_shown_until_they_are_old(bundle: Bundle) -> None:
    settings = bundle.token_input.tokenizer
    events = moving()
    boxes = np.zeros(1, WIRE_BOX_DTYPE)
    boxes["w"], boxes["score"], boxes["label"] = 5, 1, 1
    with LiveStage("a", settings, bundle.labels, "sim", detects=True) as stage:
        t = int(events["t"][0])
        stage.progress(
            SimpleNamespace(  # type: ignore[arg-type]
                events_per_second=0,
                tokens_per_second=0,
                outcomes=[SimpleNamespace(
                    t=t, step=StepResult(boxes, 1, True, 0, 0, 0), latency=7, cost_unit="ns",
                    loss=SimpleNamespace(by_cause={}),
                )],
            )
        )  # fmt: skip
        stage._take(events[:1])
        told = stage.answer({"op": "frame", "t": None, "fade": 1000}).document["boxes"]
        assert told == [[0, 0, 5, 0, pytest.approx(1, abs=1e-3), 1, "device"]]
        series = stage.answer({"op": "series"}).document
        assert series["names"] == list(bundle.labels) and series["boxes_of"] == "sim" and "device" not in series
        stage._take(events[events["t"] > t + BOXES_US][:1])
        assert stage.answer({"op": "frame", "t": None, "fade": 1000}).document["boxes"] == []


def test_a_recording_without_a_detector_says_nothing_of_boxes(bundle: Bundle) -> None:
    stage = RecordingStage("a", Scene(304, 240, moving()), bundle.token_input.tokenizer)
    assert not {"names", "boxes_of", "boxes_verdict"} & set(stage.answer({"op": "series"}).document)
