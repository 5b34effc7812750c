"""A model of fixed shapes under preparation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Element types of values, and what they are in C.
C_TYPES = {
    "float32": "float",
    "bool": "uint8_t",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass
class Graph:
    """A model under preparation: the nodes that are left, constants by name, types and sizes of values."""

    model: Any
    nodes: list[Any]
    constants: dict[str, Any]
    shapes: dict[str, list[int]]
    types: dict[str, str]

    @property
    def outputs(self) -> list[str]:
        return [o.name for o in self.model.graph.output]


def attribute(node: Any, name: str, default: int) -> int:
    """A whole number that a node has as an attribute."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)
