"""The benchmark of preprocessing measures what it says, and the bar holds: within 20 % of `spedge convert`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spedge.training.data.registry import load_chunks, load_dataset
from spedge.training.preprocess import preprocess
from tests.bench import preprocess as bench
from tests.needs import needs

needs("torch", "h5py")


def test_preprocessing_takes_no_longer_than_convert_and_a_fifth(shared: Path) -> None:
    """Processor time of both by turns, the quickest of some: what else runs here makes both longer."""
    rows = bench.bench_preprocess(seconds=6, repeats=4)
    assert [row["data"] for row in rows] == ["dvsgesture", "gen1"]
    for row in rows:
        assert row["events"] > 300_000
        assert row["times_convert"] <= 1.2, row


def test_its_recordings_are_whole(shared: Path, tmp_path: Path) -> None:
    events, starts = bench.one_after_another(4)
    bench.write_gestures(tmp_path, events, starts)
    assert preprocess("dvsgesture", tmp_path, tmp_path / "a").events == len(events)
    assert {sample.label for sample in load_dataset("dvsgesture", tmp_path / "a").train} == set(range(len(starts) - 1))
    bench.write_driving(tmp_path, events)
    preprocess("gen1", tmp_path, tmp_path / "b")
    (recording,) = load_chunks("gen1", tmp_path / "b").part("train")
    np.testing.assert_array_equal(recording.events(0, len(recording))["t"], events["t"])
    assert len(recording.boxes) == int(events["t"][-1]) // 250_000
