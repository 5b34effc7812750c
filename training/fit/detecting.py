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
from ..models.detector import DetectorModel, GridState, StepInputs
from ..models.inputs import GraphBatch
from ..models.yolox import centres
from ..presets.base import Recipe
from ..represent.collate_steps import StepBatch
from ..seen import Seen
from ..tasks.detection import Cells, by_recording, detect, losses
from .loading import begin_worker
from .streams import LearnSteps, LookSteps, Recording
from .together import all_of, rank_of_ranks
from .work import Counted, Look, Work

_LOOK_SLOTS = 8


@dataclass
class Detecting(Work):
    """learn, held: recordings to learn from and to look at. rule: which boxes count. rank, ranks: of the processes that
    train, each with streams of its own."""

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
        inputs = batch.inputs
        if isinstance(inputs.batch, GraphBatch) and not inputs.batch.can_be_normed:
            inputs = StepInputs(None, inputs.places[:0], inputs.step[:0], inputs.steps)
        state = GridState(*(part.to(device_of(model)) for part in state))
        raw, state = model(inputs, batch.steps, state, batch.counts > 0)
        self._state = GridState(*(part.detach() for part in state))
        labels = [own for own in batch.labels_of() if len(own)]
        if not labels:
            return None
        total = losses(raw, labels, Cells(*(part.to(raw.device) for part in self._cells))).total
        if inputs.batch is None and self.ranks > 1:  # each process has to give a gradient of each weight
            total = total + 0 * torch.stack([weight.sum() for weight in model.encoder.parameters()]).sum()
        return total

    def look(self, model: DetectorModel, counted: Counted) -> Look:
        """Mean average precision over the held-out recordings; each process looks at its share."""
        rank, ranks = rank_of_ranks()
        own = np.array_split(np.arange(len(self.held)), ranks)[rank].tolist()
        mine = [self.held[i] for i in own]
        steps = LookSteps(mine, self.spec, _LOOK_SLOTS, workers=min(2, self.recipe.workers))
        loader = _loader(steps, min(2, self.recipe.workers), False)
        training = model.training
        model.eval()
        counts = [0, 0]
        try:
            device = device_of(model)
            moved = (_seen(counts, move_data_to_device(batch, device)) for batch in counted(loader))
            seen = list(detect(model, moved, steps.states, self._task, self.spec.sensor))
        finally:
            model.train(training)
        parts = all_of((by_recording(seen, mine), counts))
        recordings = [recording for part, _ in parts for recording in part]
        found = mean_average_precision(recordings, len(self.spec.labels), self.rule)
        points = sum(own_counts[0] for _, own_counts in parts)
        curves = {f"val/{name}": value for name, value in found.figures.items()}
        shown = Seen(precision={self.spec.labels[label]: both for label, both in found.per_class.items()})
        return Look(max(0.0, found.best_by), curves, points, len(self.held), max(c[1] for _, c in parts), shown)

    def close(self) -> None:
        """Nothing is kept: each look has a loader of its own."""

    def carried(self) -> dict[str, Tensor]:
        """The LSTM's state of all streams, those of one process after another's."""
        own = {} if self._state is None else {name: part.cpu() for name, part in self._state._asdict().items()}
        every = all_of(own)
        return {name: torch.cat([state[name] for state in every]) for name in own}

    def carry_on(self, carried: dict[str, Tensor]) -> None:
        """Go on with this process's part of it. Raises ValueError where it is not of so many streams, or cells."""
        if not carried:
            return
        grid, own = self.spec.state[0].shape, self._steps.states
        every = GridState(carried["hidden"], carried["cell"])
        if any(part.shape != (self.ranks * own, *grid) for part in every):
            raise ValueError(f"a state of {tuple(every.hidden.shape)}")
        self._state = GridState(*(part[self.rank * own : (self.rank + 1) * own] for part in every))


def device_of(model: DetectorModel) -> torch.device:
    """Where a model is."""
    return next(model.parameters()).device


def _seen(counts: list[int], batch: StepBatch) -> StepBatch:
    """The batch; its points and the most of one step are counted."""
    counts[0] += batch.points
    counts[1] = max(counts[1], batch.largest)
    return batch


def _loader(steps: LearnSteps | LookSteps, workers: int, pin: bool) -> DataLoader[StepBatch]:
    return DataLoader(steps, batch_size=None, num_workers=workers, worker_init_fn=begin_worker, pin_memory=pin)
