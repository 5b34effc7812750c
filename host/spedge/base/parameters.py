"""Parameters that callers give: numbers that are what they have to be."""

from __future__ import annotations

import math
import operator
from typing import SupportsIndex

import numpy as np

from spedge.base.errors import UsageError


def whole_number(name: str, value: SupportsIndex, low: int, high: int) -> int:
    """A parameter as an int of low to high. Raises UsageError for another and for what is no whole number."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} must be a whole number, not {value!r}") from None
    if not low <= number <= high:
        raise UsageError(f"{name}={number} is out of range; it must be {low} to {high}")
    return number


def real_number(
    name: str, value: float, low: float, high: float, with_low: bool = False, with_high: bool = True
) -> float:
    """A parameter as a float between low and high, these included or not. Raises UsageError for another, NaN too."""
    try:
        if isinstance(value, bool | np.bool_ | str | bytes):
            raise TypeError
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be a number, not {value!r}") from None
    inside = (low < number or (with_low and number == low)) and (number < high or (with_high and number == high))
    if not inside:  # NaN too
        above = "at least" if with_low else "more than"
        below = "at most" if with_high else "less than"
        raise UsageError(f"{name}={value!r} is out of range; it must be {above} {low} and {below} {high}")
    return number
