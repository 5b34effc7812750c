"""Share of predictions that are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], classes: int) -> NDArray[np.int64]:
    """How often class i was taken for class j: int64 [classes, classes]."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth, np.intp), np.asarray(predicted, np.intp)), 1)
    return matrix


def top1(confusion: NDArray[np.int64]) -> float:
    """Share of the diagonal; nan of nothing."""
    total = int(confusion.sum())
    return float(np.trace(confusion)) / total if total else float("nan")
