"""Data sets by name; a module of one is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from spedge.base.errors import UsageError

from .base import Dataset, Description

#: Name of a data set to the module here that describes it as `DESCRIPTIONS[name]` and, when it has `read`, reads it.
MODULES = {
    "gestures": "gestures",
    "nmnist": "nmnist",
    "dvsgesture": "published",
    "slanimals": "published",
    "gen1": "published",
}


def describe_data(name: str) -> Description:
    """Sensor and labels of a data set. Raises UsageError naming those there are."""
    description: Description = _module(name).DESCRIPTIONS[name]
    return description


def load_dataset(name: str, data: str | os.PathLike[str] | None, parts: Sequence[str] = ("train", "test")) -> Dataset:
    """A data set: read from `data`, or made when it is one of our own and `data` is None.

    parts: those wanted of a data set that has to be made. Raises UsageError when it cannot be read here.
    """
    module = _module(name)
    if not hasattr(module, "read"):
        readable = ", ".join(known for known in MODULES if hasattr(_module(known), "read"))
        raise UsageError(f"{describe_data(name).title} cannot be read here yet. Choose one of: {readable}.")
    dataset: Dataset = module.read(data, parts)
    return dataset


def _module(name: str) -> Any:
    if name not in MODULES:
        raise UsageError(f"There is no data set '{name}'. Choose one of: {', '.join(MODULES)}.")
    return import_module(f".{MODULES[name]}", __package__)
