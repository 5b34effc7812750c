"""From the ONNX graph of a detector's grid part to fields.

Every tensor is an array of the numbers of its elements: which field's, and which of its. Operators that move numbers
about are carried out on these; how a node's operand lies is read from them: it does not matter how it came about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..graph.onnx_model import fold, node_title, unsupported
from .cut import STATE, Cut
from .nodes import Conv, Each, Field, GridGraph, Leaf, Node, Piece, Pool, Spread, Target, Term, View

if TYPE_CHECKING:
    import onnx

Numbers = NDArray[Any]  # field * BASE + element, or ZERO; of constants their values
BASE, ZERO = 1 << 40, -1
UNARY = {
    "Abs": "abs", "Erf": "erf", "Exp": "exp", "Neg": "negative", "Relu": "relu", "Sigmoid": "sigmoid", "Sqrt": "sqrt",
    "Tanh": "tanh",
}  # fmt: skip
BINARY = {"Add": "add", "Div": "divide", "Max": "maximum", "Min": "minimum", "Mul": "multiply", "Sub": "subtract"}


def lift(parts: Cut) -> GridGraph:
    """The fields of a cut detector. Raises CompileError naming what cannot be compiled."""
    return _Lifter(parts).run()


class _Lifter:
    def __init__(self, parts: Cut) -> None:
        self.rows, self.columns, _ = parts.shapes["hidden"]
        self.constants: dict[str, NDArray[Any]] = {}
        self.model = parts.grid
        self.fields: list[Field] = []
        self.nodes: list[Node] = []
        self.tensors: dict[str, Numbers] = {}
        self.grid = self.input(parts.pooled, "grid", parts.shapes[parts.pooled])
        self.state = [self.input(name, name, parts.shapes[name]) for name, _ in STATE]

    def input(self, name: str, title: str, shape: Sequence[int]) -> Field:
        size = int(np.prod(shape))
        if size % (self.rows * self.columns) or shape[-1] * self.rows * self.columns != size:
            raise CompileError(f"{name} has the shape {list(shape)}: expected {self.rows} x {self.columns} cells")
        field = Field(title, self.rows, self.columns, shape[-1])
        self.fields.append(field)
        self.tensors[name] = self.numbers(field).reshape(shape)
        return field

    def numbers(self, field: Field) -> Numbers:
        """All of a field's, [rows, columns, width]."""
        flat = self.fields.index(field) * BASE + np.arange(field.cells * field.width, dtype=np.int64)
        return flat.reshape(field.rows, field.columns, field.width)

    def run(self) -> GridGraph:
        import onnx

        self.constants.update({i.name: onnx.numpy_helper.to_array(i) for i in self.model.graph.initializer})
        for node in fold(self.model, self.constants):
            self.node(node)
        new = [self.whole(name) for _, name in STATE]
        head = self.tensors["head"]
        return GridGraph(
            self.grid,
            tuple(zip(self.state, new, strict=True)),
            self.nodes,
            self.targets(head),
            *map(int, head.shape),
        )

    def node(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: onnx_value(a) for a in node.attribute}
        maker: Callable[..., Any] | None = getattr(self, f"op_{node.op_type}", None)
        if node.domain not in ("", "ai.onnx"):
            maker = None
        if node.op_type in UNARY or node.op_type in BINARY:
            result: Any = self.elementwise(node)
        elif maker is not None:
            result = maker(node, [self.operand(i) for i in node.input], attributes)
        else:
            known = sorted([m[3:] for m in dir(self) if m.startswith("op_")] + list(UNARY) + list(BINARY))
            raise CompileError(
                f"unsupported ONNX operator on the grid: {node_title(node)} (supported: {', '.join(known)})"
            )
        for name, value in zip(node.output, result if isinstance(result, tuple) else (result,), strict=False):
            self.tensors[name] = value

    def operand(self, name: str) -> Any:
        """A tensor's numbers, a constant's values, None for one that is left out."""
        if not name:
            return None
        return self.tensors[name] if name in self.tensors else self.constants[name]

    # -- what moves numbers
    def op_Identity(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        return x[0]

    def op_Reshape(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        sizes = [x[0].shape[i] if n == 0 and not a.get("allowzero") else int(n) for i, n in enumerate(x[1])]
        return x[0].reshape(sizes)

    def op_Flatten(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        return x[0].reshape(int(np.prod(x[0].shape[: a.get("axis", 1)])), -1)

    def op_Squeeze(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        return np.squeeze(x[0], None if len(x) < 2 else tuple(int(v) for v in x[1]))

    def op_Unsqueeze(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        return np.expand_dims(x[0], tuple(int(v) for v in x[1]))

    def op_Transpose(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        return x[0].transpose(a.get("perm"))

    def op_Gather(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        return np.take(x[0], x[1], axis=a.get("axis", 0))

    def op_Concat(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        if any(name not in self.tensors for name in node.input):
            raise unsupported(node, ", which puts a constant beside a field", "fields alone")
        return np.concatenate(x, axis=a["axis"])

    def op_Split(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> tuple[Numbers, ...]:
        axis, parts = a.get("axis", 0), len(node.output)
        sizes = x[1] if len(x) > 1 else np.full(parts, -(-x[0].shape[axis] // parts))
        return tuple(np.split(x[0], np.cumsum(sizes)[: parts - 1], axis=axis))

    def op_Slice(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        begin, end = x[1], x[2]
        axes = range(len(begin)) if len(x) < 4 or x[3] is None else x[3]
        steps = np.ones(len(begin), np.int64) if len(x) < 5 else x[4]
        cut = [slice(None)] * x[0].ndim
        for axis, b, e, s in zip(axes, begin, end, steps, strict=True):
            cut[int(axis)] = slice(int(b), int(e), int(s))
        return x[0][tuple(cut)]

    def op_Pad(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        value = 0 if len(x) < 3 or x[2] is None else float(np.asarray(x[2]).reshape(()))
        axes = range(x[0].ndim) if len(x) < 4 or x[3] is None else [int(v) for v in x[3]]
        pads = np.zeros((x[0].ndim, 2), np.int64)
        for i, axis in enumerate(axes):
            pads[axis] = x[1][i], x[1][len(x[1]) // 2 + i]
        if a.get("mode", "constant") != "constant" or value != 0 or pads.min() < 0:
            raise unsupported(node, " of another kind than zeros around a field", "constant zeros")
        return np.pad(x[0], pads, constant_values=ZERO)

    def op_Resize(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        sizes = x[3] if len(x) > 3 and x[3] is not None else np.array(x[0].shape) * np.asarray(x[2], np.float64)
        wanted = (*x[0].shape[:2], 2 * x[0].shape[2], 2 * x[0].shape[3])
        mode = a.get("coordinate_transformation_mode", "half_pixel"), a.get("nearest_mode", "round_prefer_floor")
        exact = mode in (
            ("asymmetric", "floor"),
            ("half_pixel", "round_prefer_floor"),
            ("half_pixel", "round_prefer_ceil"),
        )
        if a.get("mode", "nearest") != "nearest" or not exact or tuple(int(n) for n in sizes) != wanted:
            raise unsupported(node, " of another kind than nearest to twice the size", "nearest, asymmetric, floor, 2x")
        return x[0].repeat(2, axis=2).repeat(2, axis=3)

    # -- what computes
    def op_MatMul(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        if node.input[1] in self.tensors or x[1].ndim != 2:
            raise unsupported(node, ", whose second operand is no constant matrix", "a constant weight")
        out = self.conv(self.view(x[0], node), x[1][None, None])
        return self.numbers(out).reshape(*x[0].shape[:-1], out.width)

    def op_Gemm(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        if a.get("transA") or node.input[1] in self.tensors or any(i in self.tensors for i in node.input[2:]):
            raise unsupported(node, ", whose operands are not a field and a constant", "a constant weight")
        weight = (x[1].T if a.get("transB") else x[1]) * np.float32(a.get("alpha", 1))
        bias = np.float32(0) if len(x) < 3 else np.broadcast_to(x[2], (weight.shape[1],)) * np.float32(a.get("beta", 1))
        out = self.conv(self.view(x[0], node), weight[None, None], bias)
        return self.numbers(out).reshape(*x[0].shape[:-1], out.width)

    def op_Conv(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        kernel, strides = x[1].shape[2:], a.get("strides", [1, 1])
        pads = a.get("pads", [0, 0, 0, 0])
        fine = len(kernel) == 2 and a.get("group", 1) == 1 and set(a.get("dilations", [1])) == {1}
        if not fine or a.get("auto_pad", "NOTSET") != "NOTSET" or len(set(strides)) != 1:
            raise unsupported(
                node, " of groups, dilations, unequal strides or auto_pad", "a plain convolution of an image"
            )
        bias = np.float32(0) if len(x) < 3 else x[2]
        height, width = ((x[0].shape[2 + i] + pads[i] + pads[2 + i] - kernel[i]) // strides[0] + 1 for i in (0, 1))
        view = self.view(x[0].transpose(0, 2, 3, 1), node)
        out = self.conv(view, x[1].transpose(2, 3, 1, 0), bias, strides[0], pads, (height, width))
        return self.numbers(out).transpose(2, 0, 1)[None]

    def op_ConvTranspose(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        plain = x[1].shape[2:] == (2, 2) and a.get("strides") == [2, 2] and a.get("group", 1) == 1
        if not plain or any(a.get("pads", [])) or any(a.get("output_padding", [])) or "output_shape" in a:
            raise unsupported(node, " other than 2x2 with stride 2", "a kernel of 2x2 with strides of 2 and no padding")
        view = self.view(x[0].transpose(0, 2, 3, 1), node)
        weight = np.ascontiguousarray(x[1].transpose(2, 3, 0, 1), np.float32)
        bias = np.zeros(weight.shape[-1], np.float32) if len(x) < 3 else x[2]
        out = self.new("spread", 2 * view.rows, 2 * view.columns, weight.shape[-1])
        self.nodes.append(Spread(out, view, weight, bias))
        return self.numbers(out).transpose(2, 0, 1)[None]

    def op_MaxPool(self, node: Any, x: list[Numbers], a: dict[str, Any]) -> Numbers:
        plain = (
            list(a["kernel_shape"]) == [2, 2] and list(a.get("strides", [])) == [2, 2] and not any(a.get("pads", []))
        )
        if not plain or len(node.output) > 1 or a.get("ceil_mode") or set(a.get("dilations", [1])) != {1}:
            raise unsupported(node, " other than 2x2 with stride 2", "a kernel of 2x2 with strides of 2 and no padding")
        view = self.view(x[0].transpose(0, 2, 3, 1), node)
        out = self.new("pool", view.rows // 2, view.columns // 2, view.width)
        self.nodes.append(Pool(out, view))
        return self.numbers(out).transpose(2, 0, 1)[None]

    def elementwise(self, node: Any) -> Numbers:
        """An operation on operands of one shape, or on one and constants."""
        given = [(name, self.operand(name)) for name in node.input]
        shape = next(array.shape for name, array in given if name in self.tensors)
        image = len(shape) == 4
        leaves: list[Leaf] = []
        for name, array in given:
            if name not in self.tensors:
                leaves.append(Leaf(_vector(array, shape, image, node)))
                continue
            if array.shape != shape:
                raise unsupported(node, ", which broadcasts one field over another", "operands of one shape")
            view = self.view(array.transpose(0, 2, 3, 1) if image else array, node)
            if not view.plain:
                raise unsupported(node, " on more than one field, or on a padded one", "the same before Concat and Pad")
            leaves.append(Leaf(view.pieces[0]))
        names = {**UNARY, **BINARY}
        out = self.new(names[node.op_type], view.rows, view.columns, view.width)
        self.nodes.append(Each(out, Term(names[node.op_type], tuple(leaves))))
        numbers = self.numbers(out)
        return numbers.transpose(2, 0, 1)[None] if image else numbers.reshape(shape)

    # -- fields
    def new(self, name: str, rows: int, columns: int, width: int) -> Field:
        field = Field(f"{name}{len(self.fields)}", rows, columns, width)
        self.fields.append(field)
        return field

    def conv(
        self,
        view: View,
        weight: NDArray[Any],
        bias: Any = 0,
        stride: int = 1,
        pads: Sequence[int] = (0, 0),
        size: tuple[int, int] | None = None,
    ) -> Field:
        rows, columns = size or (view.rows, view.columns)
        out = self.new("conv", rows, columns, weight.shape[-1])
        whole = np.broadcast_to(np.asarray(bias, np.float32), (out.width,))
        self.nodes.append(Conv(out, view, np.ascontiguousarray(weight, np.float32), whole, stride, pads[0], pads[1]))
        return out

    def view(self, numbers: Numbers, node: Any) -> View:
        """How a tensor [..., width] of cells lies in fields."""
        width = numbers.shape[-1]
        rows, columns = numbers.shape[-3:-1] if numbers.ndim == 4 else (self.rows, self.columns)
        if numbers.size != rows * columns * width:
            raise unsupported(node, f", whose operand has the shape {list(numbers.shape)}", "one image or all cells")
        cells = numbers.reshape(rows, columns, width)
        pieces: list[Piece] = []
        start = 0
        while start < width:
            piece = self.piece(cells[:, :, start:])
            if piece is None:
                raise unsupported(node, ", which reads cells in another order", "fields side by side")
            pieces.append(piece)
            start += piece.width
        return View(rows, columns, tuple(pieces))

    def piece(self, cells: Numbers) -> Piece | None:
        """The longest piece that a tensor [rows, columns, width] begins with."""
        rows, columns, most = cells.shape
        if cells[0, 0, 0] == ZERO:
            return None
        field = self.fields[int(cells[0, 0, 0]) // BASE]
        column = int(cells[0, 0, 0]) % BASE
        width = min(most, field.width - column)
        steady = cells[0, 0, :width] == cells[0, 0, 0] + np.arange(width)
        width = width if steady.all() else int(np.argmin(steady))
        for up in (1, 2):
            source = self.numbers(field)[:, :, column : column + width].repeat(up, axis=0).repeat(up, axis=1)
            wanted = np.full((rows, columns, width), ZERO, np.int64)
            part = source[:rows, :columns]
            wanted[: part.shape[0], : part.shape[1]] = part
            if np.array_equal(cells[:, :, :width], wanted):
                return Piece(field, column, width, up)
        return None

    def whole(self, name: str) -> Field:
        """The field that a state's new value is."""
        numbers = self.tensors[name]
        field = self.fields[int(numbers.reshape(-1)[0]) // BASE]
        if not np.array_equal(numbers.reshape(-1), self.numbers(field).reshape(-1)):
            raise CompileError(f"the output {name} is not one result, in the order of its cells")
        return field

    def targets(self, head: Numbers) -> tuple[Target, ...]:
        """Where the fields lie that the output is made of."""
        if head.ndim != 2 or head.min() < 0:
            raise CompileError(f"the output head has the shape {list(head.shape)}, or holds constants")
        found = []
        for number in np.unique(head // BASE):
            field = self.fields[int(number)]
            row, column = (int(v[0]) for v in np.nonzero(head // BASE == number))
            part = head[row : row + field.cells, column : column + field.width]
            if not np.array_equal(part.reshape(-1), self.numbers(field).reshape(-1)):
                raise CompileError("the output head is not made of whole results, cell by cell")
            found.append(Target(field, row, column))
        return tuple(found)


def onnx_value(attribute: Any) -> Any:
    """An attribute as Python has it."""
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _vector(array: NDArray[Any], shape: Sequence[int], image: bool, node: Any) -> NDArray[np.float32]:
    """A constant operand as one number, or one for each feature."""
    if array.size == 1:
        return np.asarray(array, np.float32).reshape(())
    width = shape[1] if image else shape[-1]
    lies = (1,) * (4 - array.ndim) + array.shape == (1, width, 1, 1) if image else array.shape[-1] == width
    if array.size != width or not lies:
        raise unsupported(node, f", which has a constant of the shape {list(array.shape)}", "a number for each feature")
    return np.asarray(array, np.float32).reshape(width)
