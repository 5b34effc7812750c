"""TVM's Relax: a prepared ONNX model as a module of fused TensorIR functions."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..graph.culprit import to_relax

# What changes only a tensor's shape: its value lies where it lay.
ALIASES = ("relax.reshape", "relax.flatten", "relax.squeeze", "relax.expand_dims")


def imported(model: Any) -> Any:
    """Import and fuse. Raises whatever TVM's converters do."""
    import tvm
    from tvm import relax

    module = to_relax(model)
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
