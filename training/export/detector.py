"""A detector's step as functions of tensors of fixed sizes, in the weights of the trained model: what is exported.

Its state goes in and comes out. Batch norms of the neck and the head are folded into their convolutions, and the LSTM
is written out in matrix products, so that a compiler needs nothing but plain operators.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..models.detector import DetectorModel, GridDetector, GridLstm, PointGrid, TokenGrid
from ..models.gnn import GnnEncoder
from ..models.graph import PointMlp
from ..models.transformer import TokenEmbedding
from ..models.yolox import ConvNorm
from .fixed import GnnNodes, PcnNodes, embedded

Step = tuple[Tensor, Tensor, Tensor]  #: head [n, 5 + classes], and the state, [rows, columns, hidden] twice


class FixedDetector(nn.Module):
    """Embedded tokens or events, structure, cells and state to the head and the next state: encoder.onnx."""

    def __init__(self, model: DetectorModel) -> None:
        super().__init__()
        self.grid: nn.Module
        if isinstance(model.encoder, TokenGrid):
            self.grid = FixedTokenGrid(model.encoder)
        else:
            self.grid = FixedPointGrid(model.encoder)
        self.lstm = FixedLstm(model.detector.lstm)
        self.detector = folded(model.detector)

    def forward(self, tokens: Tensor, *rest: Tensor) -> Step:
        """tokens [1, T, features]; rest: `length` or `graph_inputs`, cells [1, m], and the state."""
        *structure, cells, hidden, cell = rest
        grid = self.grid(tokens, *structure, cells)
        h, c = self.lstm(grid, hidden.flatten(0, 1), cell.flatten(0, 1))
        h, c = h.view(hidden.shape), c.view(cell.shape)
        return self.detector.raw(h.unsqueeze(0)).squeeze(0), h, c


class FixedDetectorModel(nn.Module):
    """The same from volumes and positions, volumes, or polarities: model.onnx."""

    def __init__(self, model: DetectorModel) -> None:
        super().__init__()
        self.embedding = model.encoder.embedding
        self.encoder = FixedDetector(model)

    def forward(self, features: Tensor, *rest: Tensor) -> Step:
        """features: volumes [1, T, 2, B, P, P] or polarities [1, T]. rest: of a transformer positions first."""
        if isinstance(self.embedding, TokenEmbedding):
            tokens, others = self.embedding(features, rest[0]), rest[1:]
        else:
            tokens, others = embedded(self.embedding, features), rest
        step: Step = self.encoder(tokens, *others)
        return step


class FixedTokenGrid(nn.Module):
    """`TokenGrid` on padded tokens. Padding is 0 in every cell, which is never more than what a cell has."""

    def __init__(self, model: TokenGrid) -> None:
        super().__init__()
        self.encoder, self.size = model.encoder, model.grid.rows * model.grid.columns

    def forward(self, tokens: Tensor, length: Tensor, cells: Tensor) -> Tensor:
        """tokens [1, T, hidden], length [1], cells int32 [1, T] to [rows * columns, hidden]."""
        count = tokens.shape[1]
        encoded = self.encoder.norm(self.encoder.rows(tokens, length)[0, -count:])
        there = torch.arange(count, dtype=length.dtype) < length
        return _scattered(torch.where(there.unsqueeze(-1), encoded, 0.0), cells[0], self.size, 0.0)


class FixedPointGrid(nn.Module):
    """`PointGrid` on tables."""

    def __init__(self, model: PointGrid) -> None:
        super().__init__()
        self.size = model.grid.rows * model.grid.columns
        self.nodes: nn.Module
        if isinstance(model.encoder, GnnEncoder):
            self.nodes = GnnNodes(model.encoder)
        else:
            assert isinstance(model.points, PointMlp)
            self.nodes = PcnNodes(model.encoder, model.points)

    def forward(self, tokens: Tensor, *rest: Tensor) -> Tensor:
        """tokens [1, N, features]; rest: `graph_inputs` in their order, and cells int32 [1, m], of the points that are
        left after the last sampling. To [rows * columns, features]."""
        *graph, cells = rest
        x, there = self.nodes(tokens.squeeze(0), *(part.squeeze(0) for part in graph))
        lowest = torch.finfo(x.dtype).min
        largest = _scattered(torch.where(there.unsqueeze(-1), x, lowest), cells[0], self.size, lowest)
        return torch.where(largest > lowest, largest, 0.0)


class FixedLstm(nn.Module):
    """`nn.LSTMCell` written out. Gates in torch's order: input, forget, cell, output."""

    def __init__(self, model: GridLstm) -> None:
        super().__init__()
        lstm = model.lstm
        self.hidden = lstm.hidden_size
        self.of_input = nn.Parameter(lstm.weight_ih.detach().T.contiguous())
        self.of_hidden = nn.Parameter(lstm.weight_hh.detach().T.contiguous())
        self.bias = nn.Parameter((lstm.bias_ih + lstm.bias_hh).detach())

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """x [cells, inputs], hidden and cell [cells, hidden] to hidden and cell."""
        gates = torch.matmul(x, self.of_input) + torch.matmul(hidden, self.of_hidden) + self.bias
        i, f, g, o = (gates[:, n * self.hidden : (n + 1) * self.hidden] for n in range(4))
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell


def folded(model: GridDetector) -> GridDetector:
    """A copy whose convolutions do what their batch norms did."""
    own = copy.deepcopy(model).eval()
    for module in own.modules():
        if isinstance(module, ConvNorm):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return own


def _scattered(rows: Tensor, cells: Tensor, size: int, least: float) -> Tensor:
    """The largest of each feature in each cell, and of `least`: rows [n, features], cells int32 [n] to [size, …]."""
    empty = torch.full((size, rows.shape[1]), least, dtype=rows.dtype)
    return empty.scatter_reduce(0, cells.long().unsqueeze(-1).expand_as(rows), rows, "amax", include_self=True)
