"""Mean average precision: equal to what the authors' evaluation gave, and to pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.training.metrics.coco import FIGURES, SCORED_DTYPE, Precision, Rule, mean_average_precision
from tests.golden_models import Case, cases
from tests.needs import needs

needs("faster_coco_eval", "pycocotools")


def rows(case: Case, what: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Boxes, and the number of the recording of each."""
    boxes = np.zeros(len(case[f"{what}_t"]), SCORED_DTYPE)
    boxes["t"], boxes["label"] = case[f"{what}_t"], case[f"{what}_class"]
    for i, side in enumerate("xywh"):
        boxes[side] = case[f"{what}_box"][:, i]
    if what == "prediction":
        boxes["score"] = case["prediction_score"]
    return boxes, case[f"{what}_recording"]


@pytest.mark.parametrize("name", cases(5, array="^map$"))
def test_figures_are_the_authors(name: str) -> None:
    case = Case(name)
    side, diagonal = (10, 30) if case.about["sensor"] == [304, 240] else (20, 60)
    rule = Rule(side, diagonal, case.about["skip_before_us"], case.about["time_tolerance_us"])
    (labels, of), (predictions, by) = rows(case, "label"), rows(case, "prediction")
    np.testing.assert_array_equal(np.flatnonzero(rule.counts(labels)), case["label_kept"])
    np.testing.assert_array_equal(np.flatnonzero(rule.counts(predictions)), case["prediction_kept"])
    recordings = [(labels[of == r], predictions[by == r]) for r in np.unique(of)]
    got = mean_average_precision(recordings, 1 + int(labels["label"].max()), rule)
    np.testing.assert_allclose([got.figures[name] for name in FIGURES], case["map"], atol=1e-6)
    assert got.labels == len(case["label_kept"])


def drawn(seed: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Recordings whose predictions are their labels, moved, and others."""
    random = np.random.default_rng(seed)
    out = []
    for _ in range(3):
        labels = np.zeros(40, SCORED_DTYPE)
        labels["t"] = random.integers(6, 16, 40) * 100_000
        for name, high in zip("xywh", (200, 150, 150, 120), strict=True):
            labels[name] = random.integers(12, high, 40)
        labels["label"] = random.integers(0, 2, 40)
        found = np.concatenate([labels, labels[:15]])
        for name in "xywh":
            found[name] += random.normal(0, 4, len(found)).astype(np.float32)
        found["t"] += random.integers(-30_000, 30_000, len(found))
        found["score"] = random.random(len(found))
        out.append((labels, found))
    return out


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rule = Rule(10, 30)
    recordings = drawn(seed)
    got = mean_average_precision(recordings, 2, rule)
    images: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for labels, predictions in recordings:
        for t in sorted(set(labels["t"][rule.counts(labels)].tolist())):
            images.append({"id": len(images)})
            for boxes, into in ((labels, truths), (predictions, found)):
                reach = 0 if into is truths else rule.tolerance_us
                for box in boxes[rule.counts(boxes) & (np.abs(boxes["t"] - t) <= reach)]:
                    x, y, w, h = (float(box[name]) for name in "xywh")
                    into.append({
                        "id": len(into) + 1, "image_id": images[-1]["id"], "category_id": int(box["label"]),
                        "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, "score": float(box["score"]),
                    })  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {}, "images": images, "annotations": truths, "categories": [{"id": i} for i in range(2)],
        }  # fmt: skip
        truth.createIndex()
        scored = COCOeval(truth, truth.loadRes(found), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    np.testing.assert_allclose([got.figures[name] for name in FIGURES], scored.stats[:6], atol=1e-6)
    assert 0.2 < got.best_by < 0.999


def exact(boxes: list[tuple[int, float, float, int, float]]) -> NDArray[Any]:
    """(t, x, side, label, score) each."""
    return np.array([(t, x, 50, side, side, label, score) for t, x, side, label, score in boxes], SCORED_DTYPE)


def score(labels: NDArray[Any], predictions: NDArray[Any]) -> Precision:
    return mean_average_precision([(labels, predictions)], 2, Rule(10, 30))


def test_all_found_is_one_and_nothing_found_is_zero() -> None:
    labels = exact([(600_000, 10, 40, 0, 0), (600_000, 100, 120, 1, 0)])
    found = labels.copy()
    found["score"] = 0.5
    whole = score(labels, found)
    assert whole.figures == {"mAP": 1, "mAP@.50": 1, "mAP@.75": 1, "mAP@S": -1, "mAP@M": 1, "mAP@L": 1}
    assert whole.per_class == {0: (1, 1), 1: (1, 1)}
    assert whole.recall == {"all": 1, "S": -1, "M": 1, "L": 1}
    assert score(labels, found[:0]).figures["mAP"] == 0


def test_what_does_not_count_does_neither_way() -> None:
    labels = exact([(500_000, 10, 40, 0, 0), (700_000, 10, 5, 0, 0), (900_000, 10, 40, 0, 0)])
    right = exact([(900_000, 10, 40, 0, 0.5)])
    wrong = exact([(500_000, 200, 40, 0, 0.9), (700_000, 200, 40, 0, 0.9), (900_000, 200, 5, 0, 0.9)])
    assert score(labels, np.concatenate([wrong, right])).best_by == 1
    assert score(labels, np.concatenate([exact([(900_000, 200, 40, 0, 0.9)]), right])).best_by < 1
    assert score(labels[:2], right).figures == dict.fromkeys(FIGURES, -1)


@pytest.mark.parametrize(("late", "found"), [(25_000, 1), (25_001, 0)])
def test_a_prediction_belongs_to_a_label_within_the_tolerance(late: int, found: float) -> None:
    assert score(exact([(600_000, 10, 40, 0, 0)]), exact([(600_000 + late, 10, 40, 0, 0.5)])).best_by == found
