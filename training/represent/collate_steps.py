"""Steps of several sequences to one batch of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..models.detector import StepInputs, Steps
from ..models.inputs import GraphBatch, TokenBatch
from .collate import inputs_of
from .samples import GraphArrays
from .steps import Step


class Sequenced(NamedTuple):
    """Steps of a piece of a recording. slot: whose state goes on; reset: whether it begins anew before the first."""

    recording: int
    slot: int
    reset: bool
    steps: Sequence[Step]


class StepBatch(NamedTuple):
    """inputs: what the encoder takes. steps: whose they are. labels: float32 [n, 5], of all steps; counts: int64
    [steps], of each. recording, time: int64 [steps]; µs. tokens: int64 [steps], or
    events. cpu_seconds: that a process of its own has used for it."""

    inputs: StepInputs
    steps: Steps
    labels: Tensor
    counts: Tensor
    recording: Tensor
    time: Tensor
    tokens: Tensor
    cpu_seconds: float = 0.0

    @property
    def made(self) -> Tensor:
        """bool [steps]: whether a device makes the step."""
        assert self.steps.still is not None
        return ~self.steps.still

    @property
    def largest(self) -> int:
        """Tokens or events of the step that has the most."""
        return int(self.tokens.max())

    @property
    def samples(self) -> int:
        """How many steps there are."""
        return len(self.time)

    @property
    def points(self) -> int:
        """Tokens or events of all steps."""
        return self.inputs.points

    def labels_of(self) -> tuple[Tensor, ...]:
        """Labels of each step."""
        return torch.split(self.labels, self.counts.tolist())


def collate_steps(sequences: Sequence[Sequenced]) -> StepBatch:
    """The steps of sequences, one after another."""
    steps = [step for sequence in sequences for step in sequence.steps]
    counts = [len(sequence.steps) for sequence in sequences]
    reset = [sequence.reset and i == 0 for sequence in sequences for i in range(len(sequence.steps))]
    return StepBatch(
        _inputs(steps),
        Steps(
            torch.tensor(_each([s.slot for s in sequences], counts)),
            torch.tensor(reset),
            torch.tensor([step.still for step in steps]),
        ),
        torch.from_numpy(np.concatenate([step.labels for step in steps])),
        torch.tensor([len(step.labels) for step in steps]),
        torch.tensor(_each([s.recording for s in sequences], counts)),
        torch.tensor([step.time for step in steps]),
        torch.tensor([0 if step.arrays is None else step.arrays.points for step in steps]),
    )


def _each(values: Sequence[int], counts: Sequence[int]) -> list[int]:
    return np.repeat(np.array(values, np.int64), counts).tolist()


def _inputs(steps: Sequence[Step]) -> StepInputs:
    """Steps without tokens or events have a length of 0, or no place in the graph."""
    arrays = [step.arrays for step in steps]
    there = [i for i, own in enumerate(arrays) if own is not None and own.points]
    given = [own for own in arrays if own is not None and own.points]
    if not given:
        return StepInputs(None, torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), len(steps))
    batch = inputs_of(given)
    number = torch.tensor(there)
    if isinstance(batch, TokenBatch):
        of_step = torch.repeat_interleave(number, batch.lengths)
        return StepInputs(batch, batch.positions[:, :2].long(), of_step, len(steps))
    assert isinstance(batch, GraphBatch)
    places = [own.graph.kept[:, :2] for own in given if isinstance(own, GraphArrays)]
    return StepInputs(batch, torch.from_numpy(np.concatenate(places)).long(), number[batch.graph.sample], len(steps))
