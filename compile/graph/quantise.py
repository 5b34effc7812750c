"""Reduced precision: the weights of linears in 8 bits and, for int8, the range of what they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..precision import Quant
from .nodes import ALL, Array, Graph, HeadLinear, Linear, Value, demand
from .reference import Runner, to_onnx

LARGEST = 127  # of an 8-bit number; -128 is not used for weights


def quantise(graph: Graph, precision: str, samples: Sequence[Array]) -> None:
    """Give every linear of an optimised graph its 8-bit weights, and for "int8" the scale of its input.

    Weights are symmetric with a scale per output; the scale of an input is one number, the largest that it was on
    the samples (tokens float32 [n, hidden]) divided by 127. A linear of single heads keeps single-precision inputs:
    it is computed for one row only. Raises CompileError when there are no samples to measure the inputs on.
    """
    linears = [n for n in graph.nodes if isinstance(n, Linear | HeadLinear)]
    scales: dict[Value, float] = {}
    if precision == "int8":
        scales = _scales(graph, [n.x for n in linears if isinstance(n, Linear)], samples)
    for node in linears:
        values, scale = quantise_weight(node.weight)
        weight = values * scale if isinstance(node, Linear) else values * scale.reshape(len(values), 1, -1)
        quant = Quant(values, scale, scales.get(node.x) if isinstance(node, Linear) else None)
        graph.replace_node(node, [replace(node, weight=weight.astype(np.float32), quant=quant)])


def quantise_weight(weight: Array) -> tuple[np.ndarray, Array]:
    """int8 values and float32 scales of a weight [..., k, n]; one scale per output, in the order of the outputs."""
    largest = np.abs(weight).max(axis=-2, keepdims=True)
    scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    values = np.clip(np.rint(weight / scale), -LARGEST, LARGEST).astype(np.int8)
    return values, scale.reshape(-1)


def _scales(graph: Graph, inputs: Sequence[Value], samples: Sequence[Array]) -> dict[Value, float]:
    if not samples:
        raise CompileError(
            "int8 is calibrated on the bundle's vectors and it keeps none: use int8w, or export it again"
        )
    values = list(dict.fromkeys(inputs))
    rows = demand(graph)
    runner = Runner(to_onnx(graph, values), graph)
    largest = dict.fromkeys(values, 0.0)
    for sample in samples:
        for value, matrix in zip(values, runner(sample, [v.name for v in values]), strict=True):
            row = rows[value]
            read = matrix[: graph.prefix + len(sample)] if row == ALL else matrix[row : row + 1]
            largest[value] = max(largest[value], float(np.abs(read).max(initial=0)))
    return {v: float(np.float32((m or 1.0) / LARGEST)) for v, m in largest.items()}
