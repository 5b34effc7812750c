"""The paper's GNN and PCN classifiers with what embeds their tokens or events."""

from __future__ import annotations

from torch import Tensor, nn

from spedge.model.parts import EventInput, Gnn, Pcn, TokenInput

from .gnn import GnnClassifier
from .inputs import CellLinear, Cells, GraphBatch
from .pcn import PcnClassifier


class EventFeatures(nn.Embedding):
    """A learned vector for each polarity: int64 [nodes] to [nodes, features]. Starts as N(0, 1)."""

    def __init__(self, features: int) -> None:
        super().__init__(2, features)


def point_embedding(seen: TokenInput | EventInput) -> CellLinear | EventFeatures:
    """What gives each token or event its features."""
    return CellLinear(seen.cells, seen.features) if isinstance(seen, TokenInput) else EventFeatures(seen.features)


def embedded_points(embedding: CellLinear | EventFeatures, features: Cells | Tensor) -> Tensor:
    """Features of each token or event, [n, features]."""
    if isinstance(embedding, CellLinear):
        assert isinstance(features, Cells)
        return embedding.of_cells(features)
    x: Tensor = embedding(features)
    return x


class GraphClassifier(nn.Module):
    """Tokens or events as points of a graph to logits."""

    def __init__(self, classes: int, seen: TokenInput | EventInput, model: Gnn | Pcn, dropout: float) -> None:
        super().__init__()
        self.embedding = point_embedding(seen)
        self.classifier: GnnClassifier | PcnClassifier
        self.classifier = (
            GnnClassifier(model, classes) if isinstance(model, Gnn) else PcnClassifier(model, classes, dropout)
        )

    def of_batch(self, batch: GraphBatch) -> Tensor:
        """Logits [N, classes]."""
        x = embedded_points(self.embedding, batch.features)
        logits: Tensor = self.classifier(x, batch.graph, batch.samples)
        return logits
