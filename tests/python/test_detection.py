"""Detectors trained by their presets: two steps each, resumed, evaluated, in the verbs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import UsageError
from spedge.cli import execute
from spedge.events.arrays import empty_events
from spedge.model.parts import Detector, EventInput, Transformer
from spedge.training.data.base import Sample
from spedge.training.data.moving_digits import BBOX_DTYPE, parts_of, write
from spedge.training.preprocess import preprocess
from spedge.training.presets import PRESETS, Preset
from tests.needs import needs

needs("torch", "lightning", "h5py", "faster_coco_eval")

import torch  # noqa: E402

from spedge.training import evaluate, export, import_run, train  # noqa: E402
from spedge.training.evaluate_boxes import evaluate_boxes  # noqa: E402
from spedge.training.opened import open_trained  # noqa: E402
from spedge.training.train import TrainReport  # noqa: E402


def digit(label: int, seed: int) -> Sample:
    """A square that fires all over for a third of a second."""
    random = np.random.default_rng(seed)
    events = empty_events(1200)
    events["t"] = np.sort(random.integers(0, 300_000, 1200))
    side = 12 + label
    events["x"], events["y"] = 7 + random.integers(0, side, 1200), 8 + random.integers(0, side, 1200)
    events["p"] = random.integers(0, 2, 1200)
    return Sample(events, label, f"digit {seed}")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few recordings of a second, in GEN1's own files."""
    folder = tmp_path_factory.mktemp("raw")
    write(folder, parts_of([digit(i % 10, i) for i in range(30)], [], 0), 0, seconds=1.2, per_recording=8)
    return folder


@pytest.fixture(scope="module")
def store(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("store")
    preprocess("nmnist-det", raw, out, chunk_ms=50)
    return out


def small(**recipe: Any) -> Preset:
    """The pico preset with fewer features yet."""
    preset = PRESETS["nmnist-det-pico"]
    assert isinstance(preset.model, Detector)
    changes: dict[str, Any] = {"steps": 6, "batch": 2, "workers": 0, "minutes": None, "augment": True, **recipe}
    return replace(preset, model=replace(preset.model, hidden=8, head=8), recipe=replace(preset.recipe, **changes))


def trained(preset: Preset, store: Path, out: Path, **options: Any) -> TrainReport:
    report = train(preset, store, out, keep_minutes=0, **options)
    assert report is not None
    return report


def weights(report: TrainReport) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(report.checkpoint, weights_only=True)["weights"]
    return state


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_is_stopped_ends_with_the_same_weights(store: Path, tmp_path: Path, workers: int) -> None:
    """LSTM states and where streams are go on, too."""
    whole = trained(small(workers=workers), store, tmp_path / "whole")
    assert (whole.metric, whole.steps, whole.bundle) == ("mAP@.50", 6, None)
    calls = []

    def stop(progress: Any) -> None:
        calls.append(progress)
        raise KeyboardInterrupt

    once = small(workers=workers)
    first = replace(once, recipe=replace(once.recipe, steps=6))
    interrupted = train(first, store, tmp_path / "parts", keep_minutes=0, on_progress=stop)
    assert interrupted is None or interrupted.steps <= 6
    again = trained(first, store, tmp_path / "parts")
    assert again.steps == 6
    ours, theirs = weights(whole), weights(again)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def tiny(name: str) -> Preset:
    """A published preset on moving digits: its encoder and all after it narrow, and few events."""
    preset = PRESETS[name]
    preset = preset.with_size("pico") if "-T-" in name else preset
    model, seen = preset.model, preset.representation
    assert isinstance(model, Detector)
    if not isinstance(model.encoder, Transformer):
        model = replace(model, encoder=replace(model.encoder, channels=(4, 8, 8)))
        seen = replace(seen, count=200, features=4) if isinstance(seen, EventInput) else seen
        seen = seen if isinstance(seen, EventInput) else replace(seen, embedding=replace(seen.embedding, hidden=4))
    recipe = replace(preset.recipe, steps=2, batch=2, workers=0, log_steps=1)
    model = replace(model, hidden=8, head=8)
    return replace(preset, dataset="nmnist-det", representation=seen, model=model, recipe=recipe)


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("G1-")])
def test_published_presets_take_two_steps_and_are_evaluated(name: str, store: Path, tmp_path: Path) -> None:
    report = trained(tiny(name), store, tmp_path / "run")
    assert report.steps == 2
    curves = (tmp_path / "run/curves.csv").read_text()
    assert "val/mAP@.50" in curves
    opened = open_trained(tmp_path / "run", "last")
    opened = replace(opened, spec=replace(opened.spec, preset="nmnist-det-pico"))  # whose data it was trained on
    found = evaluate_boxes(opened, store, "validation")
    assert found.steps == 24
    assert found.precision.labels > 0


def test_larger_sensors_are_learned_from(raw: Path, tmp_path: Path) -> None:
    """1Mpx's files, with boxes off the grid of chunks."""
    data = tmp_path / "1mpx"
    for part in ("train", "val", "test"):
        (data / part).mkdir(parents=True)
        for number, file in enumerate(sorted((raw / part).glob("*_td.dat"))[:1]):
            made = file.read_bytes().replace(b"% Height 240", b"% Height 720").replace(b"% Width 304", b"% Width 1280")
            (data / part / f"{number}_td.dat").write_bytes(made)
            boxes = np.load(file.with_name(file.name.replace("_td.dat", "_bbox.npy")))
            boxes["ts"] -= 7777
            boxes["class_id"] %= 3
            boxes["w"], boxes["h"] = boxes["w"] + 60, boxes["h"] + 60
            np.save(data / part / f"{number}_bbox.npy", boxes.astype(BBOX_DTYPE))
    preprocess("1mpx", data, tmp_path / "store", chunk_ms=50)
    preset = PRESETS["MP-T-SP"].with_size("pico")
    assert isinstance(preset.model, Detector)
    recipe = replace(preset.recipe, steps=2, batch=2, workers=0)
    preset = replace(preset, model=replace(preset.model, hidden=4, head=4), recipe=recipe)
    assert trained(preset, tmp_path / "store", tmp_path / "run").steps == 2


def test_the_verbs(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "nmnist-det-pico", "--data", str(store), "--run", "boxes", "--seed", "3"]
    command += ["--steps", "2", "--batch", "2", "--workers", "0"]
    assert execute(command) == 0
    assert "mAP@.50 0.000 on 1 held-out recordings" in capsys.readouterr().out
    assert execute(["evaluate", "boxes", "--data", str(store), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["split"] == "test"
    assert told["steps"] == 24
    assert {"mAP", "mAP@.50", "mAP@S", "recall", "tokens_per_step"} <= set(told)
    assert execute(["evaluate", "boxes", "--data", str(store), "--split", "train"]) == 0
    assert "labels of nmnist-det (train)" in capsys.readouterr().out
    assert execute(["runs"]) == 0
    assert "nmnist-det-pico" in capsys.readouterr().out
    assert execute(["evaluate", "boxes", "--data", str(store), "--split", "all"]) == 2
    assert "one of the splits test, validation, train, not on 'all'" in capsys.readouterr().err
    assert execute(["export", "runs/boxes", "--out", "bundle"]) == 2
    assert "is a detector, of which there are no bundles yet" in capsys.readouterr().err


def test_what_is_no_detection_set_or_no_detector_is_named(store: Path, raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a detector, which is scored by its boxes"):
        report = trained(small(steps=1), store, tmp_path / "run")
        evaluate(report.checkpoint.parent, store)
    with pytest.raises(UsageError, match="is a detector, whose checkpoints cannot be imported"):
        import_run(tmp_path / "none.ckpt", "G1-T-SP", tmp_path / "imported")
    with pytest.raises(UsageError, match="of which there are no bundles yet"):
        export(tmp_path / "run")
    with pytest.raises(UsageError, match="is no preprocessed data set"):
        train(small(), raw, tmp_path / "other")
    with pytest.raises(UsageError, match="chunks of 20 ms and 50 ms are asked for"):
        preprocess("nmnist-det", raw, tmp_path / "other-store", chunk_ms=20)
        train(small(), tmp_path / "other-store", tmp_path / "other")
