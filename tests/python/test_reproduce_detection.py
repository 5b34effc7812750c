"""`make reproduce-detection` on a few digits: it walks the road, goes on, and says what is too low."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.detection_sets import digit
from tests.events import nmnist_bytes
from tests.needs import needs
from tests.reproduce.detection import LEAST, SAME, differences, learn, make, on_board, problems, score

needs("torch", "lightning", "h5py", "faster_coco_eval", "PIL")


RECIPE = {"steps": 2, "batch": 2, "workers": 0}


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    folder = tmp_path / "nmnist"
    for number in range(20):
        sample = digit(number % 10, number)
        path = folder / "Train" / str(sample.label) / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nmnist_bytes(sample.events))
    return folder


def test_the_road_on_a_few_digits(digits: Path, tmp_path: Path) -> None:
    """Digits of one's own are all of the test part; begun again, nothing is made twice."""
    said: list[str] = []
    make(digits, digits, tmp_path, say=said.append, rounds=1)
    assert said[-1] == "made: 100%"
    count = len(said)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "raw").rglob("*_td.dat")}
    make(digits, digits, tmp_path, say=said.append, rounds=1)
    assert len(said) == count
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "raw").rglob("*_td.dat")}
    assert learn(tmp_path, recipe=RECIPE, bundle=False).steps == 2
    found = score(tmp_path)
    tests = [path.name.removesuffix("_td.dat") for path in sorted((tmp_path / "raw" / "test").glob("*_td.dat"))]
    assert [Path(name).name for name in found.recordings] == tests
    assert (tmp_path / "frames.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "raw" / "made.json").read_text())["test"] == str(digits)
    assert len(problems(found.precision.figures)) == len(LEAST)


@pytest.mark.train
def test_a_board_sends_the_boxes_that_the_model_finds(digits: Path, tmp_path: Path) -> None:
    """A model that has learned next to nothing finds boxes everywhere, and no less alike."""
    make(digits, digits, tmp_path, rounds=1)
    learn(tmp_path, recipe=RECIPE)
    found = score(tmp_path).precision.figures
    sent = on_board(tmp_path, "sim")
    assert sent["recordings"] == 2
    assert differences(found, sent, "sim") == []


def test_boxes_of_a_board_that_are_others_are_said() -> None:
    assert differences(LEAST, {name: least + SAME / 2 for name, least in LEAST.items()}, "sim") == []
    assert differences(LEAST, {**LEAST, "mAP": 0.4}, "sim") == [
        f"mAP is 0.400 of the boxes that sim sends, and {LEAST['mAP']:.3f} of the model's."
    ]


@pytest.mark.parametrize("low", ["mAP", "mAP@.50"])
def test_what_is_too_low_is_said(low: str) -> None:
    assert problems(LEAST) == []
    assert problems({**LEAST, low: 0.4}) == [f"{low} is 0.400, and {LEAST[low]} is claimed."]
