"""TVM's import of an ONNX model, and the name of the node that it does not take.

What TVM raises says nothing to who wrote the model. A model that it does not take is taken apart, and the first node
that it does not take alone is named.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import CompileError
from .onnx_model import static_shapes, unsupported


def to_relax(model: Any) -> Any:
    """A Relax module of the model, made without printing. Raises whatever TVM's converters do."""
    from tvm.relax.frontend.onnx import from_onnx

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that it changes
        return from_onnx(model, keep_params_in_input=False)


def naming(model: Any, make: Callable[[Any], Any]) -> Any:
    """make(model); what it raises but a CompileError becomes one that names a node."""
    try:
        return make(model)
    except CompileError:
        raise
    except Exception:  # TVM raises many kinds
        raise _culprit(model, make) from None


def _culprit(model: Any, make: Callable[[Any], Any]) -> CompileError:
    import onnx

    whole = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for node in model.graph.node:
        try:
            make(_alone(whole, node))
        except Exception:
            return unsupported(node, " with these attributes, types and sizes", "the same by other operators")
    titles = f"{model.graph.node[0].op_type} ... {model.graph.node[-1].op_type}" if model.graph.node else "no operator"
    return CompileError(f"the graph ({titles}) cannot be compiled, though each node alone can: take it apart in two")


def _alone(model: Any, node: Any) -> Any:
    """A model of one node; what it reads of others' results are inputs."""
    import onnx

    shapes = static_shapes(model)
    infos = {i.name: i for i in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    initial = [i for i in model.graph.initializer if i.name in node.input]
    names = {i.name for i in initial}
    inputs = [infos[i] for i in dict.fromkeys(node.input) if i and i not in names]
    outputs = [infos[o] for o in node.output if o in shapes]
    graph = onnx.helper.make_graph([node], "alone", inputs, outputs, initial)
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
