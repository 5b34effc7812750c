"""`spedge check --board host`: a bundle on this machine against what training computed, without a device."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import InputError
from spedge.base.paths import assets_dir
from spedge.cli import execute
from spedge.jobs.check_host import check_host
from spedge.jobs.play import recordings_for
from spedge.model.bundle import FILES, Bundle, write_bundle
from tests.tiny import tiny_bundle


def changed(folder: Path, bundle: Bundle, change: Any, more: dict[str, dict[str, np.ndarray]] | None = None) -> Bundle:
    """The bundle with other vectors, and other files of arrays."""
    with np.load(bundle.file("vectors.npz")) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    change(arrays)
    files = {name: bundle.file(name).read_bytes() for name in FILES}
    for name, content in {"vectors.npz": arrays, **(more or {})}.items():
        buffer = io.BytesIO()
        np.savez(buffer, **content)  # type: ignore[arg-type]
        files[name] = buffer.getvalue()
    return write_bundle(folder, bundle.plain(), files)


@pytest.mark.parametrize("name", ["gestures-320", "gestures-pico", "nmnist-pico"])
def test_our_bundles_are_here_what_training_computed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.load(assets_dir() / name)
    recordings = recordings_for(bundle, assets_dir() / "recordings")[:2]
    assert len(recordings) == (0 if name == "nmnist-pico" else 2)
    report = check_host(bundle, recordings)
    assert report.passed
    assert len(report.samples) == len(bundle.vectors()) + len(recordings)
    assert all(sample.edges is None and sample.tokens > 0 for sample in report.samples)
    assert execute(["check", str(bundle.path), *map(str, recordings), "--board", "host", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["board"], told["passed"], len(told["samples"])) == ("host", True, len(report.samples))
    assert execute(["check", str(bundle.path), *map(str, recordings), "-b", "host"]) == 0
    assert f"host: {len(report.samples)} of {len(report.samples)} passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("logits", "logits by model.onnx differ by 2.0e-04"),
        ("embedded", "embedded tokens differ"),
        ("tokens", "tokens are not"),
    ],
)
def test_a_difference_is_named(name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        if name == "tokens":
            arrays["tokens_1"]["n"][3] += 1
        else:
            arrays[f"{name}_1"].flat[0] += 2e-4

    bundle = changed(tmp_path, Bundle.load(assets_dir() / "nmnist-pico"), change)
    report = check_host(bundle)
    problems = [sample.problem for sample in report.samples]
    assert problems[0] is None
    assert problems[1] is not None
    assert words in problems[1]
    assert execute(["check", str(tmp_path), "--board", "host"]) == 1
    assert "sample 2: its " in capsys.readouterr().out


def test_a_graph_that_differs_from_the_other_is_named(tmp_path: Path) -> None:
    """Two bundles made into one whose encoder.onnx and model.onnx are of two models."""
    one, other = tiny_bundle(tmp_path / "one", 0), tiny_bundle(tmp_path / "other", 1)
    with pytest.raises(InputError, match="keeps no samples to compare with"):
        check_host(one)
    files = {name: one.file(name).read_bytes() for name in FILES}
    mixed = write_bundle(
        tmp_path / "mixed", one.plain(), files | {"encoder.onnx": other.file("encoder.onnx").read_bytes()}
    )
    recording = tmp_path / "events.npz"
    random = np.random.default_rng(0)
    t = np.sort(random.integers(0, 200_000, 3000))
    x, y, p = random.integers(0, 12, 3000), random.integers(0, 12, 3000), random.integers(0, 2, 3000)
    np.savez(recording, t=t, x=x, y=y, p=p, width=34, height=34)
    assert check_host(one, [recording]).passed
    problem = check_host(mixed, [recording]).samples[0].problem
    assert problem is not None
    assert problem.startswith("the logits of model.onnx and of encoder.onnx differ by")


def test_options_of_boards_are_refused_and_a_board_needs_a_recording(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(assets_dir() / "nmnist-pico")
    for more in (["--fault", "drop=0.1"], ["--every-ms", "5"], ["--precision", "int8"], ["--device", "tcp://a:1"]):
        assert execute(["check", bundle, "--board", "host", *more]) == 2
        assert "--board host has no device" in capsys.readouterr().err
    assert execute(["check", bundle]) == 2
    assert "say which RECORDING to play to sim; --board host needs none" in capsys.readouterr().err
    assert execute(["check", bundle, "--board", "host"]) == 0
