"""What a training does not begin or go on with: a sentence, its exit code, and what was done is there still."""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from spedge.base.errors import InputError
from tests.needs import needs

needs("torch", "lightning")

import torch  # noqa: E402

from spedge.cli import execute  # noqa: E402
from spedge.training import train  # noqa: E402
from spedge.training.fit.loading import LearnItems  # noqa: E402
from spedge.training.fit.module import Fit  # noqa: E402
from spedge.training.fit.state import State  # noqa: E402
from spedge.training.progress import TrainingError  # noqa: E402
from tests.fit_runs import fit_made, start  # noqa: E402
from tests.python.test_fit_kills import KILLED, assert_same, command, kept  # noqa: E402
from tests.python.test_training import digits  # noqa: E402, F401

SHORT = ["--steps", "6", "--accumulate", "1", "--checkpoint-minutes", "0"]


@pytest.fixture
def refused(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: F811
    """What a training says that ends with a code."""

    def run(*options: object, code: int = 2, preset: str = "nmnist-pico") -> str:
        capsys.readouterr()
        given = ["train", preset, "--data", str(digits), "--run", str(tmp_path / "run"), "--no-bundle"]
        assert execute([*given, "--batch", "8", *SHORT, *map(str, options)]) == code
        said = capsys.readouterr().err
        assert code == 0 or said.count("\n") == 1, said
        return said

    return run


# ---------------------------------------------------------------- the machine


def test_what_a_machine_has_not(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no accelerator 'tpu'. Choose one of: auto, cpu, gpu" in refused("--accelerator", "tpu")
    assert "no precision 'fp64'. Choose one of: fp32, bf16, fp16" in refused("--precision", "fp64")
    assert "more than the" in refused("--devices", 4096, "--accelerator", "cpu")
    if not torch.cuda.is_available():
        assert "no GPU that torch can use: train with --accelerator cpu" in refused("--accelerator", "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "--devices 3 is more than the 2 GPUs" in refused("--devices", 3)


def test_what_several_machines_need(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert "--nodes 2 needs MASTER_ADDR and MASTER_PORT and NODE_RANK in the environment" in refused("--nodes", 2)
    for name, value in (("TORCHELASTIC_RUN_ID", "1"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert "torchrun started 2 processes on each of 2 machines" in refused("--devices", 3)


def test_fp16_without_a_gpu_is_fp32_and_says_so(
    refused: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refused("--precision", "fp16", code=0)
    assert "fp16 is for GPUs: training in fp32." in caplog.text
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (document["recipe"]["precision"], document["precision"]) == ("fp16", "fp32")
    assert "another precision (fp16, and not fp32)" in refused()


def test_compatibility_is_printed_and_recorded(
    digits: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(digits, tmp_path / "run", *SHORT, "--compat", "authors")() == 0
    assert "in fp32, as the authors do\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["compat"] == "authors"


# ---------------------------------------------------------------- the run's folder


def test_a_folder_of_another_run(
    refused: Any,
    digits: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    refused(code=0)
    before = kept(tmp_path / "run")
    assert "another seed (0, and not 1)" in refused("--seed", 1)
    assert "another number of processes (1, and not 2)" in refused("--devices", 2, "--accelerator", "cpu")
    assert "another compat" in refused("--compat", "authors")
    other = tmp_path / "other"
    (other / "0").mkdir(parents=True)
    (other / "1").mkdir()
    for number, file in enumerate(sorted((digits / "N-MNIST" / "Train").rglob("*.bin"))[:40]):
        (other / str(number % 2) / file.name).write_bytes(file.read_bytes())
    assert "another data fingerprint" in refused("--data", other)
    assert "another preset (nmnist-pico, and not nmnist-pico-voxel)" in refused(preset="nmnist-pico-voxel")
    assert kept(tmp_path / "run")["step"] == before["step"] == 6
    refused("--workers", 0, code=0)  # how samples are loaded is no other run


def damaged(path: Path, how: str) -> None:
    content = torch.load(path, weights_only=True)
    if how == "of another version":
        content["schema"] += 1
    elif how == "of another model":
        content["model"] = {name: value[:1] for name, value in content["model"].items() if value.dim()}
    elif how == "of another optimizer":
        content["optimizer"]["param_groups"] = content["optimizer"]["param_groups"][:1]
    elif how == "something else":
        content = torch.zeros(3)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        torch.save(content, path)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("of another version", "was written by another version of spedge"),
        ("of another model", "is of another model"),
        ("of another optimizer", "is of another model"),
        ("something else", "is no checkpoint of a run"),
        ("cut", "is no checkpoint of a run"),
    ],
)
def test_a_checkpoint_that_is_not_the_runs(refused: Any, tmp_path: Path, how: str, words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:  # killed in the middle, so that there is something to go on with
        patch.setattr(Fit, "count", functools.partialmethod(_stop_at, Fit.count, 4))
        assert execute_until(refused)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    damaged(last, how)
    before = last.read_bytes()
    said = refused(code=4)
    assert words in said
    assert "last.ckpt" in said
    assert last.read_bytes() == before
    last.unlink()  # as the sentence says
    refused(code=0)
    assert kept(tmp_path / "run")["step"] == 6


def _stop_at(self: Any, count: Any, batches: int, *arguments: Any) -> None:
    if self.batches == batches:
        raise KeyError("the process is gone")
    count(self, *arguments)


def execute_until(refused: Any) -> bool:
    return "KeyError" in refused(code=1)


def limited(most: int, work: Any) -> Any:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    return work()


def test_a_full_disk(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    """Files cannot become as large as a checkpoint; then as the curves."""
    options = [*SHORT, "--workers", "0"]  # whose memory is files, too
    whole, run = command(digits, tmp_path / "whole", *options), command(digits, tmp_path / "k", *options)
    assert start(whole, tmp_path / "log").code() == 0
    assert start(run, tmp_path / "log", ("before a batch", 4)).code() == KILLED
    before = kept(tmp_path / "k")["step"]
    assert before == 3
    for most, file in ((100_000, "checkpoints/last.ckpt"), (150, "tensorboard")):
        full = start(functools.partial(limited, most, run), tmp_path / "log")
        assert full.code() == 2
        assert full.said.startswith(f"spedge: error: {tmp_path / 'k' / file}")
        assert full.said.endswith("cannot be written: File too large\n")
        assert full.said.count("\n") == 1
        assert kept(tmp_path / "k")["step"] == before
    assert start(run, tmp_path / "log").code() == 0
    assert_same(tmp_path / "k", tmp_path / "whole")


# ---------------------------------------------------------------- on the way


def test_a_loaders_process_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LearnItems.__getitem__

    def killed(self: LearnItems, number: tuple[int, int]) -> Any:
        if torch.utils.data.get_worker_info() is not None and number[0] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, number)

    monkeypatch.setattr(LearnItems, "__getitem__", killed)
    with pytest.raises(TrainingError, match="begin again with fewer --workers"):
        fit_made("DG-PCN-SP", tmp_path, batch=6, steps=8, accumulate=1, workers=1)
    assert State.load(tmp_path / "checkpoints" / "last.ckpt").step >= 2


def test_a_sample_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: LearnItems, number: tuple[int, int]) -> Any:
        raise InputError("a/b.h5 is damaged (cut): make it again.")

    monkeypatch.setattr(LearnItems, "__getitem__", broken)
    for workers in (0, 1):
        with pytest.raises(InputError) as caught:
            fit_made("DG-PCN-SP", tmp_path, batch=6, steps=8, workers=workers)
        assert str(caught.value) == "a/b.h5 is damaged (cut): make it again."


def test_a_gpu_without_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(Fit, "training_step", full)
    with pytest.raises(TrainingError, match="too small for batches of 6: give a smaller --batch"):
        fit_made("DG-PCN-SP", tmp_path, batch=6, steps=8, workers=0)


# ---------------------------------------------------------------- Weights & Biases


class FakeWandb:
    """The part of the package that is used. away: a name that raises."""

    def __init__(self, away: str = "") -> None:
        self.away = away
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def _may(self, name: str) -> None:
        if name == self.away:
            raise RuntimeError("no network\nand more")

    def init(self, **about: Any) -> FakeWandb:
        self._may("init")
        self.begun.append(about)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self._may("log")
        self.logged.append((step, values))

    def finish(self) -> None:
        self._may("finish")
        self.finished += 1


@pytest.mark.parametrize(
    "away", ["", *(pytest.param(name, marks=pytest.mark.train) for name in ("init", "log", "finish"))]
)
def test_curves_in_weights_and_biases(
    refused: Any, tmp_path: Path, away: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeWandb(away)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    refused("--wandb", "patches", "--log-steps", 1, code=0)
    assert ("Weights & Biases is not told any more (no network): training goes on" in caplog.text) == bool(away)
    assert kept(tmp_path / "run")["step"] == 6
    if away == "init":
        return
    (about,) = fake.begun
    assert (about["project"], about["name"], about["resume"]) == ("patches", "run", "allow")
    assert about["config"]["preset"] == "nmnist-pico"
    assert about["id"] == (tmp_path / "run" / "wandb-id.txt").read_text()
    if not away:
        assert {step for step, values in fake.logged if "train/loss" in values} == set(range(1, 7))
        assert fake.finished == 1


@pytest.mark.train
def test_debug_logs_nothing(refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    refused("--wandb", "patches", "--debug", code=0)
    assert not fake.begun
    assert not (tmp_path / "run").exists()


def test_weights_and_biases_offline(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """With the package itself."""
    needs("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = {"batch": 8, "steps": 4, "log_steps": 1}
    report = train("nmnist-pico", digits, tmp_path / "run", recipe=recipe, bundle=False, wandb="patches")
    assert report is not None
    files = list((tmp_path / "run" / "wandb").rglob("*.wandb"))
    assert len(files) == 1
    assert b"train/loss" in files[0].read_bytes()
