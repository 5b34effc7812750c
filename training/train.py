"""Training: a preset and a data set to a run's folder, with a checkpoint and a bundle."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spedge.base.errors import UsageError
from spedge.model.bundle import Bundle
from spedge.model.parts import Transformer
from spedge.model.spec import Metric, ModelSpec

from .checkpoint import NAME, Checkpoint
from .export.bundle import export_model, with_room
from .folders import on_data
from .material import Material, material_of
from .presets import Preset
from .presets import preset as find_preset
from .progress import Progress, TrainingError
from .run import check_same, document_of, made_compatible, read

if TYPE_CHECKING:
    from .fit.fitting import Fitted
    from .fit.machine import Machine, Place

_HIGHEST_RATE = 1e20  # far beyond what any model bears, and within float32
KEEP_MINUTES = 10.0  #: between two checkpoints, where looks at the held-out samples are farther apart


@dataclass(frozen=True)
class TrainReport:
    """What came out. score: how good the kept model is on the held-out part, in terms of `metric`: top1, the share of
    recordings that are classified right, or mAP@.50. bundle: None where none was asked for, or there is none yet.
    precision: what it was trained in, which is fp32 where fp16 was asked for without a GPU."""

    preset: str
    seed: int
    checkpoint: Path
    bundle: Bundle | None
    precision: str
    processes: int
    compat: str | None
    learned_samples: int
    held_out_samples: int
    epochs: int
    steps: int
    metric: str
    score: float
    cpu_seconds: float
    interrupted: bool

    @property
    def top1(self) -> float:
        """The score of a classifier."""
        assert self.metric == "top1", self.metric
        return self.score


def train(
    preset: str | Preset,
    data: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    minutes: float | None = None,
    holdout: float | None = None,
    name: str | None = None,
    size: str | None = None,
    attention: str | None = None,
    tokens: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    compat: str | None = None,
    start: str | None = None,
    machine: Machine | None = None,
    keep_minutes: float = KEEP_MINUTES,
    wandb: str | None = None,
    bundle: bool = True,
    debug: bool = False,
    watched: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainReport | None:
    """Train a preset in the run's folder `out`; the same call again goes on where it was stopped.

    Writes `run.json`, `curves.csv` and `tensorboard/`, `checkpoints/last.ckpt` and `best.ckpt`, `checkpoint.pt`, and
    beside it the bundle.

    data: the data set's directory or zip file, or a folder for each class of one's own; None for a data set we make
    ourselves. minutes: budget of CPU time
    of this process and those that load; default the preset's, and none for the paper's. The schedule counts steps, so
    that a seed gives the same model whatever the machine's load, unless the budget would be exceeded: then it is
    shortened. size: one of SIZES for the transformer, attention: "full" or "causal", tokens: another window, each in
    the place of the preset's. recipe: fields of `Recipe` in the place of the preset's. compat: "authors" for what they
    do differently and we do not copy. start: ViT-MAE's weights, which a new transformer of size base begins with in
    the place of random ones: a file, or a repository of the Hugging Face hub. machine: where; by default one process,
    on a GPU where there is one. keep_minutes: how much is lost at most when the process is killed; 0 keeps every step.
    wandb: project to log to. bundle: write one. debug: keep and log nothing.
    watched: write the curves as they come, for who looks at the folder. An interrupt (Ctrl-C) ends training early with
    the weights so far.
    Returns None in processes but the first of several.
    Raises UsageError or InputError for a wrong preset, budget, data, or a folder of another run, also when the budget
    ends before the first step or the recordings give no tokens; TrainingError when the loss ceases to be a number,
    which is never kept, or when another process or the memory is gone.
    """
    chosen, data = on_data(_chosen(preset, size, attention, tokens, recipe, minutes, holdout), data)
    from .fit.fitting import Plan, fit
    from .fit.machine import Machine, place_of

    started = time.process_time()
    place = place_of(machine or Machine(), chosen.recipe.precision)
    causal = isinstance(chosen.model, Transformer) and chosen.model.attention == "causal"
    spec = made_compatible(chosen.spec(name or (f"{chosen.name}-causal" if causal else chosen.name)), compat)
    folder = None if debug else Path(out)
    begun_with, begin = _start(start, spec, folder)
    material = material_of(chosen, data, seed)
    document = document_of(chosen, spec, seed, compat, material.made_of, place.processes, place.precision) | begun_with
    if folder is not None:
        check_same(folder, document)
    work, wandb = partial(material.work, spec), None if debug else wandb
    kept = (folder, document, begin, material.best, wandb, keep_minutes, watched)
    plan = Plan(spec, chosen.recipe, work, seed, *kept)
    fitted = fit(plan, place, on_progress, started)
    fitted_at = time.process_time()
    if not fitted.first:
        return None
    if fitted.step == 0:
        if fitted.interrupted:
            raise KeyboardInterrupt
        raise UsageError(
            f"Nothing was learned: {chosen.recipe.minutes or 0:g} minutes of CPU time were over before the first step. "
            "Give more with --minutes."
        )
    spec = replace(
        spec,
        metric=Metric(material.metric, fitted.accuracy, material.split, material.held),
        training={
            "data": material.made_of,
            "seed": seed,
            "precision": place.precision,
            "epochs": fitted.epochs,
            "cpu_seconds": round(fitted.cpu_seconds, 1),
            "interrupted": fitted.interrupted,
            "largest": fitted.largest,
            "versions": _versions(),
            **({"compat": compat} if compat else {}),
            **(begun_with if start else {}),
        },
    )
    examples = tuple(material.examples())
    checkpoint = Path(out) / NAME
    written = None
    if not debug:
        calibration = material.calibration()
        Checkpoint(checkpoint, spec, fitted.model.state_dict(), examples, calibration).save()
        if bundle:
            written = export_model(fitted.model, with_room(spec), examples, checkpoint.parent, calibration)
    return _report(chosen, seed, compat, place, checkpoint, written, material, fitted, time.process_time() - fitted_at)


def _start(
    start: str | None, spec: ModelSpec, folder: Path | None
) -> tuple[dict[str, str | None], Callable[[Any], None] | None]:
    """What a run says of the weights that it began with, and what puts them into a new model. A run that goes on has
    done so, and says what it said before."""
    if start is None:
        return {"start": None, "start_sha256": None}, None
    from .fit.state import LAST
    from .weights.vitmae import load_start, require_base

    require_base(spec)
    if folder is not None and (folder / "checkpoints" / LAST).exists():
        return {"start": start, "start_sha256": read(folder).get("start_sha256")}, None
    weights = load_start(start, spec)
    return {"start": start, "start_sha256": weights.sha256}, weights.put_into


def _chosen(
    preset: str | Preset,
    size: str | None,
    attention: str | None,
    tokens: int | None,
    changes: Mapping[str, Any] | None,
    minutes: float | None,
    holdout: float | None,
) -> Preset:
    """The preset with what is asked for in its place."""
    chosen = find_preset(preset) if isinstance(preset, str) else preset
    chosen = chosen if size is None else chosen.with_size(size)
    chosen = chosen if attention is None else chosen.with_attention(attention)
    chosen = chosen if tokens is None else chosen.with_tokens(tokens)
    recipe = replace(chosen.recipe, **dict(changes or {}))
    if minutes is not None:
        if not minutes > 0:
            raise UsageError("The time to train must be more than 0 minutes.")
        steps = recipe.steps if recipe.minutes is None else recipe.steps * minutes / recipe.minutes
        recipe = replace(recipe, minutes=minutes, steps=max(1, round(steps)))
    recipe = recipe if holdout is None else replace(recipe, holdout=holdout)
    for what in ("batch", "steps", "accumulate", "validate_epochs", "log_steps", "pool"):
        if getattr(recipe, what) < 1:
            raise UsageError(f"{what} is {getattr(recipe, what)}: it must be at least 1.")
    if recipe.stop_accuracy is not None and not 0 < recipe.stop_accuracy <= 1:
        raise UsageError(f"The accuracy that is enough is {recipe.stop_accuracy}: it must be a share, more than 0.")
    if not 0 < recipe.learning_rate <= _HIGHEST_RATE:
        raise UsageError(
            f"The learning rate is {recipe.learning_rate}: it must be more than 0, and {_HIGHEST_RATE:g} at most."
        )
    if recipe.optimizer not in ("adam", "adamw"):
        raise UsageError(f"There is no optimizer '{recipe.optimizer}'. Choose one of: adam, adamw.")
    return replace(chosen, recipe=recipe)


def _report(
    chosen: Preset,
    seed: int,
    compat: str | None,
    place: Place,
    checkpoint: Path,
    bundle: Bundle | None,
    material: Material,
    fitted: Fitted,
    after: float,
) -> TrainReport:
    """after: CPU seconds of what was done after fitting."""
    return TrainReport(
        preset=chosen.name,
        seed=seed,
        checkpoint=checkpoint,
        bundle=bundle,
        precision=place.precision,
        processes=place.processes,
        compat=compat,
        learned_samples=material.learned,
        held_out_samples=material.held,
        epochs=fitted.epochs,
        steps=fitted.step,
        metric=material.metric,
        score=fitted.accuracy,
        cpu_seconds=fitted.cpu_seconds + after,
        interrupted=fitted.interrupted,
    )


def _versions() -> dict[str, str]:
    import torch

    return {"python": platform.python_version(), "numpy": np.__version__, "torch": str(torch.__version__)}


__all__ = ["Progress", "TrainReport", "TrainingError", "train"]
