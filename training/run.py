"""A run's folder: what was asked for when it was begun, in `run.json`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spedge.base.errors import InputError, UsageError
from spedge.base.files import whole
from spedge.model.parts import Detector, Encoder, Transformer
from spedge.model.spec import ModelSpec, describe, from_document, to_document

from .presets import Preset

NAME, PROGRESS, CURVES = "run.json", "progress.json", "curves.csv"
SCHEMA = 1
_OF_THE_MACHINE = ("workers",)  # of a recipe: may be otherwise when a run goes on
COMPATIBLE = ("authors",)  #: whom a run can be made comparable with


def made_compatible(spec: ModelSpec, compat: str | None) -> ModelSpec:
    """The description of a model that does as those of COMPATIBLE do: of a graph's neighbours those of the lowest index
    stay, and a detector's odd grid is cropped. Raises UsageError for any other."""
    if compat is None:
        return spec
    if compat not in COMPATIBLE:
        raise UsageError(f"There is no compatibility with '{compat}'. Choose one of: {', '.join(COMPATIBLE)}.")
    model = spec.model
    if isinstance(model, Detector):
        model = replace(model, encoder=_with_rule(model.encoder), odd_grid="crop")
        return describe(spec.name, spec.preset, spec.sensor, spec.labels, spec.representation, model)
    return spec if isinstance(model, Transformer) else replace(spec, model=_with_rule(model))


def _with_rule(model: Encoder) -> Encoder:
    return model if isinstance(model, Transformer) else replace(model, rule="lowest")


def document_of(
    preset: Preset,
    spec: ModelSpec,
    seed: int,
    compat: str | None,
    data: Mapping[str, Any],
    processes: int,
    precision: str,
) -> dict[str, Any]:
    """What was asked for, and what of it the machine could: how many processes share a batch, and the precision.

    A detector's batches are those of processes that load, each with streams of its own.
    """
    streams = {"number_of_loaders": max(1, preset.recipe.workers)} if isinstance(preset.model, Detector) else {}
    return {
        "schema": SCHEMA,
        "preset": preset.name,
        "spec": to_document(spec),
        "recipe": {name: value for name, value in asdict(preset.recipe).items() if name not in _OF_THE_MACHINE},
        "seed": seed,
        "compat": compat,
        "number_of_processes": processes,
        **streams,
        "precision": precision,
        "data": {name: data[name] for name in ("name", "fingerprint", "learned", "held_out")},
    }


def imported_document(preset: Preset, spec: ModelSpec, compat: str | None, about: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a run that others trained. about: what was imported."""
    return {
        "schema": SCHEMA,
        "preset": preset.name,
        "spec": to_document(spec),
        "recipe": asdict(preset.recipe),
        "seed": None,
        "compat": compat,
        "imported": dict(about),
    }


def check_same(folder: Path, document: Mapping[str, Any]) -> None:
    """Raises UsageError when the folder holds another run, naming what differs: one is never mixed with another."""
    if not (folder / NAME).exists():
        return
    before = read(folder)
    if ("imported" in before) != ("imported" in document):
        which = "a run that was imported" if "imported" in before else "a run that was trained here"
        raise UsageError(f"{folder} holds {which}: give another --run, or remove it.")
    for name, value in json.loads(json.dumps(document)).items():
        if name in before and before[name] != value:
            what, old, new = _difference(name, before.get(name), value)
            what = f"data {what}" if name == "data" else what
            raise UsageError(
                f"{folder} holds a run with another {what} ({old}, and not {new}): give another --run, or remove it."
            )


def write(folder: Path, document: Mapping[str, Any]) -> None:
    """Say in its folder what a run is. Nothing is done when that is said already."""
    if (folder / NAME).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / NAME) as part:
        part.write_text(json.dumps({**document, "begun": time.strftime("%Y-%m-%d %H:%M:%S")}, indent=1) + "\n")


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether that is the folder of a run."""
    return (Path(folder) / NAME).is_file()


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """`run.json` of a folder. Raises InputError when there is none or it is damaged."""
    file = Path(folder) / NAME
    try:
        document: dict[str, Any] = json.loads(file.read_text())
        if document["schema"] != SCHEMA:
            raise InputError(f"{file} was written by another version of spedge: train again with another --run.")
        return document
    except FileNotFoundError:
        raise InputError(f"There is no run at {folder}: give the folder that 'spedge train' wrote.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is damaged ({error}): train again with another --run.") from None


def list_runs(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Runs in a folder, by name: run, preset, seed, step, steps, and the accuracies accuracy and best, None before the
    first look. Raises InputError for a damaged one."""
    found: list[dict[str, Any]] = []
    for file in sorted(Path(folder).glob(f"*/{NAME}")):
        document = read(file.parent)
        row = {"run": file.parent.name, "preset": document["preset"], "seed": document["seed"]}
        step = document.get("imported", {}).get("steps", 0)
        found.append({**row, "step": step, "steps": document["recipe"]["steps"], "accuracy": None, "best": None})
        progress = file.parent / PROGRESS
        if progress.exists():
            found[-1].update(json.loads(progress.read_text()))
    return found


def write_progress(folder: Path, step: int, steps: int, accuracy: float, best: float) -> None:
    """Say how far a run is, for `list_runs`, which needs no torch."""
    with whole(folder / PROGRESS) as part:
        part.write_text(json.dumps({"step": step, "steps": steps, "accuracy": accuracy, "best": best}) + "\n")


def spec_of(folder: str | os.PathLike[str]) -> ModelSpec:
    """The description of a run's model. Raises InputError when there is no run or it is damaged."""
    return from_document(read(folder)["spec"])


def _difference(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """The first place where two values differ, by its name."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in (*now, *before):
            if before.get(key) != now.get(key):
                inner, old, new = _difference(key, before.get(key), now.get(key))
                return inner.replace("_", " "), old, new
    return name.replace("_", " "), before, now
