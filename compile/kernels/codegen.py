"""Kernels to C, by TVM's code generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .base import Kernel, Parameter
from .builder import Builder

C_TYPES = {"float32": "float", "float64": "double", "int32": "int32_t", "int16": "int16_t", "int8": "int8_t"}


def build_function(kernel: Kernel, name: str) -> Any:
    """The TensorIR function (tvm.tirx.PrimFunc) of a kernel, taking plain pointers and ints."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.script.ir_builder import tirx as script

    with IRBuilder() as ir:
        with script.prim_func(s_tir=True):
            script.func_name(name)
            values: dict[str, Any] = {}
            pointers: dict[str, tuple[Any, str]] = {}
            for parameter in kernel.parameters:
                if parameter.kind == "int":
                    values[parameter.name] = script.arg(parameter.name, script.int32())
                else:
                    pointer = script.arg(parameter.name, script.handle(parameter.dtype))
                    pointers[parameter.name] = (pointer, parameter.dtype)
            for label, (pointer, dtype) in pointers.items():
                values[label] = script.decl_buffer((1 << 24,), dtype, data=pointer)
            kernel.body(Builder(), values)
        return ir.get().with_attr("global_symbol", name)


def generate(kernels: Sequence[tuple[str, Kernel]]) -> dict[str, str]:
    """The C definitions of the kernels by name, as TVM's C code generator writes them."""
    import tvm
    from tvm import s_tir, tirx

    def passes() -> tuple[Any, Any, Any]:
        lower = [
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.LowerOpaqueBlock(),
            tirx.transform.FlattenBuffer(),
            tirx.transform.NarrowDataType(32),
            tirx.transform.StmtSimplify(),
            tirx.transform.AnnotateEntryFunc(),
            tirx.transform.SplitHostDevice(),
        ]
        nothing = tvm.ir.transform.Sequential
        # No packed call interface and no run-time workspaces: kernels are plain C functions.
        return nothing(lower), lambda: tirx.transform.LowerIntrin(), lambda: nothing([])

    tirx.compilation_pipeline.register_tir_pipeline("spedge", passes)
    module = tvm.IRModule({name: build_function(kernel, name) for name, kernel in kernels})
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        source = tirx.build(module, target="c", pipeline="spedge").inspect_source()
    return {name: _definition(source, name, kernel) for name, kernel in kernels}


def _definition(source: str, name: str, kernel: Kernel) -> str:
    """One function of TVM's output under our own signature (const inputs)."""
    start = source.index(f" {name}(", source.index(f" {name}(") + 1)
    body = source[source.index("{", start) : source.index("\n}\n", start) + 3]
    return f"{signature(name, kernel)} {body}"


def signature(name: str, kernel: Kernel) -> str:
    """The C prototype, without the semicolon."""
    return f"void {name}({', '.join(f'{parameter_type(p)}{p.name}' for p in kernel.parameters)})"


def parameter_type(parameter: Parameter) -> str:
    """The C type of a parameter, with what separates it from a name."""
    if parameter.kind == "int":
        return "int32_t "
    return f"{'const ' if parameter.kind == 'in' else ''}{C_TYPES[parameter.dtype]} *"
