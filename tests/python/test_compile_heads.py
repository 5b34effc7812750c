"""Attention head by head, where blocks of rows are panels: the same values, in less memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.compile import find_target
from spedge.compile.driver import generate, import_encoder
from spedge.compile.graph.nodes import Attention, Graph, Linear, Node, Source, Value
from spedge.compile.graph.rewrite import MOST_OF_KEYS, MOST_OF_VALUES, keep_columns, split_heads
from spedge.compile.kernels.panel import kept_columns
from spedge.compile.measure.inspection import inspect
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from tests.needs import needs

needs("tvm", "cc")

SHAPE = Shape(tokens=33, hidden=16, intermediate=24, heads=4, layers=3, classes=5)


@pytest.mark.parametrize("separate", [{}, {"qkv": "separate", "prefix": 2, "bias": False, "activation": "relu"}])
def test_every_value_is_that_of_onnx_runtime(
    separate: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spedge.compile.graph.rewrite.keep_columns", lambda graph: None)
    shape = Shape(**{**SHAPE.__dict__, **separate})
    bundle = make_bundle(tmp_path / "bundle", make_encoder(shape), shape, samples=3)
    report = inspect(bundle, "cortex-m7")
    compared = [c for c in report.calls if c.max_abs_error is not None]
    assert len(compared) > 30 and report.samples == 3
    assert all(c.max_abs_error is not None and c.max_abs_error <= 1e-5 for c in compared)


def test_values_in_another_basis_are_those_of_onnx_runtime(tmp_path: Path) -> None:
    """They are larger than in the model's own, up to MOST_OF_VALUES times, and so is what rounding takes from them."""
    bundle = make_bundle(tmp_path / "bundle", make_encoder(SHAPE), SHAPE, samples=3)
    report = inspect(bundle, "cortex-m7")
    assert all(c.max_abs_error <= 3e-5 for c in report.calls if c.max_abs_error is not None)
    assert report.max_abs_error <= 1e-5


def head(
    values: NDArray[np.float32], bias: NDArray[np.float32] | None, out: NDArray[np.float32], keys: bool = True
) -> Graph:
    """One head of attention on rows of 12 features: its values, and its output's linear, with 1 to 12 as bias.

    keys: whether its keys' first rows make a good basis; else they are zeros, and but for one the others are small.
    """
    random = np.random.default_rng(3)
    rows = Value(12, "rows")
    names = ("q", "k", "v", "mixed", "out")
    wide = values.shape[1]
    q, k, v, mixed, output = (Value(w, n) for n, w in zip(names, (4, 4, wide, wide, 12), strict=True))
    wq, wk = random.normal(0, 0.3, (2, 12, 4)).astype(np.float32)
    bq, bk = random.normal(0, 1, (2, 4)).astype(np.float32)
    wk[:4] = np.eye(4) + wk[:4] / 4 if keys else 0
    wk[5:] *= 1 if keys else 1e-3
    wk[5:8] *= 1 if keys else 1e-2
    nodes: list[Node] = [
        Source(rows, np.zeros((1, 12), np.float32)),
        Linear(q, rows, wq, bq),
        Linear(k, rows, wk, bk),
        Linear(v, rows, values, bias),
        Attention(mixed, q, k, v, 1, 4, wide),
        Linear(output, mixed, out, np.arange(1, 13, dtype=np.float32)),
    ]
    return Graph(nodes, output, 0, 7, 1)


def computed(graph: Graph, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """What such a graph makes of rows x, in doubles."""
    q, k, v, attention, out = graph.nodes[1:]
    assert all(isinstance(n, Linear) for n in (q, k, v, out)) and isinstance(attention, Attention)

    def linear(node: Node, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        assert isinstance(node, Linear)
        product: NDArray[np.float64] = rows @ node.weight.astype(np.float64)
        return product if node.bias is None else product + node.bias

    scores = np.exp2(linear(q, x) @ linear(k, x).T)
    return linear(out, scores / scores.sum(1, keepdims=True) @ linear(v, x))


@pytest.mark.parametrize("first", [8, 4])
@pytest.mark.parametrize("biased", [True, False])
def test_keys_and_values_that_keep_columns_give_the_same(biased: bool, first: int) -> None:
    random = np.random.default_rng(5)
    values, out = (random.normal(0, 1, shape).astype(np.float32) for shape in ((12, 4), (4, 12)))
    values[:4] *= 1e-6  # no good basis: the last rows are taken, or those between
    values[8:] *= 1 if first == 8 else 1e-6
    bias = random.normal(0, 1, 4).astype(np.float32) if biased else None
    graph, before = head(values, bias, out), head(values, bias, out)
    keep_columns(graph)
    for at, kept, most in ((2, 0, MOST_OF_KEYS), (3, first, MOST_OF_VALUES)):
        changed = graph.nodes[at]
        assert isinstance(changed, Linear) and changed.bias is None
        assert kept_columns(changed.weight) == kept and np.abs(changed.weight).max() <= most
    x = random.normal(0, 1, (8, 12))
    assert np.abs(computed(graph, x) - computed(before, x)).max() <= 1e-5


def test_keys_and_values_stay_where_no_basis_is_good() -> None:
    random = np.random.default_rng(7)
    out = random.normal(0, 1, (4, 12)).astype(np.float32)
    alike = np.repeat(random.normal(0, 1, (12, 2)), 2, axis=1).astype(np.float32)  # of rank 2
    all_small = random.normal(0, 1, (12, 4)).astype(np.float32)  # but for one row of every four
    all_small[np.arange(12) % 4 != 2] *= 1e-3
    wide = random.normal(0, 1, (12, 12)).astype(np.float32)  # as many values as columns
    for values in (alike, all_small, wide):
        graph = head(values, None, np.resize(out, (values.shape[1], 12)), keys=False)
        before = list(graph.nodes)
        keep_columns(graph)
        assert graph.nodes == before


def test_keys_and_values_of_one_head_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_encoder(SHAPE), SHAPE, samples=1)
    graph = import_encoder(bundle, lambda _: None)
    split_heads(graph)
    heads = [n.heads for n in graph.nodes if isinstance(n, Attention)]
    assert heads == [1] * 4 + [1] * 4 + [4]  # of the last one only one row is read
    monkeypatch.setattr("spedge.compile.graph.rewrite.keep_columns", lambda graph: None)
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
