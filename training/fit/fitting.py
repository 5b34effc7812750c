"""A model, data and a recipe to trained weights: the run of Lightning's trainer, and what happens between its steps."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from spedge.base.errors import InputError, UsageError
from spedge.model.spec import ModelSpec

from ..data.base import Description, Sample, sizes_of
from ..metrics.top1 import top1
from ..models.registry import make_model
from ..presets.base import Recipe
from ..progress import Progress, TrainingError
from ..represent.collate import Batch
from ..run import write as write_run
from ..run import write_progress
from ..tasks.classification import Predictions, predict, vote
from .curves import Curves
from .loading import LearnItems, LookItems, in_order, loader, plain_errors, threads
from .module import Fit
from .sampler import Batches, batches_in_epoch
from .state import BEST, LAST, State
from .waiting import Waiting

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_LOOK_BATCH = 64
_NO_NUMBER = (
    "Training came to nothing: after {} steps the loss was no number any more. "
    "Train with a lower --learning-rate, or with --precision fp32."
)


@dataclass(frozen=True)
class Machine:
    """Where to fit. accelerator: "auto", "cpu" or "gpu"; devices and nodes: how many processes; workers: that load."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int | None = None


@dataclass(frozen=True)
class Fitted:
    """What came out. model: with the weights that are kept. epochs: times through the data. first: whether this is
    the process that writes (of several)."""

    model: Any
    accuracy: float
    step: int
    epochs: int
    cpu_seconds: float
    interrupted: bool
    first: bool


@dataclass(frozen=True)
class Plan:
    """What is fitted.

    folder: of the run, where it goes on from; None: nothing is kept. document: what `run.json` says of it. begin: what
    is done to a new model, whose weights are random, before it is trained. best: keep the weights of the best look at
    `held`, in the place of the last ones.
    """

    spec: ModelSpec
    recipe: Recipe
    about: Description
    learn: Sequence[Sample]
    held: Sequence[Sample]
    seed: int
    rule: str = "nearest"
    folder: Path | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    begin: Callable[[Any], None] | None = None
    best: bool = False
    wandb: str | None = None


def fit(plan: Plan, machine: Machine, on_progress: Callable[[Progress], None] | None, started: float) -> Fitted:
    """Fit until the schedule's end, the end of the budget, or an interrupt; goes on where the run's folder stopped.

    started: `time.process_time()` when the work began. Raises TrainingError when the loss is no number.
    """
    recipe = plan.recipe
    torch.manual_seed(plan.seed)
    model = make_model(plan.spec, recipe.dropout)
    if plan.begin is not None:
        plan.begin(model)
    averaged = make_model(plan.spec) if recipe.average_samples else model
    averaged.load_state_dict(model.state_dict())
    module = Fit(model, averaged, recipe, plan.seed)
    before = 0.0
    best = State.empty()
    last = plan.folder / "checkpoints" / LAST if plan.folder else None
    if last is not None and last.exists():
        state = State.load(last)
        module.resume(state)
        before, best = state.cpu_seconds, state
    trainer = _trainer(machine, recipe)
    ranks, rank = trainer.world_size, trainer.global_rank
    between = _Between(plan, module, on_progress, started - before, best.best, best.accuracy, ranks)
    trainer.callbacks.append(between)  # type: ignore[attr-defined]
    workers = recipe.workers if machine.workers is None else machine.workers
    threads_each = 1 if recipe.minutes is not None else max(1, torch.get_num_threads() // ranks)
    with threads(threads_each), _quiet(), between.interruptible(), plain_errors():
        if module.step < module.steps and not between.is_over():
            try:
                trainer.fit(module, _learning(plan, module, workers, rank, ranks, trainer))
            except SystemExit:  # what Lightning makes of an interrupt in a loader
                raise KeyboardInterrupt from None
            if rank == 0:
                between.end()
        elif math.isnan(between.accuracy):
            between.look()
    return between.result(rank == 0)


def _learning(plan: Plan, module: Fit, workers: int, rank: int, ranks: int, trainer: Any) -> DataLoader[Any]:
    recipe = plan.recipe
    items = LearnItems(plan.learn, plan.spec, plan.about, recipe, plan.seed, plan.rule)
    batches = Batches(
        sizes_of(plan.learn),
        recipe.batch,
        plan.seed,
        pool=recipe.pool,
        first=module.batches,
        last=module.steps * recipe.accumulate,
        rank=rank,
        ranks=ranks,
    )
    return loader(items, batches, workers, pin=trainer.strategy.root_device.type == "cuda")


def _trainer(machine: Machine, recipe: Recipe) -> Any:
    torch.set_float32_matmul_precision("high")
    gpu = machine.accelerator != "cpu" and torch.cuda.is_available()
    if machine.accelerator == "gpu" and not gpu:
        raise UsageError("There is no GPU that torch can use: train with --accelerator cpu.")
    if recipe.precision not in PRECISIONS:
        raise UsageError(f"There is no precision '{recipe.precision}'. Choose one of: {', '.join(PRECISIONS)}.")
    precision = "fp32" if recipe.precision == "fp16" and not gpu else recipe.precision
    several = machine.devices * machine.nodes > 1
    with _quiet():
        return pl.Trainer(
            accelerator="gpu" if gpu else "cpu",
            devices=machine.devices,
            num_nodes=machine.nodes,
            strategy="ddp" if several else "auto",
            precision=PRECISIONS[precision],  # type: ignore[arg-type]
            max_epochs=1,
            max_steps=-1,
            accumulate_grad_batches=recipe.accumulate,
            gradient_clip_val=recipe.clip,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )


class _Between(pl.Callback):
    """What happens between steps: looks at held-out samples, checkpoints, curves, progress, the end of the budget."""

    def __init__(
        self,
        plan: Plan,
        module: Fit,
        on_progress: Callable[[Progress], None] | None,
        started: float,
        best: float,
        accuracy: float,
        ranks: int,
    ) -> None:
        self.plan, self.module, self.on_progress = plan, module, on_progress
        self.started, self.best, self.accuracy = started, best, accuracy
        self.interrupted = False
        self.in_epoch = batches_in_epoch(len(plan.learn), plan.recipe.batch, ranks)
        self.curves: Curves | None = None
        self.waiting = Waiting()
        self.loading = 0.0  # CPU seconds of processes that load
        self.pace = math.inf  # CPU seconds a step
        self._mark = (0.0, 0)
        self._looking: DataLoader[Any] | None = None
        self._looked = False  # after the last whole epoch

    # ------------------------------------------------------------ Lightning's hooks

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Curves go on from here."""
        folder = self.plan.folder if trainer.is_global_zero else None
        self.curves = Curves(folder, self.module.step, self.plan.wandb, self.plan.spec.training)
        self._mark = (self.cpu(), self.module.step)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a batch: a look now and then, the curves, and whether it is the end."""
        self.waiting.ends()
        self.loading += batch.cpu_seconds
        module, recipe = self.module, self.plan.recipe
        module.count(batch, batch_idx)
        stepped = module.batches % recipe.accumulate == 0
        if stepped and module.step % recipe.log_steps == 0 and self.curves is not None:
            self.curves.add(module.step, {"train/loss": self._loss(), "learning_rate": self._rate()})
        if module.batches % self.in_epoch == 0:
            self._epoch_ends(trainer)
        if stepped:
            trainer.should_stop = self.is_over() or module.step >= module.steps or self.interrupted
        self.waiting.free()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The batch is there."""
        self.waiting.begins()

    def _epoch_ends(self, trainer: Any) -> None:
        epoch = self.module.batches // self.in_epoch
        looked = epoch % self.plan.recipe.validate_epochs == 0
        loss = self.module.mean_loss()
        if looked:
            self.look()
            if trainer.is_global_zero:
                self.keep()
        if self.curves is not None:
            values = {"train/epoch_loss": loss, "train/waiting": self.waiting.share}
            self.curves.add(self.module.step, {**values, "val/accuracy": self.accuracy} if looked else values)
        self._say(epoch, loss, self.accuracy if looked else None)
        self._looked = looked
        self._fit_budget()

    # ------------------------------------------------------------ parts

    def look(self) -> None:
        """How many of the held-out recordings the averaged weights get right."""
        if self._looking is None:
            items = LookItems(self.plan.held, self.plan.spec, self.plan.rule)
            workers = 0 if self.plan.recipe.workers == 0 else min(2, self.plan.recipe.workers)
            self._looking = loader(items, in_order(len(self.plan.held), _LOOK_BATCH), workers)
        predictions = looked_at(self.module.averaged, self._counted(self._looking))
        _require_points(predictions.points, len(self.plan.held))
        self.accuracy = top1(vote(predictions, self.plan.held, len(self.plan.spec.labels)))

    def keep(self) -> None:
        """Write the last checkpoint, and the best one when it is that."""
        if self.plan.folder is None:
            return
        better = self.accuracy > self.best
        self.best = max(self.best, self.accuracy)
        write_run(self.plan.folder, self.plan.document)
        state = self.module.state(self.cpu(), self.best, self.accuracy)
        if better:
            state.save(self.plan.folder / "checkpoints" / BEST)
        state.save(self.plan.folder / "checkpoints" / LAST)
        write_progress(self.plan.folder, state.step, state.steps, self.accuracy, self.best)
        if self.curves is not None:
            self.curves.flush()

    def end(self) -> None:
        """After the last step. Raises TrainingError when the weights are no numbers any more."""
        if self.module.step == 0:
            return
        _require_points(self.module.points, self.module.seen)
        if not all(bool(torch.isfinite(weight).all()) for weight in self.module.averaged.parameters()):
            raise TrainingError(_NO_NUMBER.format(self.module.step))
        unfinished = self.module.batches % self.in_epoch != 0
        if unfinished or not self._looked:
            self.look()
        self.keep()
        if unfinished:
            self._say(math.ceil(self.module.batches / self.in_epoch), self.module.mean_loss(), self.accuracy)
        if self.curves is not None:
            self.curves.close()

    def result(self, first: bool) -> Fitted:
        """The weights that are kept, and how good they are."""
        module, accuracy = self.module, self.accuracy
        path = self.plan.folder / "checkpoints" / BEST if self.plan.folder else None
        if first and self.plan.best and path is not None and path.exists():
            state = State.load(path)
            module.averaged.load_state_dict(state.averaged or state.model)
            accuracy = state.accuracy
        epochs = math.ceil(module.batches / self.in_epoch)
        return Fitted(module.averaged, accuracy, module.step, epochs, self.cpu(), self.interrupted, first)

    def cpu(self) -> float:
        """CPU seconds that the run has used, those of processes that load among them."""
        return time.process_time() - self.started + self.loading

    def _counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; what making them cost is added up."""
        for batch in batches:
            self.loading += batch.cpu_seconds
            yield batch

    def is_over(self) -> bool:
        """Whether the budget is used up, or the model as good as is enough."""
        budget, enough = self._budget(), self.plan.recipe.stop_accuracy
        if enough is not None and self.accuracy >= enough:
            return True
        return budget is not None and self.cpu() >= budget

    def _budget(self) -> float | None:
        minutes = self.plan.recipe.minutes
        return None if minutes is None else 60 * minutes

    def _fit_budget(self) -> None:
        """Shorten the schedule when, at the pace of the fastest epoch so far, it would exceed the budget."""
        seconds, step = self._mark
        now, module, budget = self.cpu(), self.module, self._budget()
        if budget is None or module.step == step:
            return
        self.pace = min(self.pace, (now - seconds) / (module.step - step))
        fits = module.step + max(0.0, budget - now) / self.pace
        module.steps = min(self.plan.recipe.steps, max(module.step, math.floor(fits)))
        self._mark = (now, module.step)

    def _loss(self) -> float:
        recent = self.module.losses[-self.plan.recipe.log_steps * self.plan.recipe.accumulate :]
        loss = float(torch.stack(recent).mean()) if recent else math.nan
        if recent and not math.isfinite(loss):
            raise TrainingError(_NO_NUMBER.format(self.module.step))
        return loss

    def _rate(self) -> float:
        optimizer: Any = self.module.optimizers(use_pl_optimizer=False)
        return float(optimizer.param_groups[0]["lr"])

    def _say(self, epoch: int, loss: float, accuracy: float | None) -> None:
        if self.on_progress is None:
            return
        module = self.module
        budget = self._budget()
        done = module.step / module.steps if module.steps else 1.0
        if self.is_over():
            done = 1.0
        try:
            self.on_progress(
                Progress(
                    epoch,
                    min(1.0, done),
                    loss,
                    accuracy,
                    self.cpu(),
                    budget,
                    module.step,
                    module.steps,
                    self.waiting.share,
                )
            )
        except KeyboardInterrupt:
            self.interrupted = True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """An interrupt ends training after the step at hand."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(*_: Any) -> None:
            self.interrupted = True

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _require_points(points: int, samples: int) -> None:
    if not points:
        raise InputError(
            f"Nothing can be learned: none of {samples} recordings gives a single token. "
            "Are they what the preset is for, and are there events in them?"
        )


def looked_at(model: Any, batches: Iterable[Batch]) -> Predictions:
    """What a model says of samples, as it is used: no dropout. It is left as it was."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    try:
        return predict(lambda batch: model.of_batch(_moved(batch.inputs, device)), batches)
    finally:
        model.train(training)


def _moved(value: Any, device: torch.device) -> Any:
    """A tuple of tensors, on the device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        parts = [_moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning advertises and warns of what is meant here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
