"""Events of one sample to the arrays that a model of its family takes. Numpy and the C library, for loaders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.model.graph import GnnArrays, PcnArrays, graph_arrays
from spedge.model.parts import Detector, EventInput, Gnn, Pcn, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.model.window import Windower, events_as_tokens, positions_in, scaled
from spedge.tokens.embedding import log_time_cells
from spedge.tokens.tokenizer import Tokens


class CellArrays(NamedTuple):
    """What tokens are embedded from: the cells of their log-time volumes that hold events.

    number: int32 [m], in a token's volume. log_count: float32 [m], log(1 + count). bounds: int64 [n + 1], token i has
    those from bounds[i] to bounds[i + 1].
    """

    number: NDArray[np.int32]
    log_count: NDArray[np.float32]
    bounds: NDArray[np.int64]


class TokenArrays(NamedTuple):
    """A sample for a transformer. positions: float64 [n, 3], `positions_in`."""

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

    training: points for a graph are drawn from a random start; else from the first one.
    """

    def __init__(self, spec: ModelSpec, training: bool = False) -> None:
        self._spec, self._training = spec, training
        self._encoder = spec.model.encoder if isinstance(spec.model, Detector) else spec.model
        self._windower: Windower | None = None  # made where it is used: it cannot be sent to another process

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_windower": None}

    def __call__(self, events: NDArray[Any], random: np.random.Generator | None = None) -> Arrays | None:
        """events: EVENT_DTYPE, sorted by time. random: draws where points begin, when training.

        None for a sample that a graph cannot be made of: it has no tokens or events.
        """
        if self._windower is None:
            self._windower = Windower(self._spec)
        return self.of_tokens(self._windower.newest(events), random)

    def at(self, part: Tokens | NDArray[Any], time: int, random: np.random.Generator | None = None) -> Arrays | None:
        """A step of a detector at `time`, µs. part: its tokens, or events; their times count back from the step's."""
        seen = self._spec.representation
        if isinstance(seen, EventInput):
            part = events_as_tokens(part, seen)  # type: ignore[arg-type]
        assert isinstance(part, Tokens)
        newest = part if self._spec.window is None else part.last(self._spec.window)
        return self._arrays(newest, scaled(newest, np.uint64(time) - newest.t, seen), random)

    def of_tokens(self, tokens: Tokens, random: np.random.Generator | None = None) -> Arrays | None:
        """The same of the tokens that the model sees."""
        return self._arrays(tokens, positions_in(tokens, self._spec.representation), random)

    def _arrays(
        self, tokens: Tokens, positions: NDArray[np.float64], random: np.random.Generator | None
    ) -> Arrays | None:
        seen = self._spec.representation
        features: CellArrays | NDArray[np.int64]
        if isinstance(seen, TokenInput):
            found = log_time_cells(tokens, seen.tokenizer.patch_size, seen.embedding.buckets)
            log_count = np.log1p(found.events.astype(np.float32))
            features = CellArrays(found.number.astype(np.int32), log_count, found.bounds)
            if isinstance(self._encoder, Transformer):
                return TokenArrays(features, positions)
        else:
            features = tokens.events["p"].astype(np.int64)
        if len(tokens) == 0:
            return None
        return GraphArrays(features, graph_arrays(positions, self._encoder, self._starts(len(tokens), random)))

    def _starts(self, count: int, random: np.random.Generator | None) -> tuple[int, ...]:
        """Number of the point from which others are sampled, each time."""
        model = self._encoder
        if not self._training or random is None:
            return ()
        if isinstance(model, Gnn):
            return (int(random.integers(count)),)
        assert isinstance(model, Pcn)
        starts = []
        for ratio in model.fps_ratios:
            starts.append(int(random.integers(count)))
            count = int(np.ceil(ratio * count))
        return tuple(starts)
