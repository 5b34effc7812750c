"""Samples read, changed and made into arrays, in worker processes."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, get_worker_info

from spedge.base.errors import SpedgeError
from spedge.model.spec import ModelSpec

from ..augment import augment
from ..augment.paper import ClassifierChanges, Mirror
from ..data.base import Description, Sample
from ..presets.base import Recipe
from ..represent.collate import Batch, Item, collate
from ..represent.samples import Represent


class LearnItems(Dataset[Item]):
    """Samples to learn from, changed at random as the recipe says.

    Number (epoch, index) is the same whenever and wherever it is read.
    """

    def __init__(
        self,
        part: Sequence[Sample],
        spec: ModelSpec,
        about: Description,
        recipe: Recipe,
        seed: int,
    ) -> None:
        self._part, self._spec, self._seed = part, spec, seed
        self._recipe = recipe
        mirror = None if about.mirrored is None else Mirror(about.mirrored)
        self._papers = ClassifierChanges(about.sensor.width, about.sensor.height, mirror)
        self._represent = Represent(spec, training=True)

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, number: tuple[int, int]) -> Item:
        epoch, index = number
        random = np.random.default_rng((self._seed, epoch, index))
        sample = self._part[index]
        events, label = sample.events, one_hot(sample.label, len(self._spec.labels))
        ours = self._recipe.augmentation
        if self._recipe.augment and ours is not None:
            sensor = self._spec.sensor
            events = augment(events, sensor.width, sensor.height, ours, random)
        elif self._recipe.augment:
            events, label = self._papers(events, label, lambda: self._another(random), random)
        return Item(self._represent(events, random), label, index)

    def _another(self, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.float32]]:
        sample = self._part[int(random.integers(len(self._part)))]
        return sample.events, one_hot(sample.label, len(self._spec.labels))


class LookItems(Dataset[Item]):
    """Samples as they are, by their number."""

    def __init__(self, part: Sequence[Sample], spec: ModelSpec) -> None:
        self._part, self._classes = part, len(spec.labels)
        self._represent = Represent(spec)

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, index: int) -> Item:
        sample = self._part[index]
        return Item(self._represent(sample.events), one_hot(sample.label, self._classes), index)


def loader(items: Dataset[Any], batches: Any, workers: int, pin: bool = False) -> DataLoader[Batch]:
    """Batches by the numbers that `batches` gives. workers: processes, kept until the loader goes; 0: none."""
    return DataLoader(
        items,
        batch_sampler=batches,
        collate_fn=_Collate(),
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=begin_worker,
        pin_memory=pin,
    )


class _Collate:
    """`collate`, and in a process that only loads the CPU seconds since the last batch: who trains counts them."""

    def __init__(self) -> None:
        self._counted = 0.0

    def __call__(self, items: Sequence[Item]) -> Batch:
        batch = collate(items)
        if get_worker_info() is None:
            return batch
        now = time.process_time()
        spent, self._counted = now - self._counted, now
        return batch._replace(cpu_seconds=spent)


def in_order(count: int, batch: int, rank: int = 0, ranks: int = 1) -> list[list[int]]:
    """Numbers of one process's samples, a batch at a time."""
    own = range(rank, count, ranks)
    return [list(own[i : i + batch]) for i in range(0, len(own), batch)]


def one_hot(label: int, classes: int) -> NDArray[np.float32]:
    """float32 [classes]."""
    shares = np.zeros(classes, np.float32)
    shares[label] = 1.0
    return shares


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What a loader's process says is wrong is said again as it was, without torch's account of where."""
    try:
        yield
    except SpedgeError as error:
        said = str(error).rstrip()
        if "Original Traceback" not in said:
            raise
        raise type(error)(said.rpartition("\n")[2].partition(": ")[2]) from None


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """torch with so many threads, for the time being."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def begin_worker(_: int) -> None:
    """An interrupt is for the process that trains, which ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
