"""Which models can be trained here: the one place that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spedge.model.parts import Classification, TokenInput, Transformer
from spedge.model.spec import ModelSpec

if TYPE_CHECKING:
    from .transformer import Classifier


def make_model(spec: ModelSpec, dropout: float = 0.0) -> Classifier:
    """A model with random weights, from torch's generator. Raises InputError, saying what can be, for another."""
    from .transformer import Classifier

    task, seen, model = spec.parts("training", Classification, TokenInput, Transformer)
    return Classifier(len(task.labels), seen, model, dropout)
