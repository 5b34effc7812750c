"""Data sets by name; a module of one is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, TypeVar

from spedge.base.errors import InputError, UsageError

from .base import Dataset, Description
from .boxes import BoxRules
from .chunks import ChunkStore, open_chunks
from .published import Found
from .slices import Store, open_store
from .store import SCHEMA

_PACKAGE = __package__.partition(".")[0]
_Store = TypeVar("_Store", Store, ChunkStore)

#: Name of a data set to the module here that knows it. One that lies on disk as it was published has `find` and
#: `slices`, or `chunks` if it has boxes, and is preprocessed; one that is read or made as a whole has `read`.
MODULES = {
    "gestures": "gestures",
    "gestures-320": "gestures_320",
    "nmnist": "nmnist",
    "dvsgesture": "dvsgesture",
    "slanimals": "slanimals",
    "folder": "folder",
    "gen1": "gen1",
    "1mpx": "onempx",
    "etram": "etram",
    "nmnist-det": "moving_digits",
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
    read = "as it is" if hasattr(module, "read") else "after 'spedge preprocess'"
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
    if has_boxes(name):
        readable = ", ".join(known for known in MODULES if not has_boxes(known))
        raise UsageError(
            f"{describe_data(name).title} has boxes and no classes of whole recordings. Choose one of: {readable}."
        )
    return _current(open_store(_given(name, data), name)).dataset()


def load_chunks(name: str, data: str | os.PathLike[str] | None, chunk_ms: float | None = None) -> ChunkStore:
    """The store of a data set with boxes. chunk_ms: the length that its chunks must have, where one is asked for.

    Raises UsageError for another data set, and as `load_dataset`.
    """
    if not has_boxes(name):
        with_boxes = ", ".join(known for known in MODULES if has_boxes(known))
        raise UsageError(f"The data set '{name}' has no boxes. Choose one of: {with_boxes}.")
    return _current(open_chunks(_given(name, data), name, chunk_ms))


def made_by(name: str) -> str:
    """The code that preprocesses a data set: what it has made before is made anew when this has changed."""
    return f"spedge {version_of(_PACKAGE)}, {name} {_module(name).VERSION}, store {SCHEMA}"


def published(name: str) -> Any:
    """The module of a data set that is preprocessed. Raises UsageError for another."""
    if not is_published(name):
        known = ", ".join(name for name in MODULES if is_published(name))
        raise UsageError(f"The data set '{name}' is not preprocessed. Choose one of: {known}.")
    return _module(name)


def is_published(name: str) -> bool:
    """Whether a data set is preprocessed."""
    return hasattr(_module(name), "slices") or has_boxes(name)


def is_made(name: str) -> bool:
    """Whether a data set is made here when it is asked for, and nothing of it has to be got."""
    return not hasattr(_module(name), "find")


def has_boxes(name: str) -> bool:
    """Whether a data set is one of chunks with boxes, and not of labelled recordings."""
    return hasattr(_module(name), "chunks")


def look_at(name: str, folder: Path) -> Found:
    """What of a data set is in a folder; its problems name what is missing, and what is damaged at first sight.

    Raises UsageError for a data set that is made here.
    """
    module = _module(name)
    if is_made(name):
        raise UsageError(f"The data set '{name}' is made here when it is asked for: there is nothing to look for.")
    found: Found = module.find(folder)
    damaged: list[str] = []
    for source in found.sources if hasattr(module, "glance") else ():
        try:
            module.glance(source)
        except InputError as error:
            damaged.append(str(error))
    return replace(found, problems=(*found.problems, *damaged))


def describe_found(module: Any, found: Found) -> Description:
    """Sensor and labels of what was found of a published data set."""
    description: Description = module.describe(found) if hasattr(module, "describe") else module.DESCRIPTION
    return description


def box_rules(name: str) -> BoxRules:
    """Which boxes of a data set are too small to count."""
    rules: BoxRules = _module(name).RULES
    return rules


def _given(name: str, data: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if data is None:
        raise UsageError(
            f"The data set '{name}' is not made here: give the folder that 'spedge preprocess {name}' wrote."
        )
    return data


def _current(store: _Store) -> _Store:
    """The store, if the present code would make the same."""
    name = store.about.name
    if store.made_by != made_by(name):
        raise UsageError(
            f"{store.root} was preprocessed by other code ({store.made_by}; this is {made_by(name)}): run "
            f"'{store.command}', which makes it anew."
        )
    return store


def _module(name: str) -> Any:
    if name not in MODULES:
        raise UsageError(f"There is no data set '{name}'. Choose one of: {', '.join(MODULES)}.")
    return import_module(f".{MODULES[name]}", __package__)
