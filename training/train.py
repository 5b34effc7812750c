"""Training: a preset, a data set and a budget of CPU time to a checkpoint and a bundle."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spedge.base.errors import InputError, SpedgeError, UsageError
from spedge.model.bundle import Bundle
from spedge.model.parts import Transformer
from spedge.model.spec import Metric, ModelSpec
from spedge.model.window import Window

from .augment.events import augment
from .checkpoint import NAME, Checkpoint
from .data.base import Dataset, Sample, pack_digests
from .data.registry import load_dataset
from .export.bundle import export_model
from .models.registry import make_model
from .presets import Preset, Recipe, trainable
from .represent.collate import batches, logits
from .represent.tokens import Windower

if TYPE_CHECKING:
    from torch import Tensor

EXAMPLES = 3  #: held-out samples kept for the bundle's vectors
WARM_UP, DIVIDE, FINAL_DIVIDE = 0.05, 25.0, 100.0  # OneCycle
_EVALUATE_EVERY = 20  # epochs
_NO_NUMBER = "Training came to nothing: in epoch {} the loss was no number any more. Try a smaller learning rate."


class TrainingError(SpedgeError):
    """Training came to nothing that is worth keeping."""


@dataclass(frozen=True)
class Progress:
    """Where training stands after an epoch. done: share of the schedule. accuracy: of the held-out samples, when
    it was looked at after this epoch."""

    epoch: int
    done: float
    loss: float
    accuracy: float | None
    cpu_seconds: float
    budget_seconds: float


@dataclass(frozen=True)
class TrainReport:
    """What came out. top1: share of the held-out samples classified right by the exported model."""

    preset: str
    seed: int
    checkpoint: Path
    bundle: Bundle
    learned_samples: int
    held_out_samples: int
    epochs: int
    top1: float
    cpu_seconds: float
    interrupted: bool


def train(
    preset: str | Preset,
    data: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    minutes: float | None = None,
    holdout: float | None = None,
    name: str | None = None,
    attention: str | None = None,
    tokens: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainReport:
    """Train a preset and write `out/checkpoint.pt` and, beside it, the bundle.

    data: the data set's directory or zip file; None for a data set we make ourselves. minutes: budget of CPU time
    of this process, which stays on one core; default the preset's. The schedule counts samples, so that a seed gives
    the same model whatever the machine's load, unless the budget would be exceeded: then it is shortened.
    attention: "full" or "causal" in the place of the preset's. tokens: a shorter window than the preset's.
    An interrupt (Ctrl-C) ends training early with the weights so far, when there was a first step.
    Raises UsageError or InputError for a wrong preset, budget or data, also when the budget ends before the first step
    or the recordings give no tokens; TrainingError when the loss ceases to be a number. Then no checkpoint is written.
    """
    chosen, recipe = trainable(preset)
    chosen = chosen if attention is None else chosen.with_attention(attention)
    chosen = chosen if tokens is None else chosen.with_tokens(tokens)
    budget = 60 * (recipe.minutes if minutes is None else minutes)
    if not budget > 0:
        raise UsageError("The time to train must be more than 0 minutes.")
    start = time.process_time()
    dataset = load_dataset(chosen.dataset, data)
    learn, held = dataset.split(recipe.holdout if holdout is None else holdout, seed)
    causal = isinstance(chosen.model, Transformer) and chosen.model.attention == "causal"
    spec = chosen.spec(name or (f"{chosen.name}-causal" if causal else chosen.name))
    checkpoint = Path(out) / NAME
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with _one_core():
        run = _Run(spec, recipe, learn, held, seed, start, budget, recipe.samples * budget / (60 * recipe.minutes))
        interrupted = run.loop(on_progress)
        run.require_learned()
        top1 = run.accuracy()
        cpu = time.process_time() - start
        spec = replace(
            spec,
            metric=Metric("top1", top1, "test" if dataset.test else "held-out", len(held)),
            training={
                "data": _data(dataset, learn, held),
                "seed": seed,
                "epochs": run.epoch,
                "cpu_seconds": round(cpu, 1),
                "interrupted": interrupted,
                "versions": _versions(),
            },
        )
        examples = tuple(sample.events for sample in _examples(held))
        Checkpoint(checkpoint, spec, run.averaged.state_dict(), examples).save()
        bundle = export_model(run.averaged, spec, examples, checkpoint.parent)
    return TrainReport(
        preset=chosen.name,
        seed=seed,
        checkpoint=checkpoint,
        bundle=bundle,
        learned_samples=len(learn),
        held_out_samples=len(held),
        epochs=run.epoch,
        top1=top1,
        cpu_seconds=time.process_time() - start,
        interrupted=interrupted,
    )


def _data(dataset: Dataset, learn: Sequence[Sample], held: Sequence[Sample]) -> dict[str, Any]:
    """What a bundle says of the recordings that its model was made with."""
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "learned": len(learn),
        "held_out": len(held),
        "digests": "" if dataset.test else pack_digests(learn),
    }


class _Run:
    """One training run: model, optimiser, averaged weights, and how far the schedule is."""

    def __init__(
        self,
        spec: ModelSpec,
        recipe: Recipe,
        learn: Sequence[Sample],
        held: Sequence[Sample],
        seed: int,
        start: float,
        budget: float,
        samples: float,
    ) -> None:
        import torch

        torch.manual_seed(seed)
        self.spec, self.recipe, self.learn, self.seed = spec, recipe, learn, seed
        self.start, self.budget = start, budget
        self.wanted = self.samples = samples
        self.pace = math.inf  # CPU seconds per sample
        self.windower = Windower(spec)
        self.held = [self._window(sample.events) for sample in held]
        self.held_labels = [sample.label for sample in held]
        _require_tokens(self.held)
        self.model = make_model(spec, recipe.dropout)
        self.averaged = make_model(spec)
        self.averaged.load_state_dict(self.model.state_dict())
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        rest = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
        )
        self.epoch = 0
        self.seen = 0

    def loop(self, on_progress: Callable[[Progress], None] | None) -> bool:
        """Epochs until the schedule is at its end. Returns whether it was interrupted."""
        try:
            while self.done() < 1:
                loss = self._epoch()
                self.epoch += 1
                if on_progress is not None:
                    look = self.epoch % _EVALUATE_EVERY == 0
                    on_progress(
                        Progress(
                            self.epoch, self.done(), loss, self.accuracy() if look else None, self._cpu(), self.budget
                        )
                    )
        except KeyboardInterrupt:
            if not self.seen:
                raise
            return True
        return False

    def require_learned(self) -> None:
        """Raises UsageError when there was no step, TrainingError when the weights are no numbers."""
        import torch

        if not self.seen:
            raise UsageError(
                f"Nothing was learned: {self.budget / 60:g} minutes of CPU time were over before the first step. "
                "Give more with --minutes."
            )
        if not all(bool(torch.isfinite(weight).all()) for weight in self.averaged.parameters()):
            raise TrainingError(_NO_NUMBER.format(self.epoch))

    def done(self) -> float:
        """Share of the schedule that is over. It counts samples; the budget only ever cuts it short."""
        return 1.0 if self._cpu() >= self.budget or self.seen >= self.samples else self.seen / self.samples

    def _fit_budget(self, seconds: float, samples: int) -> None:
        """Shorten the schedule when, at the pace of the fastest epoch so far, it would exceed the budget."""
        self.pace = min(self.pace, seconds / samples)
        self.samples = min(self.wanted, self.seen + max(0.0, self.budget - self._cpu()) / self.pace)

    def accuracy(self) -> float:
        """Share of the held-out samples that the averaged weights classify right."""
        import torch

        right = 0
        with torch.no_grad():
            for batch in batches(self.held, self.held_labels, 64):
                right += int((logits(self.averaged.eval(), batch).argmax(1) == batch.labels).sum())
        return right / len(self.held)

    def _cpu(self) -> float:
        return time.process_time() - self.start

    def _window(self, events: Any) -> Window:
        return self.windower.window(self.windower.tokenize(events))

    def _epoch(self) -> float:
        """See every sample once, changed at random. Returns the mean loss."""
        import torch

        start, before = self._cpu(), self.seen
        random = np.random.default_rng((self.seed, self.epoch))
        torch.manual_seed(int(random.integers(2**31)))
        sensor = self.spec.sensor
        windows, labels = [], []
        for i in random.permutation(len(self.learn)):
            if self.done() >= 1:
                break
            sample = self.learn[i]
            changed = augment(sample.events, sensor.width, sensor.height, self.recipe.augmentation, random)
            windows.append(self._window(changed))
            labels.append(sample.label)
        if windows:
            _require_tokens(windows)
        self.model.train()
        losses = [self._step(batch) for batch in batches(windows, labels, self.recipe.batch, random)]
        if losses:
            self._fit_budget(self._cpu() - start, self.seen - before)
        return float(np.mean(losses)) if losses else math.nan

    def _step(self, batch: Any) -> float:
        import torch

        rate = self.recipe.learning_rate * _one_cycle(self.done())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss: Tensor = torch.nn.functional.cross_entropy(
            logits(self.model, batch), batch.labels, label_smoothing=self.recipe.label_smoothing
        )
        if not torch.isfinite(loss):
            raise TrainingError(_NO_NUMBER.format(self.epoch + 1))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.seen += len(batch.labels)
        self._average(len(batch.labels))
        return float(loss.detach())

    def _average(self, count: int) -> None:
        """Exponential average of the weights over the last samples; short at first, so that it never lags behind."""
        import torch

        keep = 1 - count / max(count, min(self.recipe.ema_samples, self.seen / 10))
        with torch.no_grad():
            for mean, weight in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(weight, 1 - keep)


def _require_tokens(windows: Sequence[Window]) -> None:
    if not any(len(window.positions) for window in windows):
        raise InputError(
            f"Nothing can be learned: none of {len(windows)} recordings gives a single token. "
            "Are they what the preset is for, and are there events in them?"
        )


def _one_cycle(done: float) -> float:
    """OneCycle learning rate as a share of its maximum: cosine up over the warm-up, cosine down over the rest."""
    if done < WARM_UP:
        low, high, part = 1 / DIVIDE, 1.0, done / WARM_UP
    else:
        low, high, part = 1.0, 1 / (DIVIDE * FINAL_DIVIDE), (done - WARM_UP) / (1 - WARM_UP)
    return high + (low - high) * (1 + math.cos(math.pi * part)) / 2


def _examples(held: Sequence[Sample]) -> list[Sample]:
    """A few held-out samples of different classes, rather short ones to keep the bundle small."""
    by_size = sorted(held, key=lambda sample: len(sample.events))
    first: dict[int, Sample] = {}
    for sample in by_size[len(by_size) // 8 :]:
        first.setdefault(sample.label, sample)
    return sorted(list(first.values())[:EXAMPLES], key=lambda sample: sample.label)


@contextmanager
def _one_core() -> Iterator[None]:
    """torch on one thread, for the time being."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _versions() -> dict[str, str]:
    import torch

    return {"python": platform.python_version(), "numpy": np.__version__, "torch": str(torch.__version__)}
