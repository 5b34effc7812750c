"""Every supported ONNX operator, at random shapes, as generated C against ONNX Runtime."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from spedge.compile import TARGETS, CompileError, compile_onnx
from spedge.compile.fixed.operators import REPLACEMENTS, SUPPORTED
from tests.needs import needs

from ..emulated import bare
from .operators import MAKERS, Graph, build_fixed, random_inputs, run_fixed, run_onnx

needs("tvm", "cc")

TOLERANCE = 1e-5


def shape_of(model: onnx.ModelProto) -> list[int]:
    return [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]


@functools.cache
def compiled(graph: bytes, target: str) -> Path:
    """The folder that a model becomes; kept, so that it is made once for the host and the emulated core."""
    folder = Path(tempfile.mkdtemp(prefix="spedge-operator-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "graph.onnx").write_bytes(graph)
    compile_onnx(folder / "graph.onnx", target, folder / "model")
    return folder / "model"


def check(model: onnx.ModelProto, target: str, flags: tuple[str, ...] = ("-O1",), core: bool = False) -> None:
    """Compile, run and compare; core: on an emulated core, the target's own if it is a Cortex-M."""
    folder = compiled(model.SerializeToString(), target)
    inputs = random_inputs(shape_of(model))
    wanted = run_onnx(model, inputs)
    if core:
        machine = target if target in bare.MACHINES else "cortex-m7"
        image = bare.build(folder.parent, machine, [x.reshape(1, -1) for x in inputs])
        got = bare.run(image, bare.MACHINES[machine]).reshape(len(inputs), -1)
    else:
        got = run_fixed(build_fixed(folder, flags), inputs)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= TOLERANCE * max(1.0, float(np.abs(wanted).max()))


@pytest.mark.parametrize("where", ["host", "core"])
@pytest.mark.parametrize("name", MAKERS)
@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.generate],  # making a failure smaller would compile for minutes
)
@given(data=st.data(), target=st.sampled_from(sorted(TARGETS)))
def test_an_operator(name: str, where: str, data: Any, target: str) -> None:
    """Random shapes and attributes, here and on an emulated core."""
    if where == "core" and bare.MISSING:
        pytest.skip(f"not installed: {', '.join(bare.MISSING)}")
    check(MAKERS[name](data.draw), target, ("-O0",), where == "core")


def test_every_supported_operator_is_tested() -> None:
    used: set[str] = set()

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(data=st.data())
    def collect(data: Any) -> None:
        for make in MAKERS.values():
            used.update(n.op_type for n in make(data.draw).graph.node)

    collect()
    assert set(SUPPORTED) - used <= {"Constant", "Shape"}  # folded before anything is compiled
    assert not set(REPLACEMENTS) & set(SUPPORTED)


# -- whole models


def cnn() -> onnx.ModelProto:
    """A small image classifier: convolutions with normalisation, pooling, a perceptron."""
    g = Graph((1, 2, 17, 17), 1)
    y = "x"
    for inputs, outputs in ((2, 8), (8, 12)):
        y = g.node("Conv", y, g.normal(outputs, inputs, 3, 3), g.normal(outputs), pads=[1, 1, 1, 1])
        variance = g.constant(g.random.uniform(0.5, 2, outputs).astype(np.float32))
        y = g.node("BatchNormalization", y, g.normal(outputs), g.normal(outputs), g.normal(outputs), variance)
        y = g.node("MaxPool", g.node("Relu", y), kernel_shape=[2, 2], strides=[2, 2])
    y = g.node("Flatten", y)
    y = g.node("Gelu", g.node("Gemm", y, g.normal(192, 24, scale=0.1), g.normal(24)))
    return g.model(g.node("Softmax", g.node("MatMul", y, g.normal(24, 10))))


def mlp() -> onnx.ModelProto:
    """A perceptron with layer normalisation."""
    g = Graph((1, 31), 2)
    y = g.node("Tanh", g.node("Gemm", "x", g.normal(31, 29), g.normal(29)))
    y = g.node("LayerNormalization", y, g.normal(29), g.normal(29), axis=-1)
    return g.model(g.node("Sigmoid", g.node("Gemm", y, g.normal(29, 7))))


def mixer() -> onnx.ModelProto:
    """An encoder of another make: tokens [1, T, hidden] mixed over both axes, the mean over those present."""
    tokens, hidden = 12, 10
    g = Graph((1, tokens, hidden), 3)
    index = g.constant(np.arange(tokens, dtype=np.int32).reshape(1, tokens, 1))
    present = g.node("Cast", g.node("Less", index, "length"), to=TensorProto.FLOAT)
    y = g.node("Mul", "x", present)
    across = g.node("MatMul", g.node("Transpose", y, perm=[0, 2, 1]), g.normal(tokens, tokens))
    y = g.node("Add", y, g.node("Transpose", g.node("Gelu", across), perm=[0, 2, 1]))
    y = g.node("Relu", g.node("MatMul", y, g.normal(hidden, hidden)))
    pooled = g.node("ReduceMean", g.node("Mul", y, present), g.integers(1), keepdims=0)
    return g.model(g.node("MatMul", pooled, g.normal(hidden, 4)), length=True)


@pytest.mark.parametrize("make", [cnn, mlp])
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_model(make: Any, target: str) -> None:
    check(make(), target, ("-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"))


def test_length_is_the_count(tmp_path: Path) -> None:
    model = mixer()
    onnx.save(model, str(tmp_path / "mixer.onnx"))
    compile_onnx(tmp_path / "mixer.onnx", "native", tmp_path / "model")
    program = build_fixed(tmp_path / "model")
    inputs = random_inputs((1, 12, 10))
    for count in (0, 1, 7, 12):
        wanted = run_onnx(model, inputs, length=np.array([count], np.int32))
        assert np.abs(run_fixed(program, inputs, count) - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    with pytest.raises(AssertionError, match=r"\(4, ''\)"):
        run_fixed(program, inputs, 13)


def test_an_open_batch_size_becomes_one(tmp_path: Path) -> None:
    model = mlp()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, str(tmp_path / "mlp.onnx"))
    report = compile_onnx(tmp_path / "mlp.onnx", "native", tmp_path / "model")
    inputs = random_inputs((1, 31))
    assert np.abs(run_fixed(build_fixed(tmp_path / "model"), inputs) - run_onnx(mlp(), inputs)).max() <= TOLERANCE
    assert (report.hidden, report.macs) == (31, 31 * 29 + 29 * 7 + 29)
    assert list(report.outputs.values()) == [(1, 7)]


# -- errors


def refuse(model: onnx.ModelProto, folder: Path, message: str) -> None:
    onnx.save(model, str(folder / "graph.onnx"))
    with pytest.raises(CompileError, match=message):
        compile_onnx(folder / "graph.onnx", "native", folder / "model")
    assert not (folder / "model").exists()


@pytest.mark.parametrize("op", ["Softsign", "Softplus", "Mish", "Sin", "Floor"])
def test_an_unsupported_operator_is_named_with_what_could_replace_it(tmp_path: Path, op: str) -> None:
    g = Graph((1, 4))
    model = g.model(g.node(op, "x"))
    refuse(model, tmp_path, rf"unsupported ONNX operator: {op} node '{op}_0' \(instead: {REPLACEMENTS[op][:10]}")


def test_an_unsupported_power_is_named(tmp_path: Path) -> None:
    g = Graph((1, 4))
    refuse(g.model(g.node("Pow", "x", g.constant(np.float32(2.5)))), tmp_path, "Pow node 'Pow_0', whose exponent")


def test_an_open_size_is_named(tmp_path: Path) -> None:
    model = mlp()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    refuse(model, tmp_path, "open size 'width' at axis 1")


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    model = mlp()
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    refuse(model, tmp_path, r"the inputs are x \(float32\), y \(float32\): expected one float32 tensor")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    with pytest.raises(CompileError, match="not a valid ONNX model"):
        compile_onnx(tmp_path / "noise.onnx", "native", tmp_path / "model")
    with pytest.raises(CompileError, match="does not exist"):
        compile_onnx(tmp_path / "nothing.onnx", "native", tmp_path / "model")


def test_the_documentation_names_every_operator_and_target(repository: Path) -> None:
    text = (repository / "docs/compile.md").read_text()
    listed = text.split("## Operators of ONNX files")[1].split("##")[0]
    assert {name for name in SUPPORTED if f"`{name}`" in listed} == SUPPORTED
    assert {name for name in TARGETS if f"| `{name}` |" in text} == set(TARGETS)
