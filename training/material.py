"""A preset's data set as a run takes it: what to learn from, what to look at, and the work that is done with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.model.parts import Detection, Detector
from spedge.model.spec import ModelSpec

from .data.base import Sample, pack_digests, sizes_of
from .data.chunks import ChunkedRecording
from .data.registry import box_rules, load_chunks, load_dataset
from .folders import resolved
from .metrics.coco import Rule
from .presets import Preset
from .presets import preset as find_preset

if TYPE_CHECKING:
    from .fit.machine import Place
    from .fit.work import Work

EXAMPLES = 3  #: held-out samples kept for the bundle's vectors
CALIBRATION, CALIBRATION_EVENTS = 16, 1 << 20  #: learned samples kept for ranges in 8 bits, and their events in all
_EXAMPLE_CHUNKS = 10


@dataclass(frozen=True)
class Material:
    """made_of: what a bundle says of the recordings. learned, held: how many there are. metric: name of what says how
    good a model is, on `split`. best: whether the held-out part is there to choose the weights by. work: of a model's
    description, for one of the processes that train. examples, calibration: events of a few held-out samples, and of
    some learned ones."""

    made_of: dict[str, Any]
    learned: int
    held: int
    metric: str
    split: str
    best: bool
    work: Callable[[ModelSpec, Place], Work]
    examples: Callable[[], list[NDArray[Any]]]
    calibration: Callable[[], tuple[NDArray[Any], ...]]


def material_of(preset: Preset, data: str | os.PathLike[str] | None, seed: int) -> Material:
    """Raises UsageError or InputError as the data set does that cannot be read, or has nothing to hold out."""
    return _boxes(preset, data, seed) if isinstance(preset.model, Detector) else _classes(preset, data, seed)


def held_out(run: Mapping[str, Any], data: str | os.PathLike[str] | None) -> Sequence[Sample]:
    """The samples that a run of classes (its `run.json`) holds out.

    Raises UsageError or InputError where the data set cannot be read, or is not the one that the run was trained on.
    """
    if "imported" in run:
        raise UsageError("This run was trained elsewhere, on recordings that are not known here.")
    preset, seed = find_preset(run["preset"]), int(run["seed"])
    dataset = load_dataset(*resolved(preset.dataset, data))
    if dataset.fingerprint != run["data"]["fingerprint"]:
        raise UsageError(f"{data or preset.dataset} holds other recordings than this run was trained on.")
    return dataset.split(run["recipe"]["holdout"], seed)[1]


def _classes(preset: Preset, data: str | os.PathLike[str] | None, seed: int) -> Material:
    dataset = load_dataset(preset.dataset, data)
    learn, held = dataset.split(preset.recipe.holdout, seed)
    about = preset.described
    best = bool(dataset.validation)

    def work(spec: ModelSpec, place: Place) -> Work:
        from .fit.classifying import Classifying

        return Classifying(spec, preset.recipe, about, learn, held, seed, place.rank, place.processes)

    digests = "" if dataset.test or dataset.validation else pack_digests(learn)
    return Material(
        _made_of(dataset.name, dataset.fingerprint, learn, held, digests),
        len(learn),
        len(held),
        "top1",
        "test" if dataset.test and not best else "held-out",
        best,
        work,
        lambda: [sample.events for sample in examples_of(held)],
        lambda: calibration_of(learn),
    )


def _boxes(preset: Preset, data: str | os.PathLike[str] | None, seed: int) -> Material:
    spec = preset.spec()
    assert isinstance(spec.task, Detection)
    store = load_chunks(preset.dataset, data, spec.task.step_us / 1000)
    learn, held = store.part("train"), store.part("validation")
    for part, recordings in (("train", learn), ("validation", held)):
        if not any(len(recording.labelled) for recording in recordings):
            raise InputError(f"{store.root} has no labelled recordings in its part '{part}': train on a set that has.")
    rules = box_rules(preset.dataset)

    def work(spec: ModelSpec, place: Place) -> Work:
        from .fit.detecting import Detecting

        rule = Rule(rules.side, rules.diagonal)
        return Detecting(spec, preset.recipe, store.about, learn, held, rule, seed, place.rank, place.processes)

    return Material(
        _made_of(preset.dataset, store.fingerprint, learn, held),
        len(learn),
        len(held),
        "mAP@.50",
        "held-out",
        True,
        work,
        lambda: _first_labelled(held, EXAMPLES),
        lambda: _calibration(_first_labelled(learn, CALIBRATION)),
    )


def _made_of(
    name: str, fingerprint: str, learn: Sequence[Any], held: Sequence[Any], digests: str = ""
) -> dict[str, Any]:
    """What a bundle says of the recordings that its model was made with. digests: of those that it learned from, where
    no part of the data set is set aside."""
    return {
        "name": name,
        "fingerprint": fingerprint,
        "learned": len(learn),
        "held_out": len(held),
        "digests": digests,
    }


def examples_of(held: Sequence[Sample]) -> list[Sample]:
    """A few held-out samples of different classes, rather short ones to keep the bundle small."""
    sizes = sizes_of(held)
    first: dict[int, Sample] = {}
    for number in np.argsort(sizes, kind="stable")[len(held) // 8 :]:
        sample = held[int(number)]
        first.setdefault(sample.label, sample)
        if len(first) == EXAMPLES:
            break
    return sorted(first.values(), key=lambda sample: sample.label)


def calibration_of(learn: Sequence[Sample]) -> tuple[NDArray[Any], ...]:
    """Events of some of the samples, from all over the part."""
    numbers = np.unique(np.linspace(0, len(learn) - 1, CALIBRATION).round().astype(int))
    return tuple(learn[number].events for number in numbers[: _kept(sizes_of(learn)[numbers])].tolist())


def _kept(events: Any) -> int:
    """Of pieces with so many events each: as many of the first, one at least, as are kept for ranges in 8 bits."""
    return max(1, int((np.cumsum(events) <= CALIBRATION_EVENTS).sum()))


def _calibration(pieces: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    return tuple(pieces[: _kept([len(piece) for piece in pieces])])


def _first_labelled(part: Sequence[ChunkedRecording], most: int) -> list[NDArray[Any]]:
    """Events of half a second around the first label of a few recordings."""
    there = [recording for recording in part if len(recording.labelled)][:most]
    firsts = [max(0, int(recording.labelled[0]) + 1 - _EXAMPLE_CHUNKS) for recording in there]
    return [own.events(first, first + _EXAMPLE_CHUNKS) for own, first in zip(there, firsts, strict=True)]
