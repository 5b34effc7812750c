"""Boxes from a detector's outputs: equal to the authors', and to their definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.boxes import keep
from spedge.model.parts import Detection, Sensor
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
