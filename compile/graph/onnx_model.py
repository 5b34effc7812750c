"""ONNX models as they come: reading one, naming its nodes, evaluating what is constant."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CompileError

OLDEST_OPSET = 7  # before it, Add and its like had attributes for broadcasting

RAISED = 13  # to this operator set older ones are raised: TVM's importer reads some of them wrongly
COUNTED_FROM_END = 11  # the first operator set in which all axes may be negative

# What gives another answer each time is no constant, whatever its inputs.
_RANDOM = frozenset(
    ["Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
)


def load_model(path: Path) -> Any:
    """An ONNX model that the checker has nothing against, its local functions inlined. Raises CompileError."""
    import onnx
    import onnx.inliner

    if not path.is_file():
        raise CompileError(f"{path} does not exist: give an ONNX file or a bundle's directory")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # onnx raises many kinds
        text = str(error).strip().splitlines()
        raise CompileError(f"{path} is not a valid ONNX model ({text[0] if text else type(error).__name__})") from None
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise CompileError(
            f"{path} is of operator set {opset}: export it with {OLDEST_OPSET} or later, or raise it by "
            "onnx.version_converter.convert_version"
        )
    return model


def opset_of(model: Any) -> int:
    """The version of ONNX's own operators."""
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), OLDEST_OPSET)


def raised(model: Any) -> Any:
    """The model in operator set RAISED, or as it is if that is newer. Raises CompileError."""
    import onnx

    opset = opset_of(model)
    if opset >= RAISED:
        return model
    try:
        return onnx.version_converter.convert_version(_with_axes_from_front(model), RAISED)
    except Exception as error:  # onnx raises many kinds
        text = str(error).strip().splitlines()
        raise CompileError(
            f"the model's operator set, {opset}, cannot be raised to {RAISED} ({text[0] if text else ''}): export it "
            f"with {RAISED} or later"
        ) from None


def _with_axes_from_front(model: Any) -> Any:
    """Axes counted from the end are counted from the front in operator sets that do not know the former, though
    exporters write them there."""
    import onnx

    found = opset_of(model) < COUNTED_FROM_END
    while found:  # one node at a time: sizes behind it are only known once its axes are right
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        forget_sizes(copy)
        model = onnx.shape_inference.infer_shapes(copy)
        shapes = static_shapes(model)
        ranks = {name: len(shape) for name, shape in shapes.items()}
        found = any(_count_axes(n, ranks[n.input[0]]) for n in model.graph.node if n.input and n.input[0] in ranks)
    return model


def _count_axes(node: Any, rank: int) -> bool:
    """Count a node's axes from the front. Returns whether there were others."""
    found = False
    for a in node.attribute:
        if a.name == "axes" and any(axis < 0 for axis in a.ints):
            whole = rank + (len(a.ints) if node.op_type == "Unsqueeze" else 0)
            a.ints[:], found = [axis % whole for axis in a.ints], True
        elif a.name == "axis" and a.i < 0:
            a.i, found = a.i % rank, True
    return found


def forget_sizes(model: Any) -> None:
    """Drop what a model says of the sizes of its values."""
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")


def written_out(model: Any, operators: Collection[str]) -> Any:
    """The model with some operators written out as ONNX defines them by others; those that cannot be stay."""
    import onnx
    import onnx.inliner

    found = {(n.domain, n.op_type) for n in model.graph.node if n.op_type in operators and n.domain in ("", "ai.onnx")}
    if not found:
        return model
    try:
        typed = onnx.shape_inference.infer_shapes(model)
        known = {i.name for i in (*typed.graph.input, *typed.graph.value_info)}
        typed.graph.value_info.extend(  # constants have types, too: the inliner asks for them
            onnx.helper.make_tensor_value_info(i.name, i.data_type, i.dims)
            for i in typed.graph.initializer
            if i.name not in known
        )
        return onnx.inliner.inline_selected_functions(typed, sorted(found), inline_schema_functions=True)
    except Exception:  # whatever it raises, or an onnx that does not know how: they are named as unsupported
        return model


def node_title(node: Any) -> str:
    """How a node is named in a message: its operator, and its name or that of its output."""
    domain = "" if node.domain in ("", "ai.onnx") else f" of the domain {node.domain!r}"
    return f"{node.op_type} node {node.name or next(iter(node.output), '')!r}{domain}"


def unsupported(node: Any, why: str, instead: str) -> CompileError:
    """The error for a node that cannot be compiled: why, and what could stand in its place."""
    return CompileError(f"unsupported ONNX operator: {node_title(node)}{why} (instead: {instead})")


def evaluate(model: Any, nodes: list[Any], feeds: dict[str, Any], outputs: list[str]) -> list[Any]:
    """Outputs of some nodes of a model, by ONNX's reference implementation."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    empty = onnx.TensorProto.UNDEFINED
    graph = onnx.helper.make_graph(
        nodes,
        "part",
        [onnx.helper.make_tensor_value_info(n, empty, None) for n in feeds],
        [onnx.helper.make_tensor_value_info(n, empty, None) for n in outputs],
    )
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return list(ReferenceEvaluator(part).run(None, feeds))


def fold(model: Any, constants: dict[str, Any]) -> list[Any]:
    """The nodes that are left when those are evaluated whose inputs are constant (or whose input's shape is all they
    ask for). constants: arrays by name, which grow. What cannot be evaluated stays."""
    shapes = static_shapes(model)
    left = []
    for node in model.graph.node:
        used = [i for i in node.input if i]
        if node.op_type == "Shape" and used[0] in shapes:
            start = next((a.i for a in node.attribute if a.name == "start"), 0)
            end = next((a.i for a in node.attribute if a.name == "end"), None)
            constants[node.output[0]] = np.array(shapes[used[0]][start:end], np.int64)
        elif node.domain in ("", "ai.onnx") and all(i in constants for i in used) and _is_constant(node):
            outputs = [o for o in node.output if o]
            try:
                values = evaluate(model, [node], {i: constants[i] for i in used}, outputs)
            except Exception:  # whatever its implementation raises: the node is then checked like the others
                left.append(node)
            else:
                constants.update(zip(outputs, values, strict=True))
        else:
            left.append(node)
    return left


def _is_constant(node: Any) -> bool:
    return node.op_type not in _RANDOM and not any(a.HasField("g") or a.graphs for a in node.attribute)


def static_shapes(model: Any) -> dict[str, list[int]]:
    """Sizes by name of all values whose sizes are known."""
    shapes = {}
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        dims = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[info.name] = [d.dim_value for d in dims]
    return shapes
