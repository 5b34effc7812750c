"""Precisions, and what a GPU needs of batches, as far as it can be seen without one."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs

needs("torch", "lightning")

import torch  # noqa: E402
from lightning.fabric.utilities import move_data_to_device  # noqa: E402
from torch.utils.data._utils.pin_memory import pin_memory  # noqa: E402

from spedge.training.data.base import Sample  # noqa: E402
from spedge.training.fit.loading import LookItems, threads  # noqa: E402
from spedge.training.fit.module import Fit  # noqa: E402
from spedge.training.models.registry import make_model  # noqa: E402
from spedge.training.represent.collate import Batch, collate  # noqa: E402
from spedge.training.tasks.classification import loss_of  # noqa: E402
from tests.fit_runs import Made, fit_made, small  # noqa: E402

FAMILIES = ["DG-T-SP", "DG-GNN-SP", "DG-GNN-E", "DG-PCN-SP", "DG-PCN-E"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


def batch_of(name: str, samples: int = 3) -> Batch:
    spec = small(name).spec()
    items = LookItems(Made(len(spec.labels)).samples, spec)
    return collate([items[number] for number in range(samples)])


def leaves(value: Any) -> list[Any]:
    """Everything in nested tuples."""
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_moves_to_a_device_whole(name: str) -> None:
    """Every tensor, with its type; numbers and what is not there stay."""
    batch = batch_of(name)
    moved = move_data_to_device(batch, torch.device("meta"))
    assert type(moved) is Batch
    assert type(moved.inputs) is type(batch.inputs)
    assert (moved.points, moved.samples) == (batch.points, batch.samples)
    for before, after in zip(leaves(batch), leaves(moved), strict=True):
        assert type(before) is type(after)
        if isinstance(before, torch.Tensor):
            assert after.is_meta
            assert (after.dtype, after.shape) == (before.dtype, before.shape)
        else:
            assert after == before
    nothing = batch._replace(inputs=None)
    assert move_data_to_device(nothing, torch.device("meta")).inputs is None


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_is_pinned_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a loader for a GPU."""
    pinned: list[int] = []

    def pin(self: torch.Tensor, *_: Any) -> torch.Tensor:
        pinned.append(id(self))
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    batch = batch_of(name)
    again: Any = pin_memory(batch)  # type: ignore[no-untyped-call]
    assert type(again) is Batch
    assert type(again.inputs) is type(batch.inputs)
    assert set(pinned) == {id(leaf) for leaf in leaves(batch) if isinstance(leaf, torch.Tensor)}


def losses(run: Path) -> list[float]:
    with (run / "curves.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.train
@pytest.mark.parametrize("name", ["DG-T-SP", "DG-GNN-SP", "DG-PCN-SP"])
def test_bf16_is_close_to_fp32(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[torch.dtype] = set()
    step = Fit.training_step

    def watched(self: Fit, *arguments: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            seen.add(torch.get_autocast_dtype("cpu"))
        return step(self, *arguments)

    monkeypatch.setattr(Fit, "training_step", watched)
    recipe: dict[str, Any] = {"batch": 6, "steps": 3, "accumulate": 1, "workers": 0, "log_steps": 1, "dropout": 0.0}
    for precision in ("fp32", "bf16"):
        fit_made(name, tmp_path / precision, **recipe, precision=precision)
    assert seen == {torch.bfloat16}
    full, half = losses(tmp_path / "fp32"), losses(tmp_path / "bf16")
    assert len(full) == len(half) == 3
    assert half == pytest.approx(full, rel=0.05)
    assert half != full
    assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.parametrize("name", ["DG-T-SP", "DG-GNN-SP", "DG-PCN-SP"])
@pytest.mark.parametrize("events", [0, 300])
def test_every_weight_has_a_gradient(name: str, events: int) -> None:
    """Also where no token comes: several processes wait for the gradients of all."""
    spec = small(name).spec()
    made = Made(len(spec.labels)).samples
    items = LookItems([Sample(sample.events[:events], sample.label, sample.name) for sample in made], spec)
    batch = collate([items[number] for number in range(3)])
    if batch.inputs is None:
        return  # of a graph nothing can be made: the trainer takes a loss of 0 of all weights
    model = make_model(spec)
    loss_of(model.of_batch(batch.inputs), batch.labels).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_gpu_check_says_when_there_is_no_gpu(repository: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, repository / "tools/gpu-check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "gpu-check: there is no GPU that torch can use here.\n"


@pytest.mark.train
def test_gpu_check_without_a_gpu(repository: Path) -> None:
    """The same code, small."""
    command = [sys.executable, str(repository / "tools/gpu-check"), "--accelerator", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  good\n") == 9
    assert "all is as it should be" in done.stdout
