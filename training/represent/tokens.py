"""Events to what the model is fed: the newest tokens as volumes and positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.model.bundle import BundleSpec
from spedge.model.reference import tokenizer_of
from spedge.tokens.embedding import log_time_volume, positions_of
from spedge.tokens.tokenizer import Tokens


@dataclass(frozen=True)
class Window:
    """The last tokens of a stream, oldest first.

    volumes: float32 [n, 2, B, P, P], counts. positions: float64 [n, 3], `positions_of`.
    """

    volumes: NDArray[np.float32]
    positions: NDArray[np.float64]


class Windower:
    """Turns events into tokens and tokens into windows, as a model's configuration says."""

    def __init__(self, spec: BundleSpec) -> None:
        self.spec = spec
        self._tokenizer = tokenizer_of(spec)

    def tokenize(self, events: NDArray[Any]) -> Tokens:
        """All tokens of one recording."""
        self._tokenizer.reset()
        return self._tokenizer.push(events)

    def window(self, tokens: Tokens) -> Window:
        """What the model sees after these tokens."""
        last = tokens.last(self.spec.window_tokens(len(tokens)))
        volumes = log_time_volume(last, self.spec.tokenizer.patch_size, self.spec.embedding.buckets)
        return Window(volumes.astype(np.float32), positions_of(last, self.spec.embedding.time_scale_us))
