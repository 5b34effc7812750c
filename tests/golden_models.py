"""The values that the authors' own models gave: where they lie, and their parameters made by rule.

`SPEDGE_GOLDEN_MODELS` names the folder (golden-models of the shared folder without it); any other of the same form can
be run. Tests skip where it is absent.
"""

from __future__ import annotations

import json
import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


def folder() -> Path:
    """Where the values are. Skips the test when they are not there."""
    shared = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    path = Path(os.environ.get("SPEDGE_GOLDEN_MODELS", shared / "golden-models"))
    if not (path / "index.json").exists():
        pytest.skip(f"{path} is not there: SPEDGE_GOLDEN_MODELS names the folder")
    return path


def names(prefix: str) -> list[str]:
    """Cases whose name begins so, for `parametrize`; one of no such name, which skips, where there are none."""
    shared = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    index = Path(os.environ.get("SPEDGE_GOLDEN_MODELS", shared / "golden-models")) / "index.json"
    cases = json.loads(index.read_text())["cases"] if index.exists() else {}
    return [name for name in cases if name.startswith(prefix)] or [prefix]


class Case:
    """One case: `model` and other settings of the index, arrays by `[name]`, parameters by role."""

    def __init__(self, name: str) -> None:
        self.folder = folder()
        self._index = json.loads((self.folder / "index.json").read_text())
        self.about: dict[str, Any] = self._index["cases"][name]
        with np.load(self.folder / f"{name}.npz") as arrays:
            self._arrays = {key: arrays[key] for key in arrays.files}

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self._arrays[name]
        return array

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    @property
    def model(self) -> dict[str, Any]:
        """Settings of the model."""
        return dict(self.about["model"])

    @cached_property
    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """By role: drawn from a generator that the role's name seeds, as the index says."""
        rows = self._index["parameters"][self.about["parameters"]]
        return {role: _drawn(role, *rest) for role, *rest in rows}


def _drawn(role: str, shape: list[int], offset: float, scale: float, kind: str) -> NDArray[np.float32]:
    z = np.random.default_rng(zlib.crc32(role.encode())).standard_normal(shape)
    return (offset + scale * z if kind == "normal" else np.exp(scale * z)).astype(np.float32)
