"""The tokenizers written straight from their definitions, the bounded pool included: slow and obvious."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 16


@dataclass
class Patch:
    u: float = 0.0
    last_event: int | None = None
    last_spike: int | None = None
    blocks: list[list[int]] = field(default_factory=list)  # indices of events
    gone: int = 0  # of the first block
    open: bool = False  # the last block may take more

    @property
    def events(self) -> list[int]:
        return [event for block in self.blocks for event in block][self.gone :]

    def clear(self) -> int:
        lost = len(self.events)
        self.u, self.last_event, self.blocks, self.gone, self.open = 0.0, None, [], 0, False
        return lost


@dataclass
class Result:
    x: list[int] = field(default_factory=list)
    y: list[int] = field(default_factory=list)
    t: list[int] = field(default_factory=list)
    events: list[list[int]] = field(default_factory=list)
    refractory: int = 0
    decayed: int = 0
    pool_lost: int = 0
    pending: int = 0


def time_bits(width: int, height: int, patch_size: int) -> int:
    """Bits of a 32-bit slot that are left for the time."""
    span = min(patch_size, max(width, height))
    return 31 - 2 * max(4, (span - 1).bit_length())


class Sensor:
    """The patches, their pool, and what became of the events."""

    def __init__(
        self, events: NDArray[np.void], width: int, height: int, patch_size: int, pool_events: int | None
    ) -> None:
        self.times = events["t"].tolist()
        self.size, self.columns, self.rows = patch_size, -(-width // patch_size), -(-height // patch_size)
        self.patches = [Patch() for _ in range(self.columns * self.rows)]
        self.bits = time_bits(width, height, patch_size)
        self.free = float("inf") if pool_events is None else -(-pool_events // BLOCK)
        self.epoch = 0
        self.result = Result()

    def patch_at(self, t: int, x: int, y: int) -> int:
        """The number of the event's patch. In a new epoch no block takes more."""
        if t >> self.bits != self.epoch:
            self.epoch = t >> self.bits
            for patch in self.patches:
                patch.open = False
        return y // self.size * self.columns + x // self.size

    def clear(self, patch: Patch) -> int:
        self.free += len(patch.blocks)
        return patch.clear()

    def store(self, number: int, index: int) -> bool:
        """Returns whether the patch itself had to make room."""
        patch, evicted = self.patches[number], False
        if not patch.open or len(patch.blocks[-1]) == BLOCK:
            if self.free == 0:
                others = [
                    (self.times[p.blocks[-1][-1]], n) for n, p in enumerate(self.patches) if p.blocks and n != number
                ]
                victim = self.patches[min(others)[1]] if others else patch
                self.result.pool_lost += self.clear(victim)
                evicted = victim is patch
            self.free -= 1
            patch.blocks.append([])
            patch.open = True
        patch.blocks[-1].append(index)
        return evicted

    def drop_oldest(self, patch: Patch) -> None:
        patch.gone += 1
        self.result.decayed += 1
        if patch.gone == len(patch.blocks[0]) and len(patch.blocks) > 1:
            del patch.blocks[0]
            patch.gone = 0
            self.free += 1

    def fire(self, number: int, t: int) -> None:
        patch = self.patches[number]
        self.result.x.append(number % self.columns)
        self.result.y.append(number // self.columns)
        self.result.t.append(t)
        self.result.events.append(patch.events)
        self.clear(patch)
        patch.last_spike = t

    def done(self) -> Result:
        self.result.pending = sum(len(patch.events) for patch in self.patches)
        return self.result


def tokens(events: NDArray[np.void], *, kind: str, **parameters: Any) -> Result:
    kinds: dict[str, Callable[..., Result]] = {"continuous": continuous, "discrete": discrete, "voxel": voxel}
    return kinds[kind](events, **parameters)


def continuous(
    events: NDArray[np.void],
    *,
    width: int,
    height: int,
    patch_size: int = 16,
    threshold: float = 256.0,
    absolute_refractory_us: int = 0,
    relative_refractory_us: int = 0,
    relative_scale: float = 0.4,
    decay_per_us: float = 0.0,
    pool_events: int | None = None,
) -> Result:
    sensor = Sensor(events, width, height, patch_size, pool_events)
    for index, (t, x, y, _) in enumerate(events[["t", "x", "y", "p"]].tolist()):
        number = sensor.patch_at(t, x, y)
        patch = sensor.patches[number]
        since = None if patch.last_spike is None else t - patch.last_spike
        if since is not None and since < absolute_refractory_us:
            sensor.result.refractory += 1
            continue
        scaled = since is not None and since < absolute_refractory_us + relative_refractory_us
        increase = relative_scale if scaled else 1.0
        elapsed = 0 if patch.last_event is None else t - patch.last_event
        u = patch.u + (increase - decay_per_us * elapsed)
        if u <= 0:
            u = 0.0
            sensor.result.decayed += sensor.clear(patch)
        if sensor.store(number, index):
            u = increase
        patch.u, patch.last_event = u, t
        if u >= threshold:
            sensor.fire(number, t)
    return sensor.done()


def discrete(
    events: NDArray[np.void],
    *,
    width: int,
    height: int,
    patch_size: int,
    threshold: float,
    duration_us: int,
    absolute_refractory_us: int = 0,
    pool_events: int | None = None,
) -> Result:
    sensor = Sensor(events, width, height, patch_size, pool_events)
    for index, (t, x, y, _) in enumerate(events[["t", "x", "y", "p"]].tolist()):
        number = sensor.patch_at(t, x, y)
        patch = sensor.patches[number]
        if patch.last_spike is not None and t - patch.last_spike < absolute_refractory_us:
            sensor.result.refractory += 1
            continue
        sensor.store(number, index)
        if len(patch.events) == threshold:
            while t - sensor.times[patch.events[0]] > duration_us:
                sensor.drop_oldest(patch)
            if len(patch.events) == threshold:
                sensor.fire(number, t)
    return sensor.done()


def voxel(
    events: NDArray[np.void],
    *,
    width: int,
    height: int,
    patch_size: int,
    threshold: float,
    duration_us: int,
    pool_events: int | None = None,
) -> Result:
    """The events are one chunk."""
    sensor = Sensor(events, width, height, patch_size, pool_events)
    now = None

    def close(start: int) -> None:
        for number, patch in enumerate(sensor.patches):
            if len(patch.events) >= threshold:
                sensor.fire(number, start * duration_us)
            else:
                sensor.result.decayed += sensor.clear(patch)

    for index, (t, x, y, _) in enumerate(events[["t", "x", "y", "p"]].tolist()):
        if now is not None and t // duration_us > now:
            for number in range(now, t // duration_us) if threshold == 0 else [now]:
                close(number)
        now = t // duration_us
        sensor.store(sensor.patch_at(t, x, y), index)
    if now is not None:
        close(now)
        if threshold == 0 and sensor.times[-1] % duration_us:
            close(now + 1)
    return sensor.done()
