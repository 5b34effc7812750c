"""The continuous tokenizer written straight from its definition, the bounded pool included: slow and obvious."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BLOCK = 16


@dataclass
class Patch:
    u: float = 0.0
    last_event: int | None = None
    last_spike: int | None = None
    blocks: list[list[int]] = field(default_factory=list)  # indices of events
    open: bool = False  # the last block may take more

    @property
    def events(self) -> list[int]:
        return [event for block in self.blocks for event in block]

    def clear(self) -> int:
        lost = len(self.events)
        self.u, self.last_event, self.blocks, self.open = 0.0, None, [], False
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
    columns, rows = -(-width // patch_size), -(-height // patch_size)
    patches = [Patch() for _ in range(columns * rows)]
    bits = time_bits(width, height, patch_size)
    free = float("inf") if pool_events is None else -(-pool_events // BLOCK)
    epoch = 0
    result = Result()
    for index, (t, x, y) in enumerate(
        zip(events["t"].tolist(), events["x"].tolist(), events["y"].tolist(), strict=True)
    ):
        number = y // patch_size * columns + x // patch_size
        patch = patches[number]
        if t >> bits != epoch:
            epoch = t >> bits
            for other in patches:
                other.open = False
        since = None if patch.last_spike is None else t - patch.last_spike
        if since is not None and since < absolute_refractory_us:
            result.refractory += 1
            continue
        scaled = since is not None and since < absolute_refractory_us + relative_refractory_us
        increase = relative_scale if scaled else 1.0
        elapsed = 0 if patch.last_event is None else t - patch.last_event
        u = patch.u + (increase - decay_per_us * elapsed)
        if u <= 0:
            u = 0.0
            free += len(patch.blocks)
            result.decayed += patch.clear()
        if not patch.open or len(patch.blocks[-1]) == BLOCK:
            if free == 0:
                others = [
                    (int(events["t"][p.blocks[-1][-1]]), n) for n, p in enumerate(patches) if p.blocks and n != number
                ]
                victim = patches[min(others)[1]] if others else patch
                free += len(victim.blocks)
                result.pool_lost += victim.clear()
                if victim is patch:
                    u = increase
            free -= 1
            patch.blocks.append([])
            patch.open = True
        patch.u, patch.last_event = u, t
        patch.blocks[-1].append(index)
        if u >= threshold:
            result.x.append(number % columns)
            result.y.append(number // columns)
            result.t.append(t)
            result.events.append(patch.events)
            free += len(patch.blocks)
            patch.clear()
            patch.last_spike = t
    result.pending = sum(len(patch.events) for patch in patches)
    return result
