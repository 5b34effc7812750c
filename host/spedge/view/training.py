"""A stage for a training: its curves, what the last look at the held-out part saw, and the recordings of that part."""

from __future__ import annotations

import math
import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokenizer
from spedge.view.scene import Scene
from spedge.view.shelf import ShelfStage
from spedge.view.stage import RecordingStage, whole

_POINTS = 1000  # of a curve on the page
_LISTED = 200  # recordings of a cell on the page
_PATCH, _THRESHOLD = 16, 64.0  # of tokens where the model has none


class Run(Protocol):
    """A run that is looked at: `spedge.training.watching.WatchedRun`, which this room must not know."""

    def state(self) -> Any:
        """A `RunState`, the same object until it has changed; None before the run has begun."""

    def recording(self, number: int) -> tuple[str, NDArray[np.void], int, int, TokenizerSettings | None]:
        """Of the held-out part: name, events, width, height, and the model's tokenizer."""


class TrainingStage(ShelfStage):
    """A run, as its folder says that it is."""

    kind = "training"

    def __init__(self, name: str, run: Run) -> None:
        super().__init__(name)
        self._run = run
        self._reading = threading.Lock()
        self._told: Any = None
        self._problem = ""
        self._version = 0

    def state(self, seen: int) -> dict[str, Any]:
        with self._reading:
            self._read()
            told, version, problem = self._told, self._version, self._problem
        if version == seen:
            return {"version": version}
        document: dict[str, Any] = {"version": version, "problem": problem, "begun": told is not None}
        return document if told is None else document | _document(told)

    def listed(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Those of a cell: of a class (`label`), taken for another or itself (`said`); the surest first."""
        with self._reading:
            told = self._told
        label, said = whole(asked, "label", 0, 65535), whole(asked, "said", 0, 65535)
        there = () if told is None else told.seen.recordings
        cell = sorted((one for one in there if (one.label, one.said) == (label, said)), key=lambda one: -one.share)
        return [
            {
                "number": number,
                "name": one.name + (f" · {part + 1}" if len(one.numbers) > 1 else ""),
                "share": one.share,
            }
            for one in cell
            for part, number in enumerate(one.numbers)
        ][:_LISTED]

    def recording(self, number: int) -> RecordingStage:
        with self._reading:
            try:
                name, events, width, height, settings = self._run.recording(number)
            except IndexError:
                raise UsageError(f"the held-out part has no recording {number}") from None
        if not len(events):
            raise InputError(f"{name} has no events")
        own = settings or TokenizerSettings.of(width=width, height=height, patch_size=_PATCH, threshold=_THRESHOLD)
        tokens = Tokenizer.by(own).push(events)
        return RecordingStage(name, Scene(width, height, events, own.patch_size, tokens), own)

    def _read(self) -> None:
        """Look at the run once more; of what cannot be read there is a sentence, and what was seen before stays."""
        before = self._told, self._problem
        try:
            self._told, self._problem = self._run.state(), ""
        except InputError as error:
            self._problem = str(error)
        if before[0] is not self._told or before[1] != self._problem:
            self._version += 1


def _document(told: Any) -> dict[str, Any]:
    confusion = np.zeros((len(told.labels),) * 2, np.int64)
    for one in told.seen.recordings:
        confusion[one.label, one.said] += 1
    return {
        "labels": list(told.labels),
        "step": told.step,
        "steps": told.steps,
        "looked": told.looked,
        "curves": {name: _thinned(*curve) for name, curve in told.curves.items()},
        "confusion": confusion.tolist() if told.seen.recordings else None,
        "precision": [[label, *both] for label, both in told.seen.precision.items()],
    }


def _thinned(steps: list[int], values: list[float]) -> dict[str, list[Any]]:
    """As many points as can be told apart, the last one among them; those that are no numbers are left out."""
    good = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    stride = -(-len(good) // _POINTS) or 1
    kept = good[::-1][::stride][::-1]
    return {"steps": [step for step, _ in kept], "values": [value for _, value in kept]}
