"""Recordings of one's own, a folder for each class, as any preset's data: preprocessed into the cache when needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from spedge.base.errors import InputError
from spedge.base.paths import cache_dir
from spedge.model.parts import Detector

from .data import folder, store
from .data.published import PARTS
from .data.registry import describe_data, is_made
from .preprocess import PreprocessProgress, preprocess
from .presets import Preset

NAME = "folder"


def is_folder(name: str, data: str | os.PathLike[str] | None) -> bool:
    """Whether that is a folder for each class, or a store of such, in the place of the data set of that name."""
    if data is None or not Path(data).is_dir():
        return False
    root = Path(data)
    if (root / store.INDEX).exists():
        return store.kind_of(root) == NAME
    if is_made(name) and all((root / part).is_dir() for part in PARTS if part != "validation"):
        return False  # as we write those data sets ourselves
    found = folder.find(root)
    own_files = name == "nmnist" and all(source.files[0].suffix == ".bin" for source in found.sources)
    classes = {source.files[0].parent.name for source in found.sources}
    return len(classes) > 1 and not found.problems and not own_files


def resolved(
    name: str,
    data: str | os.PathLike[str] | None,
    on_progress: Callable[[PreprocessProgress], None] | None = None,
) -> tuple[str, str | os.PathLike[str] | None]:
    """The data set to read and where from: a folder for each class takes the place of the one of that name.

    Its store is in the cache, and made anew from what has changed. Raises UsageError or InputError as `preprocess`, and
    where a recording cannot be read.
    """
    if name == NAME or not is_folder(name, data):
        return name, data
    assert data is not None
    root = Path(data).resolve()
    if (root / store.INDEX).exists():
        return NAME, root
    out = cache_dir() / "folders" / hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    out.parent.mkdir(parents=True, exist_ok=True)
    report = preprocess(NAME, root, out, on_progress=on_progress)
    if (left_out := report.summary()) is not None:
        raise InputError(left_out.replace(str(out), str(root)))
    return NAME, out


def on_data(preset: Preset, data: str | os.PathLike[str] | None) -> tuple[Preset, str | os.PathLike[str] | None]:
    """The preset on that data, whose labels and sensor are then the data's where it is a folder for each class."""
    if isinstance(preset.model, Detector):
        return preset, data
    name, where = resolved(preset.dataset, data)
    if name == preset.dataset:
        return preset, where
    return replace(preset, dataset=name, about=describe_data(name, where)), where
