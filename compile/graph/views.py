"""Tensors while a graph is lifted: what each of their elements is, and what layout operators do to that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .nodes import Value
from .simplify import Mask

Index = NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """A tensor whose element e is factor * value.flat[index.flat[e]]."""

    value: Value
    index: Index
    factor: float = 1.0


@dataclass(frozen=True)
class Scores:
    """q @ k^T before (`done` False) or after the softmax."""

    q: View
    k: View
    shape: tuple[int, ...]
    factor: float
    masked: bool = False
    causal: bool = False
    done: bool = False


Abstract = Any  # View | Scores | Mask | ndarray | tuple of these


def adds_nothing(mask: Mask) -> bool:
    return mask.present == 0 and not mask.shares


def masks_out(other: Abstract) -> bool:
    return isinstance(other, np.ndarray) and bool(np.all(other <= -1e4))


def mask_fits(mask: Mask, scores: Scores, rows: int) -> bool:
    """Whether a mask has a place for every key of the scores."""
    try:
        fits = np.broadcast_shapes(mask.shape, scores.shape) == scores.shape
    except ValueError:
        return False
    return fits and mask.shape[-1] == rows


def is_causal(added: NDArray[Any], scores: Scores, rows: int) -> bool:
    """Whether a constant takes the rows after each row out of the softmax, and nothing else."""
    if added.shape[-2:] != (rows, rows) or added.size != rows * rows or scores.shape[-2:] != (rows, rows):
        return False
    later = np.triu(np.ones((rows, rows), bool), 1)
    added = added.reshape(rows, rows)
    return bool(np.all(added[~later] == 0)) and masks_out(added[later])


def _reshape(index: Index, args: list[Any], attrs: Any) -> Index:
    return index.reshape(args[0])


def _take(args: list[Any], attrs: Any) -> NDArray[Any]:
    axis = None if attrs.axis is None else int(attrs.axis)
    return np.asarray(np.take(args[0], args[1], axis=axis))


# The importer computes shapes and transposes weights in the graph: small constant arithmetic.
CONSTANT: dict[str, Callable[[list[Any], Any], Any]] = {
    "relax.shape_to_tensor": lambda args, attrs: np.array(args[0], np.int64),
    "relax.less": lambda args, attrs: np.less(*args),
    "relax.add": lambda args, attrs: np.add(*args),
    "relax.where": lambda args, attrs: np.where(*args),
    "relax.take": _take,
    "relax.permute_dims": lambda args, attrs: LAYOUT["relax.permute_dims"](args[0], args[1:], attrs),
    "relax.reshape": lambda args, attrs: args[0].reshape(args[1]),
}

LAYOUT: dict[str, Callable[[Index, list[Any], Any], Index]] = {
    "relax.reshape": _reshape,
    "relax.flatten": lambda index, args, attrs: index.reshape(-1),
    "relax.broadcast_to": lambda index, args, attrs: np.broadcast_to(index, args[0]),
    "relax.permute_dims": lambda index, args, attrs: index.transpose(
        None if attrs.axes is None else [int(a) for a in attrs.axes]
    ),
    "relax.expand_dims": lambda index, args, attrs: np.expand_dims(index, tuple(int(a) for a in attrs.axis)),
    "relax.squeeze": lambda index, args, attrs: np.squeeze(
        index, None if attrs.axis is None else tuple(int(a) for a in attrs.axis)
    ),
}
