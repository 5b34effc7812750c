"""Events to what a model is fed: tokens, and the newest of them as volumes and positions. For training and the host."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spedge.model.parts import TokenInput
from spedge.tokens.embedding import log_time_volume, positions_of
from spedge.tokens.tokenizer import Tokenizer, Tokens


@dataclass(frozen=True)
class Window:
    """The last tokens of a stream, oldest first.

    volumes: float32 [n, 2, B, P, P], counts. positions: float64 [n, 3], `positions_of`.
    """

    volumes: NDArray[np.float32]
    positions: NDArray[np.float64]


def tokenizer_of(representation: TokenInput, pool_events: int | None = None) -> Tokenizer:
    """A new tokenizer as the model says; pool_events as a device has it, None for no limit."""
    return Tokenizer(**asdict(replace(representation.tokenizer, pool_events=pool_events)))


def window_of(seen: Tokens, representation: TokenInput) -> Window:
    """What the model is fed for these tokens, which are all that it sees."""
    embedding = representation.embedding
    volumes = log_time_volume(seen, representation.tokenizer.patch_size, embedding.buckets)
    return Window(volumes.astype(np.float32), positions_of(seen, embedding.time_scale_us))
