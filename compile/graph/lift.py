"""From TVM's Relax program to the graph of row operations.

An abstract interpretation: layout operations (reshape, permute, split, slice, ...) are carried out on
arrays of element numbers, so it does not matter how an exporter spelled them. Attention is found where a
softmax stands between two products, and checked element by element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import CompileError
from .culprit import naming, to_relax
from .nodes import ALL, LOG2_E, Array, Attention, Columns, Graph, Linear, Map, Mean, Node, Norm, Source, Value
from .onnx_model import node_title
from .simplify import Mask, Simplified
from .views import (
    CONSTANT,
    LAYOUT,
    Abstract,
    Index,
    Scores,
    View,
    adds_nothing,
    is_causal,
    mask_fits,
    masks_out,
)

# Relax operators that work element by element, and how many arguments they take.
UNARY = {
    "relax.erf": "erf",
    "relax.exp": "exp",
    "relax.tanh": "tanh",
    "relax.sigmoid": "sigmoid",
    "relax.sqrt": "sqrt",
    "relax.negative": "negative",
    "relax.abs": "abs",
    "relax.nn.relu": "relu",
    "relax.nn.gelu": "gelu",
    "relax.nn.silu": "silu",
}
BINARY = {
    "relax.add": "add",
    "relax.subtract": "subtract",
    "relax.multiply": "multiply",
    "relax.divide": "divide",
    "relax.maximum": "maximum",
    "relax.minimum": "minimum",
}

# What ONNX operators become that can be compiled, for naming the others before TVM sees them.
_ONNX_OPERATORS = (
    "Abs Add Cast Concat Constant Div Dropout Erf Exp Expand Flatten Gather Gelu Gemm Identity LayerNormalization "
    "MatMul Max Min Mul Neg Relu Reshape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Where"
)
SUPPORTED_ONNX = frozenset(_ONNX_OPERATORS.split())
UNMASKED = "an attention is not masked by length: padding would take part in it"


def lift(simplified: Simplified, rows: bool = False) -> Graph:
    """Import into Relax and lift. rows: an encoder that gives a row for each token, not one for all of them.

    Raises CompileError naming what cannot be compiled.
    """
    unsupported = [n for n in simplified.model.graph.node if n.op_type not in SUPPORTED_ONNX]
    if unsupported:
        names = "; ".join(node_title(n) for n in unsupported[:3])
        raise CompileError(f"unsupported ONNX operator: {names} (supported: {', '.join(sorted(SUPPORTED_ONNX))})")
    module = naming(simplified.model, to_relax)
    return _Lifter(simplified).run(module["main"], rows)


class _Lifter:
    """Walks the bindings of one Relax function."""

    def __init__(self, simplified: Simplified) -> None:
        self.simplified = simplified
        self.nodes: list[Node] = []
        self.names = 0
        self.prefix = -1
        self.source: Value | None = None
        self.picked: set[int] = set()
        self.pooled: set[Value] = set()  # values of one row, a mean over all rows
        self.unmasked = False
        self.env: dict[Any, Abstract] = {}

    # -- the walk
    def run(self, function: Any, rows: bool) -> Graph:
        tokens = np.arange(self.simplified.capacity * self.simplified.hidden, dtype=np.int64)
        shape = (1, self.simplified.capacity, self.simplified.hidden)
        raw = Value(self.simplified.hidden, "tokens")
        inputs = (View(raw, tokens.reshape(shape)), *self.simplified.masks)
        self.env.update(zip(function.params, inputs, strict=True))
        self.raw = raw
        for variable, value, done in _live_bindings(function):
            self.env[variable] = self.expression(value)
            for read in done:  # a view is as large as what it shows
                self.env.pop(read, None)
        result = self.expression(function.body.body)
        if not isinstance(result, View):
            raise CompileError("the encoder's output does not depend on its tokens")
        if rows:
            return self.of_rows(result)
        output = self.rows_of(result, "the output", single=True)
        if output in self.pooled:
            return self.stateful(Graph(self.nodes, output, 0, self.simplified.capacity, self.prefix, self.names))
        if any(isinstance(n, Attention) and n.causal for n in self.nodes):
            raise CompileError("causal attention needs a mean over the rows present at the encoder's end")
        if len(self.picked) != 1:
            raise CompileError(
                "the encoder must end in one fixed row, such as CLS, or in a mean over the rows present after "
                "causal attention"
            )
        if self.unmasked:
            raise CompileError(UNMASKED)
        row = next(iter(self.picked))
        return Graph(self.nodes, output, row, self.simplified.capacity, self.prefix, self.names)

    def of_rows(self, result: View) -> Graph:
        output = self.rows_of(result, "the output")
        if self.picked or any(isinstance(n, Attention) and n.causal for n in self.nodes):
            raise CompileError("an encoder with a row for each token attends to all that are present, and picks none")
        if self.unmasked:
            raise CompileError(UNMASKED)
        return Graph(self.nodes, output, ALL, self.simplified.capacity, self.prefix, self.names)

    def stateful(self, graph: Graph) -> Graph:
        if self.picked or not graph.stateful:
            raise CompileError("a mean over the rows present needs causal attention, no rows in front and no CLS")
        return graph

    def expression(self, e: Any) -> Abstract:
        from tvm import relax

        if e in self.env:
            return self.env[e]
        if isinstance(e, relax.Call):
            return self.call(e.op.name, e)
        if isinstance(e, relax.Tuple):
            return tuple(self.expression(f) for f in e.fields)
        if isinstance(e, relax.TupleGetItem):
            return self.expression(e.tuple_value)[e.index]
        if isinstance(e, relax.ShapeExpr):
            return tuple(int(v) for v in e.values)
        value: Any = getattr(e, "value", None)
        if hasattr(value, "numpy"):
            return np.asarray(value.numpy())
        if value is not None:
            return np.asarray(value)
        raise CompileError(f"unsupported expression in the imported encoder: {type(e).__name__}")

    def call(self, op: str, call: Any) -> Abstract:
        args = [self.expression(a) for a in call.args]
        if op == "relax.shape_of" and isinstance(args[0], View):
            return args[0].index.shape
        if op in CONSTANT and not any(isinstance(a, View | Scores | Mask) for a in args):
            return CONSTANT[op](args, call.attrs)
        if op in LAYOUT and isinstance(args[0], View):
            return replace(args[0], index=LAYOUT[op](args[0].index, args[1:], call.attrs))
        if op in ("relax.split", "relax.strided_slice", "relax.take") and isinstance(args[0], View):
            return self.part(op, args, call)
        if op in LAYOUT and isinstance(args[0], Scores):
            return self.reshape_scores(op, args, call)
        handler: dict[str, Callable[[list[Abstract], Any], Abstract | None]] = {
            "relax.concat": self.concat,
            "relax.matmul": self.matmul,
            "relax.nn.layer_norm": self.layer_norm,
            "relax.nn.softmax": self.softmax,
            "relax.where": self.where,
            "relax.astype": lambda a, c: a[0] if isinstance(a[0], View | Mask) else None,
        }
        result: Abstract | None = None
        if op in handler:
            result = handler[op](args, call)
        elif op in BINARY:
            result = self.binary(BINARY[op], args, call)
        elif op in UNARY and isinstance(args[0], View):
            value = self.rows_of(args[0], op)
            result = self.result(Map(self.new(value.width, UNARY[op]), UNARY[op], (value,)), args[0])
        if result is None:
            raise CompileError(f"unsupported use of {op} in the encoder ({self.suspects(op, call)})")
        return result

    def suspects(self, op: str, call: Any) -> str:
        """The ONNX nodes that a Relax call may have come from."""
        word = op.rsplit(".", 1)[-1].replace("_", "").replace("permutedims", "transpose").replace("take", "gather")
        word = {"multiply": "mul", "divide": "div", "subtract": "sub", "stridedslice": "slice"}.get(word, word)
        nodes = [n for n in self.simplified.model.graph.node if n.op_type.lower().startswith(word[:7])]
        shape = getattr(getattr(call, "ty", None), "shape", "unknown shape")
        titles = ", ".join(node_title(n) for n in nodes[:4]) or "no ONNX node of that name"
        return f"shape {shape}; one of: {titles}"

    # -- values
    def new(self, width: int, name: str) -> Value:
        self.names += 1
        return Value(width, f"{name}{self.names}")

    @property
    def row_count(self) -> int:
        return self.simplified.capacity + max(self.prefix, 0)

    def start(self, prefix: Array) -> Value:
        """Fix what stands in front of the tokens: from here on the rows are known."""
        self.prefix = prefix.shape[0]
        self.source = self.new(self.simplified.hidden, "x")
        self.nodes.append(Source(self.source, prefix))
        return self.source

    def rows_of(self, view: View, what: str, single: bool = False) -> Value:
        """The value that a view shows row by row, with its columns in the view's order."""
        if view.value is self.raw:
            if self.prefix > 0:
                raise CompileError(f"{what} reads the tokens without the rows that were put in front of them")
            source = self.source or self.start(np.zeros((0, self.simplified.hidden), np.float32))
            view = replace(view, value=source)
        if view.value in self.pooled:
            value = self.scaled(self.select(view.value, view.index.reshape(-1) % view.value.width), view.factor)
            self.pooled.add(value)
            return value
        row, columns = self.split_index(view, what)
        if row is not None:
            self.picked.add(row)
            if len(self.picked) > 1:
                raise CompileError(f"{what} reads rows {sorted(self.picked)}: only one fixed row can be read")
        elif single:
            raise CompileError(f"{what} has a row per token: expected one row")
        return self.scaled(self.select(view.value, columns), view.factor)

    def split_index(self, view: View, what: str) -> tuple[int | None, Index]:
        """The fixed row (None: all rows in order, or all tokens') and the columns of a view of shape [..., width]."""
        width = view.value.width
        index = view.index
        flat = index.reshape(-1, index.shape[-1])
        count = flat.shape[0]
        first = flat[0]
        if count == 1 and self.row_count != 1 and len(set((first // width).tolist())) == 1:
            row = int(first[0] // width)
            if row >= self.prefix:
                raise CompileError(f"{what} reads row {row}, a token that may be absent")
            return row, first % width
        rows = np.arange(self.prefix if self.of_tokens(index) else 0, self.row_count)
        if count != len(rows) or not np.array_equal(flat, first % width + width * rows[:, None]):
            raise CompileError(f"{what} mixes tokens in a way that is not supported (shape {index.shape})")
        return None, first % width

    def of_tokens(self, index: Index) -> bool:
        """Whether a tensor [..., width] has a row for each token and none for what stands in front of them."""
        return self.prefix > 0 and index[..., 0].size == self.simplified.capacity

    def select(self, value: Value, columns: Index) -> Value:
        if np.array_equal(columns, np.arange(value.width)):
            return value
        part = self.new(len(columns), "columns")
        self.nodes.append(Columns(part, value, columns))
        return part

    def scaled(self, value: Value, factor: float) -> Value:
        if factor == 1.0:
            return value
        out = self.new(value.width, "scaled")
        self.nodes.append(Map(out, "multiply", (value, np.array(factor, np.float32))))
        return out

    def result(self, node: Node, like: View, width: int | None = None) -> View:
        """The view of a new node's value in the shape of `like`, its last axis replaced."""
        self.nodes.append(node)
        width = node.out.width if width is None else width
        shape = (*like.index.shape[:-1], width)
        index = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
        if any(i in self.pooled for i in node.inputs):
            self.pooled.add(node.out)
        elif len(like.index.reshape(-1, like.index.shape[-1])) == 1 and self.row_count != 1:
            index = index + next(iter(self.picked)) * width
        elif self.of_tokens(like.index):
            index = index + self.prefix * width
        return View(node.out, index)

    # -- operators
    def part(self, op: str, args: list[Abstract], call: Any) -> Abstract:
        view = args[0]
        index = view.index
        if op == "relax.take":
            axis = 0 if call.attrs.axis is None else int(call.attrs.axis)
            return replace(view, index=np.take(index, args[1], axis=axis))
        if op == "relax.split":
            sections = call.attrs.indices_or_sections
            at = [int(s) for s in sections] if hasattr(sections, "__len__") else int(sections)
            return tuple(replace(view, index=p) for p in np.split(index, at, axis=int(call.attrs.axis)))
        axes, begin, end = args[1], args[2], args[3]
        steps = args[4] if len(args) > 4 else (1,) * len(axes)
        cut = [slice(None)] * index.ndim
        for axis, b, e, s in zip(axes, begin, end, steps, strict=True):
            cut[int(axis)] = slice(int(b), int(e), int(s))
        return replace(view, index=index[tuple(cut)])

    def concat(self, args: list[Abstract], call: Any) -> Abstract | None:
        parts = args[0]
        shape = (1, self.simplified.capacity, self.simplified.hidden)
        fits = (
            len(parts) == 2
            and isinstance(parts[0], np.ndarray)
            and isinstance(parts[1], View)
            and parts[1].value is self.raw
            and parts[1].index.shape == shape
            and int(call.attrs.axis) % 3 == 1
        )
        if not fits or self.source is not None:
            return None
        value = self.start(parts[0].reshape(-1, self.simplified.hidden).astype(np.float32))
        index = np.arange(self.row_count * value.width, dtype=np.int64)
        return View(value, index.reshape(1, self.row_count, value.width))

    def layer_norm(self, args: list[Abstract], call: Any) -> Abstract | None:
        x, scale, shift = args
        axes = [int(a) for a in call.attrs.axes]
        if not isinstance(x, View) or axes not in ([-1], [x.index.ndim - 1]):
            return None
        value = self.rows_of(x, "LayerNormalization")
        node = Norm(self.new(value.width, "norm"), value, float(call.attrs.epsilon), scale, shift)
        return self.result(node, x)

    def matmul(self, args: list[Abstract], call: Any) -> Abstract | None:
        a, b = args
        if isinstance(a, Mask) and a.shares and isinstance(b, View) and b.index.shape[-2] == self.row_count:
            value = self.rows_of(b, "MatMul")
            mean = Mean(self.new(value.width, "mean"), value)
            self.nodes.append(mean)
            self.pooled.add(mean.out)
            return View(mean.out, np.arange(value.width, dtype=np.int64).reshape(*a.shape[:-1], value.width))
        if isinstance(a, View) and isinstance(b, np.ndarray) and b.ndim == 2:
            value = self.rows_of(a, "MatMul")
            node = Linear(self.new(b.shape[1], "linear"), value, b.astype(np.float32))
            return self.result(node, a)
        if isinstance(a, View) and isinstance(b, View):
            q, k = a.index, b.index
            if q.ndim == k.ndim >= 3 and q.shape[:-2] == k.shape[:-2]:
                shape = (*q.shape[:-1], k.shape[-1])
                return Scores(replace(a, factor=1.0), replace(b, factor=1.0), shape, a.factor * b.factor)
        if isinstance(a, Scores) and a.done and isinstance(b, View):
            return self.attention(a, b)
        return None

    def attention(self, scores: Scores, v: View) -> View | None:
        rows = self.row_count
        depth = scores.q.index.shape[-1]
        value_depth = v.index.shape[-1]
        heads = math.prod(scores.shape[:-2])
        if scores.shape[-2:] != (rows, rows) or v.index.shape[-2] != rows:
            return None
        if math.prod(v.index.shape[:-2]) != heads:
            return None
        q = self.heads_of(scores.q.value, scores.q.index.reshape(heads, rows, depth))
        k = self.heads_of(scores.k.value, scores.k.index.reshape(heads, depth, rows).transpose(0, 2, 1))
        mixed = self.heads_of(v.value, v.index.reshape(heads, rows, value_depth))
        q = self.scaled(q, scores.factor * LOG2_E)
        self.unmasked |= not scores.masked
        out = self.new(heads * value_depth, "attention")
        v_value = self.scaled(mixed, v.factor)
        self.nodes.append(Attention(out, q, k, v_value, heads, depth, value_depth, causal=scores.causal))
        index = np.arange(rows * out.width, dtype=np.int64).reshape(rows, heads, value_depth)
        return View(out, index.transpose(1, 0, 2).reshape(*scores.shape[:-2], rows, value_depth))

    def heads_of(self, value: Value, index: Index) -> Value:
        """The columns of one operand, head after head; index [heads, rows, depth]."""
        flat = index.transpose(1, 0, 2).reshape(index.shape[1], -1)
        return self.rows_of(View(value, flat), "attention")

    def softmax(self, args: list[Abstract], call: Any) -> Abstract | None:
        scores = args[0]
        if not isinstance(scores, Scores) or int(call.attrs.axis) not in (-1, len(scores.shape) - 1):
            return None
        return replace(scores, done=True)

    def reshape_scores(self, op: str, args: list[Abstract], call: Any) -> Abstract | None:
        index = np.arange(math.prod(args[0].shape), dtype=np.int64).reshape(args[0].shape)
        moved = LAYOUT[op](index, args[1:], call.attrs)
        if moved.shape[-2:] != index.shape[-2:] or not np.array_equal(moved.ravel(), index.ravel()):
            raise CompileError(f"unsupported use of {op} on attention scores ({self.suspects(op, call)})")
        return replace(args[0], shape=moved.shape)

    def where(self, args: list[Abstract], call: Any) -> Abstract | None:
        condition, yes, no = args
        if not isinstance(condition, Mask) or not isinstance(condition.present, bool):
            return None
        kept, other = (yes, no) if condition.present else (no, yes)
        if not isinstance(kept, Scores) or kept.done or not masks_out(other):
            return None
        return replace(kept, masked=True) if mask_fits(condition, kept, self.row_count) else None

    def binary(self, op: str, args: list[Abstract], call: Any) -> Abstract | None:
        a, b = args
        if isinstance(b, Scores | View) and not isinstance(a, Scores | View) and op in ("add", "multiply"):
            a, b = b, a
        if isinstance(a, Scores):
            return self.binary_scores(op, a, b)
        if isinstance(a, View) and isinstance(b, np.ndarray) and b.size == 1 and op in ("multiply", "divide"):
            factor = float(b.reshape(()))
            return replace(a, factor=a.factor * (factor if op == "multiply" else 1 / factor))
        like = a if isinstance(a, View) else b
        if not isinstance(like, View):
            return None
        operands = [self.operand(o, like, op) for o in (a, b)]
        return self.result(Map(self.new(like.index.shape[-1], op), op, tuple(operands)), like)

    def operand(self, o: Abstract, like: View, op: str) -> Value | Array:
        width = like.index.shape[-1]
        if isinstance(o, View):
            if o.index.shape[-1] != width or math.prod(o.index.shape) != math.prod(like.index.shape):
                raise CompileError(f"{op} broadcasts one tensor of tokens over another, which is not supported")
            return self.rows_of(o, op)
        constant = np.asarray(o, np.float32)
        if constant.size == 1:
            return constant.reshape(())
        if constant.size == width and constant.shape[-1] == width:
            return constant.reshape(width)
        raise CompileError(f"{op} adds a constant of the shape {constant.shape} to rows of {width}: not supported")

    def binary_scores(self, op: str, scores: Scores, other: Abstract) -> Scores | None:
        if scores.done:
            return None
        if isinstance(other, Mask) and op == "add" and adds_nothing(other) and mask_fits(other, scores, self.row_count):
            return replace(scores, masked=True)
        if isinstance(other, np.ndarray) and op == "add" and is_causal(other, scores, self.row_count):
            return replace(scores, masked=True, causal=True)
        if isinstance(other, np.ndarray) and other.size == 1 and not scores.masked:
            factor = float(other.reshape(()))
            if op == "multiply":
                return replace(scores, factor=scores.factor * factor)
            if op == "divide":
                return replace(scores, factor=scores.factor / factor)
        return None


def _live_bindings(function: Any) -> list[tuple[Any, Any, list[Any]]]:
    """The bindings that the result depends on; importers leave shape arithmetic behind that is not read. With
    each, what is read by none after it."""
    bindings = [(b.var, b.value) for block in function.body.blocks for b in block.bindings]
    needed = {function.body.body}
    live = []
    for variable, value in reversed(bindings):
        if variable in needed:
            done = [leaf for leaf in _leaves(value) if leaf not in needed]
            needed.update(done)
            live.append((variable, value, done))
    return live[::-1]


def _leaves(value: Any) -> list[Any]:
    for parts in ("args", "fields"):
        if hasattr(value, parts):
            return [leaf for part in getattr(value, parts) for leaf in _leaves(part)]
    return _leaves(value.tuple_value) if hasattr(value, "tuple_value") else [value]
