"""Every verb with paths of spaces, quotes, accents and other signs: bundle, recording, cache, output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import spedge
import spedge.recordings
from spedge import cli
from spedge.model.bundle import Bundle
from tests import recording_files
from tests.needs import needs
from tests.python.test_build import ODD
from tests.tiny import model_source, tiny_bundle

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of such a name, with the cache in it; we are in it, too."""
    folder = tmp_path / ODD
    folder.mkdir()
    monkeypatch.setenv("SPEDGE_CACHE", str(folder / "ca che"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.execute([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("format", recording_files.FORMATS)
def test_recordings(odd: Path, call: Call, format: str) -> None:
    name = f"{ODD}.{format.partition('.')[2]}"
    written = recording_files.write(odd / name, format)
    code, out, err = call("info", odd / name, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["path"] == str(odd / name)
    assert said["events"] > 100 or len(written) < 100


@pytest.mark.parametrize("ending", [".raw", ".hdf5", ".h5", ".npz", ".csv", ".dat"])
def test_outputs(odd: Path, call: Call, ending: str) -> None:
    recording_files.write(odd / f"{ODD}.raw", "evt2.raw")
    out = odd / "ne w" / f"{ODD}{ending}"
    out.parent.mkdir()
    code, _, err = call("convert", odd / f"{ODD}.raw", out)
    assert (code, err) == (0, "")
    assert np.array_equal(spedge.open(out).events(), spedge.open(odd / f"{ODD}.raw").events())
    assert list(out.parent.iterdir()) == [out]


def test_tokens_and_streams(odd: Path, call: Call) -> None:
    recording_files.write(odd / f"{ODD}.raw", "evt2.raw")
    sizes = ("--patch-size", 4, "--threshold", 4)
    code, _, err = call("tokenize", odd / f"{ODD}.raw", *sizes, "--out", odd / f"{ODD}.npz")
    assert (code, err) == (0, "")
    assert len(np.load(odd / f"{ODD}.npz")["t"]) > 0
    code, _, err = call("stream", odd / f"{ODD}.raw", "--out", odd / "ag ain.raw")
    assert (code, err) == (0, "")
    assert np.array_equal(spedge.open(odd / "ag ain.raw").events(), spedge.open(odd / f"{ODD}.raw").events())
    code, out, err = call("bench", "decoder", odd / f"{ODD}.raw", "--json")
    assert (code, err) == (0, "") and json.loads(out)["events"] > 0


def test_what_is_wrong_names_the_path_as_it_is(odd: Path, call: Call) -> None:
    (odd / f"{ODD}.raw").write_bytes(b"nothing")
    for arguments in (["info"], ["convert"], ["tokenize", "--width", "34", "--height", "34"]):
        out = [odd / "x.npz"] if arguments == ["convert"] else []
        code, _, err = call(arguments[0], odd / f"{ODD}.raw", *out, *arguments[1:])
        assert code == 4 and str(odd / f"{ODD}.raw") in err
    for verb in ("build", "check", "run"):
        code, _, err = call(verb, odd / "no bundle", *([odd / "a.raw"] if verb != "build" else []))
        assert code == 4 and str(odd / "no bundle") in err


def test_boards(odd: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built, flashed, run and checked, with the bundle, its C, the recording and the cache there."""
    needs("platformio", "cc")
    bundle = tiny_bundle(odd / "bun dle")

    def hand_written(bundle: Bundle, *_: object, **__: object) -> Path:
        folder = odd / "mo del"
        folder.mkdir(exist_ok=True)
        (folder / "model.c").write_text(model_source(bundle))
        (folder / "report.json").write_text('{"arena_bytes": 1}')
        return folder

    monkeypatch.setattr("spedge.boards.build.compile_model", hand_written)
    recording = odd / f"{ODD}.raw"
    events = np.zeros(3000, spedge.EVENT_DTYPE)
    events["t"], events["x"], events["y"] = np.arange(3000) * 100, np.arange(3000) % 34, np.arange(3000) // 7 % 34
    spedge.recordings.write(recording, events, 34, 34)
    for verb in ("build", "flash"):
        code, out, err = call(verb, bundle.path, "--board", "sim", "--json")
        assert (code, err) == (0, "")
        assert Path(json.loads(out)["image"]).is_relative_to(odd / "ca che")
    code, out, err = call("check", bundle.path, recording, "--board", "sim", "--json")
    assert (code, err, json.loads(out)["passed"]) == (0, "", True)
    code, out, err = call("run", bundle.path, recording, "--board", "sim", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])


def test_compiling(odd: Path, call: Call) -> None:
    needs("tvm", "cc")
    model = tiny_bundle(odd / "bun dle").file("encoder.onnx").rename(odd / f"{ODD}.onnx")
    code, _, err = call("compile", model, "--target", "native", "--out", odd / "o ut", "--json")
    assert (code, err) == (0, "")
    assert {"model.c", "kernels.c", "weights.c"} <= {path.name for path in (odd / "o ut").iterdir()}
