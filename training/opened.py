"""A trained model, from wherever it lies: a bundle, a run's folder, or a checkpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spedge.base.errors import UsageError
from spedge.model.bundle import Bundle
from spedge.model.detecting import DetectorReference
from spedge.model.parts import Detection
from spedge.model.reference import Reference
from spedge.model.spec import ModelSpec

from .checkpoint import load_checkpoint
from .run import NAME as RUN
from .run import spec_of

CHECKPOINTS = ("kept", "best", "last")


@dataclass(frozen=True)
class Opened:
    """path: the file or folder that was read. model: a torch module, or, without torch, a bundle's `Reference` or
    `DetectorReference`."""

    path: Path
    spec: ModelSpec
    model: Any


def open_trained(model: str | os.PathLike[str], checkpoint: str = "kept", encoder: Path | None = None) -> Opened:
    """The model of a bundle's directory, a run's, or a checkpoint, ready to be used.

    checkpoint: of a run, `best` or `last`; `kept` is the one that training chose. encoder: one of reduced precision in
    the place of a bundle's own (`spedge.compile.quantised_encoder`). Raises UsageError or InputError when
    there is no such model.
    """
    if checkpoint not in CHECKPOINTS:
        raise UsageError(f"There is no checkpoint '{checkpoint}'. Choose one of: {', '.join(CHECKPOINTS)}.")
    path = Path(model)
    if checkpoint != "kept" and encoder is None:
        return _of_run(path, checkpoint)
    if path.is_dir() and ((path / "bundle.json").exists() or not (path / "checkpoint.pt").exists()):
        if (path / RUN).exists() and not (path / "bundle.json").exists():
            return _of_run(path, "last")
        bundle = Bundle.load(path)
        detects = isinstance(bundle.task, Detection)
        return Opened(path, bundle, (DetectorReference if detects else Reference)(bundle, encoder))
    if encoder is not None:
        raise UsageError(f"{path} is no bundle, which one of reduced precision is made of: export it first.")
    source = load_checkpoint(path)
    return Opened(source.path, source.spec, source.model())


def is_detector(model: str | os.PathLike[str]) -> bool:
    """Whether that is one, from what its bundle or its run says: nothing else is read."""
    path = Path(model)
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and (path / "bundle.json").exists():
        return isinstance(Bundle.described(path).task, Detection)
    return (folder / RUN).exists() and isinstance(spec_of(folder).task, Detection)


def _of_run(path: Path, checkpoint: str) -> Opened:
    from .fit.state import State
    from .models.registry import make_model

    spec = spec_of(path)
    file = path / "checkpoints" / f"{checkpoint}.ckpt"
    state = State.load(file)
    model = make_model(spec)
    model.load_state_dict(state.averaged or state.model)
    return Opened(file, spec, model.eval())
