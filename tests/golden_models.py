"""The values that the authors' own models gave: where they lie, and their parameters made by rule.

`SPEDGE_GOLDEN_MODELS` names the folder (golden-models of the shared folder without it); any other of the same form can
be run. Tests skip where it is absent.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.events.arrays import as_events
from spedge.model.parts import Embedding, Gnn, Pcn, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.recordings.nmnist import decode as decode_records
from spedge.training.presets import PRESETS

SHARED = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
FOLDER = Path(os.environ.get("SPEDGE_GOLDEN_MODELS", SHARED / "golden-models"))


def folder() -> Path:
    """Where the values are. Skips the test when they are not there."""
    if not (FOLDER / "index.json").exists():
        pytest.skip(f"{FOLDER} is not there: SPEDGE_GOLDEN_MODELS names the folder")
    return FOLDER


def cases(*sets: int, kind: str | None = None, array: str = "") -> list[str]:
    """Names of cases for `parametrize`: of these sets, of models of that kind, with an array of whose name the regular
    expression `array` matches a part. One of no name, which skips, where the values are absent."""
    if not (FOLDER / "index.json").exists():
        return [""]
    index = json.loads((FOLDER / "index.json").read_text())["cases"]
    return [
        name
        for name, about in index.items()
        if about["set"] in sets
        and kind in (None, about.get("model", {}).get("kind"))
        and any(re.search(array, own) for own in about["arrays"])
    ]


def arrays(*sets: int, array: str) -> list[tuple[str, str]]:
    """(case, array) for `parametrize`: arrays of whose names the regular expression matches a part."""
    return [
        (name, own)
        for name in cases(*sets, array=array)
        for own in (Case(name).about["arrays"] if name else ["absent"])
        if not name or re.search(array, own)
    ]


def clip(number: int) -> NDArray[Any]:
    """Events of the real clip of that class. Skips the test where there are none."""
    path = SHARED / "data/dvsgesture-clips" / f"{number}.bin"
    if not path.exists():
        pytest.skip(f"{path} is not there: SPEDGE_SHARED names the folder")
    return as_events(decode_records(np.fromfile(path, np.uint8).reshape(-1, 5)), 128, 128)


class Case:
    """One case: `model` and other settings of the index, arrays by `[name]`, parameters by role."""

    def __init__(self, name: str) -> None:
        self.folder = folder()
        self._index = json.loads((self.folder / "index.json").read_text())
        self.about: dict[str, Any] = self._index["cases"][name]
        self.name = name
        with np.load(self.folder / f"{name}.npz") as arrays:
            self._arrays = {key: arrays[key] for key in arrays.files}

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self._arrays[name]
        return array

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    @property
    def preset(self) -> str:
        """Name of the preset whose settings it has."""
        says = str(self.about.get("settings") or self.about["tokenizer"])
        return says.removeprefix("as preset ")

    def spec(self) -> ModelSpec:
        """The preset's model, with the transformer of the case."""
        preset, about = PRESETS[self.preset], self.model
        if about["kind"] == "transformer classifier":
            seen = preset.representation
            assert isinstance(seen, TokenInput)
            model = Transformer(about["hidden"], about["intermediate"], about["heads"], about["layers"])
            embedding = Embedding(about["buckets"], about["hidden"], about["time_scale"])
            preset = replace(preset, model=model, representation=replace(seen, embedding=embedding))
        elif "rule" in self.about:
            assert isinstance(preset.model, Gnn | Pcn)
            preset = replace(preset, model=replace(preset.model, rule=self.about["rule"]))
        spec: ModelSpec = preset.spec()
        return spec

    def names(self, prefix: str) -> list[str]:
        """Arrays whose name begins so."""
        return [name for name in self._arrays if name.startswith(prefix)]

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


#: Where a parameter of a role is in our models: (role, of our module); {0} and {1} are its numbers less those of the
#: role's first one.
_PLACES = (
    (r"layer(\d+)\.norm_attention", "encoder.layers.{0}.attention_norm", 0),
    (r"layer(\d+)\.attention\.output", "encoder.layers.{0}.projection", 0),
    (r"layer(\d+)\.norm_mlp", "encoder.layers.{0}.mlp_norm", 0),
    (r"layer(\d+)\.mlp\.first", "encoder.layers.{0}.mlp_in", 0),
    (r"layer(\d+)\.mlp\.second", "encoder.layers.{0}.mlp_out", 0),
    (r"spline(\d+)", "classifier.encoder.layers.{0}.conv", 1),
    (r"norm(\d+)", "classifier.encoder.layers.{0}.norm", 1),
    (r"stage(\d+)", "classifier.encoder.stages.{0}.mlp", 1),
    (r"points", "classifier.points", 0),
    (r"head", "classifier.head", 0),
)
_IN_MLP = {"linear0": 0, "norm0": 1, "linear1": 3, "norm1": 4, "linear2": 6}
_IN_HEAD = {"linear0": 0, "linear1": 3, "linear2": 6}
_OWN = {"mean": "running_mean", "variance": "running_var"}


def state(case: Case) -> dict[str, NDArray[Any]]:
    """The case's parameters by the names of our model: what `load_state_dict` takes, as arrays."""
    parameters = dict(case.parameters)
    transformer = "cls" in parameters
    own: dict[str, NDArray[Any]] = {}
    for layer in range(sum("attention.query.weight" in role for role in parameters)):
        for kind in ("weight", "bias"):
            parts = [parameters.pop(f"layer{layer}.attention.{part}.{kind}") for part in ("query", "key", "value")]
            own[f"encoder.layers.{layer}.query_key_value.{kind}"] = np.concatenate(parts)
    for role, value in parameters.items():
        module, _, kind = role.rpartition(".")
        own[f"{_module(module, transformer)}.{_OWN.get(kind, kind)}" if module else "encoder.cls"] = value
    linear = "embedding.linear.weight" if transformer else "embedding.weight"
    own[linear] = own[linear].reshape(len(own[linear]), -1)
    for name in [name for name in own if name.endswith("running_mean")]:
        own[name.replace("running_mean", "num_batches_tracked")] = np.array(0)
    return own


def _module(role: str, transformer: bool) -> str:
    fixed = {
        "embedding": "embedding.linear" if transformer else "embedding",
        "norm": "encoder.norm",
        "classifier": "encoder.head" if transformer else "classifier.head",
    }
    if role in fixed:
        return fixed[role]
    for pattern, module, first in _PLACES:
        found = re.fullmatch(rf"{pattern}(?:\.(\w+))?", role)
        if found:
            numbers = [int(group) - first for group in found.groups()[:-1]]
            inner = found.groups()[-1]
            places = _IN_HEAD if role.startswith("head") else _IN_MLP
            return module.format(*numbers) + (f".{places[inner]}" if inner else "")
    raise AssertionError(f"there is no module for the role {role}")
