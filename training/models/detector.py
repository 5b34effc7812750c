"""The paper's detector: encoded tokens or events pooled into a grid, an LSTM for every cell, pyramid, neck and head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spedge.model.parts import Detector, EventInput, Gnn, Pcn, Sensor, TokenInput, Transformer

from .gnn import GnnEncoder, GnnGraph
from .graph import PointMlp, segment_max
from .inputs import CellLinear, Cells, GraphBatch, TokenBatch
from .on_graphs import EventFeatures
from .pcn import PcnEncoder, PcnGraph
from .transformer import Rows, TokenEmbedding, start_of
from .yolox import Head, Neck, Pyramid


class Steps(NamedTuple):
    """Which steps a batch has: those of one slot after another's, each slot's in order of time.

    slot: int64 [steps], whose state goes on. reset: bool [steps], whether it begins anew before the step.
    """

    slot: Tensor
    reset: Tensor


class GridState(NamedTuple):
    """What the cells' LSTMs carry from step to step: float32 [slots, rows, columns, hidden] each."""

    hidden: Tensor
    cell: Tensor


# ---------------------------------------------------------------- encoders


class TokenGrid(nn.Module):
    """The transformer's tokens in their cells: LayerNorm of each, and of those of a cell the largest of each feature,
    0 among them (experiments.md D)."""

    def __init__(self, seen: TokenInput, model: Transformer, rows: int, columns: int, dropout: float) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.embedding = TokenEmbedding(seen.cells, seen.embedding)
        self.encoder = Rows(model, dropout)
        start_of(self)

    def forward(self, batch: TokenBatch) -> Tensor:
        """Samples are steps. To [steps, rows, columns, hidden]."""
        embedded = self.embedding.of_cells(batch.cells, batch.positions)
        steps = torch.repeat_interleave(torch.arange(len(batch.lengths), device=embedded.device), batch.lengths)
        encoded = self.encoder.packed(embedded, batch.lengths)
        cells = cell_numbers(batch.positions, 1, self.columns) + steps * (self.rows * self.columns)
        grid = encoded.new_zeros(len(batch.lengths) * self.rows * self.columns, encoded.shape[1])
        grid = grid.scatter_reduce(0, cells[:, None].expand_as(encoded), encoded, "amax", include_self=True)
        return grid.view(len(batch.lengths), self.rows, self.columns, -1)


class PointGrid(nn.Module):
    """Nodes of a GNN or points of a PCN in their cells: the largest of each feature, 0 only where a cell has none."""

    def __init__(self, seen: TokenInput | EventInput, model: Gnn | Pcn, cell: int, rows: int, columns: int) -> None:
        super().__init__()
        self.cell, self.rows, self.columns = cell, rows, columns
        self.embedding: CellLinear | EventFeatures
        if isinstance(seen, TokenInput):
            self.embedding = CellLinear(seen.cells, seen.features)
        else:
            self.embedding = EventFeatures(seen.features)
        self.encoder: GnnEncoder | PcnEncoder
        self.points: PointMlp | None = None
        if isinstance(model, Gnn):
            self.encoder = GnnEncoder(model)
        else:
            self.encoder = PcnEncoder(model)
            self.points = PointMlp(model.gives + 3, model.gives, model.gives, model.gives)

    def forward(self, batch: GraphBatch, places: Tensor, steps: Tensor) -> Tensor:
        """places: [m, 2 or more], column and row of the kept nodes or last centres. steps: int64 [m], the step of each
        is one of batch.samples. To [steps, rows, columns, features]."""
        if isinstance(self.embedding, CellLinear):
            assert isinstance(batch.features, Cells)
            x = self.embedding.of_cells(batch.features)
        else:
            assert isinstance(batch.features, Tensor)
            x = self.embedding(batch.features)
        graph = batch.graph
        if isinstance(self.encoder, GnnEncoder):
            assert isinstance(graph, GnnGraph)
            x = self.encoder(x, graph)
        else:
            assert isinstance(graph, PcnGraph) and self.points is not None
            x = self.points(torch.cat([self.encoder(x, graph), graph.position.to(x.dtype)], dim=1))
        cells = cell_numbers(places, self.cell, self.columns) + steps * (self.rows * self.columns)
        grid = segment_max(x, cells, batch.samples * self.rows * self.columns)
        return grid.view(batch.samples, self.rows, self.columns, -1)


def cell_numbers(places: Tensor, cell: int, columns: int) -> Tensor:
    """Number of the cell of each token or event, int64 [n]: row by row. places: [n, 2 or more], column and row in
    patches or pixels; cell: side of a cell in these."""
    x, y = (torch.div(places[:, axis].long(), cell, rounding_mode="floor") for axis in (0, 1))
    return y * columns + x


# ---------------------------------------------------------------- over time


class GridLstm(nn.Module):
    """One LSTM for all cells, each a sequence of its own. Gates in torch's order: input, forget, cell, output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTMCell(width, width)

    def start(self, slots: int, rows: int, columns: int) -> GridState:
        """Zeros."""
        zeros = self.lstm.weight_ih.new_zeros(slots, rows, columns, self.lstm.hidden_size)
        return GridState(zeros, zeros.clone())

    def forward(self, grid: Tensor, steps: Steps, state: GridState) -> tuple[Tensor, GridState]:
        """grid [steps, rows, columns, width] to the same, and the state after the last step of each slot.

        Gradients go through all steps of the batch; who carries the state on detaches it.
        """
        hidden, cell = state
        out: list[Tensor] = [grid[:0]] * len(grid)
        for number in _at_once(steps.slot):
            slot, kept = steps.slot[number], (~steps.reset[number]).to(hidden.dtype)[:, None, None, None]
            h, c = hidden[slot] * kept, cell[slot] * kept
            shape = h.shape
            h, c = self.lstm(grid[number].flatten(0, 2), (h.flatten(0, 2), c.flatten(0, 2)))
            h, c = h.view(shape), c.view(shape)
            hidden, cell = hidden.index_copy(0, slot, h.to(hidden.dtype)), cell.index_copy(0, slot, c.to(cell.dtype))
            for place, i in enumerate(number.tolist()):
                out[i] = h[place]
        return torch.stack(out) if out else grid, GridState(hidden, cell)


def _at_once(slot: Tensor) -> list[Tensor]:
    """Numbers of the steps that can be computed together: the first of each slot, then the second of each, …"""
    order: dict[int, int] = {}
    groups: list[list[int]] = []
    for i, s in enumerate(slot.tolist()):
        depth = order.get(s, 0)
        order[s] = depth + 1
        if depth == len(groups):
            groups.append([])
        groups[depth].append(i)
    return [torch.tensor(group, device=slot.device) for group in groups]


# ---------------------------------------------------------------- the whole


class GridDetector(nn.Module):
    """What comes after the encoder: LSTM, pyramid, neck and head."""

    def __init__(self, config: Detector, classes: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.lstm = GridLstm(config.hidden)
        self.pyramid = Pyramid(config.hidden, config.odd_grid)
        self.neck = Neck(config.hidden)
        self.head = Head(config.hidden, config.head, classes, strides)

    def boxes(self, grid: Tensor) -> Tensor:
        """Of the LSTM's output [steps, rows, columns, hidden]: [steps, cells, 5 + classes], as `Head`."""
        out: Tensor = self.head(self.neck(self.pyramid(grid.permute(0, 3, 1, 2))))
        return out


class DetectorModel(nn.Module):
    """Tokens or events of steps to boxes."""

    def __init__(
        self, sensor: Sensor, classes: int, seen: TokenInput | EventInput, config: Detector, dropout: float = 0.0
    ) -> None:
        super().__init__()
        rows, columns = config.grid(sensor, seen)
        self.encoder: TokenGrid | PointGrid
        if isinstance(config.encoder, Transformer):
            assert isinstance(seen, TokenInput)
            self.encoder = TokenGrid(seen, config.encoder, rows, columns, dropout)
        else:
            self.encoder = PointGrid(seen, config.encoder, config.cell, rows, columns)
        self.detector = GridDetector(config, classes, config.strides(seen))
