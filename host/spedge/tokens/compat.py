"""The classes of the published Spiking Patches package, by the same names, keywords and call shapes.

Research code switches by changing one import. Arrays in: x uint16, y uint16, t uint64 (µs), p bool. Out: the tokens'
x, y (patch column and row), t, and events_x, events_y, events_t, events_p: lists with one array per token. New code is
better off with spedge.Tokenizer, which hands out all events as one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import Columns
from spedge.tokens.batch import tokenize_batch
from spedge.tokens.tokenizer import Tokenizer, Tokens

#: x, y, t, events_x, events_y, events_t, events_p
Result = tuple[
    NDArray[np.uint16],
    NDArray[np.uint16],
    NDArray[np.uint64],
    list[NDArray[np.uint16]],
    list[NDArray[np.uint16]],
    list[NDArray[np.uint64]],
    list[NDArray[np.bool_]],
]
#: x, y, t, p
Events = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


class _Tokenizer:
    """What kinds (_Continuous, _Discrete) and ways to call them (_Batch, _Streaming) have in common."""

    def _make(self, kind: str, **parameters: Any) -> None:
        """Keep what a spedge.Tokenizer is made of. Raises UsageError as that does."""
        raise NotImplementedError


class _Batch(_Tokenizer):
    def _make(self, kind: str, **parameters: Any) -> None:
        Tokenizer(kind, **parameters)  # raises UsageError now
        self._kind, self._parameters = kind, parameters

    def tokenize_batch(self, batch: Sequence[Events]) -> list[Result]:
        """Tokens of each of several streams (x, y, t, p), in their order; each starts anew."""
        streams = [_columns(*events) for events in batch]
        return [_result(tokens) for tokens in tokenize_batch(streams, self._kind, **self._parameters)]


class _Streaming(_Tokenizer):
    def _make(self, kind: str, **parameters: Any) -> None:
        self._tokenizer = Tokenizer(kind, **parameters)

    def stream(self, x: NDArray[Any], y: NDArray[Any], t: NDArray[Any], p: NDArray[Any]) -> Result:
        """Tokens that fire with these events, which go on where the last ones ended."""
        return _result(self._tokenizer.push(_columns(x, y, t, p)))

    def reset(self) -> None:
        """Forget all state."""
        self._tokenizer.reset()


class _Continuous(_Tokenizer):
    def __init__(
        self,
        absolute_refractory_period: int,
        decay: float,
        height: int,
        patch_size: int,
        relative_refractory_period: int,
        relative_refractory_scale: float,
        spike_threshold: float,
        width: int,
    ) -> None:
        self._make(
            "continuous",
            absolute_refractory_us=absolute_refractory_period,
            decay_per_us=decay,
            height=height,
            patch_size=patch_size,
            relative_refractory_us=relative_refractory_period,
            relative_scale=relative_refractory_scale,
            threshold=spike_threshold,
            width=width,
        )


class _Discrete(_Tokenizer):
    def __init__(self, decay: int, delay: int, height: int, patch_size: int, spike_threshold: int, width: int) -> None:
        self._make(
            "discrete",
            duration_us=decay,
            absolute_refractory_us=delay,
            height=height,
            patch_size=patch_size,
            threshold=spike_threshold,
            width=width,
        )


class ContinuousBatchTokenizer(_Batch, _Continuous):
    """The paper's tokenizer, on whole streams."""


class ContinuousStreamingTokenizer(_Streaming, _Continuous):
    """The paper's tokenizer, on a stream in pieces."""


class DiscreteBatchTokenizer(_Batch, _Discrete):
    """decay: µs after which an event no longer counts (duration_us). delay: µs of the absolute refractory period."""


class DiscreteStreamingTokenizer(_Streaming, _Discrete):
    """decay: µs after which an event no longer counts (duration_us). delay: µs of the absolute refractory period."""


class VoxelTokenizer(_Batch):
    """Has stream() and reset() like the others, but every call stands alone."""

    def __init__(self, duration_us: int, height: int, patch_size: int, threshold: int, width: int) -> None:
        self._make(
            "voxel", duration_us=duration_us, height=height, patch_size=patch_size, threshold=threshold, width=width
        )

    def stream(self, x: NDArray[Any], y: NDArray[Any], t: NDArray[Any], p: NDArray[Any]) -> Result:
        """Tokens of these events."""
        return _result(Tokenizer(self._kind, **self._parameters).push(_columns(x, y, t, p)))

    def reset(self) -> None:
        """There is no state to forget."""


def _columns(x: NDArray[Any], y: NDArray[Any], t: NDArray[Any], p: NDArray[Any]) -> Columns:
    return Columns(t=np.asarray(t), x=np.asarray(x), y=np.asarray(y), p=np.asarray(p))


def _result(tokens: Tokens) -> Result:
    ends = tokens.offsets.tolist()
    x, y, t = (_split(np.ascontiguousarray(tokens.events[name]), ends) for name in ("x", "y", "t"))
    return tokens.x, tokens.y, tokens.t, x, y, t, _split(tokens.events["p"].astype(np.bool_), ends)


def _split(values: NDArray[Any], ends: list[int]) -> list[NDArray[Any]]:
    return [values[start:end] for start, end in pairwise(ends)]
