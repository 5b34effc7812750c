"""Events to what the model is fed: the last T tokens as volumes and positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import spedge
from spedge.bundle import BundleSpec


@dataclass(frozen=True)
class Window:
    """The last tokens of a stream, oldest first.

    volumes: float32 [n, 2, B, P, P], counts. positions: float32 [n, 3]: patch column, patch row, and time since the
    window's first token in units of the time scale.
    """

    volumes: NDArray[np.float32]
    positions: NDArray[np.float32]


class Windower:
    """Turns events into tokens and tokens into windows, as a model's configuration says."""

    def __init__(self, spec: BundleSpec) -> None:
        t = spec.tokenizer
        self.spec = spec
        self._tokenizer = spedge.Tokenizer(
            t.kind,
            width=spec.sensor.width,
            height=spec.sensor.height,
            patch_size=t.patch_size,
            threshold=t.threshold,
            absolute_refractory_us=t.absolute_refractory_us,
            relative_refractory_us=t.relative_refractory_us,
            relative_scale=t.relative_scale,
            decay_per_us=t.decay_per_us,
        )

    def tokenize(self, events: NDArray[Any]) -> Any:
        """All tokens of one recording (`spedge.Tokens`)."""
        self._tokenizer.reset()
        return self._tokenizer.push(events)

    def window(self, tokens: Any, stop: int | None = None) -> Window:
        """The window after the first `stop` tokens (all by default)."""
        end = len(tokens.t) if stop is None else stop
        first = max(0, end - self.spec.tokens)
        t = tokens.t[first:end]
        positions = np.empty((end - first, 3), np.float32)
        positions[:, 0] = tokens.x[first:end]
        positions[:, 1] = tokens.y[first:end]
        positions[:, 2] = (t - t[:1]) / self.spec.embedding.time_scale_us
        return Window(self._volumes(tokens, first, end), positions)

    def _volumes(self, tokens: Any, first: int, end: int) -> NDArray[np.float32]:
        """Log-time volumes of tokens[first:end] (reference: age in steps of 1 ms * 2^k)."""
        size, buckets = self.spec.tokenizer.patch_size, self.spec.embedding.buckets
        offsets = np.asarray(tokens.offsets[first : end + 1])
        events = tokens.events[offsets[0] : offsets[-1]] if end > first else tokens.events[:0]
        counts = np.diff(offsets)
        token = np.repeat(np.arange(end - first), counts)
        age = np.repeat(tokens.t[first:end], counts) - events["t"]
        limits = (1000 << np.arange(buckets - 1)).astype(np.uint64)
        bucket = np.searchsorted(limits, age, side="right")
        cell = ((events["p"] * np.int64(buckets) + bucket) * size + events["y"] % size) * size + events["x"] % size
        shape = (end - first, 2, buckets, size, size)
        volumes = np.bincount(token * self.spec.cells + cell, minlength=int(np.prod(shape)))
        return volumes.astype(np.float32).reshape(shape)
