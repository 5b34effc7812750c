"""The paper's augmentation: each change equals the authors' for the same draw, and is drawn by the stated law."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.training.augment import boxes as on_boxes
from spedge.training.augment import paper, transforms
from spedge.training.augment.cutmix import box_of, cutmix, draw_area
from spedge.training.augment.transforms import Area, area_around
from tests.golden_models import Case, arrays

WIDTH = HEIGHT = 128


def as_records(rows: NDArray[Any]) -> NDArray[Any]:
    events = np.zeros(len(rows), spedge.EVENT_DTYPE)
    events["t"], events["x"], events["y"], events["p"] = rows.T
    return events


def rows_of(events: NDArray[Any]) -> NDArray[np.int64]:
    return np.stack([events[name].astype(np.int64) for name in ("t", "x", "y", "p")], axis=1)


def changes(result: str) -> list[tuple[str, str]]:
    """(case, change) of those whose changes have such a result: "label", or "boxes"."""
    return [(name, array.removesuffix(f".{result}")) for name, array in arrays(7, array=rf"\.{result}$")]


def changed(case: Case, name: str) -> NDArray[Any]:
    """What our change of that name makes of the case's events, with its draws."""
    width, height = case.about["sensor"]
    events, draws = as_records(case["events"]), case[f"{name}.draws"]
    kind = name.rstrip("0123456789")
    changed: NDArray[Any]
    match kind:
        case "drop-area":
            changed = transforms.drop_area(events, area_around(int(draws[1]), int(draws[2]), draws[0], width, height))
        case "drop-time":
            changed = transforms.drop_time(events, *draws)
        case "drop-events":
            changed = transforms.drop_events(events, draws[0], case[f"{name}.uniform"])
        case "shear":
            changed = transforms.shear(events, draws[0], width)
        case "roll":
            changed = transforms.roll(events, int(draws[0]), int(draws[1]), width, height)
        case "rotate":
            changed = transforms.rotate(events, draws[0], width, height)
        case _:
            assert kind.startswith("flip"), f"there is no change {kind}"
            changed = transforms.flip(events, width)
    return changed


@pytest.mark.parametrize(("case_name", "name"), changes("label"))
def test_a_change_is_the_authors(case_name: str, name: str) -> None:
    case = Case(case_name)
    width, height = case.about["sensor"]
    label = np.zeros_like(case[f"{name}.label"])
    label[case["classes"][0]] = 1
    if name.startswith("cutmix"):
        share, x, y = case[f"{name}.draws"]
        across, down = box_of(share, width, height)
        area = Area(int(x) - across // 2, int(x) + across // 2, int(y) - down // 2, int(y) + down // 2)
        events, own = cutmix(as_records(case["events"]), as_records(case["other"]), area)
        label *= own
        label[case["classes"][1]] += 1 - own
    else:
        events = changed(case, name)
    if name.startswith("flip"):
        label[:] = 0
        draws = case[f"{name}.draws"]
        if name == "flip-soft":
            label[[1, 4]] = draws
        else:
            label[int(draws[0])] = 1
        label = paper.Mirror(((1, 2), (3, 6), (4, 5))).flip(label)
    np.testing.assert_array_equal(rows_of(events), case[f"{name}.events"])
    np.testing.assert_allclose(label, case[f"{name}.label"], atol=1e-6)


@pytest.mark.parametrize(("case_name", "name"), [(c, n) for c, n in changes("boxes") if not n.startswith("shear")])
def test_a_change_with_boxes_is_the_authors(case_name: str, name: str) -> None:
    case = Case(case_name)
    width, height = case.about["sensor"]
    np.testing.assert_array_equal(rows_of(changed(case, name)), case[f"{name}.events"])
    rows = case["boxes"]
    boxes, draws = rows[:, 1:5], case[f"{name}.draws"]
    kept = np.ones(len(boxes), np.bool_)
    if name == "flip":
        boxes = on_boxes.flip_boxes(boxes, width)
    elif name.startswith("drop-area"):
        kept = on_boxes.untouched(boxes, area_around(int(draws[1]), int(draws[2]), draws[0], width, height))
    elif name.startswith("rotate"):
        boxes, kept = on_boxes.rotate_boxes(boxes, draws[0], width, height)
    got = np.column_stack([rows[kept, 0], boxes[kept], rows[kept, 5]])
    np.testing.assert_allclose(got, case[f"{name}.boxes"], rtol=0, atol=1e-9)


# ---------------------------------------------------------------- the laws of the draws


def scene(n: int = 2000, seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.sort(random.choice(1_000_000, n, replace=False))
    events["x"], events["y"], events["p"] = (random.integers(0, high, n) for high in (WIDTH, HEIGHT, 2))
    return events


def test_a_change_leaves_its_input_as_it_was() -> None:
    events, other = scene(), scene(seed=1)
    kept = events.copy(), other.copy()
    area = area_around(40, 60, 0.5, 128, 128)
    results = [
        transforms.flip(events, 128),
        transforms.drop_area(events, area),
        transforms.drop_time(events, 0.2, 0.3),
        transforms.drop_events(events, 0.5, np.linspace(0, 1, len(events))),
        transforms.shear(events, 0.2, 128),
        transforms.roll(events, 3, -2, 128, 128),
        transforms.rotate(events, 0.3, 128, 128),
        cutmix(events, other, area)[0],
    ]
    for result in results:
        assert result.dtype == events.dtype
        assert 0 < len(result) <= len(events) + len(other)
        result["x"], result["t"] = 0, 0
    np.testing.assert_array_equal(events, kept[0])
    np.testing.assert_array_equal(other, kept[1])


def test_a_cutmix_box_lies_inside_and_covers_a_uniform_share() -> None:
    random = np.random.default_rng(0)
    areas = [draw_area(random, WIDTH, HEIGHT) for _ in range(4000)]
    assert all(a.left >= 0 and a.top >= 0 and a.right <= WIDTH and a.bottom <= HEIGHT for a in areas)
    sides = np.array([(a.right - a.left, a.bottom - a.top) for a in areas])
    assert (sides[:, 0] == sides[:, 1]).all()
    covered = ((sides[:, 0] / WIDTH) ** 2).astype(float)
    assert abs(covered.mean() - 0.5) < 0.02  # 1 - U(0, 1), sides rounded down to even numbers
    assert abs(np.quantile(covered, 0.25) - 0.25) < 0.03
    assert abs(np.mean([a.left + a.right for a in areas]) / 2 - WIDTH / 2) < 1


def test_labels_are_mixed_by_the_share_of_events() -> None:
    own, other = scene(1500, 1), scene(3000, 2)
    area = Area(0, 63, 0, 127)
    mixed, share = cutmix(own, other, area)
    assert share == (own["x"] > 63).sum() / len(mixed)
    assert (np.diff(mixed["t"].astype(np.int64)) >= 0).all()
    assert cutmix(own[:0], other[:0], area)[1] == 1.0


def kinds_drawn(monkeypatch: pytest.MonkeyPatch, n: int) -> tuple[Counter[str], dict[str, list[tuple[float, ...]]]]:
    """Which changes a classifier's sample gets, and with which numbers."""
    counted: Counter[str] = Counter()
    numbers: dict[str, list[tuple[float, ...]]] = {}
    for name in ("flip", "drop_area", "drop_time", "drop_events", "shear", "roll", "rotate"):
        real = getattr(transforms, name)

        def noted(events: Any, *draws: Any, name: str = name, real: Any = real) -> Any:
            counted[name] += 1
            numbers.setdefault(name, []).append(draws)
            return real(events, *draws)

        monkeypatch.setattr(transforms, name, noted)
    change = paper.ClassifierChanges(WIDTH, HEIGHT)
    random, events, label = np.random.default_rng(5), scene(50), np.eye(3, dtype=np.float32)[0]
    for _ in range(n):
        change(events, label, lambda: (events, label), random)
    return counted, numbers


def test_one_of_seven_is_drawn_as_often_and_in_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 7000
    counted, numbers = kinds_drawn(monkeypatch, n)
    assert abs(counted.pop("flip") / n - 0.5) < 0.02
    assert abs(n - sum(counted.values()) - n / 7) < 100  # nothing
    assert all(abs(count - n / 7) < 100 for count in counted.values())
    assert len(counted) == 6
    sides = np.array([(a.right - a.left) / WIDTH for (a,) in numbers["drop_area"]])  # type: ignore[attr-defined]
    assert 0.04 < sides.min() < 0.07 and 0.48 < sides.max() <= 0.51
    start, length = np.array(numbers["drop_time"]).T
    assert (
        0 <= start.min() < 0.01
        and 0.99 < start.max() < 1
        and 0.1 <= length.min() < 0.11
        and 0.74 < length.max() <= 0.75
    )
    share = np.array([draw[0] for draw in numbers["drop_events"]])
    assert 0.1 <= share.min() < 0.11 and 0.74 < share.max() <= 0.75
    slope = np.array([draw[0] for draw in numbers["shear"]])
    assert -0.3 <= slope.min() < -0.29 and 0.29 < slope.max() <= 0.3
    shifts = np.array([draw[:2] for draw in numbers["roll"]])
    assert set(shifts.ravel().tolist()) == set(range(-5, 6))
    turns = np.array([draw[0] for draw in numbers["rotate"]])
    assert -math.pi / 6 <= turns.min() < -0.51 and 0.51 < turns.max() <= math.pi / 6


def test_what_would_leave_nothing_leaves_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    events, label = scene(1), np.ones(1, np.float32)
    change, random = paper.ClassifierChanges(WIDTH, HEIGHT, None), np.random.default_rng(0)
    monkeypatch.setattr(paper, "cutmix", lambda events, other, area: (events, 1.0))
    for name in ("shear", "rotate"):
        monkeypatch.setattr(transforms, name, lambda events, *_: events)
    for _ in range(300):
        assert len(change(events, label, lambda: (events, label), random)[0]) == 1


@pytest.mark.parametrize(("stream", "kinds", "turn"), [(False, 5, 20), (True, 4, 10)])
def test_detection_draws_by_its_own_law(stream: bool, kinds: int, turn: float) -> None:
    random = np.random.default_rng(6)
    drawn = [paper.draw_boxed(random, 304, 240, stream) for _ in range(5000)]
    counted = Counter(change.kind for change in drawn)
    assert len(counted) == kinds and all(abs(count - 5000 / kinds) < 150 for count in counted.values())
    assert abs(np.mean([change.flip for change in drawn]) - 0.5) < 0.03
    angles = np.rad2deg([change.numbers[0] for change in drawn if change.kind == "rotate"])
    assert -turn <= angles.min() < -0.97 * turn and 0.97 * turn < angles.max() <= turn
    areas = [change.numbers[0] for change in drawn if change.kind == "area"]
    assert stream or (0.05 <= min(areas) < 0.06 and 0.29 < max(areas) <= 0.3)


def test_a_boxed_change_is_the_same_each_time() -> None:
    events, boxes = scene(), np.array([[10.0, 10, 20, 30], [70, 80, 20, 20]])
    for seed in range(30):
        change = paper.draw_boxed(np.random.default_rng(seed), WIDTH, HEIGHT, stream=False)
        first, second = change(events, boxes, WIDTH, HEIGHT), change(events, boxes, WIDTH, HEIGHT)
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
        assert len(first[1]) == len(first[2]) <= len(boxes)
