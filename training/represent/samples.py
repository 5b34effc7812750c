"""Events of one sample to the arrays that a model of its family takes. Numpy and the C library, for loaders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.model.graph import GnnArrays, PcnArrays, graph_arrays
from spedge.model.parts import Gnn, Pcn, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.model.window import Windower, positions_in
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
        self._windower = Windower(spec)

    def __call__(self, events: NDArray[Any], random: np.random.Generator | None = None) -> Arrays | None:
        """events: EVENT_DTYPE, sorted by time. random: draws where points begin, when training.

        None for a sample that a graph cannot be made of: it has no tokens or events.
        """
        return self.of_tokens(self._windower.newest(events), random)

    def of_tokens(self, tokens: Tokens, random: np.random.Generator | None = None) -> Arrays | None:
        """The same of the tokens that the model sees."""
        seen, model = self._spec.representation, self._spec.model
        positions = positions_in(tokens, seen)
        features: CellArrays | NDArray[np.int64]
        if isinstance(seen, TokenInput):
            found = log_time_cells(tokens, seen.tokenizer.patch_size, seen.embedding.buckets)
            features = CellArrays(
                found.number.astype(np.int32), np.log1p(found.events.astype(np.float32)), found.bounds
            )
            if isinstance(model, Transformer):
                return TokenArrays(features, positions)
        else:
            features = tokens.events["p"].astype(np.int64)
        if len(tokens) == 0:
            return None
        return GraphArrays(features, graph_arrays(positions, model, self._starts(len(tokens), random)))

    def _starts(self, count: int, random: np.random.Generator | None) -> tuple[int, ...]:
        """Number of the point from which others are sampled, each time."""
        if not self._training or random is None:
            return ()
        model = self._spec.model
        if isinstance(model, Gnn):
            return (int(random.integers(count)),)
        assert isinstance(model, Pcn)
        starts = []
        for ratio in model.fps_ratios:
            starts.append(int(random.integers(count)))
            count = int(np.ceil(ratio * count))
        return tuple(starts)
