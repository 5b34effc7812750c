"""A program: kernel calls over blocks of rows, and the buffers they work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..graph.nodes import Graph, Value
from ..kernels.base import Kernel, Layout

Stored = NDArray[np.float32] | NDArray[np.int8] | NDArray[np.int32]


@dataclass(eq=False)
class Buffer:
    """Floats in the arena that lie as `layout` says; `whole`: all rows, not one block.

    `first` and `last` are the times (kernel calls, counted through the program) at which it is in use;
    `home` is a buffer whose place it takes over.
    """

    name: str
    layout: Layout
    floats: int
    whole: bool
    first: int = 1 << 30
    last: int = -1
    home: Buffer | None = None

    @property
    def row(self) -> int:
        """Columns."""
        return self.layout.size

    @property
    def root(self) -> Buffer:
        return self if self.home is None else self.home.root


@dataclass(frozen=True)
class Arg:
    """One argument of a call: a place in a buffer, a constant by its symbol, or an integer expression.

    `offset`, `per_block`, `per_head` and `per_centre` are in floats.
    """

    buffer: Buffer | None = None
    symbol: str = ""
    offset: int = 0
    per_block: int = 0
    per_head: int = 0
    per_centre: int = 0


@dataclass(frozen=True)
class Call:
    kernel: Kernel
    args: tuple[Arg, ...]
    what: str  # the graph's value that this computes, for reports


@dataclass(frozen=True)
class HeadLoop:
    """Calls repeated for every head."""

    heads: int
    calls: tuple[Call, ...]


Item = Call | HeadLoop


@dataclass
class Phase:
    """Items done for each block of rows, then items done once."""

    label: str
    blocks: list[Item] = field(default_factory=list)
    once: list[Item] = field(default_factory=list)


@dataclass
class Program:
    """What the executor does. Buffers are placed by the arena planner."""

    phases: list[Phase]
    buffers: list[Buffer]
    constants: dict[str, Stored]
    source: Buffer
    output: Arg
    rows: int  # rows in a block
    graph: Graph
    factors: Mapping[Value, float] = field(default_factory=dict)  # values that are kept multiplied by a number
    whole: bool = False  # one block of all rows, whose kernels are told how many are present

    def items(self) -> list[tuple[Item, bool]]:
        """All items in order; True: once per block of rows."""
        return [(i, b) for p in self.phases for b, items in ((True, p.blocks), (False, p.once)) for i in items]

    @property
    def calls(self) -> int:
        """Kernel calls in the executor's text."""
        return sum(len(item.calls) if isinstance(item, HeadLoop) else 1 for item, _ in self.items())
