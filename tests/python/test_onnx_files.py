"""ONNX models as they come: element types, wide outputs, local functions, old operator sets, what is for training.

Those that compile are built together, once, and each is compared with ONNX Runtime.
"""

from __future__ import annotations

import functools
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spedge.cli import execute
from spedge.compile import CompileError, compile_onnx
from tests.needs import needs

from .onnx_models import Library

needs("tvm", "onnx", "cc")

VALUES = np.array([-300.5, -1.5, -0.2, 0.0, 0.2, 2.9, 200.0, 3e9], np.float32)
WHOLE = ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64")
Nodes = list[tuple[str, list[str], list[str], dict[str, Any]]]


def model_of(
    nodes: Nodes, shape: tuple[int, ...], constants: dict[str, Any] | None = None, opset: int = 17, out: str = "y"
) -> onnx.ModelProto:
    """A model from x to `out`; nodes: operator, inputs, outputs, attributes. The output's shape is ONNX's to infer."""
    made = [helper.make_node(op, i, o, name=f"{op}_{n}", **more) for n, (op, i, o, more) in enumerate(nodes)]
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["?"] * 9)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    del graph.output[0].type.tensor_type.shape.dim[:]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    graph.output[0].type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model)


def cast(kind: str) -> onnx.ModelProto:
    to = getattr(TensorProto, kind)
    return model_of([("Cast", ["x"], ["i"], {"to": to}), ("Cast", ["i"], ["y"], {"to": TensorProto.FLOAT})], (1, 8))


def by_a_function() -> onnx.ModelProto:
    """A function of the model's own that calls another one."""
    own, opset = "test.functions", [helper.make_opsetid("", 17), helper.make_opsetid("test.functions", 1)]
    double = helper.make_function(own, "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opset)
    nodes = [helper.make_node("Double", ["a"], ["c"], domain=own), helper.make_node("Relu", ["c"], ["b"])]
    outer = helper.make_function(own, "DoubleRelu", ["a"], ["b"], nodes, opset)
    model = model_of([("Neg", ["x"], ["n"], {}), ("Identity", ["f"], ["y"], {})], (1, 8))
    model.graph.node.insert(1, helper.make_node("DoubleRelu", ["n"], ["f"], domain=own))
    model.functions.extend([double, outer])
    model.opset_import.append(opset[1])
    del model.graph.value_info[:]
    return model


def pooled_with_indices() -> onnx.ModelProto:
    more = {"kernel_shape": [2], "strides": [2]}
    return model_of([("MaxPool", ["x"], ["y", "indices"], more)], (1, 1, 8))


def normalised_with_mean() -> onnx.ModelProto:
    nodes: Nodes = [("LayerNormalization", ["x", "scale"], ["y", "mean", "deviation"], {"axis": -1})]
    return model_of(nodes, (1, 8), {"scale": np.linspace(0.5, 2, 8).astype(np.float32)})


def dropped_with_mask() -> onnx.ModelProto:
    """Dropout of inference, whose mask is read: all ones."""
    nodes: Nodes = [
        ("Dropout", ["x"], ["d", "mask"], {}),
        ("Where", ["mask", "d", "zero"], ["y"], {}),
    ]
    return model_of(nodes, (1, 8), {"zero": np.float32(0)})


def chosen_by_value() -> onnx.ModelProto:
    """Gather by indices that are computed, some of them far outside: it must not read what is not there."""
    nodes: Nodes = [
        ("Cast", ["x"], ["i"], {"to": TensorProto.INT64}),
        ("Clip", ["i", "low", "high"], ["inside"], {}),
        ("Gather", ["table", "inside"], ["y"], {"axis": 0}),
    ]
    table = {"table": np.arange(5, dtype=np.float32) ** 2, "low": np.int64(0), "high": np.int64(4)}
    return model_of(nodes, (1, 8), table)


def stacked(opset: int) -> onnx.ModelProto:
    """Axes from the end, one behind the other: before set 11 exporters write them though they are not defined."""
    nodes: Nodes = [
        ("Unsqueeze", ["x"], ["a"], {"axes": [-1]}),
        ("Neg", ["a"], ["b"], {}),
        ("Concat", ["a", "b"], ["c"], {"axis": -1}),
        ("ReduceMax", ["c"], ["y"], {"axes": [-1], "keepdims": 0}),
    ]
    return model_of(nodes, (1, 8), opset=opset)


def old_attributes(opset: int) -> onnx.ModelProto:
    """Pad, Clip, Slice, Split, Squeeze and sums as older sets have them, by attributes."""
    nodes: Nodes = [
        ("Pad", ["x"], ["p"], {"pads": [0, 1, 0, 3], "value": 0.5}),
        ("Clip", ["p"], ["c"], {"min": -2.0, "max": 2.5}),
        ("Split", ["c"], ["s", "t"], {"axis": 1, "split": [4, 8]}),
        ("Slice", ["t"], ["u"], {"axes": [1], "starts": [1], "ends": [-1]}),
        ("Concat", ["s", "u"], ["v"], {"axis": 1}),
        ("ReduceSum", ["v"], ["w"], {"axes": [1], "keepdims": 1}),
        ("Squeeze", ["w"], ["y"], {"axes": [0]}),
    ]
    return model_of(nodes, (1, 8), opset=opset)


def powers() -> onnx.ModelProto:
    """Powers that are products, a root and a quotient."""
    nodes: Nodes = [("Abs", ["x"], ["a"], {}), ("Add", ["a", "half"], ["b"], {})]
    nodes += [("Pow", ["b", f"e{i}"], [f"p{i}"], {}) for i in range(4)]
    nodes += [("Concat", [f"p{i}" for i in range(4)], ["y"], {"axis": 0})]
    exponents = {f"e{i}": np.float32(e) for i, e in enumerate((0.5, 5, -1, -2))}
    return model_of(nodes, (1, 8), {"half": np.float32(0.5), **exponents})


def from_the_end() -> onnx.ModelProto:
    """Gather along the last axis, named from the end as its indices are."""
    nodes: Nodes = [("Gather", ["x", "i"], ["y"], {"axis": -1})]
    return model_of(nodes, (2, 4), {"i": np.array([-1, 0, -4, 2])})


def same_lower() -> onnx.ModelProto:
    """Windows placed by auto_pad, the odd one of the padding in front."""
    window = {"kernel_shape": [2], "strides": [2], "auto_pad": "SAME_LOWER"}
    nodes: Nodes = [
        ("Unsqueeze", ["x", "axis"], ["u"], {}),
        ("MaxPool", ["u"], ["m"], window),
        ("AveragePool", ["u"], ["a"], {**window, "kernel_shape": [3]}),
        ("Conv", ["u", "w"], ["c"], window),
        ("Concat", ["m", "a", "c"], ["y"], {"axis": 1}),
    ]
    return model_of(nodes, (1, 7), {"axis": np.array([1]), "w": np.array([[[0.5, -2]]], np.float32)})


def narrow() -> onnx.ModelProto:
    """Sums, differences and products of 8 bits, which wrap."""
    nodes: Nodes = [
        ("Cast", ["x"], ["i"], {"to": TensorProto.UINT8}),
        ("Sub", ["i", "three"], ["s"], {}),
        ("Mul", ["s", "s"], ["m"], {}),
        ("Max", ["m", "s"], ["h"], {}),
        ("Cast", ["h"], ["y"], {"to": TensorProto.FLOAT}),
    ]
    return model_of(nodes, (1, 8), {"three": np.uint8(3)})


def of_an_odd_name() -> onnx.ModelProto:
    """An input of floats called length, and values called like nothing in C."""
    nodes: Nodes = [
        ("Neg", ["x"], ["int"], {}),
        ("Abs", ["int"], ["a b/c:0"], {}),
        ("Add", ["a b/c:0", "für"], ["y"], {}),
    ]
    model = model_of(nodes, (1, 8), {"für": np.float32(1)})
    model.graph.input[0].name = model.graph.node[0].input[0] = "length"
    return model


def constant() -> onnx.ModelProto:
    """An output that no input reaches."""
    return model_of([("Identity", ["c"], ["y"], {})], (1, 8), {"c": np.arange(3, dtype=np.float32)})


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    **{f"cast {kind}": functools.partial(cast, kind) for kind in (*WHOLE, "BOOL")},
    "wide": lambda: model_of([("Relu", ["x"], ["y"], {})], (1, 3, 160, 150)),
    "functions": by_a_function,
    "pool": pooled_with_indices,
    "norm": normalised_with_mean,
    "mask": dropped_with_mask,
    "gather": chosen_by_value,
    **{f"axes {opset}": functools.partial(stacked, opset) for opset in (7, 9, 10, 11)},
    "attributes 9": functools.partial(old_attributes, 9),
    "powers": powers,
    "from the end": from_the_end,
    "same lower": same_lower,
    "narrow": narrow,
    "odd names": of_an_odd_name,
    "constant": constant,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Library, dict[str, onnx.ModelProto]]]:
    folder = tmp_path_factory.mktemp("files")
    models = {name: make() for name, make in MODELS.items()}
    for name, model in models.items():
        onnx.save(model, str(folder / f"{name}.onnx"))
        compile_onnx(folder / f"{name}.onnx", "native", folder / name)
    library = Library({name: folder / name for name in models}, folder)
    assert not library.broken
    yield library, models


def wanted(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0], np.float32).ravel()


@pytest.mark.parametrize("name", [n for n in MODELS if not n.startswith("cast")])
def test_a_model(name: str, built: tuple[Library, dict[str, onnx.ModelProto]]) -> None:
    library, models = built
    shape = [d.dim_value for d in models[name].graph.input[0].type.tensor_type.shape.dim]
    scale = 1 if name == "narrow" else 100
    x: NDArray[np.float32] = np.resize(np.abs(VALUES[1:-1]) / scale if scale == 1 else VALUES / scale, shape)
    x = x.astype(np.float32)
    y = wanted(models[name], x)
    assert np.allclose(library.run(name, x, y.size), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", WHOLE)
def test_casts_to_whole_numbers(kind: str, built: tuple[Library, dict[str, onnx.ModelProto]]) -> None:
    """Towards zero; of what is beyond, the low bits, as ONNX Runtime has it; beyond 64 bits the nearest there is."""
    library, models = built
    got = library.run(f"cast {kind}", VALUES, VALUES.size)
    # The last is beyond int32: there ONNX Runtime has what the processor has.
    assert np.array_equal(got[:-1], wanted(models[f"cast {kind}"], VALUES.reshape(1, 8))[:-1])
    far = {"INT32": 2147483520.0, "INT64": 3e9, "UINT32": 3e9, "UINT64": 3e9}
    if kind in far:
        assert got[-1] == np.float32(far[kind])
    beyond = np.array([-1e30, 1e30, 0, 0, 0, 0, 0, 0], np.float32)
    whole = library.run(f"cast {kind}", beyond, 8)
    if kind in ("INT32", "INT64"):
        assert whole[0] == np.float32(np.iinfo(kind.lower()).min)
        assert 0.999 * np.iinfo(kind.lower()).max < whole[1] <= np.iinfo(kind.lower()).max


def test_a_cast_to_bool(built: tuple[Library, dict[str, onnx.ModelProto]]) -> None:
    assert np.array_equal(built[0].run("cast BOOL", VALUES, VALUES.size), (VALUES != 0).astype(np.float32))


def training_norm() -> onnx.ModelProto:
    nodes: Nodes = [("BatchNormalization", ["x", "s", "s", "s", "s"], ["y", "m", "v"], {"training_mode": 1})]
    return model_of(nodes, (2, 4), {"s": np.ones(4, np.float32)})


def training_dropout() -> onnx.ModelProto:
    more = {"r": np.float32(0.5), "t": np.array(True)}
    return model_of([("Dropout", ["x", "r", "t"], ["d"], {}), ("Relu", ["d"], ["y"], {})], (1, 4), more)


def indices_used() -> onnx.ModelProto:
    pool = ("MaxPool", ["x"], ["m", "i"], {"kernel_shape": [2]})
    return model_of([pool, ("Cast", ["i"], ["y"], {"to": TensorProto.FLOAT})], (1, 1, 8))  # type: ignore[list-item]


def gathered_outside() -> onnx.ModelProto:
    return model_of([("Gather", ["x", "i"], ["y"], {"axis": 1})], (1, 4), {"i": np.array([0, 4])})


def dynamic() -> onnx.ModelProto:
    return model_of([("Cast", ["x"], ["n"], {"to": TensorProto.INT64}), ("Expand", ["x", "n"], ["y"], {})], (1,))


REFUSED = {
    "BatchNormalization of training": (training_norm, r"BatchNormalization node .* in training mode \(instead: .*eval"),
    "Dropout of training": (training_dropout, r"Dropout node .* in training mode \(instead: .*eval"),
    "indices": (indices_used, r"MaxPool node .*, whose Indices are used \(instead: its maxima"),
    "half": (lambda: cast("FLOAT16"), r"Cast node 'Cast_0', which gives float16 \(instead: float32"),
    "double": (lambda: cast("DOUBLE"), r"Cast node 'Cast_0', which gives float64 \(instead: float32"),
    "an index outside": (gathered_outside, r"Gather node .*, which takes index 4 of 4 \(instead: an index below 4"),
    "sizes by value": (dynamic, r"Expand node .*, whose sizes depend on what the input holds \(instead: constants"),
    "set 6": (
        lambda: model_of([("Relu", ["x"], ["y"], {})], (1, 4), opset=6),
        r"is of operator set 6: export it with 7 or later, or raise it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By the command: code 4, and one sentence on stderr that is not TVM's."""
    make, message = REFUSED[name]
    onnx.save(make(), str(tmp_path / "m.onnx"))
    with pytest.raises(CompileError, match=message):
        compile_onnx(tmp_path / "m.onnx", "native", tmp_path / "c")
    assert capfd.readouterr().out == ""
    assert not (tmp_path / "c").exists()


def test_the_command_says_it_in_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    onnx.save(training_norm(), str(tmp_path / "m.onnx"))
    code = execute(["compile", str(tmp_path / "m.onnx"), "--target", "native", "--out", str(tmp_path / "c")])
    said = capfd.readouterr()
    assert (code, said.out) == (4, "")
    assert said.err.count("error: ") == 1 and "BatchNormalization_0" in said.err


@pytest.mark.parametrize("case", ["03-onnx-cast-does-not-build", "11-onnx-65536-outputs"])
def test_the_files_that_users_sent(case: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = shared / "cases" / case / "make.py"
    if not script.is_file():
        pytest.skip(f"no {script}")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    folders = {}
    for path in sorted(tmp_path.glob("*.onnx")):
        if path.stem == "half":
            with pytest.raises(CompileError, match="which gives float16"):
                compile_onnx(path, "native", tmp_path / path.stem)
            continue
        compile_onnx(path, "native", tmp_path / path.stem)
        folders[path.stem] = tmp_path / path.stem
    library = Library(folders, tmp_path)
    assert folders and not library.broken
    for name in folders:
        model = onnx.load(str(tmp_path / f"{name}.onnx"))
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        x = np.resize(np.array([-1.5, -0.2, 0.2, 2.9], np.float32), shape)
        assert np.array_equal(library.run(name, x, x.size), wanted(model, x))
