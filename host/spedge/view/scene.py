"""What there is to see of a stream at a time: one function for the page and for files, so that both show the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.tokens.tokenizer import NO_TOKENS, Tokens
from spedge.view.palette import OFF, ON, PANEL, SHADES, TOKEN

#: A token is seen so many times as long as an event.
TOKEN_FADES = 5
#: Boxes of a time stay until the next ones, and so long at most.
BOXES_US = 150_000
#: A box in pixels at a time in µs; `label` is the number of its class, `score` 1 where it is a truth.
SEEN_DTYPE = np.dtype(
    [("t", "<i8"), ("x", "<f4"), ("y", "<f4"), ("w", "<f4"), ("h", "<f4"), ("score", "<f4"), ("label", "<i4")]
)


@dataclass(frozen=True)
class Results:
    """What a model said at times. t: int64 [n], µs, ascending. logits: float32 [n, classes]."""

    labels: tuple[str, ...]
    t: NDArray[np.int64]
    logits: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.t)

    def at(self, t: int) -> int:
        """The number of the newest one at that time; -1 before the first."""
        return int(np.searchsorted(self.t, t, "right")) - 1

    @property
    def shares(self) -> NDArray[np.float64]:
        """Softmax of the logits, float64 [n, classes]."""
        return softmax(self.logits)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of the last axis."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Frame:
    """What is seen at time t (µs), as numbers of colours. events: uint8 [height, width]. tokens: uint8 [rows, columns].

    boxes: SEEN_DTYPE. event_count, token_count: how many of them are seen. result: the number of the newest one, or -1.
    """

    t: int
    events: NDArray[np.uint8]
    tokens: NDArray[np.uint8]
    boxes: NDArray[np.void]
    event_count: int
    token_count: int
    result: int


@dataclass(frozen=True)
class Scene:
    """A whole stream. events: EVENT_DTYPE, sorted. boxes: SEEN_DTYPE, sorted by t. names: of the boxes' classes, as far
    as they have some. steps: times of all steps of the detector whose boxes these are, ascending. Times in µs, sizes in
    pixels."""

    width: int
    height: int
    events: NDArray[np.void]
    patch_size: int = 16
    tokens: Tokens = field(default_factory=lambda: NO_TOKENS)
    results: Results | None = None
    boxes: NDArray[np.void] = field(default_factory=lambda: np.empty(0, SEEN_DTYPE))
    names: tuple[str, ...] = ()
    steps: NDArray[np.int64] | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return -(-self.height // self.patch_size), -(-self.width // self.patch_size)

    def frame(self, t: int, fade_us: int) -> Frame:
        """What is seen at t: events and tokens that are younger than their fade, the newest of each place."""
        seen = younger(self.events["t"], t, fade_us)
        fired = younger(self.tokens.t, t, TOKEN_FADES * fade_us)
        rows, columns = self.grid
        surface, patches = Surface(self.height, self.width), Surface(rows, columns)
        shown = self.events[seen]
        surface.add(shown["x"], shown["y"], shown["t"], shown["p"])
        patches.add(self.tokens.x[fired], self.tokens.y[fired], self.tokens.t[fired])
        return Frame(
            t=t,
            events=surface.events(t, fade_us),
            tokens=patches.tokens(t, TOKEN_FADES * fade_us),
            boxes=boxes_at(self.boxes, t),
            event_count=seen.stop - seen.start,
            token_count=fired.stop - fired.start,
            result=-1 if self.results is None else self.results.at(t),
        )


def younger(times: NDArray[Any], t: int, fade_us: int) -> slice:
    """Those of t - fade_us < times <= t, of ascending ones."""
    first, end = np.searchsorted(times, np.array([max(t - fade_us + 1, 0), max(t + 1, 0)], np.uint64))
    return slice(int(first), int(end))


def boxes_at(boxes: NDArray[np.void], t: int) -> NDArray[np.void]:
    """Those of the newest time that has some, if it is not long ago; of truths and of others. boxes: SEEN_DTYPE, sorted
    by t."""
    first, end = np.searchsorted(boxes["t"], [t - BOXES_US, t + 1])
    recent = boxes[first:end]
    true = recent["score"] >= 1
    parts = [part[part["t"] == part["t"][-1:]] for part in (recent[true], recent[~true]) if len(part)]
    return np.concatenate([boxes[:0], *parts])


class Surface:
    """The newest of each place of a grid: when it was, and its polarity."""

    def __init__(self, rows: int, columns: int) -> None:
        self._shape = rows, columns
        self._t = np.full(rows * columns, np.iinfo(np.int64).min // 2)
        self._p = np.zeros(rows * columns, np.uint8)

    def add(self, x: NDArray[Any], y: NDArray[Any], t: NDArray[Any], p: NDArray[Any] | None = None) -> None:
        """Columns, rows, times in µs, and polarities where there are any; the newest last."""
        place = y.astype(np.int64) * self._shape[1] + x
        self._t[place] = t  # of equal places the last one stays
        if p is not None:
            self._p[place] = p

    def events(self, t: int, fade_us: int) -> NDArray[np.uint8]:
        """Numbers of colours at time t, uint8 [rows, columns]."""
        return self._shades(t, fade_us, np.where(self._p, np.uint8(ON), np.uint8(OFF)))

    def tokens(self, t: int, fade_us: int) -> NDArray[np.uint8]:
        """The same for tokens, which have no polarity."""
        return self._shades(t, fade_us, np.uint8(TOKEN))

    def _shades(self, t: int, fade_us: int, first: Any) -> NDArray[np.uint8]:
        age = t - self._t
        seen = (age >= 0) & (age < fade_us)
        shade = (SHADES * (fade_us - np.where(seen, age, fade_us - 1)) - 1) // fade_us
        return np.where(seen, first + shade.astype(np.uint8), np.uint8(PANEL)).reshape(self._shape)
