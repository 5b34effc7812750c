"""How often a model is right, class by class. A bundle is evaluated with ONNX Runtime and needs no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.bundle import Bundle, BundleSpec
from spedge.errors import UsageError

from .checkpoint import load_checkpoint
from .data import Dataset, Sample
from .datasets import load_dataset
from .presets import preset as find_preset
from .windows import Window, Windower

SPLITS = ("unseen", "all", "test", "train", "held-out")

#: A window to logits, float32 [classes].
Predict = Callable[[Window], NDArray[np.float32]]


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
    split: `unseen`, the default, takes the data's test part; without one the samples held out in training when it is
    the data the model was trained on, and everything when it is not. `all`, `train`, `test` and `held-out` take what
    they say. on_progress: samples done and in all.
    Raises UsageError or InputError when the model, the data or the split does not fit.
    """
    if split not in SPLITS:
        raise UsageError(f"There is no split '{split}'. Choose one of: {', '.join(SPLITS)}.")
    path, spec, predict = _open(Path(model))
    parts = ("test",) if split in ("unseen", "test") else ("train", "test")
    dataset = load_dataset(find_preset(spec.preset), data, parts)
    if dataset.labels != spec.labels or (dataset.width, dataset.height) != (spec.sensor.width, spec.sensor.height):
        raise UsageError(f"{path} was made for other data than {dataset.name}: its labels or sensor size differ.")
    samples, name = _choose(dataset, spec, split)
    if not samples:
        raise UsageError(f"The data has no samples for the split '{split}': choose another, for example 'all'.")
    windower = Windower(spec)
    confusion = np.zeros((len(spec.labels), len(spec.labels)), np.int64)
    for done, sample in enumerate(samples, 1):
        scores = predict(windower.window(windower.tokenize(sample.events)))
        confusion[sample.label, int(scores.argmax())] += 1
        if on_progress is not None:
            on_progress(done, len(samples))
    return EvaluationReport(path, dataset.name, name, spec.labels, confusion)


def _choose(dataset: Dataset, spec: BundleSpec, split: str) -> tuple[Sequence[Sample], str]:
    trained: dict[str, Any] = dict(spec.training.get("data", {}))
    same = trained.get("fingerprint") == dataset.fingerprint and trained.get("holdout", 0) > 0
    if split == "unseen":
        split = "test" if dataset.test else "held-out" if same else "all"
    if split == "held-out":
        if not same:
            raise UsageError("This is not the data the model was trained on, so none of it was held out: use 'all'.")
        return dataset.split(trained["holdout"], spec.training["seed"])[1], "held-out"
    parts = {"test": dataset.test, "train": dataset.train, "all": (*dataset.train, *dataset.test)}
    return parts[split], split


def _open(path: Path) -> tuple[Path, BundleSpec, Predict]:
    if path.is_dir() and ((path / "bundle.json").exists() or not (path / "checkpoint.pt").exists()):
        bundle = Bundle.load(path)
        return path, bundle, _onnx_predict(bundle)
    checkpoint = load_checkpoint(path)
    return checkpoint.path, checkpoint.spec, _torch_predict(checkpoint.model())


def _onnx_predict(bundle: Bundle) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        bundle.file("model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    size, buckets = bundle.tokenizer.patch_size, bundle.embedding.buckets

    def predict(window: Window) -> NDArray[np.float32]:
        length = len(window.positions)
        volumes = np.zeros((1, bundle.tokens, 2, buckets, size, size), np.float32)
        positions = np.zeros((1, bundle.tokens, 3), np.float32)
        volumes[0, :length], positions[0, :length] = window.volumes, window.positions
        feed = {"volumes": volumes, "positions": positions, "length": np.array([length], np.int32)}
        scores: NDArray[np.float32] = session.run(None, feed)[0][0]
        return scores

    return predict


def _torch_predict(model: Any) -> Predict:
    import torch

    def predict(window: Window) -> NDArray[np.float32]:
        with torch.no_grad():
            scores = model(
                torch.from_numpy(window.volumes[None]),
                torch.from_numpy(window.positions[None]),
                torch.tensor([len(window.positions)]),
            )
        result: NDArray[np.float32] = scores[0].numpy()
        return result

    return predict
