"""Schedule and lower one TensorIR function of a fixed-shape graph to C with plain pointers.

What the functions compute comes from TVM's own operator definitions; here only their loops are arranged, by
pattern: cheap elementwise blocks are inlined, products with a sum over an axis keep a tile of sums in registers
with the elementwise blocks after them in the same loops, other reductions keep one sum. A block that a step does
not fit is left as it was, so that the result is right whatever the shape.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..targets import Target

STACK_FLOATS = 64  # a block's buffer of at most this many elements is an array on the stack, not in the arena

_COSTLY = re.compile(r"T\.(exp|erf|tanh|sigmoid|sqrt|rsqrt|log|pow\w*|if_then_else|Select)\(|//|%")
_FUNCTIONS = {
    "exp": "sp_k_expf",
    "erf": "sp_k_erff",
    "tanh": "sp_k_tanhf",
    "sigmoid": "sp_k_sigmoidf",
    "sqrt": "SP_K_SQRT",
    "fabs": "__builtin_fabsf",
}


@dataclass(frozen=True)
class Scratch:
    """Room in the arena that a function needs while it runs."""

    dtype: str
    elements: int


@dataclass(frozen=True)
class Lowered:
    """A function ready for the code generator: its parameters are pointers, first those of `function` as it was
    given, then one for each of `scratch`."""

    function: Any
    scratch: tuple[Scratch, ...]


def lower_function(function: Any, name: str, target: Target) -> Lowered:
    """Schedule a TensorIR function (buffers of fixed shapes) and lower it to loops over flat memory."""
    import tvm
    from tvm import s_tir, tirx

    scheduled = _Scheduler(function, target).run()
    module = tvm.IRModule({name: scheduled.with_attr("global_symbol", name)})
    passes = [
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        tirx.transform.StmtSimplify(),
        tirx.transform.UnrollLoop(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
    ]
    lowered = tvm.ir.transform.Sequential(passes)(module)[name]
    return _with_pointers(lowered)


def generate_c(functions: dict[str, Any]) -> dict[str, str]:
    """The body of each lowered function, braces included, as TVM's C code generator writes it."""
    import tvm
    from tvm import tirx

    _use_own_functions()

    def passes() -> tuple[Any, Any, Any]:
        sequence = tvm.ir.transform.Sequential
        before = sequence([tirx.transform.AnnotateEntryFunc(), tirx.transform.SplitHostDevice()])
        # No packed call interface and no run-time workspaces: kernels are plain C functions.
        return before, lambda: tirx.transform.LowerIntrin(), lambda: sequence([])

    tirx.compilation_pipeline.register_tir_pipeline("spedge-fixed", passes)
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        source = tirx.build(tvm.IRModule(functions), target="c", pipeline="spedge-fixed").inspect_source()
    return {name: _body(source, name) for name in functions}


@cache
def _use_own_functions() -> None:
    """Tell TVM's C target, once, to call kernel_math.h's functions."""
    from tvm import tirx

    for operator, function in _FUNCTIONS.items():
        tirx.register_intrin_lowering(f"tirx.{operator}", target="c", f=_extern(function), level=99)


def _extern(function: str) -> Any:
    from tvm import tirx

    return lambda call: tirx.call_pure_extern("float32", function, *call.args)


def _body(source: str, name: str) -> str:
    start = source.index(f" {name}(", source.index(f" {name}(") + 1)
    return source[source.index("{", start) : source.index("\n}\n", start) + 3]


def _with_pointers(function: Any) -> Lowered:
    """Pointers in the place of buffers, large allocations among them."""
    from tvm import tirx

    pointers, declared, rest = [], [], []
    scratch = []
    for i, parameter in enumerate(function.params):
        pointers.append(_pointer(f"p{i}", parameter.dtype))
        declared.append(tirx.DeclBuffer(parameter, data=pointers[-1]))
    body = function.body
    for statement in body.seq if isinstance(body, tirx.SeqStmt) else [body]:
        if isinstance(statement, tirx.AllocBuffer):
            buffer = statement.buffer
            elements = math.prod(int(n) for n in buffer.shape)
            if elements > STACK_FLOATS:
                scratch.append(Scratch(str(buffer.dtype), elements))
                pointers.append(_pointer(f"p{len(pointers)}", buffer.dtype))
                declared.append(tirx.DeclBuffer(buffer, data=pointers[-1]))
                continue
        rest.append(statement)
    whole = tirx.PrimFunc(pointers, tirx.SeqStmt([*declared, *rest]), None, function.attrs)
    return Lowered(whole, tuple(scratch))


def _pointer(name: str, dtype: Any) -> Any:
    from tvm import tirx
    from tvm.ir import PointerType, PrimType

    return tirx.Var(name, PointerType(PrimType(str(dtype)), "global"))


class _Scheduler:
    def __init__(self, function: Any, target: Target) -> None:
        import tvm
        from tvm import s_tir

        self.schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
        self.target = target

    def run(self) -> Any:
        for name in self.blocks():
            self.attempt(self.inline, name)
        for name in self.blocks():
            if self.is_reduction(name) and not self.attempt(self.reduce, name):
                self.attempt(self.start_apart, name)
        return self.schedule.mod["main"]

    # -- what there is
    def blocks(self) -> list[str]:
        root = self.schedule.get_sblock("root", "main")
        return [str(self.schedule.get(b).name_hint) for b in self.schedule.get_child_blocks(root)]

    def block(self, name: str) -> Any:
        return self.schedule.get_sblock(name, "main")

    def is_reduction(self, name: str) -> bool:
        return any(self.is_summed(v) for v in self.schedule.get(self.block(name)).iter_vars)

    @staticmethod
    def is_summed(axis: Any) -> bool:
        return int(axis.iter_type) == 2

    def attempt(self, step: Any, name: str) -> bool:
        """Take a step, or none of it when it does not fit. Returns whether it was taken."""
        from tvm.s_tir.schedule import ScheduleError

        before = self.schedule.copy()
        try:
            step(name)
        except (ScheduleError, _DoesNotFit):
            self.schedule = before
            return False
        return True

    # -- steps
    def inline(self, name: str) -> None:
        """Compute a block's elements where they are read; what costs only where each is read once."""
        block = self.block(name)
        consumers = self.schedule.get_consumers(block)
        if self.is_reduction(name) or not consumers:
            raise _DoesNotFit
        if _COSTLY.search(self.schedule.get(block).script()):
            reader = str(self.schedule.get(consumers[0]).name_hint)
            if len(consumers) > 1 or self.is_reduction(reader):
                raise _DoesNotFit
        self.schedule.compute_inline(block)

    def reduce(self, name: str) -> None:
        """Sum in registers: a tile of sums for products, one otherwise."""
        schedule, block = self.schedule, self.block(name)
        axes = list(schedule.get(block).iter_vars)
        loops = list(schedule.get_loops(block))
        if len(axes) != len(loops):
            raise _DoesNotFit
        spatial = [i for i, axis in enumerate(axes) if not self.is_summed(axis)]
        summed = [loop for loop, axis in zip(loops, axes, strict=True) if self.is_summed(axis)]
        if not spatial:
            raise _DoesNotFit
        tiled = self.tile(schedule.get(block), axes, spatial)
        sums = _is_sum(schedule.get(block))
        outer, inner = [], []
        for i in spatial:
            if i in tiled:
                first, second = schedule.split(loops[i], [None, tiled[i]])
                outer.append(first)
                inner.append(second)
            else:
                outer.append(loops[i])
        schedule.reorder(*outer, *summed, *inner)
        self.write_tile(block, outer[-1], bool(tiled))
        for loop in inner:
            schedule.unroll(loop)
        start = schedule.decompose_reduction(block, self.unroll_sum(summed, sums))
        for loop in schedule.get_loops(start)[len(outer) :]:
            schedule.unroll(loop)

    def start_apart(self, name: str) -> None:
        """Begin a sum in front of its loops, where a compiler sees that it is begun."""
        block = self.block(name)
        axes, loops = self.schedule.get(block).iter_vars, self.schedule.get_loops(block)
        self.schedule.decompose_reduction(
            block, next(loop for loop, axis in zip(loops, axes, strict=True) if self.is_summed(axis))
        )

    def write_tile(self, block: Any, at: Any, unroll: bool) -> None:
        """The sums live in registers; the blocks that read them, or a copy, run once for each tile."""
        schedule = self.schedule
        consumers = schedule.get_consumers(block)
        alone = len(consumers) == 1 and self.only_reader(block)
        reader = consumers[0] if alone else schedule.cache_write(block, 0, "global")
        schedule.reverse_compute_at(reader, at)
        if unroll:
            for loop in schedule.get_loops(reader)[self.depth_of(at, reader) :]:
                schedule.unroll(loop)

    def only_reader(self, block: Any) -> bool:
        """Whether one elementwise block of the same shape reads the sums."""
        (reader,) = self.schedule.get_consumers(block)
        name = str(self.schedule.get(reader).name_hint)
        if self.is_reduction(name):
            return False
        written = self.schedule.get(block).writes[0].source.shape
        theirs = self.schedule.get(reader).writes[0].source.shape
        return [int(n) for n in written] == [int(n) for n in theirs]

    def depth_of(self, at: Any, reader: Any) -> int:
        target = self.schedule.get(at)
        for i, loop in enumerate(self.schedule.get_loops(reader)):
            if self.schedule.get(loop).loop_var.same_as(target.loop_var):
                return i + 1
        raise _DoesNotFit

    def unroll_sum(self, summed: Sequence[Any], sums: bool) -> Any:
        """Some steps of the innermost sum at a time. Returns the outermost sum's loop."""
        *outer, loop = summed
        by = _divisor(int(self.schedule.get(loop).extent), 4)
        # TVM's C code generator names the operands of a maximum once per scope, so that a second one in the
        # same scope would read the first one's sum: maxima stay in a loop of their own.
        if by > 1 and sums:
            loop, steps = self.schedule.split(loop, [None, by])
            self.schedule.unroll(steps)
        return outer[0] if outer else loop

    def tile(self, block: Any, axes: Sequence[Any], spatial: Sequence[int]) -> dict[int, int]:
        """Axes of a sum of products and how much of each is in a tile: one along each factor, so that a loaded
        value is used more than once."""
        factors = _factors(block)
        if factors is None:
            return {}
        extents = {i: int(axes[i].dom.extent) for i in spatial}
        wide = [i for i in spatial if extents[i] > 1]
        uses = {i: [_reads(factor, axes[i].var) for factor in factors] for i in wide}
        columns = next((i for i in reversed(wide) if uses[i].count(True) == 1), None)
        if columns is None:
            return {}
        along = uses[columns].index(True)
        rows = next((i for i in reversed(wide) if uses[i].count(True) == 1 and uses[i].index(True) != along), None)
        tiles = {}
        if rows is not None:
            tiles[rows] = _divisor(extents[rows], self.target.rows)
        most = (
            self.target.single_columns if tiles.get(rows if rows is not None else -1, 1) == 1 else self.target.columns
        )
        tiles[columns] = _divisor(extents[columns], most)
        return {i: n for i, n in tiles.items() if n > 1}


class _DoesNotFit(Exception):
    pass


def _divisor(extent: int, most: int) -> int:
    """The largest divisor up to `most`; for an extent without one, all of it when it is small."""
    best = max(d for d in range(1, most + 1) if extent % d == 0)
    return extent if best == 1 and extent <= 2 * most else best


def _is_sum(block: Any) -> bool:
    from tvm import tirx

    return isinstance(block.body, tirx.BufferStore) and isinstance(block.body.value, tirx.Add)


def _factors(block: Any) -> tuple[Any, Any] | None:
    """The two factors of `sum = sum + a * b`."""
    from tvm import tirx

    store = block.body
    if not isinstance(store, tirx.BufferStore) or not isinstance(store.value, tirx.Add):
        return None
    product = store.value.b
    return (product.a, product.b) if isinstance(product, tirx.Mul) else None


def _reads(expression: Any, variable: Any) -> bool:
    from tvm.tirx.analysis import undefined_vars

    return any(v.same_as(variable) for v in undefined_vars(expression, []))


def sums_of_products(schedule: Any) -> list[Any]:
    """The blocks of an unscheduled function that add up products."""
    root = schedule.get_sblock("root", "main")
    blocks = [schedule.get(b) for b in schedule.get_child_blocks(root)]
    return [b for b in blocks if any(int(v.iter_type) == 2 for v in b.iter_vars) and _factors(b) is not None]
