"""What a graph's values cannot exceed, whatever its input."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .nodes import Attention, Graph, HeadLinear, Linear, Norm, Value

#: Of every head, weights [width, depth] on a normalised row and what is added [depth].
Heads = list[tuple[NDArray[np.float64], NDArray[np.float64]]]


def largest_score(graph: Graph, node: Attention) -> float | None:
    """The most that a score of an attention can be or its negative, in octaves; None where that is not known.

    A normalised row n of w numbers is no longer than sqrt(w). With q_i = A^T n_i + a and k_j = B^T n_j + b,
    |q_i.k_j| <= w |A B^T| + sqrt(w) (|A b| + |B a|) + |a.b|, the norm of a matrix being its largest singular value.
    """
    queries = _heads(graph, node.q, node.heads)
    keys = _heads(graph, node.k, 1 if node.shared else node.heads)
    if queries is None or keys is None:
        return None
    most = 0.0
    for (a, added), (b, also) in zip(queries, keys * node.heads if node.shared else keys, strict=True):
        rows, other = math.sqrt(len(a)), math.sqrt(len(b))
        products = rows * np.linalg.norm(a @ also) + other * np.linalg.norm(b @ added) + abs(added @ also)
        most = max(most, float(rows * other * np.linalg.norm(a @ b.T, 2) + products))
    return most


def largest_sum(graph: Graph, node: Linear) -> float | None:
    """The most that a number of a linear can be or its negative; None where that is not known.

    A column w of the weights on a normalised row n makes |n.w + b| <= sqrt(len(n)) |w| + |b|.
    """
    made = _heads(graph, node.out, 1)
    if made is None:
        return None
    ((weight, added),) = made
    return float((math.sqrt(len(weight)) * np.linalg.norm(weight, axis=0) + np.abs(added)).max())


def _heads(graph: Graph, value: Value, heads: int) -> Heads | None:
    """A value that is made of a normalised row by linears; None where it is not."""
    node = graph.producer(value)
    if isinstance(node, Norm):
        return [(np.eye(value.width), np.zeros(value.width))] if node.scale is None and heads == 1 else None
    if not isinstance(node, Linear | HeadLinear):
        return None
    weight, before = _weight(graph, node), _heads(graph, node.x, heads if isinstance(node, HeadLinear) else 1)
    if weight is None or before is None:
        return None
    bias = np.zeros(value.width) if node.bias is None else node.bias.astype(np.float64)
    if isinstance(node, HeadLinear):
        weights, parts = list(weight), before
    else:
        weights, parts = np.split(weight, heads, axis=1), before * heads
    return [(a @ w, added @ w + b) for (a, added), w, b in zip(parts, weights, np.split(bias, heads), strict=True)]


def _weight(graph: Graph, node: Linear | HeadLinear) -> NDArray[np.float64] | None:
    """The weights with which a row cannot make more than it makes in 8 bits; None where that is not known.

    Rounding to multiples of s moves none of a row's w numbers by more than s / 2, and limiting them to 8 bits makes
    none larger: a normalised row becomes no longer than sqrt(w) (1 + s / 2).
    """
    weight = node.weight.astype(np.float64)
    if node.quant is None or node.quant.x_scale is None:
        return weight
    return weight * (1 + node.quant.x_scale / 2) if isinstance(graph.producer(node.x), Norm) else None
