"""The page of a training: what it shows is what the run's files and its held-out part are, and it changes nothing."""

from __future__ import annotations

import contextlib
import csv
import json
import threading
from pathlib import Path

import numpy as np
import pytest

import spedge
from spedge import cli
from tests.needs import needs

needs("PIL", "starlette", "uvicorn", "wsproto", "torch", "lightning")

import torch  # noqa: E402

from spedge.cli.pages import run_stage  # noqa: E402
from spedge.model.spec import to_document  # noqa: E402
from spedge.training.data.registry import load_dataset  # noqa: E402
from spedge.training.presets import PRESETS  # noqa: E402
from spedge.training.seen import Seen, write_seen  # noqa: E402
from spedge.view.server import Server  # noqa: E402
from tests.page_client import Page  # noqa: E402
from tests.python.test_training import digits  # noqa: E402, F401


def command(data: Path, run: Path, *more: str) -> list[str]:
    steps = ["--batch", "8", "--steps", "24", "--validate-epochs", "1", "--log-steps", "4", "--workers", "0"]
    return ["train", "nmnist-pico", "--data", str(data), "--run", str(run), "--no-bundle", *steps, *more]


class Pages(threading.Thread):
    """What people do with a page: one looks, one asks and does not listen, one goes."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.ended = address, threading.Event()
        self.versions: list[int] = []
        self.start()

    def run(self) -> None:
        page, stalls, goes = (Page(self.address) for _ in range(3))
        goes.say(json.dumps({"op": "state", "seen": -1}))
        goes.close()
        with contextlib.suppress(AssertionError):  # the server has ended
            while not self.ended.wait(0.05):
                stalls.say(json.dumps({"op": "state", "seen": -1}))
                state = page.ask("state", seen=self.versions[-1] if self.versions else -1)
                if state["version"] not in self.versions[-1:]:
                    self.versions.append(state["version"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> tuple[Path, Path]:  # noqa: F811
    """The same training without and with pages."""
    folder, threads = tmp_path_factory.mktemp("runs"), torch.get_num_threads()
    torch.set_num_threads(1)
    looking: list[Pages] = []
    try:
        assert cli.execute(command(digits, folder / "plain")) == 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("spedge.cli.pages.open_browser", lambda address: looking.append(Pages(address)))
            patch.setattr("spedge.training.fit.fitting._SHOWN_SECONDS", 0)
            assert cli.execute(command(digits, folder / "shown", "--view")) == 0
    finally:
        torch.set_num_threads(threads)
    looking[0].ended.set()
    assert len(looking[0].versions) > 1  # it was seen to go on
    return folder / "plain", folder / "shown"


def test_the_weights_are_the_same_bit_for_bit(runs: tuple[Path, Path]) -> None:
    plain, shown = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in runs)
    for part in ("model", "averaged"):
        assert plain[part].keys() == shown[part].keys()
        assert all(torch.equal(plain[part][name], shown[part][name]) for name in plain[part])
    assert plain["step"] == shown["step"] == 24


def test_curves_and_confusion_are_the_runs(runs: tuple[Path, Path], digits: Path) -> None:  # noqa: F811
    with Server(run_stage(runs[1], digits)) as server:
        page = Page(server.address)
        state = page.ask("state", seen=-1)
        with (runs[1] / "curves.csv").open() as file:
            rows = list(csv.DictReader(file))
        for name in ("train/loss", "learning_rate", "val/accuracy", "val/loss"):
            told = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
            assert list(zip(state["curves"][name]["steps"], state["curves"][name]["values"], strict=True)) == told
        assert (state["step"], state["steps"], state["looked"]) == (24, 24, 24)
        confusion = np.array(state["confusion"])
        accuracy = state["curves"]["val/accuracy"]["values"][-1]
        assert np.trace(confusion) / confusion.sum() == pytest.approx(accuracy)
        assert page.ask("state", seen=state["version"]) == {"version": state["version"], "id": None}
        held = load_dataset("nmnist", digits).split(PRESETS["nmnist-pico"].recipe.holdout, 0)[1]
        assert confusion.sum(axis=1).tolist() == np.bincount([s.label for s in held], minlength=10).tolist()
        for label, said in zip(*(axis.tolist() for axis in np.nonzero(confusion)), strict=True):
            listed = page.ask("list", label=label, said=said)["recordings"]
            assert len(listed) == confusion[label, said]
            assert all(held[one["number"]].label == label and 0 < one["share"] <= 1 for one in listed)
        number = listed[0]["number"]
        assert "choose a recording first" in page.ask("frame", t=0, fade=1000)["error"]
        about = page.ask("show", number=number)["about"]
        events = held[number].events
        assert (about["events"], about["last"]) == (len(events), int(events["t"][-1]))
        frame = page.ask("frame", t=about["last"], fade=10_000_000)
        there = np.zeros((34, 34), bool)
        there[events["y"], events["x"]] = True
        assert np.array_equal(frame["events"] > 0, there)
        tokens = spedge.Tokenizer(width=34, height=34, patch_size=4, threshold=48).push(events)
        assert page.ask("series")["tokens"] == len(tokens) > 0
        page.close()


def test_what_a_page_cannot_have_is_said(runs: tuple[Path, Path], tmp_path: Path, digits: Path) -> None:  # noqa: F811
    stage = run_stage(runs[1], None)
    for asked, why in (
        ({"op": "show", "number": 0}, "give its directory or zip file"),
        ({"op": "show", "number": -1}, "number must be a number"),
        ({"op": "list", "label": "x", "said": 0}, "label must be a number"),
        ({"op": "state"}, "seen must be a number"),
    ):
        with pytest.raises(spedge.SpedgeError, match=why):
            stage.answer(asked)
    with pytest.raises(spedge.UsageError, match="no recording 4000"):
        run_stage(runs[1], digits).answer({"op": "show", "number": 4000})
    (other := tmp_path / "N-MNIST/Train/3").mkdir(parents=True)
    (other / "00001.bin").write_bytes((digits / "N-MNIST/Train/3/00003.bin").read_bytes())
    with pytest.raises(spedge.UsageError, match="other recordings than this run was trained on"):
        run_stage(runs[1], tmp_path).answer({"op": "show", "number": 0})


def test_a_run_that_comes_and_one_that_is_damaged(tmp_path: Path) -> None:
    """And a detector's: per-class precision, written as training does."""
    stage = run_stage(tmp_path / "run", None)
    told = stage.answer({"op": "state", "seen": -1}).document
    assert not told["begun"] and not told["problem"]
    (tmp_path / "run").mkdir()
    spec = PRESETS["nmnist-det-pico"].spec()
    document = {"schema": 1, "preset": "nmnist-det-pico", "spec": to_document(spec), "recipe": {"steps": 9}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(document))
    write_seen(tmp_path / "run", 7, Seen(precision={"3": (0.25, 0.5)}))
    (tmp_path / "run" / "curves.csv").write_text("step,train/loss,val/mAP\n3,nan,\n7,2.5,0.125\n")
    told = stage.answer({"op": "state", "seen": told["version"]}).document
    assert told["precision"] == [["3", 0.25, 0.5]] and told["looked"] == 7 and told["confusion"] is None
    assert told["curves"]["train/loss"] == {"steps": [7], "values": [2.5]}
    (tmp_path / "run" / "curves.csv").write_text("step,train/loss\n8,x\n")
    again = stage.answer({"op": "state", "seen": told["version"]}).document
    assert "curves.csv is damaged" in again["problem"] and again["curves"] == told["curves"]


def test_the_command_refuses_what_means_nothing(
    runs: tuple[Path, Path],
    digits: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.execute(["view", str(runs[1]), "bundle", "--no-browser"]) == 2
    assert "is a run, which is shown by itself" in capsys.readouterr().err
    assert cli.execute(command(digits, runs[0], "--view", "--debug")) == 2
    assert "leave one of the two out" in capsys.readouterr().err
