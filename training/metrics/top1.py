"""Share of predictions that are right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Votes:
    """Votes of slices: the mean of the probabilities of a recording's slices decides for it.

    A recording none of whose slices could be looked at counts as class 0's prediction: it is not left out.
    """

    def __init__(self, classes: int) -> None:
        self._truth: dict[str, int] = {}
        self._sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(classes))
        self._classes = classes

    def add(self, label: int, group: str, probabilities: NDArray[np.float64] | None) -> None:
        """A slice of the recording `group`, which shows `label`. probabilities: [classes]; None: there are none."""
        self._truth.setdefault(group, label)
        if probabilities is not None:
            self._sums[group] += probabilities

    def decided(self) -> dict[str, tuple[int, int, float]]:
        """Of each recording its class, what the votes are for, and the share of their probability for that."""
        return {group: (label, *_winner(self._sums[group])) for group, label in self._truth.items()}

    def confusion(self) -> NDArray[np.int64]:
        """[true, predicted], of recordings."""
        decided = self.decided().values()
        return confusion_matrix([label for label, *_ in decided], [said for _, said, _ in decided], self._classes)


def _winner(sums: NDArray[np.float64]) -> tuple[int, float]:
    said = int(sums.argmax())
    return said, float(sums[said] / (sums.sum() or 1.0))


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], classes: int) -> NDArray[np.int64]:
    """How often class i was taken for class j: int64 [classes, classes]."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth, np.intp), np.asarray(predicted, np.intp)), 1)
    return matrix


def top1(confusion: NDArray[np.int64]) -> float:
    """Share of the diagonal; nan of nothing."""
    total = int(confusion.sum())
    return float(np.trace(confusion)) / total if total else float("nan")
