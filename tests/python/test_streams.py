"""Batches of detection: what is in them does not depend on where they are made or whether a run was interrupted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.events.arrays import empty_events
from spedge.model.parts import Detection, Detector, Embedding, EventInput, Gnn, Pcn, Sensor, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.tokens.settings import TokenizerSettings
from spedge.training.metrics.coco import SCORED_DTYPE
from tests.needs import needs

needs("torch")

import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

STEP = 50_000


@dataclass(frozen=True)
class Chunk:
    start_us: int
    end_us: int
    events: NDArray[Any]
    boxes: NDArray[Any]


class Made(list[Chunk]):
    """A recording of random events and boxes."""

    def __init__(self, seed: int, length: int, labelled: list[int]) -> None:
        random = np.random.default_rng(seed)
        self.labelled = np.array(labelled, np.int64)
        for k in range(length):
            count = int(random.integers(0, 400)) if k % 5 else 0
            events = empty_events(count)
            events["t"] = np.sort(random.integers(k * STEP, (k + 1) * STEP, count))
            events["x"], events["y"] = random.integers(0, 32, count), random.integers(0, 24, count)
            events["p"] = random.integers(0, 2, count)
            boxes = np.zeros(2 if k in labelled else 0, SCORED_DTYPE)
            for name, high in (("x", 16), ("y", 12), ("w", 12), ("h", 10), ("label", 2)):
                boxes[name] = random.integers(0 if name == "label" else 4, high, len(boxes))
            boxes["t"] = (k + 1) * STEP - 1
            self.append(Chunk(k * STEP, (k + 1) * STEP, events, boxes))

    @property
    def boxes(self) -> NDArray[Any]:
        return np.concatenate([chunk.boxes for chunk in self])


PART = [Made(1, 33, [4, 7, 8, 29]), Made(2, 25, [0, 12, 24]), Made(3, 14, []), Made(4, 30, [9, 10, 11, 12])]
TOKENS = TokenInput(TokenizerSettings(patch_size=8, threshold=20.0, width=32, height=24), Embedding(3, 16))
VOXELS = TokenInput(
    TokenizerSettings(kind="voxel", patch_size=8, threshold=1.0, duration_us=STEP, width=32, height=24),
    Embedding(3, 16),
)
KINDS: dict[str, tuple[Any, Any]] = {
    "transformer": (TOKENS, Transformer(16, 32, 2, 1)),
    "voxels": (VOXELS, Transformer(16, 32, 2, 1)),
    "gnn": (replace(TOKENS, embedding=Embedding(3, 16)), Gnn(2.0, 9.0, 0.9)),
    "events": (EventInput(50, "last", 16, 5000.0), Pcn((3.0, 6.0), (0.9, 0.9))),
}


def spec_of(kind: str) -> ModelSpec:
    from spedge.model.spec import describe

    seen, encoder = KINDS[kind]
    cell = 8 if kind == "events" else 1
    model = Detector(encoder, encoder.gives, cell, head=8)
    return describe("det", "det", Sensor(32, 24), ("a", "b"), seen, model)


def batches(spec: ModelSpec, workers: int = 0, **options: Any) -> list[Any]:
    from spedge.training.fit.streams import LearnSteps

    items = LearnSteps(PART, spec, 3, 5, workers=workers, **options)
    return list(DataLoader(items, batch_size=None, num_workers=workers))


def flat(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value for tensor in flat(part)] if isinstance(value, tuple) else []


def same(a: Any, b: Any) -> bool:
    ours, theirs = flat(a), flat(b)
    return len(ours) == len(theirs) and all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("kind", ["transformer", "events"])
@pytest.mark.parametrize(("first", "workers"), [(1, 0), (9, 0), (14, 0), (5, 2), (4, 3)])
def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen(kind: str, first: int, workers: int) -> None:
    spec = spec_of(kind)
    whole = batches(spec, workers, last=16)
    rest = batches(spec, workers, first=first, last=16)
    assert len(whole) == 16
    assert len(rest) == 16 - first
    assert all(same(a, b) for a, b in zip(whole[first:], rest, strict=True))
    assert not same(whole[0], whole[1])


def test_batches_are_those_of_their_worker() -> None:
    """Two workers take turns; each has slots of its own, and goes on with them."""
    whole = batches(spec_of("transformer"), 2, last=12)
    again = batches(spec_of("transformer"), 2, first=5, last=12)
    slots = [set(batch.steps.slot.tolist()) for batch in whole]
    assert all(one.isdisjoint(other) for one, other in zip(slots[::2], slots[1::2], strict=True))
    assert all(same(a, b) for a, b in zip(whole[5:], again, strict=True))


def test_streams_go_on_until_their_range_ends() -> None:
    """Chunks of a stream follow on one another, and the state is reset where they do not."""
    last: dict[int, tuple[int, int]] = {}
    for batch in batches(spec_of("transformer"), last=40, augment=False):
        stream = batch.steps.slot >= 1
        rows = zip(batch.steps.slot, batch.steps.reset, batch.recording, batch.time, strict=True)
        for keep, (slot, reset, recording, time) in zip(stream.tolist(), rows, strict=True):
            follows = last.get(int(slot)) == (int(recording), int(time) - STEP)
            if keep:
                assert bool(reset) != follows
            last[int(slot)] = (int(recording), int(time))


def test_windows_are_all_seen_in_an_epoch() -> None:
    from spedge.training.fit.streams import LearnSteps

    spec = spec_of("transformer")
    items = LearnSteps(PART, spec, 3, 5, last=11, augment=False)
    ends = []
    for batch in items:
        window = batch.steps.slot == 0
        ends.append((int(batch.recording[window][-1]), int(batch.time[window][-1]) // STEP))
    assert sorted(ends) == [(r, k) for r, made in enumerate(PART) for k in made.labelled.tolist()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_takes_the_batches_and_learns(kind: str) -> None:
    from spedge.training.models.detector import DetectorModel, GridState
    from spedge.training.models.yolox import centres
    from spedge.training.tasks.detection import Cells, losses

    torch.manual_seed(0)
    spec = spec_of(kind)
    assert isinstance(spec.model, Detector)
    model = DetectorModel(spec.sensor, 2, spec.representation, spec.model)
    rows, columns = spec.model.grid(spec.sensor, spec.representation)
    cells = Cells(*centres(rows + rows % 2, columns + columns % 2, spec.model.strides(spec.representation)))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    state = model.start(3)
    seen = []
    for batch in batches(spec, last=12, augment=kind != "voxels"):
        wanted = batch.counts > 0
        raw, state = model(batch.inputs, batch.steps, state, wanted)
        state = GridState(*(part.detach() for part in state))
        if wanted.any():
            loss = losses(raw, [own for own in batch.labels_of() if len(own)], cells).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(float(loss.detach()))
    assert np.mean(seen[-4:]) < np.mean(seen[:4])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", [1, 3])
def test_a_streamed_evaluation_in_pieces_equals_one_in_a_single_pass(kind: str, slots: int) -> None:
    from spedge.training.fit.streams import LookSteps
    from spedge.training.models.detector import DetectorModel
    from spedge.training.represent.collate_steps import Sequenced, collate_steps
    from spedge.training.represent.steps import Stepper
    from spedge.training.tasks.detection import detect

    torch.manual_seed(1)
    spec = spec_of(kind)
    assert isinstance(spec.model, Detector)
    model = DetectorModel(spec.sensor, 2, spec.representation, spec.model).eval()
    with torch.no_grad():  # so that there is something to find
        for level in model.detector.head.levels:
            level.objectness_output.bias.fill_(0.0)
            level.class_output.bias.fill_(0.0)
    assert isinstance(spec.task, Detection)
    task = replace(spec.task, score=0.2, nms_iou=1.0)  # which of almost equal boxes is thinned away is chance
    pieces = LookSteps(PART, spec, slots)
    got: dict[int, list[Any]] = {r: [] for r in range(len(PART))}
    for step in detect(model, pieces, pieces.states, task, spec.sensor):
        got[step.recording].append(step)
    stepper = Stepper(spec)
    for number, recording in enumerate(PART):
        if kind == "voxels":  # sees a piece at a time
            steps = [
                s for i in range(0, len(recording), 10) for s in stepper(recording[i : i + 10], stepper.tokenizer())
            ]
        else:
            steps = stepper(recording, stepper.tokenizer())
        batch = collate_steps([Sequenced(number, 0, True, steps)])
        whole = list(detect(model, [batch], 1, task, spec.sensor))
        assert [step.t for step in whole] == [chunk.end_us - 1 for chunk in recording if len(chunk.events)]
        assert len(whole) == len(got[number]) < len(recording)
        for one, other in zip(whole, got[number], strict=True):
            assert (one.recording, one.t) == (other.recording, other.t)
            assert len(one.found) == len(other.found)
            for name in ("x", "y", "w", "h", "score"):
                np.testing.assert_allclose(np.sort(one.found[name]), np.sort(other.found[name]), atol=1e-3)
    assert sum(len(step.found) for steps in got.values() for step in steps) > 50


def test_labels_that_come_more_often_than_steps() -> None:
    """1Mpx has them at 60 Hz: a step learns the newest of its chunk, and each counts at its own time in a score."""
    from spedge.training.represent.steps import Stepper
    from spedge.training.tasks.detection import Seen, by_recording

    chunk = PART[0][1]
    boxes = np.zeros(4, SCORED_DTYPE)
    boxes["t"] = [66_666, 83_333, 99_998, 99_998]
    boxes["x"], boxes["w"], boxes["h"], boxes["label"] = [1, 2, 3, 4], 8, 6, [0, 0, 0, 1]
    many = Made(9, 2, [])
    many[1] = replace(chunk, boxes=boxes)
    stepper = Stepper(spec_of("transformer"))
    before, step = stepper(many, stepper.tokenizer())
    assert len(before.labels) == 0
    np.testing.assert_array_equal(step.labels, np.array([[0, 7, 3, 8, 6], [1, 8, 3, 8, 6]], np.float32))
    found = boxes[:1].copy()
    found["t"], found["score"] = 99_999, 0.5
    ((labels, seen),) = by_recording([Seen(0, 49_999, found[:0]), Seen(0, 99_999, found)], [many])
    np.testing.assert_array_equal(labels, boxes)
    np.testing.assert_array_equal(seen, found)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_without_events_are_no_steps(kind: str) -> None:
    """The state after them is that before them, as on a device, which does not hear of them; a range may begin with
    one."""
    from spedge.training.models.detector import DetectorModel
    from spedge.training.represent.collate_steps import Sequenced, collate_steps
    from spedge.training.represent.steps import Stepper

    torch.manual_seed(2)
    spec = spec_of(kind)
    assert isinstance(spec.model, Detector)
    model = DetectorModel(spec.sensor, 2, spec.representation, spec.model).eval()
    stepper = Stepper(spec)
    steps = stepper(PART[0][:10], stepper.tokenizer())
    assert [step.still for step in steps] == [k % 5 == 0 for k in range(10)]
    with torch.no_grad():
        batch = collate_steps([Sequenced(0, 0, True, steps)])
        raw, state = model(batch.inputs, batch.steps, model.start(1))
        heard = collate_steps([Sequenced(0, 0, True, [step for step in steps if not step.still])])
        other, after = model(heard.inputs, heard.steps, model.start(1))
    torch.testing.assert_close(raw[batch.made], other, rtol=0, atol=1e-5)
    for part, wanted in zip(state, after, strict=True):
        torch.testing.assert_close(part, wanted, rtol=0, atol=1e-6)
    assert not torch.equal(raw[1], raw[2])
