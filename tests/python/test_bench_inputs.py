"""The benchmark of inputs: what it compares is the same, and it measures what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.needs import needs

needs("torch", "h5py", "lightning")

import torch  # noqa: E402

from spedge.events.arrays import EVENT_DTYPE  # noqa: E402
from spedge.model.window import Windower  # noqa: E402
from spedge.training.presets import preset  # noqa: E402
from spedge.training.represent.samples import Represent, TokenArrays  # noqa: E402
from tests.bench import inputs  # noqa: E402
from tests.python.test_training import digits  # noqa: E402, F401


def gesture(seed: int, count: int = 20_000) -> NDArray[Any]:
    """Events of a spot that goes around, over a second."""
    random = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, 1_000_000, count))
    turn = events["t"] / 1e6 * 2 * np.pi
    for name, wave in (("x", np.cos), ("y", np.sin)):
        events[name] = (64 + 30 * wave(turn) + random.normal(0, 12, count)).clip(0, 127)
    events["p"] = random.integers(0, 2, count)
    return events


def test_all_ways_give_the_same_volumes() -> None:
    spec = preset("DG-T-SP").spec()
    batch = [gesture(0), gesture(1, 9_000), gesture(2, 300)]
    tokens = [Windower(spec).newest(events) for events in batch]
    assert len(tokens[0]) > len(tokens[1]) > 0
    theirs, ours = inputs.published_batch(tokens), inputs.volumes_batch(tokens)
    for a, b in zip(theirs, ours, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    volumes, positions, lengths = ours
    for row, events in enumerate(batch):
        arrays = Represent(spec)(events)
        assert isinstance(arrays, TokenArrays)
        count = int(lengths[row])
        dense = np.zeros((count, volumes[row, 0].numel()), np.float32)
        token = np.repeat(np.arange(count), np.diff(arrays.cells.bounds))
        dense[token, arrays.cells.number] = arrays.cells.log_count
        np.testing.assert_array_equal(dense, np.log1p(volumes[row, :count].flatten(1).numpy()))
        np.testing.assert_array_equal(positions[row, :count].numpy(), arrays.positions)


def test_clips_become_a_store_and_rows(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = sorted((shared / "data/dvsgesture-clips").glob("*.bin"))[:2]
    folder = tmp_path / "clips"
    folder.mkdir()
    for clip in clips:
        (folder / clip.name).write_bytes(clip.read_bytes())
    monkeypatch.setattr(inputs, "clips_folder", lambda: folder)
    rows = inputs.bench_inputs(batches=1)
    ways = {row["way"]: row for row in rows if "way" in row}
    assert set(ways) == {"published", "volumes", "cells"}
    assert ways["cells"]["times_published"] > 1
    stages = {row["preset"]: row for row in rows if "preset" in row}
    assert set(stages) == set(inputs.PRESETS)
    for row in stages.values():
        whole = sum(row[f"{stage}_ms_p50"] for stage in ("load", "augment", "represent", "collate"))
        assert row["tokens_per_sample"] > 0
        assert 0.3 * whole < 1000 / row["samples_per_s"] < 3 * whole
    part = inputs.write_store(tmp_path)
    assert [sample.label for sample in part] == [int(clip.stem) - 1 for clip in clips]
    assert all(sample.events["t"][0] == 0 and sample.events["t"][-1] < 1_000_000 for sample in part)


def test_steps_that_wait(digits: Path) -> None:  # noqa: F811
    alone, helped = inputs.bench_waiting(digits, steps=12)
    assert (alone["workers"], helped["workers"]) == (0, 1)
    assert 0 < alone["waiting"] < 1
    assert 0 < helped["waiting"] < 1
    assert alone["cpu_ms_a_step"] > 0
