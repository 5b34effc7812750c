"""The learning rate of a step."""

from __future__ import annotations

import math

from ..presets.base import Recipe


def learning_rate(step: float, steps: float, recipe: Recipe) -> float:
    """OneCycle (Smith and Topin 2018), cosine both ways: highest at step warm_up * steps - 1, last at steps - 1."""
    high, first, last = recipe.learning_rate, recipe.first_divide, recipe.last_divide
    peak, end = recipe.warm_up * steps - 1, steps - 1.0
    if step <= peak and peak > 0:
        return _cosine(high / first, high, step / peak)
    return _cosine(high, high / last, min(1.0, (step - peak) / (end - peak)) if end > max(peak, 0.0) else 1.0)


def _cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))
