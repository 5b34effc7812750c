"""Small detectors with random weights, as bundles, without training: for tests of what takes such bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spedge.base.store import digest_of, stored
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.bundle import Bundle
from spedge.model.parts import Detector, Embedding, Gnn, Model, Pcn, Representation, Sensor, TokenInput, Transformer
from spedge.model.spec import ModelSpec, describe
from spedge.tokens.settings import TokenizerSettings

SENSOR = Sensor(304, 240)
STEP_US = 50_000


def tiny(
    encoder: Transformer | Gnn | Pcn | None = None,
    classes: int = 2,
    hidden: int = 16,
    head: int = 16,
    window: int = 64,
    representation: Representation | None = None,
    sensor: Sensor = SENSOR,
    cell: int = 1,
    odd_grid: str = "pad",
) -> ModelSpec:
    """The description of one: by default a transformer of two layers on patches of 16, 15x19 cells."""
    model = encoder or Transformer(16, 32, 2, 2)
    tokenizer = TokenizerSettings(sensor.width, sensor.height, patch_size=16, threshold=24)
    seen = representation or TokenInput(tokenizer, Embedding(hidden=model.takes), window)
    labels = tuple(f"class {i}" for i in range(classes))
    whole: Model = Detector(model, hidden, cell, head, odd_grid)
    return describe("tiny detector", "test", sensor, labels, seen, whole)


def moving(seed: int = 0, steps: int = 6, each: int = 1500, sensor: Sensor = SENSOR, start: int = 3) -> np.ndarray:
    """Events of two blobs that move over the sensor, from chunk `start` on; the third of the chunks has none."""
    random = np.random.default_rng(seed)
    count = steps * each
    found = np.zeros(count, EVENT_DTYPE)
    t = np.sort(random.integers(0, steps * STEP_US, count))
    found["t"] = t + start * STEP_US
    which = random.integers(0, 2, count)
    along = (t / (steps * STEP_US) + which / 2) % 1
    found["x"] = np.clip(along * sensor.width + random.normal(0, 8, count), 0, sensor.width - 1)
    found["y"] = np.clip((0.3 + 0.4 * which) * sensor.height + random.normal(0, 8, count), 0, sensor.height - 1)
    found["p"] = random.integers(0, 2, count)
    kept: np.ndarray = found[found["t"] // STEP_US != start + 2]
    return kept


def model_of(spec: ModelSpec, seed: int = 1) -> Any:
    """A torch model with random weights, whose norms have seen something and whose boxes have scores of all sizes."""
    import torch

    from spedge.training.models.detector import DetectorModel
    from spedge.training.models.registry import make_model

    torch.manual_seed(seed)
    model = make_model(spec)
    assert isinstance(model, DetectorModel)
    for level in model.detector.head.levels:
        for output, spread in ((level.class_output, 2.0), (level.objectness_output, 2.0), (level.box_output, 0.5)):
            torch.nn.init.normal_(output.weight, 0.0, spread / output.in_channels**0.5)
            torch.nn.init.constant_(output.bias, -1.5 if output is level.objectness_output else 0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is None:
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.1)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.3, 0.8)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.weight, 0.7, 1.1)
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
    return model.eval()


def bundle_of(folder: Path, spec: ModelSpec | None = None, seed: int = 1, examples: int = 2) -> Bundle:
    """Exported into the folder, with the vectors of `moving`."""
    from spedge.training.export.detector_bundle import export_detector

    spec = spec or tiny()
    some = [moving(number, sensor=spec.sensor) for number in range(examples)]
    learned = [moving(7, sensor=spec.sensor)]
    bundle: Bundle = export_detector(model_of(spec, seed), spec, some, folder, learned)
    return bundle


def kept_bundle(spec: ModelSpec | None = None, seed: int = 1, examples: int = 2) -> Bundle:
    """The same, exported once as long as nothing of it changes."""
    root = Path(__file__).resolve().parents[1]
    spec = spec or tiny()
    made_from = [root / "training", root / "host/spedge/model", root / "host/spedge/tokens", Path(__file__)]
    key = f"detector-{digest_of(made_from, repr(spec), str((seed, examples)))[:32]}"

    def make(folder: Path) -> None:
        bundle_of(folder, spec, seed, examples)

    return Bundle.load(stored("bundles", key, make))
