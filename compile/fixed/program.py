"""Fixed-shape graphs: any ONNX model of supported operators as a list of kernel calls on planned memory.

The way for everything that is not a token encoder (see graph/lift.py for those): TVM's Relax imports and fuses the
operators, schedule.py turns each fused function into C, and this module keeps the list of calls and when each
buffer is in use. All elements are computed in every run; nothing depends on a count of tokens, unless the graph
has an input `length`, which is given as an int32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.outputs import Output

from ..errors import CompileError
from ..graph.culprit import naming
from ..plan.arena import ALIGN, place
from ..targets import Target
from .model import C_TYPES
from .prepare import LENGTH
from .relax import ALIASES, imported
from .schedule import Lowered, generate_c, lower_function

if TYPE_CHECKING:
    import onnx

MOST_FLOATS = (2**31 - 1) // 4  # places in the arena are ints in C


@dataclass(eq=False)
class Tensor:
    """A value in the arena: bytes, and the first and last step at which it is in use."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    first: int
    last: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def floats(self) -> int:
        return -(-self.elements * np.dtype(self.dtype).itemsize // 4)


@dataclass(frozen=True)
class Step:
    """One kernel call; arguments are tensors or names of constants, read in front and written behind."""

    kernel: str
    reads: tuple[Tensor | str, ...]
    writes: tuple[Tensor, ...]
    what: str
    macs: int


@dataclass
class FixedProgram:
    """The calls in order. `kernels`: lowered functions and the C types of their parameters, const ones first."""

    input: Tensor
    output: Tensor
    given: Output  # what that is called in the graph, and its shape
    length: Tensor | None
    constant: str = ""  # the constant that the output is where it does not depend on the input
    steps: list[Step] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    kernels: dict[str, Lowered] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)  # of the kernels in C, braces included
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def plan(self) -> tuple[dict[Tensor, int], int]:
        """Offset of every tensor and the size of the arena, in floats."""
        spans = {t: (t.floats, t.first, t.last) for t in self.tensors}
        offsets, size = place(spans, lambda t: t.name)
        return offsets, -(-size // ALIGN) * ALIGN


def build(model: onnx.ModelProto, target: Target) -> FixedProgram:
    """Import, fuse, schedule and lower a prepared model. Raises CompileError naming a node."""
    program: FixedProgram = naming(model, lambda part: _Walk(imported(part), target, part.graph.output[0].name).run())
    if program.plan()[1] > MOST_FLOATS:
        largest = max(program.tensors, key=lambda t: t.floats)
        raise CompileError(
            f"the model's values take {4 * program.plan()[1]:,} bytes at once, more than 2 GiB "
            f"(the largest: {largest.name} {list(largest.shape)})"
        )
    return program


class _Walk:
    """From the bindings of Relax's main function to steps."""

    def __init__(self, module: Any, target: Target, name: str) -> None:
        """name: of the graph's output."""
        self.module, self.target, self.name = module, target, name
        self.env: dict[Any, Any] = {}
        self.names: dict[str, int] = {}
        self.lowered: dict[str, str] = {}
        self.tensors: list[Tensor] = []

    def run(self) -> FixedProgram:
        main = self.module["main"]
        inputs: dict[str, Tensor] = {}
        for parameter in main.params:
            dtype, shape = _type(parameter)
            name = "input" if dtype == "float32" else LENGTH
            inputs[name] = self.env[parameter] = self.tensor(name, dtype, shape, 0)
        source = inputs["input"]
        self.program = FixedProgram(source, source, Output("", ()), inputs.get(LENGTH), tensors=self.tensors)
        for block in main.body.blocks:
            for binding in block.bindings:
                self.env[binding.var] = self.value(binding.value, binding.var)
        output = self.value(main.body.body, main.body.body)
        dtype, shape = _type(main.body.body)
        if isinstance(output, str):
            self.program.constant = output
            output = self.tensor("output", dtype, shape, len(self.program.steps))
        output.last = len(self.program.steps)
        self.program.output, self.program.given = output, Output(self.name, shape)
        self.program.bodies = generate_c({name: lowered.function for name, lowered in self.program.kernels.items()})
        return self.program

    def tensor(self, name: str, dtype: str, shape: tuple[int, ...], first: int) -> Tensor:
        if dtype not in C_TYPES:
            raise NotImplementedError(dtype)
        tensor = Tensor(self.unique(name), dtype, shape, first, first)
        self.tensors.append(tensor)
        return tensor

    def unique(self, name: str) -> str:
        name = "".join(c if c.isalnum() else "_" for c in name)[:48]
        count = self.names[name] = self.names.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def value(self, e: Any, variable: Any) -> Any:
        from tvm import relax

        if e in self.env:
            return self.env[e]
        if isinstance(e, relax.Call):
            return self.call(e, variable)
        if isinstance(e, relax.TupleGetItem):
            return self.value(e.tuple_value, variable)[e.index]
        if isinstance(e, relax.Tuple):
            return tuple(self.value(f, variable) for f in e.fields)
        data: Any = getattr(e, "value", getattr(e, "data", None))
        if hasattr(data, "numpy"):
            return self.constant(e, data.numpy())
        raise NotImplementedError(type(e).__name__)

    def constant(self, e: Any, array: NDArray[Any]) -> str:
        if str(array.dtype) not in C_TYPES:
            raise NotImplementedError(array.dtype)
        name = self.unique("constant")
        self.env[e] = name
        self.program.constants[name] = np.ascontiguousarray(array)
        return name

    def call(self, call: Any, variable: Any) -> Any:
        op = call.op.name
        if op in ALIASES:
            return self.value(call.args[0], variable)
        if op != "relax.call_tir":
            raise NotImplementedError(op)
        step = len(self.program.steps)
        reads = tuple(self.value(a, variable) for a in call.args[1])
        for read in reads:
            if isinstance(read, Tensor):
                read.last = step
        kernel, lowered = self.kernel(call.args[0].name_hint)
        name = str(variable.name)
        types = _types(call)
        results = tuple(self.tensor(name, dtype, shape, step) for dtype, shape in types)
        scratch = tuple(self.tensor(f"{name}_scratch", s.dtype, (s.elements,), step) for s in lowered.scratch)
        macs = _macs(self.module[call.args[0].name_hint])
        self.program.steps.append(Step(kernel, reads, (*results, *scratch), kernel.removeprefix("sp_k_"), macs))
        return results[0] if len(results) == 1 else results

    def kernel(self, function: str) -> tuple[str, Lowered]:
        name = self.lowered.get(function)
        if name is None:
            name = self.lowered[function] = f"sp_k_{self.unique(function.removeprefix('fused_'))}"
            self.program.kernels[name] = lower_function(self.module[function], name, self.target)
        return name, self.program.kernels[name]


def _type(expression: Any) -> tuple[str, tuple[int, ...]]:
    type_ = expression.ty
    return str(type_.dtype), tuple(int(n) for n in type_.shape)


def _types(call: Any) -> list[tuple[str, tuple[int, ...]]]:
    types = next(iter(call.ty_args))
    fields = list(types.fields) if hasattr(types, "fields") else [types]
    return [(str(t.dtype), tuple(int(n) for n in t.shape)) for t in fields]


def _macs(function: Any) -> int:
    """Multiply-accumulates of a function: the loop steps of its sums of products."""
    import tvm
    from tvm import s_tir

    from .schedule import sums_of_products

    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    return sum(math.prod(int(axis.dom.extent) for axis in block.iter_vars) for block in sums_of_products(schedule))


def constants_used(program: FixedProgram) -> Mapping[str, NDArray[Any]]:
    """The constants that some step reads, or that the output is."""
    read = (r for step in program.steps for r in step.reads)
    used = {r for r in (*read, program.constant) if isinstance(r, str)}
    return {name: array for name, array in program.constants.items() if name in used}
