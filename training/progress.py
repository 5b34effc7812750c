"""What training tells while it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spedge.base.errors import SpedgeError


class TrainingError(SpedgeError):
    """Training came to nothing that is worth keeping."""


@dataclass(frozen=True)
class Progress:
    """Where training stands after an epoch, or within one that is long beside the schedule.

    done: share of the schedule. accuracy: of the held-out samples, when it was looked at after this epoch.
    budget_seconds: of CPU time; None where there is none. waiting: share of the time of steps that they waited for
    their batches; nan before any.
    """

    epoch: int
    done: float
    loss: float
    accuracy: float | None
    cpu_seconds: float
    budget_seconds: float | None
    step: int
    steps: int
    waiting: float = math.nan
