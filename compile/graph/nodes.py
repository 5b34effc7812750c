"""The encoder as a graph of row operations.

A value is a matrix of `rows` x `width` float32, one row per token (the constant rows in front, such
as CLS, included). Every operation but Attention works on each row by itself, which is what
lets the compiled encoder run over blocks of rows and stop after the tokens that are present.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..precision import Quant

Array = NDArray[np.float32]

LOG2_E = 1.4426950408889634


@dataclass(frozen=True, eq=False)
class Value:
    """A matrix with `width` columns; compared by identity."""

    width: int
    name: str


@dataclass(frozen=True, eq=False)
class Node:
    out: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        return ()


@dataclass(frozen=True, eq=False)
class Source(Node):
    """Constant rows [p, width], then the tokens; `centred`: less the mean of each."""

    prefix: Array
    centred: bool = False


@dataclass(frozen=True, eq=False)
class Unary(Node):
    """A node that reads x."""

    x: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        return (self.x,)


@dataclass(frozen=True, eq=False)
class Linear(Unary):
    """x @ weight [k, width] + bias [width]. quant: how the weight is stored; None: as it is."""

    weight: Array
    bias: Array | None = None
    quant: Quant | None = None


@dataclass(frozen=True, eq=False)
class HeadLinear(Unary):
    """Each head's part of x by its own weight: [heads, k, n] -> width heads * n; bias [heads * n]."""

    weight: Array
    bias: Array | None = None
    quant: Quant | None = None


@dataclass(frozen=True, eq=False)
class Norm(Unary):
    """Layer normalisation over the row; scale and shift are None once they are folded away.

    centred: the mean of x is known to be zero.
    """

    epsilon: float
    scale: Array | None = None
    shift: Array | None = None
    centred: bool = False


@dataclass(frozen=True, eq=False)
class Map(Node):
    """An elementwise operation; arguments are values, vectors [width] or scalars [()]."""

    op: str
    args: tuple[Value | Array, ...]

    @property
    def inputs(self) -> tuple[Value, ...]:
        return tuple(a for a in self.args if isinstance(a, Value))


@dataclass(frozen=True, eq=False)
class Columns(Unary):
    """Chosen columns of x."""

    index: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Attention(Node):
    """out[i, h] = sum_j 2^(q[i, h].k[j, h] - max) v[j, h] / sum_j 2^(...), over the rows present.

    The usual factors (log2 e, 1 / sqrt(depth)) are already part of q. Head h reads the columns
    h * depth... of q and, unless `shared`, of k, and h * value_depth... of v; `shared`: every
    head reads all of k and v. `causal`: row i attends to the rows up to i alone.
    """

    q: Value
    k: Value
    v: Value
    heads: int
    depth: int
    value_depth: int
    shared: bool = False
    causal: bool = False

    @property
    def inputs(self) -> tuple[Value, ...]:
        return (self.q, self.k, self.v)


@dataclass(frozen=True, eq=False)
class Mean(Unary):
    """The mean of x over the rows present: one row. Zeros when there are none."""


ALL = -1  # every row is needed; otherwise the number of the one row that is
Demand = dict[Value, int]


@dataclass
class Graph:
    """Nodes in an order in which they can be computed.

    The result is row `output_row` of `output` (ALL: each token's); at most `capacity` tokens follow `prefix` constant
    rows.
    """

    nodes: list[Node]
    output: Value
    output_row: int
    capacity: int
    prefix: int
    fresh: int = field(default=0)

    @property
    def rows(self) -> int:
        return self.prefix + self.capacity

    @property
    def stateful(self) -> bool:
        """Whether it can be computed token by token: causal attention and a mean at its end."""
        attentions = [n for n in self.nodes if isinstance(n, Attention)]
        means = [n for n in self.nodes if isinstance(n, Mean)]
        return len(means) == 1 and self.prefix == 0 and all(a.causal for a in attentions)

    @property
    def source(self) -> Source:
        return next(n for n in self.nodes if isinstance(n, Source))

    def value(self, width: int, name: str) -> Value:
        self.fresh += 1
        return Value(width, f"{name}{self.fresh}")

    def producer(self, value: Value) -> Node:
        return next(n for n in self.nodes if n.out is value)

    def consumers(self, value: Value) -> list[Node]:
        return [n for n in self.nodes if any(i is value for i in n.inputs)]

    def used_once(self, value: Value) -> bool:
        return value is not self.output and len(self.consumers(value)) == 1

    def replace_node(self, old: Node, new: Iterable[Node]) -> None:
        at = next(i for i, n in enumerate(self.nodes) if n is old)
        self.nodes[at : at + 1] = list(new)

    def sweep(self) -> None:
        """Drop what nobody reads."""
        needed = {self.output, self.source.out}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.out in needed:
                needed.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]


def demand(graph: Graph) -> Demand:
    """Which rows of each value are read: ALL, or the number of the only one."""
    rows: Demand = {graph.output: graph.output_row}

    def ask(value: Value, row: int) -> None:
        rows[value] = row if rows.get(value, row) == row else ALL

    for node in reversed(graph.nodes):
        row = rows[node.out]
        if isinstance(node, Attention):
            ask(node.q, row)
            ask(node.k, ALL)
            ask(node.v, ALL)
        elif isinstance(node, Mean):
            ask(node.x, ALL)
        else:
            for value in node.inputs:
                ask(value, row)
    return rows
