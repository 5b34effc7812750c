"""Attention head by head, where blocks of rows are panels: the same values, in less memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.compile import find_target
from spedge.compile.driver import generate, import_encoder
from spedge.compile.graph.bounds import largest_score, largest_sum
from spedge.compile.graph.nodes import Array, Attention, Graph, Linear, Map, Node, Norm, Source, Value
from spedge.compile.graph.quantise import quantise_weight
from spedge.compile.graph.rewrite import MOST_OF_KEYS, MOST_OF_VALUES, centre_rows, keep_columns, split_heads
from spedge.compile.kernels.panel import kept_columns
from spedge.compile.measure.inspection import inspect
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.compile.precision import Quant
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
    monkeypatch.setattr("spedge.compile.graph.rewrite.split_heads", lambda *_: None)
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


def around_a_norm(last: str) -> Graph:
    """Rows, and a linear of their normalisation that is added to them; then that of the sum, or what `last` says."""
    random = np.random.default_rng(11)
    rows, norm, linear, total, out = (Value(8, name) for name in ("rows", "norm", "linear", "total", "out"))
    weight, bias = random.normal(0, 1, (8, 8)).astype(np.float32), random.normal(3, 1, 8).astype(np.float32)
    nodes: list[Node] = [
        Source(rows, np.zeros((1, 8), np.float32)),
        Norm(norm, rows, 1e-5),
        Linear(linear, norm, weight, bias),
        Map(total, "add", (linear, rows)),
        Norm(out, total, 1e-5) if last == "norm" else Map(out, last, (total,)),
    ]
    return Graph(nodes, total if last == "sqrt" else out, 0, 7, 1)


def test_rows_that_normalisations_alone_read_have_no_means() -> None:
    graph = around_a_norm("norm")
    centre_rows(graph)
    source, first, linear, _, last = graph.nodes
    assert isinstance(source, Source) and isinstance(first, Norm) and isinstance(last, Norm)
    assert source.centred and first.centred and last.centred
    assert isinstance(linear, Linear) and linear.bias is not None
    before = around_a_norm("norm").nodes[2]
    assert isinstance(before, Linear) and before.bias is not None
    for now, then in ((linear.weight, before.weight), (linear.bias, before.bias)):
        assert np.abs(now.mean(-1)).max() < 1e-6
        assert np.allclose(now, then - then.mean(-1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("last", ["relu", "sqrt"])  # of the sum, or the sum itself is the output
def test_rows_that_something_else_reads_keep_their_means(last: str) -> None:
    graph = around_a_norm(last)
    before = list(graph.nodes)
    centre_rows(graph)
    assert graph.nodes == before


@pytest.mark.parametrize("shared", [False, True])
def test_no_score_is_larger_than_its_bound(shared: bool) -> None:
    random = np.random.default_rng(13)
    rows, norm, q, k, out = (Value(w, n) for w, n in ((16, "rows"), (16, "norm"), (16, "q"), (16, "k"), (16, "out")))

    def linear(value: Value) -> Linear:
        weight: Array = random.normal(0, 1, (16, 16)).astype(np.float32)
        return Linear(value, norm, weight, random.normal(0, 1, 16).astype(np.float32))

    query, keys = linear(q), linear(k)
    attention = Attention(out, q, norm, norm, 1, 16, 16, True) if shared else Attention(out, q, k, k, 4, 4, 4)
    graph = Graph(
        [Source(rows, np.zeros((1, 16), np.float32)), Norm(norm, rows, 0.0), query, keys, attention], out, 0, 7, 1
    )
    most = largest_score(graph, attention)
    x = random.normal(0, 1, (3000, 16))
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    assert query.bias is not None and keys.bias is not None
    queries, others = x @ query.weight + query.bias, x if shared else x @ keys.weight + keys.bias
    heads = 1 if shared else 4
    found = max(
        float(np.abs(a @ b.T).max())
        for a, b in zip(np.split(queries, heads, 1), np.split(others, heads, 1), strict=True)
    )
    assert most is not None and 0.4 * most < found <= most


def test_the_sums_of_a_linear_of_normalised_rows_are_within_the_bound() -> None:
    random = np.random.default_rng(5)
    rows, norm, out = Value(16, "rows"), Value(16, "norm"), Value(8, "out")
    weight: Array = random.normal(0, 1, (16, 8)).astype(np.float32)
    linear = Linear(out, norm, weight, random.normal(0, 1, 8).astype(np.float32))
    graph = Graph([Source(rows, np.zeros((1, 16), np.float32)), Norm(norm, rows, 0.0), linear], out, 0, 7, 1)
    most = largest_sum(graph, linear)
    assert linear.bias is not None and most is not None
    for column, bias in zip(weight.T.astype(np.float64), linear.bias, strict=True):
        worst = (column - column.mean()) / column.std() * (1 if bias > 0 else -1)  # of all rows
        assert abs(worst @ column + bias) <= most
    alone = Linear(out, rows, weight, None)
    assert largest_sum(Graph([Source(rows, np.zeros((1, 16), np.float32)), alone], out, 0, 7, 1), alone) is None


def test_scores_in_8_bits_are_within_the_bound() -> None:
    """Of rows that rounding makes as long as it can, in coarse steps; behind another linear they have none."""
    random = np.random.default_rng(3)
    rows, norm, q, k, out = (Value(16, name) for name in ("rows", "norm", "q", "k", "out"))
    step = 0.7

    def linear(value: Value, x: Value) -> Linear:
        weight: Array = random.normal(0, 1, (16, 16)).astype(np.float32)
        values, scale = quantise_weight(weight)
        return Linear(value, x, values * scale, None, Quant(values, scale, step))

    query, keys, attention = linear(q, norm), linear(k, norm), Attention(out, q, k, k, 1, 16, 16)
    start = [Source(rows, np.zeros((1, 16), np.float32)), Norm(norm, rows, 0.0)]
    most = largest_score(Graph([*start, query, keys, attention], out, 0, 7, 1), attention)
    x = random.normal(0, 1, (3000, 16))
    x = np.rint((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) / step) * step
    assert np.linalg.norm(x, axis=1).max() > 4  # of 16 numbers
    found = float(np.abs((x @ query.weight) @ (x @ keys.weight).T).max())
    assert most is not None and 0.3 * most < found <= most
    behind, after = Value(16, "behind"), Attention(out, q, k, k, 1, 16, 16)
    late = Graph([*start, linear(behind, norm), linear(q, behind), keys, after], out, 0, 7, 1)
    assert largest_score(late, after) is None


def test_scores_of_rows_that_are_not_normalised_have_no_bound() -> None:
    graph = head(np.ones((12, 4), np.float32), None, np.ones((4, 12), np.float32))
    (attention,) = (n for n in graph.nodes if isinstance(n, Attention))
    assert largest_score(graph, attention) is None
