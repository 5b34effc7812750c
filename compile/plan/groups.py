"""Which nodes become one kernel."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.nodes import Graph, Linear, Map, Node, Value


def groups_of(graph: Graph, nodes: Sequence[Node], keep: Sequence[Value]) -> list[list[Node]]:
    """Nodes that become one kernel: a linear (or a first map) and the elementwise nodes after it.

    A group is the longest run of maps that starts from the kernel's result, reads nothing that is not
    there yet, and leaves exactly one value that anyone else reads.
    """
    left = list(nodes)
    groups: list[list[Node]] = []
    ready = {i for n in nodes for i in n.inputs} - {n.out for n in nodes}
    while left:
        head = left.pop(0)
        members, best = [head], [head]
        if isinstance(head, Linear | Map):
            outs = {head.out}
            for node in left:
                joins = isinstance(node, Map) and any(i in outs for i in node.inputs)
                if not joins or not all(i in outs or i in ready for i in node.inputs):
                    continue
                members = [*members, node]
                outs.add(node.out)
                seen = [
                    m.out
                    for m in members
                    if m.out is graph.output
                    or any(m.out is k for k in keep)
                    or any(all(r is not x for x in members) for r in graph.consumers(m.out))
                ]
                if seen == [node.out] or seen == []:
                    best = members
        groups.append(best)
        left = [n for n in left if all(n is not m for m in best)]
        ready.update(n.out for n in best)
    return groups
