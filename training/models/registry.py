"""Which models can be trained here: the one place that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spedge.base.errors import InputError
from spedge.model.parts import Classification, Detection, Detector, Gnn, Pcn, TokenInput, Transformer
from spedge.model.spec import ModelSpec

if TYPE_CHECKING:
    from .detector import DetectorModel
    from .on_graphs import GraphClassifier
    from .transformer import Classifier


def make_model(spec: ModelSpec, dropout: float = 0.0) -> Classifier | GraphClassifier | DetectorModel:
    """A model with random weights, from torch's generator. Raises InputError, saying what can be, for another."""
    task, seen, model = spec.task, spec.representation, spec.model
    if isinstance(task, Classification) and isinstance(model, Gnn | Pcn):
        from .on_graphs import GraphClassifier

        return GraphClassifier(len(task.labels), seen, model, dropout)
    if isinstance(task, Classification) and isinstance(model, Transformer) and isinstance(seen, TokenInput):
        from .transformer import Classifier

        return Classifier(len(task.labels), seen, model, dropout)
    if isinstance(task, Detection) and isinstance(model, Detector):
        from .detector import DetectorModel

        return DetectorModel(spec.sensor, len(task.labels), seen, model, dropout)
    raise InputError(
        f"training takes a transformer on tokens, or a GNN or PCN, alone or in a detector; the model '{spec.name}' is "
        f"{task.type} by a {model.type} on {seen.type}: choose another preset."
    )
