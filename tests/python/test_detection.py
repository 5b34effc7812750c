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
from spedge.model.bundle import Bundle
from spedge.model.parts import Detector, Pcn
from spedge.recordings import write
from spedge.training.data.registry import load_chunks
from spedge.training.preprocess import preprocess
from spedge.training.presets import PRESETS, Preset
from spedge.training.run import made_compatible
from tests.detection_sets import digits_store, moving_digits
from tests.detector_bundles import moving
from tests.needs import needs

needs("torch", "lightning", "h5py", "faster_coco_eval", "PIL")

import torch  # noqa: E402
from PIL import Image  # noqa: E402

from spedge.training import evaluate, export, import_run, train  # noqa: E402
from spedge.training.opened import open_trained  # noqa: E402
from spedge.training.train import TrainReport  # noqa: E402


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_digits(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_store(tmp_path_factory.mktemp("digits"))


def small(**recipe: Any) -> Preset:
    """The pico preset with fewer features yet."""
    preset = PRESETS["nmnist-det-pico"]
    assert isinstance(preset.model, Detector)
    changes: dict[str, Any] = {
        "steps": 6,
        "batch": 2,
        "workers": 0,
        "minutes": None,
        "augment": True,
        "log_steps": 1,
        **recipe,
    }
    return replace(preset, model=replace(preset.model, hidden=8, head=8), recipe=replace(preset.recipe, **changes))


def trained(preset: Preset, store: Path, out: Path, **options: Any) -> TrainReport:
    report = train(preset, store, out, keep_minutes=0, bundle=False, **options)
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
    interrupted = train(first, store, tmp_path / "parts", keep_minutes=0, bundle=False, on_progress=stop)
    assert interrupted is not None
    assert (interrupted.interrupted, interrupted.steps) == (True, 1)
    again = trained(first, store, tmp_path / "parts")
    assert again.steps == 6
    ours, theirs = weights(whole), weights(again)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


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
    picture, report = tmp_path / "frames.png", ["--html", "boxes.html"]
    assert execute(["evaluate", "boxes", "--data", str(store), "--picture", str(picture), *report]) == 0
    assert "data:image/png" in (tmp_path / "boxes.html").read_text()
    with Image.open(picture) as image:
        assert image.size == (2 * 16 + 4 * (608 + 16) - 16, 2 * 16 + 2 * (30 + 20 + 480 + 16) - 16)
    assert execute(["evaluate", "boxes", "--data", str(store), "--picture", "frames.gif"]) == 2
    assert "frames are drawn as .png" in capsys.readouterr().err
    assert execute(["runs"]) == 0
    assert "nmnist-det-pico" in capsys.readouterr().out
    assert execute(["evaluate", "boxes", "--data", str(store), "--split", "all"]) == 2
    assert "one of the splits test, validation, train, not on 'all'" in capsys.readouterr().err
    assert execute(["evaluate", "boxes", "--data", str(store), "--precision", "int8"]) == 2
    assert "is evaluated in fp32: leave --precision out" in capsys.readouterr().err


def test_a_bundle_is_scored_as_its_run_is(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported, checked on this machine, and evaluated, by the verbs."""
    preset = small(steps=2)
    monkeypatch.setitem(PRESETS, preset.name, preset)
    monkeypatch.chdir(tmp_path)
    trained(preset, store, tmp_path / "run")
    assert execute(["export", "run", "--out", "bundle", "--times", "window"]) == 2
    assert "count back from its steps: leave --times out" in capsys.readouterr().err
    assert execute(["export", "run", "--out", "bundle"]) == 0
    bundle = Bundle.load(tmp_path / "bundle")
    assert len(bundle.vectors()) == 1
    assert len(bundle.calibration()) == 3
    write("moving.npz", moving(), 304, 240)
    assert execute(["check", "bundle", "moving.npz", "--board", "host", "--json", "--html", "check.html"]) == 0
    assert "largest Δ head" in (html := Path("check.html").read_text()) and "<polyline" in html
    capsys.readouterr()
    assert execute(["evaluate", "bundle", "--data", str(store), "--json"]) == 0
    by_bundle = json.loads(capsys.readouterr().out)
    assert execute(["evaluate", "run", "--data", str(store), "--json"]) == 0
    by_torch = json.loads(capsys.readouterr().out)
    for name in ("recordings", "steps", "labels"):
        assert by_bundle[name] == by_torch[name] > 0
    for name in ("mAP", "mAP@.50"):
        assert by_bundle[name] == pytest.approx(by_torch[name], abs=1e-3)


def test_what_is_no_detection_set_or_no_detector_is_named(store: Path, raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a detector, which is scored by its boxes"):
        report = trained(small(steps=1), store, tmp_path / "run")
        evaluate(report.checkpoint.parent, store)
    with pytest.raises(UsageError, match="is a detector, whose checkpoints cannot be imported"):
        import_run(tmp_path / "none.ckpt", "G1-T-SP", tmp_path / "imported")
    with pytest.raises(UsageError, match="count back from its steps: leave --times out"):
        export(tmp_path / "run", times="window")
    with pytest.raises(UsageError, match="is no preprocessed data set"):
        train(small(), raw, tmp_path / "other")
    with pytest.raises(UsageError, match="chunks of 20 ms and 50 ms are asked for"):
        preprocess("nmnist-det", raw, tmp_path / "other-store", chunk_ms=20)
        train(small(), tmp_path / "other-store", tmp_path / "other")


def test_authors_crop_an_odd_grid(store: Path, tmp_path: Path) -> None:
    """15x19 cells: to 14x18, where they are padded to 16x20 by default; and graphs keep neighbours as theirs do."""
    report = trained(small(steps=1), store, tmp_path / "run", compat="authors")
    spec = open_trained(tmp_path / "run", "last").spec
    assert isinstance(spec.model, Detector)
    assert spec.model.odd_grid == "crop"
    assert spec.model.boxes(spec.sensor, spec.representation) == 5 * 14 * 18 + 7 * 9
    assert report.compat == "authors"
    assert len(small().spec().outputs) == len(spec.outputs)
    padded = small().spec().model
    assert isinstance(padded, Detector)
    assert padded.boxes(spec.sensor, spec.representation) == 5 * 16 * 20 + 8 * 10
    graph = made_compatible(PRESETS["G1-PCN-SP"].spec(), "authors").model
    assert isinstance(graph, Detector)
    assert isinstance(graph.encoder, Pcn)
    assert (graph.odd_grid, graph.encoder.rule) == ("crop", "lowest")
    with pytest.raises(UsageError, match="no compatibility with 'nobody'"):
        made_compatible(PRESETS["G1-T-SP"].spec(), "nobody")


def test_boxes_that_a_device_has_found(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scored as the model's own are; one file for each recording, beside nothing else of a model."""
    trained(small(steps=1), store, tmp_path / "run")
    (test,) = load_chunks("nmnist-det", store).part("test")
    file = tmp_path / "said" / f"{test.name}.jsonl"
    file.parent.mkdir(parents=True)
    lines = []
    for t in np.unique(test.boxes["t"]).tolist():
        own = test.boxes[test.boxes["t"] == t]
        boxes = [
            {**{side: float(box[side]) for side in "xywh"}, "score": 0.9, "label": str(box["label"])} for box in own
        ]
        lines.append(json.dumps({"t_us": t, "boxes": boxes}))
    file.write_text("\n".join(lines))
    command = ["evaluate", str(tmp_path / "run"), "--data", str(store), "--boxes", str(tmp_path / "said")]
    assert execute([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["mAP"] == told["mAP@.50"] == pytest.approx(1)
    assert told["steps"] == 0
    assert execute(command) == 0
    assert "mAP 1.000" in capsys.readouterr().out
    file.write_text('{"t_us": 5, "boxes": [{"x": 1, "y": 2, "w": 3, "h": 4, "score": 0.5, "label": "car"}]}')
    assert execute(command) == 4
    assert "has boxes of other classes than 0, 1, 2" in capsys.readouterr().err
    file.unlink()
    assert execute(command) == 4
    assert "cannot be read" in capsys.readouterr().err
