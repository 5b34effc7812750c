"""Encoders made node by node with onnx, in many spellings, to measure, to compile and to compare."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spedge.base.errors import UsageError
from spedge.base.paths import cache_dir
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.bundle import Bundle, write_bundle
from spedge.model.parts import Embedding, Sensor, TokenInput, Transformer
from spedge.model.spec import describe
from spedge.tokens.settings import TokenizerSettings

_TOKEN_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4")])


@dataclass(frozen=True)
class Shape:
    """An encoder's sizes and how it is spelled."""

    tokens: int = 24
    hidden: int = 16
    intermediate: int = 32
    heads: int = 4
    layers: int = 2
    classes: int = 5
    prefix: int = 1
    norm: str = "pre"  # pre, post
    mask: str = "add"  # add, where, keep
    qkv: str = "split"  # split, separate, slice, gather
    activation: str = "gelu"  # gelu, gelu-op, relu, tanh, silu
    bias: bool = True
    final_norm: bool = True
    tokens_first: bool = False
    causal: bool = False  # and the mean over the rows present instead of a row in front
    mapped: bool = False  # causal: the mean of a map of the rows, as wide as `intermediate`, and not of the rows
    seed: int = 0

    def check(self) -> None:
        """Raises UsageError for sizes that cannot be."""
        if min(self.tokens, self.hidden, self.intermediate, self.heads, self.layers, self.classes) < 1:
            raise UsageError("every size of an encoder must be at least 1")
        if self.hidden % self.heads:
            raise UsageError(f"{self.heads} heads do not divide {self.hidden} hidden features: choose a divisor")


class _Writer:
    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rng = np.random.default_rng(shape.seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    @property
    def rows(self) -> int:
        return self.shape.tokens + (0 if self.shape.causal else self.shape.prefix)

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def random(self, *size: int) -> str:
        return self.constant(self.rng.normal(0, 1 / np.sqrt(size[0]), size).astype(np.float32))

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", **attributes))
        return names[0]

    def linear(self, x: str, width_in: int, width: int) -> str:
        y = self.node("MatMul", x, self.random(width_in, width))
        return self.node("Add", self.random(width), y) if self.shape.bias else y

    def layer_norm(self, x: str) -> str:
        width = self.shape.hidden
        scale = self.constant((1 + self.rng.normal(0, 0.2, width)).astype(np.float32))
        return self.node("LayerNormalization", x, scale, self.random(width), axis=-1, epsilon=1e-12)

    def activate(self, x: str) -> str:
        kind = self.shape.activation
        if kind == "gelu":
            erf = self.node("Erf", self.node("Div", x, self.constant(np.float32(np.sqrt(2)))))
            raised = self.node("Add", erf, self.constant(np.float32(1)))
            return self.node("Mul", self.node("Mul", x, raised), self.constant(np.float32(0.5)))
        if kind == "silu":
            return self.node("Mul", x, self.node("Sigmoid", x))
        return self.node({"gelu-op": "Gelu", "relu": "Relu", "tanh": "Tanh"}[kind], x)

    def mask(self) -> str:
        """[1, 1, 1, rows] from length: added, or a condition for Where."""
        rows = self.shape.tokens + self.shape.prefix
        index = self.constant(np.arange(rows, dtype=np.int32)[None, None, None])
        limit = self.node("Add", "length", self.constant(np.array([self.shape.prefix], np.int32)))
        absent = self.node("GreaterOrEqual", index, limit)
        if self.shape.mask == "add":
            return self.node("Where", absent, self.constant(np.float32(-1e9)), self.constant(np.float32(0)))
        return absent if self.shape.mask == "where" else self.node("Not", absent)

    def causal_mask(self) -> str:
        """[1, 1, T, T], added: what comes later is out."""
        later = np.triu(np.ones((self.shape.tokens, self.shape.tokens), np.float32), 1)
        return self.constant((-1e9 * later)[None, None])

    def mean(self, x: str) -> str:
        """[1, hidden]: the mean of the rows before length, from x [1, T, hidden]."""
        index = self.constant(np.arange(self.shape.tokens, dtype=np.int32)[None, None])
        count = self.node(
            "Cast", self.node("Max", "length", self.constant(np.array([1], np.int32))), to=TensorProto.FLOAT
        )
        share = self.node("Div", self.constant(np.float32(1)), count)
        shares = self.node("Where", self.node("Less", index, "length"), share, self.constant(np.float32(0)))
        return self.node("Squeeze", self.node("MatMul", shares, x), self.constant(np.array([1], np.int64)))

    def masked(self, scores: str, mask: str) -> str:
        nothing = self.constant(np.float32(-np.inf))
        if self.shape.mask == "add" or self.shape.causal:
            return self.node("Add", scores, mask)
        if self.shape.mask == "where":
            return self.node("Where", mask, nothing, scores)
        return self.node("Where", mask, scores, nothing)

    def qkv(self, x: str) -> list[str]:
        hidden = self.shape.hidden
        if self.shape.qkv == "separate":
            return [self.linear(x, hidden, hidden) for _ in range(3)]
        y = self.linear(x, hidden, 3 * hidden)
        if self.shape.qkv == "split":
            first = self.node("Split", y, outputs=3, axis=-1, num_outputs=3)
            return [first[:-1] + str(i) for i in range(3)]
        if self.shape.qkv == "slice":
            ends = [self.constant(np.array([i * hidden], np.int64)) for i in range(4)]
            axis = self.constant(np.array([2], np.int64))
            return [self.node("Slice", y, ends[i], ends[i + 1], axis) for i in range(3)]
        rows = self.rows
        apart = self.node("Reshape", y, self.constant(np.array([1, rows, 3, hidden], np.int64)))
        front = self.node("Transpose", apart, perm=[2, 0, 1, 3])
        return [self.node("Gather", front, self.constant(np.int64(i)), axis=0) for i in range(3)]

    def attention(self, x: str, mask: str) -> str:
        s = self.shape
        rows, depth = self.rows, s.hidden // s.heads
        heads = []
        for i, part in enumerate(self.qkv(x)):
            split = self.node("Reshape", part, self.constant(np.array([1, rows, s.heads, depth], np.int64)))
            heads.append(self.node("Transpose", split, perm=[0, 2, 3, 1] if i == 1 else [0, 2, 1, 3]))
        q = self.node("Mul", heads[0], self.constant(np.float32(1 / np.sqrt(depth))))
        scores = self.masked(self.node("MatMul", q, heads[1]), mask)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), heads[2])
        merged = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        flat = self.node("Reshape", merged, self.constant(np.array([1, rows, s.hidden], np.int64)))
        return self.linear(flat, s.hidden, s.hidden)

    def feed_forward(self, x: str) -> str:
        inner = self.activate(self.linear(x, self.shape.hidden, self.shape.intermediate))
        return self.linear(inner, self.shape.intermediate, self.shape.hidden)

    def layer(self, x: str, mask: str) -> str:
        if self.shape.norm == "pre":
            x = self.node("Add", x, self.attention(self.layer_norm(x), mask))
            return self.node("Add", x, self.feed_forward(self.layer_norm(x)))
        x = self.layer_norm(self.node("Add", self.attention(x, mask), x))
        return self.layer_norm(self.node("Add", self.feed_forward(x), x))

    def model(self) -> onnx.ModelProto:
        s = self.shape
        x = "tokens"
        if s.prefix and not s.causal:
            x = self.node("Concat", self.random(1, s.prefix, s.hidden), "tokens", axis=1)
        mask = self.causal_mask() if s.causal else self.mask()
        for _ in range(s.layers):
            x = self.layer(x, mask)
        if s.causal:
            x = self.layer_norm(x) if s.final_norm else x
            width = s.intermediate if s.mapped else s.hidden
            row = self.mean(self.activate(self.linear(x, s.hidden, width)) if s.mapped else x)
            head = helper.make_node("Gemm", [row, self.random(width, s.classes)], ["logits"], name="head")
            return make_model(s, [*self.nodes, head], self.constants)
        if s.tokens_first:
            x = self.node("Transpose", x, perm=[1, 0, 2])
        row = self.node("Gather", x, self.constant(np.int64(0)), axis=0 if s.tokens_first else 1)
        if s.final_norm:
            row = self.layer_norm(row)
        self.nodes.append(helper.make_node("Gemm", [row, self.random(s.hidden, s.classes)], ["logits"], name="head"))
        return make_model(s, self.nodes, self.constants)


def make_model(
    shape: Shape, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], check: bool = True
) -> onnx.ModelProto:
    """A model from nodes that read tokens and length and write logits."""
    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, [1, shape.tokens, shape.hidden]),
            helper.make_tensor_value_info("length", TensorProto.INT32, [1]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, shape.classes])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if check:
        onnx.checker.check_model(model)
    return model


def make_encoder(shape: Shape) -> onnx.ModelProto:
    """A transformer with random weights."""
    return _Writer(shape).model()


def random_bundle(shape: Shape) -> Bundle:
    """The encoder as a bundle, kept in the cache so that what is built from it is found again.

    Raises UsageError for sizes that cannot be.
    """
    shape.check()
    s = shape
    name = f"t{s.tokens}-h{s.hidden}-i{s.intermediate}-a{s.heads}-l{s.layers}-c{s.classes}-s{s.seed}"
    return make_bundle(cache_dir() / "bench" / name, make_encoder(shape), shape, f"random encoder {name}", samples=8)


def make_bundle(folder: Path, model: onnx.ModelProto, shape: Shape, name: str = "random", samples: int = 0) -> Bundle:
    """A bundle around an encoder, with `samples` vectors of random rows (and no events or tokens).

    Its oracle is a stand-in that the compiler does not read.
    """
    rng = np.random.default_rng(shape.seed)
    spec = describe(
        name,
        "test",
        Sensor(34, 34),
        tuple(f"class {i}" for i in range(shape.classes)),
        TokenInput(
            TokenizerSettings(patch_size=4, threshold=48.0), Embedding(2, shape.hidden, 10_000.0), window=shape.tokens
        ),
        Transformer(
            shape.hidden, shape.intermediate, shape.heads, max(1, shape.layers), "causal" if shape.causal else "full"
        ),
    )
    arrays, vectors = io.BytesIO(), io.BytesIO()
    weight = rng.normal(0, 0.3, (shape.hidden, 2 * 2 * 16)).astype(np.float32)
    np.savez(arrays, weight=weight, bias=weight[:, 0].copy())
    np.savez(vectors, **(_vectors(model, shape, samples) if samples else {}))  # type: ignore[arg-type]
    files = {
        "encoder.onnx": model.SerializeToString(),
        "model.onnx": model.SerializeToString(),
        "embedding.npz": arrays.getvalue(),
        "vectors.npz": vectors.getvalue(),
    }
    return write_bundle(folder, spec, files)


def _vectors(model: onnx.ModelProto, shape: Shape, samples: int) -> dict[str, NDArray[Any]]:
    """Standard normal rows and ONNX Runtime's logits, as vectors.npz names them; all tokens present in the first."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(shape.seed + 1000)
    arrays: dict[str, NDArray[Any]] = {}
    for i in range(samples):
        count = shape.tokens if i == 0 else int(rng.integers(1, shape.tokens + 1))
        tokens = np.zeros((1, shape.tokens, shape.hidden), np.float32)
        tokens[0, :count] = rng.normal(0, 1, (count, shape.hidden))
        (logits,) = session.run(None, {"tokens": tokens, "length": np.array([count], np.int32)})
        arrays |= {f"embedded_{i}": tokens[0, :count], f"logits_{i}": logits[0]}
        arrays |= {f"events_{i}": np.zeros(0, EVENT_DTYPE), f"tokens_{i}": np.zeros(0, _TOKEN_DTYPE)}
    return arrays
