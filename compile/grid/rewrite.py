"""The rewrites that make a detector's fields few and its products cheap, as explicit passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .nodes import Conv, Each, Field, GridGraph, Leaf, Node, Piece, Term, View


def optimise(graph: GridGraph) -> None:
    """All passes, in the order in which they help each other."""
    join_elementwise(graph)
    recognise_silu(graph)
    join_products(graph)
    join_activations(graph)


def _nodes(graph: GridGraph) -> Iterator[Node]:
    """Each node, as it is when its turn comes, though they are replaced meanwhile."""
    for out in [n.out for n in graph.nodes]:
        node = graph.producer(out)
        if node is not None:
            yield node


def join_elementwise(graph: GridGraph) -> None:
    """Elementwise operations that one other alone reads become part of it."""
    for node in _nodes(graph):
        if not isinstance(node, Each) or not graph.read_once(node.out):
            continue
        (reader,) = graph.readers(node.out)
        if isinstance(reader, Each):
            graph.replace(reader, [Each(reader.out, _put(reader.term, node.out, node.term))])
            graph.nodes.remove(node)


def _put(term: Term, place: Field, inner: Term) -> Term:
    """The term with another one in the place of a field's pieces."""

    def of(arg: Term | Leaf) -> Term | Leaf:
        if isinstance(arg, Term):
            return _put(arg, place, inner)
        if isinstance(arg.value, Piece) and arg.value.field is place:
            return _columns(inner, arg.value.column, arg.value.width)
        return arg

    return Term(term.op, tuple(of(a) for a in term.args))


def _columns(term: Term, column: int, width: int) -> Term:
    """The term of some of its columns."""

    def of(arg: Term | Leaf) -> Term | Leaf:
        if isinstance(arg, Term):
            return _columns(arg, column, width)
        value = arg.value
        if isinstance(value, Piece):
            return Leaf(Piece(value.field, value.column + column, width))
        return Leaf(value[column : column + width] if value.ndim else value)

    return Term(term.op, tuple(of(a) for a in term.args))


def recognise_silu(graph: GridGraph) -> None:
    """x sigmoid(x) becomes one operation."""

    def of(arg: Term | Leaf) -> Term | Leaf:
        if isinstance(arg, Leaf):
            return arg
        args = tuple(of(a) for a in arg.args)
        for x, other in (args, args[::-1]) if arg.op == "multiply" else ():
            if isinstance(x, Leaf) and other == Term("sigmoid", (x,)):
                return Term("silu", (x,))
        return Term(arg.op, args)

    _each_term(graph, of)


def _each_term(graph: GridGraph, change: Callable[[Term | Leaf], Term | Leaf]) -> None:
    for node in _nodes(graph):
        if isinstance(node, Each):
            term = change(node.term)
            assert isinstance(term, Term)
            graph.replace(node, [Each(node.out, term)])


def join_products(graph: GridGraph) -> None:
    """A sum of products of cells and constants becomes one product of all their operands side by side."""
    for node in _nodes(graph):
        if not isinstance(node, Each):
            continue
        terms = _summands(node.term)
        if terms is None:
            continue
        products = [graph.producer(t.value.field) for t in terms if isinstance(t.value, Piece)]
        if products and all(isinstance(p, Conv) and p.linear and not p.after and _alone(graph, p) for p in products):
            convs = [p for p in products if isinstance(p, Conv)]
            graph.replace(node, [_side_by_side(node.out, convs, terms)])
            for product in convs:
                graph.nodes.remove(product)


def _summands(term: Term | Leaf) -> list[Leaf] | None:
    """The leaves of a sum; None for another term."""
    if isinstance(term, Leaf):
        whole = not isinstance(term.value, Piece) or term.value.whole
        return [term] if whole else None
    parts = [_summands(a) for a in term.args] if term.op == "add" else [None]
    return [leaf for part in parts if part for leaf in part] if all(p is not None for p in parts) else None


def _alone(graph: GridGraph, product: Conv) -> bool:
    return graph.read_once(product.out)


def _side_by_side(out: Field, convs: list[Conv], terms: list[Leaf]) -> Conv:
    constants = [t.value for t in terms if not isinstance(t.value, Piece)]
    bias = sum([c.bias.astype(np.float64) for c in convs] + [c.astype(np.float64) for c in constants])
    view = View(out.rows, out.columns, tuple(p for c in convs for p in c.view.pieces))
    weight = np.concatenate([c.weight for c in convs], axis=2)
    return Conv(out, view, weight, np.broadcast_to(bias, (out.width,)).astype(np.float32))


def join_activations(graph: GridGraph) -> None:
    """Operations of one operand on the result of a product become part of that."""
    for node in _nodes(graph):
        chain = _chain(node.term) if isinstance(node, Each) else None
        if chain is None:
            continue
        after, piece = chain
        product = graph.producer(piece.field)
        if isinstance(product, Conv) and piece.whole and graph.read_once(product.out):
            graph.replace(node, [replace(product, out=node.out, after=product.after + after)])
            graph.nodes.remove(product)


def _chain(term: Term) -> tuple[tuple[str, ...], Piece] | None:
    """The operations of a term of one operand each, the innermost first, and the piece that they begin with."""
    if len(term.args) != 1:
        return None
    (arg,) = term.args
    if isinstance(arg, Leaf):
        return ((term.op,), arg.value) if isinstance(arg.value, Piece) else None
    inner = _chain(arg)
    return None if inner is None else ((*inner[0], term.op), inner[1])
