"""Data sets by name; a module of one is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any

from spedge.base.errors import UsageError

from .base import Dataset, Description
from .store import open_store

#: Name of a data set to the module here that knows it. One that lies on disk as it was published has `find` and
#: `slices` and is preprocessed; one that is read or made as a whole has `read`.
MODULES = {
    "gestures": "gestures",
    "nmnist": "nmnist",
    "dvsgesture": "dvsgesture",
    "slanimals": "slanimals",
    "folder": "folder",
    "gen1": "gen1",
}


def describe_data(name: str, data: str | os.PathLike[str] | None = None) -> Description:
    """Sensor and labels of a data set. data: its store, which alone knows those of a `folder`.

    Raises UsageError naming those there are.
    """
    module = _module(name)
    if hasattr(module, "describe"):
        if data is None:
            raise UsageError(
                "The data set 'folder' is described by its recordings: give the folder that was preprocessed."
            )
        return open_store(data, name).about
    description: Description = module.DESCRIPTION
    return description


def about_data(name: str) -> dict[str, str]:
    """What one who looks for a data set has to know: title, link, size, licence, layout, and how it is read here."""
    module = _module(name)
    title = (
        module.DESCRIPTION.title
        if hasattr(module, "DESCRIPTION")
        else "recordings of your own, a folder for each class"
    )
    read = (
        "as it is"
        if hasattr(module, "read")
        else "after 'spedge preprocess'"
        if hasattr(module, "slices")
        else "not yet"
    )
    return {"title": title, **asdict(module.ABOUT), "read": read}


def load_dataset(name: str, data: str | os.PathLike[str] | None, parts: Sequence[str] = ("train", "test")) -> Dataset:
    """A data set: read from `data`, or made when it is one of our own and `data` is None.

    data: of one that is preprocessed, the folder of that. parts: those wanted of a data set that has to be made. Raises
    UsageError when it cannot be read here.
    """
    module = _module(name)
    if hasattr(module, "read"):
        dataset: Dataset = module.read(data, parts)
        return dataset
    if not hasattr(module, "slices"):
        readable = ", ".join(known for known in MODULES if hasattr(_module(known), "read") or published_here(known))
        raise UsageError(f"{describe_data(name).title} cannot be read here yet. Choose one of: {readable}.")
    if data is None:
        raise UsageError(
            f"The data set '{name}' is not made here: give the folder that 'spedge preprocess {name}' wrote."
        )
    return open_store(data, name).dataset()


def published(name: str) -> Any:
    """The module of a data set that is preprocessed. Raises UsageError for another."""
    if not published_here(name):
        known = ", ".join(name for name in MODULES if published_here(name))
        raise UsageError(f"The data set '{name}' is not preprocessed. Choose one of: {known}.")
    return _module(name)


def published_here(name: str) -> bool:
    """Whether a data set is preprocessed."""
    return hasattr(_module(name), "slices")


def _module(name: str) -> Any:
    if name not in MODULES:
        raise UsageError(f"There is no data set '{name}'. Choose one of: {', '.join(MODULES)}.")
    return import_module(f".{MODULES[name]}", __package__)
