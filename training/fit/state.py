"""What a run keeps on disk to go on after whatever end: `checkpoints/last.ckpt`, and `best.ckpt`."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from spedge.base.errors import InputError

from ..files import save

SCHEMA = 1
LAST, BEST = "last.ckpt", "best.ckpt"


@dataclass
class State:
    """step: of the optimizer, done. batches: seen, with those of an unfinished step. steps: in all, as planned.

    seen: samples. cpu_seconds: used so far. model: weights. averaged: their average, when one is kept. optimizer,
    scaler: torch's. best: the highest accuracy so far; accuracy: the last one.
    largest: tokens or events of the sample that had the most of those learned from or looked at.
    carried: what else goes on from batch to batch (`Work.carried`).
    """

    step: int
    batches: int
    steps: int
    seen: int
    cpu_seconds: float
    model: dict[str, Any]
    averaged: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    best: float
    accuracy: float
    largest: int = 0
    carried: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> State:
        """Before anything was done."""
        return cls(0, 0, 0, 0, 0.0, {}, {}, {}, {}, -1.0, float("nan"))

    def save(self, path: Path) -> None:
        """Write the file; an interrupted write leaves the old one. Raises UsageError where that cannot be done."""
        save({"schema": SCHEMA, **{f.name: getattr(self, f.name) for f in fields(self)}}, path)

    @classmethod
    def load(cls, path: Path) -> State:
        """Read it. Raises InputError for a file that is not one, or of another version."""
        try:
            content = dict(torch.load(path, map_location="cpu", weights_only=True))
            if content.pop("schema") != SCHEMA:
                raise InputError(f"{path} was written by another version of spedge: train again with another --run.")
            return cls(**content)
        except FileNotFoundError:
            raise InputError(f"There is no checkpoint at {path}: 'spedge train' writes it.") from None
        except InputError:
            raise
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path} is no checkpoint of a run ({error}): remove it to go on from the beginning, or restore it."
            ) from None
