"""A checkpoint of the authors to a run of ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spedge.base.errors import InputError, UsageError
from spedge.model.parts import Detector
from spedge.model.spec import ModelSpec

from .checkpoint import NAME, Checkpoint
from .data.registry import load_dataset
from .material import calibration_of, examples_of
from .presets import PRESETS, Preset
from .presets import preset as find_preset
from .run import check_same, imported_document, made_compatible, write

if TYPE_CHECKING:
    from .weights.reading import Pickled

#: Of Lightning's checkpoints, what says how long was trained.
_PROGRESS = {"epoch": "epochs", "global_step": "steps"}


@dataclass(frozen=True)
class ImportReport:
    """What came in. checkpoint: the file in the run's folder. parameters: of the model. foreign: classes and functions
    that the file names and that were not looked at. trained: epochs and steps, where the file says them."""

    checkpoint: Path
    spec: ModelSpec
    parameters: int
    foreign: tuple[str, ...]
    trained: Mapping[str, int]


def import_run(
    file: str | os.PathLike[str],
    preset: str | Preset,
    out: str | os.PathLike[str],
    *,
    size: str | None = None,
    name: str | None = None,
    compat: str | None = None,
    data: str | os.PathLike[str] | None = None,
) -> ImportReport:
    """Turn a Lightning checkpoint of the authors into a run in the folder `out`, which evaluates and exports.

    Nothing that the file pickles is run: classes that it names need not exist here, and stand for nothing.
    preset: the experiment that it is of; checkpoints of SP, V and F look alike, so this is not found out by itself.
    size: of a transformer, in the place of the preset's. name: of the model; default the preset's. compat: "authors" to
    feed a GNN or PCN as they do on a GPU, see `train`. data: the preset's data, of which a few samples become the
    examples that a bundle is checked with; without it there are none.
    Raises UsageError for a preset that is none or a detector, and for a folder with another run; InputError for a file
    that is no such checkpoint, naming the first tensor that does not fit.
    """
    from .weights.authors import weights_of
    from .weights.reading import read_pickle, sha256_of

    chosen = find_preset(preset) if isinstance(preset, str) else preset
    if isinstance(chosen.model, Detector):
        raise UsageError(f"The preset '{chosen.name}' is a detector, whose checkpoints cannot be imported yet.")
    chosen = chosen if size is None else chosen.with_size(size)
    path = Path(file)
    pickled = read_pickle(path)
    content = _checked(pickled, chosen, path)
    spec = made_compatible(chosen.spec(name), compat)
    weights = weights_of(content["state_dict"], spec, str(path))
    trained = {ours: content[own] for own, ours in _PROGRESS.items() if isinstance(content.get(own), int)}
    about = {"file": path.name, "sha256": sha256_of(path), **trained}
    spec = replace(spec, training={"imported": about})
    examples: tuple[Any, ...] = ()
    calibration: tuple[Any, ...] = ()
    if data is not None:
        learn, held = load_dataset(chosen.dataset, data).split(chosen.recipe.holdout, 0)
        examples, calibration = tuple(sample.events for sample in examples_of(held)), calibration_of(learn)
    folder = Path(out)
    document = imported_document(chosen, spec, compat, about)
    check_same(folder, document)
    write(folder, document)
    checkpoint = Checkpoint(folder / NAME, spec, weights, examples, calibration)
    checkpoint.save()
    parameters = sum(parameter.numel() for parameter in checkpoint.model().parameters())
    return ImportReport(checkpoint.path, spec, parameters, pickled.foreign, trained)


def _checked(pickled: Pickled, preset: Preset, path: Path) -> dict[Any, Any]:
    """The checkpoint's content. Where its hyper-parameters name a preset, it has to be this one."""
    content = pickled.content
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise InputError(f"{path} is no checkpoint of Lightning: it has no state_dict.")
    named = {text for text in _texts(content.get("hyper_parameters")) if text in PRESETS}
    if named and preset.name not in named:
        raise InputError(f"{path} says that it is of {', '.join(sorted(named))}: give that as --preset.")
    return content


def _texts(value: Any) -> Iterator[str]:
    """Texts in plain containers."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
