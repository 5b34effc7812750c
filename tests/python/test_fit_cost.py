"""What training costs: the processes that load count, and the share of time that steps wait for data."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import pytest

from tests.needs import needs

needs("torch", "lightning")

from spedge.training import train  # noqa: E402
from spedge.training.fit.waiting import Waiting  # noqa: E402
from tests.python.test_fit import SMALL, equal, weights  # noqa: E402
from tests.python.test_training import digits  # noqa: E402, F401


def test_what_loads_is_counted_and_changes_nothing(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    few = {**SMALL, "steps": 20}
    one = train("nmnist-pico", digits, tmp_path / "one", recipe={**few, "workers": 0}, bundle=False)
    before = os.times()
    two = train("nmnist-pico", digits, tmp_path / "two", recipe={**few, "workers": 1}, bundle=False)
    after = os.times()
    assert equal(weights(tmp_path / "one"), weights(tmp_path / "two"))
    own = after.user + after.system - before.user - before.system
    loaders = after.children_user + after.children_system - before.children_user - before.children_system
    assert one is not None and two is not None
    assert loaders > 0.05
    assert two.cpu_seconds == pytest.approx(own + loaders, abs=0.5 * loaders)  # what it takes to begin and to end


def test_waiting_is_what_lies_between_a_step_and_its_batch() -> None:
    now = 0.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    waiting = Waiting(lambda: now)
    assert math.isnan(waiting.share)
    waiting.begins()  # the first: workers were started for it
    for step, late, look in ((3.0, 1.0, 100.0), (5.0, 0.0, 0.0), (4.0, 2.0, 0.0)):
        passes(step)
        waiting.ends()
        passes(look)
        waiting.free()
        passes(late)
        waiting.begins()
    assert (waiting.stepped, waiting.waited) == (12.0, 3.0)
    assert waiting.share == 0.2


def test_the_last_look_is_in_the_curves(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    """Of a run that ends within a time through the data, too."""
    report = train("nmnist-pico", digits, tmp_path, recipe={**SMALL, "steps": 3}, bundle=False)
    assert report is not None
    with (tmp_path / "curves.csv").open(newline="") as file:
        rows = [(int(row["step"]), row["val/accuracy"], row["val/loss"]) for row in csv.DictReader(file)]
    (step, accuracy, loss), *_ = [row for row in rows if row[1]]
    assert step == 3
    assert float(accuracy) == pytest.approx(report.top1, abs=1e-5)
    assert float(loss) > 0


def test_waiting_is_in_the_curves(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    told: dict[int, float] = {}  # by step: progress is told within long epochs, too
    train(
        "nmnist-pico",
        digits,
        tmp_path,
        recipe=SMALL,
        bundle=False,
        on_progress=lambda state: told.update({state.step: state.waiting}),
    )
    with (tmp_path / "curves.csv").open(newline="") as file:
        shares = {int(row["step"]): float(row["train/waiting"]) for row in csv.DictReader(file) if row["train/waiting"]}
    assert len(shares) == 2  # times through the data
    assert all(0 < share < 1 for share in shares.values())
    assert {step: told[step] for step in shares} == pytest.approx(shares, rel=1e-4)
