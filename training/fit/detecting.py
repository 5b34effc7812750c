"""The work of detection: random windows and streams in batches, SimOTA's losses, mean average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor
from torch.utils.data import DataLoader

from spedge.model.parts import Detection, Detector
from spedge.model.spec import ModelSpec

from ..data.base import Description
from ..metrics.coco import Rule, mean_average_precision
from ..models.detector import DetectorModel, GridState
from ..models.yolox import centres
from ..presets.base import Recipe
from ..represent.collate_steps import StepBatch
from ..tasks.detection import Cells, by_recording, detect, losses
from .loading import begin_worker
from .streams import LearnSteps, LookSteps, Recording
from .together import all_of, rank_of_ranks
from .work import Counted, Look, Work

_LOOK_SLOTS = 8


@dataclass
class Detecting(Work):
    """learn, held: recordings to learn from and to look at. rule: which boxes count. rank, ranks: of the processes that
    train; each carries the state of its own streams, and a checkpoint keeps that of the first."""

    spec: ModelSpec
    recipe: Recipe
    about: Description
    learn: Sequence[Recording]
    held: Sequence[Recording]
    rule: Rule
    seed: int
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        model, task = self.spec.model, self.spec.task
        assert isinstance(model, Detector) and isinstance(task, Detection)
        rows, columns = model.even_grid(self.spec.sensor, self.spec.representation)
        self._task = task
        self._cells = Cells(*centres(rows, columns, task.strides))
        self._state: GridState | None = None
        self._steps = self._learn_steps(0, 0)
        self.in_epoch = self._steps.in_epoch

    def _learn_steps(self, first: int, last: int) -> LearnSteps:
        return LearnSteps(
            self.learn,
            self.spec,
            self.recipe.batch,
            self.seed,
            augment=self.recipe.augment,
            mirror=self.about.mirrored is not None,
            first=first,
            last=last,
            workers=self.recipe.workers,
            rank=self.rank,
            ranks=self.ranks,
        )

    def learning(self, first: int, last: int, gpu: bool) -> DataLoader[StepBatch]:
        """Batches of steps."""
        return _loader(self._learn_steps(first, last), self.recipe.workers, gpu)

    def loss(self, model: DetectorModel, batch: StepBatch) -> Tensor | None:
        """None of a batch without labels, after which the state is that of its steps."""
        state = model.start(self._steps.states) if self._state is None else self._state
        wanted = batch.counts > 0
        raw, state = model(
            batch.inputs, batch.steps, GridState(*(part.to(state_device(model)) for part in state)), wanted
        )
        self._state = GridState(*(part.detach() for part in state))
        labels = [own for own in batch.labels_of() if len(own)]
        if not labels:
            return None
        return losses(raw, labels, Cells(*(part.to(raw.device) for part in self._cells))).total

    def look(self, model: DetectorModel, counted: Counted) -> Look:
        """Mean average precision over the held-out recordings; each process looks at its share."""
        rank, ranks = rank_of_ranks()
        own = np.array_split(np.arange(len(self.held)), ranks)[rank].tolist()
        steps = LookSteps([self.held[i] for i in own], self.spec, _LOOK_SLOTS, workers=min(2, self.recipe.workers))
        loader = _loader(steps, min(2, self.recipe.workers), False)
        training = model.training
        model.eval()
        counts = [0, 0]
        try:
            device = state_device(model)
            moved = (_seen(counts, move_data_to_device(batch, device)) for batch in counted(loader))
            seen = list(detect(model, moved, steps.states, self._task, self.spec.sensor))
        finally:
            model.train(training)
        parts = all_of((by_recording(seen, len(own)), counts))
        recordings = [recording for part, _ in parts for recording in part]
        found = mean_average_precision(recordings, len(self.spec.labels), self.rule)
        points = sum(own_counts[0] for _, own_counts in parts)
        curves = {f"val/{name}": value for name, value in found.figures.items()}
        return Look(max(0.0, found.best_by), curves, points, len(self.held), max(c[1] for _, c in parts))

    def carried(self) -> dict[str, Tensor]:
        """The LSTM's state of all streams."""
        return {} if self._state is None else {"hidden": self._state.hidden.cpu(), "cell": self._state.cell.cpu()}

    def carry_on(self, carried: dict[str, Tensor]) -> None:
        """Go on with it."""
        if carried and self.rank == 0:
            self._state = GridState(carried["hidden"], carried["cell"])


def state_device(model: DetectorModel) -> torch.device:
    """Where a model is."""
    return next(model.parameters()).device


def _seen(counts: list[int], batch: StepBatch) -> StepBatch:
    """The batch; its points and the most of one step are counted."""
    counts[0] += batch.points
    counts[1] = max(counts[1], batch.largest)
    return batch


def _loader(steps: LearnSteps | LookSteps, workers: int, pin: bool) -> DataLoader[StepBatch]:
    return DataLoader(steps, batch_size=None, num_workers=workers, worker_init_fn=begin_worker, pin_memory=pin)
