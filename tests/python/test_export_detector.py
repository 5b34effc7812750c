"""Bundles of detectors: what ONNX Runtime computes of a sequence of steps, the state carried, is what torch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.cli import execute
from spedge.jobs.check_host_boxes import check_host_boxes
from spedge.model.bundle import STEP_BOX_DTYPE, Bundle
from spedge.model.detecting import DetectorReference
from spedge.model.matching import box_difference
from spedge.model.parts import Embedding, EventInput, Gnn, Pcn, Sensor, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.model.steps import steps_of, tokens_in
from spedge.tokens.settings import TokenizerSettings
from tests.detector_bundles import STEP_US, bundle_of, model_of, moving, tiny
from tests.needs import needs
from tests.python.test_check_host import changed
from tests.variants import long

needs("torch")

from spedge.training.export.detector_bundle import by_torch  # noqa: E402

SMALL = Sensor(76, 60)
GNN, PCN = Gnn(3.0, 4.0, 0.4, (8, 16, 16)), Pcn((4.0, 8.0), (0.5, 0.5), (8, 16, 16))
TOKENS = TokenInput(TokenizerSettings(76, 60, patch_size=4, threshold=16), Embedding(hidden=8), 24)
SPECS: dict[str, ModelSpec] = {
    "transformer": tiny(classes=3, odd_grid="crop", window=16),
    "gnn": tiny(GNN, representation=TOKENS, sensor=SMALL, cell=2),
    "pcn": tiny(PCN, representation=EventInput(120, "last", 8), sensor=SMALL, cell=10),
}


@pytest.fixture(scope="module", params=["transformer", *long("gnn", "pcn")])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Bundle]:
    """A torch model and the bundle of it."""
    spec = SPECS[request.param]
    return model_of(spec), bundle_of(tmp_path_factory.mktemp(request.param), spec, examples=1)


def test_a_bundle_detects_what_torch_does(exported: tuple[Any, Bundle]) -> None:
    """Over all steps of a recording that it was not exported with, by both roads."""
    model, bundle = exported
    events = moving(3, steps=9, sensor=bundle.sensor, each=700)
    expected = {name: values.copy() for name, values in _by_torch(model, bundle, events).items()}
    reference = DetectorReference(Bundle.load(bundle.path))
    steps = reference.steps(events)
    assert len(steps) == len(expected["head"]) == 8
    assert any(step.left_out for step in steps) and all(len(step.seen) for step in steps[1:])
    kept = 0
    for road in (reference.detect(events), reference.encoded(steps)):
        for i, found in enumerate(road):
            assert np.abs(found.head - expected["head"][i]).max() < 1e-4
            assert np.abs(found.state["hidden"] - expected["hidden_next"][i]).max() < 1e-4
            assert np.abs(found.state["cell"] - expected["cell_next"][i]).max() < 1e-4
            boxes = reference.boxes(expected["head"][i]).boxes
            assert found.kept.boxes["label"].tolist() == boxes["label"].tolist()
            kept += len(boxes)
    assert 0 < kept < 16 * len(expected["head"][0])
    assert np.abs(expected["head"][-1] - expected["head"][0]).max() > 0.1  # what it sees matters


def _by_torch(model: Any, bundle: Bundle, events: np.ndarray) -> dict[str, np.ndarray]:
    import torch

    with torch.no_grad():
        found: dict[str, np.ndarray] = by_torch(model, bundle.plain(), events)
    return found


def test_the_state_matters_and_begins_as_zeros(exported: tuple[Any, Bundle]) -> None:
    """The last step alone is another one than after those before it; the first is as if it were alone."""
    _, bundle = exported
    reference = DetectorReference(bundle)
    steps = reference.steps(moving(4, sensor=bundle.sensor))
    whole = [found.head for found in reference.encoded(steps)]
    alone = [next(reference.encoded([step])).head for step in (steps[0], steps[-1])]
    np.testing.assert_array_equal(whole[0], alone[0])
    assert np.abs(whole[-1] - alone[1]).max() > 1e-2


def test_batch_norms_are_folded_and_operators_plain(exported: tuple[Any, Bundle]) -> None:
    needs("onnx")
    import onnx

    _, bundle = exported
    for name in ("encoder.onnx", "model.onnx"):
        graph = onnx.load(bundle.file(name)).graph
        norms = [node for node in graph.node if node.op_type == "BatchNormalization"]
        assert len(norms) == (0 if isinstance(bundle.encoder, Transformer) else len(norms))
        assert not {"LSTM", "Einsum", "If", "Loop", "NonZero"} & {node.op_type for node in graph.node}
        sizes = [d.dim_value for i in (*graph.input, *graph.output) for d in i.type.tensor_type.shape.dim]
        assert all(sizes)
    encoder = onnx.load(bundle.file("encoder.onnx")).graph
    assert [i.name for i in encoder.input][-3:] == ["cells", "hidden", "cell"]
    assert [o.name for o in encoder.output] == ["head", "hidden_next", "cell_next"]


def test_vectors_hold_a_sequence(exported: tuple[Any, Bundle]) -> None:
    _, bundle = exported
    (vector,) = bundle.vectors()
    found = list(DetectorReference(bundle).detect(vector.events))
    assert vector.times.tolist() == [one.step.time for one in found]
    assert np.abs(vector.outputs["head"] - found[-1].head).max() < 1e-4
    assert vector.boxes["step"].tolist() == [i for i, one in enumerate(found) for _ in one.kept.boxes]
    assert len(vector.embedded) == len(found[-1].step.seen)
    assert len(bundle.calibration()) == 1


def test_steps_are_chunks_that_hold_events() -> None:
    """Each at its chunk's last µs, with the newest tokens since the step before and how many there were besides."""
    spec = tiny(window=20)
    events = moving(2, steps=6)
    tokens = tokens_in(events, spec)
    steps = list(steps_of(events, tokens, spec))
    assert [step.time for step in steps] == [(k + 1) * STEP_US - 1 for k in (3, 4, 6, 7, 8)]
    assert sum(step.events for step in steps) == len(events)
    for step in steps:
        assert step.time - STEP_US < int(step.seen.t.min()) and int(step.seen.t.max()) <= step.time
        assert len(step.seen) == 20 and step.left_out > 0
    assert sum(len(step.seen) + step.left_out for step in steps) == len(tokens)
    sparse = np.concatenate([events[:1], events[-1:]])
    assert [len(step.seen) for step in steps_of(sparse, tokens_in(sparse, spec), spec)] == [0, 0]


def as_recording(events: np.ndarray, bundle: Bundle, path: Path) -> Path:
    size = {"width": bundle.sensor.width, "height": bundle.sensor.height}
    np.savez(path, **{name: events[name] for name in "txyp"}, **size)  # type: ignore[arg-type]
    return path


def test_a_bundle_is_checked_on_this_machine(
    exported: tuple[Any, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its samples and a recording, by both roads."""
    _, bundle = exported
    recording = as_recording(moving(5, sensor=bundle.sensor), bundle, tmp_path / "moving.npz")
    report = check_host_boxes(bundle, [recording])
    assert [sample.problem for sample in report.samples] == [None, None]
    assert [sample.steps for sample in report.samples] == [5, 5]
    assert all(sample.boxes > 0 and sample.tokens > 0 for sample in report.samples)
    assert execute(["check", str(bundle.path), str(recording), "--board", "host"]) == 0
    assert "host: 2 of 2 passed" in capsys.readouterr().out


CHANGES: list[tuple[Any, str]] = [
    (lambda kept: kept["head_0"].__setitem__((3, 4), kept["head_0"][3, 4] + 0.01), "last step's head by model.onnx"),
    (lambda kept: kept["boxes_0"]["w"].__imul__(np.float32(1.01)), "has no box like the one at"),
    (lambda kept: kept["boxes_0"]["score"].__iadd__(np.float32(0.002)), "has no box like the one at"),
    (lambda kept: kept.update(boxes_0=kept["boxes_0"][1:]), " boxes, not "),
    (lambda kept: kept["times_0"].__iadd__(np.uint64(1)), "steps are not those that were kept"),
    (lambda kept: kept["embedded_0"].__iadd__(np.float32(0.01)), "embedded tokens differ by"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[words.strip() for _, words in CHANGES])
def test_what_is_not_what_training_computed_is_told(
    exported: tuple[Any, Bundle], tmp_path: Path, change: Any, words: str
) -> None:
    other = changed(tmp_path / "other", exported[1], change)
    (sample,) = check_host_boxes(other).samples
    assert sample.problem is not None
    assert words in sample.problem


def test_boxes_that_are_the_same_and_not() -> None:
    random = np.random.default_rng(0)
    boxes = np.zeros(30, STEP_BOX_DTYPE)
    boxes["x"], boxes["y"] = random.uniform(0, 200, (2, 30))
    boxes["w"], boxes["h"], boxes["score"] = 20, 30, random.uniform(0.2, 1, 30)
    assert box_difference(boxes, boxes[::-1]) is None
    assert box_difference(boxes[:0], boxes[:0]) is None
    near = boxes.copy()
    near["x"], near["score"] = near["x"] + 0.005, near["score"] + 0.0009
    assert box_difference(boxes, near) is None
    for name, by in (("x", 0.1), ("score", 0.0011), ("label", 1)):
        far = boxes.copy()
        far[name][7] += by
        assert str(box_difference(boxes, far)).startswith("no box like the one at")
    twice = boxes.copy()
    twice[3] = twice[4]  # one of the others may not answer for two
    assert box_difference(twice, boxes) is not None
    assert box_difference(boxes, boxes[1:]) == "29 boxes, not 30"
