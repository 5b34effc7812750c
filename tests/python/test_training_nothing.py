"""Training that has trained nothing is no success: a sentence, an exit code, and no checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import InputError, UsageError
from spedge.cli import execute
from spedge.events.arrays import EVENT_DTYPE
from spedge.training.data.base import Dataset, Sample
from spedge.training.presets import PRESETS, Preset
from tests.needs import needs

needs("torch")

import torch  # noqa: E402

from spedge.training import material, train  # noqa: E402
from spedge.training.train import TrainingError  # noqa: E402


def sample(label: int, number: int, events: int = 400) -> Sample:
    """Events that all fall into two patches, which gives tokens when there are hundreds."""
    made = np.zeros(events, EVENT_DTYPE)
    made["t"] = np.arange(events) * 50 + number
    made["x"], made["y"] = 4 + label + np.arange(events) % 3, 5
    return Sample(made, label, f"{label}/{number}")


def dataset(events: int = 400) -> Dataset:
    samples = tuple(sample(label, number, events) for label in range(10) for number in range(6))
    return Dataset("nmnist", 34, 34, tuple("0123456789"), samples, ())


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a data set in the place of what would be read."""

    def put(made: Dataset) -> None:
        monkeypatch.setattr(material, "load_dataset", lambda *_: made)

    put(dataset())
    return put


def quick(**recipe: Any) -> Preset:
    chosen = PRESETS["nmnist-pico"]
    return replace(chosen, recipe=replace(chosen.recipe, steps=2, holdout=0.33, **recipe))


def test_the_budget_is_over_before_the_first_step(data: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert execute(["train", "--preset", "nmnist-pico", "--out", str(tmp_path / "out"), "--minutes", "1e-9"]) == 2
    message = capsys.readouterr().err
    assert "Nothing was learned: 1e-09 minutes of CPU time were over before the first step" in message
    assert not (tmp_path / "out").exists()


def test_a_schedule_of_no_steps(data: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="steps is 0: it must be at least 1"):
        train(replace(quick(), recipe=replace(quick().recipe, steps=0)), None, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("events", [0, 3])
def test_recordings_without_a_token(data: Any, tmp_path: Path, events: int) -> None:
    data(dataset(events))
    with pytest.raises(InputError, match=r"none of \d+ recordings gives a single token"):
        train(quick(), None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_only_those_to_learn_from_are_empty(data: Any, tmp_path: Path) -> None:
    few, many = dataset(0), dataset()
    data(replace(few, test=many.train))
    with pytest.raises(InputError, match="none of 60 recordings gives a single token"):
        train(quick(), None, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["at once", "in the last step"])
def test_a_loss_that_is_no_number(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """A learning rate out of bounds; and weights that are lost in the last step, whose loss is still good."""
    (tmp_path / "checkpoint.pt").write_bytes(b"of an earlier training")
    if when == "at once":
        chosen = quick(learning_rate=1e20)
    else:
        chosen = quick()
        step = torch.optim.AdamW.step

        def broken(self: Any, *arguments: Any, **options: Any) -> Any:
            loss = step(self, *arguments, **options)
            with torch.no_grad():
                for group in self.param_groups:
                    for weight in group["params"]:
                        weight.fill_(float("nan"))
            return loss

        monkeypatch.setattr(torch.optim.AdamW, "step", broken)
        chosen = replace(chosen, recipe=replace(chosen.recipe, steps=1))
    with pytest.raises(TrainingError, match="no number any more") as caught:
        train(chosen, None, tmp_path)
    assert caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"of an earlier training"


def test_interrupted_before_the_first_step(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spedge.training.fit.loading.augment", interrupt)
    assert execute(["train", "--preset", "nmnist-pico", "--workers", "0", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "spedge: error: interrupted\n"
    assert not list(tmp_path.iterdir())


def test_too_few_samples_to_hold_out() -> None:
    dataset = Dataset("x", 34, 34, tuple("0123456789"), (sample(0, 0),), ())
    with pytest.raises(UsageError, match="too few"):
        dataset.split(0.1, 0)
