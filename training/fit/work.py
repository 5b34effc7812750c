"""What a fit is about: batches, their loss, how good a model is. Classification and detection are such work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..seen import Seen

#: Passes batches on, and adds up what making them cost.
Counted = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Look:
    """What was seen of the held-out part. score: the best weights are those with the highest. curves: to be written, by
    name. points: tokens or events that were looked at; samples: of which they are; largest: of one of them. seen: what
    there is to show."""

    score: float
    curves: dict[str, float]
    points: int
    samples: int
    largest: int
    seen: Seen = field(default_factory=Seen)


class Work(ABC):
    """One process's share of a task and its data."""

    #: Batches in which the data is seen once.
    in_epoch: int

    @abstractmethod
    def learning(self, first: int, last: int, gpu: bool) -> Iterable[Any]:
        """A loader of the run's batches `first` to before `last`."""

    @abstractmethod
    def loss(self, model: Any, batch: Any) -> Tensor | None:
        """Of a batch; None where nothing can be learned from it."""

    @abstractmethod
    def look(self, model: Any, counted: Counted) -> Look:
        """Try a model, as it is used, on the held-out part; all processes together."""

    @abstractmethod
    def close(self) -> None:
        """Nothing is looked at any more: processes that were kept for it end."""

    @abstractmethod
    def carried(self) -> dict[str, Tensor]:
        """What goes on from batch to batch besides weights: a checkpoint keeps it. All processes ask together."""

    @abstractmethod
    def carry_on(self, carried: dict[str, Tensor]) -> None:
        """Go on with what `carried` gave."""
