"""Every supported ONNX operator, at random shapes, as generated C against ONNX Runtime."""

from __future__ import annotations

import functools
import itertools
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from spedge.compile import TARGETS, CompileError, compile_onnx
from spedge.compile.fixed.operators import REPLACEMENTS, SUPPORTED, WRITTEN_OUT
from tests.needs import needs

from ..emulated import bare
from .generated import WARNINGS
from .onnx_models import Library, source_of
from .operators import MAKERS, Graph, build_fixed, random_inputs, run_fixed, run_onnx

needs("tvm", "cc")

TOLERANCE = 1e-5
EXAMPLES = 3  # of each operator
HOMES: list[Path] = []


def shape_of(model: onnx.ModelProto) -> list[int]:
    return [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where models are compiled: pytest clears it away."""
    HOMES.append(tmp_path_factory.mktemp("operators"))


@functools.cache
def compiled(graph: bytes, target: str) -> Path:
    """The folder that a model becomes; made once."""
    folder = Path(tempfile.mkdtemp(dir=HOMES[-1]))
    (folder / "graph.onnx").write_bytes(graph)
    compile_onnx(folder / "graph.onnx", target, folder / "model")
    return folder / "model"


def check(model: onnx.ModelProto, target: str, flags: tuple[str, ...]) -> None:
    """Compile, run and compare."""
    folder = compiled(model.SerializeToString(), target)
    inputs = random_inputs(shape_of(model))
    wanted = run_onnx(model, inputs)
    got = run_fixed(build_fixed(folder, flags), inputs)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= TOLERANCE * max(1.0, float(np.abs(wanted).max()))


@dataclass(frozen=True)
class Drawn:
    """A graph of one operator, and the folder that it became for a target."""

    label: str
    model: onnx.ModelProto
    target: str
    folder: Path

    @property
    def inputs(self) -> list[np.ndarray]:
        return random_inputs(shape_of(self.model))


@functools.cache
def drawn() -> dict[str, list[Drawn]]:
    """Random shapes, attributes and targets for every operator."""
    return {name: _drawn(name) for name in MAKERS}


def _drawn(name: str) -> list[Drawn]:
    found: list[Drawn] = []

    @seed(zlib.crc32(name.encode()))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(data=st.data())
    def draw(data: Any) -> None:
        model, target = MAKERS[name](data.draw), data.draw(st.sampled_from(sorted(TARGETS)))
        folder = compiled(model.SerializeToString(), target)
        found.append(Drawn(f"{name}/{len(found)}", model, target, folder))

    draw()
    return found


def by_build(key: Callable[[Drawn], str]) -> Iterator[tuple[str, list[Drawn]]]:
    """What can be built together: with the same key and the same definitions."""
    groups: dict[tuple[str, tuple[str, ...]], list[Drawn]] = {}
    for case in itertools.chain(*drawn().values()):
        groups.setdefault((key(case), TARGETS[case.target].defines), []).append(case)
    for (name, _), cases in groups.items():
        yield name, cases


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What each graph computes on this machine: [inputs, outputs]."""
    flags = ["-std=c11", *WARNINGS, "-fno-math-errno", "-ffp-contract=off", "-O0"]
    got = {}
    for _, cases in by_build(lambda case: "host"):
        library = Library({case.label: case.folder for case in cases}, tmp_path_factory.mktemp("here"), flags)
        assert not library.broken
        for case in cases:
            outputs = int(run_onnx(case.model, case.inputs[:1]).size)
            got[case.label] = np.stack([library.run(case.label, x, outputs) for x in case.inputs])
    return got


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The same on an emulated core, the target's own if it is a Cortex-M."""
    if bare.MISSING:
        pytest.skip(f"not installed: {', '.join(bare.MISSING)}")
    got = {}
    for machine, cases in by_build(lambda case: case.target if case.target in bare.MACHINES else "cortex-m7"):
        source = source_of({case.label: case.folder for case in cases})
        arena = max(json.loads((case.folder / "report.json").read_text())["arena_bytes"] for case in cases)
        work = tmp_path_factory.mktemp("there") / machine
        image = bare.build_many(work, machine, source, [case.inputs for case in cases], arena)
        flat = bare.run(image, bare.MACHINES[machine])
        for case in cases:
            wanted = run_onnx(case.model, case.inputs)
            got[case.label], flat = flat[: wanted.size].reshape(wanted.shape), flat[wanted.size :]
        assert not flat.size
    return got


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize("name", MAKERS)
def test_an_operator(name: str, where: str, request: pytest.FixtureRequest) -> None:
    """On this machine and on an emulated core."""
    results = request.getfixturevalue(where)
    assert len(drawn()[name]) == EXAMPLES
    for case in drawn()[name]:
        wanted, got = run_onnx(case.model, case.inputs), results[case.label]
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() <= TOLERANCE * max(1.0, float(np.abs(wanted).max())), case.target


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
    assert {name for name in SUPPORTED | WRITTEN_OUT if f"`{name}`" in listed} == SUPPORTED | WRITTEN_OUT
    assert {name for name in TARGETS if f"| `{name}` |" in text} == set(TARGETS)
