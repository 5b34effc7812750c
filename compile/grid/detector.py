"""A detector's encoder.onnx to a program: the encoder over rows, and the lines of the grid after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import CompileError
from ..graph.lift import lift as lift_rows
from ..graph.nodes import Graph
from ..graph.onnx_model import load_model
from ..graph.rewrite import optimise as optimise_rows
from ..graph.simplify import simplify
from ..plan.lowering import lower
from ..plan.program import Program, Stored
from ..supported import supported
from ..targets import Target
from ..text.model import Names
from .cut import cut
from .lift import lift
from .lines import Line, Lines
from .nodes import GridGraph
from .rewrite import optimise
from .rooms import Layout, lay_out

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle


@dataclass(frozen=True)
class DetectorProgram:
    """program: of the encoder, whose output are rows. graph: of the grid. functions: of its nodes. names: of all
    kernels."""

    encoder: Graph
    program: Program
    graph: GridGraph
    layout: Layout
    lines: Lines
    functions: tuple[Line, ...]
    names: Names

    @property
    def constants(self) -> Mapping[str, Stored]:
        """All that kernels read."""
        prefix = {"prefix": self.encoder.source.prefix} if self.encoder.prefix else {}
        return {**prefix, **self.program.constants, **self.lines.constants}


def detector_program(bundle: Bundle, target: Target) -> DetectorProgram:
    """Raises CompileError, naming the node, for a detector that cannot be compiled."""
    path = bundle.file("encoder.onnx")
    parts = cut(load_model(path))
    _check_shapes(bundle, parts.shapes, str(path))
    encoder = lift_rows(simplify(parts.encoder), rows=True)
    optimise_rows(encoder)
    graph = lift(parts)
    optimise(graph)
    program = lower(encoder, target)
    layout = lay_out(graph, program)
    lines = Lines(layout.rooms, target)
    functions = tuple(lines.add(node) for node in graph.nodes)
    names = Names.of(program)
    return DetectorProgram(
        encoder, program, graph, layout, lines, functions, Names({**names.kernels, **lines.kernels}, names.buffers)
    )


def _check_shapes(bundle: Bundle, shapes: Mapping[str, Any], path: str) -> None:
    model = supported(bundle)
    assert model.detector is not None
    state = [*model.detector.grid(bundle.sensor, model.input), model.detector.hidden]
    wanted = {
        "tokens": [1, model.window, model.input.features],
        "hidden": state,
        "cell": state,
        "head": list(bundle.outputs[0].shape),
    }
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            raise CompileError(f"{path}: {name} has the shape {shapes.get(name)}, but the bundle says {shape}")
