"""From an ONNX model as it comes to one that TVM imports and C can say: constants folded, what does nothing taken out,
and every node checked. What cannot be compiled is named here, with what could stand in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CompileError
from ..graph.onnx_model import fold, forget_sizes, node_title, raised, static_shapes, unsupported, written_out
from .model import C_TYPES, Graph, attribute
from .operators import REPLACEMENTS, SUPPORTED, WRITTEN_OUT
from .rewrite import rewritten

LENGTH = "length"
EVAL = "a model exported for inference, after model.eval()"
OPTIONAL_OUTPUTS = frozenset(("BatchNormalization", "Dropout", "LayerNormalization", "MaxPool"))


@dataclass(frozen=True)
class Input:
    """The float input, and whether there is a `length` beside it."""

    name: str
    shape: tuple[int, ...]
    counted: bool


def read_input(model: Any) -> Input:
    """The inputs of a model; an open batch size becomes 1. Raises CompileError for others than one tensor of floats
    and an int32 `length`, for open sizes, and where there is not one output."""
    import onnx

    initial = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initial]
    floats = [i for i in inputs if i.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    rest = [i for i in inputs if i not in floats]
    if len(floats) != 1 or any(i.name != LENGTH for i in rest):
        names = ", ".join(f"{i.name} ({_kind(i.type)})" for i in inputs) or "none"
        raise CompileError(
            f"the inputs are {names}: expected one float32 tensor, and an int32 'length' at most; make the others "
            "constants, and begin with Cast where whole numbers are wanted"
        )
    if any(_kind(i.type) != "int32" for i in rest):
        raise CompileError(f"the input 'length' is {_kind(rest[0].type)}: expected int32")
    outputs = [o.name for o in model.graph.output]
    if len(outputs) != 1:
        raise CompileError(f"the graph has {len(outputs)} outputs ({', '.join(outputs)}): expected one")
    tensor = floats[0].type.tensor_type
    if not tensor.HasField("shape"):
        raise CompileError(f"the input {floats[0].name!r} has no shape: export it with fixed sizes")
    for position, dimension in enumerate(tensor.shape.dim):
        if dimension.HasField("dim_value") and dimension.dim_value < 1:
            raise CompileError(
                f"the input {floats[0].name!r} has the size {dimension.dim_value} at axis {position}: "
                "export it with sizes of 1 and more"
            )
        if not dimension.HasField("dim_value"):
            if position:
                raise CompileError(
                    f"the input {floats[0].name!r} has an open size {dimension.dim_param or '?'!r} at axis {position}: "
                    "export it with fixed sizes"
                )
            dimension.dim_value = 1
    return Input(floats[0].name, tuple(d.dim_value for d in tensor.shape.dim), bool(rest))


def _kind(type_: Any) -> str:
    return _name(type_.tensor_type.elem_type) if type_.HasField("tensor_type") else str(type_.WhichOneof("value"))


def _name(elem_type: int) -> str:
    """An element type as NumPy writes it."""
    import onnx

    name = str(onnx.TensorProto.DataType.Name(elem_type)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def prepare(model: Any) -> Any:
    """A copy, for TVM, of a model that `read_input` has read. Raises CompileError naming a node."""
    model = raised(model)
    whole = written_out(model, WRITTEN_OUT)
    try:
        return _prepared(whole)
    except CompileError:
        if whole is model:
            raise
    return _prepared(model)  # which names the operator, not one of those that it is defined by


def _prepared(model: Any) -> Any:
    graph = _simplified(model)
    _check_operators(graph)
    for node in graph.nodes:
        _check(node, graph)
    _check_output(graph)
    return _rebuilt(graph, [step for node in graph.nodes for step in rewritten(node, graph)])


# -- simplifying


def _simplified(model: Any) -> Graph:
    """Constants folded, identities taken out, and only what the output needs."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    initial = {i.name for i in copy.graph.initializer}
    given = [i for i in copy.graph.input if i.name not in initial]
    del copy.graph.input[:]
    copy.graph.input.extend(given)
    forget_sizes(copy)  # an exporter may have written them for another batch size
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in copy.graph.initializer}
    while True:
        inferred = _inferred(copy)
        graph = Graph(inferred, [], constants, static_shapes(inferred), _types(inferred))
        before = len(inferred.graph.node)
        _without_dropout(graph)
        _with_casts(graph)
        graph.nodes = _live(_without_identities(fold(inferred, constants), graph.outputs), graph.outputs)
        if len(graph.nodes) == before:
            return graph
        del copy.graph.node[:]
        copy.graph.node.extend(graph.nodes)
        used = {i for n in graph.nodes for i in n.input} | set(graph.outputs)
        del copy.graph.initializer[:]
        copy.graph.initializer.extend(_tensor(v, n) for n, v in constants.items() if n in used)


def _inferred(model: Any) -> Any:
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # onnx raises many kinds
        text = str(error).strip().splitlines()
        raise CompileError(f"the sizes in the model do not fit ({text[0] if text else ''})") from None


def _types(model: Any) -> dict[str, str]:
    return {i.name: _kind(i.type) for i in (*model.graph.input, *model.graph.value_info, *model.graph.output)}


def _without_dropout(graph: Graph) -> None:
    """Dropout of inference is Identity, and its mask all ones."""
    for node in graph.model.graph.node:
        training = graph.constants.get(node.input[2], True) if len(node.input) > 2 and node.input[2] else False
        if node.op_type != "Dropout" or node.domain not in ("", "ai.onnx") or bool(np.any(training)):
            continue
        mask = node.output[1] if len(node.output) > 1 else ""
        if mask and node.output[0] in graph.shapes:
            graph.constants[mask] = np.ones(graph.shapes[node.output[0]], bool)
        elif mask:
            continue
        node.op_type = "Identity"
        del node.input[1:], node.output[1:], node.attribute[:]


def _with_casts(graph: Graph) -> None:
    """CastLike is Cast, or nothing where the types are one."""
    for node in graph.model.graph.node:
        if node.op_type != "CastLike" or node.domain not in ("", "ai.onnx"):
            continue
        kinds = [str(graph.constants[i].dtype) if i in graph.constants else graph.types.get(i) for i in node.input]
        if kinds[0] == kinds[1]:
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]


def _without_identities(nodes: Iterable[Any], outputs: list[str]) -> list[Any]:
    names: dict[str, str] = {}
    kept = []
    for node in nodes:
        node.input[:] = [names.get(i, i) for i in node.input]
        if node.op_type == "Identity" and node.output[0] not in outputs:
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    return kept


def _live(nodes: list[Any], outputs: list[str]) -> list[Any]:
    """The nodes that the output needs, without such outputs as nothing reads and that may be absent."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        if not needed & set(node.output):
            continue
        while node.op_type in OPTIONAL_OUTPUTS and node.output[-1] not in needed:
            del node.output[-1]
        needed.update(node.input)
        kept.append(node)
    return kept[::-1]


def _rebuilt(graph: Graph, nodes: list[Any]) -> Any:
    import onnx

    used = {i for n in nodes for i in n.input} | set(graph.outputs)
    copy = onnx.ModelProto()
    copy.CopyFrom(graph.model)
    for part, content in (
        (copy.graph.node, nodes),
        (copy.graph.initializer, [_tensor(v, n) for n, v in graph.constants.items() if n in used]),
        (copy.graph.value_info, []),
    ):
        del part[:]
        part.extend(content)
    return copy


def _tensor(array: Any, name: str) -> Any:
    import onnx

    return onnx.numpy_helper.from_array(np.asarray(array), name)


# -- checking


def _check_operators(graph: Graph) -> None:
    found = [n for n in graph.nodes if n.op_type not in SUPPORTED or n.domain not in ("", "ai.onnx")]
    if not found:
        return
    parts = []
    for node in found[:3]:
        instead = REPLACEMENTS.get(node.op_type)
        parts.append(node_title(node) + (f" (instead: {instead})" if instead else ""))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    raise CompileError(
        f"unsupported ONNX operator: {'; '.join(parts)}{more} (supported: {', '.join(sorted(SUPPORTED))})"
    )


def _check(node: Any, graph: Graph) -> None:
    """What is particular to the operator, then types and sizes."""
    if node.op_type in _CHECKS:
        _CHECKS[node.op_type](node, graph)
    for name in filter(None, node.output):
        kind, shape = graph.types.get(name, "no known type"), graph.shapes.get(name)
        if kind not in C_TYPES:
            raise unsupported(node, f", which gives {kind}", "float32 throughout, or whole numbers of 8 to 64 bits")
        if shape is None:
            raise unsupported(
                node, ", whose sizes depend on what the input holds", "constants for sizes, or Where with a mask"
            )
        if 0 in shape:
            raise unsupported(node, f", whose result {shape} has no elements", "the graph without it")


def _check_batch_norm(node: Any, graph: Graph) -> None:
    if attribute(node, "training_mode", 0) or len(node.output) > 1:
        raise unsupported(node, " in training mode", EVAL)
    if not attribute(node, "spatial", 1):
        raise unsupported(node, " with spatial = 0", "Mul and Add")


def _check_dropout(node: Any, graph: Graph) -> None:
    raise unsupported(node, " in training mode", EVAL)  # of inference it was taken out


def _check_max_pool(node: Any, graph: Graph) -> None:
    if len(node.output) > 1:
        raise unsupported(node, ", whose Indices are used", "its maxima alone")


def _check_layer_norm(node: Any, graph: Graph) -> None:
    if len(node.output) > 1:
        raise unsupported(node, ", whose Mean or InvStdDev is used", "ReduceMean, Sub, Mul, Sqrt and Div for these")


def _check_extremes(node: Any, graph: Graph) -> None:
    if graph.types.get(node.input[0]) == "bool":
        raise unsupported(node, " of bool", "Cast to float32 in front of it")


def _check_gather(node: Any, graph: Graph) -> None:
    """An index that is a constant must be one; one that is computed is held inside the axis where it is used."""
    indices = graph.constants.get(node.input[1])
    data = node.input[0]
    shape = graph.constants[data].shape if data in graph.constants else graph.shapes.get(data)
    if indices is None or shape is None:
        return
    size = shape[attribute(node, "axis", 0)]
    outside = indices[(indices < -size) | (indices >= size)]
    if outside.size:
        raise unsupported(node, f", which takes index {outside.flat[0]} of {size}", f"an index below {size}")


_CHECKS: dict[str, Callable[[Any, Graph], None]] = {
    "BatchNormalization": _check_batch_norm,
    "Dropout": _check_dropout,
    "Gather": _check_gather,
    "LayerNormalization": _check_layer_norm,
    "MaxPool": _check_max_pool,
    "ReduceMax": _check_extremes,
    "ReduceMin": _check_extremes,
}


def _check_output(graph: Graph) -> None:
    (name,) = graph.outputs
    kind = graph.types.get(name) if name not in graph.constants else str(graph.constants[name].dtype)
    if kind != "float32":
        raise CompileError(f"the output {name!r} is {kind}, not float32: end the graph with Cast to float32")
    if name in graph.constants and not graph.constants[name].size:
        raise CompileError(f"the output {name!r} has no elements: take another value of the graph")
