"""A small model of an event camera's pixels. numpy only.

Every pixel remembers the log intensity at its last event and fires when the present one differs by its own contrast
threshold (Lichtsteiner et al. 2008). Between two frames log intensity is taken to change linearly, so that event
times are finer than the frames. After an event a pixel is held in reset for the refractory time. Noise events come
at a Poisson rate, in both polarities alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import EVENT_DTYPE


@dataclass(frozen=True)
class PixelConfig:
    """threshold: mean contrast threshold in units of log intensity, on and off. mismatch: its standard deviation
    over the pixels. refractory_us: shortest time between two events of a pixel. noise_hz: noise events per pixel
    and second."""

    threshold: float = 0.25
    mismatch: float = 0.03
    refractory_us: int = 1000
    noise_hz: float = 0.5


class Pixels:
    """The pixels of one camera, watching. Feed frames with `step`; each returns the events since the one before."""

    def __init__(self, width: int, height: int, config: PixelConfig, random: np.random.Generator) -> None:
        self.width, self.height = width, height
        self.config = config
        self._random = random
        count = width * height
        thresholds = random.normal(config.threshold, config.mismatch, (2, count))
        self._off, self._on = np.maximum(thresholds, 0.2 * config.threshold)
        self._t = 0.0
        self._now: NDArray[np.float64] | None = None  # log intensity of the last frame
        self._memory = np.zeros(count)  # log intensity at the last event
        self._free = np.zeros(count)  # when the reset ends

    def step(self, t_us: float, log_intensity: NDArray[Any]) -> NDArray[Any]:
        """See a frame at `t_us`.

        log_intensity: [height, width]. Returns events (EVENT_DTYPE) after the frame before and up to this one, sorted
        by time; none for the first frame.
        """
        frame = np.asarray(log_intensity, np.float64).ravel()
        if self._now is None:
            self._t, self._now, self._memory = t_us, frame, frame.copy()
            return np.zeros(0, EVENT_DTYPE)
        before, start = self._now, self._t

        def slope(pixels: NDArray[np.intp]) -> NDArray[np.float64]:
            return (frame[pixels] - before[pixels]) / (t_us - start)

        def level(pixels: NDArray[np.intp], t: NDArray[np.float64]) -> NDArray[np.float64]:
            return before[pixels] + slope(pixels) * (t - start)

        def fire(pixels: NDArray[np.intp], t: NDArray[np.float64]) -> None:
            """Reset the pixels at t; what they see when the reset ends is the new reference."""
            self._free[pixels] = np.floor(t) + self.config.refractory_us
            self._memory[pixels] = level(pixels, np.minimum(self._free[pixels], t_us))

        # Pixels still in reset: their reference follows what they see.
        held = np.flatnonzero(self._free > start)
        self._memory[held] = level(held, np.minimum(self._free[held], t_us))
        parts = [self._noise(start, t_us, fire)]
        candidates = np.flatnonzero(frame != before)
        while len(candidates):
            difference = frame[candidates] - self._memory[candidates]
            crossed = (difference >= self._on[candidates]) | (difference <= -self._off[candidates])
            candidates = candidates[crossed & (self._free[candidates] < t_us)]
            rising = frame[candidates] > self._memory[candidates]
            target = self._memory[candidates] + np.where(rising, self._on[candidates], -self._off[candidates])
            t = start + (target - before[candidates]) / slope(candidates)
            t = np.clip(t, np.maximum(start, self._free[candidates]), t_us)
            parts.append(self._events(candidates, t, rising))
            fire(candidates, t)
        self._t, self._now = t_us, frame
        events = np.concatenate(parts)
        return events[np.argsort(events["t"], kind="stable")]

    def _noise(self, start: float, end: float, fire: Any) -> NDArray[Any]:
        count = self._random.poisson(self.config.noise_hz * len(self._on) * (end - start) * 1e-6)
        pixels = np.unique(self._random.integers(0, len(self._on), count))
        t = self._random.uniform(start, end, len(pixels))
        awake = self._free[pixels] <= t
        pixels, t = pixels[awake], t[awake]
        fire(pixels, t)
        return self._events(pixels, t, self._random.random(len(pixels)) < 0.5)

    def _events(self, pixels: NDArray[np.intp], t: NDArray[np.float64], on: NDArray[np.bool_]) -> NDArray[Any]:
        events = np.zeros(len(pixels), EVENT_DTYPE)
        events["t"] = np.floor(t)
        events["x"], events["y"], events["p"] = pixels % self.width, pixels // self.width, on
        return events
