"""Chunks of a recording to the steps of a detector: one for each chunk, at its end (experiments.md B)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spedge.model.parts import Detector, TokenInput
from spedge.model.spec import ModelSpec
from spedge.model.window import tokenizer_of
from spedge.tokens.tokenizer import Tokenizer

from ..augment.paper import BoxedChange
from .samples import Arrays, Represent


class Chunked(Protocol):
    """What a recording holds from start_us to before end_us: events, EVENT_DTYPE, and boxes (fields t, x, y of the
    upper left corner, w, h, label)."""

    start_us: int
    end_us: int
    events: NDArray[Any]
    boxes: NDArray[Any]


class Step(NamedTuple):
    """One step at `time`, µs. arrays: what the encoder takes; None: nothing. labels: float32 [n, 5], class, centre x,
    centre y, width, height in pixels. still: its chunk has no events, and a device makes no step."""

    time: int
    arrays: Arrays | None
    labels: NDArray[np.float32]
    still: bool = False


class Stepper:
    """Chunks to steps. One for each process.

    training: points for a graph are drawn from a random start; else from the first one.
    """

    def __init__(self, spec: ModelSpec, training: bool = False) -> None:
        assert isinstance(spec.model, Detector)
        self._spec = spec
        self._represent = Represent(spec, training)

    def tokenizer(self) -> Tokenizer | None:
        """A new one, as a stream of chunks begins with; None for a model on events."""
        seen = self._spec.representation
        return tokenizer_of(seen) if isinstance(seen, TokenInput) else None

    def skip(self, chunks: Sequence[Chunked], tokenizer: Tokenizer | None, change: BoxedChange | None = None) -> None:
        """Bring a stream's tokenizer to where it stands after these chunks."""
        if tokenizer is not None:
            tokenizer.push(self._changed(chunks, change)[0])

    def __call__(
        self,
        chunks: Sequence[Chunked],
        tokenizer: Tokenizer | None,
        change: BoxedChange | None = None,
        random: np.random.Generator | None = None,
    ) -> list[Step]:
        """Steps of the chunks, which follow on those that the tokenizer saw before."""
        events, labels = self._changed(chunks, change)
        ends = np.array([chunk.end_us - 1 for chunk in chunks], np.uint64)
        if tokenizer is None:
            cuts = [0, *events["t"].searchsorted(ends, "right").tolist()]
            parts: list[Any] = [events[a:b] for a, b in pairwise(cuts)]
        else:
            tokens = tokenizer.push(events)
            cuts = [0, *tokens.t.searchsorted(ends, "right").tolist()]  # what comes after the last step falls away
            parts = [tokens.between(a, b) for a, b in pairwise(cuts)]
        return [
            Step(int(end), self._represent.at(part, int(end), random), own, not len(chunk.events))
            for part, end, own, chunk in zip(parts, ends, labels, chunks, strict=True)
        ]

    def undone(self, before: Sequence[Step], after: Sequence[Step]) -> bool:
        """Whether a change of a window has to be undone: all labels are gone, or, of a model on tokens, all tokens."""
        no_labels = any(len(step.labels) for step in before) and not any(len(step.labels) for step in after)
        if not isinstance(self._spec.representation, TokenInput):
            return no_labels
        return no_labels or (any(map(_points, before)) and not any(map(_points, after)))

    def _changed(
        self, chunks: Sequence[Chunked], change: BoxedChange | None
    ) -> tuple[NDArray[Any], list[NDArray[np.float32]]]:
        events = np.concatenate([chunk.events for chunk in chunks])
        newest = [_newest(chunk.boxes) for chunk in chunks]
        boxes = np.concatenate(newest)
        of = np.repeat(np.arange(len(chunks)), [len(own) for own in newest])
        corners = np.stack([boxes[side].astype(np.float64) for side in "xywh"], axis=1)
        if change is not None:
            sensor = self._spec.sensor
            events, corners, kept = change(events, corners, sensor.width, sensor.height)
            boxes, of = boxes[kept], of[kept]
        labels = np.concatenate([boxes["label"][:, None], corners[:, :2] + corners[:, 2:] / 2, corners[:, 2:]], axis=1)
        return events, [labels[of == i].astype(np.float32) for i in range(len(chunks))]


def _newest(boxes: NDArray[Any]) -> NDArray[Any]:
    """Those nearest to the chunk's end, where labels come more often than steps (1Mpx, eTraM)."""
    return boxes[boxes["t"] == boxes["t"].max()] if len(boxes) else boxes


def _points(step: Step) -> int:
    return 0 if step.arrays is None else step.arrays.points
