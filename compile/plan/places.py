"""Where a value lies while rows are computed in blocks: in a block's room, in a row's, or whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..graph.nodes import Graph, Value
from ..kernels.base import PANEL, Layout
from .memory import Memory, whole_rows
from .program import Arg, Buffer


class Places(Protocol):
    """What the kernel calls ask for. `blocks`: whether a block of rows is computed, or one row alone.

    `stored`: values that are kept whole. `column` and `per_head` count columns.
    """

    stored: dict[Value, Buffer]

    def place(self, value: Value, blocks: bool, keep: Sequence[Value]) -> Buffer:
        """The buffer that a value is written to."""

    def read(self, value: Value, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        """Where a kernel finds its rows of a value."""

    def write(self, buffer: Buffer, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        """Where a kernel writes its rows."""


class BlockPlaces:
    """Places of a program over blocks of `rows` rows; tiled: values that are stored as tiles of PANEL columns.

    one_block: there is one block, of all rows.
    """

    def __init__(
        self,
        graph: Graph,
        memory: Memory,
        rows: int,
        panels: bool,
        tiled: frozenset[Value],
        one_block: bool = False,
    ) -> None:
        self.one_block = one_block
        self.graph, self.memory, self.rows, self.panels, self.tiled = graph, memory, rows, panels, tiled
        self.stored: dict[Value, Buffer] = {}
        self.begin_phase()

    def begin_phase(self) -> None:
        """What lives only inside a block or row is gone."""
        self.block_local: dict[Value, Buffer] = {}
        self.row_local: dict[Value, Buffer] = {}

    def new_whole(self, value: Value) -> Buffer:
        """Room for all rows."""
        rows = whole_rows(self.graph, self.rows)
        layout = Layout(value.width, self.panels and value is not self.graph.output)
        if value in self.tiled:
            layout = Layout(value.width, tile=PANEL * rows)
        return self.memory.new_buffer(value.name, layout, rows, whole=True)

    def place(self, value: Value, blocks: bool, keep: Sequence[Value]) -> Buffer:
        """The buffer that a value is written to; `keep`: values that are stored."""
        if any(value is k for k in keep):
            whole = self.new_whole(value) if blocks else self.memory.new_buffer(value.name, Layout(value.width), 1)
            self.stored[value] = whole
            return whole
        rows = self.rows if blocks else 1
        buffer = self.memory.new_buffer(value.name, Layout(value.width, blocks and self.panels), rows)
        (self.block_local if blocks else self.row_local)[value] = buffer
        return buffer

    def read(self, value: Value, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        """Where a kernel finds its rows of a value."""
        local = (self.block_local if blocks else self.row_local).get(value)
        buffer = local or self.stored[value]
        self.memory.touch(buffer)
        row = self.graph.output_row if not blocks and buffer.whole else 0
        return self.place_in(buffer, blocks, row, column, per_head)

    def write(self, buffer: Buffer, blocks: bool, column: int = 0, per_head: int = 0) -> Arg:
        """Where a kernel writes its rows."""
        self.memory.touch(buffer)
        return self.place_in(buffer, blocks, 0, column, per_head)

    def place_in(self, buffer: Buffer, blocks: bool, row: int, column: int, per_head: int) -> Arg:
        """The place of a row and column, in the block at hand; column and per_head are whole tiles where there are."""
        layout = buffer.layout
        per_block = layout.block(self.rows) if blocks and buffer.whole and not self.one_block else 0
        return Arg(buffer, "", layout.at(row, column), per_block, layout.at(0, per_head))
