"""Prepare the ONNX graph: evaluate what is constant, and turn the use of `length` into a declared mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .onnx_model import evaluate, fold, node_title

if TYPE_CHECKING:
    import onnx

MASKED_BELOW = -1e4  # an added mask value at or below this takes a key out of the softmax


@dataclass(frozen=True)
class Mask:
    """A tensor that says which keys are present: `present` where they are; an input after the tokens.

    shares: instead, 1 / length for each row that is present and 0 for the others: factors of a mean.
    """

    name: str
    shape: tuple[int, ...]
    present: float | bool
    shares: bool = False


@dataclass(frozen=True)
class Simplified:
    """The graph without `length`: the masks became inputs. `tokens`: [1, T, hidden]."""

    model: onnx.ModelProto
    tokens: str
    capacity: int
    hidden: int
    masks: tuple[Mask, ...]


def simplify(model: onnx.ModelProto) -> Simplified:
    """Fold constants, resolve `length`. Raises CompileError when a mask is not `index >= length`."""
    import onnx

    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    tokens, capacity, hidden, length = _inputs(model)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes = fold(model, constants)
    nodes, masks = _resolve_length(model, nodes, constants, length, capacity)
    return Simplified(_rebuild(model, nodes, constants, masks, length), tokens, capacity, hidden, masks)


def _inputs(model: onnx.ModelProto) -> tuple[str, int, int, str | None]:
    initial = {i.name for i in model.graph.initializer}
    inputs = {i.name: i for i in model.graph.input if i.name not in initial}
    if "tokens" not in inputs or set(inputs) - {"tokens", "length"}:
        raise CompileError(
            f"the encoder's inputs are {', '.join(inputs) or 'missing'}: expected tokens [1, T, hidden] and length [1]"
        )
    shape = [d.dim_value for d in inputs["tokens"].type.tensor_type.shape.dim]
    if len(shape) != 3 or shape[0] != 1 or 0 in shape:
        raise CompileError(f"the encoder's input tokens has the shape {shape}: expected a fixed [1, T, hidden]")
    if len(model.graph.output) != 1:
        raise CompileError(f"the encoder has {len(model.graph.output)} outputs: expected logits alone")
    return "tokens", shape[1], shape[2], "length" if "length" in inputs else None


def _resolve_length(
    model: onnx.ModelProto, nodes: list[Any], constants: dict[str, Any], length: str | None, capacity: int
) -> tuple[list[Any], tuple[Mask, ...]]:
    """Evaluate what depends on `length` alone, for every length, and check that it is a mask."""
    known = {length} if length else set()
    counting, rest = [], []
    for node in nodes:
        used = [i for i in node.input if i and i not in constants]
        if used and all(i in known for i in used):
            known.update(node.output)
            counting.append(node)
        else:
            rest.append(node)
    outputs = {o.name for o in model.graph.output}
    edge: dict[str, Any] = {}
    for node in rest:
        for name in node.input:
            if name in known:
                edge.setdefault(name, node)
    if outputs & known:
        raise CompileError("the encoder's output depends on length alone")
    if not edge:
        return rest, ()
    fixed = {i: constants[i] for n in counting for i in n.input if i in constants}
    values: list[list[Any]] = []
    for count in range(capacity + 1):
        feeds = {**fixed, str(length): np.array([count], np.int32)}
        values.append(evaluate(model, counting, feeds, list(edge)) if counting else [feeds[n] for n in edge])
    return rest, tuple(
        _check_mask(name, [v[i] for v in values], capacity, node) for i, (name, node) in enumerate(edge.items())
    )


def _check_mask(name: str, values: list[NDArray[Any]], capacity: int, reader: Any) -> Mask:
    """At every length the keys up to it are present alike, and all after it are masked."""
    full = values[capacity]
    where = f"{node_title(reader)} reads {name!r}, which depends on length"
    keys = full.shape[-1] if full.ndim else 0
    if _are_shares(values, capacity):
        return Mask(name, tuple(full.shape), 0.0, shares=True)
    if keys < capacity or full.size == 0 or not np.all(full == full.flat[0]):
        raise CompileError(f"{where}: length may only mask the attention (index >= length)")
    present = full.flat[0]
    prefix = keys - capacity
    for count, value in enumerate(values):
        alive = prefix + count
        queries = slice(None, alive if value.ndim > 1 and value.shape[-2] == keys else None)
        rows = value[..., queries, :] if value.ndim > 1 else value
        masked = rows[..., alive:] != present if value.dtype == bool else rows[..., alive:] <= MASKED_BELOW
        if not np.all(rows[..., :alive] == present) or not np.all(masked):
            raise CompileError(
                f"{where}: with length {count} it does not leave exactly the first {count} tokens present"
            )
    if full.dtype != bool and present != 0:
        raise CompileError(f"{where}: a present key must add 0 to the score, this adds {present}")
    return Mask(name, tuple(full.shape), bool(present) if full.dtype == bool else float(present))


def _are_shares(values: list[NDArray[Any]], capacity: int) -> bool:
    """Whether the value is, at every length, 1 / length for the rows up to it and 0 after."""
    for count, value in enumerate(values):
        if value.dtype != np.float32 or value.shape[-1:] != (capacity,) or value.size != capacity:
            return False
        wanted = np.where(np.arange(capacity) < count, 1 / max(count, 1), 0)
        if not np.allclose(value.ravel(), wanted, rtol=1e-6, atol=0):
            return False
    return True


def _renamed(node: Any, names: dict[str, str]) -> Any:
    if not any(i in names for i in node.input):
        return node
    copy = type(node)()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(i, i) for i in node.input]
    return copy


def _rebuild(
    model: onnx.ModelProto,
    nodes: list[Any],
    constants: dict[str, Any],
    masks: tuple[Mask, ...],
    length: str | None,
) -> onnx.ModelProto:
    import onnx

    used = {i for n in nodes for i in n.input}
    inputs = [i for i in model.graph.input if i.name != length and i.name not in constants]
    kinds = {True: onnx.TensorProto.BOOL, False: onnx.TensorProto.FLOAT}
    nodes = [_renamed(n, {m.name: f"mask_{i}" for i, m in enumerate(masks)}) for n in nodes]
    for i, mask in enumerate(masks):
        kind = kinds[isinstance(mask.present, bool)]
        inputs.append(onnx.helper.make_tensor_value_info(f"mask_{i}", kind, mask.shape))
    graph = onnx.helper.make_graph(
        nodes,
        "encoder",
        inputs,
        list(model.graph.output),
        [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items() if n in used],
    )
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
