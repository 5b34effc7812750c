"""How fast samples become batches: preprocessed real gestures to what a step of training takes.

Processor time of one core, so that other work on the machine counts little. The clips are those of DvsGesture beside
the repository (`SPEDGE_SHARED`), their first second written as `spedge preprocess` writes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spedge.events.arrays import EVENT_DTYPE
from spedge.model.window import Windower
from spedge.tokens.embedding import log_time_volume
from spedge.tokens.tokenizer import Tokens
from spedge.training.augment.paper import ClassifierChanges, Mirror
from spedge.training.data import slices, store
from spedge.training.data.base import Sample
from spedge.training.data.published import SLICE_US, Slice
from spedge.training.data.registry import describe_data
from spedge.training.fit.loading import one_hot, threads
from spedge.training.presets import preset
from spedge.training.progress import Progress
from spedge.training.represent.collate import Item, collate
from spedge.training.represent.samples import Represent
from spedge.training.train import train

PRESETS = ("DG-T-SP", "DG-GNN-SP", "DG-PCN-SP")
PERCENTILES = (50, 90, 99)
_BATCH = 8
_CLIP_BYTES = 5
_DATA = "dvsgesture"
#: Padded volumes float32 [N, T, 2, B, P, P], positions float64 [N, T, 3], lengths int64 [N].
Padded = tuple[Tensor, Tensor, Tensor]


SHARED = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def clips_folder() -> Path:
    """Of the real clips."""
    return SHARED / "data/dvsgesture-clips"


def bench_waiting(data: Path = SHARED / "data/nmnist-800.zip", steps: int = 150) -> list[dict[str, Any]]:
    """The share of training's time that steps of nmnist-pico wait for their batches, made by the process that trains
    and by one of its own. By the clock: what else the machine does counts."""
    rows = []
    for workers in (0, 1):
        told: list[Progress] = []
        train(
            "nmnist-pico", data, ".", recipe={"steps": steps, "workers": workers}, debug=True, on_progress=told.append
        )
        rows.append(
            {
                "training": "nmnist-pico",
                "workers": workers,
                "waiting": round(told[-1].waiting, 3),
                "cpu_ms_a_step": round(1000 * told[-1].cpu_seconds / told[-1].step, 1),
            }
        )
    return rows


def bench_inputs(batches: int = 12) -> list[dict[str, Any]]:
    """Rows for each preset: samples a second, and the percentiles of a sample's milliseconds by stage.

    The first rows compare DG-T-SP's input with the published pipeline's.
    """
    with TemporaryDirectory() as folder, threads(1):
        part = write_store(Path(folder))
        samples = [part[i] for i in range(len(part))]
        return [*compare_transformer(samples, batches), *(stages_of(name, part, batches) for name in PRESETS)]


# ---------------------------------------------------------------- stages


def stages_of(name: str, part: Sequence[Sample], batches: int) -> dict[str, Any]:
    """A preset's road from a store to a collated batch, with the paper's changes of a training sample."""
    spec, about = preset(name).spec(), describe_data(_DATA)
    changes = ClassifierChanges(spec.sensor.width, spec.sensor.height, Mirror(about.mirrored or ()))
    represent, windower = Represent(spec, training=True), Windower(spec)
    random = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {stage: [] for stage in ("load", "augment", "represent", "collate")}
    tokenizing: list[float] = []  # a part of `represent`, done once more to know it
    points = 0
    for number in range(batches + 1):
        items = []
        for index in random.integers(len(part), size=_BATCH):
            clock = _Clock()
            sample = part[int(index)]
            other = part[int(random.integers(len(part)))]
            seconds["load"].append(clock.lap())
            pair = other.events, one_hot(other.label, len(spec.labels))
            label = one_hot(sample.label, len(spec.labels))
            events, label = changes(sample.events, label, lambda pair=pair: pair, random)  # type: ignore[misc]
            seconds["augment"].append(clock.lap())
            items.append(Item(represent(events, random), label, int(index)))
            seconds["represent"].append(clock.lap())
            windower.newest(events)
            tokenizing.append(clock.lap())
        clock = _Clock()
        points += collate(items).points
        seconds["collate"].append(clock.lap() / _BATCH)
        if number == 0:  # of which everything is slower
            for laps in (*seconds.values(), tokenizing):
                laps.clear()
            points = 0
    count = batches * _BATCH
    return {
        "preset": name,
        "samples_per_s": round(count / (sum(map(sum, seconds.values())) + sum(seconds["collate"]) * (_BATCH - 1)), 1),
        "tokens_per_sample": round(points / count, 1),
        **{
            f"{stage}_ms_p{p}": round(1000 * float(np.percentile(laps, p)), 2)
            for stage, laps in {**seconds, "of that tokenize": tokenizing}.items()
            for p in PERCENTILES
        },
    }


# ---------------------------------------------------------------- beside the published pipeline


def compare_transformer(samples: Sequence[Sample], batches: int) -> list[dict[str, Any]]:
    """Events in memory to tokens, volumes, positions, padded: the same batches each way, one way after the other.

    Ways: `published` as below; `volumes`, the same arrays by the C library; `cells`, which our transformer takes.
    """
    spec = preset("DG-T-SP").spec()
    windower, represent = Windower(spec), Represent(spec)
    label = np.zeros(len(spec.labels), np.float32)
    ways: dict[str, Callable[[Sequence[Tokens]], object]] = {"published": published_batch, "volumes": volumes_batch}
    seconds: dict[str, list[float]] = {name: [] for name in ("tokenize", *ways, "cells")}
    for _ in range(batches):
        clock = _Clock()
        tokens = [windower.newest(sample.events) for sample in samples]
        seconds["tokenize"].append(clock.lap())
        for name, way in ways.items():
            way(tokens)
            seconds[name].append(clock.lap())
        collate([Item(represent(sample.events), label, 0) for sample in samples])
        seconds["cells"].append(clock.lap())
    typical = {name: float(np.median(laps)) / len(samples) for name, laps in seconds.items()}
    whole = {**{name: typical["tokenize"] + typical[name] for name in ways}, "cells": typical["cells"]}
    return [
        {
            "input": "DG-T-SP",
            "way": name,
            "samples_per_s": round(1 / whole[name], 1),
            "tokenize_ms": round(1000 * typical["tokenize"], 3),
            "ms": round(1000 * whole[name], 3),
            "times_published": round(whole["published"] / whole[name], 2),
            "times_published_without_tokenizing": round(typical["published"] / (whole[name] - typical["tokenize"]), 2),
        }
        for name in whole
    ]


def published_batch(batch: Sequence[Tokens]) -> Padded:
    """Volumes as the published pipeline makes them: digitize, one int64 bincount a sample, pad_sequence.

    Its tokenizer is not Python either, so that both ways start from the tokens of ours.
    """
    edges = 1000 * 2.0 ** np.arange(9)
    volumes, positions = [], []
    for tokens in batch:
        events, count = tokens.events, len(tokens)
        token = np.repeat(np.arange(count), np.diff(tokens.offsets))
        t = events["t"].astype(np.int64)
        age = t[tokens.offsets[1:].astype(np.int64) - 1][token] - t
        cell = (((token * 2 + events["p"]) * 10 + np.digitize(age, edges)) * 16 + events["y"] % 16) * 16
        counted = np.bincount(cell + events["x"] % 16, minlength=count * 2 * 10 * 16 * 16)
        volumes.append(torch.from_numpy(counted.astype(np.float32).reshape(count, 2, 10, 16, 16)))
        positions.append(torch.from_numpy(_positions(tokens)))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(volumes, batch_first=True), pad(positions, batch_first=True), _lengths(batch)


def volumes_batch(batch: Sequence[Tokens]) -> Padded:
    """The same by the C library."""
    most = max(map(len, batch))
    volumes = np.zeros((len(batch), most, 2, 10, 16, 16), np.float32)
    positions = np.zeros((len(batch), most, 3))
    for row, tokens in enumerate(batch):
        volumes[row, : len(tokens)] = log_time_volume(tokens)
        positions[row, : len(tokens)] = _positions(tokens)
    return torch.from_numpy(volumes), torch.from_numpy(positions), _lengths(batch)


def _positions(tokens: Tokens) -> NDArray[np.float64]:
    return np.column_stack([tokens.x, tokens.y, tokens.t / 50_000.0])


def _lengths(batch: Sequence[Tokens]) -> Tensor:
    return torch.tensor([len(tokens) for tokens in batch])


# ---------------------------------------------------------------- the data


def write_store(root: Path) -> slices.StoredPart:
    """The first second of every clip, as `spedge preprocess dvsgesture` leaves it."""
    about = describe_data(_DATA)
    entries = []
    for file in sorted(clips_folder().glob("*.bin")):
        events = read_clip(file)
        piece = Slice(events[events["t"] < SLICE_US], int(file.stem) - 1, file.stem)
        place = store.Place(root, f"{file.stem}.h5", file.stem, "train", key=file.stem)
        entries.append(slices.write(place, [piece]))
    store.write_index(root, about, clips_folder(), {}, "tests.bench", entries)
    return slices.open_store(root, _DATA).part("train")


def read_clip(file: Path) -> NDArray[Any]:
    """EVENT_DTYPE, times from the first event."""
    raw = np.fromfile(file, np.uint8).reshape(-1, _CLIP_BYTES).astype(np.uint32)
    events = np.empty(len(raw), EVENT_DTYPE)
    events["x"], events["y"], events["p"] = raw[:, 0], raw[:, 1], raw[:, 2] >> 7
    t = (raw[:, 2] & 0x7F) << 16 | raw[:, 3] << 8 | raw[:, 4]
    events["t"] = t - t[0]
    return events


class _Clock:
    """Processor time of this process, s, since it was asked the last time."""

    def __init__(self) -> None:
        self._last = time.process_time()

    def lap(self) -> float:
        last, self._last = self._last, time.process_time()
        return self._last - last
