"""What of a trained model is exported, whatever its family: two functions of tensors of fixed sizes, an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spedge.model.graph import GnnArrays, PcnArrays
from spedge.model.spec import ModelSpec
from spedge.model.window import graph_of, oracle_inputs, structure_inputs
from spedge.tokens.tokenizer import NO_TOKENS

from ..models.inputs import CellLinear
from ..models.on_graphs import EventFeatures, GraphClassifier
from ..models.transformer import Classifier, TokenEmbedding
from ..represent.collate_graph import gnn_batch, pcn_batch
from .fixed import FixedEncoder, FixedModel, embedded

#: Inputs of model.onnx that encoder.onnx has `tokens` in the place of.
FEATURES = ("volumes", "polarities", "positions")


@dataclass(frozen=True)
class Whole:
    """A model and its parts. encoder: embedded tokens and structure to logits; oracle: all of it."""

    model: Classifier | GraphClassifier
    spec: ModelSpec
    encoder: nn.Module
    oracle: nn.Module

    def oracle_example(self) -> dict[str, NDArray[Any]]:
        """Inputs of model.onnx for no tokens, which are of the same shapes as for any."""
        return oracle_inputs(self.spec, NO_TOKENS, graph_of(NO_TOKENS, self.spec))

    def encoder_example(self) -> dict[str, NDArray[Any]]:
        """The same of encoder.onnx."""
        rows = np.zeros((1, self.spec.window or 0, self.spec.representation.features), np.float32)
        return {"tokens": rows, **structure_inputs(self.spec, 0, graph_of(NO_TOKENS, self.spec))}

    def embed(self, inputs: dict[str, NDArray[Any]]) -> Tensor:
        """Inputs of model.onnx to embedded tokens: float32 [1, N, features]."""
        if isinstance(self.model, Classifier):
            volumes, positions = torch.from_numpy(inputs["volumes"]), torch.from_numpy(inputs["positions"])
            rows: Tensor = self.model.embedding(volumes, positions)
            return rows
        return embedded(
            self.model.embedding, torch.from_numpy(inputs["volumes" if "volumes" in inputs else "polarities"])
        )

    def logits(self, rows: Tensor, graph: GnnArrays | PcnArrays | None) -> Tensor:
        """As the trained model computes them: [classes]. rows: [1, n, features], embedded tokens without padding."""
        if isinstance(self.model, Classifier):
            logits: Tensor = self.model.encoder(rows, torch.tensor([rows.shape[1]]))[0]
            return logits
        batch = gnn_batch([graph]) if isinstance(graph, GnnArrays) else pcn_batch([graph])  # type: ignore[list-item]
        of_graph: Tensor = self.model.classifier(rows[0], batch, 1)[0]
        return of_graph


def embedding_arrays(
    embedding: TokenEmbedding | CellLinear | EventFeatures,
) -> dict[str, NDArray[np.float32]]:
    """What embedding.npz holds. Of polarities a column each, and no bias."""
    if isinstance(embedding, EventFeatures):
        weight = embedding.weight.detach().numpy().T
        return {"weight": np.ascontiguousarray(weight, np.float32), "bias": np.zeros(len(weight), np.float32)}
    linear = embedding.linear if isinstance(embedding, TokenEmbedding) else embedding
    return {name: getattr(linear, name).detach().numpy().astype(np.float32) for name in ("weight", "bias")}


def whole_of(model: Classifier | GraphClassifier, spec: ModelSpec) -> Whole:
    """The parts of a model that is to be evaluated."""
    if isinstance(model, Classifier):
        return Whole(model, spec, model.encoder, model)
    return Whole(model, spec, FixedEncoder(model).eval(), FixedModel(model).eval())
