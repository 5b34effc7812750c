"""Nodes as others that TVM imports rightly and that are the same in C."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.onnx_model import unsupported
from .model import Graph, attribute

WHOLE_POWERS = range(1, 17)
POWERS = (0.5, *WHOLE_POWERS)
NARROW = ("int8", "uint8", "int16", "uint16")  # C computes in int with them, and would forget to wrap
ARITHMETIC = frozenset(("Add", "Mul", "Neg", "Sub", "Sum"))


def rewritten(node: Any, graph: Graph) -> list[Any]:
    """The nodes that stand for one: itself, mostly. Raises CompileError."""
    if node.op_type in ARITHMETIC and graph.types[node.output[0]] in NARROW:
        return _widened(node, graph)
    return _REWRITES[node.op_type](node, graph) if node.op_type in _REWRITES else [node]


def _widened(node: Any, graph: Graph) -> list[Any]:
    """Arithmetic of whole numbers of 8 or 16 bits, in 32."""
    import onnx

    steps, out = _Steps(node), node.output[0]
    wide = [steps.add("Cast", x, to=onnx.TensorProto.INT32) for x in node.input]
    y = steps.add(node.op_type, *wide)
    steps.add("Cast", y, to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(graph.types[out])))
    return steps.ending_in(out)


def _gather(node: Any, graph: Graph) -> list[Any]:
    """The axis, and indices that are constants, from the front."""
    name, shape = node.input[1], _shape(graph, node.input[0])
    axis = attribute(node, "axis", 0) % len(shape)
    _set(node, "axis", axis)
    if name in graph.constants:
        node.input[1] = f"{node.output[0]}/indices"
        indices = graph.constants[name]
        graph.constants[node.input[1]] = np.where(indices < 0, indices + shape[axis], indices).astype(indices.dtype)
    return [node]


def _with_pads(node: Any, graph: Graph) -> list[Any]:
    """Pads as numbers in the place of auto_pad."""
    auto = next((a.s.decode() for a in node.attribute if a.name == "auto_pad"), "NOTSET")
    if auto == "NOTSET":
        return [node]
    x = _shape(graph, node.input[0])
    listed = {a.name: list(a.ints) for a in node.attribute}
    kernel = listed.get("kernel_shape") or list(_shape(graph, node.input[1])[2:])
    ones = [1] * len(kernel)
    steps, dilations = listed.get("strides", ones), listed.get("dilations", ones)
    total = [
        max((-(-n // step) - 1) * step + (k - 1) * dilation + 1 - n, 0) if auto != "VALID" else 0
        for n, k, step, dilation in zip(x[2:], kernel, steps, dilations, strict=True)
    ]
    less, more = [n // 2 for n in total], [n - n // 2 for n in total]
    _set(node, "auto_pad", None)
    _set(node, "pads", more + less if auto == "SAME_LOWER" else less + more)
    return [node]


def _shape(graph: Graph, name: str) -> Any:
    return graph.constants[name].shape if name in graph.constants else graph.shapes[name]


def _set(node: Any, name: str, value: Any) -> None:
    """Give a node an attribute, in the place of one of that name; None: take it."""
    import onnx

    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept if value is None else [*kept, onnx.helper.make_attribute(name, value)])


def _power(node: Any, graph: Graph) -> list[Any]:
    """Pow of a constant exponent as products."""
    exponent = graph.constants.get(node.input[1])
    value = exponent.item() if exponent is not None and exponent.size == 1 else math.nan
    x, out = node.input[0], node.output[0]
    floats = graph.types.get(x) == "float32"
    whole = value == abs(value) or floats
    if (
        abs(value) not in POWERS
        or graph.shapes.get(x) != graph.shapes[out]
        or not whole
        or (value == 0.5 and not floats)
    ):
        raise unsupported(
            node,
            ", whose exponent is not one constant, 0.5 or a whole number up to 16",
            "Mul, or Exp where the base is a constant",
        )
    steps = _Steps(node)
    y = steps.add("Sqrt", x) if abs(value) == 0.5 else _product(steps, x, int(abs(value)))
    if value < 0:
        y = steps.add("Reciprocal", y)
    if y == x:
        y = steps.add("Identity", x)
    return steps.ending_in(out)


def _product(steps: _Steps, x: str, exponent: int) -> str:
    if exponent == 1:
        return x
    half = _product(steps, x, exponent // 2)
    square = steps.add("Mul", half, half)
    return steps.add("Mul", square, x) if exponent % 2 else square


def _cast(node: Any, graph: Graph) -> list[Any]:
    """Floats to whole numbers by way of int32 or int64, whose low bits are the narrower ones, as ONNX Runtime has it;
    what those cannot hold becomes the nearest that they can: in C it would be anything."""
    import onnx

    to = graph.types[node.output[0]]
    if graph.types.get(node.input[0]) != "float32" or to in ("float32", "bool"):
        return [node]
    steps, x, out = _Steps(node), node.input[0], node.output[0]
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to))
    by = "int32" if to in (*NARROW, "int32") else "int64"
    y = steps.add("Cast", _between(steps, graph, x, by), to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(by)))
    if to != by:
        y = steps.add("Cast", y, to=kind)
    if to == "uint64":  # its upper half is beyond int64
        zero = steps.constant(graph, np.float32(0))
        above = steps.add("Cast", _between(steps, graph, x, to), to=kind)
        steps.add("Where", steps.add("Less", x, zero), y, above)
    return steps.ending_in(out)


def _between(steps: _Steps, graph: Graph, x: str, kind: str) -> str:
    """x inside of what a whole number can hold."""
    x = steps.add("Max", x, steps.constant(graph, np.float32(np.iinfo(kind).min)))
    return steps.add("Min", x, steps.constant(graph, _at_most(np.iinfo(kind).max)))


def _at_most(value: int) -> Any:
    """The largest float that is not above a whole number."""
    nearest = np.float32(value)
    return nearest if int(nearest) <= value else np.nextafter(nearest, np.float32(0))


class _Steps:
    """Nodes in the place of one."""

    def __init__(self, node: Any) -> None:
        self.node, self.names = node, 0
        self.nodes: list[Any] = []

    def name(self) -> str:
        self.names += 1
        return f"{self.node.output[0]}/step{self.names}"

    def constant(self, graph: Graph, value: Any) -> str:
        name = self.name()
        graph.constants[name] = value
        return name

    def ending_in(self, out: str) -> list[Any]:
        """The nodes, the last of which writes `out`."""
        self.nodes[-1].output[0] = out
        return self.nodes

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        import onnx

        out = self.name()
        self.nodes.append(onnx.helper.make_node(op, inputs, [out], name=f"{self.node.name}/{op}", **attributes))
        return out


_REWRITES: dict[str, Callable[[Any, Graph], list[Any]]] = {
    "AveragePool": _with_pads,
    "Cast": _cast,
    "Conv": _with_pads,
    "Gather": _gather,
    "MaxPool": _with_pads,
    "Pow": _power,
}
