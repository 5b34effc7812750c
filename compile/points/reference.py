"""What a network of layers on graphs computes, in NumPy, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spedge.model.graph import EdgeArrays, GnnArrays, PcnArrays
from spedge.model.parts import Pcn

from ..graph.nodes import Array
from .layers import CELLS, KERNEL, Layer, Network, elu


def logits(network: Network, x: Array, graph: GnnArrays | PcnArrays) -> Array:
    """float32 [classes] from features [n, features] and the sample's graphs."""
    last = _gnn(network, x, graph) if isinstance(graph, GnnArrays) else _pcn(network, x, graph)
    pooled = last.max(axis=0, keepdims=True) if len(last) else np.zeros((1, last.shape[1]), np.float32)
    found: Array = _chain(network.head, pooled)[0]
    return found


def _gnn(network: Network, x: Array, graph: GnnArrays) -> Array:
    c = network.convolutions
    near, far = _spline(graph.near), _spline(graph.far)
    x = _convolved(c[1], _convolved(c[0], x, graph.near, near), graph.near, near)
    x = x + _convolved(c[3], _convolved(c[2], x, graph.near, near), graph.near, near)
    x = _convolved(c[4], x, graph.near, near)[graph.sampled]
    return x + _convolved(c[6], _convolved(c[5], x, graph.far, far), graph.far, far)


def _spline(edges: EdgeArrays) -> NDArray[np.float32]:
    """How much each of the kernel's matrices takes part in each edge: [edges, CELLS]."""
    place = (0.5 + edges.relative / 2) * (KERNEL - 1)
    hats = np.maximum(1 - np.abs(place[:, :, None] - np.arange(KERNEL)), 0)
    shares = hats[:, 2, :, None, None] * hats[:, 1, None, :, None] * hats[:, 0, None, None, :]
    found: Array = shares.reshape(-1, CELLS).astype(np.float32)
    return found


def _convolved(layer: Layer, x: Array, edges: EdgeArrays, shares: Array) -> Array:
    sums = np.zeros((edges.nodes, CELLS, x.shape[1]), np.float32)
    np.add.at(sums, edges.target, shares[:, :, None] * x[edges.source][:, None, :])
    degree = np.maximum(np.bincount(edges.target, minlength=edges.nodes), 1).astype(np.float32)
    return _chain([layer], sums.reshape(edges.nodes, layer.inputs) / degree[:, None])


def _pcn(network: Network, x: Array, graph: PcnArrays) -> Array:
    assert isinstance(network.config, Pcn)
    for layers, edges, radius in zip(network.stages, graph.stages, network.config.radii, strict=True):
        seen = _chain(layers, np.concatenate([x[edges.source], edges.relative * np.float32(radius)], axis=1))
        x = np.full((edges.nodes, seen.shape[1]), -np.inf, np.float32)
        np.maximum.at(x, edges.target, seen)
    return _chain(network.points, np.concatenate([x, graph.kept], axis=1))


def _chain(layers: Sequence[Layer], x: Array) -> Array:
    for layer in layers:
        x = x @ layer.weight + (0 if layer.bias is None else layer.bias)
        x = np.maximum(x, 0) if layer.activation == "relu" else elu(x) if layer.activation == "elu" else x
        x = x * (1 if layer.scale is None else layer.scale) + (0 if layer.shift is None else layer.shift)
    return x.astype(np.float32)
