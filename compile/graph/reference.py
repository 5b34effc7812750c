"""A graph of row operations as ONNX: what calibrates a quantised model and what it is compared with.

Quantised linears are written with QuantizeLinear and DequantizeLinear nodes, so that ONNX Runtime computes what
the generated C should. Every value of the graph can be asked for by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .nodes import Array, Attention, Graph, HeadLinear, Linear, Map, Mean, Node, Norm, Source, Value

if TYPE_CHECKING:
    import onnx

_OPERATORS = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "negative": "Neg",
    "abs": "Abs",
    "relu": "Relu",
    "sqrt": "Sqrt",
    "exp": "Exp",
    "erf": "Erf",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "gelu": "Gelu",
}


def to_onnx(graph: Graph, outputs: Iterable[Value] = ()) -> onnx.ModelProto:
    """tokens float32 [1, T, hidden] and length int32 [1] to logits [1, classes], and to `outputs` by their names.

    An output is a matrix [rows, width] of all rows; those after the tokens present hold nothing of use.
    """
    return _Exporter(graph).model(list(outputs))


class Runner:
    """ONNX Runtime on an exported graph."""

    def __init__(self, model: onnx.ModelProto, graph: Graph) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # More would replace products of 8-bit weights by ones that round the activations, too.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self._shape = (1, graph.capacity, graph.source.out.width)
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, rows: Array, names: list[str]) -> list[NDArray[np.float32]]:
        tokens = np.zeros(self._shape, np.float32)
        tokens[0, : len(rows)] = rows
        values = self._session.run(names, {"tokens": tokens, "length": np.array([len(rows)], np.int32)})
        return [np.asarray(v, np.float32) for v in values]


class _Exporter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def model(self, outputs: list[Value]) -> onnx.ModelProto:
        from onnx import TensorProto, helper

        g = self.graph
        self.mask = self.absent()
        for node in g.nodes:
            self.write(node)
        row = self.op("Gather", g.output.name, self.constant(np.array([g.output_row], np.int64)), axis=0)
        self.op("Identity", row, out="logits")
        infos = [
            helper.make_tensor_value_info(v.name, TensorProto.FLOAT, [g.rows, v.width]) for v in dict.fromkeys(outputs)
        ]
        made = helper.make_graph(
            self.nodes,
            "encoder",
            [
                helper.make_tensor_value_info("tokens", TensorProto.FLOAT, [1, g.capacity, g.source.out.width]),
                helper.make_tensor_value_info("length", TensorProto.INT32, [1]),
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, g.output.width]), *infos],
            self.constants,
        )
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = out or f"part_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def shaped(self, x: str, *shape: int, out: str = "") -> str:
        return self.op("Reshape", x, self.constant(np.array(shape, np.int64)), out=out)

    def absent(self) -> str:
        """bool [1, 1, rows]: which rows are not there."""
        g = self.graph
        index = self.constant(np.arange(g.rows, dtype=np.int32).reshape(1, 1, -1))
        limit = self.op("Add", "length", self.constant(np.array([g.prefix], np.int32)))
        return self.op("GreaterOrEqual", index, limit)

    def later(self) -> str:
        """bool [1, rows, rows]: which rows a row does not attend to; those that are not there are among them."""
        return self.constant(np.triu(np.ones((self.graph.rows, self.graph.rows), bool), 1)[None])

    def mean(self, node: Mean) -> None:
        """One row."""
        rows = self.op("Max", "length", self.constant(np.array([1], np.int32)))
        share = self.op("Div", self.constant(np.float32(1)), self.op("Cast", rows, to=1))
        shares = self.op("Where", self.mask, self.constant(np.float32(0)), share)
        self.op("MatMul", self.shaped(shares, 1, self.graph.rows), node.x.name, out=node.out.name)

    def write(self, node: Node) -> None:
        out = node.out.name
        if isinstance(node, Source):
            x = self.shaped("tokens", self.graph.capacity, node.out.width)
            if self.graph.prefix:
                x = self.op("Concat", self.constant(node.prefix), x, axis=0)
            if node.centred:
                x = self.op("Sub", x, self.op("ReduceMean", x, self.constant(np.array([-1], np.int64)), keepdims=1))
            self.op("Identity", x, out=out)
        elif isinstance(node, Linear):
            self.linear(node)
        elif isinstance(node, HeadLinear):
            self.head_linear(node)
        elif isinstance(node, Norm):
            width = node.out.width
            scale = np.ones(width, np.float32) if node.scale is None else node.scale
            shift = np.zeros(width, np.float32) if node.shift is None else node.shift
            parts = (node.x.name, self.constant(scale), self.constant(shift))
            self.op("LayerNormalization", *parts, out=out, axis=-1, epsilon=node.epsilon)
        elif isinstance(node, Map):
            self.map(node)
        elif isinstance(node, Attention):
            self.attention(node)
        elif isinstance(node, Mean):
            self.mean(node)
        else:
            raise CompileError(f"{type(node).__name__} {out!r} is not supported in reduced precision: use fp32")

    def linear(self, node: Linear) -> None:
        x, quant = node.x.name, node.quant
        if quant is None:
            weight = self.constant(node.weight)
        else:
            zeros = self.constant(np.zeros(quant.scale.shape, np.int8))
            weight = self.op("DequantizeLinear", self.constant(quant.values), self.constant(quant.scale), zeros, axis=1)
            if quant.x_scale is not None:
                scale = (self.constant(np.float32(quant.x_scale)), self.constant(np.int8(0)))
                x = self.op("DequantizeLinear", self.op("QuantizeLinear", x, *scale), *scale)
        self.biased(self.op("MatMul", x, weight, out=node.out.name if node.bias is None else ""), node)

    def biased(self, product: str, node: Linear | HeadLinear) -> None:
        if node.bias is not None:
            self.op("Add", product, self.constant(node.bias), out=node.out.name)

    def head_linear(self, node: HeadLinear) -> None:
        heads, depth, width = node.weight.shape
        rows = self.graph.rows
        by_head = self.op("Transpose", self.shaped(node.x.name, rows, heads, depth), perm=[1, 0, 2])
        product = self.op("MatMul", by_head, self.constant(node.weight))
        merged = self.op("Transpose", product, perm=[1, 0, 2])
        plain = node.bias is None
        self.biased(self.shaped(merged, rows, heads * width, out=node.out.name if plain else ""), node)

    def map(self, node: Map) -> None:
        args = [a.name if isinstance(a, Value) else self.constant(a) for a in node.args]
        if node.op == "silu":
            self.op("Mul", args[0], self.op("Sigmoid", args[0]), out=node.out.name)
        else:
            self.op(_OPERATORS[node.op], *args, out=node.out.name)

    def attention(self, node: Attention) -> None:
        rows, heads = self.graph.rows, node.heads

        def split(value: Value, depth: int) -> str:
            shared = value is not node.q and node.shared
            parts = self.shaped(value.name, rows, 1 if shared else heads, depth)
            return self.op("Transpose", parts, perm=[1, 0, 2])

        keys = self.op("Transpose", split(node.k, node.depth), perm=[0, 2, 1])
        scores = self.op("MatMul", split(node.q, node.depth), keys)
        natural = self.op("Mul", scores, self.constant(np.float32(np.log(2.0))))
        mask = self.later() if node.causal else self.mask
        masked = self.op("Where", mask, self.constant(np.float32(-1e30)), natural)
        weights = self.op("Softmax", masked, axis=-1)
        mixed = self.op("MatMul", weights, split(node.v, node.value_depth))
        self.shaped(self.op("Transpose", mixed, perm=[1, 0, 2]), rows, heads * node.value_depth, out=node.out.name)
