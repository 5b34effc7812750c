"""Boxes from a detector's outputs: equal to the authors', and to their definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.boxes import decode, keep, levels_of
from spedge.model.parts import Detection, Detector, Embedding, Sensor, TokenInput, Transformer
from spedge.model.spec import ModelSpec, describe
from spedge.tokens.settings import TokenizerSettings
from tests.golden_models import Case, cases

SENSOR = Sensor(304, 240)


def task(classes: int, score: float = 0.1, iou: float = 0.45) -> Detection:
    return Detection(tuple(f"class {i}" for i in range(classes)), (8, 16, 32), score=score, nms_iou=iou)


@pytest.mark.parametrize("name", cases(4, array="^predictions$"))
def test_kept_boxes_are_the_authors(name: str) -> None:
    case = Case(name)
    for i, predictions in enumerate(case["predictions"]):
        scores = predictions[:, 4:5] * predictions[:, 5:]
        rule = task(scores.shape[1], case.about["confidence"], case.about["nms_iou"])
        found = keep(predictions[:, :4], scores, rule, Sensor(*case.about["sensor"])).boxes
        corners = np.stack([found[name] for name in "xywh"], axis=1)
        np.testing.assert_allclose(corners, case[f"sample{i}.boxes"], atol=1e-4)
        np.testing.assert_allclose(found["score"], case[f"sample{i}.scores"], atol=1e-5)
        np.testing.assert_array_equal(found["label"], case[f"sample{i}.classes"])


@pytest.mark.parametrize("name", cases(4, kind="LSTM, pyramid, neck, head"))
def test_boxes_of_a_heads_output_are_the_authors(name: str) -> None:
    case = Case(name)
    for batch in sorted({key.split(".")[0] for key in case.names("batch")}):
        for step, raw in enumerate(case[f"{batch}.raw"]):
            scores = sigmoid(raw[:, 4:5]) * sigmoid(raw[:, 5:])
            found = keep(raw[:, :4], scores, task(scores.shape[1]), Sensor(*case.about["sensor"])).boxes
            corners = np.stack([found[name] for name in "xywh"], axis=1)
            np.testing.assert_allclose(corners, case[f"{batch}.step{step}.boxes"], atol=0.01)
            np.testing.assert_allclose(found["score"], case[f"{batch}.step{step}.scores"], atol=1e-4)
            np.testing.assert_array_equal(found["label"], case[f"{batch}.step{step}.classes"])


def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.float32(1) / (np.float32(1) + np.exp(-x))


def raw_head(given: NDArray[np.float32], levels: NDArray[Any]) -> NDArray[np.float32]:
    """What a head gives for boxes that the authors have decoded: offsets in cells, logarithms of sizes."""
    raw = given.astype(np.float64)
    first = 0
    for stride, rows, columns in levels.astype(int).tolist():
        cells = slice(first, first := first + rows * columns)
        place = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
        raw[cells, :2] = raw[cells, :2] / stride - place
        raw[cells, 2:4] = np.log(raw[cells, 2:4] / stride)
    return raw.astype(np.float32)


@pytest.mark.parametrize("name", cases(4, kind="LSTM, pyramid, neck, head"))
def test_boxes_of_a_raw_head_are_the_authors(name: str) -> None:
    case = Case(name)
    about = case.about["model"]
    rows, columns = (side - side % 2 for side in (about["rows"], about["columns"]))
    sizes = (2 * rows, 2 * columns), (rows, columns), (rows // 2, columns // 2)
    levels = np.array([(s, *size) for s, size in zip(about["strides"], sizes, strict=True)], np.uint16)
    for batch in sorted({key.split(".")[0] for key in case.names("batch")}):
        for step, raw in enumerate(case[f"{batch}.raw"]):
            found = decode(raw_head(raw, levels), levels, task(raw.shape[1] - 5), Sensor(*case.about["sensor"])).boxes
            corners = np.stack([found[name] for name in "xywh"], axis=1)
            np.testing.assert_allclose(corners, case[f"{batch}.step{step}.boxes"], atol=0.01)
            np.testing.assert_allclose(found["score"], case[f"{batch}.step{step}.scores"], atol=1e-4)
            np.testing.assert_array_equal(found["label"], case[f"{batch}.step{step}.classes"])


def detector(classes: int, odd_grid: str = "pad") -> ModelSpec:
    """A description of one on 304x240, patches of 16: 15x19 cells."""
    seen = TokenInput(TokenizerSettings(304, 240, patch_size=16), Embedding(hidden=16))
    model = Detector(Transformer(16, 32, 2, 1), 16, head=16, odd_grid=odd_grid)
    return describe("a", "b", SENSOR, tuple(map(str, range(classes))), seen, model)


@pytest.mark.parametrize("odd_grid", ["pad", "crop"])
def test_a_heads_boxes_are_those_of_its_formulas(odd_grid: str) -> None:
    """In float64 by the definition, then thinned and cut as boxes in pixels are."""
    spec = detector(3, odd_grid)
    assert isinstance(spec.task, Detection)
    levels = levels_of(spec)
    rows, columns = (16, 20) if odd_grid == "pad" else (14, 18)
    assert levels.tolist() == [[8, 2 * rows, 2 * columns], [16, rows, columns], [32, rows // 2, columns // 2]]
    head = np.random.default_rng(1).normal(0, 1.5, spec.outputs[0].shape).astype(np.float32)
    of = np.repeat(levels.astype(float), levels[:, 1].astype(int) * levels[:, 2], axis=0)
    number = np.concatenate([np.arange(int(r) * int(c)) for _, r, c in levels])
    place = np.stack([number % of[:, 2], number // of[:, 2]], axis=1)
    wide = head.astype(np.float64)
    boxes = np.concatenate([(wide[:, :2] + place) * of[:, :1], np.exp(wide[:, 2:4]) * of[:, :1]], axis=1)
    scores = 1 / (1 + np.exp(-wide[:, 4:5])) / (1 + np.exp(-wide[:, 5:]))
    expected, found = keep(boxes, scores, spec.task, SENSOR), decode(head, levels, spec.task, SENSOR)
    assert found.left_out == expected.left_out > 0  # more than 1,000 of high enough a score
    few = decode(head, levels, spec.task, SENSOR, most=50)
    assert few.boxes["number"].tolist() == keep(boxes, scores, spec.task, SENSOR, most=50).boxes["number"].tolist()
    for name in ("number", "label"):
        np.testing.assert_array_equal(found.boxes[name], expected.boxes[name])
    for name in ("x", "y", "w", "h", "score"):
        np.testing.assert_allclose(found.boxes[name], expected.boxes[name], rtol=1e-5, atol=1e-4)


def test_of_equal_boxes_of_a_head_the_lowest_number_comes_first() -> None:
    spec = detector(2)
    assert isinstance(spec.task, Detection)
    head = np.zeros(spec.outputs[0].shape, np.float32)
    head[:, 2:4] = -3.0  # none covers another
    head[:, 4:] = -9.0
    head[[1300, 7, 900], 4:] = 4.0  # of equal scores, and of classes that are equal too
    head[[40, 3], 4] = np.nan, np.inf  # no number; and sure of an object, of no class
    found = decode(head, levels_of(spec), spec.task, SENSOR).boxes
    assert found["number"].tolist() == [7, 900, 1300]
    assert found["label"].tolist() == [0, 0, 0]


def test_a_head_of_another_shape_is_named() -> None:
    spec = detector(2)
    assert isinstance(spec.task, Detection)
    with pytest.raises(UsageError, match=r"has the shape \[1680, 7\], not \[1680, 8\]"):
        decode(np.zeros((1680, 8)), levels_of(spec), spec.task, SENSOR)


def by_definition(boxes: NDArray[Any], scores: NDArray[Any], rule: Detection) -> list[int]:
    """Numbers of the boxes that stay, before they are cut."""
    best = scores.max(axis=1)
    kept: list[int] = []
    for i in sorted(np.flatnonzero(best >= np.float32(rule.score)).tolist(), key=lambda i: (-best[i], i)):
        low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
        same = [k for k in kept if scores[k].argmax() == scores[i].argmax()]
        both = np.clip(np.minimum(high[same], high[i]) - np.maximum(low[same], low[i]), 0, None).prod(axis=1)
        union = boxes[same, 2:].prod(axis=1) + boxes[i, 2:].prod() - both
        if not (both / union > rule.nms_iou).any():
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(20))
def test_boxes_equal_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes = random.integers(1, 12, (150, 4)).astype(np.float32) * 8  # many equal ones, all with a part on the sensor
    scores = random.integers(0, 5, (150, 3)).astype(np.float32) / 4
    rule = task(3, 0.25, 0.4)
    assert keep(boxes, scores, rule, SENSOR).boxes["number"].tolist() == by_definition(boxes, scores, rule)


def test_more_candidates_than_room_are_counted() -> None:
    boxes = np.tile(np.array([20, 20, 8, 8], np.float32), (5, 1)) + np.arange(5, dtype=np.float32)[:, None] * [
        20,
        0,
        0,
        0,
    ]
    kept = keep(boxes, np.array([[0.5], [0.9], [0.05], [0.7], [0.8]], np.float32), task(1), SENSOR, most=2)
    assert kept.boxes["number"].tolist() == [1, 4]
    assert kept.left_out == 2


def test_boxes_outside_the_sensor_and_no_numbers_are_left_out() -> None:
    boxes = np.array([[-9, 5, 8, 8], [5, 5, 8, 8], [np.nan, 5, 8, 8], [5, 50, np.inf, 8], [400, 5, 8, 8]], np.float32)
    kept = keep(boxes, np.ones((5, 1), np.float32), task(1), SENSOR).boxes
    assert kept["number"].tolist() == [1]
    assert [float(kept[name][0]) for name in "xywh"] == [1, 1, 8, 8]


def test_no_boxes_stay_none() -> None:
    assert len(keep(np.zeros((0, 4)), np.zeros((0, 2)), task(2), SENSOR).boxes) == 0


def test_shapes_that_do_not_go_together_are_named() -> None:
    with pytest.raises(UsageError, match=r"\[n, 2\], not \[3, 4\] with \[3, 1\]"):
        keep(np.zeros((3, 4)), np.zeros((3, 1)), task(2), SENSOR)
