"""Events of one sample to the arrays that a model of its family takes. Numpy and the C library, for loaders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import copied
from spedge.model.parts import Detector, EventInput, Gnn, Pcn, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.tokens.embedding import log_time_cells, positions_of
from spedge.tokens.tokenizer import Tokens

from .graph import GnnArrays, PcnArrays, gnn_arrays, pcn_arrays
from .tokens import Windower


class CellArrays(NamedTuple):
    """What tokens are embedded from: the cells of their log-time volumes that hold events.

    number: int32 [m], in a token's volume. log_count: float32 [m], log(1 + count). bounds: int64 [n + 1], token i has
    those from bounds[i] to bounds[i + 1].
    """

    number: NDArray[np.int32]
    log_count: NDArray[np.float32]
    bounds: NDArray[np.int64]


class TokenArrays(NamedTuple):
    """A sample for a transformer. positions: float64 [n, 3], `positions_of`."""

    cells: CellArrays
    positions: NDArray[np.float64]

    @property
    def points(self) -> int:
        """How many tokens there are."""
        return len(self.positions)


class GraphArrays(NamedTuple):
    """A sample for a GNN or PCN. features: cells of tokens, or polarities of events, int64 [n]."""

    features: CellArrays | NDArray[np.int64]
    graph: GnnArrays | PcnArrays

    @property
    def points(self) -> int:
        """How many tokens or events there are."""
        return len(self.features.bounds) - 1 if isinstance(self.features, CellArrays) else len(self.features)


Arrays = TokenArrays | GraphArrays


class Represent:
    """Events to arrays as a model's description says. One for each process: it has a tokenizer.

    training: points for a graph are drawn from a random start; else from the first one. rule: which neighbours survive
    a graph's cap (`spedge.tokens.graph.RULES`).
    """

    def __init__(self, spec: ModelSpec, training: bool = False, rule: str = "nearest") -> None:
        self._spec, self._training, self._rule = spec, training, rule
        self._encoder = spec.model.encoder if isinstance(spec.model, Detector) else spec.model
        self._windower: Windower | None = None  # made where it is used: it cannot be sent to another process

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_windower": None}

    def __call__(self, events: NDArray[Any], random: np.random.Generator | None = None) -> Arrays | None:
        """events: EVENT_DTYPE, sorted by time. random: draws where points begin, when training.

        None for a sample that a graph cannot be made of: it has no tokens or events.
        """
        seen = self._spec.representation
        if isinstance(seen, EventInput):
            return self._of_events(events, seen, random)
        if self._windower is None:
            self._windower = Windower(self._spec)
        return self.of_tokens(self._windower.newest(events), random)

    def at(self, part: Tokens | NDArray[Any], time: int, random: np.random.Generator | None = None) -> Arrays | None:
        """A step of a detector at `time`, µs. part: its tokens, or events; their times count back from the step's."""
        if isinstance(part, Tokens):
            window = self._spec.window
            newest = part if window is None else part.last(window)
            return self._of_tokens(newest, _scaled(newest, np.uint64(time) - newest.t, self._spec.token_input), random)
        assert isinstance(self._spec.representation, EventInput)
        aged = copied(part)
        aged["t"] = np.uint64(time) - part["t"]
        return self._of_events(aged, self._spec.representation, random)

    def of_tokens(self, tokens: Tokens, random: np.random.Generator | None = None) -> Arrays | None:
        """The same of a sample's tokens. For a model on tokens."""
        return self._of_tokens(tokens, self._positions(tokens, self._spec.token_input), random)

    def _of_tokens(
        self, tokens: Tokens, positions: NDArray[np.float64], random: np.random.Generator | None
    ) -> Arrays | None:
        seen = self._spec.token_input
        found = log_time_cells(tokens, seen.tokenizer.patch_size, seen.embedding.buckets)
        cells = CellArrays(found.number.astype(np.int32), np.log1p(found.events.astype(np.float32)), found.bounds)
        if isinstance(self._encoder, Transformer):
            return TokenArrays(cells, positions)
        return GraphArrays(cells, self._graph(positions, random)) if len(tokens) else None

    def _positions(self, tokens: Tokens, seen: TokenInput) -> NDArray[np.float64]:
        """Times count from a window's first token, as on a device; of a whole sample from its start, as published."""
        if seen.window is not None:
            return positions_of(tokens, seen.embedding.time_scale_us)
        return _scaled(tokens, tokens.t, seen)

    def _of_events(
        self, events: NDArray[Any], seen: EventInput, random: np.random.Generator | None
    ) -> GraphArrays | None:
        kept = events[: seen.count] if seen.keep == "first" else events[-seen.count :]
        if len(kept) == 0:
            return None
        positions = np.column_stack([kept["x"], kept["y"], kept["t"] / np.float64(seen.time_scale_us)])
        return GraphArrays(kept["p"].astype(np.int64), self._graph(positions, random))

    def _graph(self, positions: NDArray[np.float64], random: np.random.Generator | None) -> GnnArrays | PcnArrays:
        model, count = self._encoder, len(positions)
        if isinstance(model, Gnn):
            return gnn_arrays(positions, model, self._start(count, random), self._rule, near_rule="nearest")
        assert isinstance(model, Pcn)
        starts = []
        for ratio in model.fps_ratios:
            starts.append(self._start(count, random))
            count = int(np.ceil(ratio * count))
        return pcn_arrays(positions, model, tuple(starts), self._rule)

    def _start(self, count: int, random: np.random.Generator | None) -> int:
        """Number of the point from which others are sampled."""
        return int(random.integers(count)) if self._training and random is not None else 0


def _scaled(tokens: Tokens, t: NDArray[np.uint64], seen: TokenInput) -> NDArray[np.float64]:
    """Column, row and scaled time of each token."""
    return np.column_stack([tokens.x, tokens.y, t / np.float64(seen.embedding.time_scale_us)])
