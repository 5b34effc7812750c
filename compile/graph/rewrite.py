"""The rewrites that make an encoder's graph cheap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .nodes import ALL, Array, Attention, Columns, Graph, HeadLinear, Linear, Map, Node, Norm, Value, demand


def optimise(graph: Graph) -> None:
    """All rewrites, in the order in which they help each other."""
    recognise_gelu(graph)
    push_columns(graph)
    fold_constants(graph)
    fold_norms(graph)
    graph.sweep()
    absorb_single_query(graph)
    graph.sweep()


def recognise_gelu(graph: Graph) -> None:
    """Put one operation in the place of x (1 + erf(x / sqrt 2)) / 2, however it was spelled."""
    samples = np.linspace(-6, 6, 97)
    erf = np.array([math.erf(x / math.sqrt(2)) for x in samples])
    wanted = samples * (1 + erf) / 2
    for node in list(graph.nodes):
        if not isinstance(node, Map) or node.op != "multiply":
            continue
        for x in _single_roots(graph, node):
            got = _evaluate(graph, node.out, x, samples)
            if got is not None and np.allclose(got, wanted, rtol=1e-6, atol=1e-7):
                graph.replace_node(node, [Map(node.out, "gelu", (x,))])
                break
    graph.sweep()


def _single_roots(graph: Graph, node: Map) -> list[Value]:
    """Values that elementwise operations alone lead from to this node, the nearest last."""
    seen: list[Value] = []
    work = list(node.inputs)
    while work:
        value = work.pop()
        if value in seen:
            continue
        seen.append(value)
        producer = graph.producer(value)
        if isinstance(producer, Map) and len(seen) < 16:
            work.extend(producer.inputs)
    return seen[::-1]


_SAMPLED: dict[str, Callable[..., NDArray[np.float64]]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
}


def _evaluate(graph: Graph, value: Value, root: Value, samples: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The value as a function of the root at some points; None where it is more than that."""
    if value is root:
        return samples
    node = graph.producer(value)
    if not isinstance(node, Map) or node.op not in _SAMPLED:
        return None
    args: list[NDArray[np.float64]] = []
    for arg in node.args:
        if isinstance(arg, Value):
            part = _evaluate(graph, arg, root, samples)
            if part is None:
                return None
            args.append(part)
        elif arg.ndim:
            return None
        else:
            args.append(np.asarray(arg, np.float64))
    return np.asarray(_SAMPLED[node.op](*args))


def push_columns(graph: Graph) -> None:
    """Replace a choice of columns by linears that compute just those."""
    while True:
        node = next((n for n in graph.nodes if isinstance(n, Columns)), None)
        if node is None:
            break
        source = graph.producer(node.x)
        graph.replace_node(node, _columns_of(graph, node, source))
    graph.sweep()


def _columns_of(graph: Graph, node: Columns, source: Node) -> list[Node]:
    index = node.index
    if isinstance(source, Linear):
        bias = None if source.bias is None else source.bias[index]
        return [Linear(node.out, source.x, source.weight[:, index], bias)]
    if isinstance(source, Columns):
        return [Columns(node.out, source.x, source.index[index])]
    if isinstance(source, Map):
        nodes: list[Node] = []
        args: list[Value | Array] = []
        for arg in source.args:
            if isinstance(arg, Value):
                part = graph.value(len(index), "columns")
                nodes.append(Columns(part, arg, index))
                args.append(part)
            else:
                args.append(arg[index] if arg.ndim else arg)
        return [*nodes, Map(node.out, source.op, tuple(args))]
    choice = np.zeros((node.x.width, len(index)), np.float32)
    choice[index, np.arange(len(index))] = 1
    return [Linear(node.out, node.x, choice)]


def fold_constants(graph: Graph) -> None:
    """Fold added and multiplied constants into the weights of the linear that feeds them."""
    changed = True
    while changed:
        changed = False
        for node in list(graph.nodes):
            if not isinstance(node, Map) or len(node.inputs) != 1:
                continue
            source = graph.producer(node.inputs[0])
            if isinstance(source, Linear) and graph.used_once(source.out):
                folded = _fold_into(node, source)
                if folded is not None:
                    graph.replace_node(node, [folded])
                    graph.nodes.remove(source)
                    changed = True


def _fold_into(node: Map, source: Linear) -> Linear | None:
    constants = [a for a in node.args if not isinstance(a, Value)]
    if len(constants) != 1:
        return None
    constant = np.broadcast_to(constants[0], (node.out.width,)).astype(np.float64)
    bias = np.zeros(node.out.width) if source.bias is None else source.bias.astype(np.float64)
    first = isinstance(node.args[0], Value)
    if node.op == "add":
        return replace(source, out=node.out, bias=(bias + constant).astype(np.float32))
    if node.op == "subtract" and first:
        return replace(source, out=node.out, bias=(bias - constant).astype(np.float32))
    if node.op == "multiply" or (node.op == "divide" and first):
        factor = constant if node.op == "multiply" else 1 / constant
        scaled = None if source.bias is None else (bias * factor).astype(np.float32)
        return replace(source, out=node.out, weight=(source.weight * factor).astype(np.float32), bias=scaled)
    return None


def fold_norms(graph: Graph) -> None:
    """Move a normalisation's scale and shift into the linears that read it, where only linears do."""
    for node in list(graph.nodes):
        if not isinstance(node, Norm) or node.scale is None:
            continue
        readers = graph.consumers(node.out)
        if node.out is graph.output or not all(isinstance(r, Linear) for r in readers):
            continue
        plain = Norm(graph.value(node.out.width, "norm"), node.x, node.epsilon)
        graph.replace_node(node, [plain])
        scale, shift = node.scale.astype(np.float64), node.shift
        for reader in readers:
            assert isinstance(reader, Linear)
            weight = reader.weight.astype(np.float64)
            bias = np.zeros(reader.out.width) if reader.bias is None else reader.bias.astype(np.float64)
            if shift is not None:
                bias = bias + shift.astype(np.float64) @ weight
            graph.replace_node(
                reader,
                [
                    replace(
                        reader,
                        x=plain.out,
                        weight=(scale[:, None] * weight).astype(np.float32),
                        bias=bias.astype(np.float32),
                    )
                ],
            )


def absorb_single_query(graph: Graph) -> None:
    """Where one query row attends, fold the key and value weights into it.

    With k_j = W_k n_j + b_k and v_j = W_v n_j + b_v, and one query q per head:
    q.k_j = (W_k^T q).n_j + const (the constant cancels in the softmax), and
    sum_j p_j v_j = W_v sum_j p_j n_j + b_v. The n_j are attended to directly: no key or value row
    is computed at all.
    """
    rows = demand(graph)
    for node in list(graph.nodes):
        if not isinstance(node, Attention) or node.shared or rows[node.out] == ALL:
            continue
        k, v = graph.producer(node.k), graph.producer(node.v)
        if not (isinstance(k, Linear) and isinstance(v, Linear) and k.x is v.x):
            continue
        width, heads = k.x.width, node.heads
        by_head = k.weight.reshape(width, heads, node.depth).transpose(1, 2, 0)
        query = HeadLinear(graph.value(heads * width, "query"), node.q, np.ascontiguousarray(by_head))
        mix = Attention(graph.value(heads * width, "mix"), query.out, k.x, k.x, heads, width, width, shared=True)
        by_head = v.weight.reshape(width, heads, node.value_depth).transpose(1, 0, 2)
        values = HeadLinear(node.out, mix.out, np.ascontiguousarray(by_head), v.bias)
        graph.replace_node(node, [query, mix, values])


def split_heads(graph: Graph, move_biases: bool = True) -> None:
    """Attend head by head: each adds its part of the output's linear to the rows, one after the other.

    Keys and values are then kept of one head at a time, and the rows' normalisation is kept instead of theirs. For
    attentions whose q, k and v are linears of one normalisation, and whose output's linear is added to other rows.
    move_biases: what is added to all values is added once to the output instead, for a row's weights sum to one.
    """
    rows = demand(graph)
    for node in list(graph.nodes):
        if isinstance(node, Attention) and node.heads > 1 and not (node.shared or node.causal):
            parts = _linears_around(graph, node)
            if parts is not None and rows[node.out] == ALL:
                _split(graph, node, *parts, move_biases)


def _linears_around(graph: Graph, node: Attention) -> tuple[list[Linear], Linear, Map, Value] | None:
    """The linears of q, k and v, that of the output, what adds it to rows, and these."""
    before = [p for p in map(graph.producer, node.inputs) if isinstance(p, Linear) and graph.used_once(p.out)]
    if len(before) < 3 or len({p.x for p in before}) > 1 or not isinstance(graph.producer(before[0].x), Norm):
        return None
    after = graph.consumers(node.out)
    if len(after) != 1 or not isinstance(after[0], Linear) or not graph.used_once(after[0].out):
        return None
    (add,) = graph.consumers(after[0].out)
    if not isinstance(add, Map) or add.op != "add" or len(add.inputs) != 2:
        return None
    rest = [v for v in add.inputs if v is not after[0].out]
    return (before, after[0], add, rest[0]) if len(rest) == 1 and rest[0] is not before[0].x else None


def _split(
    graph: Graph, node: Attention, before: list[Linear], after: Linear, add: Map, rest: Value, move_biases: bool
) -> None:
    made: list[Node] = []
    query, keys, values = before
    first_bias = after.bias
    if move_biases:
        first_bias = _plus_constant(after, values.bias)
        before = [query, keys, replace(values, bias=None)]
    for head in range(node.heads):
        inputs = []
        for linear, depth in zip(before, (node.depth, node.depth, node.value_depth), strict=True):
            part = slice(head * depth, (head + 1) * depth)
            bias = None if linear.bias is None else linear.bias[part]
            made.append(Linear(graph.value(depth, f"{linear.out.name}_"), linear.x, linear.weight[:, part], bias))
            inputs.append(made[-1].out)
        mixed = graph.value(node.value_depth, f"{node.out.name}_")
        made.append(Attention(mixed, inputs[0], inputs[1], inputs[2], 1, node.depth, node.value_depth))
        weight = after.weight[head * node.value_depth : (head + 1) * node.value_depth]
        share = graph.value(after.out.width, f"{after.out.name}_")
        made.append(Linear(share, mixed, weight, None if head else first_bias))
        total = add.out if head == node.heads - 1 else graph.value(add.out.width, f"{add.out.name}_")
        made.append(Map(total, "add", (share, rest)))
        rest = total
    graph.replace_node(add, made)
    gone = {node, after, query, keys, values}
    graph.nodes = [n for n in graph.nodes if n not in gone]


def _plus_constant(linear: Linear, constant: Array | None) -> Array | None:
    """The bias that a linear has where a constant has been taken from all that it reads."""
    if constant is None:
        return linear.bias
    more = constant.astype(np.float64) @ linear.weight
    return (more if linear.bias is None else linear.bias + more).astype(np.float32)


def centre_rows(graph: Graph) -> None:
    """Take its mean from each row that enters, and from all that is added to it, so that normalisations need not.

    They read the same with and without. Only where nothing else reads these rows, and what is added is a linear's.
    """
    source = graph.source
    rows, norms, linears = {source.out}, list[Norm](), list[Linear]()
    for node in graph.nodes:
        added = [v for v in node.inputs if v not in rows]
        if len(added) == len(node.inputs):
            continue
        if isinstance(node, Norm):
            norms.append(node)
            continue
        if not isinstance(node, Map) or node.op != "add" or len(node.inputs) != 2 or len(added) != 1:
            return
        linear = graph.producer(added[0])
        if not isinstance(linear, Linear) or not graph.used_once(linear.out):
            return
        linears.append(linear)
        rows.add(node.out)
    if graph.output in rows:
        return
    for linear in linears:
        weight, bias = linear.weight.astype(np.float64), linear.bias
        weight = (weight - weight.mean(axis=1, keepdims=True)).astype(np.float32)
        bias = None if bias is None else (bias - bias.mean(dtype=np.float64)).astype(np.float32)
        graph.replace_node(linear, [replace(linear, weight=weight, bias=bias)])
    for norm in norms:
        graph.replace_node(norm, [replace(norm, centred=True)])
    graph.replace_node(source, [replace(source, centred=True)])


#: Largest weight where some rows are made the identity: what it may cost in rounding. Scores are powers of two: less.
MOST_OF_VALUES, MOST_OF_KEYS = 32.0, 16.0
APART = 8, 4  # rows between those that are tried: first those that leave kernels whole turns of steps


def keep_columns(graph: Graph) -> None:
    """Of the heads that split_heads left, take keys and values in another basis: one in which they keep columns of x.

    With W_v = W S, S being some rows of W_v, one after the other, sum_j p_j v_j W_o = (sum_j p_j x_j W) (S W_o), and
    those rows of W are the identity, which takes no multiplication. Likewise q.k_j = (S q).(W^T x_j). Neither has a
    bias then: the values' goes to the output's linear, for the weights p_j sum to one, and the keys' adds the same to
    all scores of a row. Not where W has large entries, as with an S that is almost singular.
    """
    for node in list(graph.nodes):
        if isinstance(node, Attention) and node.heads == 1 and not (node.shared or node.causal):
            before, readers = [graph.producer(i) for i in node.inputs], graph.consumers(node.out)
            alone = len(readers) == 1 and all(graph.used_once(i) for i in node.inputs)
            if alone and isinstance(readers[0], Linear) and all(isinstance(n, Linear) for n in before):
                query, keys, values = (n for n in before if isinstance(n, Linear))
                _keep_keys(graph, query, keys)
                _keep_values(graph, values, readers[0])


def _keep_keys(graph: Graph, query: Linear, keys: Linear) -> None:
    if (found := _kept_rows(keys.weight, MOST_OF_KEYS)) is not None:
        kept, block = found
        graph.replace_node(keys, [replace(keys, weight=kept, bias=None)])
        bias = None if query.bias is None else (query.bias @ block.T).astype(np.float32)
        graph.replace_node(query, [replace(query, weight=(query.weight @ block.T).astype(np.float32), bias=bias)])


def _keep_values(graph: Graph, values: Linear, after: Linear) -> None:
    if (found := _kept_rows(values.weight, MOST_OF_VALUES)) is not None:
        kept, block = found
        bias = _plus_constant(after, values.bias)
        graph.replace_node(values, [replace(values, weight=kept, bias=None)])
        graph.replace_node(after, [replace(after, weight=(block @ after.weight).astype(np.float32), bias=bias)])


def _kept_rows(weight: Array, most: float) -> tuple[Array, NDArray[np.float64]] | None:
    """Weights [k, n] as the product of others, n rows of which are the identity, and a block [n, n].

    The first or the last rows where they will do: what is left of others is two parts.
    """
    depth, width = weight.shape
    if width >= depth:
        return None
    starts = (0, depth - width), *(range(step, depth - width, step) for step in APART)
    return next(filter(None, (_best_rows(weight, most, some) for some in starts)), None)


def _best_rows(weight: Array, most: float, starts: Iterable[int]) -> tuple[Array, NDArray[np.float64]] | None:
    """The same, from that of the rows `starts` on which makes the entries smallest, if they are `most` or less."""
    width = weight.shape[1]
    best = None
    for start in starts:
        block = weight[start : start + width].astype(np.float64)
        if np.linalg.matrix_rank(block) < width:
            continue
        kept = np.linalg.solve(block.T, weight.T.astype(np.float64)).T
        kept[start : start + width] = np.eye(width)
        largest = float(np.abs(kept).max())
        if largest <= most and (best is None or largest < best[0]):
            best = largest, kept.astype(np.float32), block
    return best and best[1:]
