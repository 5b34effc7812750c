"""Label and learn: the last seconds of a source become a labelled sample, and a folder of such is learned from."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.base.paths import assets_dir
from spedge.jobs.labelling import KEYS, Labeller, label_source
from spedge.recordings import write
from spedge.sources import RecordingSource
from tests.events import scattered
from tests.needs import needs

WAVE = assets_dir() / "recordings" / "wave.raw"


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.execute([str(argument) for argument in arguments])
    return (code, *capsys.readouterr())


# ---------------------------------------------------------------- samples


def test_the_last_seconds_are_kept_and_numbers_go_on(tmp_path: Path) -> None:
    events = scattered(4000, 1_000_000, 1, 34, 1 << 35)
    labeller = Labeller(tmp_path, ["clap", "wave"], 34, 34, 0.2)
    for part in np.array_split(events, 13):
        labeller.take(part)
    for number, (label, told) in enumerate((("wave", 1), ("wave", 1), ("clap", 0))):
        kept = labeller.keep(told)
        last = events[events["t"].astype(np.int64) > int(events["t"][-1]) - 200_000]
        assert np.array_equal(spedge.open(kept.path).events(), last)
        assert (kept.label, kept.events, kept.number) == (label, len(last), (1, 2, 1)[number])
        assert kept.path == tmp_path / label / f"{kept.number:04d}.raw"
    (tmp_path / "wave" / "0017.raw").write_bytes(b"")
    assert labeller.keep(1).path.name == "0018.raw"
    labeller.take(events[:5])  # it begins anew: what was before is of another time
    assert labeller.keep(0).events == 5


def test_what_can_be_no_label_is_said(tmp_path: Path) -> None:
    for labels in ([], ["a", "a"], ["../a"], [""], ["train"], [".hidden"], [str(i) for i in range(len(KEYS) + 1)]):
        with pytest.raises(spedge.UsageError, match="label"):
            Labeller(tmp_path, labels, 34, 34)
    with pytest.raises(spedge.UsageError, match="nothing has come yet"):
        Labeller(tmp_path, ["a"], 34, 34).keep(0)
    assert not any(tmp_path.iterdir())


def test_labels_do_not_change_what_a_source_gives(tmp_path: Path) -> None:
    labeller = Labeller(tmp_path, ["a", "b"], 128, 128, 0.1)
    seen: list[Any] = []
    with RecordingSource(WAVE) as source:
        done = label_source(source, labeller, watch=seen.append, told=lambda: [0] if len(seen) == 2 else [], at_end=1)
    assert np.array_equal(np.concatenate(seen), spedge.open(WAVE).events())
    assert [kept.label for kept in done.kept] == ["a", "b"] and done.problem is None


# ---------------------------------------------------------------- the command


def test_lines_of_a_pipe_keep_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, writes = os.pipe()
    os.write(writes, b"wave\n1\nnothing\n")
    os.close(writes)
    given = ("stream", WAVE, "--labels", "clap,wave", "--keep-seconds", "0.3", "--out", tmp_path / "g", "--json")
    with os.fdopen(reads) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        code, out, _ = call(capsys, *given)
    document = json.loads(out)
    assert code == 0 and document["kept"] == {"clap": 1, "wave": 1}
    assert [Path(one["path"]).relative_to(tmp_path / "g").as_posix() for one in document["samples"]] == [
        "wave/0001.raw", "clap/0001.raw",
    ]  # fmt: skip


def test_one_is_kept_at_the_end_and_nothing_is_read_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed, or pasted, is for who comes next."""
    reads, writes = os.pipe()
    os.write(writes, b"1\n")
    os.close(writes)
    with os.fdopen(reads) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        given = ("--labels", "clap,wave", "--keep-seconds", "0.3", "--keep", "wave", "--out", tmp_path / "g")
        assert call(capsys, "stream", WAVE, *given)[0] == 0
        assert stdin.read() == "1\n"
    events = spedge.open(WAVE).events()
    last = events[events["t"].astype(np.int64) > int(events["t"][-1]) - 300_000]
    assert np.array_equal(spedge.open(tmp_path / "g/wave/0001.raw").events(), last)
    assert not (tmp_path / "g/clap").exists()


def test_what_means_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for more, why in (
        (("--keep", "a", "--out", tmp_path / "a.raw"), "give --labels A,B, too"),
        (("--labels", "a,b", "--out", tmp_path / "a.raw"), "give the folder of these"),
        (("--labels", "a,b", "--keep", "c", "--out", tmp_path / "g"), "'c' is none of the labels a, b"),
        (("--labels", "a,b", "--encoding", "evt3", "--out", tmp_path / "g"), "leave --encoding out"),
        (("--labels", "a,b", "--keep-seconds", "0", "--out", tmp_path / "g"), "0 s cannot be kept"),
    ):
        code, _, err = call(capsys, "stream", WAVE, *more)
        assert code == 2 and why in err, err
    assert call(capsys, "stream", WAVE, "--labels", "a,b", "--keep", "b", "--out", tmp_path / "g")[0] == 0
    assert call(capsys, "stream", WAVE, "--out", tmp_path / "a.raw")[0] == 0


# ---------------------------------------------------------------- learned from


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two classes with five recordings each: dots at the left, and at the right."""
    for number in range(10):
        events = scattered(3000, 400_000, number, 60, 1000)
        if number % 2:
            events["x"] += 60
        path = tmp_path / "mine" / ("right" if number % 2 else "left") / f"{number:04d}.raw"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, events, 128, 128)
    return tmp_path / "mine"


def test_a_folder_for_each_label_is_trained_on_and_evaluated(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("torch", "lightning", "h5py")
    from spedge.training.run import spec_of
    from spedge.training.watching import WatchedRun

    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))
    train = ["train", "gestures-pico", "--data", labelled, "--run", tmp_path / "run", "--steps", "2", "--batch", "4"]
    train += ["--holdout", "0.4", "--workers", "0", "--no-bundle"]
    code, out, err = call(capsys, *train, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["learned_samples"], document["held_out_samples"]) == (6, 4)
    spec = spec_of(tmp_path / "run")
    assert spec.labels == ("left", "right") and (spec.sensor.width, spec.sensor.height) == (128, 128)
    code, out, err = call(capsys, "evaluate", tmp_path / "run", "--data", labelled, "--split", "all", "--json")
    assert code == 0, err
    assert json.loads(out)["samples"] == 10
    name, events, *_ = WatchedRun(tmp_path / "run", labelled).recording(0)
    assert name.partition("/")[0] in spec.labels and len(events) == 3000
    (labelled / "left" / "0099.raw").write_bytes((labelled / "left" / "0000.raw").read_bytes())
    code, _, err = call(capsys, *train)
    assert code == 2 and "holds a run with another data" in err


def test_what_is_no_folder_of_classes_is_what_it_was(labelled: Path, tmp_path: Path) -> None:
    from spedge.training.folders import is_folder

    assert is_folder("gestures", labelled) and is_folder("dvsgesture", labelled)
    assert not is_folder("gestures", None) and not is_folder("dvsgesture", tmp_path / "none")
    assert not is_folder("dvsgesture", tmp_path)  # one folder with folders in it
    for part in ("train", "test"):
        (tmp_path / "ours" / part / "left").mkdir(parents=True)
    assert not is_folder("gestures", tmp_path / "ours")


@pytest.mark.train
@pytest.mark.timeout(1500)
def test_the_page_on_learning_is_followed_to_a_checked_model(repository: Path, tmp_path: Path) -> None:
    """docs/learn.md, as it stands: ten gestures from the emulated camera, trained, exported, compiled, checked."""
    needs("torch", "lightning", "tvm", "platformio", "cc", "h5py")
    page = (repository / "docs" / "learn.md").read_text()
    commands = page.partition("<!-- followed -->\n```sh\n")[2].partition("```")[0]
    (tmp_path / "host").symlink_to(repository / "host")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    given = ["bash", "-euc", commands]
    done = subprocess.run(given, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for gesture in ("clap", "wave"):
        samples = sorted((tmp_path / "mine" / gesture).iterdir())
        assert [sample.name for sample in samples] == [f"{number:04d}.raw" for number in range(1, 6)]
        whole = spedge.open(assets_dir() / "recordings" / f"{gesture}.raw").events()
        assert all(len(spedge.open(sample).events()) > len(whole) / 2 for sample in samples)
    assert "sim: 2 of 2 recordings passed" in done.stdout
    assert (tmp_path / "mine-c" / "model.c").is_file()
