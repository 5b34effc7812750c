"""The work of classification: samples in batches, cross entropy, recordings whose slices vote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from spedge.model.spec import ModelSpec

from ..data.base import Description, Sample, sizes_of
from ..metrics.top1 import top1
from ..models.inputs import GraphBatch
from ..presets.base import Recipe
from ..represent.collate import Batch
from ..seen import Seen
from ..tasks.classification import loss_of, vote
from .loading import LearnItems, LookItems, in_order, loader
from .looking import looked_at
from .sampler import Batches, batches_in_epoch
from .together import of_all, rank_of_ranks
from .work import Counted, Look, Work

_LOOK_BATCH = 64


@dataclass
class Classifying(Work):
    """learn, held: samples to learn from and to look at. rank, ranks: of the processes that train."""

    spec: ModelSpec
    recipe: Recipe
    about: Description
    learn: Sequence[Sample]
    held: Sequence[Sample]
    seed: int
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        self.in_epoch = batches_in_epoch(len(self.learn), self.recipe.batch, self.ranks)

    def learning(self, first: int, last: int, gpu: bool) -> DataLoader[Batch]:
        """Batches of samples that are changed at random."""
        items = LearnItems(self.learn, self.spec, self.about, self.recipe, self.seed)
        batches = Batches(
            sizes_of(self.learn),
            self.recipe.batch,
            self.seed,
            pool=self.recipe.pool,
            first=first,
            last=last,
            rank=self.rank,
            ranks=self.ranks,
        )
        return loader(items, batches, self.recipe.workers, pin=gpu)

    def loss(self, model: Any, batch: Batch) -> Tensor | None:
        """None of a batch without samples, or with too few points for a batch norm."""
        if batch.inputs is None or (isinstance(batch.inputs, GraphBatch) and not batch.inputs.can_be_normed):
            return None
        return loss_of(model.of_batch(batch.inputs), batch.labels, self.recipe.label_smoothing)

    def look(self, model: Any, counted: Counted) -> Look:
        """How many of the held-out recordings it gets right; each process looks at its share."""
        predictions = of_all(looked_at(model, counted(self._looking)))
        voted = vote(predictions, self.held, len(self.spec.labels))
        accuracy = top1(voted.confusion)
        curves = {"val/accuracy": accuracy, "val/loss": predictions.loss}
        seen = Seen(voted.recordings)
        return Look(accuracy, curves, predictions.points, len(self.held), predictions.largest, seen)

    def close(self) -> None:
        """While the loader's queues are there: left to the garbage collector, it cannot tell its processes to end, and
        waits for them in vain."""
        self.__dict__.pop("_looking", None)

    def carried(self) -> dict[str, Tensor]:
        """Nothing: each sample is seen by itself."""
        return {}

    def carry_on(self, carried: dict[str, Tensor]) -> None:
        """Nothing to do."""

    @cached_property
    def _looking(self) -> Iterable[Batch]:
        workers = 0 if self.recipe.workers == 0 else min(2, self.recipe.workers)
        batches = in_order(len(self.held), _LOOK_BATCH, *rank_of_ranks())
        return loader(LookItems(self.held, self.spec), batches, workers)
