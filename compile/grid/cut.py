"""Take a detector's ONNX graph apart where its encoder's rows are pooled into the grid.

The pooling is found by what depends on what, and recognised by what it computes, however it was spelled.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..graph.onnx_model import fold, static_shapes

if TYPE_CHECKING:
    import onnx

INPUTS = ("tokens", "length", "cells", "hidden", "cell")
OUTPUTS = ("head", "hidden_next", "cell_next")
STATE = (("hidden", "hidden_next"), ("cell", "cell_next"))
# What may stand between the encoder's last operator and the pooling: it takes away rows, or moves them.
_MASKING = frozenset(
    ["Cast", "Expand", "Gather", "Identity", "Mul", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Where"]
)


@dataclass(frozen=True)
class Cut:
    """encoder: tokens and length to rows [.., prefix + T, features]; grid: a grid, hidden and cell to the outputs.

    prefix: rows in front of the tokens that are not pooled. pooled: the grid's name in `grid`, whose inputs have the
    shapes that `shapes` says.
    """

    encoder: onnx.ModelProto
    prefix: int
    grid: onnx.ModelProto
    pooled: str
    shapes: dict[str, list[int]]


def cut(model: onnx.ModelProto) -> Cut:
    """Raises CompileError for a graph that is no detector by a transformer on tokens."""
    import onnx

    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    _check_interface(model)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes = fold(model, constants)
    shapes = static_shapes(model)
    parts = _Parts(model, nodes, constants, shapes)
    at, pooled = parts.pooling()
    rows = parts.encoded()
    prefix = shapes[rows][-2] - shapes["tokens"][1]
    parts.check_pooling(at, rows, pooled, prefix)
    encoder = parts.model_of(parts.behind([rows]), ["tokens", "length"], [rows])
    grid = parts.model_of(nodes[at + 1 :] + parts.aside(at), [pooled, "hidden", "cell"], list(OUTPUTS))
    return Cut(encoder, prefix, grid, pooled, shapes)


def _check_interface(model: onnx.ModelProto) -> None:
    initial = {i.name for i in model.graph.initializer}
    for what, names, expected in (
        ("inputs", {i.name for i in model.graph.input} - initial, INPUTS),
        ("outputs", {o.name for o in model.graph.output}, OUTPUTS),
    ):
        if names != set(expected):
            raise CompileError(
                f"the detector's {what} are {', '.join(sorted(names)) or 'missing'}: a compiled one by a transformer "
                f"on tokens has {', '.join(expected)}"
            )
    shapes = static_shapes(model)
    for name in INPUTS:
        if name not in shapes or 0 in shapes[name]:
            raise CompileError(f"the detector's input {name} has no fixed shape")


class _Parts:
    """The nodes and what each value depends on."""

    def __init__(
        self,
        model: onnx.ModelProto,
        nodes: Sequence[Any],
        constants: dict[str, NDArray[Any]],
        shapes: dict[str, list[int]],
    ) -> None:
        self.model, self.nodes, self.constants, self.shapes = model, list(nodes), constants, shapes
        self.depends: dict[str, frozenset[str]] = {name: frozenset([name]) for name in INPUTS}
        for node in self.nodes:
            found: frozenset[str] = frozenset().union(*(self.depends.get(i, frozenset()) for i in node.input))
            self.depends.update(dict.fromkeys(node.output, found))

    def needs(self, name: str, *inputs: str) -> bool:
        return bool(self.depends.get(name, frozenset()) & set(inputs))

    def pooling(self) -> tuple[int, str]:
        """The number of the node after which one value alone holds all that is known of the tokens; its name."""
        last = {i: number for number, node in enumerate(self.nodes) for i in node.input}
        last |= {o.name: len(self.nodes) for o in self.model.graph.output}
        live = {name for name in ("tokens", "length", "cells") if name in last}
        for number, node in enumerate(self.nodes):
            live.update(o for o in node.output if o in last and self.needs(o, "tokens", "length", "cells"))
            live = {name for name in live if last[name] > number}
            if len(live) == 1 and self.needs(name := next(iter(live)), "cells") and self.needs(name, "tokens"):
                return number, name
        raise CompileError("the detector's tokens are not pooled into a grid by their cells")

    def encoded(self) -> str:
        """What the encoder gives: the tokens' value that the pooling begins with."""
        entered = {
            i
            for node in self.nodes
            if any(self.needs(name, "cells") for name in (*node.input, *node.output))
            for i in node.input
            if self.needs(i, "tokens") and not self.needs(i, "cells")
        }
        if len(entered) != 1:
            raise CompileError(f"the pooling into the grid reads {', '.join(sorted(entered)) or 'no tokens'}")
        name: str = entered.pop()
        makers = {o: node for node in self.nodes for o in node.output}
        while name in makers and makers[name].op_type in _MASKING:
            reads = [i for i in makers[name].input if self.needs(i, "tokens")]
            if len(reads) != 1 or self.shapes.get(reads[0], [])[-2:-1] < self.shapes["tokens"][1:2]:
                break
            name = str(reads[0])
        return name

    def behind(self, names: Collection[str], until: Collection[str] = ()) -> list[Any]:
        """The nodes that these values need, in order; those of `until` are there already."""
        needed = set(names)
        kept = []
        for node in reversed(self.nodes):
            if any(o in needed and o not in until for o in node.output):
                needed.update(node.input)
                kept.append(node)
        return kept[::-1]

    def aside(self, at: int) -> list[Any]:
        """Nodes up to number `at` of the state alone."""
        return [
            n for n in self.nodes[: at + 1] if n.output and not self.needs(n.output[0], "tokens", "length", "cells")
        ]

    def check_pooling(self, at: int, rows: str, pooled: str, prefix: int) -> None:
        """Compute the pooling of random rows. Raises CompileError when it is not what is compiled."""
        import onnxruntime

        _, capacity = self.shapes["cells"]
        height, width, _ = self.shapes["hidden"]
        features = self.shapes[rows][-1]
        if prefix < 0 or int(np.prod(self.shapes[rows])) != (prefix + capacity) * features:
            raise CompileError(f"the encoder gives {self.shapes[rows]}: expected a row for each of {capacity} tokens")
        nodes = self.behind([pooled], [rows])
        model = self.model_of(nodes, [rows, "length", "cells"], [pooled])
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        inputs = {i.name for i in session.get_inputs()}
        random = np.random.default_rng(0)
        for count in {0, 1, capacity // 2, capacity}:
            cells = random.integers(0, height * width, capacity, dtype=np.int32)
            given = random.normal(0, 1, (prefix + capacity, features)).astype(np.float32)
            wanted = np.zeros((height * width, features), np.float32)
            np.maximum.at(wanted, cells[:count], given[prefix : prefix + count])
            feeds = {rows: given.reshape(self.shapes[rows]), "length": np.array([count], np.int32)}
            feeds["cells"] = cells[None]
            (got,) = session.run([pooled], {name: array for name, array in feeds.items() if name in inputs})
            if got.size != wanted.size or not np.array_equal(got.reshape(wanted.shape), wanted):
                raise CompileError(
                    f"what becomes of the encoder's rows {rows!r} in {pooled!r} is not the largest of each cell's "
                    "tokens and 0, which is what can be compiled"
                )

    def model_of(self, nodes: Sequence[Any], inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
        """Some of the nodes, in the order in which they stand in the whole, as a model."""
        import onnx

        order = {id(n): i for i, n in enumerate(self.nodes)}
        nodes = sorted(nodes, key=lambda n: order[id(n)])
        used = {i for n in nodes for i in n.input} | set(outputs)
        infos = {i.name: i for i in (*self.model.graph.input, *self.model.graph.value_info, *self.model.graph.output)}
        graph = onnx.helper.make_graph(
            nodes,
            "part",
            [infos[name] for name in inputs if name in used],
            [infos[name] for name in outputs],
            [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in self.constants.items() if n in used],
        )
        return onnx.helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
