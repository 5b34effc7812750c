"""`gestures`: a data set we make ourselves. numpy only.

A simulated 128x128 event camera watches a shape for one second. The classes differ in how the shape moves and in
nothing else: shape, size, contrast, brightness (lighter or darker than what is behind it), background and place are
drawn alike for all of them. Every recording follows from its camera, seed, class and number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge import recordings
from spedge.base.errors import InputError
from spedge.model.parts import Sensor

from .base import About, Dataset, Description, Sample
from .dvs import PixelConfig, Pixels

LABELS = (
    "swipe left", "swipe right", "swipe up", "swipe down", "circle clockwise", "circle counter-clockwise",
    "wave", "approach", "retreat", "clap", "noise",
)  # fmt: skip
ABOUT = About("-", "made here", "Apache-2.0", "nothing to get: a simulated camera makes it")
DURATION_US = 1_000_000
FRAME_US = 2_000
TRAIN_PER_CLASS, TEST_PER_CLASS = 80, 20
TRAIN_SEED, TEST_SEED = 1, 2

_SIDE = 128  # of the sensor in whose pixels places and sizes are told

_Array = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """Who looks at the scene. name: of the data set. side: of its square sensor, in pixels: the more, the finer the
    same scene is seen. pixels: what they are like; `noise_hz` is a factor here, as recordings differ in their noise."""

    name: str
    side: int
    pixels: PixelConfig

    @property
    def scale(self) -> float:
        """Pixels for one of the sensor in whose pixels places and sizes are told."""
        return self.side / _SIDE

    @property
    def description(self) -> Description:
        """Of the data set that it makes."""
        return Description(self.name, f"{self.name} (made here)", Sensor(self.side, self.side), LABELS)


CAMERA = Camera("gestures", _SIDE, PixelConfig(noise_hz=1.0))
DESCRIPTION = CAMERA.description


@dataclass(frozen=True)
class Pose:
    """Where a shape is: centre from the middle of the sensor (x right, y down), and its radius; in pixels of a sensor
    of 128x128."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Look:
    """What does not depend on the class. edge_px: how wide a shape's edge is, in the camera's own pixels."""

    shape: Callable[[_Array, _Array], _Array]
    radius: float
    angle: float
    contrast: float
    edge_px: float
    background: _Array
    noise_hz: float


def record(label: str | int, number: int, seed: int, camera: Camera = CAMERA) -> NDArray[Any]:
    """One recording: events (EVENT_DTYPE) of one second, sorted by time.

    label: name or index. The same (label, number, seed, camera) always gives the same events.
    """
    index = LABELS.index(label) if isinstance(label, str) else label
    random = np.random.default_rng((seed, index, number))
    look = _look(random, LABELS[index] == "noise", camera)
    motion = _MOTIONS[LABELS[index]](look.radius, random)
    config = replace(camera.pixels, noise_hz=camera.pixels.noise_hz * look.noise_hz)
    pixels = Pixels(camera.side, camera.side, config, random)
    times = range(0, DURATION_US + FRAME_US, FRAME_US)
    return np.concatenate([pixels.step(t, _frame(look, motion(t / DURATION_US), camera)) for t in times])


def make(
    parts: Sequence[str] = ("train", "test"),
    train_per_class: int = TRAIN_PER_CLASS,
    test_per_class: int = TEST_PER_CLASS,
    on_progress: Callable[[float], None] | None = None,
    camera: Camera = CAMERA,
) -> Dataset:
    """The data set, made now (a fraction of a second a recording). parts: those wanted. on_progress: share done."""
    wanted = {"train": (TRAIN_SEED, train_per_class), "test": (TEST_SEED, test_per_class)}
    total = len(LABELS) * sum(wanted[part][1] for part in parts)
    made: dict[str, list[Sample]] = {"train": [], "test": []}
    for part in parts:
        seed, count = wanted[part]
        for number in range(count):
            for index, label in enumerate(LABELS):
                made[part].append(Sample(record(index, number, seed, camera), index, f"{label} {number}, seed {seed}"))
                if on_progress is not None:
                    on_progress(sum(map(len, made.values())) / total)
    return _dataset(camera, made)


def write(folder: str | os.PathLike[str], dataset: Dataset) -> None:
    """Write a data set's recordings as `folder/{train,test}/<class>/<number>.raw` (EVT2), for `load` and for others."""
    for part, samples in (("train", dataset.train), ("test", dataset.test)):
        for number, sample in enumerate(samples):
            path = Path(folder) / part / dataset.labels[sample.label] / f"{number:05d}.raw"
            path.parent.mkdir(parents=True, exist_ok=True)
            recordings.write(path, sample.events, dataset.width, dataset.height)


def load(folder: str | os.PathLike[str], camera: Camera = CAMERA) -> Dataset:
    """Read what `write` wrote. Raises InputError when there is none of it, a recording is damaged or of a sensor of
    another size."""
    root = Path(folder)
    parts: dict[str, list[Sample]] = {"train": [], "test": []}
    for part, samples in parts.items():
        for index, label in enumerate(LABELS):
            for file in sorted((root / part / label).glob("*.raw")):
                samples.append(Sample(_read(file, camera), index, str(file)))
    if not any(parts.values()):
        raise InputError(
            f"{root} holds no gestures ({{train,test}}/<class>/<number>.raw): leave the data out to make them."
        )
    return _dataset(camera, parts)


def _read(file: Path, camera: Camera) -> NDArray[Any]:
    recording = recordings.open(file)
    if (recording.width, recording.height) != (camera.side, camera.side):
        raise InputError(
            f"{file}: {recording.width}x{recording.height}, and '{camera.name}' is of {camera.side}x{camera.side}: "
            "leave the data out to make it."
        )
    return recording.events()


def _dataset(camera: Camera, parts: dict[str, list[Sample]]) -> Dataset:
    return Dataset(camera.name, camera.side, camera.side, LABELS, tuple(parts["train"]), tuple(parts["test"]))


def read(data: str | os.PathLike[str] | None, parts: Sequence[str], camera: Camera = CAMERA) -> Dataset:
    """The data set from a folder, or made."""
    return make(parts, camera=camera) if data is None else load(data, camera)


# ---------------------------------------------------------------- what is seen


def _look(random: np.random.Generator, noise: bool, camera: Camera) -> Look:
    noise_hz = float(np.exp(random.uniform(np.log(0.1), np.log(1.5))))
    if noise:  # nothing moves, so there is something to see only when the noise is stronger
        noise_hz *= float(random.uniform(1, 8))
    return Look(
        shape=_SHAPES[random.integers(len(_SHAPES))],
        radius=float(random.uniform(12, 22)),
        angle=float(random.uniform(0, 2 * np.pi)),
        contrast=float(random.choice([-1, 1]) * random.uniform(0.5, 1.0)),
        edge_px=float(random.uniform(1.0, 2.5)),
        background=_background(random, camera),
        noise_hz=noise_hz,
    )


def _background(random: np.random.Generator, camera: Camera) -> _Array:
    """Log intensity behind the shape: a few slow waves of light."""
    y, x = np.mgrid[0 : camera.side, 0 : camera.side].astype(np.float32) / np.float32(camera.scale)
    out = np.zeros((camera.side, camera.side), np.float32)
    for _ in range(4):
        fx, fy = random.uniform(-0.1, 0.1, 2)
        out += np.float32(random.uniform(0, 0.12)) * np.sin(fx * x + fy * y + random.uniform(0, 2 * np.pi))
    return out.astype(np.float32)


def _frame(look: Look, poses: tuple[Pose, ...], camera: Camera) -> _Array:
    """Log intensity [height, width] of shapes in front of the background."""
    side, scale = camera.side, camera.scale
    cover = np.zeros((side, side), np.float32)
    cos, sin = np.float32(np.cos(look.angle)), np.float32(np.sin(look.angle))
    for pose in poses:
        centre_x, centre_y, radius = side / 2 + scale * pose.x, side / 2 + scale * pose.y, scale * pose.radius
        reach = _FARTHEST * radius + look.edge_px
        columns, rows = _span(centre_x, reach, side), _span(centre_y, reach, side)
        x = (np.arange(columns.start, columns.stop) - centre_x).astype(np.float32)[None, :] / np.float32(radius)
        y = (np.arange(rows.start, rows.stop) - centre_y).astype(np.float32)[:, None] / np.float32(radius)
        distance = look.shape(cos * x + sin * y, cos * y - sin * x) * np.float32(radius)
        part = cover[rows, columns]
        np.maximum(part, np.clip(0.5 - distance / np.float32(look.edge_px), 0, 1), out=part)
        # Light mixes linearly at a soft edge: log(1 - cover + cover * ratio) relative to the background.
    frame = look.background.copy()
    shown = cover > 0
    frame[shown] += np.log1p(cover[shown] * np.float32(np.expm1(look.contrast)))
    return frame


def _span(centre: float, reach: float, size: int) -> slice:
    """Pixels within reach of the centre."""
    return slice(min(max(int(centre - reach), 0), size), max(min(int(centre + reach) + 2, size), 0))


def _disc(x: _Array, y: _Array) -> _Array:
    return np.sqrt(x * x + y * y) - 1


def _ring(x: _Array, y: _Array) -> _Array:
    return np.abs(np.sqrt(x * x + y * y) - np.float32(0.7)) - np.float32(0.3)


def _box(x: _Array, y: _Array) -> _Array:
    return np.maximum(np.abs(x) - np.float32(0.9), np.abs(y) - np.float32(0.7))


def _bar(x: _Array, y: _Array) -> _Array:
    return np.maximum(np.abs(x) - np.float32(1.2), np.abs(y) - np.float32(0.4))


def _cross(x: _Array, y: _Array) -> _Array:
    return np.minimum(_bar(x, y), _bar(y, x))


def _triangle(x: _Array, y: _Array) -> _Array:
    return np.maximum(np.float32(0.866) * np.abs(x) + np.float32(0.5) * y, -y) - np.float32(0.5)


#: No shape reaches farther from its centre than this many radii.
_FARTHEST = 1.3
_SHAPES = (_disc, _ring, _box, _bar, _cross, _triangle)

# ---------------------------------------------------------------- how it moves

#: Poses at a time from 0 to 1.
_Motion = Callable[[float], tuple[Pose, ...]]


def _swipe(direction_deg: float) -> Callable[[float, np.random.Generator], _Motion]:
    """Straight across the view, again and again (it comes back out of sight)."""

    def motion(radius: float, random: np.random.Generator) -> _Motion:
        angle = np.deg2rad(direction_deg + random.uniform(-15, 15))
        offset = random.uniform(-25, 25)
        reach = 80 + 1.3 * radius
        distance, phase = random.uniform(130, 240), random.uniform(0, 2 * reach)

        def at(t: float) -> tuple[Pose, ...]:
            along = (phase + distance * t) % (2 * reach) - reach
            x = along * np.cos(angle) - offset * np.sin(angle)
            y = along * np.sin(angle) + offset * np.cos(angle)
            return (Pose(x, y, radius),)

        return at

    return motion


def _circle(sign: int) -> Callable[[float, np.random.Generator], _Motion]:
    """Round a centre; clockwise as seen on the sensor for sign 1."""

    def motion(radius: float, random: np.random.Generator) -> _Motion:
        x, y = random.uniform(-15, 15, 2)
        path, turns, phase = random.uniform(20, 35), random.uniform(0.8, 1.5), random.uniform(0, 2 * np.pi)

        def at(t: float) -> tuple[Pose, ...]:
            angle = phase + sign * 2 * np.pi * turns * t
            return (Pose(x + path * np.cos(angle), y + path * np.sin(angle), radius),)

        return at

    return motion


def _wave(radius: float, random: np.random.Generator) -> _Motion:
    """To and fro, left and right."""
    x, y = random.uniform(-20, 20, 2)
    tilt = np.deg2rad(random.uniform(-15, 15))
    reach, times, phase = random.uniform(15, 30), random.uniform(1.5, 2.5), random.uniform(0, 2 * np.pi)

    def at(t: float) -> tuple[Pose, ...]:
        along = reach * np.sin(phase + 2 * np.pi * times * t)
        return (Pose(x + along * np.cos(tilt), y + along * np.sin(tilt), radius),)

    return at


def _zoom(sign: int) -> Callable[[float, np.random.Generator], _Motion]:
    """Larger (sign 1) or smaller at a steady rate."""

    def motion(radius: float, random: np.random.Generator) -> _Motion:
        x, y = random.uniform(-20, 20, 2)
        middle, growth = radius * random.uniform(0.9, 1.3), random.uniform(1.2, 2.0)

        def at(t: float) -> tuple[Pose, ...]:
            return (Pose(x, y, middle * np.exp(sign * growth * (t - 0.5))),)

        return at

    return motion


def _clap(radius: float, random: np.random.Generator) -> _Motion:
    """Two of the shape, to each other and apart, left and right."""
    x, y = random.uniform(-15, 15, 2)
    tilt = np.deg2rad(random.uniform(-15, 15))
    radius *= 0.8
    reach, times, phase = random.uniform(15, 25), random.uniform(1.5, 2.5), random.uniform(0, 2 * np.pi)

    def at(t: float) -> tuple[Pose, ...]:
        half = 0.9 * radius + reach * (1 + np.sin(phase + 2 * np.pi * times * t)) / 2
        dx, dy = half * np.cos(tilt), half * np.sin(tilt)
        return (Pose(x - dx, y - dy, radius), Pose(x + dx, y + dy, radius))

    return at


def _still(radius: float, random: np.random.Generator) -> _Motion:
    """Nothing moves."""
    x, y = random.uniform(-40, 40, 2)
    pose = Pose(x, y, radius)
    return lambda t: (pose,)


_MOTIONS: dict[str, Callable[[float, np.random.Generator], _Motion]] = {
    "swipe left": _swipe(180),
    "swipe right": _swipe(0),
    "swipe up": _swipe(270),
    "swipe down": _swipe(90),
    "circle clockwise": _circle(1),
    "circle counter-clockwise": _circle(-1),
    "wave": _wave,
    "approach": _zoom(1),
    "retreat": _zoom(-1),
    "clap": _clap,
    "noise": _still,
}
