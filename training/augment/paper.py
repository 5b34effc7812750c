"""How the paper draws its changes of a training sample: of classification, of detection (experiments.md F)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import boxes as on_boxes
from . import transforms
from .cutmix import cutmix, draw_area
from .transforms import Events, area_around

FLIP = 0.5  #: probability
_AREA, _TIME, _SHARE = (0.05, 0.5), (0.1, 0.75), (0.1, 0.75)
_SHEAR, _ROLL, _TURN = 0.3, 5, np.deg2rad(30)
_BOXED_AREA = (0.05, 0.3)
_BOXED_TURN, _STREAM_TURN = np.deg2rad(20), np.deg2rad(10)


@dataclass(frozen=True)
class Mirror:
    """What a flip does to labels: classes that are each other's mirror image, numbered from 0."""

    pairs: tuple[tuple[int, int], ...] = ()

    def flip(self, label: NDArray[np.float32]) -> NDArray[np.float32]:
        """label: shares of the classes, float32 [classes]."""
        out = label.copy()
        for a, b in self.pairs:
            out[a], out[b] = label[b], label[a]
        return out


@dataclass(frozen=True)
class ClassifierChanges:
    """CutMix with another sample, a flip now and then, and one of seven changes or none, each as likely.

    width, height: of the sensor. mirror: what a flip does to labels; None: samples are never flipped.
    """

    width: int
    height: int
    mirror: Mirror | None = Mirror()

    def __call__(
        self,
        events: Events,
        label: NDArray[np.float32],
        other: Callable[[], tuple[Events, NDArray[np.float32]]],
        random: np.random.Generator,
    ) -> tuple[Events, NDArray[np.float32]]:
        """other: gives another random sample of the training part. label: shares of the classes, float32 [classes]."""
        theirs, their_label = other()
        events, share = cutmix(events, theirs, draw_area(random, self.width, self.height))
        label = (share * label + (1 - share) * their_label).astype(np.float32)
        if self.mirror is not None and random.random() < FLIP:
            events, label = transforms.flip(events, self.width), self.mirror.flip(label)
        return self._one_of(events, random), label

    def _one_of(self, events: Events, random: np.random.Generator) -> Events:
        width, height = self.width, self.height
        match random.integers(7):
            case 0:
                return events
            case 1:
                return _unless_empty(transforms.drop_area(events, _draw_area(random, _AREA, width, height)), events)
            case 2:
                return _drop_time(events, random)
            case 3:
                return _drop_events(events, random)
            case 4:
                return transforms.shear(events, random.uniform(-_SHEAR, _SHEAR), width)
            case 5:
                dx, dy = random.integers(-_ROLL, _ROLL, 2, endpoint=True)
                return transforms.roll(events, int(dx), int(dy), width, height)
            case _:
                return transforms.rotate(events, random.uniform(-_TURN, _TURN), width, height)


@dataclass(frozen=True)
class BoxedChange:
    """A change of detection's, drawn once: applied to the events and boxes of a window, or of a whole recording.

    kind: "none", "area", "time", "events" or "rotate"; numbers: its draw. seed: of the draws for each event.
    """

    flip: bool
    kind: str
    numbers: tuple[float, ...] = ()
    seed: int = 0

    def __call__(
        self, events: Events, boxes: on_boxes.Boxes, width: int, height: int
    ) -> tuple[Events, on_boxes.Boxes, NDArray[np.intp]]:
        """boxes: float64 [n, 4], x, y, w, h. Returns events, the boxes that are left, and their rows in `boxes`."""
        kept = np.ones(len(boxes), np.bool_)
        if self.flip:
            events, boxes = transforms.flip(events, width), on_boxes.flip_boxes(boxes, width)
        if self.kind == "area":
            ratio, x, y = self.numbers
            area = area_around(int(x), int(y), ratio, width, height)
            events, kept = transforms.drop_area(events, area), on_boxes.untouched(boxes, area)
        elif self.kind == "time":
            events = _unless_empty(transforms.drop_time(events, *self.numbers), events)
        elif self.kind == "events":
            draws = np.random.default_rng(self.seed).random(len(events))
            events = _unless_empty(transforms.drop_events(events, self.numbers[0], draws), events)
        elif self.kind == "rotate":
            boxes, kept = on_boxes.rotate_boxes(boxes, self.numbers[0], width, height)
            events = transforms.rotate(events, self.numbers[0], width, height)
        return events, boxes[kept], np.flatnonzero(kept)


def draw_boxed(random: np.random.Generator, width: int, height: int, stream: bool, mirror: bool = True) -> BoxedChange:
    """A change for a random window, or for a whole streamed recording, which turns less and keeps all its area.

    mirror: whether a mirrored box has the same label; else none is flipped.
    """
    kinds = ("none", "time", "events", "rotate") if stream else ("none", "area", "time", "events", "rotate")
    flipped = bool(random.random() < FLIP) and mirror
    kind = kinds[random.integers(len(kinds))]
    turn = _STREAM_TURN if stream else _BOXED_TURN
    numbers: tuple[float, ...] = ()
    if kind == "area":
        numbers = (random.uniform(*_BOXED_AREA), int(random.integers(width)), int(random.integers(height)))
    elif kind == "time":
        numbers = (random.random(), random.uniform(*_TIME))
    elif kind == "events":
        numbers = (random.uniform(*_SHARE),)
    elif kind == "rotate":
        numbers = (random.uniform(-turn, turn),)
    return BoxedChange(flipped, kind, numbers, int(random.integers(1 << 32)))


def _draw_area(random: np.random.Generator, ratios: tuple[float, float], width: int, height: int) -> transforms.Area:
    ratio = random.uniform(*ratios)
    return area_around(int(random.integers(width)), int(random.integers(height)), ratio, width, height)


def _drop_time(events: Events, random: np.random.Generator) -> Events:
    return _unless_empty(transforms.drop_time(events, random.random(), random.uniform(*_TIME)), events)


def _drop_events(events: Events, random: np.random.Generator) -> Events:
    share = random.uniform(*_SHARE)
    return _unless_empty(transforms.drop_events(events, share, random.random(len(events))), events)


def _unless_empty(changed: Events, events: Events) -> Events:
    """A change that would leave nothing leaves the sample as it was."""
    return changed if len(changed) else events
