"""The paper's detector: encoded tokens or events pooled into a grid, an LSTM for every cell, pyramid, neck and head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spedge.model.parts import Detector, EventInput, Gnn, Pcn, Sensor, TokenInput, Transformer

from .gnn import GnnEncoder
from .graph import PointMlp, segment_max
from .inputs import GraphBatch, TokenBatch
from .on_graphs import embedded_points, point_embedding
from .pcn import PcnEncoder, PcnGraph
from .transformer import Rows, TokenEmbedding, start_of
from .yolox import Head, Levels, Neck, Pyramid


class Steps(NamedTuple):
    """Which steps a batch has: those of one slot after another's, each slot's in order of time.

    slot: int64 [steps], whose state goes on. reset: bool [steps], whether it begins anew before the step. still: bool
    [steps], whether it stays as it is, as on a device where no event is no step; None: nowhere.
    """

    slot: Tensor
    reset: Tensor
    still: Tensor | None = None


class StepInputs(NamedTuple):
    """What the encoder takes of so many `steps`. batch: of those that have tokens or events; None: none has any.
    places: int64 [n, 2], column and row of every token, sampled node or last centre; step: int64 [n], whose it is."""

    batch: TokenBatch | GraphBatch | None
    places: Tensor
    step: Tensor
    steps: int

    @property
    def points(self) -> int:
        """Tokens or events of all steps."""
        return 0 if self.batch is None else self.batch.points


class GridState(NamedTuple):
    """What the cells' LSTMs carry from step to step: float32 [slots, rows, columns, hidden] each."""

    hidden: Tensor
    cell: Tensor


# ---------------------------------------------------------------- encoders


class Grid(NamedTuple):
    """cell: side of a cell in patches, or pixels of raw events. rows, columns: of cells."""

    cell: int
    rows: int
    columns: int

    def empty(self, inputs: StepInputs, like: Tensor) -> Tensor:
        """Zeros for all cells of all steps, [steps * rows * columns, features]. like: [n, features]."""
        return like.new_zeros(inputs.steps * self.rows * self.columns, like.shape[1])

    def numbers(self, inputs: StepInputs) -> Tensor:
        """Of the cell of each token, node or point among all steps' cells, int64 [n]."""
        x, y = torch.div(inputs.places, self.cell, rounding_mode="floor").unbind(1)
        return (inputs.step * self.rows + y) * self.columns + x

    def whole(self, flat: Tensor) -> Tensor:
        """[steps * rows * columns, features] as [steps, rows, columns, features]."""
        return flat.view(-1, self.rows, self.columns, flat.shape[1])


class TokenGrid(nn.Module):
    """The transformer's tokens in their cells: LayerNorm of each, and of those of a cell the largest of each feature,
    0 among them (experiments.md D)."""

    def __init__(self, seen: TokenInput, model: Transformer, grid: Grid, dropout: float = 0.0) -> None:
        super().__init__()
        self.grid = grid
        self.embedding = TokenEmbedding(seen.cells, seen.embedding)
        self.encoder = Rows(model, dropout)
        start_of(self)

    def forward(self, inputs: StepInputs) -> Tensor:
        """To [steps, rows, columns, hidden]."""
        batch = inputs.batch
        if batch is None:
            return self.grid.whole(self.grid.empty(inputs, self.encoder.norm.weight[None]))
        assert isinstance(batch, TokenBatch)
        encoded = self.encoder.packed(self.embedding.of_cells(batch.cells, batch.positions), batch.lengths)
        numbers = self.grid.numbers(inputs)[:, None].expand_as(encoded)
        empty = self.grid.empty(inputs, encoded)
        return self.grid.whole(empty.scatter_reduce(0, numbers, encoded, "amax", include_self=True))


class PointGrid(nn.Module):
    """Nodes of a GNN or points of a PCN in their cells: the largest of each feature, 0 only where a cell has none."""

    def __init__(self, seen: TokenInput | EventInput, model: Gnn | Pcn, grid: Grid) -> None:
        super().__init__()
        self.grid, self.features = grid, model.gives
        self.embedding = point_embedding(seen)
        self.encoder: GnnEncoder | PcnEncoder = GnnEncoder(model) if isinstance(model, Gnn) else PcnEncoder(model)
        self.points = (
            PointMlp(model.gives + 3, model.gives, model.gives, model.gives) if isinstance(model, Pcn) else None
        )

    def forward(self, inputs: StepInputs) -> Tensor:
        """To [steps, rows, columns, features]."""
        batch = inputs.batch
        if batch is None:
            like = next(self.parameters())
            return self.grid.whole(self.grid.empty(inputs, like.new_zeros(1, self.features)))
        assert isinstance(batch, GraphBatch)
        x = self.encoder(embedded_points(self.embedding, batch.features), batch.graph)
        if self.points is not None:
            assert isinstance(batch.graph, PcnGraph)
            x = self.points(torch.cat([x, batch.graph.position.to(x.dtype)], dim=1))
        return self.grid.whole(
            segment_max(x, self.grid.numbers(inputs), inputs.steps * self.grid.rows * self.grid.columns)
        )


# ---------------------------------------------------------------- over time


class GridLstm(nn.Module):
    """One LSTM for all cells, each a sequence of its own. Gates in torch's order: input, forget, cell, output."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTMCell(inputs, hidden)

    def start(self, slots: int, rows: int, columns: int) -> GridState:
        """Zeros."""
        zeros = self.lstm.weight_ih.new_zeros(slots, rows, columns, self.lstm.hidden_size)
        return GridState(zeros, zeros.clone())

    def forward(self, grid: Tensor, steps: Steps, state: GridState) -> tuple[Tensor, GridState]:
        """grid [steps, rows, columns, inputs] to [steps, rows, columns, hidden]; and the state after each slot's last.

        Gradients go through all steps of the batch; who carries the state on detaches it.
        """
        hidden, cell = state
        out: list[Tensor] = [hidden] * len(grid)
        for number in _at_once(steps.slot):
            slot, kept = steps.slot[number], (~steps.reset[number]).to(hidden.dtype)[:, None, None, None]
            h, c = hidden[slot] * kept, cell[slot] * kept
            shape, before = h.shape, (h, c)
            h, c = self.lstm(grid[number].flatten(0, 2), (h.flatten(0, 2), c.flatten(0, 2)))
            h, c = h.view(shape), c.view(shape)
            if steps.still is not None and bool(steps.still[number].any()):
                stays = steps.still[number][:, None, None, None]
                h, c = (torch.where(stays, old, new) for old, new in zip(before, (h, c), strict=True))
            hidden, cell = hidden.index_copy(0, slot, h.to(hidden.dtype)), cell.index_copy(0, slot, c.to(cell.dtype))
            for place, i in enumerate(number.tolist()):
                out[i] = h[place]
        return torch.stack(out), GridState(hidden, cell)


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
        self.lstm = GridLstm(config.encoder.gives, config.hidden)
        self.pyramid = Pyramid(config.hidden, config.odd_grid)
        self.neck = Neck(config.hidden)
        self.head = Head(config.hidden, config.head, classes, strides)

    def boxes(self, grid: Tensor) -> Tensor:
        """Of the LSTM's output [steps, rows, columns, hidden]: [steps, cells, 5 + classes], as `Head`."""
        out: Tensor = self.head(self._levels(grid))
        return out

    def raw(self, grid: Tensor) -> Tensor:
        """The same before boxes are in pixels: the output `head` of a model's description."""
        return torch.cat(self.head.raw(self._levels(grid)), dim=1)

    def _levels(self, grid: Tensor) -> Levels:
        levels: Levels = self.neck(self.pyramid(grid.permute(0, 3, 1, 2)))
        return levels


class DetectorModel(nn.Module):
    """Tokens or events of steps to boxes."""

    def __init__(
        self, sensor: Sensor, classes: int, seen: TokenInput | EventInput, config: Detector, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.grid = Grid(config.cell, *config.grid(sensor, seen))
        self.encoder: TokenGrid | PointGrid
        if isinstance(config.encoder, Transformer):
            assert isinstance(seen, TokenInput)
            self.encoder = TokenGrid(seen, config.encoder, self.grid, dropout)
        else:
            self.encoder = PointGrid(seen, config.encoder, self.grid)
        self.detector = GridDetector(config, classes, config.strides(seen))

    def start(self, slots: int) -> GridState:
        """What all slots begin with."""
        return self.detector.lstm.start(slots, self.grid.rows, self.grid.columns)

    def forward(
        self, inputs: StepInputs, steps: Steps, state: GridState, wanted: Tensor | None = None
    ) -> tuple[Tensor, GridState]:
        """Boxes of the steps, [steps, cells, 5 + classes] as `yolox.Head` gives them, and the state after them.

        wanted: bool [steps], of which steps boxes are wanted; all without it.
        """
        grid, state = self.detector.lstm(self.encoder(inputs), steps, state)
        return self.detector.boxes(grid if wanted is None else grid[wanted]), state
