"""The trainer: what a run is a function of, and going on after any end."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import InputError, UsageError
from spedge.training.presets import PRESETS
from spedge.training.progress import TrainingError
from tests.golden_models import Case, arrays
from tests.needs import needs
from tests.variants import long

needs("torch", "lightning")

import torch  # noqa: E402

from spedge.training import train  # noqa: E402
from spedge.training.fit.loading import LookItems, threads  # noqa: E402
from spedge.training.fit.sampler import Batches  # noqa: E402
from spedge.training.fit.schedule import learning_rate  # noqa: E402
from tests.fit_runs import Made, fit_made, small  # noqa: E402
from tests.python.test_training import digits  # noqa: E402, F401


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests run beside each other: threads that wait for one another would wait for other tests."""
    with threads(1):
        yield


SMALL: dict[str, Any] = {"batch": 8, "steps": 40, "validate_epochs": 1, "log_steps": 5}


def weights(run: Path) -> Any:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["model"]


def equal(a: Any, b: Any) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------- schedule and order


@pytest.mark.parametrize(("case", "name"), arrays(8, array="^steps_"))
def test_the_learning_rate_is_the_papers(case: str, name: str) -> None:
    golden = Case(case)
    steps, rate = int(name.split("_")[1]), float(name.split("_")[3])
    recipe = PRESETS["DG-T-SP"].recipe
    recipe = type(recipe)(batch=1, steps=steps, learning_rate=rate)
    for step, expected in golden[name]:
        assert learning_rate(step, steps, recipe) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    sizes = np.arange(23)
    everything = list(Batches(sizes, 4, 3, pool=2, last=30))
    assert list(Batches(sizes, 4, 3, pool=2, first=17, last=30)) == everything[17:]
    assert list(Batches(sizes, 4, 4, pool=2, last=30)) != everything
    epochs = [sorted(index for batch in everything[6 * e : 6 * e + 6] for _, index in batch) for e in range(5)]
    assert epochs == [list(range(23))] * 5
    assert {epoch for batch in everything[6:12] for epoch, _ in batch} == {1}


def test_processes_share_a_batch() -> None:
    sizes = np.zeros(23, np.int64)
    parts = [list(Batches(sizes, 4, 3, last=6, rank=rank, ranks=2)) for rank in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == 6
    together = sorted(index for part in parts for batch in part[:3] for _, index in batch)
    assert together == list(range(23))


def test_the_held_out_loss_is_the_mean_of_slices_of_uneven_batches() -> None:
    from spedge.training.models.inputs import Cells, TokenBatch
    from spedge.training.represent.collate import Batch
    from spedge.training.tasks.classification import predict

    torch.manual_seed(0)
    logits, labels = torch.randn(7, 3), torch.eye(3)[[0, 2, 1, 1, 0, 2, 2]]
    cells = Cells(torch.zeros(0, dtype=torch.int32), torch.zeros(0), torch.zeros(0, dtype=torch.int32))

    def batch(first: int, last: int) -> Batch:
        numbers = torch.arange(first, last)
        tokens = TokenBatch(cells, torch.zeros(len(numbers), 3), torch.ones(len(numbers), dtype=torch.int64))
        return Batch(tokens if len(numbers) else None, labels[first:last], numbers)

    def say(batch: Batch) -> torch.Tensor:
        return logits[batch.number]

    expected = -torch.log_softmax(logits.double(), 1)[labels.bool()].mean()
    assert predict(say, [batch(0, 4), batch(4, 4), batch(4, 7)]).loss == pytest.approx(float(expected), rel=1e-6)
    assert np.isnan(predict(say, [batch(4, 4)]).loss)


# ---------------------------------------------------------------- going on


def run_small(data: Path, run: Path, **more: Any) -> Any:
    return train("nmnist-pico", data, run, recipe=SMALL, bundle=False, **more)


def test_a_run_that_is_begun_again_ends_with_the_same_weights(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    whole = run_small(digits, tmp_path / "whole")
    stopped = []

    def stop(progress: Any) -> None:
        stopped.append(progress.step)
        if progress.epoch in (1, 2):
            raise KeyboardInterrupt

    parts = run_small(digits, tmp_path / "parts", on_progress=stop)
    assert parts.interrupted
    assert run_small(digits, tmp_path / "parts", on_progress=stop).interrupted
    last = run_small(digits, tmp_path / "parts")
    assert (last.steps, last.interrupted) == (40, False)
    assert sorted(set(stopped)) == [5, 10]  # within an epoch
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert last.top1 == whole.top1
    rows = (tmp_path / "parts" / "curves.csv").read_text().splitlines()
    steps = [int(row.split(",")[0]) for row in rows[1:]]
    assert steps == sorted(steps)
    again = run_small(digits, tmp_path / "parts")
    assert again.steps == 40
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def command(data: Path, run: Path, recipe: dict[str, Any], *more: str) -> list[str]:
    """`run_small` from a shell, with that recipe."""
    given = [sys.executable, "-m", "spedge", "train", "nmnist-pico", "--no-bundle", *more]
    given += ["--data", str(data), "--run", str(run)]
    return given + [word for name, value in recipe.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_killed_at_any_moment(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    run_small(digits, tmp_path / "whole")
    given = command(digits, tmp_path / "k", SMALL)
    process = subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "k" / "checkpoints" / "last.ckpt").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert subprocess.run(given, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "k"))


@pytest.mark.train
def test_two_processes_end_with_one_result(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    """Each sees half of every batch; begun again it is the same within rounding."""
    given = command(digits, tmp_path / "two", {**SMALL, "batch": 4, "steps": 20}, "--devices", "2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(given, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nmnist-pico:") == 1
    one = train("nmnist-pico", digits, tmp_path / "one", recipe={**SMALL, "steps": 20}, bundle=False)
    assert one is not None
    two = weights(tmp_path / "two")
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-3)


# ---------------------------------------------------------------- what cannot be


def test_a_folder_of_another_run_is_refused(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    run_small(digits, tmp_path, debug=False)
    with pytest.raises(UsageError, match=r"another seed \(0, and not 1\).*another --run"):
        run_small(digits, tmp_path, seed=1)
    with pytest.raises(UsageError, match="another learning rate"):
        train("nmnist-pico", digits, tmp_path, recipe={**SMALL, "learning_rate": 1.0}, bundle=False)
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"PK no checkpoint")
    with pytest.raises(InputError, match=r"last\.ckpt is no checkpoint"):
        run_small(digits, tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        run_small(digits, tmp_path)


def test_a_loss_that_is_no_number_is_no_success(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(TrainingError, match="came to nothing: after 5 steps"):
        train("nmnist-pico", digits, tmp_path, recipe={**SMALL, "learning_rate": 1e20, "clip": 1e20})
    with pytest.raises(UsageError, match="learning rate is 1e"):
        train("nmnist-pico", digits, tmp_path, recipe={**SMALL, "learning_rate": 1e30})
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_model_that_is_good_enough_is_done(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    enough = {**SMALL, "stop_accuracy": 0.3, "learning_rate": 3e-3, "augment": False}
    for _ in range(2):  # and is still done when it is asked for again
        report = train("nmnist-pico", digits, tmp_path / "run", recipe=enough, bundle=False)
        assert report is not None and not report.interrupted
        assert report.top1 >= 0.3 and 0 < report.steps < SMALL["steps"]
    with pytest.raises(UsageError, match=r"accuracy that is enough is 1.5: it must be a share"):
        train("nmnist-pico", digits, tmp_path / "other", recipe={"stop_accuracy": 1.5})


def test_samples_are_learned_as_they_are_when_asked_for(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    from spedge.training.data.registry import describe_data, load_dataset
    from spedge.training.fit.loading import LearnItems
    from spedge.training.represent.samples import Represent

    part = load_dataset("nmnist", digits).train
    for name in ("nmnist-pico", "DG-T-SP"):  # our changes, and the paper's
        spec, recipe = PRESETS["nmnist-pico"].spec(), PRESETS[name].recipe
        changed, as_it_is = (
            LearnItems(part, spec, describe_data("nmnist"), replace(recipe, augment=augment), 0)[7, 3]
            for augment in (True, False)
        )
        there = Represent(spec)(part[3].events)
        assert there is not None and as_it_is.arrays is not None and changed.arrays is not None
        np.testing.assert_array_equal(as_it_is.arrays.positions, there.positions)
        np.testing.assert_array_equal(as_it_is.arrays.cells.number, there.cells.number)
        assert as_it_is.label.tolist() == np.eye(10)[part[3].label].tolist()
        assert len(changed.arrays.cells.number) != len(there.cells.number)


def test_debug_keeps_nothing(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    report = run_small(digits, tmp_path / "none", debug=True)
    assert report.steps == 40
    assert not (tmp_path / "none").exists()


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spedge.training.fit.curves import Curves

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=r"pip install 'spedge\[wandb\]'"):
        Curves(tmp_path, 0, wandb="project")


# ---------------------------------------------------------------- all families


OTHERS = ("DG-GNN-E", "SL-PCN-E", "DG-T-F")


@pytest.mark.parametrize("name", ["DG-GNN-SP", "DG-PCN-SP", "SL-T-V", *long(*OTHERS)])
def test_presets_of_all_families_take_steps(name: str) -> None:
    fitted = fit_made(name, None, batch=3, steps=2, accumulate=2, workers=0)
    assert fitted.step == 2
    assert 0 <= fitted.accuracy <= 1


def test_samples_can_be_sent_to_processes_that_are_not_forked() -> None:
    """As on macOS, and by Python 3.14: a tokenizer that is in use is made anew there."""
    preset = small("DG-T-SP")
    made = Made(len(preset.spec().labels))
    items = LookItems(made.samples, preset.spec())
    first = items[0]
    again = pickle.loads(pickle.dumps(items))[0]
    assert first.arrays is not None
    np.testing.assert_array_equal(again.arrays.cells.number, first.arrays.cells.number)
