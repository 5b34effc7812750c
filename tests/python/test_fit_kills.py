"""A training that is ended by SIGKILL wherever it is, and begun again, ends with the weights of one that was not."""

from __future__ import annotations

import functools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs

needs("torch", "lightning")

import torch  # noqa: E402

from spedge.cli import execute  # noqa: E402
from spedge.training.fit.processes import GONE  # noqa: E402
from tests.detection_sets import digits_store  # noqa: E402
from tests.fit_runs import PLACES, fit_made, start, start_ranks  # noqa: E402
from tests.python.test_training import digits  # noqa: E402, F401

KILLED = -9
TWO = ["--devices", "2", "--accelerator", "cpu", "--steps", "8"]
#: Steps of three batches, so that epochs of 14 end within one.
OPTIONS = ["--batch", "8", "--steps", "20", "--accumulate", "3", "--validate-epochs", "1", "--log-steps", "2"]


def command(data: Path, run: Path, *more: str) -> Any:
    return functools.partial(
        execute, ["train", "nmnist-pico", "--data", str(data), "--run", str(run), "--no-bundle", *OPTIONS, *more]
    )


def kept(run: Path) -> Any:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(run: Path, other: Path, tolerance: float = 0.0) -> None:
    """Weights, their average, and what the optimizer knows."""
    ours, theirs = kept(run), kept(other)
    assert (ours["step"], ours["batches"]) == (theirs["step"], theirs["batches"])
    for part in ("model", "averaged"):
        for name, value in theirs[part].items():
            torch.testing.assert_close(ours[part][name], value, rtol=0, atol=tolerance)
    for number, moments in theirs["optimizer"]["state"].items():
        for name, value in moments.items():
            torch.testing.assert_close(ours["optimizer"]["state"][number][name], value, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("whole")
    run = start(command(digits, folder / "run"), folder / "log")
    assert run.code() == 0, run.said
    return folder / "run"


@pytest.mark.parametrize(
    "every",
    [pytest.param("0", id="kept at every step"), pytest.param("10", id="kept at every look", marks=pytest.mark.long)],
)
def test_one_process_killed_at_every_place(digits: Path, tmp_path: Path, undisturbed: Path, every: str) -> None:  # noqa: F811
    """One after another, in an order and at counts that a seed gives."""
    draw = random.Random(f"kept {every}")
    places = draw.sample(list(PLACES), len(PLACES))
    struck = 0
    for place in places:
        strike = (place, draw.randint(1, 9 if "batch" in place or "step" in place else 2))
        run = start(command(digits, tmp_path / "k", "--checkpoint-minutes", every), tmp_path / "log", strike)
        code = run.code()
        assert code in (0, KILLED), run.said
        struck += code == KILLED
    assert struck >= 4
    run = start(command(digits, tmp_path / "k", "--checkpoint-minutes", every), tmp_path / "log")
    assert run.code() == 0, run.said
    assert_same(tmp_path / "k", undisturbed)
    steps = [int(row.split(",")[0]) for row in (tmp_path / "k" / "curves.csv").read_text().splitlines()[1:]]
    assert steps == sorted(steps)
    assert set(steps) >= set(range(2, 21, 2))
    assert not list((tmp_path / "k" / "checkpoints").glob("*.part"))


def test_a_graph_network_with_loader_workers(tmp_path: Path) -> None:
    """Batch norms, random starts of the sampling, and samples that were on their way in other processes."""
    options: dict[str, Any] = {"batch": 3, "steps": 6, "accumulate": 2, "workers": 2, "validate_epochs": 1}
    whole = start(functools.partial(fit_made, "DG-GNN-SP", tmp_path / "whole", **options), tmp_path / "log")
    assert whole.code() == 0, whole.said
    for strike in (("before a batch", 9), ("before a step", 1)):
        work = functools.partial(fit_made, "DG-GNN-SP", tmp_path / "k", **options)
        run = start(work, tmp_path / "log", strike)
        assert run.code() == KILLED, run.said
    run = start(functools.partial(fit_made, "DG-GNN-SP", tmp_path / "k", **options), tmp_path / "log")
    assert run.code() == 0, run.said
    assert any("running_mean" in name for name in kept(tmp_path / "k")["model"])
    assert_same(tmp_path / "k", tmp_path / "whole")


# ---------------------------------------------------------------- detectors

#: Epochs of 11 batches, of three windows and three streams each.
BOXES = ["--batch", "6", "--steps", "30", "--log-steps", "2", "--augment", "--seed", "2"]


def boxes(store: Path, run: Path, *more: str) -> Any:
    return functools.partial(
        execute, ["train", "nmnist-det-pico", "--data", str(store), "--run", str(run), "--no-bundle", *BOXES, *more]
    )


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("h5py", "faster_coco_eval")
    return digits_store(tmp_path_factory.mktemp("moving"))


@pytest.mark.train
def test_a_detector_killed_at_every_place(moving: Path, tmp_path: Path) -> None:
    """What the cells' LSTMs and the streams' tokenizers carry goes on, too, whichever worker's turn it was."""
    draw = random.Random("boxes")
    options = ("--workers", "2", "--checkpoint-minutes", "0")
    struck = 0
    for place in draw.sample(list(PLACES), len(PLACES)):
        strike = (place, draw.randint(2, 5) if "batch" in place or "step" in place else 1)
        run = start(boxes(moving, tmp_path / "k", *options), tmp_path / "log", strike)
        code = run.code()
        assert code in (0, KILLED), run.said
        struck += code == KILLED
    assert struck == len(PLACES)
    for folder in ("k", "whole"):
        run = start(boxes(moving, tmp_path / folder, *options), tmp_path / "log")
        assert run.code() == 0, run.said
    assert_same(tmp_path / "k", tmp_path / "whole")
    ours, theirs = kept(tmp_path / "k")["carried"], kept(tmp_path / "whole")["carried"]
    assert set(ours) == {"hidden", "cell"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert ours["hidden"].abs().max() > 0


@pytest.mark.train
def test_a_detector_of_two_processes(moving: Path, tmp_path: Path) -> None:
    """Each has streams of its own; what all carry is in the checkpoint."""

    def ended(folder: str, strikes: dict[int, tuple[str, int]] | None = None) -> list[int]:
        works = [boxes(moving, tmp_path / folder, *TWO, "--workers", "0", "--checkpoint-minutes", "0")] * 2
        return [run.code() for run in start_ranks(works, tmp_path / "log", strikes)]

    assert ended("whole") == [0, 0]
    assert ended("k", {0: ("before a step", 4), 1: ("before a step", 4)}) == [KILLED, KILLED]
    assert ended("k") == [0, 0]
    assert_same(tmp_path / "k", tmp_path / "whole", 1e-6)
    ours, theirs = kept(tmp_path / "k")["carried"], kept(tmp_path / "whole")["carried"]
    assert ours["hidden"].shape == (2 * 6, 15, 19, 32)
    assert all(bool(half.abs().max() > 0) for half in ours["hidden"].split(6))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)


@pytest.mark.train
def test_a_detector_goes_on_with_as_many_loaders(
    moving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a batch holds depends on it. A state that is not of so many streams is another run's."""
    run = tmp_path / "run"
    assert boxes(moving, run, "--workers", "0", "--steps", "1")() == 0
    capsys.readouterr()
    assert boxes(moving, run, "--workers", "2", "--steps", "1")() == 2
    assert "holds a run with another number of loaders (1, and not 2)" in capsys.readouterr().err
    last = run / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    for part in state["carried"]:
        state["carried"][part] = state["carried"][part][:2]
    torch.save(state, last)
    assert boxes(moving, run, "--workers", "0", "--steps", "1")() == 4
    assert "is of another model than the run's" in capsys.readouterr().err


# ---------------------------------------------------------------- two processes


@pytest.mark.train
def test_two_processes_killed_and_begun_again(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    """Both at once, then each alone: the other one ends with a sentence."""
    whole = start_ranks([command(digits, tmp_path / "whole", *TWO)] * 2, tmp_path / "log")
    assert [run.code() for run in whole] == [0, 0], [run.said for run in whole]
    assert whole[0].said.count("nmnist-pico:") == 1
    assert whole[1].said == ""

    def killed(strikes: dict[int, tuple[str, int]]) -> None:
        runs = start_ranks([command(digits, tmp_path / "k", *TWO)] * 2, tmp_path / "log", strikes)
        for rank, run in enumerate(runs):
            code = run.code(60)
            assert code == KILLED if rank in strikes and len(strikes) == 1 else code in (KILLED, 1), run.said
            if rank not in strikes:
                assert run.said == f"spedge: error: {GONE}\n"

    killed({0: ("before a step", 4), 1: ("after a batch", 12)})
    killed({1: ("before a step", 2)})
    killed({0: ("in a checkpoint", 1)})
    killed({1: ("while it looks", 1)})
    last = start_ranks([command(digits, tmp_path / "k", *TWO)] * 2, tmp_path / "log")
    assert [run.code() for run in last] == [0, 0], [run.said for run in last]
    assert_same(tmp_path / "k", tmp_path / "whole", 1e-6)
    assert {path.name for path in (tmp_path / "k").rglob("*") if path.is_file() and "tfevents" not in path.name} == {
        "run.json", "progress.json", "looked.json", "curves.csv", "last.ckpt", "best.ckpt", "checkpoint.pt"
    }  # fmt: skip
    assert execute([*command(digits, tmp_path / "k").args[0]]) == 2  # one process has other batches


def test_two_machines(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    """Of one process each; they see the same folder, or say that they do not."""
    one, other = tmp_path / "one", tmp_path / "other"
    works = [command(digits, one, *TWO[2:], "--nodes", "2")] * 2
    runs = start_ranks(works, tmp_path / "log", nodes=True)
    assert [run.code() for run in runs] == [0, 0], [run.said for run in runs]
    two = start_ranks([command(digits, tmp_path / "two", *TWO)] * 2, tmp_path / "log")
    assert [run.code() for run in two] == [0, 0], [run.said for run in two]
    assert_same(one, tmp_path / "two", 1e-6)

    strikes = {0: ("after a batch", 11), 1: ("after a batch", 11)}
    works = [command(digits, folder, *TWO[2:], "--nodes", "2") for folder in (other, tmp_path / "nothing")]
    runs = start_ranks(works, tmp_path / "log", strikes, nodes=True)
    assert [run.code() for run in runs] == [KILLED, KILLED]
    runs = start_ranks(works, tmp_path / "log", nodes=True)
    assert [run.code() for run in runs] == [2, 2], [run.said for run in runs]
    assert "the run's folder has to be one that all machines see" in runs[0].said


@pytest.mark.train
def test_torchrun(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    """As docs/training.md says it, and again, which has nothing left to do."""
    given = ["-m", "--", "spedge", *command(digits, tmp_path / "run", *TWO[2:]).args[0]]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *given]
    for _ in range(2):
        done = subprocess.run(launcher, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("nmnist-pico:") == 1
        assert "in 2 processes, fp32" in done.stdout
    runs = start_ranks([command(digits, tmp_path / "own", *TWO)] * 2, tmp_path / "log")
    assert [run.code() for run in runs] == [0, 0], [run.said for run in runs]
    assert_same(tmp_path / "run", tmp_path / "own", 1e-6)


def test_an_interrupt_of_one_process_ends_all_after_the_same_step(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    for number in (signal.SIGINT, signal.SIGTERM):
        folder = tmp_path / number.name
        long = [*TWO, "--steps", "100000"]
        runs = start_ranks([command(digits, folder, *long)] * 2, tmp_path / "log")
        deadline = time.monotonic() + 60
        while not (folder / "checkpoints" / "last.ckpt").exists():
            assert time.monotonic() < deadline, runs[0].said
            time.sleep(0.02)
        runs[1].signal(number)
        assert [run.code() for run in runs] == [0, 0], [run.said for run in runs]
        assert "interrupted after" in runs[0].said
