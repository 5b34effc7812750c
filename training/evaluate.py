"""How often a model is right, class by class. A bundle is evaluated with ONNX Runtime and needs no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.parts import Detection, Transformer
from spedge.model.reference import Reference
from spedge.model.spec import ModelSpec

from .data.base import Dataset, Sample, unseen
from .data.registry import load_dataset
from .folders import resolved
from .metrics.top1 import Votes, top1
from .opened import open_trained
from .presets import preset as find_preset

SPLITS = ("unseen", "all", "test", "validation", "train")
_PERCENTILES = (50, 90, 99)
_STAGES = ("tokenize", "collate", "forward")


@dataclass(frozen=True)
class EvaluationReport:
    """model: what was evaluated. split: which samples, in words. confusion: int64 [true class, predicted class], of
    recordings, whose slices vote. slices: how many were looked at, in all. loss: mean cross entropy of a slice, nats,
    of those that the model could be fed with. tokens: of each slice, int64 [n]; of events for a model on these.
    seconds: what each slice took, by stage, float64 [n]."""

    model: Path
    data: str
    split: str
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    slices: int
    loss: float = float("nan")
    tokens: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    token_rate: float = float("nan")
    seconds: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """How many recordings were classified."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Share of the recordings classified right."""
        return top1(self.confusion)

    @property
    def metrics(self) -> dict[str, float]:
        """Accuracy, precision, recall and f1 as the paper has them: over all classes together (micro), where every
        prediction that is wrong is a miss of one class and a false one of another, so that they are equal."""
        return dict.fromkeys(("accuracy", "precision", "recall", "f1"), self.top1)

    @property
    def per_class(self) -> dict[str, float]:
        """Share of each class's recordings classified right; classes without any are left out."""
        totals = self.confusion.sum(axis=1)
        return {label: float(self.confusion[i, i] / totals[i]) for i, label in enumerate(self.labels) if totals[i] > 0}

    @property
    def milliseconds(self) -> dict[str, dict[str, float]]:
        """Percentiles of the time for a slice, by stage."""
        return {
            stage: {f"p{p}": round(1000 * float(np.percentile(values, p)), 3) for p in _PERCENTILES}
            for stage, values in self.seconds.items()
            if len(values)
        }


def evaluate(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    split: str = "unseen",
    checkpoint: str = "kept",
    on_progress: Callable[[int, int], None] | None = None,
    encoder: Path | None = None,
) -> EvaluationReport:
    """Classify recordings and count. The slices of a recording vote: the mean of their probabilities decides.

    model: a bundle's directory, a run's, or a checkpoint. data: as for `train`; None for a data set we make ourselves.
    split: `unseen`, the default, takes the data's test part, and without one every recording that the model has not
    learned, by content. `all`, `train`, `validation` and `test` take what they say. checkpoint: of a run, `best` or
    `last`; `kept` is the one that training chose. on_progress: slices done and in all.
    encoder: one of reduced precision (`spedge.compile.quantised_encoder`) in the place of a bundle's own.
    Raises UsageError or InputError when the model, the data or the split does not fit.
    """
    if split not in SPLITS:
        raise UsageError(f"There is no split '{split}'. Choose one of: {', '.join(SPLITS)}.")
    opened = open_trained(model, checkpoint, encoder)
    path, spec = opened.path, opened.spec
    if isinstance(spec.task, Detection):
        raise UsageError(f"{model} is a detector, which is scored by its boxes: use evaluate_boxes.")
    look = _by_reference(opened.model) if isinstance(opened.model, Reference) else _by_torch(spec, opened.model)
    parts = {"unseen": ("test",), "test": ("test",), "validation": ("validation",)}.get(split, ("train", "test"))
    dataset = load_dataset(*resolved(find_preset(spec.preset).dataset, data), parts)
    if dataset.labels != spec.labels or (dataset.width, dataset.height) != (spec.sensor.width, spec.sensor.height):
        raise UsageError(f"{path} was made for other data than {dataset.name}: its labels or sensor size differ.")
    samples, name = _choose(dataset, spec, split)
    if not samples:
        raise UsageError(f"The data has no samples for the split '{split}': choose another, for example 'all'.")
    return _count(path, spec, dataset.name, name, samples, look, on_progress)


@dataclass(frozen=True)
class _Look:
    """What was seen of one slice. log_probabilities: [classes]; None when the model cannot be fed: no tokens."""

    log_probabilities: NDArray[np.float64] | None
    tokens: int
    seconds: dict[str, float]


def _count(
    path: Path,
    spec: ModelSpec,
    data: str,
    split: str,
    samples: Sequence[Sample],
    look: Callable[[NDArray[Any]], _Look],
    on_progress: Callable[[int, int], None] | None,
) -> EvaluationReport:
    votes = Votes(len(spec.labels))
    looks: list[_Look] = []
    loading, losses = [], []
    seen_us = 0
    for number in range(len(samples)):
        start = time.perf_counter()
        sample = samples[number]
        events = sample.events
        loading.append(time.perf_counter() - start)
        seen_us += int(events["t"][-1] - events["t"][0]) if len(events) else 0
        seen = look(events)
        looks.append(seen)
        scores = seen.log_probabilities
        votes.add(sample.label, sample.group or f"#{number}", None if scores is None else np.exp(scores))
        if scores is not None:
            losses.append(-float(scores[sample.label]))
        if on_progress is not None:
            on_progress(number + 1, len(samples))
    tokens = np.array([seen.tokens for seen in looks], np.int64)
    stages = {stage: np.array([seen.seconds[stage] for seen in looks]) for stage in looks[0].seconds}
    return EvaluationReport(
        path,
        data,
        split,
        spec.labels,
        votes.confusion(),
        len(samples),
        float(np.mean(losses)) if losses else float("nan"),
        tokens,
        float(tokens.sum() / (seen_us * 1e-6)) if seen_us else float("nan"),
        {"load": np.array(loading), **stages},
    )


def _choose(dataset: Dataset, spec: ModelSpec, split: str) -> tuple[Sequence[Sample], str]:
    if split == "unseen" and not dataset.test:
        digests: str = dict(spec.training.get("data", {})).get("digests", "")
        return unseen(dataset.train, digests), "unseen"
    split = "test" if split == "unseen" else split
    every = [part for part in (dataset.train, dataset.validation, dataset.test) if part]
    if split == "all":
        return (every[0] if len(every) == 1 else [s for part in every for s in part]), split
    return {"test": dataset.test, "train": dataset.train, "validation": dataset.validation}[split], split


def _by_reference(reference: Reference) -> Callable[[NDArray[Any]], _Look]:
    on_nothing = isinstance(reference.bundle.model, Transformer)  # a graph without nodes says nothing

    def look(events: NDArray[Any]) -> _Look:
        times = [time.perf_counter()]
        tokens = reference.tokenize(events)[0]
        times.append(time.perf_counter())
        inputs = reference.inputs(tokens)
        times.append(time.perf_counter())
        scores = _log_softmax(reference.run(inputs)["logits"]) if len(tokens) or on_nothing else None
        times.append(time.perf_counter())
        return _Look(scores, len(tokens), dict(zip(_STAGES, _differences(times), strict=True)))

    return look


def _by_torch(spec: ModelSpec, model: Any) -> Callable[[NDArray[Any]], _Look]:
    import torch

    from .represent.collate import Item, collate
    from .represent.samples import Represent

    represent = Represent(spec)
    label = np.zeros(len(spec.labels), np.float32)

    def look(events: NDArray[Any]) -> _Look:
        times = [time.perf_counter()]
        arrays = represent(events)
        times.append(time.perf_counter())
        batch = collate([Item(arrays, label, 0)])
        times.append(time.perf_counter())
        scores = None
        if batch.inputs is not None:
            with torch.no_grad():
                scores = _log_softmax(model.of_batch(batch.inputs)[0].numpy())
        times.append(time.perf_counter())
        points = 0 if arrays is None else arrays.points
        return _Look(scores, points, dict(zip(_STAGES, _differences(times), strict=True)))

    return look


def _differences(times: Sequence[float]) -> Iterator[float]:
    return (b - a for a, b in pairwise(times))


def _log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    scores: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return scores
