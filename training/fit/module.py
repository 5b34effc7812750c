"""One LightningModule around any task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from spedge.base.errors import InputError

from ..presets.base import Recipe
from .schedule import learning_rate
from .state import State
from .work import Work


class Fit(pl.LightningModule):
    """A model, the average of its weights (or itself), its optimizer, and how far the run is.

    step, batches, seen, steps, largest: as in `State`. Lightning counts from where this process began; these
    from the run's.
    """

    def __init__(self, model: nn.Module, averaged: nn.Module, work: Work, recipe: Recipe, seed: int) -> None:
        super().__init__()
        self.model, self.averaged, self.work, self.recipe, self.seed = model, averaged, work, recipe, seed
        if averaged is not model:
            averaged.requires_grad_(False)
        self.step = self.batches = self.seen = self.points = self.largest = 0
        self.steps = recipe.steps
        self.losses: list[Tensor] = []
        self._resumed: tuple[State, Path] | None = None

    # ------------------------------------------------------------ going on

    def resume(self, state: State, path: Path) -> None:
        """Go on from there. Raises InputError when what the file at `path` holds is of another model."""
        try:
            self.model.load_state_dict(state.model)
            if self.averaged is not self.model:
                self.averaged.load_state_dict(state.averaged)
            self.work.carry_on(state.carried)
        except (RuntimeError, TypeError, AttributeError, ValueError, KeyError):
            raise _of_another(path) from None
        self.step, self.batches, self.seen, self.steps = state.step, state.batches, state.seen, state.steps
        self.largest = state.largest
        self._resumed = state, path

    def on_fit_start(self) -> None:
        """The optimizer's and the scaler's state come with the optimizer."""
        if self._resumed is None:
            return
        (state, path), self._resumed = self._resumed, None
        try:
            self.optimizers(use_pl_optimizer=False).load_state_dict(state.optimizer)  # type: ignore[union-attr]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _of_another(path) from None
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and state.scaler:
            scaler.load_state_dict(state.scaler)

    # ------------------------------------------------------------ a step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """As the recipe says; adamw decays matrices alone."""
        recipe = self.recipe
        if recipe.optimizer == "adam":
            return torch.optim.Adam(self.model.parameters(), lr=recipe.learning_rate)
        groups = [
            {"params": [p for p in self.model.parameters() if p.dim() > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in self.model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Learning rate and dropout are functions of the step and batch."""
        rate = learning_rate(self.step, self.steps, self.recipe)
        for group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            group["lr"] = rate
        torch.manual_seed((self.seed * 1_000_003 + self.batches) * 4_099 + self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """A batch that nothing can be learned from gives no gradient; of several processes each has to give one."""
        loss = self.work.loss(self.model, batch)
        if loss is None:
            if self.trainer.world_size == 1:
                return None
            return torch.stack([p.sum() for p in self.model.parameters()]).sum() * 0.0
        self.losses.append(loss.detach())
        return loss

    def count(self, batch: Any, batch_idx: int) -> None:
        """After a batch: count it, and average the weights after a step."""
        self.batches += 1
        self.points += batch.points
        self.largest = max(self.largest, batch.largest)
        self.seen += batch.samples * self.trainer.world_size
        if (batch_idx + 1) % self.recipe.accumulate == 0:
            self.step += 1
            self._average(batch.samples * self.trainer.world_size * self.recipe.accumulate)

    def _average(self, count: int) -> None:
        """Exponential average over the last samples; short at first, so that it never lags behind."""
        if self.averaged is self.model:
            return
        share = count / max(count, min(self.recipe.average_samples, self.seen / 10))
        with torch.no_grad():
            for mean, weight in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(weight, share)
            for kept, buffer in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
                kept.copy_(buffer)

    def mean_loss(self) -> float:
        """Of the batches since this was asked the last time; nan of none."""
        losses, self.losses = self.losses, []
        return float(torch.stack(losses).mean()) if losses else float("nan")

    def state(self, cpu_seconds: float, best: float, accuracy: float, carried: dict[str, Tensor]) -> State:
        """What has to be kept."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return State(
            self.step,
            self.batches,
            self.steps,
            self.seen,
            cpu_seconds,
            self.model.state_dict(),
            {} if self.averaged is self.model else self.averaged.state_dict(),
            optimizer.state_dict(),
            {} if scaler is None else scaler.state_dict(),
            best,
            accuracy,
            self.largest,
            carried,
        )


def _of_another(path: Path) -> InputError:
    return InputError(
        f"{path} is of another model than the run's: remove it to go on from the beginning, or restore it."
    )
