"""Reduced precision: generated C against ONNX Runtime on the quantised graph, and that graph against the original."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spedge.base.errors import UsageError
from spedge.compile import TARGETS, CompileError, compile_bundle
from spedge.compile.driver import import_encoder
from spedge.compile.graph.nodes import Linear
from spedge.compile.graph.quantise import quantise, quantise_weight
from spedge.compile.graph.reference import Runner, to_onnx
from spedge.compile.kernels.int8 import groups, pack
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from tests.needs import needs

from .generated import SANITIZERS, build_host, random_cases, run_host, run_reference

needs("tvm", "cc")

TOLERANCE = 1e-5
# A product that differs in its last digit can round to the next 8-bit step: rare, and then this much of a logit.
ROUNDED_TOLERANCE = 0.03

SHAPES = st.builds(
    Shape,
    tokens=st.integers(1, 13),
    hidden=st.sampled_from([6, 12, 18]),
    intermediate=st.integers(1, 27),
    heads=st.sampled_from([1, 2, 3]),
    layers=st.integers(0, 2),
    classes=st.integers(1, 9),
    norm=st.sampled_from(["pre", "post"]),
    activation=st.sampled_from(["gelu", "relu", "silu"]),
    bias=st.booleans(),
    seed=st.integers(0, 1 << 20),
)


def reference_of(bundle: Bundle, folder: Path, cases: list[np.ndarray]) -> np.ndarray:
    reference = Reference(bundle, folder / "reference.onnx")
    return np.stack([reference.encode(rows) for rows in cases])


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(shape=SHAPES, target=st.sampled_from(sorted(TARGETS)), precision=st.sampled_from(["int8w", "int8"]))
def test_any_shape_equals_onnx_runtime_on_the_quantised_graph(
    tmp_path_factory: pytest.TempPathFactory, shape: Shape, target: str, precision: str
) -> None:
    folder = tmp_path_factory.mktemp("shape")
    bundle = make_bundle(folder / "bundle", make_encoder(shape), shape, samples=4)
    compile_bundle(bundle, target, folder / "model", precision=precision)
    cases = random_cases(bundle, range(shape.tokens + 1), 1.0)
    got = run_host(build_host(folder / "model", ["-O0", *SANITIZERS]), cases, shape.classes)
    wanted = reference_of(bundle, folder / "model", cases)
    scale = max(1.0, float(np.abs(wanted).max()))
    errors = np.abs(got - wanted).max(axis=1) / scale
    assert errors.max() <= (TOLERANCE if precision == "int8w" else ROUNDED_TOLERANCE)
    assert np.median(errors) <= TOLERANCE


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(shape=SHAPES)
def test_the_exported_graph_computes_what_the_encoder_does(
    tmp_path_factory: pytest.TempPathFactory, shape: Shape
) -> None:
    bundle = make_bundle(tmp_path_factory.mktemp("export") / "bundle", make_encoder(shape), shape)
    graph = import_encoder(bundle, lambda _: None)
    cases = random_cases(bundle, range(shape.tokens + 1))
    runner = Runner(to_onnx(graph), graph)
    got = np.stack([runner(rows, ["logits"])[0][0] for rows in cases])
    wanted = run_reference(bundle, cases)
    assert np.abs(got - wanted).max() <= TOLERANCE * max(1.0, float(np.abs(wanted).max()))


@pytest.mark.parametrize("precision", ["int8w", "int8"])
def test_rounding_costs_little(tmp_path: Path, precision: str) -> None:
    """Against the encoder in full precision: the size of the error is that of 8-bit steps, and flash shrinks."""
    shape = Shape(tokens=16, hidden=32, intermediate=64, heads=4, layers=2, classes=5)
    bundle = make_bundle(tmp_path / "bundle", make_encoder(shape), shape, samples=6)
    full = compile_bundle(bundle, "native", tmp_path / "full")
    report = compile_bundle(bundle, "native", tmp_path / "model", precision=precision)
    assert report.precision == precision == json.loads((tmp_path / "model/report.json").read_text())["precision"]
    assert report.encoder_weight_bytes < 0.35 * full.encoder_weight_bytes
    cases = [v.embedded for v in bundle.vectors()]
    got = run_host(build_host(tmp_path / "model"), cases, shape.classes)
    wanted = run_reference(bundle, cases)
    assert 1e-5 < np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()


def test_int8_without_vectors_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_encoder(Shape()), Shape())
    with pytest.raises(CompileError, match="calibrated on the bundle's vectors and it keeps none"):
        compile_bundle(bundle, "native", tmp_path / "model", precision="int8")
    assert not (tmp_path / "model").exists()
    compile_bundle(bundle, "native", tmp_path / "model", precision="int8w")


def test_an_unknown_precision_names_the_known_ones(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_encoder(Shape()), Shape())
    with pytest.raises(UsageError, match=r"int4.*fp32, int8w, int8"):
        compile_bundle(bundle, "native", tmp_path / "model", precision="int4")


def test_weights_round_to_the_nearest_step_of_their_output() -> None:
    weight = np.array([[1.0, 0.0], [-0.5, 0.0], [0.26, 0.0]], np.float32)
    values, scale = quantise_weight(weight)
    assert values.tolist() == [[127, 0], [-64, 0], [33, 0]]
    np.testing.assert_allclose(scale, [1 / 127, 1])


def test_weights_are_packed_in_groups_of_an_output() -> None:
    values = np.arange(1, 13, dtype=np.int8).reshape(6, 2)
    assert groups(6) == 2
    assert pack(values).tolist() == [[[1, 5, 3, 7], [9, 0, 11, 0]], [[2, 6, 4, 8], [10, 0, 12, 0]]]


def test_scales_cover_what_the_samples_reach(tmp_path: Path) -> None:
    shape = Shape(tokens=8, hidden=12, heads=2, layers=1)
    bundle = make_bundle(tmp_path / "bundle", make_encoder(shape), shape, samples=3)
    graph = import_encoder(bundle, lambda _: None)
    samples = [v.embedded for v in bundle.vectors()]
    quantise(graph, "int8", samples)
    linears = [n for n in graph.nodes if isinstance(n, Linear)]
    runner = Runner(to_onnx(graph, [n.x for n in linears]), graph)
    assert linears
    for node in linears:
        assert node.quant is not None and node.quant.x_scale is not None
        reached = max(np.abs(runner(s, [node.x.name])[0][: 1 + len(s)]).max() for s in samples)
        assert node.quant.x_scale * 127 <= 1.2 * reached
