"""The verbs of training, on the files of DvsGesture: find, preprocess, train, list, evaluate."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from spedge.cli import execute
from tests import dataset_files
from tests.golden_models import Case
from tests.needs import needs
from tests.python.test_preprocess import unpack


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    needs("h5py")
    unpack(Case("preprocess-dvsgesture"), tmp_path / "DvsGesture", {})
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    """What a verb says as JSON."""
    assert execute([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_data_sets_are_listed_and_looked_at(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {row["name"] for row in told(capsys, "datasets")["datasets"]}
    assert {"dvsgesture", "slanimals", "nmnist", "gestures", "folder"} <= names
    assert told(capsys, "datasets", "dvsgesture")["link"].startswith("https://")
    there = told(capsys, "datasets", "dvsgesture", raw)
    assert there["recordings"] == {"train": 1, "validation": 0, "test": 1}
    (raw / "DvsGesture" / "user24_led_labels.csv").unlink()
    assert execute(["datasets", "dvsgesture", str(raw)]) == 1
    assert "lacks user24_led_labels.csv, which trials_to_test.txt names" in capsys.readouterr().err


def test_every_field_of_a_recipe_is_an_option() -> None:
    """They are written out, so that no verb has to load what training needs before it begins."""
    from spedge.cli import recipe
    from spedge.training.presets import Recipe

    fields = get_type_hints(Recipe)
    del fields["augmentation"]
    assert {name: kind | None for name, kind in fields.items()} == {
        name: kind for name, kind in get_type_hints(recipe._options).items() if name != "return"
    }
    loaded = "import spedge.cli, sys; print([name for name in sys.modules if name.startswith('spedge.training')])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_presets_are_listed_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["train"]) == 2
    assert "Say what to train: 'spedge presets' lists the presets." in capsys.readouterr().err
    rows = told(capsys, "presets")["presets"]
    assert len(rows) == 36
    one = told(capsys, "presets", "SL-PCN-V")
    assert (one["data"], one["recipe"]["accumulate"], one["model"]["type"]) == ("slanimals", 2, "pcn")
    assert execute(["presets", "DG-GNN-SP"]) == 0
    assert "recipe learning rate" in capsys.readouterr().out
    assert execute(["presets", "DG-T-XL"]) == 2


def test_from_published_files_to_an_accuracy(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps of a PCN, in the current folder's runs."""
    needs("torch", "lightning")
    store = tmp_path / "store"
    made = told(capsys, "preprocess", "dvsgesture", "--data", raw, "--out", store)
    assert (made["recordings"], made["made"], made["samples"]) == (2, 2, 20)
    monkeypatch.chdir(tmp_path)
    given = ("train", "DG-PCN-SP", "--data", store, "--run", "pcn", "--steps", 2, "--batch", 8, "--workers", 0)
    report = told(capsys, *given, "--learning-rate", 1e-4)
    assert (report["steps"], report["bundle"], report["checkpoint"]) == (2, "runs/pcn", "runs/pcn/checkpoint.pt")
    (run,) = told(capsys, "runs")["runs"]
    assert (run["run"], run["preset"], run["step"], run["best"]) == ("pcn", "DG-PCN-SP", 2, report["top1"])
    picture = tmp_path / "confusion.png"
    for checkpoint in ("kept", "best", "last"):
        seen = told(capsys, "evaluate", "pcn", "--data", store, "--split", "test", "--checkpoint", checkpoint)
        assert (seen["samples"], seen["slices"]) == (6, 10)  # gestures, and their seconds
        assert seen["top1"] == seen["accuracy"] == seen["f1"] == report["top1"]
        assert set(seen["milliseconds"]) == {"load", "tokenize", "collate", "forward"}
        assert seen["tokens_per_slice"] > 0
    assert execute(["evaluate", "pcn", "--data", str(store), "--boxes", str(tmp_path)]) == 2
    assert "is no detector: leave --boxes out" in capsys.readouterr().err
    with (tmp_path / "runs" / "pcn" / "curves.csv").open(newline="") as file:
        curves = list(csv.DictReader(file))
    assert float(curves[-1]["val/loss"]) == pytest.approx(seen["loss"], rel=1e-4)  # slice by slice, as in batches
    needs("matplotlib")
    report = ["--picture", str(picture), "--html", "report.html"]
    assert execute(["evaluate", "pcn", "--data", str(store), "--split", "test", *report]) == 0
    assert f"{seen['top1']:.1%} of 6 samples" in (tmp_path / "report.html").read_text()
    assert "tokens a second" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert execute([*map(str, given)]) == 2  # another learning rate
    assert "another learning rate" in capsys.readouterr().err


def test_what_goes_wrong_on_the_road_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From files without tests to a run that was stopped before its end."""
    needs("torch", "lightning", "onnxscript", "h5py")
    monkeypatch.chdir(tmp_path)
    waves = [(label, [(900 * i, 40 * label + i // 90, 60 + i % 5, i % 2) for i in range(1000)]) for label in (1, 2)]
    folder = dataset_files.dvsgesture(tmp_path, waves)
    for line, code, sentence in (
        ("preprocess dvsgesture --data nowhere --out x", 4, "nowhere: give the one where the data set was unpacked"),
        ("train DG-PCN-SP --data DvsGesture --run pcn", 2, "with another --out where this is the data set itself"),
        ("runs nowhere", 2, "There is no folder nowhere: give the one that holds the folders of runs"),
        ("train SL-PCN-SP --run pcn", 2, "give the folder that 'spedge preprocess slanimals' wrote"),
    ):
        assert (execute(line.split()), sentence in capsys.readouterr().err) == (code, True), line
    (folder / "trials_to_test.txt").write_text("")
    told(capsys, "preprocess", "dvsgesture", "--data", folder, "--out", "store")
    begin = ["train", "DG-PCN-SP", "--data", "store", "--run", "pcn", "--no-bundle"]
    begin += ["--steps", "1", "--batch", "4", "--accumulate", "1", "--workers", "0"]
    told(capsys, *begin)
    (tmp_path / "runs" / "pcn" / "checkpoint.pt").unlink()  # as when it is killed before its end
    for line, code, sentence in (
        ("evaluate pcn --data store --split test", 2, "no samples for the split 'test'"),
        ("evaluate pcn --data store --split tests", 2, "no split 'tests'. Choose one of: unseen, all, test"),
        ("evaluate pcn --data store --checkpoint first", 2, "no checkpoint 'first'. Choose one of: kept, best"),
        ("evaluate none --data store", 4, "There is no checkpoint at runs/none"),
        ("train DG-PCN-E --data store --run pcn", 2, "holds a run with another preset (DG-PCN-SP, and not DG-PCN-E)"),
        ("export runs/pcn --out bundle", 4, "The run in runs/pcn is not finished: give its 'spedge train' command"),
    ):
        assert execute(line.split()) == code, line
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1, line
    told(capsys, *begin)  # as it says
    assert Path(told(capsys, "export", "runs/pcn", "--out", "bundle")["bundle"]).exists()


def test_the_help_of_a_preset_shows_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ("The highest.", "Steps of the optimizer.", "without one.", "batch and device.")
    shown = {"DG-GNN-SP": ("0.001", "20000", "fp32", "72"), "SL-PCN-SP": ("0.001", "30000", "fp16", "36")}
    for name, values in shown.items():
        assert execute(["train", name, "--help"]) == 0
        said = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
        for text, value in zip(texts, values, strict=True):
            assert f"{text} [default: ({value})]" in said, said
    assert execute(["train", "--help"]) == 0
    assert "[default: (0.001)]" not in capsys.readouterr().out
