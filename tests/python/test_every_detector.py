"""The paper's nine detectors and the two for larger sensors, from files as published to boxes that are scored.

`make test` takes narrow ones and few events; `make test-presets` all of them as they are.
"""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spedge.cli import execute
from spedge.model.parts import Detector, EventInput, Transformer
from spedge.training.presets import PRESETS, Preset
from tests.detection_sets import driving
from tests.needs import needs

needs("torch", "lightning", "h5py", "faster_coco_eval")

DETECTORS = [name for name in PRESETS if name[:2] in ("G1", "ET", "MP")]
FEW, MANY = 6_000, 60_000  # events of a recording


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a verb says as JSON."""
    assert execute([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def walk(
    name: str,
    events: int,
    seconds: float,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    batch: int = 2,
    export: bool = False,
) -> None:
    """Preprocess, take two steps, score the boxes of both checkpoints; export, and hold the bundle against torch."""
    data = PRESETS[name].dataset
    classes = len(PRESETS[name].spec().labels)
    driving(folder / "raw", data, classes, seconds, events)
    store, run = folder / "store", folder / "run"
    assert told(capsys, "preprocess", data, "--data", folder / "raw", "--out", store)["recordings"] == 3
    given = ("--steps", 2, "--batch", batch, "--log-steps", 1, "--workers", 0, "--no-bundle")
    report = told(capsys, "train", name, "--data", store, "--run", run, *given)
    assert (report["preset"], report["steps"], report["learned_samples"]) == (name, 2, 1)
    assert 0 <= report["mAP@.50"] <= 1
    with (run / "curves.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert {f"val/mAP{which}" for which in ("", "@.50", "@.75", "@S", "@M", "@L")} <= set(last)
    for checkpoint in ("kept", "last"):
        found = told(capsys, "evaluate", run, "--data", store, "--split", "test", "--checkpoint", checkpoint)
        assert found["steps"] == 20 * seconds
        assert found["labels"] == 2 * (round(1e6 * seconds) // 250_000 - 2 if data == "gen1" else 30 * seconds - 15)
        assert -1 <= found["mAP@.50"] <= 1
        assert found["tokens_per_step"] > 0
    if export:
        assert execute(["export", str(run), "--out", str(folder / "bundle")]) == 0
        capsys.readouterr()
        assert told(capsys, "check", folder / "bundle", "--board", "host")["passed"]


def narrow(preset: Preset) -> Preset:
    """A few features in the encoder and all after it, and few events."""
    preset = preset.with_size("pico") if "-T-" in preset.name else preset
    model, seen = preset.model, preset.representation
    assert isinstance(model, Detector)
    if not isinstance(model.encoder, Transformer):
        model = replace(model, encoder=replace(model.encoder, channels=(4, 8, 8)))
        if isinstance(seen, EventInput):
            seen = replace(seen, count=200, features=4)
        else:
            seen = replace(seen, embedding=replace(seen.embedding, hidden=4))
    return replace(preset, representation=seen, model=replace(model, hidden=8, head=8))


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_from_files_to_boxes(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, name, narrow(PRESETS[name]))
    walk(name, FEW, 1, tmp_path, capsys)


@pytest.mark.long
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_is_exported(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, name, narrow(PRESETS[name]))
    walk(name, FEW, 1, tmp_path, capsys, export=True)


@pytest.mark.presets
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_at_full_size(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(name, MANY, 1, tmp_path, capsys, batch=1, export=True)  # two dense sequences would take 23 GB
    shutil.rmtree(tmp_path)  # gigabytes of a base model


def test_there_are_11() -> None:
    assert len(DETECTORS) == 11
