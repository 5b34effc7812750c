"""A detector's grid part as a graph of fields.

A field is `rows` x `columns` cells of `width` features. What only moves numbers about (concatenation, splitting,
padding, cropping, nearest-neighbour upsampling, changes of layout) is no node: it is part of how a node reads its
fields, a View.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..graph.nodes import Array


@dataclass(frozen=True, eq=False)
class Field:
    """Compared by identity."""

    name: str
    rows: int
    columns: int
    width: int

    @property
    def cells(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True)
class Piece:
    """`width` features of a field from `column` on; up: how many cells to a side see each of the field's."""

    field: Field
    column: int
    width: int
    up: int = 1

    @property
    def whole(self) -> bool:
        """Whether it is all of the field, as it lies."""
        return self.column == 0 and self.width == self.field.width and self.up == 1


@dataclass(frozen=True)
class View:
    """Pieces side by side, cut to, or filled up with zeros to, `rows` x `columns` cells."""

    rows: int
    columns: int
    pieces: tuple[Piece, ...]

    @property
    def width(self) -> int:
        return sum(p.width for p in self.pieces)

    @property
    def plain(self) -> bool:
        """Whether there is one piece, whose cells are the view's."""
        one = self.pieces[0]
        inside = self.rows <= one.field.rows and self.columns <= one.field.columns
        return len(self.pieces) == 1 and one.up == 1 and inside

    def lines(self, piece: Piece) -> int:
        """Lines of the view, from the first, in which the piece is not zero."""
        return min(self.rows, piece.field.rows * piece.up)


@dataclass(frozen=True, eq=False)
class Node:
    out: Field

    @property
    def views(self) -> tuple[View, ...]:
        """What it reads."""
        raise NotImplementedError

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(dict.fromkeys(p.field for v in self.views for p in v.pieces))

    def lines(self, line: int) -> Iterator[tuple[Field, int, int]]:
        """What the step of that number reads: fields, the first line and the last one."""
        for view in self.views:
            first, last = self.window(line)
            for piece in view.pieces:
                low, high = max(first, 0), min(last, view.lines(piece) - 1)
                if low <= high:
                    yield piece.field, low // piece.up, high // piece.up

    def window(self, line: int) -> tuple[int, int]:
        """The first and the last line of its views that a step reads, maybe outside."""
        return line, line

    @property
    def gives(self) -> int:
        """Lines of its result that a step makes."""
        return 1

    @property
    def steps(self) -> int:
        """Steps for the whole result."""
        return self.out.rows // self.gives


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """out[y, x] = after(bias + sum over dy, dx: view[y * stride + dy - top, x * stride + dx - left] @ weight[dy, dx]).

    weight: [kernel rows, kernel columns, view.width, out.width]; outside the view is 0. after: elementwise operations
    of one operand, in their order.
    """

    view: View
    weight: Array
    bias: Array
    stride: int = 1
    top: int = 0
    left: int = 0
    after: tuple[str, ...] = ()

    @property
    def views(self) -> tuple[View, ...]:
        return (self.view,)

    def window(self, line: int) -> tuple[int, int]:
        first = line * self.stride - self.top
        return first, first + self.weight.shape[0] - 1

    @property
    def linear(self) -> bool:
        """Whether it is a product of each cell alone."""
        return self.weight.shape[:2] == (1, 1) and self.stride == 1 and self.top == self.left == 0


@dataclass(frozen=True, eq=False)
class Spread(Node):
    """out[2 y + dy, 2 x + dx] = bias + view[y, x] @ weight[dy, dx]; weight [2, 2, view.width, out.width]."""

    view: View
    weight: Array
    bias: Array

    @property
    def views(self) -> tuple[View, ...]:
        return (self.view,)

    @property
    def gives(self) -> int:
        return 2


@dataclass(frozen=True, eq=False)
class Pool(Node):
    """out[y, x]: the largest of view[2 y + 0..1, 2 x + 0..1]."""

    view: View

    @property
    def views(self) -> tuple[View, ...]:
        return (self.view,)

    def window(self, line: int) -> tuple[int, int]:
        return 2 * line, 2 * line + 1


@dataclass(frozen=True)
class Leaf:
    """A number of each cell and feature: of a piece, a constant of each feature [width], or a constant [()]."""

    value: Piece | Array

    def __hash__(self) -> int:
        return hash(self.value) if isinstance(self.value, Piece) else id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Leaf) and (
            self.value is other.value
            or (isinstance(self.value, Piece) and isinstance(other.value, Piece) and self.value == other.value)
        )


@dataclass(frozen=True)
class Term:
    """An elementwise operation."""

    op: str
    args: tuple[Term | Leaf, ...]

    def leaves(self) -> Iterator[Leaf]:
        for arg in self.args:
            yield from arg.leaves() if isinstance(arg, Term) else (arg,)


@dataclass(frozen=True, eq=False)
class Each(Node):
    """Cell by cell and feature by feature."""

    term: Term

    @property
    def views(self) -> tuple[View, ...]:
        leaves = dict.fromkeys(leaf.value for leaf in self.term.leaves() if isinstance(leaf.value, Piece))
        return tuple(View(self.out.rows, self.out.columns, (piece,)) for piece in leaves)


@dataclass(frozen=True)
class Target:
    """Where the rows of an output come from: those from `row` on and columns from `column` on are a field's cells."""

    field: Field
    row: int
    column: int


@dataclass
class GridGraph:
    """Nodes in an order in which they can be computed.

    grid: what the encoder has pooled. state: fields of the step before, and those that take their place. head: which
    fields are where in the output [head_rows, head_width].
    """

    grid: Field
    state: tuple[tuple[Field, Field], ...]
    nodes: list[Node]
    head: tuple[Target, ...]
    head_rows: int
    head_width: int

    def producer(self, value: Field) -> Node | None:
        """None: an input."""
        return next((n for n in self.nodes if n.out is value), None)

    def readers(self, value: Field) -> list[Node]:
        return [n for n in self.nodes if any(f is value for f in n.fields)]

    def read_once(self, value: Field) -> bool:
        """Whether one node reads it, and it is neither output nor state."""
        return len(self.readers(value)) == 1 and all(value is not v for v in self.results())

    def results(self) -> list[Field]:
        return [new for _, new in self.state] + [t.field for t in self.head]

    def replace(self, old: Node, new: Iterable[Node]) -> None:
        at = next(i for i, n in enumerate(self.nodes) if n is old)
        self.nodes[at : at + 1] = list(new)
