"""The precisions that a model can be compiled in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError

PRECISIONS: dict[str, str] = {
    "fp32": "single precision throughout",
    "int8w": "weights of linears in 8 bits, a scale per output; everything else in single precision",
    "int8": "linears on 8-bit weights and activations; normalisation and attention in single precision",
}


@dataclass(frozen=True, eq=False)
class Quant:
    """A linear's weights in 8 bits: weight [..., k] [n] = values (int8, the weight's shape) * scale.

    scale: float32, one per output. x_scale: the input is rounded to int8 multiples of it first; None: it is not.
    """

    values: NDArray[np.int8]
    scale: NDArray[np.float32]
    x_scale: float | None = None


def find_precision(name: str) -> str:
    """The name itself when there is such a precision; UsageError lists the known ones."""
    if name not in PRECISIONS:
        raise UsageError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    return name
