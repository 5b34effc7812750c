"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.base.files import whole


def draw(confusion: NDArray[np.int64], labels: Sequence[str], path: Path) -> None:
    """Write a PNG file: a row for each class, shaded by the share of it that was taken for each column's class.

    Raises UsageError without matplotlib, or where the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("a confusion matrix draws a picture: pip install 'spedge[view]'") from None
    side = 2.5 + 0.42 * len(labels)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes: Any = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(confusion), strict=True):
        shade = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=shade, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    with whole(path) as part:
        figure.savefig(part, dpi=120, format="png")
