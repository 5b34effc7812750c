"""The paper's 18 classification experiments, from files as published to a checked bundle.

`make test` takes nano in the place of base, few events and the quick ones, `make test-long` the others of these;
`make test-presets` takes all as they are.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.cli import execute
from spedge.model.parts import Detector, EventInput, Transformer
from spedge.training.presets import PRESETS, paper
from tests import dataset_files
from tests.needs import needs
from tests.recording_files import Event
from tests.variants import quick_of

needs("torch", "lightning", "onnxscript", "h5py")

from spedge.training.data.registry import load_dataset  # noqa: E402
from tests.reproduce.clips import largest_difference  # noqa: E402

CLASSIFIERS = [preset.name for preset in paper.PRESETS if not isinstance(preset.model, Detector)]
SECONDS = 1.3  # of a gesture: two slices, the second a short one
FEW, SOME, MANY = 800, 2_400, 26_000  # events of a gesture; some: for patches of 16; many: over 10,000 in a slice


def gesture(count: int, seed: int) -> list[Event]:
    """Events around a point that goes in a circle."""
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, int(1e6 * SECONDS), count))
    turn = 1e-6 * t + seed
    around = np.stack([np.cos(turn), np.sin(turn)], 1) * 35 + random.normal(0, 2, (count, 2))
    x, y = np.clip(64 + around, 0, 127).astype(int).T.tolist()
    return list(zip(t.tolist(), x, y, random.integers(0, 2, count).tolist(), strict=True))


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a verb says as JSON."""
    assert execute([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def walk(name: str, events: int, folder: Path, capsys: pytest.CaptureFixture[str], *options: object) -> None:
    """Preprocess, take two steps, evaluate, export, and compare what the bundle and torch compute."""
    data = PRESETS[name].dataset
    write = {"dvsgesture": dataset_files.dvsgesture, "slanimals": dataset_files.slanimals}[data]
    write(folder / "raw", [(label, gesture(events, label)) for label in (1, 2, 11)])
    store, run, bundle = folder / "store", folder / "run", folder / "bundle"
    assert told(capsys, "preprocess", data, "--data", folder / "raw", "--out", store)["samples"] == 18
    given = ("--steps", 2, "--batch", 3, "--accumulate", 1, "--workers", 0, "--no-bundle")
    report = told(capsys, "train", name, "--data", store, "--run", run, *given, *options)
    assert (report["preset"], report["steps"], report["learned_samples"]) == (name, 2, 6)
    seen = told(capsys, "evaluate", run, "--data", store, "--split", "test")
    assert (seen["samples"], seen["slices"]) == (3, 6)
    assert seen["tokens_per_slice"] > 0
    if isinstance(representation := PRESETS[name].representation, EventInput):
        kept = representation.count
        assert seen["tokens_per_slice"] == np.mean([min(n, kept) for n in counts(store, data)])
    told(capsys, "export", run, "--out", bundle)
    by_runtime = told(capsys, "evaluate", bundle, "--data", store, "--split", "test")
    assert by_runtime["confusion"] == seen["confusion"]
    assert largest_difference(run, bundle, load_dataset(data, store).test) <= 1e-4


def counts(store: Path, data: str) -> list[int]:
    return [len(sample.events) for sample in load_dataset(data, store).test]


#: Both data sets, all families and inputs.
QUICK = {"DG-T-F", "DG-GNN-V", "DG-PCN-E", "SL-T-SP"}


@pytest.mark.parametrize("name", quick_of(CLASSIFIERS, QUICK))
def test_every_preset_from_files_to_a_bundle(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = PRESETS[name]
    if isinstance(preset.model, Transformer):
        walk(name, SOME, tmp_path, capsys, "--size", "nano")
        return
    if isinstance(preset.representation, EventInput):
        monkeypatch.setitem(PRESETS, name, replace(preset, representation=replace(preset.representation, count=300)))
    walk(name, FEW, tmp_path, capsys)


@pytest.mark.presets
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_preset_at_full_size(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(name, MANY, tmp_path, capsys)
    shutil.rmtree(tmp_path)  # gigabytes of a base model


def test_there_are_18() -> None:
    assert len(CLASSIFIERS) == 18
