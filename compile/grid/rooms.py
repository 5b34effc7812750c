"""Where a detector's fields lie in the arena, beside what its encoder needs there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import CompileError
from ..plan.arena import ALIGN, place, share
from ..plan.memory import FOREVER
from ..plan.program import Buffer, Program
from .nodes import Conv, Field, GridGraph
from .schedule import Kept, Step, kept, order

CELLS, GRID, HEAD = "cells", "grid", "head"


@dataclass(frozen=True)
class Room:
    """Cell x of line y of a field is at `start` + y % `ring` * `line` + x * `cell` of the buffer `name`; in floats.

    left, right: cells of zeros in front of each line and behind it.
    """

    name: str
    start: int
    ring: int
    line: int
    cell: int
    left: int = 0
    right: int = 0


@dataclass(frozen=True)
class Layout:
    """steps: in the order of the run. rooms: of all fields. offsets: of the encoder's buffers and, by name, of the
    rooms, in floats."""

    steps: list[Step]
    rooms: Mapping[Field, Room]
    offsets: Mapping[Buffer | str, int]
    arena_bytes: int


def lay_out(graph: GridGraph, program: Program) -> Layout:
    """Plan one arena for the encoder, the pooling, and the grid's lines after it."""
    steps = order(graph)
    keeping = kept(graph, steps)
    rooms = _rooms(graph, keeping)
    share(program)
    buffers = {b: b.root for b in program.buffers}
    spans: dict[Buffer | str, tuple[int, int, int]] = {}
    for root in dict.fromkeys(buffers.values()):
        family = [b for b in buffers if buffers[b] is root]
        spans[root] = (root.floats, min(b.first for b in family), max(b.last for b in family))
    pooling = 1 + max(last for _, _, last in spans.values())
    assert program.output.buffer is not None
    output = program.output.buffer.root
    spans[output] = (*spans[output][:2], pooling)
    spans[CELLS] = (-(-program.graph.capacity // 2), 0, pooling)
    spans[GRID] = (_floats(graph.grid, rooms), pooling, pooling + 1 + keeping[graph.grid].last)
    for old, _ in graph.state:
        spans[rooms[old].name] = (_floats(old, rooms), 0, FOREVER)
    began = pooling + 1
    heads = [keeping[t.field] for t in graph.head]
    spans[HEAD] = (graph.head_rows * graph.head_width, began + min(k.first for k in heads), FOREVER)
    for field, room in rooms.items():
        if room.name not in spans:
            spans[room.name] = (_floats(field, rooms), began + keeping[field].first, began + keeping[field].last)
    offsets, floats = place(spans, lambda key: key if isinstance(key, str) else key.name)
    whole = dict(offsets)
    whole.update((b, offsets[root]) for b, root in buffers.items())
    return Layout(steps, rooms, whole, 4 * (-(-floats // ALIGN) * ALIGN))


def _floats(field: Field, rooms: Mapping[Field, Room]) -> int:
    return rooms[field].ring * rooms[field].line


def _rooms(graph: GridGraph, keeping: Mapping[Field, Kept]) -> dict[Field, Room]:
    """The new state takes the old one's place; what the output is made of lies in it."""
    rooms: dict[Field, Room] = {}
    margins = _margins(graph)
    for target in graph.head:
        columns, width = target.field.columns, graph.head_width
        start = target.row * width + target.column
        rooms[target.field] = Room(HEAD, start, target.field.rows, columns * width, width)
    inputs: dict[Field, str] = {graph.grid: GRID}
    for old, new in graph.state:
        inputs[old] = inputs[new] = old.name
    for field, name in inputs.items():
        if field in rooms:
            raise CompileError("the detector's state is a part of its head")
        rooms[field] = Room(name, 0, field.rows, field.columns * field.width, field.width)
    for field in rooms:
        if margins.get(field, (0, 0)) != (0, 0):
            raise CompileError(
                "the detector convolves its grid, its state or its head: a layer of 1x1 between them helps"
            )
    for field in (n.out for n in graph.nodes):
        if field not in rooms:
            left, right = margins.get(field, (0, 0))
            line = (left + field.columns + right) * field.width
            ring = keeping[field].ring
            rooms[field] = Room(f"line_{field.name}", left * field.width, ring, line, field.width, left, right)
    return rooms


def _margins(graph: GridGraph) -> dict[Field, tuple[int, int]]:
    """How many cells of zeros convolutions read to the left and to the right of a field's."""
    margins: dict[Field, tuple[int, int]] = {}
    for node in graph.nodes:
        if not isinstance(node, Conv) or node.weight.shape[1] == 1:
            continue
        last = (node.out.columns - 1) * node.stride - node.left + node.weight.shape[1] - 1
        for piece in node.view.pieces:
            if piece.up != 1 or node.view.columns < piece.field.columns:
                raise CompileError(
                    "the detector convolves a field that is upsampled or cut: 1x1 is all that can read it"
                )
            left, right = margins.get(piece.field, (0, 0))
            margins[piece.field] = max(left, node.left), max(right, last - piece.field.columns + 1, 0)
    return margins
