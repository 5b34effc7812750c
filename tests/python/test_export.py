"""Bundles of every family: what ONNX Runtime computes of them is what torch does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.events.arrays import EVENT_DTYPE
from spedge.model.bundle import Bundle
from spedge.model.parts import EventInput, TokenInput, Transformer
from spedge.model.reference import Reference
from spedge.model.spec import ModelSpec
from spedge.model.window import Windower
from spedge.training.presets import PRESETS, SIZES
from tests.needs import needs

needs("torch")

import torch  # noqa: E402

from spedge.training.export.bundle import export_model, with_room  # noqa: E402
from spedge.training.models.registry import make_model  # noqa: E402
from spedge.training.represent.collate import Item, collate  # noqa: E402
from spedge.training.represent.samples import Represent  # noqa: E402

#: Of every family on every kind of input one; all are exported at full size by `make test-presets`.
SOME = ("DG-T-SP", "SL-T-V", "DG-T-F", "SL-GNN-SP", "DG-GNN-E", "DG-PCN-V", "SL-PCN-E")


def waving(seed: int, events: int = 6000, start_us: int = 3000) -> np.ndarray:
    """A blob that goes round on a sensor of 128x128, from start_us on."""
    random = np.random.default_rng(seed)
    found = np.zeros(events, EVENT_DTYPE)
    found["t"] = np.sort(random.integers(start_us, 900_000, events))
    angle = found["t"] / 1e5 + seed
    for name, middle in (("x", 64 + 40 * np.cos(angle)), ("y", 64 + 40 * np.sin(angle))):
        found[name] = np.clip(middle + random.normal(0, 6, events), 0, 127)
    found["p"] = random.integers(0, 2, events)
    return found


def small(name: str) -> ModelSpec:
    """The description of a preset, nano in the place of base and of 300 events."""
    spec: ModelSpec = PRESETS[name].spec()
    if isinstance(spec.model, Transformer) and isinstance(spec.representation, TokenInput):
        nano = Transformer(*SIZES["nano"])
        embedding = replace(spec.representation.embedding, hidden=nano.hidden)
        spec = replace(spec, model=nano, representation=replace(spec.representation, embedding=embedding))
    if isinstance(spec.representation, EventInput):
        spec = replace(spec, representation=replace(spec.representation, count=300))
    return spec


def model_of(spec: ModelSpec) -> Any:
    """Random weights; norms that have seen something."""
    torch.manual_seed(1)
    model = make_model(spec).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.3)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return model


def by_torch(model: Any, spec: ModelSpec, events: np.ndarray) -> np.ndarray:
    """Logits by the road of training."""
    batch = collate([Item(Represent(spec)(events), np.zeros(len(spec.labels), np.float32), 0)])
    with torch.no_grad():
        logits: np.ndarray = model.of_batch(batch.inputs)[0].numpy()
    return logits


@pytest.mark.parametrize("name", SOME)
def test_classifiers_of_all_kinds_are_exported(name: str, tmp_path: Path) -> None:
    """By the host's reference it gives what the trained model gives: from events to logits."""
    examples = [waving(0, 4000), waving(1, 2000)]
    spec = small(name)
    spec = replace(spec, training={"largest": len(Windower(spec).tokenize(examples[0]))})
    model = model_of(spec)
    bundle = export_model(model, with_room(spec), examples, tmp_path)
    reference = Reference(Bundle.load(tmp_path))
    for events in (*examples, waving(2, 3000)):
        expected = by_torch(model, spec, events)
        assert np.abs(reference.compute(events).logits - expected).max() < 1e-4
        tokens = reference.compute(events).tokens
        assert np.abs(reference.encoded(tokens)["logits"] - expected).max() < 1e-4
    assert [len(vector.events) for vector in bundle.vectors()] == [4000, 2000]
