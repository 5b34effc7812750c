"""Products of an encoder by the kernels of aarch64, beside loops in C: executed instructions, and predicted cycles.

firmware/bench/products computes one of either kind. The loops are compiled by the kernels' compiler for the same
instructions, with -O3, by which GCC makes vectors of them. An emulator counts what is executed, on a core that has dot
products for kernels by these alone.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.objects import rows_objects
from spedge.base.paths import firmware_dir

from ..errors import CompileError
from ..kernels.rows import PANEL, pack_pairs, pack_panels, pad_panels
from ..targets import TARGETS, Target
from .blocks import Block, Instruction, counted_blocks, disassemble
from .cycles import cycles_of_rounds, require_tools
from .footprint import require_compiler

if TYPE_CHECKING:
    from .machine import Machine

SCHEMA = 1
#: Each precision, by the vector instructions of kernel_rows.h that compute it.
KINDS = (("fp32", "baseline"), ("int8w", "baseline"), ("int8", "baseline"), ("int8", "dotprod"))
#: What a compiler is told of these, and a core of QEMU's that has them; Cortex-A57 has no dot products.
_LEVELS = {"baseline": ((), "cortex-a57"), "dotprod": (("-march=armv8.2-a+dotprod",), "max")}
_NOT = {"dotprod": ("cortex-a57",)}  # cores that do not have them
_SUFFIX = r"(\.\w+)*"
_KERNEL = r"(sp_k_(rows_)?(product|quantise)\w*|share|do_product|worth|level|sp_threads\w*)" + _SUFFIX
_LOOP = r"loop_\w+" + _SUFFIX
_BY_PANEL = re.compile(r"(sp_k_product_\w+|do_product)" + _SUFFIX)  # called once for each panel
_INVERSE = 32.0  # of the scale of x, in int8

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Cost:
    """For each multiply-accumulate: executed instructions, and predicted cycles by core, without cores that do not have
    such instructions."""

    instructions: float
    predicted_cycles: Mapping[str, float]


@dataclass(frozen=True)
class ProductCost:
    """A product [rows, depth] [depth, columns] plus bias, by the kernel and by the loop. In int8 the kernel rounds its
    rows itself, and the loop finds them rounded."""

    precision: str
    vectors: str
    rows: int
    depth: int
    columns: int
    kernel: Cost
    loop: Cost

    @property
    def macs(self) -> int:
        return self.rows * self.depth * self.columns

    @property
    def ratio(self) -> float:
        """The kernel's instructions over the loop's."""
        return self.kernel.instructions / self.loop.instructions

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "macs": self.macs, "ratio": round(self.ratio, 4)}


@dataclass(frozen=True)
class _Counted:
    """Blocks that ran, and how many of each run there are for a multiply-accumulate."""

    blocks: Sequence[Block]
    shares: Sequence[float]


def encoder_products(hidden: int, intermediate: int) -> tuple[tuple[int, int], ...]:
    """Depth and columns of the products of an encoder's layer that differ: four are of the first kind."""
    return (hidden, hidden), (hidden, intermediate), (intermediate, hidden)


def count_products(
    machine: Machine, rows: int, shapes: Iterable[tuple[int, int]], kinds: Sequence[tuple[str, str]] = KINDS
) -> list[ProductCost]:
    """What products of `rows` rows cost, for (depth, columns) of each of `shapes` in each of `kinds`.

    Of a kernel one panel of columns is run, of which a product has so many; of a loop one row. Raises
    MissingCompilerError without aarch64's compiler or LLVM, CompileError where a result is wrong, and what
    `Machine.execute` raises.
    """
    target = TARGETS["aarch64"]
    require_compiler(target)
    require_tools()
    shapes = list(dict.fromkeys(shapes))
    costs: dict[tuple[str, str, int, int], list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="spedge-") as scratch:
        for vectors in dict.fromkeys(level for _, level in kinds):
            program = build_program(Path(scratch) / vectors, target, vectors)
            listing = list(disassemble(program, target, f"{_KERNEL}|{_LOOP}"))
            wanted = [(p, v, *shape) for p, v in kinds if v == vectors for shape in shapes]
            pairs = [_count(machine, program, listing, target, precision, vectors, rows, depth, columns)
                     for precision, _, depth, columns in wanted]  # fmt: skip
            priced = _priced([counted for pair in pairs for counted in pair], target, _NOT.get(vectors, ()))
            costs |= {key: priced[2 * i : 2 * i + 2] for i, key in enumerate(wanted)}
    return [
        ProductCost(precision, vectors, rows, depth, columns, *costs[precision, vectors, depth, columns])
        for depth, columns in shapes
        for precision, vectors in kinds
    ]


def build_program(folder: Path, target: Target, vectors: str) -> Path:
    """firmware/bench/products as a program, its loops compiled for those vector instructions; folder: to be made.

    Raises CompileError when the compiler refuses it.
    """
    folder.mkdir(parents=True)
    source, runtime = firmware_dir() / "bench/products", firmware_dir() / "runtime"
    includes = [f"-I{root / 'include'}" for root in (runtime, firmware_dir() / "lib")]
    kernels = [target.compiler, "-std=c99", *target.flags, *includes]
    loops = [target.compiler, "-std=c99", "-O3", *_LEVELS[vectors][0], "-c", str(source / "loops.c")]
    try:
        objects = [*rows_objects(runtime, kernels), folder / "loops.o"]
        subprocess.run([*loops, "-o", str(folder / "loops.o")], capture_output=True, text=True, check=True)
        linked = [*kernels, "-static", str(source / "main.c"), *map(str, objects), "-pthread", "-lm"]
        subprocess.run([*linked, "-o", str(folder / "products")], capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise CompileError(f"{source} does not build by {target.compiler}: {error.stderr.strip()}") from error
    return folder / "products"


def packed_input(precision: str, by_loop: bool, x: Floats, w: NDArray[Any], scale: Floats, bias: Floats) -> bytes:
    """What the program reads, of x [rows, depth]; w [depth, columns], float32 or int8; scale, bias [columns]."""
    if by_loop:
        parts = [x, w.T if precision == "int8" else w, scale, bias]
    else:
        parts = [x, (pack_pairs if precision == "int8" else pack_panels)(w), pad_panels(scale), pad_panels(bias)]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def _count(
    machine: Machine,
    program: Path,
    listing: Sequence[tuple[str, list[Instruction]]],
    target: Target,
    precision: str,
    vectors: str,
    rows: int,
    depth: int,
    columns: int,
) -> tuple[_Counted, _Counted]:
    """Of the kernel and of the loop."""
    macs = rows * depth * columns
    panels = -(-columns // PANEL)

    def run(by_loop: bool, rows: int, columns: int) -> list[Block]:
        random = np.random.default_rng(depth)
        x = random.normal(0, 1, (rows, depth)).astype(np.float32)
        w: NDArray[Any] = random.normal(0, 1, (depth, columns)).astype(np.float32)
        scale, bias = np.ones(columns, np.float32), random.normal(0, 1, columns).astype(np.float32)
        if precision != "fp32":
            w, scale = np.clip(np.rint(40 * w), -127, 127).astype(np.int8), scale / np.float32(40)
        if precision == "int8":
            scale /= np.float32(_INVERSE)
        within = _LOOP if by_loop else _KERNEL
        sizes = [precision, "loop" if by_loop else vectors, *map(str, (rows, depth, columns, _INVERSE))]
        given = packed_input(precision, by_loop, x, w, scale, bias)
        execution = machine.execute(program, sizes, given, within, _LEVELS[vectors][1])
        seen = np.clip(np.rint(x * np.float32(_INVERSE)), -128, 127) if precision == "int8" else x
        exact = (seen.astype(np.float64) @ w) * scale + bias
        got = np.frombuffer(execution.output, np.float32).reshape(rows, columns)
        if not np.allclose(got, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max()):
            raise CompileError(f"a product of {precision} by {sizes[1]} computes something else")
        return counted_blocks(listing, target, execution.starts, within)

    kernel, loop = run(False, rows, PANEL), run(True, 1, columns)
    shares = [(panels if _BY_PANEL.fullmatch(block.function) else 1) / macs for block in kernel]
    return _Counted(kernel, shares), _Counted(loop, [1 / (depth * columns)] * len(loop))


def _priced(runs: Sequence[_Counted], target: Target, without: Sequence[str]) -> list[Cost]:
    """Costs of runs of one program: a block is predicted once."""
    blocks = list({(block.function, block.offset): block for run in runs for block in run.blocks}.values())
    cores = [core for core in target.cores if core not in without]
    rounds = {core: cycles_of_rounds(blocks, range(len(blocks)), target, core) for core in cores}
    cycles = {
        core: {(b.function, b.offset): known.get(i, float(len(b.code))) for i, b in enumerate(blocks)}
        for core, known in rounds.items()
    }

    def total(run: _Counted, each: Mapping[tuple[str, int], float]) -> float:
        executed = zip(run.blocks, run.shares, strict=True)
        return sum(share * block.executed * each[block.function, block.offset] for block, share in executed)

    sizes = {(block.function, block.offset): float(len(block.code)) for block in blocks}
    return [Cost(total(run, sizes), {core: total(run, each) for core, each in cycles.items()}) for run in runs]
