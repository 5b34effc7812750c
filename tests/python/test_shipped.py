"""What comes with spedge is found by its name, everywhere, after any path; and shells complete such names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spedge
from spedge import cli
from spedge.base.errors import InputError
from spedge.base.paths import assets_dir, bundle_names, recording_names
from spedge.cli import execute
from spedge.model.bundle import Bundle
from spedge.model.shipped import shipped
from spedge.recordings import write
from tests.events import scattered


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_verbs_take_what_ships_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["check", "gestures-pico", "clap", "--board", "host", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["bundle"], told["samples"][-1]["name"], told["samples"][-1]["label"]) == (
        "gestures-pico",
        "clap",
        "clap",
    )
    for line, words in (("info clap", "24,067"), ("info nmnist-pico", "34"), ("convert wave w.npz", "19,538")):
        assert execute(line.split()) == 0
        assert words in capsys.readouterr().out
    assert execute(["stream", "wave", "--out", "s.raw"]) == 0
    assert len(spedge.open("s.raw").events()) == len(spedge.open("wave").events()) == 19_538
    assert execute(["evaluate", "nmnist-pico", "--data", "none"]) in (2, 4)
    assert "bundle" not in capsys.readouterr().err  # which was found


def test_a_path_wins(elsewhere: Path) -> None:
    write("clap.npz", scattered(30, 1000), 34, 34)
    Path("clap.npz").rename("clap")
    with pytest.raises(InputError, match="cannot read a file without an ending"):
        spedge.open("clap")
    assert len(spedge.open("wave").events()) == 19_538
    shutil.copytree(assets_dir() / "nmnist-pico", "gestures-pico")
    assert Bundle.load("gestures-pico").name == "nmnist-pico"
    assert Bundle.load("nmnist-pico").path == assets_dir() / "nmnist-pico"
    for name in ("gestures-pica", "recordings", "assets/nmnist-pico"):
        with pytest.raises(InputError):
            Bundle.load(name)
    with pytest.raises(InputError, match=r"clap.raw: there is no such file"):
        spedge.open("clap.raw")


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["models", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (
        [model["name"] for model in told["models"]]
        == bundle_names()
        == [
            "gestures-320",
            "gestures-pico",
            "nmnist-pico",
        ]
    )
    assert told["recordings"] == recording_names() and "clap" in told["recordings"]
    first = told["models"][1]
    assert (first["width"], len(first["labels"]), first["held_out"]) == (128, 11, 220)
    assert first["bytes"] == sum(file.stat().st_size for file in Path(first["path"]).iterdir())
    assert execute(["models"]) == 0
    out = capsys.readouterr().out
    assert "99.5% of 220" in out and "circle counter-clockwise" in out and "recordings: approach" in out


def test_their_accuracy_is_what_their_page_says(shared: Path) -> None:
    page = (assets_dir() / "README.md").read_text()
    for model in shipped():
        assert model.top1 is not None and f"{100 * model.top1:.1f} %" in page and f"{model.held_out}" in page
    from spedge.training import evaluate

    report = evaluate(assets_dir() / "nmnist-pico", shared / "data" / "nmnist-800.zip")
    known = {model.name: model for model in shipped()}["nmnist-pico"]
    assert (report.samples, round(report.top1, 3)) == (known.held_out, known.top1)


def completed(line: str) -> dict[str, str]:
    """What a shell sets to ask for the last word of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return {"_SPEDGE_COMPLETE": "complete_bash", **words}


@pytest.mark.parametrize(("line", "words"), [
    ("spedge do", ["doctor"]), ("spedge check gest", ["gestures-320", "gestures-pico"]),
    ("spedge check gestures-pico cl", ["clap", "clap-320"]),
    ("spedge check --board mps2", ["mps2-an386", "mps2-an500", "mps2-m0plus"]), ("spedge doctor --js", ["--json"]),
    ("spedge check ./", []),  # files, which the shell adds
])  # fmt: skip
def test_shells_complete(
    line: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in completed(line).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        cli.complete()
    assert (ended.value.code, capsys.readouterr().out.split()) == (0, words)


def test_the_script_for_a_shell_asks_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # whoever started the tests
    with pytest.raises(SystemExit):
        execute(["--show-completion", "bash"])
    script = capsys.readouterr().out
    assert "complete -o default" in script and "_SPEDGE_COMPLETE=complete_bash" in script
    environment = {**os.environ, **completed("spedge mod")}
    done = subprocess.run([sys.executable, "-m", "spedge"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "models\n")
