"""Buffers under way, when each is in use, and the constants that kernels read."""

from __future__ import annotations

import numpy as np

from ..graph.nodes import Graph
from ..kernels.base import KEY_TILE, Layout
from .program import Arg, Buffer, Stored

FOREVER = 1 << 29  # the last time at which a buffer that keeps a state is in use


class Memory:
    """What a lowering has made so far. `time` counts its kernel calls."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.constants: dict[str, Stored] = {}
        self.time = 0

    def new_buffer(self, name: str, layout: Layout, rows: int, whole: bool = False) -> Buffer:
        again = sum(b.name == name or b.name.startswith(f"{name}_again") for b in self.buffers)
        buffer = Buffer(f"{name}_again{again}" if again else name, layout, layout.size * rows, whole)
        self.buffers.append(buffer)
        return buffer

    def touch(self, *buffers: Buffer) -> None:
        """They are in use now."""
        for buffer in buffers:
            if buffer.last < FOREVER:
                buffer.first = min(buffer.first, self.time)
                buffer.last = max(buffer.last, self.time)

    def span_loop(self, started: int) -> None:
        """Whole buffers used in a loop are in use from its start to its end."""
        for buffer in self.buffers:
            if buffer.whole and buffer.last >= started:
                buffer.first = min(buffer.first, started)
                buffer.last = max(started, self.time - 1)

    def constant(self, name: str, array: Stored) -> Arg:
        kind = next((t for t in (np.int8, np.int32) if array.dtype == t), np.float32)
        whole: Stored = np.ascontiguousarray(array, np.dtype(kind))
        self.constants[name] = whole
        return Arg(symbol=name)


def whole_rows(graph: Graph, block: int) -> int:
    """All rows, rounded up to whole blocks and whole tiles of keys."""
    return max(-(-graph.rows // step) * step for step in (block, KEY_TILE))
