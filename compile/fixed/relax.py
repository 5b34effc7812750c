"""TVM's Relax: a prepared ONNX model as a module of fused TensorIR functions.

What TVM raises says nothing to who wrote the model. A model that it does not take is taken apart, and the first node
that it does not take alone is named.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ..errors import CompileError
from ..graph.onnx_model import static_shapes
from .prepare import unsupported

# What changes only a tensor's shape: its value lies where it lay.
ALIASES = ("relax.reshape", "relax.flatten", "relax.squeeze", "relax.expand_dims")


def imported(model: Any) -> Any:
    """Import and fuse. Raises whatever TVM's converters do."""
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(model, keep_params_in_input=False)
    module["main"] = _bounded()().visit_expr(module["main"])
    passes = [
        relax.transform.DecomposeOpsForInference(),
        relax.transform.CanonicalizeBindings(),
        relax.transform.FoldConstant(),
        relax.transform.LegalizeOps(skip_ops=list(ALIASES)),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(["main"]),
    ]
    return tvm.ir.transform.Sequential(passes)(module)


@cache
def _bounded() -> Any:
    """A rewriting of Gather that holds indices inside their axis: TVM's own would read whatever lies beyond it."""
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    @mutator
    class Bounded(PyExprMutator):  # type: ignore[misc]
        def visit_call_(self, call: Any) -> Any:
            call = super().visit_call_(call)
            if getattr(call.op, "name", "") == "relax.take":
                return relax.op.take(call.args[0], call.args[1], axis=call.attrs.axis, mode="clip")
            return call

    return Bounded


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
