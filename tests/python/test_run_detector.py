"""A session of `spedge run` with a detector: its boxes, printed and as JSON lines."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spedge.base.errors import DeviceRefused, InputError
from spedge.boards.manifest import load_board
from spedge.device.open import open_board
from spedge.jobs.play import play, require_model
from spedge.jobs.run import Session, label_of
from spedge.link.steps import WIRE_BOX_DTYPE
from spedge.model.bundle import Bundle
from spedge.model.parts import Detector, Gnn, TokenInput
from spedge.recordings import write
from spedge.sources import open_source
from tests.ends import cli_command
from tests.needs import needs
from tests.stand_in import HEIGHT, LABELS, STEP_US, WIDTH, bundle_of, events_of, source, steps_of
from tests.tiny import build_firmware

needs("cc")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(tmp_path_factory.mktemp("stand-in") / "bundle")


@pytest.fixture(scope="module")
def image(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_firmware("sim", tmp_path_factory.mktemp("run") / "sim", source(hash=bundle.hash_bytes))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """It begins long after time 0, and not on the grid of EVT2's clock."""
    write(tmp_path / "events.npz", events_of(3000, 200_000, start=(1 << 34) + 7 * STEP_US), WIDTH, HEIGHT)
    return tmp_path / "events.npz"


def test_a_session_has_every_step_at_the_time_of_the_recording(bundle: Bundle, image: Path, recording: Path) -> None:
    steps = steps_of(events_of(3000, 200_000, start=(1 << 34) + 7 * STEP_US))
    with open_board(load_board("sim"), image) as device, open_source(str(recording)) as events:
        session = Session(device, bundle, events)
        outcomes = [outcome for state in session.run() for outcome in state.outcomes]
        summary = session.summary()
    assert [outcome.t for outcome in outcomes] == [step.time for step in steps]
    assert [outcome.cause for outcome in outcomes] == ["step"] * (len(steps) - 1) + ["asked"]
    for outcome, step in zip(outcomes, steps, strict=True):
        assert outcome.step and len(outcome.step.boxes) == outcome.step.found == len(step.boxes)
        np.testing.assert_allclose(outcome.step.boxes["score"], step.boxes["score"], atol=1e-5)
        assert (outcome.label, outcome.logits.size) == (LABELS[step.boxes["label"][0]], 0)
    assert (summary.results, summary.results_unread, summary.accounted) == (len(steps), 0, True)


def test_the_command_writes_boxes_as_lines_of_json(
    bundle: Bundle, image: Path, recording: Path, tmp_path: Path
) -> None:
    out = tmp_path / "boxes.jsonl"
    command = cli_command(image, "run", bundle.path, recording, "--out", out)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    steps = steps_of(events_of(3000, 200_000, start=(1 << 34) + 7 * STEP_US))
    documents = [json.loads(line) for line in out.read_text().splitlines()]
    assert [document["t_us"] for document in documents] == [step.time for step in steps]
    for document, step in zip(documents, steps, strict=True):
        assert document["boxes_found"] == len(document["boxes"]) == len(step.boxes)
        assert [box["label"] for box in document["boxes"]] == [LABELS[i] for i in step.boxes["label"]]
        for name in ("x", "y", "w", "h", "score"):
            got = [box[name] for box in document["boxes"]]
            np.testing.assert_allclose(got, step.boxes[name], atol=1e-4, rtol=1e-5)
        assert "label" not in document and "logits" not in document
    lines = done.stdout.splitlines()
    assert sum(" more" in line and ("near " in line or "far " in line) for line in lines) == len(steps)


def test_a_class_that_the_model_has_not_is_said() -> None:
    box = np.zeros(1, WIRE_BOX_DTYPE)[0]
    assert label_of(box, LABELS) == "near"
    box["label"] = 2
    with pytest.raises(DeviceRefused, match="a box of class 2, and the model has 2 classes"):
        label_of(box, LABELS)


def test_detectors_of_other_kinds_are_refused_before_a_device_is_asked(bundle: Bundle, image: Path) -> None:
    assert isinstance(bundle.model, Detector) and isinstance(bundle.representation, TokenInput)
    with open_board(load_board("sim"), image) as device:
        graph = replace(bundle, model=replace(bundle.model, encoder=Gnn(1.0, 1.0, 0.5)))
        with pytest.raises(InputError, match="by a gnn on continuous ones: choose another preset"):
            require_model(device, graph)
        voxels = replace(bundle.representation.tokenizer, kind="voxel", duration_us=STEP_US)
        with pytest.raises(InputError, match="by a transformer on voxel ones"):
            require_model(device, replace(bundle, representation=replace(bundle.representation, tokenizer=voxels)))
        with pytest.raises(InputError, match="a played recording takes classification"):
            next(iter(play(device, bundle, events_of(10, 1000))))
