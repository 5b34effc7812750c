"""Events to what a model is fed: tokens, the newest of them, and the tensors of a bundle's graphs. For training and the
host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.model.graph import GnnArrays, PcnArrays, graph_arrays, graph_inputs, padded
from spedge.model.parts import EventInput, Representation, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.tokens.embedding import log_time_volume, positions_of
from spedge.tokens.tokenizer import Tokenizer, Tokens


@dataclass(frozen=True)
class Window:
    """The last tokens of a stream, oldest first.

    volumes: float32 [n, 2, B, P, P], counts. positions: float64 [n, 3], `positions_in`.
    """

    volumes: NDArray[np.float32]
    positions: NDArray[np.float64]


class Windower:
    """Turns events into tokens, and tokens into what the model sees, as its description says.

    A model on raw events sees each of them as a token of its own: its pixel, its time and its polarity.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec, self._seen = spec, spec.representation
        self._tokenizer = tokenizer_of(self._seen) if isinstance(self._seen, TokenInput) else None

    def tokenize(self, events: NDArray[Any]) -> Tokens:
        """All tokens of one recording, or the events that are kept. events: EVENT_DTYPE, sorted by time."""
        if isinstance(self._seen, EventInput):
            return events_as_tokens(events, self._seen)
        assert self._tokenizer is not None
        self._tokenizer.reset()
        return self._tokenizer.push(events)

    def newest(self, events: NDArray[Any]) -> Tokens:
        """Those of one recording's tokens that the model sees."""
        return seen_of(self.tokenize(events), self._spec)

    def window(self, tokens: Tokens) -> Window:
        """What the model sees after these tokens."""
        return window_of(seen_of(tokens, self._spec), self._spec.token_input)


def tokenizer_of(representation: TokenInput, pool_events: int | None = None) -> Tokenizer:
    """A new tokenizer as the model says; pool_events as a device has it, None for no limit."""
    return Tokenizer.by(representation.tokenizer, pool_events)


def events_as_tokens(events: NDArray[Any], seen: EventInput) -> Tokens:
    """A token of each event that is kept, in a patch of one pixel."""
    kept = events[: seen.count] if seen.keep == "first" else events[-seen.count :]
    return Tokens(kept["x"], kept["y"], kept["t"], np.arange(len(kept) + 1, dtype=np.int64), kept)


def seen_of(tokens: Tokens, spec: ModelSpec) -> Tokens:
    """Those that the model sees when there are these since the stream's start."""
    return tokens.last(spec.window_tokens(len(tokens)))


def window_of(seen: Tokens, representation: TokenInput) -> Window:
    """What the model is fed for these tokens, which are all that it sees."""
    return Window(volumes_of(seen, representation), positions_in(seen, representation))


def volumes_of(seen: Tokens, representation: TokenInput) -> NDArray[np.float32]:
    """Counts of the tokens' log-time volumes: float32 [n, 2, B, P, P]."""
    volumes = log_time_volume(seen, representation.tokenizer.patch_size, representation.embedding.buckets)
    return volumes.astype(np.float32)


def positions_in(seen: Tokens, representation: Representation) -> NDArray[np.float64]:
    """Column, row and scaled time of the tokens that a model sees: float64 [n, 3]."""
    if isinstance(representation, TokenInput) and representation.origin == "window":
        return positions_of(seen, representation.embedding.time_scale_us)
    return scaled(seen, seen.t, representation)


def scaled(seen: Tokens, t: NDArray[np.uint64], representation: Representation) -> NDArray[np.float64]:
    """The same with other times, µs."""
    timed = representation.embedding if isinstance(representation, TokenInput) else representation
    scale = timed.time_scale_us
    return np.column_stack([seen.x, seen.y, t / np.float64(scale)])


def graph_of(seen: Tokens, spec: ModelSpec) -> GnnArrays | PcnArrays | None:
    """The graphs of the tokens that the model sees; None for a model that has none."""
    if isinstance(spec.encoder, Transformer):
        return None
    return graph_arrays(positions_in(seen, spec.representation), spec.encoder)


def structure_inputs(spec: ModelSpec, count: int, graph: GnnArrays | PcnArrays | None) -> dict[str, NDArray[Any]]:
    """What a bundle's graphs take besides features of `count` tokens: `length` int32 [1], or `graph_inputs`."""
    if graph is None:
        return {"length": np.array([count], np.int32)}
    return graph_inputs(graph, spec.encoder, spec.window or 0)


def oracle_inputs(
    spec: ModelSpec, seen: Tokens, graph: GnnArrays | PcnArrays | None, positions: NDArray[np.float64] | None = None
) -> dict[str, NDArray[Any]]:
    """What model.onnx takes for the tokens that the model sees, by name, padded to its size: a batch of one.

    volumes: float32 [1, N, 2, B, P, P], or of a model on events polarities: int32 [1, N]. Of a transformer positions:
    float64 [1, N, 3], `positions_in` where they are not given. And `structure_inputs`.
    """
    rows, kind = spec.window or 0, spec.representation
    structure = structure_inputs(spec, len(seen), graph)
    if isinstance(kind, EventInput):
        return {"polarities": padded(seen.events["p"].astype(np.int32), rows), **structure}
    found: dict[str, NDArray[Any]] = {"volumes": padded(volumes_of(seen, kind), rows)}
    if graph is None:
        found["positions"] = padded(positions_in(seen, kind) if positions is None else positions, rows)
    return found | structure
