"""Random changes to the events of a training sample that keep its label."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recipe import Augmentation

_KNOTS = 5  # of the elastic displacement, along each side


def augment(
    events: NDArray[Any], width: int, height: int, changes: Augmentation, random: np.random.Generator
) -> NDArray[Any]:
    """A changed copy of the events, sorted by time; those that leave the sensor are gone."""
    if len(events) == 0:
        return events
    events = _crop(events, changes, random)
    if changes.drop:
        events = events.compress(random.random(len(events), np.float32) >= random.uniform(0, changes.drop))
    x, y = _move(events, width, height, changes, random)
    t = _warp_time(events["t"], changes, random)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    out = events.compress(inside)
    out["t"], out["x"], out["y"] = t.compress(inside), x.compress(inside), y.compress(inside)
    return out.take(np.argsort(out["t"], kind="stable")) if changes.jitter_us else out


def _crop(events: NDArray[Any], changes: Augmentation, random: np.random.Generator) -> NDArray[Any]:
    """Cut a random time span out of the recording, now and then."""
    first, last = int(events["t"][0]), int(events["t"][-1])
    if random.random() >= changes.crop_share or last - first <= changes.crop_us:
        return events
    span = random.integers(changes.crop_us, last - first + 1)
    start = first + random.integers(0, last - first - span + 1)
    low, high = np.searchsorted(events["t"], np.array([start, start + span], np.uint64))
    return events[low:high]


def _move(
    events: NDArray[Any], width: int, height: int, changes: Augmentation, random: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rotate, shear, scale and shift about the sensor's centre; jitter hides the grid that rounding would leave."""
    angle = np.deg2rad(random.uniform(-1, 1) * changes.rotate_deg)
    shear_x, shear_y = random.uniform(-1, 1, 2) * changes.shear
    scale_x, scale_y = 1 + random.uniform(-1, 1, 2) * changes.scale
    shift_x, shift_y = random.uniform(-1, 1, 2) * changes.shift_px
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ np.array([[1, shear_x], [shear_y, 1]]) @ np.diag([scale_x, scale_y])
    (xx, xy), (yx, yy) = matrix.astype(np.float32)
    centre_x, centre_y = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
    x = events["x"] - centre_x
    y = events["y"] - centre_y
    noise = random.standard_normal((2, len(events)), np.float32) * np.float32(changes.jitter_px)
    moved_x = xx * x + xy * y + (centre_x + np.float32(shift_x + 0.5)) + noise[0]
    moved_y = yx * x + yy * y + (centre_y + np.float32(shift_y + 0.5)) + noise[1]
    if changes.elastic_px:
        pixel = events["y"] * np.intp(width) + events["x"]
        warp_x, warp_y = _elastic(width, height, changes.elastic_px, random).reshape(2, -1)
        moved_x += warp_x.take(pixel)
        moved_y += warp_y.take(pixel)
    return np.floor(moved_x).astype(np.int32), np.floor(moved_y).astype(np.int32)


def _elastic(width: int, height: int, size_px: float, random: np.random.Generator) -> NDArray[np.float32]:
    """A smooth displacement in x and y for every pixel, float32 [2, height, width]: random on a coarse grid and
    interpolated (Simard et al. 2003 smooth noise to the same end)."""
    grid = random.standard_normal((2, _KNOTS, _KNOTS)) * size_px
    rows, columns = _hats(height), _hats(width)
    return (rows @ grid @ columns.T).astype(np.float32)


@cache
def _hats(size: int) -> NDArray[np.float64]:
    """Weights of linear interpolation from the knots to the pixels of one side, eased: [size, knots]."""
    place = np.linspace(0, _KNOTS - 1, size)
    distance = np.abs(place[:, None] - np.arange(_KNOTS))
    return np.where(distance < 1, (1 + np.cos(np.pi * np.minimum(distance, 1))) / 2, 0.0)


def _warp_time(t: NDArray[np.uint64], changes: Augmentation, random: np.random.Generator) -> NDArray[np.float64]:
    """Stretch times about the first event and jitter each."""
    relative: NDArray[np.float64] = (t - t[:1]).astype(np.float64) * np.exp(random.uniform(-1, 1) * changes.time_scale)
    if changes.jitter_us:
        relative += random.standard_normal(len(t), np.float32) * changes.jitter_us
        relative -= min(0.0, float(relative.min(initial=0.0)))
    return relative
