"""From the ONNX graph of a GNN or PCN to its layers.

The products with weights are taken as they stand in the graph, and the constants that follow each; what lies between
them, how tables are read and masked, is not looked at: instead the network that the description says is computed with
these weights on random graphs, and has to give what the ONNX graph gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.model.graph import graph_arrays, graph_inputs
from spedge.model.parts import Gnn, Pcn

from ..errors import CompileError
from ..graph.onnx_model import fold, load_model
from .layers import Layer, Network, network
from .reference import logits

if TYPE_CHECKING:
    from spedge.model.spec import ModelSpec

_TOLERANCE = 1e-3  # of the largest logit, between two ways to add up
_MOST = 120  # tokens that are looked at: all ways of a graph are gone with few
_PASSED = ("Div", "Reshape", "Identity")  # between a product and what belongs to it: the mean over a target's edges


def lift(path: Path, spec: ModelSpec) -> Network:
    """The network of a bundle's encoder.onnx. Raises CompileError for one that computes something else than the
    description says."""
    config = spec.model
    assert isinstance(config, Gnn | Pcn)
    if isinstance(config, Gnn) and (config.kernel != 4 or len(config.channels) != 3):
        raise CompileError(
            f"a gnn with a kernel of {config.kernel} and {len(config.channels)} widths cannot be compiled: splines "
            "have 4 knots along each axis, and there are three widths"
        )
    model = load_model(path)
    found = network(config, _layers(model), len(spec.labels))
    _check(path, spec, config, found)
    return found


def _layers(model: Any) -> list[Layer]:
    import onnx

    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes = fold(model, constants)
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for node in nodes:
        layer = _product(node, constants)
        if layer is not None:
            found.append(_followed(node.output[0], layer, readers, constants))
    return found


def _product(node: Any, constants: dict[str, NDArray[Any]]) -> Layer | None:
    """A product with a weight; None for any other node."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in constants:
        return None
    weight = constants[node.input[1]]
    given = {a.name: a for a in node.attribute}
    if "transB" in given and given["transB"].i:
        weight = weight.T
    bias = constants.get(node.input[2]) if len(node.input) > 2 else None
    return Layer(weight.astype(np.float32), None if bias is None else bias.astype(np.float32))


def _followed(name: str, layer: Layer, readers: dict[str, list[Any]], constants: dict[str, NDArray[Any]]) -> Layer:
    """The layer with the constants and the activation that follow it, as long as nothing else reads what is between."""
    while len(after := readers.get(name, [])) == 1:
        (node,) = after
        others = [constants.get(i) for i in node.input if i != name]
        vector = others[0] if len(others) == 1 and others[0] is not None and others[0].ndim <= 1 else None
        if node.op_type == "Add" and vector is not None:
            layer = layer.plus(vector.astype(np.float32) + np.zeros(layer.outputs, np.float32))
        elif node.op_type == "Mul" and vector is not None:
            layer = layer.times(vector.astype(np.float32) + np.zeros(layer.outputs, np.float32))
        elif node.op_type == "BatchNormalization":
            scale, shift = _norm(node, constants)
            layer = layer.times(scale).plus(shift)
        elif node.op_type in ("Relu", "Elu") and not layer.activation:
            layer = Layer(layer.weight, layer.bias, node.op_type.lower())
        elif node.op_type not in _PASSED or (node.op_type == "Div" and vector is not None):
            break
        name = node.output[0]
    return layer


def _norm(node: Any, constants: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gamma, beta, mean, variance = (constants[i].astype(np.float64) for i in node.input[1:5])
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)


def _check(path: Path, spec: ModelSpec, config: Gnn | Pcn, found: Network) -> None:
    """The network and the ONNX graph on random points, with none, with few and with many."""
    from spedge.model.reference import onnx_session

    session = onnx_session(path)
    room = spec.window or 0
    random = np.random.default_rng(0)
    for count in sorted({0, 1, min(room // 3, _MOST // 3), min(room, _MOST)}):
        points = np.sort(random.uniform(0, 3.0 + count / 8, (count, 3)), axis=0)
        points[:, :2] = random.integers(0, 6, (count, 2))
        graph = graph_arrays(points, config)
        x = random.normal(0, 1, (count, found.features)).astype(np.float32)
        given = {"tokens": np.zeros((1, room, found.features), np.float32), **graph_inputs(graph, config, room)}
        given["tokens"][0, :count] = x
        try:
            (wanted,) = session.run(["logits"], given)
        except Exception as error:  # onnxruntime has a class per kind of failure, none of them public
            raise CompileError(f"{path} does not take what a {config.type} is given: {error}") from None
        got = logits(found, x, graph)
        if not np.abs(got - wanted[0]).max() <= _TOLERANCE * (1 + np.abs(wanted).max()):
            raise CompileError(
                f"{path} does not compute what a {config.type} of the bundle's description computes with its weights "
                f"(with {count} tokens {got}, not {wanted[0]}): export the bundle again"
            )
