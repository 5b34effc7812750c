"""Generated C on emulated Cortex-M cores against ONNX Runtime, without the application: the model alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from spedge.compile import compile_bundle, compile_onnx
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from tests.needs import needs

from ..python.generated import random_cases, run_reference
from ..python.operators import random_inputs, run_onnx
from ..python.test_compile_int8 import ROUNDED_TOLERANCE
from ..python.test_compile_operators import cnn, mlp
from .bare import MACHINES, MISSING, build, run

needs("tvm")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

SHAPE = Shape(tokens=32, hidden=32, intermediate=64, heads=4, layers=2, classes=11, activation="gelu-op")
COUNTS = (0, 1, 4, 17, 31, 32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle: Bundle = make_bundle(tmp_path_factory.mktemp("qemu") / "bundle", make_encoder(SHAPE), SHAPE, samples=4)
    return bundle


@pytest.mark.parametrize("precision", ["fp32", "int8w", "int8"])
@pytest.mark.parametrize("target", MACHINES)
def test_logits_on_the_core_equal_onnx_runtime(bundle: Bundle, target: str, precision: str, tmp_path: Path) -> None:
    compile_bundle(bundle, target, tmp_path / "model", precision=precision)
    cases = random_cases(bundle, COUNTS, 1.0)
    got = run(build(tmp_path, target, cases), MACHINES[target]).reshape(len(COUNTS), SHAPE.classes)
    wanted = run_reference(bundle, cases)
    if precision != "fp32":
        reference = Reference(bundle, tmp_path / "model/reference.onnx")
        wanted = np.stack([reference.encode(rows) for rows in cases])
    assert np.abs(wanted).max() > 0.1
    errors = np.abs(got - wanted).max(axis=1)
    assert np.median(errors) <= 1e-5
    assert errors.max() <= (ROUNDED_TOLERANCE if precision == "int8" else 1e-5)


@pytest.mark.parametrize("make", [cnn, mlp])
def test_an_onnx_file_on_the_core_equals_onnx_runtime(tmp_path: Path, make: Callable[[], onnx.ModelProto]) -> None:
    model = make()
    onnx.save(model, str(tmp_path / "graph.onnx"))
    compile_onnx(tmp_path / "graph.onnx", "cortex-m7", tmp_path / "model")
    inputs = random_inputs([d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim])
    image = build(tmp_path, "cortex-m7", [x.reshape(1, -1) for x in inputs])
    got = run(image, MACHINES["cortex-m7"]).reshape(len(inputs), -1)
    assert np.abs(got - run_onnx(model, inputs)).max() <= 1e-5
