"""Data sets, model, training, export and evaluation."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import CheckFailed, InputError, UsageError
from spedge.cli import execute
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.bundle import Bundle
from spedge.model.parts import Transformer
from spedge.model.reference import Reference
from spedge.model.spec import Metric
from spedge.training import nmnist
from spedge.training.augment import augment
from spedge.training.augment.recipe import Augmentation
from spedge.training.presets import PRESETS
from tests.events import nmnist_bytes, strokes
from tests.needs import needs

needs("torch")

import torch  # noqa: E402

from spedge.training import evaluate, export, train  # noqa: E402
from spedge.training.checkpoint import load_checkpoint  # noqa: E402
from spedge.training.fit.fitting import _Between  # noqa: E402

SHARED = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).parents[3] / "shared"))
NMNIST = SHARED / "data" / "nmnist-800.zip"


SPEC = PRESETS["nmnist-pico"].spec("test")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """N-MNIST's layout with made-up digits, without a test part."""
    root = tmp_path_factory.mktemp("digits")
    for label in range(10):
        folder = root / "N-MNIST" / "Train" / str(label)
        folder.mkdir(parents=True)
        for number in range(12):
            (folder / f"{10 * number + label:05d}.bin").write_bytes(nmnist_bytes(strokes(label, number)))
    return root


# ---------------------------------------------------------------- data


def test_decode_an_event_and_an_overflow() -> None:
    events = nmnist.decode(bytes([3, 4, 0x80, 1, 2, 0, 240, 0, 0, 0, 5, 6, 0, 1, 3]), "x.bin")
    assert events.tolist() == [(258, 3, 4, 1), (259 + 8192, 5, 6, 0)]


@pytest.mark.parametrize("content", [b"1234", bytes([34, 0, 0, 0, 0]), bytes([0, 0, 0, 0, 9, 0, 0, 0, 0, 8])])
def test_damaged_digits_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "3" / "00001.bin"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"00001\.bin is damaged"):
        nmnist.load(tmp_path)


def test_every_layout_is_found(digits: Path, tmp_path: Path) -> None:
    archive = tmp_path / "digits.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for file in digits.rglob("*.bin"):
            out.write(file, file.relative_to(digits))
    whole = nmnist.load(digits)
    assert len(whole.train) == 120
    assert not whole.test
    for path in (digits / "N-MNIST", digits / "N-MNIST" / "Train", archive):
        other = nmnist.load(path)
        assert other.fingerprint == whole.fingerprint
        assert sorted(s.label for s in other.train) == sorted(s.label for s in whole.train)
    (tmp_path / "Test").symlink_to(digits / "N-MNIST" / "Train")
    assert len(nmnist.load(tmp_path / "Test").test) == 120


def test_train_and_test_folders_are_the_splits(tmp_path: Path) -> None:
    for part, count in (("Train", 2), ("Test", 1)):
        for number in range(count):
            path = tmp_path / "N-MNIST" / part / "7" / f"{number:05d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(nmnist_bytes(strokes(7, number)))
    dataset = nmnist.load(tmp_path)
    learn, held = dataset.split(0.5, 0)
    assert (len(learn), len(held)) == (2, 1)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no N-MNIST"):
        nmnist.load(tmp_path)
    with pytest.raises(InputError, match="no file or directory"):
        nmnist.load(tmp_path / "nowhere")
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="not a good zip"):
        nmnist.load(tmp_path / "bad.zip")


def test_the_holdout_is_stratified_seeded_and_independent_of_order(digits: Path) -> None:
    dataset = nmnist.load(digits)
    learn, held = dataset.split(0.2, 0)
    assert np.bincount([s.label for s in held]).tolist() == [2] * 10
    assert len(learn) == 100
    assert not {s.name for s in learn} & {s.name for s in held}
    again = replace(dataset, train=dataset.train[::-1]).split(0.2, 0)[1]
    assert {s.name for s in again} == {s.name for s in held}
    assert {s.name for s in dataset.split(0.2, 1)[1]} != {s.name for s in held}


@pytest.mark.skipif(not NMNIST.exists(), reason=f"{NMNIST} is not there (set SPEDGE_SHARED)")
def test_the_real_digits_are_read() -> None:
    dataset = nmnist.load(NMNIST)
    assert len(dataset.train) == 800
    assert 3000 < np.mean([len(s.events) for s in dataset.train]) < 5000


# ---------------------------------------------------------------- augmentation


def test_no_change_changes_nothing() -> None:
    events = strokes(4, 0)
    changed = augment(events, 34, 34, Augmentation(), np.random.default_rng(0))
    assert np.array_equal(changed["x"], events["x"])
    assert np.array_equal(changed["y"], events["y"])
    assert np.array_equal(changed["t"], events["t"] - events["t"][0])


@pytest.mark.parametrize("name", ["nmnist-pico", "gestures-pico"])
def test_changed_events_are_events(name: str) -> None:
    chosen = PRESETS[name]
    sensor = chosen.spec().sensor
    width, height = sensor.width, sensor.height
    events = strokes(4, 0)
    for seed in range(20):
        changed = augment(events, width, height, chosen.recipe.augmentation, np.random.default_rng(seed))
        assert (np.diff(changed["t"].astype(np.int64)) >= 0).all()
        assert changed["x"].max() < width
        assert changed["y"].max() < height
        assert 0 < len(changed) <= len(events)
    same = augment(events, width, height, chosen.recipe.augmentation, np.random.default_rng(19))
    assert np.array_equal(same, changed)
    assert len(augment(events[:0], width, height, chosen.recipe.augmentation, np.random.default_rng(0))) == 0


def test_nothing_is_mirrored() -> None:
    """A shape with a handedness keeps it under every change."""
    events = np.zeros(300, EVENT_DTYPE)
    events["t"] = np.arange(300)
    events["x"] = np.repeat([12, 22, 12], 100)
    events["y"] = np.repeat([10, 10, 24], 100)
    for seed in range(200):
        rule = replace(PRESETS["nmnist-pico"].recipe.augmentation, drop=0.0, jitter_us=0.0)
        changed = augment(events, 34, 34, rule, np.random.default_rng(seed))
        a, b, c = (changed[i * 100 : (i + 1) * 100] for i in range(3))
        ab = [b["x"].mean() - a["x"].mean(), b["y"].mean() - a["y"].mean()]
        ac = [c["x"].mean() - a["x"].mean(), c["y"].mean() - a["y"].mean()]
        assert ab[0] * ac[1] - ab[1] * ac[0] > 0


# ---------------------------------------------------------------- training, export, evaluation


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    chosen = PRESETS["nmnist-pico"]
    # The made-up digits differ by their place, so they may not be shifted as far as real ones.
    mild = Augmentation(shift_px=0.5, drop=0.3, jitter_px=0.3, jitter_us=500.0)
    quick = replace(
        chosen, recipe=replace(chosen.recipe, steps=50, average_samples=500, validate_epochs=1, augmentation=mild)
    )
    seen: list[Any] = []
    out = tmp_path_factory.mktemp("trained")
    report = train(quick, digits, out, seed=3, holdout=0.33, on_progress=seen.append)
    return report, seen


def test_it_learns(trained: Any) -> None:
    report, seen = trained
    assert report.held_out_samples == 40
    assert report.top1 >= 0.95
    assert seen[-1].loss < seen[0].loss / 1.5
    assert seen[-1].done == 1
    assert [p.epoch for p in seen] == list(range(1, report.epochs + 1))


def test_the_bundle_says_how_it_was_made(trained: Any) -> None:
    report, _ = trained
    bundle = Bundle.load(report.bundle.path)
    assert bundle.metric == Metric("top1", report.top1, "held-out", 40)
    assert bundle.training["seed"] == 3
    assert bundle.training["data"]["learned"] == 80
    assert bundle.path == report.checkpoint.parent


def test_bundle_and_checkpoint_evaluate_alike(trained: Any, digits: Path) -> None:
    report, _ = trained
    from_bundle = evaluate(report.bundle.path, digits)
    from_checkpoint = evaluate(report.checkpoint, digits)
    assert from_bundle.split == "unseen"
    assert from_bundle.samples == 40
    assert from_bundle.top1 == report.top1
    assert np.array_equal(from_bundle.confusion, from_checkpoint.confusion)
    assert evaluate(report.bundle.path, digits, "all").samples == 120
    with pytest.raises(UsageError, match="no samples"):
        evaluate(report.bundle.path, digits, "test")


def test_int8_is_evaluated_beside_fp32(trained: Any, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("onnx")
    given = ["evaluate", str(trained[0].bundle.path), "--data", str(digits)]
    assert len(trained[0].bundle.calibration()) == 16
    assert execute([*given, "--precision", "int8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["precision"], told["fp32"]["top1"], told["samples"]) == ("int8", trained[0].top1, 40)
    assert abs(told["top1"] - told["fp32"]["top1"]) <= 0.05
    assert told["loss"] != told["fp32"]["loss"]
    assert execute([*given, "--precision", "int8w"]) == 0
    assert f"that is in int8w; in fp32 {trained[0].top1:.1%}" in capsys.readouterr().out
    assert execute([*given, "--precision", "int8", "--checkpoint", "best"]) == 2
    assert "leave --checkpoint out" in capsys.readouterr().err
    assert execute([*given, "--precision", "int7"]) == 2


def test_other_digits_are_all_unseen(trained: Any, tmp_path: Path) -> None:
    for label in range(10):
        (tmp_path / str(label)).mkdir()
        (tmp_path / str(label) / "00001.bin").write_bytes(nmnist_bytes(strokes(label, 777)))
    report = evaluate(trained[0].bundle.path, tmp_path)
    assert (report.split, report.samples) == ("unseen", 10)
    assert report.top1 >= 0.8
    assert set(report.per_class) == set("0123456789")
    with pytest.raises(UsageError, match="no split 'other'"):
        evaluate(trained[0].bundle.path, tmp_path, "other")


def test_learned_digits_are_never_taken_for_unseen(trained: Any, digits: Path) -> None:
    """Also when only some of them are given, from another place."""
    some = evaluate(trained[0].bundle.path, digits / "N-MNIST" / "Train", "unseen")
    assert some.samples == 40
    learn, _ = nmnist.load(digits).split(0.33, 3)
    from spedge.training.data import pack_digests, unseen

    assert unseen(learn[:7], pack_digests(learn)) == []


def test_a_bundle_is_evaluated_without_torch(trained: Any, digits: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None\n"
        "from spedge.training import evaluate\n"
        f"print(evaluate({str(trained[0].bundle.path)!r}, {str(digits)!r}).top1)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert float(out) == trained[0].top1


def test_export_with_a_shorter_window(trained: Any, tmp_path: Path) -> None:
    bundle, whole = export(trained[0].checkpoint.parent, tmp_path / "short", tokens=9), trained[0].bundle
    assert (bundle.tokens, bundle.metric, bundle.name) == (9, None, f"{whole.name}-t9")
    events = max((vector.events for vector in whole.vectors()), key=len)
    count = 9
    tokens = Reference(whole).compute(events).tokens
    assert len(tokens) > count
    few = events[: int(np.searchsorted(events["t"], tokens.t[count - 1], "right"))]
    assert len(Reference(whole).compute(few).tokens) <= count
    np.testing.assert_allclose(Reference(bundle).compute(few).logits, Reference(whole).compute(few).logits, atol=1e-5)
    with pytest.raises(UsageError, match="0 tokens"):
        export(trained[0].checkpoint.parent, tmp_path / "none", tokens=0)


def test_export_again_gives_the_same_bundle(trained: Any, tmp_path: Path) -> None:
    again = export(trained[0].checkpoint.parent, tmp_path / "again")
    assert again.hash == trained[0].bundle.hash


def test_the_graphs_compute_what_torch_does(trained: Any) -> None:
    import onnxruntime

    bundle = trained[0].bundle
    session = onnxruntime.InferenceSession(bundle.file("encoder.onnx"), providers=["CPUExecutionProvider"])
    inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    assert inputs == {"tokens": ("tensor(float)", [1, 128, 64]), "length": ("tensor(int32)", [1])}
    oracle = onnxruntime.InferenceSession(bundle.file("model.onnx"), providers=["CPUExecutionProvider"])
    assert {i.name: i.shape for i in oracle.get_inputs()} == {
        "volumes": [1, 128, 2, 6, 4, 4],
        "positions": [1, 128, 3],
        "length": [1],
    }
    made = load_checkpoint(trained[0].checkpoint).model()
    for vector in bundle.vectors():
        rows = np.zeros((1, 128, 64), np.float32)
        rows[0, : len(vector.embedded)] = vector.embedded
        count = np.array([len(vector.embedded)], np.int32)
        got = session.run(None, {"tokens": rows, "length": count})[0][0]
        assert np.abs(got - vector.logits).max() < 1e-5
        with torch.no_grad():
            ours = made.encoder(torch.from_numpy(rows), torch.from_numpy(count))[0].numpy()
        assert np.abs(got - ours).max() < 1e-5


def test_the_graphs_hold_no_traces_of_this_machine(trained: Any) -> None:
    for name in ("encoder.onnx", "model.onnx"):
        content = trained[0].bundle.file(name).read_bytes()
        assert b".py" not in content
        assert str(Path.home()).encode() + b"/" not in content


def test_a_graph_that_differs_is_refused(trained: Any) -> None:
    """A model that is not the one exported stands for a fault of the exporter."""
    from spedge.training.export.verify import verify
    from spedge.training.export.whole import whole_of

    source = load_checkpoint(trained[0].checkpoint)
    made = source.model()
    bundle = trained[0].bundle
    with torch.no_grad():
        made.encoder.head.bias[0] += 1e-3
        events = [vector.events for vector in bundle.vectors()]
        graphs = [bundle.file(name).read_bytes() for name in ("encoder.onnx", "model.onnx")]
        with pytest.raises(CheckFailed, match=r"encoder\.onnx and torch disagree"):
            verify(whole_of(made, source.spec), *graphs, events)


def test_a_seed_gives_the_same_weights(digits: Path, tmp_path: Path) -> None:
    few = {"batch": 16, "steps": 10}
    weights = []
    for run, seed in enumerate((0, 0, 1)):
        train("nmnist-pico", digits, tmp_path / str(run), seed=seed, recipe=few, bundle=False)
        kept = load_checkpoint(tmp_path / str(run)).weights
        weights.append(torch.cat([kept[name].flatten() for name in sorted(kept)]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.train
def test_the_budget_holds(digits: Path, tmp_path: Path) -> None:
    report = train("nmnist-pico", digits, tmp_path, minutes=0.02)
    assert report.cpu_seconds < 30  # 1.2 s and the export
    assert report.epochs >= 1
    with pytest.raises(UsageError, match="more than 0"):
        train("nmnist-pico", digits, tmp_path, minutes=0)


def test_a_budget_within_the_first_epoch_ends_with_a_low_learning_rate(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector's epoch is longer than its schedule: waiting for its end, the schedule would be cut off."""
    monkeypatch.setattr(_Between, "cpu", lambda self: 0.05 * self.module.step)
    recipe = {"steps": 200, "minutes": 0.05, "batch": 1, "workers": 0, "log_steps": 1, "average_samples": 0}
    report = train("nmnist-pico", digits, tmp_path, recipe=recipe, bundle=False)
    assert report is not None
    assert (report.steps, report.epochs) == (60, 1)
    with (tmp_path / "curves.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file) if row["learning_rate"]]
    assert rates[-1] < max(rates) / 100


@pytest.mark.train
def test_the_command_trains_causal_attention_and_shorter_windows(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its bundle is causal, and ONNX Runtime computes the logits that torch did."""
    given = ["train", "--preset", "nmnist-pico", "--data", str(digits), "--out", str(tmp_path), "--minutes", "0.02"]
    assert execute([*given, "--attention", "causal", "--tokens", "64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"] == str(tmp_path)
    bundle = Bundle.load(tmp_path)
    assert (bundle.name, bundle.tokens) == ("nmnist-pico-causal", 64)
    assert isinstance(bundle.model, Transformer)
    assert bundle.model.attention == "causal"
    reference = Reference(bundle)
    for vector in bundle.vectors():
        assert np.abs(reference.encode(vector.embedded) - vector.logits).max() <= 1e-4
    assert execute([*given, "--attention", "backwards"]) == 2
    assert "There is no attention 'backwards'. Choose one of: full, causal." in capsys.readouterr().err
    assert execute([*given, "--tokens", "129"]) == 2
    assert "nmnist-pico has 1 to 128" in capsys.readouterr().err


def test_an_interrupt_keeps_what_was_learned(digits: Path, tmp_path: Path) -> None:
    def stop(progress: Any) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    report = train("nmnist-pico", digits, tmp_path, on_progress=stop)
    assert report.interrupted
    assert report.epochs == 2
    assert Bundle.load(tmp_path).training["interrupted"] is True


def test_damaged_and_missing_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        export(tmp_path, tmp_path / "out")
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
