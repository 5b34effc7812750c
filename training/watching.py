"""A run as others see it while it goes on: its curves, and the last look at the held-out part. Only files are read."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.model.parts import TokenInput
from spedge.model.spec import from_document
from spedge.tokens.settings import TokenizerSettings

from .material import held_out
from .run import CURVES, read
from .run import NAME as RUN
from .seen import NAME as LOOKED
from .seen import Seen, read_seen


@dataclass(frozen=True)
class RunState:
    """labels: of the classes. curves: steps and values of each, by name. step: of the last number, `steps`: of the
    whole schedule. seen: by the last look, at step `looked`."""

    labels: tuple[str, ...]
    curves: Mapping[str, tuple[list[int], list[float]]]
    step: int
    steps: int
    seen: Seen
    looked: int


class WatchedRun:
    """A run's folder. data: what it is trained on, where that is not made here. The folder may be still to come."""

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        self.folder, self._data = folder, data
        self._stamps: tuple[tuple[int, int], ...] = ()
        self._state: RunState | None = None

    def state(self) -> RunState | None:
        """The run as it is; None before it has begun. The same object until a file has changed.

        Raises InputError where a file is damaged.
        """
        stamps = tuple(_stamp(self.folder / name) for name in (RUN, CURVES, LOOKED))
        if stamps != self._stamps:
            self._stamps = stamps
            self._state = self._read() if (self.folder / RUN).exists() else None
        return self._state

    def recording(self, number: int) -> tuple[str, NDArray[np.void], int, int, TokenizerSettings | None]:
        """A sample of the held-out part: name, events, width, height, and the model's tokenizer.

        Raises UsageError or InputError where the data is not at hand, or is not what the run was trained on.
        """
        sample = self._held[number]
        spec = from_document(read(self.folder)["spec"])
        seen = spec.representation
        settings = seen.tokenizer if isinstance(seen, TokenInput) else None
        return sample.name, sample.events, spec.sensor.width, spec.sensor.height, settings

    @cached_property
    def _held(self) -> Any:
        document = read(self.folder)
        held: Any = held_out(document, self._data)
        return held

    def _read(self) -> RunState:
        document = read(self.folder)
        labels = tuple(from_document(document["spec"]).labels)
        curves = _curves(self.folder / CURVES)
        looked, seen = read_seen(self.folder)
        step = max((steps[-1] for steps, _ in curves.values()), default=0)
        return RunState(labels, curves, step, int(document["recipe"]["steps"]), seen, looked)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_mtime_ns, about.st_size


def _curves(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    curves: dict[str, tuple[list[int], list[float]]] = {}
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                for name, value in row.items():
                    if value:
                        steps, values = curves.setdefault(name, ([], []))
                        steps.append(step)
                        values.append(float(value))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({error}): remove it, and the run goes on with new curves.") from None
    return curves
