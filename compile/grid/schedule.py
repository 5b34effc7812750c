"""In which order a detector's lines are computed, and how many lines of each field are there at a time.

The finest level, which has the most lines, comes first, line by line: what a line needs is computed when it needs it.
So of most fields a few lines are kept, as many as the convolutions reach. What leads from it to the next level, which
has a quarter of its cells, is computed as soon as it can be; then that level comes, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import CompileError
from .nodes import Each, Field, GridGraph, Node


@dataclass(frozen=True)
class Step:
    """A node and which of its steps."""

    node: int
    line: int


@dataclass(frozen=True)
class Kept:
    """ring: lines of a field that there is room for; line y lies at y % ring. first, last: steps that use it."""

    ring: int
    first: int
    last: int


def order(graph: GridGraph) -> list[Step]:
    """All steps of all nodes."""
    return _Order(graph).steps()


class _Order:
    def __init__(self, graph: GridGraph) -> None:
        self.graph = graph
        self.number = {n.out: i for i, n in enumerate(graph.nodes)}
        self.done = [0] * len(graph.nodes)  # steps
        self.found: list[Step] = []

    def steps(self) -> list[Step]:
        for _, new in self.graph.state:  # they are kept whole whatever the order
            self.pull(self.number[new], self.graph.nodes[self.number[new]].steps)
        for rows in sorted({t.field.rows for t in self.graph.head}, reverse=True):
            leaders = [self.number[t.field] for t in self.graph.head if t.field.rows == rows]
            followers = self.followers(rows)
            for line in range(rows):
                for leader in leaders:
                    self.pull(leader, line + 1)
                self.push(followers)
        return self.found

    def followers(self, rows: int) -> list[int]:
        """Nodes that read fields of so many rows and give fewer."""
        return [
            i
            for i, node in enumerate(self.graph.nodes)
            if node.out.rows < rows and any(field.rows == rows for field in node.fields)
        ]

    def pull(self, number: int, steps: int) -> None:
        """Compute a node's steps up to so many, and all that they need."""
        while self.done[number] < steps:
            for needed, count in self.needs(number):
                self.pull(needed, count)
            self.run(number)

    def push(self, numbers: Sequence[int]) -> None:
        """Compute the steps of these nodes for which all is there."""
        for number in numbers:
            while self.done[number] < self.graph.nodes[number].steps and self.ready(number):
                self.run(number)

    def ready(self, number: int) -> bool:
        return all(self.done[needed] >= count for needed, count in self.needs(number))

    def needs(self, number: int) -> list[tuple[int, int]]:
        """Nodes, and how many of their steps, that the next step of a node reads."""
        node = self.graph.nodes[number]
        read = [(f, last) for f, _, last in node.lines(self.done[number]) if f in self.number]
        return [(self.number[f], last // self.graph.nodes[self.number[f]].gives + 1) for f, last in read]

    def run(self, number: int) -> None:
        self.found.append(Step(number, self.done[number]))
        self.done[number] += 1


def kept(graph: GridGraph, steps: Sequence[Step]) -> dict[Field, Kept]:
    """How every field is kept; inputs and outputs whole. Raises CompileError for a state that is read too late."""
    made: dict[Field, list[int]] = {n.out: [0] * n.out.rows for n in graph.nodes}
    read: dict[Field, list[int]] = {f: [-1] * f.rows for f in (*made, graph.grid, *(old for old, _ in graph.state))}
    for at, step in enumerate(steps):
        node = graph.nodes[step.node]
        for line in range(step.line * node.gives, (step.line + 1) * node.gives):
            made[node.out][line] = at
        for field, first, last in node.lines(step.line):
            for line in range(first, last + 1):
                read[field][line] = at
    _check_state(graph, steps, made, read)
    inputs = {f: Kept(f.rows, 0, max(lines)) for f, lines in read.items() if f not in made}
    whole = graph.results()
    return inputs | {
        f: Kept(f.rows if any(f is w for w in whole) else _ring(lines, read[f]), min(lines), max(*lines, *read[f]))
        for f, lines in made.items()
    }


def _ring(made: Sequence[int], read: Sequence[int]) -> int:
    """The least number of lines that keeps each until it has been read for the last time."""
    for ring in range(1, len(made)):
        if all(later > max(last, at) for at, later, last in zip(made, made[ring:], read, strict=False)):
            return ring
    return len(made)


def _check_state(
    graph: GridGraph, steps: Sequence[Step], made: dict[Field, list[int]], read: dict[Field, list[int]]
) -> None:
    """A new state is written in the old one's place: a line only when that has been read, or element by element."""
    for old, new in graph.state:
        for last, at in zip(read[old], made[new], strict=True):
            itself: Node = graph.nodes[steps[at].node]
            if last > at or (last == at and not isinstance(itself, Each)):
                raise CompileError(f"the detector reads the state {old.name} after it has made the next one of it")
