"""How often a model is right, class by class. A bundle is evaluated with ONNX Runtime and needs no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.model.spec import ModelSpec

from .checkpoint import Checkpoint, load_checkpoint
from .data.base import Dataset, Sample, unseen
from .data.registry import load_dataset
from .presets import preset as find_preset
from .represent.tokens import Windower

SPLITS = ("unseen", "all", "test", "train")

#: Events of a recording to logits, float32 [classes].
Predict = Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass(frozen=True)
class EvaluationReport:
    """model: what was evaluated. split: which samples, in words. confusion: int64 [true class, predicted class]."""

    model: Path
    data: str
    split: str
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]

    @property
    def samples(self) -> int:
        """How many samples were classified."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Share of the samples classified right."""
        return float(np.trace(self.confusion) / self.samples)

    @property
    def per_class(self) -> dict[str, float]:
        """Share of each class's samples classified right; classes without samples are left out."""
        totals = self.confusion.sum(axis=1)
        return {label: float(self.confusion[i, i] / totals[i]) for i, label in enumerate(self.labels) if totals[i] > 0}


def evaluate(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    split: str = "unseen",
    on_progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Classify recordings and count.

    model: a bundle's directory, or a checkpoint. data: as for `train`; None for a data set we make ourselves.
    split: `unseen`, the default, takes the data's test part, and without one every recording that the model has not
    learned, by content. `all`, `train` and `test` take what they say. on_progress: samples done and in all.
    Raises UsageError or InputError when the model, the data or the split does not fit.
    """
    if split not in SPLITS:
        raise UsageError(f"There is no split '{split}'. Choose one of: {', '.join(SPLITS)}.")
    path, spec, predict = _open(Path(model))
    parts = ("test",) if split in ("unseen", "test") else ("train", "test")
    dataset = load_dataset(find_preset(spec.preset).dataset, data, parts)
    if dataset.labels != spec.labels or (dataset.width, dataset.height) != (spec.sensor.width, spec.sensor.height):
        raise UsageError(f"{path} was made for other data than {dataset.name}: its labels or sensor size differ.")
    samples, name = _choose(dataset, spec, split)
    if not samples:
        raise UsageError(f"The data has no samples for the split '{split}': choose another, for example 'all'.")
    confusion = np.zeros((len(spec.labels), len(spec.labels)), np.int64)
    for done, sample in enumerate(samples, 1):
        confusion[sample.label, int(predict(sample.events).argmax())] += 1
        if on_progress is not None:
            on_progress(done, len(samples))
    return EvaluationReport(path, dataset.name, name, spec.labels, confusion)


def _choose(dataset: Dataset, spec: ModelSpec, split: str) -> tuple[Sequence[Sample], str]:
    if split == "unseen" and not dataset.test:
        digests: str = dict(spec.training.get("data", {})).get("digests", "")
        return unseen(dataset.train, digests), "unseen"
    split = "test" if split == "unseen" else split
    return {"test": dataset.test, "train": dataset.train, "all": (*dataset.train, *dataset.test)}[split], split


def _open(path: Path) -> tuple[Path, ModelSpec, Predict]:
    if path.is_dir() and ((path / "bundle.json").exists() or not (path / "checkpoint.pt").exists()):
        bundle = Bundle.load(path)
        reference = Reference(bundle)
        return path, bundle, lambda events: reference.compute(events).logits
    checkpoint = load_checkpoint(path)
    return checkpoint.path, checkpoint.spec, _torch_predict(checkpoint)


def _torch_predict(checkpoint: Checkpoint) -> Predict:
    import torch

    model, windower = checkpoint.model(), Windower(checkpoint.spec)

    def predict(events: NDArray[Any]) -> NDArray[np.float32]:
        window = windower.window(windower.tokenize(events))
        with torch.no_grad():
            scores = model(
                torch.from_numpy(window.volumes[None]),
                torch.from_numpy(window.positions[None]),
                torch.tensor([len(window.positions)]),
            )
        return np.asarray(scores[0], np.float32)

    return predict
