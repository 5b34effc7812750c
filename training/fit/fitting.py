"""A model, data and a recipe to trained weights: the run of Lightning's trainer, and what happens between its steps."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed

from spedge.base.errors import UsageError
from spedge.model.spec import ModelSpec

from ..models.registry import make_model
from ..presets.base import Recipe
from ..progress import Progress, TrainingError
from ..run import write as write_run
from ..run import write_progress
from ..seen import Seen, write_seen
from .curves import Curves
from .faults import in_a_sentence
from .loading import plain_errors, threads
from .looking import require_points
from .machine import PRECISIONS, Place
from .module import Fit
from .processes import together
from .state import BEST, LAST, State
from .together import all_of, take_the_firsts
from .waiting import Waiting
from .work import Work

_SHOWN_SECONDS = 0.5  # between two times that the curves are written for who looks on
_PACES = 20  # at least so often in a run it is seen whether the budget is enough, and told how far it is
_NO_NUMBER = (
    "Training came to nothing: after {} steps the loss was no number any more. "
    "Train with a lower --learning-rate, or with --precision fp32."
)


@dataclass(frozen=True)
class Fitted:
    """What came out. model: with the weights that are kept. epochs: times through the data. first: whether this is
    the process that writes (of several). largest: as in `State`."""

    model: Any
    accuracy: float
    step: int
    epochs: int
    cpu_seconds: float
    interrupted: bool
    first: bool
    largest: int


@dataclass(frozen=True)
class Plan:
    """What is fitted.

    folder: of the run, where it goes on from; None: nothing is kept. document: what `run.json` says of it. begin: what
    is done to a new model, whose weights are random, before it is trained. best: keep the weights of the best look at
    `held`, in the place of the last ones. keep_minutes: between two checkpoints, where looks are farther apart.
    watched: write the curves as they come, for who looks at the folder.
    """

    spec: ModelSpec
    recipe: Recipe
    work: Callable[[Place], Work]
    seed: int
    folder: Path | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    begin: Callable[[Any], None] | None = None
    best: bool = False
    wandb: str | None = None
    keep_minutes: float = math.inf
    watched: bool = False


def fit(plan: Plan, place: Place, on_progress: Callable[[Progress], None] | None, started: float) -> Fitted:
    """Fit until the schedule's end, the end of the budget, or an interrupt; goes on where the run's folder stopped.

    started: `time.process_time()` when the work began. Raises TrainingError when the loss is no number, or a process
    or the GPU's memory is gone.
    """
    recipe = plan.recipe
    torch.manual_seed(plan.seed)
    model = make_model(plan.spec, recipe.dropout)
    if plan.begin is not None:
        plan.begin(model)
    averaged = make_model(plan.spec) if recipe.average_samples else model
    averaged.load_state_dict(model.state_dict())
    work = plan.work(place)
    module = Fit(model, averaged, work, recipe, plan.seed)
    state = State.empty()
    last = plan.folder / "checkpoints" / LAST if plan.folder else None
    if last is not None and last.exists():
        state = State.load(last)
        module.resume(state, last)
    between = _Between(plan, module, on_progress if place.rank == 0 else None, started, state)
    threads_each = 1 if recipe.minutes is not None else max(1, torch.get_num_threads() // place.devices)
    with threads(threads_each), _quiet(), between.interruptible(), plain_errors(), in_a_sentence(recipe.batch):
        used = state.cpu_seconds if place.processes > 1 else between.cpu()  # all processes have to decide alike
        with closing(work):
            if module.step < module.steps and not between.is_over(used):
                with together(place):
                    _fit(plan, place, module, between)
            elif math.isnan(between.accuracy):
                between.look()
    return between.result(place.rank == 0)


def _fit(plan: Plan, place: Place, module: Fit, between: _Between) -> None:
    trainer = _trainer(place, plan.recipe)
    trainer.callbacks.append(between)
    try:
        last = module.steps * plan.recipe.accumulate
        trainer.fit(module, module.work.learning(module.batches, last, place.gpu))
    except SystemExit:  # what Lightning makes of an interrupt in a loader
        raise KeyboardInterrupt from None


def _trainer(place: Place, recipe: Recipe) -> Any:
    torch.set_float32_matmul_precision("high")
    return pl.Trainer(
        accelerator="cuda" if place.gpu else "cpu",
        devices=place.devices,
        num_nodes=place.nodes,
        strategy="ddp" if place.processes > 1 else "auto",
        precision=PRECISIONS[place.precision],  # type: ignore[arg-type]
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
        state: State,
    ) -> None:
        self.plan, self.module, self.on_progress = plan, module, on_progress
        self.started = started - state.cpu_seconds
        self.best, self.accuracy = state.best, state.accuracy
        self._seen: dict[str, float] = {}  # at the last look, for the curves
        self._shown: Seen | None = None  # by the last look, until it is kept
        self._told = -math.inf  # when the curves were written the last time
        self.interrupted = False  # as all processes have agreed
        self._asked_to_stop = False
        self.in_epoch = module.work.in_epoch
        self.curves: Curves | None = None
        self.waiting = Waiting()
        self.loading = 0.0  # CPU seconds of processes that load
        self.pace = math.inf  # CPU seconds a step
        self._mark = (0.0, 0)
        self._epoch = module.batches // self.in_epoch  # the last whole one that was told of
        self._looked = False  # at the weights as they are
        self._kept = time.monotonic()
        self._begun = module.batches

    # ------------------------------------------------------------ Lightning's hooks

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Curves go on from here, and all processes from the same step."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop)  # in the place of Lightning's, which puts back what was there
        self._require_same_start()
        folder = self.plan.folder if trainer.is_global_zero else None
        self.curves = Curves(folder, self.module.step, self.plan.wandb, self.plan.document)
        if folder is not None and self.plan.watched:
            write_run(folder, self.plan.document)
        self._mark = (self.cpu(), self.module.step)
        self._kept = time.monotonic()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a batch: a look now and then, the curves, a checkpoint, and whether it is the end."""
        self.waiting.ends()
        self.loading += batch.cpu_seconds
        self.module.count(batch, batch_idx)
        if self.module.batches % self.plan.recipe.accumulate == 0:
            self._step_ends(trainer)
        self.waiting.free()

    def _step_ends(self, trainer: Any) -> None:
        """No gradients have to be kept after a whole step; an epoch that ends within one waits for its end."""
        module, recipe = self.module, self.plan.recipe
        self._looked = False
        told = module.step % recipe.log_steps == 0
        if told and self.curves is not None:
            self.curves.add(module.step, {"train/loss": self._loss(), "learning_rate": self._rate()})
            self._show(self.curves)
        epoch = module.batches // self.in_epoch
        if ended := epoch > self._epoch:
            self._epoch_ends(trainer, epoch)
        else:
            if self._is_due(trainer, told):
                self.keep()
            if told and module.step - self._mark[1] >= recipe.steps / _PACES:
                self._fit_budget(trainer)
                self._say(epoch + 1, self._loss(), None)
        if told or ended or trainer.world_size == 1:  # asking the others is waiting for them
            some = trainer.strategy.reduce_boolean_decision
            self.interrupted = some(self._asked_to_stop, all=False)
            trainer.should_stop = some(self.is_over(self.cpu()), all=False) or self.interrupted
        trainer.should_stop |= module.step >= module.steps

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The batch is there."""
        self.waiting.begins()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the last weights, and keep them. Raises TrainingError when they are no numbers any more."""
        module = self.module
        if module.step == 0:
            return
        if module.batches > self._begun:
            require_points(module.points, module.seen)
        _require_numbers(module)
        counts = self.accuracy
        if not self._looked:
            self.look()
            if self.curves is not None:
                self.curves.add(module.step, self._seen)
        if not self.interrupted or module.step >= module.steps:
            counts = self.accuracy
        self.keep(counts)  # a look that an undisturbed run has not chooses no weights
        if module.batches % self.in_epoch:
            self._say(math.ceil(module.batches / self.in_epoch), module.mean_loss(), self.accuracy)
        if self.curves is not None:
            self.curves.close()

    def _epoch_ends(self, trainer: Any, epoch: int) -> None:
        every = self.plan.recipe.validate_epochs
        looks = epoch // every > self._epoch // every
        self._epoch = epoch
        loss = self.module.mean_loss()
        if looks:
            self.look()
        if self.curves is not None:
            values = {"train/epoch_loss": loss, "train/waiting": self.waiting.share}
            if looks:
                values |= self._seen
            self.curves.add(self.module.step, values)
        if looks:
            self.keep()
        self._say(epoch, loss, self.accuracy if looks else None)
        self._fit_budget(trainer)

    # ------------------------------------------------------------ parts

    def look(self) -> None:
        """How good the averaged weights are."""
        module = self.module
        take_the_firsts(module.averaged)
        look = module.work.look(module.averaged, self._counted)
        require_points(look.points, look.samples)
        module.largest = max(look.largest, *all_of(module.largest))
        self.accuracy, self._seen, self._shown = look.score, look.curves, look.seen
        self._looked = True

    def keep(self, accuracy: float | None = None) -> None:
        """Write the last checkpoint, and the best one when it is that: the first process does, with what all carry.

        accuracy: that counts, if it is not that of the last look.
        Raises TrainingError rather than keep weights that are no numbers.
        """
        if self.plan.folder is None:
            return
        self._kept = time.monotonic()
        carried = self.module.work.carried()
        if not self.module.trainer.is_global_zero:
            return
        _require_numbers(self.module)
        accuracy = self.accuracy if accuracy is None else accuracy
        better = accuracy > self.best
        self.best = max(self.best, accuracy)
        write_run(self.plan.folder, self.plan.document)
        if self.curves is not None:  # first: what is too much is taken out when the run goes on, what lacks is lost
            self.curves.flush()
        if self._shown is not None:
            write_seen(self.plan.folder, self.module.step, self._shown)
            self._shown = None
        state = self.module.state(self.cpu(), self.best, accuracy, carried)
        if better:
            state.save(self.plan.folder / "checkpoints" / BEST)
        state.save(self.plan.folder / "checkpoints" / LAST)
        write_progress(self.plan.folder, state.step, state.steps, accuracy, self.best)

    def _show(self, curves: Curves) -> None:
        """Write them now and then for who looks on, which does not count against the budget."""
        if self.plan.watched and time.monotonic() - self._told >= _SHOWN_SECONDS:
            begun = time.process_time()
            curves.flush()
            self._told = time.monotonic()
            self.started += time.process_time() - begun

    def _is_due(self, trainer: Any, told: bool) -> bool:
        """Whether a checkpoint is, which of several processes the first says, now and then."""
        minutes = self.plan.keep_minutes
        due = time.monotonic() - self._kept >= 60 * minutes
        if trainer.world_size == 1 or minutes <= 0:
            return due
        return math.isfinite(minutes) and told and bool(trainer.strategy.broadcast(due))

    def result(self, first: bool) -> Fitted:
        """The weights that are kept, and how good they are."""
        module, accuracy = self.module, self.accuracy
        path = self.plan.folder / "checkpoints" / BEST if self.plan.folder else None
        if first and self.plan.best and path is not None and path.exists():
            state = State.load(path)
            module.averaged.load_state_dict(state.averaged or state.model)
            accuracy = state.accuracy
        epochs = math.ceil(module.batches / self.in_epoch)
        done = (module.step, epochs, self.cpu(), self.interrupted)
        return Fitted(module.averaged, accuracy, *done, first, module.largest)

    def cpu(self) -> float:
        """CPU seconds that the run has used, those of processes that load among them."""
        return time.process_time() - self.started + self.loading

    def _counted(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches; what making them cost is added up."""
        for batch in batches:
            self.loading += batch.cpu_seconds
            yield batch

    def is_over(self, cpu_seconds: float) -> bool:
        """Whether the budget is used up by so much, or the model as good as is enough."""
        budget, enough = self._budget(), self.plan.recipe.stop_accuracy
        if enough is not None and self.accuracy >= enough:
            return True
        return budget is not None and cpu_seconds >= budget

    def _budget(self) -> float | None:
        minutes = self.plan.recipe.minutes
        return None if minutes is None else 60 * minutes

    def _fit_budget(self, trainer: Any) -> None:
        """Shorten the schedule when it would exceed the budget at the pace of the fastest epoch so far, or part of one
        that is long beside the schedule. The first process says to how many steps.
        """
        seconds, step = self._mark
        now, module, budget = self.cpu(), self.module, self._budget()
        if module.step == step:
            return
        self._mark = (now, module.step)
        if budget is None:
            return
        self.pace = min(self.pace, (now - seconds) / (module.step - step))
        fits = module.step + max(0.0, budget - now) / self.pace
        steps = min(self.plan.recipe.steps, max(module.step, math.floor(fits)))
        module.steps = trainer.strategy.broadcast(steps)

    def _require_same_start(self) -> None:
        module = self.module
        start = (module.step, module.batches, module.steps)
        starts = all_of(start)
        if any(other != start for other in starts):
            raise UsageError(
                f"The processes of this training begin at different steps ({', '.join(str(s[0]) for s in starts)}): "
                "the run's folder has to be one that all machines see."
            )

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
        if self.is_over(self.cpu()):
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
            self._asked_to_stop = True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """An interrupt ends training after the step at hand."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        before = signal.signal(signal.SIGINT, self._stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _stop(self, *_: Any) -> None:
        self._asked_to_stop = True


def _require_numbers(module: Fit) -> None:
    if not all(bool(torch.isfinite(weight).all()) for weight in module.averaged.parameters()):
        raise TrainingError(_NO_NUMBER.format(module.step))


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
