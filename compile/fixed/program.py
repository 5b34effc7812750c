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

from ..errors import CompileError
from ..graph.simplify import node_title
from ..plan.arena import ALIGN, place
from ..targets import Target
from .schedule import Lowered, lower_function

if TYPE_CHECKING:
    import onnx

LENGTH = "length"

_OPERATORS = (
    "Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv Div Dropout Elu Erf Exp Expand Flatten "
    "Gather Gelu Gemm GlobalAveragePool GlobalMaxPool GreaterOrEqual Greater HardSigmoid HardSwish Identity "
    "LayerNormalization LeakyRelu Less LessOrEqual MatMul Max MaxPool Mean Min Mul Neg Not PRelu Pad Pow Reciprocal "
    "ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Sum Tanh "
    "Transpose Unsqueeze Where"
)
SUPPORTED = frozenset(_OPERATORS.split())

#: What can be written in the place of operators that people often meet.
REPLACEMENTS = {
    "Attention": "MatMul, Softmax and MatMul",
    "MultiHeadAttention": "MatMul, Softmax and MatMul",
    "ConvTranspose": "Expand (nearest upsampling) and Conv",
    "Resize": "Reshape, Expand and Reshape (nearest upsampling)",
    "Upsample": "Reshape, Expand and Reshape (nearest upsampling)",
    "GRU": "a causal transformer, or the cell's MatMul, Sigmoid and Tanh written out",
    "LSTM": "a causal transformer, or the cell's MatMul, Sigmoid and Tanh written out",
    "RNN": "a causal transformer, or the cell's MatMul and Tanh written out",
    "GroupNormalization": "Reshape, LayerNormalization and Reshape, then Mul and Add",
    "InstanceNormalization": "Reshape, LayerNormalization and Reshape, then Mul and Add",
    "RMSNormalization": "Mul, ReduceMean, Add, Sqrt and Div",
    "LRN": "BatchNormalization",
    "LogSoftmax": "Softmax, or no operator: the order of the classes is that of its input",
    "Log": "no operator at the end of a classifier: the order of the classes stays",
    "ArgMax": "no operator: the caller takes the largest of the outputs",
    "TopK": "no operator: the caller takes the largest of the outputs",
    "Einsum": "Transpose, Reshape and MatMul",
    "Softplus": "Relu or Gelu",
    "Softsign": "Tanh",
    "Mish": "Gelu",
    "Selu": "Elu, then Mul",
    "Celu": "Elu",
    "Swish": "Sigmoid and Mul",
    "Sin": "a table as a constant and Gather",
    "Cos": "a table as a constant and Gather",
    "ReduceL2": "Mul, ReduceSum and Sqrt",
    "LpPool": "AveragePool",
    "GlobalLpPool": "GlobalAveragePool",
    "DepthToSpace": "Reshape, Transpose and Reshape",
    "SpaceToDepth": "Reshape, Transpose and Reshape",
    "QuantizeLinear": "the float graph: export it before quantisation",
    "DequantizeLinear": "the float graph: export it before quantisation",
    "QLinearConv": "the float graph: export it before quantisation",
    "QLinearMatMul": "the float graph: export it before quantisation",
    "MatMulInteger": "the float graph: export it before quantisation",
    "ConvInteger": "the float graph: export it before quantisation",
    "If": "Where, with both branches computed",
    "Loop": "the loop's steps written out",
    "Scan": "the loop's steps written out",
    "NonZero": "Where, with a mask of fixed shape",
    "Sign": "Where with Greater and Less",
    "Floor": "nothing for it: take it out of the graph",
}

C_TYPES = {"float32": "float", "int32": "int32_t", "int64": "int64_t", "bool": "uint8_t", "int8": "int8_t"}
_ALIASES = ("relax.reshape", "relax.flatten", "relax.squeeze", "relax.expand_dims")


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
    output: Tensor | str
    length: Tensor | None
    steps: list[Step] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    kernels: dict[str, Lowered] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def plan(self) -> tuple[dict[Tensor, int], int]:
        """Offset of every tensor and the size of the arena, in floats."""
        spans = {t: (t.floats, t.first, t.last) for t in self.tensors}
        offsets, size = place(spans, lambda t: t.name)
        return offsets, -(-size // ALIGN) * ALIGN


def check_operators(model: onnx.ModelProto) -> None:
    """Raises CompileError naming the nodes that cannot be compiled and what could stand in their place."""
    found = [n for n in model.graph.node if n.op_type not in SUPPORTED or n.domain not in ("", "ai.onnx")]
    if not found:
        return
    parts = []
    for node in found[:3]:
        instead = REPLACEMENTS.get(node.op_type)
        parts.append(node_title(node) + (f" (instead: {instead})" if instead else ""))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    raise CompileError(
        f"unsupported ONNX operator: {'; '.join(parts)}{more} (supported: {', '.join(sorted(SUPPORTED))})"
    )


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without Identity and Dropout, which do nothing here, and with products in the place of powers."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    outputs = {o.name for o in model.graph.output}
    names: dict[str, str] = {}
    kept = []
    for node in copy.graph.node:
        node.input[:] = [names.get(i, i) for i in node.input]
        if node.op_type in ("Identity", "Dropout") and not outputs & set(node.output):
            names[node.output[0]] = node.input[0]
        elif node.op_type == "Pow":
            kept += _products(node, _exponent(model, node))
        else:
            kept.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


def _exponent(model: onnx.ModelProto, node: Any) -> int:
    import onnx

    constants = {i.name: i for i in model.graph.initializer}
    for other in model.graph.node:
        if other.op_type == "Constant":
            constants.update((other.output[0], a.t) for a in other.attribute if a.name == "value")
    exponent = constants.get(node.input[1])
    value = None if exponent is None else onnx.numpy_helper.to_array(exponent)
    if value is None or value.size != 1 or value.item() not in (2, 3):
        raise CompileError(
            f"unsupported ONNX operator: {node_title(node)}, whose exponent is not the constant 2 or 3 "
            "(instead: Mul for other whole exponents, Sqrt for 0.5)"
        )
    return int(value.item())


def _products(node: Any, exponent: int) -> list[Any]:
    import onnx

    x, out = node.input[0], node.output[0]
    if exponent == 2:
        return [onnx.helper.make_node("Mul", [x, x], [out], name=node.name)]
    square = f"{out}/square"
    return [
        onnx.helper.make_node("Mul", [x, x], [square], name=f"{node.name}/square"),
        onnx.helper.make_node("Mul", [square, x], [out], name=node.name),
    ]


def read_shapes(model: onnx.ModelProto) -> tuple[str, tuple[int, ...], bool]:
    """The name and shape of the float input and whether there is a `length`; an open batch size becomes 1.

    Raises CompileError for other inputs, outputs and shapes.
    """
    import onnx

    initial = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initial]
    floats = [i for i in inputs if i.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    rest = [i for i in inputs if i not in floats]
    if len(floats) != 1 or any(i.name != LENGTH for i in rest):
        names = ", ".join(i.name for i in inputs) or "none"
        raise CompileError(f"the inputs are {names}: expected one float32 tensor, and an int32 'length' at most")
    if len(model.graph.output) != 1:
        raise CompileError(f"the graph has {len(model.graph.output)} outputs: expected one")
    for position, dimension in enumerate(floats[0].type.tensor_type.shape.dim):
        if dimension.dim_value < 1:
            if position:
                raise CompileError(
                    f"the input {floats[0].name!r} has an open size {dimension.dim_param or '?'!r} at axis {position}: "
                    "export it with fixed sizes"
                )
            dimension.dim_value = 1
    shape = tuple(d.dim_value for d in floats[0].type.tensor_type.shape.dim)
    return floats[0].name, shape, bool(rest)


def build(model: onnx.ModelProto, target: Target) -> FixedProgram:
    """Import, fuse, schedule and lower. The model has one float input, one output and fixed shapes."""
    module = _import(prepared(model))
    return _Walk(module, model, target).run()


def _import(model: onnx.ModelProto) -> Any:
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    try:
        module = from_onnx(model, keep_params_in_input=False)
    except Exception as error:  # the importer raises whatever its converters do
        text = str(error).strip().splitlines()
        raise CompileError(f"TVM cannot import the graph ({text[-1] if text else type(error).__name__})") from None
    passes = [
        relax.transform.DecomposeOpsForInference(),
        relax.transform.CanonicalizeBindings(),
        relax.transform.FoldConstant(),
        relax.transform.LegalizeOps(skip_ops=list(_ALIASES)),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(["main"]),
    ]
    return tvm.ir.transform.Sequential(passes)(module)


class _Walk:
    """From the bindings of Relax's main function to steps."""

    def __init__(self, module: Any, model: onnx.ModelProto, target: Target) -> None:
        self.module, self.model, self.target = module, model, target
        self.env: dict[Any, Any] = {}
        self.names: dict[str, int] = {}
        self.lowered: dict[str, str] = {}
        self.tensors: list[Tensor] = []

    def run(self) -> FixedProgram:
        main = self.module["main"]
        inputs: dict[str, Tensor] = {}
        for parameter in main.params:
            dtype, shape = _type(parameter)
            name = str(parameter.name)
            inputs[name] = self.env[parameter] = self.tensor("length" if name == LENGTH else "input", dtype, shape, 0)
        source = next(t for name, t in inputs.items() if name != LENGTH)
        self.program = FixedProgram(source, source, inputs.get(LENGTH), tensors=self.tensors)
        for block in main.body.blocks:
            for binding in block.bindings:
                self.env[binding.var] = self.value(binding.value, binding.var)
        output = self.value(main.body.body, main.body.body)
        if isinstance(output, Tensor):
            output.last = len(self.program.steps)
        if not isinstance(output, Tensor) or output.dtype != "float32":
            raise CompileError("the output is not a float32 tensor computed from the input")
        self.program.output = output
        return self.program

    def tensor(self, name: str, dtype: str, shape: tuple[int, ...], first: int) -> Tensor:
        if dtype not in C_TYPES:
            raise CompileError(f"a value of type {dtype} is not supported: the graph must compute in float32")
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
        raise CompileError(f"unsupported expression in the imported graph: {type(e).__name__}")

    def constant(self, e: Any, array: NDArray[Any]) -> str:
        if str(array.dtype) not in C_TYPES:
            raise CompileError(f"a constant of type {array.dtype} is not supported")
        name = self.unique("constant")
        self.env[e] = name
        self.program.constants[name] = np.ascontiguousarray(array)
        return name

    def call(self, call: Any, variable: Any) -> Any:
        op = call.op.name
        if op in _ALIASES:
            return self.value(call.args[0], variable)
        if op != "relax.call_tir":
            raise CompileError(f"TVM has no loops for {op} ({_made_by(op, self.model)})")
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


def _made_by(op: str, model: onnx.ModelProto) -> str:
    word = op.rsplit(".", 1)[-1].replace("_", "")
    nodes = [n for n in model.graph.node if word.startswith(n.op_type.lower()) or n.op_type.lower().startswith(word)]
    return "one of: " + (", ".join(node_title(n) for n in nodes[:4]) or "no ONNX node of that name")


def _macs(function: Any) -> int:
    """Multiply-accumulates of a function: the loop steps of its sums of products."""
    import tvm
    from tvm import s_tir

    from .schedule import sums_of_products

    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    return sum(math.prod(int(axis.dom.extent) for axis in block.iter_vars) for block in sums_of_products(schedule))


def constants_used(program: FixedProgram) -> Mapping[str, NDArray[Any]]:
    """The constants that some step reads."""
    used = {r for step in program.steps for r in step.reads if isinstance(r, str)}
    return {name: array for name, array in program.constants.items() if name in used}
