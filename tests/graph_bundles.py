"""Bundles of GNN and PCN classifiers with random weights, small enough to be compiled and checked in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.store import digest_of, stored
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.bundle import Bundle
from spedge.model.parts import Embedding, Gnn, Pcn, Sensor, TokenInput
from spedge.model.spec import ModelSpec, describe
from spedge.tokens.settings import TokenizerSettings

SIDE = 34
LABELS = ("one", "two", "three")


def spec_of(kind: str, rule: str = "nearest", window: int = 24) -> ModelSpec:
    """The description of a "gnn" or a "pcn", whose widths are no multiples of anything."""
    model: Gnn | Pcn
    if kind == "gnn":
        model = Gnn(3.0, 6.0, 0.3, channels=(6, 5, 7), neighbours=5, rule=rule)
    else:
        model = Pcn((2.0, 5.0), (0.6, 0.5), channels=(6, 5, 7), neighbours=6, rule=rule)
    seen = TokenInput(TokenizerSettings(patch_size=4, threshold=12.0), Embedding(4, 6, 10_000.0), window)
    return describe(f"tiny-{kind}", "", Sensor(SIDE, SIDE), LABELS, seen, model)


def waving(seed: int, events: int = 900, start_us: int = 3000) -> NDArray[np.void]:
    """A blob that goes round on the sensor."""
    random = np.random.default_rng(seed)
    found = np.zeros(events, EVENT_DTYPE)
    found["t"] = np.sort(random.integers(start_us, 200_000, events))
    angle = found["t"] / 3e4 + seed
    for name, middle in (("x", 17 + 9 * np.cos(angle)), ("y", 17 + 9 * np.sin(angle))):
        found[name] = np.clip(middle + random.normal(0, 3, events), 0, SIDE - 1)
    found["p"] = random.integers(0, 2, events)
    return found


def graph_bundle(spec: ModelSpec, seed: int = 1, examples: int = 1) -> Bundle:
    """Random weights; norms that have seen something. Exported once, for all tests and their processes."""
    root = Path(__file__).resolve().parents[1]
    key = digest_of((root / "training/export", root / "training/models", Path(__file__)), repr((spec, seed, examples)))
    return Bundle.load(stored("test-bundles", key[:16], lambda folder: _export(folder, spec, seed, examples)))


def _export(folder: Path, spec: ModelSpec, seed: int, examples: int) -> None:
    import torch

    from spedge.training.export.bundle import export_model
    from spedge.training.models.registry import make_model

    torch.manual_seed(seed)
    model: Any = make_model(spec).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.3)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
    export_model(model, spec, [waving(i) for i in range(examples)], folder)
