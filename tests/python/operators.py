"""ONNX graphs of one operator each, of random shapes and attributes, and a driver to run what becomes of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spedge.base.paths import firmware_dir

from .generated import WARNINGS

Draw = Callable[..., Any]
OPSET = 20

# Runs the inputs on stdin. The arena starts as NaNs and has guards around it.
DRIVER = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 4096 };

int main(void)
{
    unsigned char *block = aligned_alloc(16, sp_model.arena_bytes + 2u * GUARD);
    unsigned char *arena = block + GUARD;
    float *in = malloc(sizeof(float) * SP_MODEL_INPUT_FLOATS);
    uint32_t count;
    if (!block || !in || sp_model.arena_bytes != SP_MODEL_ARENA_BYTES) {
        return 2;
    }
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        if (fread(in, sizeof(float), SP_MODEL_INPUT_FLOATS, stdin) != SP_MODEL_INPUT_FLOATS) {
            return 3;
        }
        memset(block, 0xa5, sp_model.arena_bytes + 2u * GUARD);
        memset(arena, 0xff, sp_model.arena_bytes);
        memcpy(arena + sp_model.input_offset, in, sizeof(float) * SP_MODEL_INPUT_FLOATS);
        if (sp_model.encode(arena, count) != SP_OK) {
            return 4;
        }
        for (int i = 0; i < GUARD; ++i) {
            if (block[i] != 0xa5 || arena[sp_model.arena_bytes + (uint32_t)i] != 0xa5) {
                return 5;
            }
        }
        fwrite(sp_model_output(arena, &sp_model.outputs[0]), sizeof(float), SP_MODEL_OUTPUT_FLOATS, stdout);
    }
    free(block);
    free(in);
    return 0;
}
"""


class Graph:
    """A graph under construction: one input `x`, constants, nodes."""

    def __init__(self, shape: Sequence[int], seed: int = 0) -> None:
        self.shape = tuple(shape)
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def normal(self, *shape: int, scale: float = 0.5) -> str:
        return self.constant(self.random.normal(0, scale, shape).astype(np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", **attributes))
        return names[0]

    def model(self, result: str, length: bool = False) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)]
        if length:
            inputs.append(helper.make_tensor_value_info("length", TensorProto.INT32, [1]))
        graph = helper.make_graph(
            self.nodes,
            "graph",
            inputs,
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        return model


def _shape(draw: Draw, least: int = 1, most: int = 4, size: int = 9) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(1, size), min_size=least, max_size=most)))


def _unary(op: str, **attributes: Any) -> Callable[[Draw], onnx.ModelProto]:
    def make(draw: Draw) -> onnx.ModelProto:
        g = Graph(_shape(draw))
        return g.model(g.node(op, "x", **attributes))

    return make


def _binary(op: str) -> Callable[[Draw], onnx.ModelProto]:
    def make(draw: Draw) -> onnx.ModelProto:
        shape = _shape(draw)
        g = Graph(shape, draw(st.integers(0, 99)))
        # A constant that is broadcast over some axes, or the other way about, or the tensor with itself.
        other = tuple(1 if draw(st.booleans()) else n for n in shape)[draw(st.integers(0, len(shape) - 1)) :]
        values = g.random.uniform(0.5, 2, other).astype(np.float32)
        y = g.constant(values) if draw(st.booleans()) else g.node("Abs", "x")
        y = g.node("Add", y, g.constant(np.float32(0.3)))
        return g.model(g.node(op, *(("x", y) if draw(st.booleans()) or op == "Div" else (y, "x"))))

    return make


def _reduction(op: str) -> Callable[[Draw], onnx.ModelProto]:
    def make(draw: Draw) -> onnx.ModelProto:
        g = Graph(_shape(draw, 2))
        axes = draw(st.lists(st.integers(-len(g.shape), -1), min_size=1, unique=True))
        return g.model(g.node(op, "x", g.integers(*axes), keepdims=draw(st.integers(0, 1))))

    return make


def _compared(op: str) -> Callable[[Draw], onnx.ModelProto]:
    def make(draw: Draw) -> onnx.ModelProto:
        g = Graph(_shape(draw))
        condition = g.node(op, "x", g.normal(g.shape[-1]))
        if draw(st.booleans()):
            condition = g.node("Not", condition)
        return g.model(g.node("Where", condition, "x", g.constant(np.float32(-2))))

    return make


def _image(draw: Draw) -> Graph:
    n = draw(st.sampled_from([1, 2, 3, 4, 6, 7, 8]))
    return Graph((1, n, draw(st.integers(4, 13)), draw(st.integers(4, 13))), draw(st.integers(0, 99)))


def _window(draw: Draw) -> dict[str, Any]:
    kernel = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    return {"kernel_shape": kernel, "pads": pads, "strides": [draw(st.integers(1, 2)), draw(st.integers(1, 2))]}


def conv(draw: Draw) -> onnx.ModelProto:
    g, window = _image(draw), _window(draw)
    channels = g.shape[1]
    groups = draw(st.sampled_from([d for d in range(1, channels + 1) if channels % d == 0]))
    out = groups * draw(st.integers(1, 4))
    weight = g.normal(out, channels // groups, *window["kernel_shape"])
    bias = [g.normal(out)] if draw(st.booleans()) else []
    y = g.node("Conv", "x", weight, *bias, group=groups, **window)
    return g.model(g.node("Relu", y) if draw(st.booleans()) else y)


def conv_1d(draw: Draw) -> onnx.ModelProto:
    g = Graph((1, draw(st.integers(1, 5)), draw(st.integers(4, 20))))
    size = draw(st.integers(1, 4))
    return g.model(g.node("Conv", "x", g.normal(draw(st.integers(1, 7)), g.shape[1], size), pads=[size // 2, 0]))


def batch_norm(draw: Draw) -> onnx.ModelProto:
    g = _image(draw)
    n = g.shape[1]
    y = g.node("Conv", "x", g.normal(n, n, 1, 1)) if draw(st.booleans()) else "x"
    variance = g.constant(g.random.uniform(0.2, 2, n).astype(np.float32))
    return g.model(g.node("BatchNormalization", y, g.normal(n), g.normal(n), g.normal(n), variance))


def pool(op: str) -> Callable[[Draw], onnx.ModelProto]:
    def make(draw: Draw) -> onnx.ModelProto:
        g = _image(draw)
        more = {"count_include_pad": draw(st.integers(0, 1))} if op == "AveragePool" else {}
        return g.model(g.node(op, "x", **_window(draw), **more))

    return make


def global_pool(op: str) -> Callable[[Draw], onnx.ModelProto]:
    def make(draw: Draw) -> onnx.ModelProto:
        g = _image(draw)
        return g.model(g.node("Flatten", g.node(op, "x")))

    return make


def gemm(draw: Draw) -> onnx.ModelProto:
    rows, depth, width = (draw(st.integers(1, 23)) for _ in range(3))
    first, second = draw(st.booleans()), draw(st.booleans())
    g = Graph((depth, rows) if first else (rows, depth))
    weight = g.normal(*((width, depth) if second else (depth, width)))
    bias = [g.normal(width)] if draw(st.booleans()) else []
    y = g.node("Gemm", "x", weight, *bias, transA=int(first), transB=int(second), alpha=0.5, beta=2.0)
    return g.model(g.node("Tanh", y) if draw(st.booleans()) else y)


def matmul(draw: Draw) -> onnx.ModelProto:
    batch = _shape(draw, 0, 2, 4)
    rows, depth, width = (draw(st.integers(1, 21)) for _ in range(3))
    g = Graph((*batch, rows, depth))
    if draw(st.booleans()):
        order = [*range(len(batch)), len(batch) + 1, len(batch)]
        return g.model(g.node("MatMul", "x", g.node("Transpose", "x", perm=order)))
    return g.model(g.node("Gelu", g.node("MatMul", "x", g.normal(depth, width))))


def layer_norm(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw, 2, 3, 17))
    n = g.shape[-1]
    shift = [g.normal(n)] if draw(st.booleans()) else []
    return g.model(g.node("LayerNormalization", "x", g.normal(n), *shift, axis=-1, epsilon=1e-3))


def softmax(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw, 1, 4, 13))
    return g.model(g.node("Softmax", "x", axis=draw(st.integers(-len(g.shape), -1))))


def transpose(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw, 2))
    return g.model(g.node("Transpose", "x", perm=draw(st.permutations(range(len(g.shape))))))


def reshape(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw, 2))
    order = draw(st.permutations(range(len(g.shape))))
    y = g.node("Reshape", g.node("Transpose", "x", perm=order), g.integers(-1, g.shape[order[-1]]))
    return g.model(g.node("Mul", y, y))


def flatten(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw, 2))
    return g.model(g.node("Relu", g.node("Flatten", "x", axis=draw(st.integers(0, len(g.shape) - 1)))))


def squeeze(draw: Draw) -> onnx.ModelProto:
    g = Graph((1, *_shape(draw, 1, 2)))
    y = g.node("Unsqueeze", g.node("Squeeze", "x", g.integers(0)), g.integers(1))
    return g.model(g.node("Relu", y))


def concat(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw, 2, 3))
    axis = draw(st.integers(0, len(g.shape) - 1))
    other = list(g.shape)
    other[axis] = draw(st.integers(1, 5))
    return g.model(g.node("Concat", "x", g.normal(*other), g.node("Neg", "x"), axis=axis))


def split(draw: Draw) -> onnx.ModelProto:
    parts, each = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    g = Graph((draw(st.integers(1, 6)), parts * each))
    first = g.node("Split", "x", outputs=parts, axis=1, num_outputs=parts)
    return g.model(g.node("Sub", first, f"{first[:-1]}{parts - 1}"))


def slices(draw: Draw) -> onnx.ModelProto:
    g = Graph((draw(st.integers(2, 7)), draw(st.integers(3, 12))))
    start = draw(st.integers(0, g.shape[1] - 2))
    step = draw(st.integers(1, 2))
    return g.model(g.node("Slice", "x", g.integers(start), g.integers(g.shape[1]), g.integers(1), g.integers(step)))


def gather(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw, 2, 3))
    axis = draw(st.integers(0, len(g.shape) - 1))
    index = draw(st.lists(st.integers(0, g.shape[axis] - 1), min_size=1, max_size=6))
    chosen = g.constant(np.int64(index[0])) if draw(st.booleans()) else g.integers(*index)
    return g.model(g.node("Gather", "x", chosen, axis=axis))


def pad(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw, 2, 4, 6))
    pads = [draw(st.integers(0, 2)) for _ in range(2 * len(g.shape))]
    return g.model(g.node("Pad", "x", g.integers(*pads), g.constant(np.float32(1.5))))


def expand(draw: Draw) -> onnx.ModelProto:
    g = Graph((draw(st.integers(1, 4)), 1, draw(st.integers(1, 5))))
    wide = g.node("Expand", "x", g.integers(g.shape[0], draw(st.integers(1, 5)), g.shape[2]))
    return g.model(g.node("Relu", wide))


def clip(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw))
    limits = (g.constant(np.float32(-0.5)), g.constant(np.float32(0.75)))
    return g.model(g.node("Clip", "x", *limits))


def power(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw))
    return g.model(g.node("Pow", "x", g.constant(np.float32(draw(st.sampled_from([2, 3]))))))


def root(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw))
    y = g.node("Sqrt", g.node("Abs", "x"))
    return g.model(g.node("Reciprocal", g.node("Add", y, g.constant(np.float32(0.5)))))


def several(op: str) -> Callable[[Draw], onnx.ModelProto]:
    def make(draw: Draw) -> onnx.ModelProto:
        g = Graph(_shape(draw))
        return g.model(g.node(op, "x", g.normal(*g.shape), g.node("Neg", "x")))

    return make


def prelu(draw: Draw) -> onnx.ModelProto:
    g = _image(draw)
    return g.model(g.node("PRelu", "x", g.normal(g.shape[1], 1, 1)))


def cast(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw))
    positive = g.node("Greater", "x", g.constant(np.float32(0)))
    return g.model(g.node("Mul", "x", g.node("Cast", positive, to=TensorProto.FLOAT)))


def dropout(draw: Draw) -> onnx.ModelProto:
    g = Graph(_shape(draw))
    return g.model(g.node("Relu", g.node("Identity", g.node("Dropout", "x"))))


MAKERS: dict[str, Callable[[Draw], onnx.ModelProto]] = {
    **{op: _unary(op) for op in ("Abs", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Neg")},
    **{op: _unary(op) for op in ("Relu", "Sigmoid", "Tanh")},
    "Gelu, tanh": _unary("Gelu", approximate="tanh"),
    "LeakyRelu": _unary("LeakyRelu", alpha=0.2),
    **{op: _binary(op) for op in ("Add", "Sub", "Mul", "Div")},
    **{op: several(op) for op in ("Max", "Min", "Sum", "Mean")},
    **{op: _reduction(op) for op in ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum")},
    **{op: _compared(op) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")},
    **{op: pool(op) for op in ("AveragePool", "MaxPool")},
    **{op: global_pool(op) for op in ("GlobalAveragePool", "GlobalMaxPool")},
    "Conv": conv, "Conv, 1-D": conv_1d, "BatchNormalization": batch_norm, "Gemm": gemm, "MatMul": matmul,
    "LayerNormalization": layer_norm, "Softmax": softmax, "Transpose": transpose, "Reshape": reshape,
    "Flatten": flatten, "Squeeze": squeeze, "Concat": concat, "Split": split, "Slice": slices, "Gather": gather,
    "Pad": pad, "Expand": expand, "Clip": clip, "Pow": power, "Sqrt": root, "PRelu": prelu, "Cast": cast,
    "Dropout": dropout,
}  # fmt: skip


def build_fixed(folder: Path, flags: Sequence[str] = ("-O1",)) -> Path:
    """The program that runs a generated folder's fixed-shape model on this machine."""
    driver = folder.parent / f"{folder.name}-driver.c"
    driver.write_text(DRIVER)
    program = folder.parent / f"{folder.name}-driver"
    includes = [f"-I{firmware_dir() / part / 'include'}" for part in ("lib", "runtime")]
    sources = [*(folder / name for name in ("model.c", "kernels.c", "weights.c")), driver]
    options = ["-std=c11", *WARNINGS, "-fno-math-errno", "-ffp-contract=off", *flags, *includes, f"-I{folder}"]
    subprocess.run(["cc", *options, *map(str, sources), "-lm", "-o", str(program)], check=True, timeout=300)
    return program


def run_fixed(program: Path, inputs: Sequence[NDArray[np.float32]], count: int = 0) -> NDArray[np.float32]:
    """Outputs of a built model, flat: float32 [inputs, elements]."""
    stdin = b"".join(np.uint32(count).tobytes() + x.astype(np.float32).tobytes() for x in inputs)
    done = subprocess.run([str(program)], input=stdin, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr.decode())
    return np.frombuffer(done.stdout, np.float32).reshape(len(inputs), -1)


def run_onnx(model: onnx.ModelProto, inputs: Sequence[NDArray[np.float32]], **more: Any) -> NDArray[np.float32]:
    """The same by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"x": x, **more})[0].ravel() for x in inputs])


def random_inputs(shape: Sequence[int], number: int = 3) -> list[NDArray[np.float32]]:
    """Random inputs of a shape."""
    random = np.random.default_rng(5)
    return [random.normal(0, 1.5, shape).astype(np.float32) for _ in range(number)]
