"""Named tensors: what a model gives, and how they lie one behind the other where they travel as one row of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Output:
    """A tensor of float32 numbers that every result has, for example logits of shape (10,)."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


def by_name(numbers: NDArray[Any], outputs: Sequence[Output]) -> dict[str, NDArray[Any]]:
    """One row of numbers, [sum of the sizes], as tensors by name, each of its shape; views, in the outputs' order."""
    tensors = {}
    start = 0
    for output in outputs:
        tensors[output.name] = numbers[start : start + output.size].reshape(output.shape)
        start += output.size
    return tensors
