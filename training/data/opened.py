"""`spedge.training.data.open`: a part of any data set as torch's data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from spedge.base.errors import UsageError

from .published import PARTS
from .registry import describe_data, has_boxes, load_chunks, load_dataset

if TYPE_CHECKING:
    from .for_torch import ChunksWithBoxes, LabelledEvents


def open(
    name: str,
    data: str | os.PathLike[str] | None = None,
    *,
    split: str = "train",
    transform: Callable[[Any], Any] | None = None,
    chunk_ms: float | None = None,
) -> LabelledEvents | ChunksWithBoxes:
    """A part of a data set for `torch.utils.data.DataLoader`, in any number of workers.

    name: one of `spedge datasets`. data: the folder that `spedge preprocess` wrote, or N-MNIST's folder or zip file;
    None for a data set that is made here. split: train, validation or test. transform: is given the events of each
    sample, for example `TokenVolumes`. chunk_ms: the length that chunks must have, of a data set with boxes.
    Gives (events, label), or (events, boxes) for a data set with boxes: `LabelledEvents`, `ChunksWithBoxes`.
    Raises UsageError without torch (pip install 'spedge[train]'), for a wrong name or split, and for a folder that is
    no store of that data set.
    """
    if split not in PARTS:
        raise UsageError(f"There is no split '{split}'. Choose one of: {', '.join(PARTS)}.")
    try:
        from .for_torch import ChunksWithBoxes, LabelledEvents
    except ImportError:
        raise UsageError("Data sets for a DataLoader need torch: pip install 'spedge[train]'.") from None
    if has_boxes(name):
        store = load_chunks(name, data, chunk_ms)
        return ChunksWithBoxes(store.about, store.part(split), transform)
    dataset = load_dataset(name, data, (split,))
    samples = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}[split]
    return LabelledEvents(describe_data(name, data), samples, transform)
