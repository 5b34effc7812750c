"""The checkpoint that training writes and export reads."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.spec import ModelSpec, from_document, to_document

from .files import save
from .models.registry import make_model
from .run import NAME as RUN

if TYPE_CHECKING:
    from .models.detector import DetectorModel
    from .models.on_graphs import GraphClassifier
    from .models.transformer import Classifier

NAME = "checkpoint.pt"
SCHEMA = 2  # of the file; a 1 holds a description of schema 1
_COLUMNS = {"t": np.int64, "x": np.int32, "y": np.int32, "p": np.uint8}  # of events, as torch has them


@dataclass(frozen=True)
class Checkpoint:
    """A model with everything that export needs.

    weights: the state of the model that `make_model` makes. examples: events of a few samples the model was not
    trained on. calibration: of a few that it was trained on, for ranges in 8 bits.
    """

    path: Path
    spec: ModelSpec
    weights: Mapping[str, Any]
    examples: tuple[NDArray[Any], ...]
    calibration: tuple[NDArray[Any], ...] = ()

    def model(self) -> Classifier | GraphClassifier | DetectorModel:
        """The model, ready to evaluate."""
        model = make_model(self.spec)
        try:
            model.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            raise InputError(f"{self.path} does not hold the model it describes ({error}): train again.") from None
        return model.eval()

    def save(self) -> None:
        """Write the file; an interrupted write leaves the old one. Raises UsageError where that cannot be done."""
        import torch

        spec = to_document(self.spec)
        kept = {
            name: [{n: torch.from_numpy(events[n].astype(kind)) for n, kind in _COLUMNS.items()} for events in some]
            for name, some in (("examples", self.examples), ("calibration", self.calibration))
        }
        save({"schema": SCHEMA, "spec": spec, "weights": dict(self.weights), **kept}, self.path)


def _events(samples: Sequence[Mapping[str, Any]]) -> tuple[NDArray[Any], ...]:
    found = []
    for columns in samples:
        found.append(np.zeros(len(columns["t"]), EVENT_DTYPE))
        for name in _COLUMNS:
            found[-1][name] = columns[name].numpy()
    return tuple(found)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint file, or `checkpoint.pt` of a directory. Raises InputError when there is no good one."""
    import torch

    file = Path(path)
    if file.is_dir():
        file = file / NAME
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        if content["schema"] not in (1, SCHEMA):
            raise InputError(f"{file} was written by another version of spedge: train again.")
        spec = from_document({"schema": 1, **content["spec"]})
        calibration = content.get("calibration", [])  # which the first of them do not have
        return Checkpoint(file, spec, content["weights"], *map(_events, (content["examples"], calibration)))
    except FileNotFoundError:
        if (file.parent / RUN).exists():
            raise InputError(
                f"The run in {file.parent} is not finished: give its 'spedge train' command again, which goes on."
            ) from None
        raise InputError(f"There is no checkpoint at {file}: give the directory that 'spedge train' wrote.") from None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is not a checkpoint of spedge ({error}): train again.") from None
