"""Data sets by name."""

from __future__ import annotations

import os
from collections.abc import Sequence

from spedge.base.errors import UsageError

from ..presets.base import Preset
from .base import Dataset


def load_dataset(
    preset: Preset, data: str | os.PathLike[str] | None, parts: Sequence[str] = ("train", "test")
) -> Dataset:
    """The data set of a preset: read from `data`, or made when it is one of our own and `data` is None.

    parts: those wanted of a data set that has to be made.
    """
    if preset.dataset == "gestures":
        from . import gestures

        return gestures.make(parts) if data is None else gestures.load(data)
    if data is None:
        raise UsageError(f"The preset '{preset.name}' needs data: give the N-MNIST directory or zip file.")
    from . import nmnist

    return nmnist.load(data)
