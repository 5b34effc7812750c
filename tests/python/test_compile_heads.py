"""Attention head by head, where blocks of rows are panels: the same values, in less memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from spedge.compile import find_target
from spedge.compile.driver import generate, import_encoder
from spedge.compile.graph.nodes import Attention
from spedge.compile.graph.rewrite import split_heads
from spedge.compile.measure.inspection import inspect
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from tests.needs import needs

needs("tvm", "cc")

SHAPE = Shape(tokens=33, hidden=16, intermediate=24, heads=4, layers=3, classes=5)


@pytest.mark.parametrize("separate", [{}, {"qkv": "separate", "prefix": 2, "bias": False, "activation": "relu"}])
def test_every_value_is_that_of_onnx_runtime(separate: dict[str, object], tmp_path: Path) -> None:
    shape = Shape(**{**SHAPE.__dict__, **separate})
    bundle = make_bundle(tmp_path / "bundle", make_encoder(shape), shape, samples=3)
    report = inspect(bundle, "cortex-m7")
    compared = [c for c in report.calls if c.max_abs_error is not None]
    assert len(compared) > 30 and report.samples == 3
    assert all(c.max_abs_error is not None and c.max_abs_error <= 1e-5 for c in compared)


def test_keys_and_values_of_one_head_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_encoder(SHAPE), SHAPE, samples=1)
    graph = import_encoder(bundle, lambda _: None)
    split_heads(graph)
    heads = [n.heads for n in graph.nodes if isinstance(n, Attention)]
    assert heads == [1] * 4 + [1] * 4 + [4]  # of the last one only one row is read
    split = generate(bundle, find_target("cortex-m7"), lambda _: None).report
    monkeypatch.setattr("spedge.compile.graph.rewrite.split_heads", lambda graph: None)
    whole = generate(bundle, find_target("cortex-m7"), lambda _: None).report
    assert split.macs == whole.macs
    assert split.arena_bytes < 0.9 * whole.arena_bytes


def test_rows_that_attention_reads_without_a_normalisation_stay_whole(tmp_path: Path) -> None:
    shape = Shape(**{**SHAPE.__dict__, "norm": "post"})
    bundle = make_bundle(tmp_path / "bundle", make_encoder(shape), shape, samples=1)
    graph = import_encoder(bundle, lambda _: None)
    split_heads(graph)
    assert all(n.heads == 4 for n in graph.nodes if isinstance(n, Attention))
    assert inspect(bundle, "cortex-m7").max_abs_error <= 1e-5
