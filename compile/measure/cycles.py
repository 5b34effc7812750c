"""Predicted cycles: what LLVM's models of cores (llvm-mca) make of the blocks that an inference executes.

A prediction is a model's: instructions and data are where they are wanted at once, branches cost nothing, and a block
follows itself. What weighs a block is how often an emulator executed it, counted exactly.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spedge.base.programs import apt_get

from ..errors import MissingCompilerError
from ..targets import Target
from . import armv6m
from .blocks import Block, executed_blocks

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from spedge.model.bundle import Bundle

    from .machine import Machine

TOOLS = ("llvm-mca", "llvm-objdump")
ITERATIONS = 100  # of each block
#: Functions of a model: its executor and kernels, with what the compiler makes of them.
FUNCTIONS = r"(encode|sp_k_\w+)(\.\w+)*|memcpy|memset"
#: The same with what computes floats where there is no FPU.
FUNCTIONS_WITHOUT_FPU = rf"{FUNCTIONS}|sp_integer_\w+|__\w+|sqrtf"
_IT = re.compile(r"^it([te]{0,3}) (\w\w)$")
_OPPOSITES = ("eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")  # in pairs
_REGION = re.compile(r"^\[\d+\] Code Region - b(\d+)$")


@dataclass(frozen=True)
class KernelCycles:
    """A function of the model, and what it came to in all its calls."""

    kernel: str
    instructions: int
    predicted_cycles: float


@dataclass(frozen=True)
class LoopCycles:
    """A loop without branches inside: where it is in its function, in bytes; how often its body was executed; the
    body's instructions, and predicted cycles of one round."""

    kernel: str
    offset: int
    executed: int
    instructions: int
    predicted_cycles: float

    @property
    def total(self) -> float:
        """Predicted cycles of all rounds."""
        return self.executed * self.predicted_cycles


@dataclass(frozen=True)
class Prediction:
    """core: whose model; tool: of which LLVM. instructions: executed, exactly; of these `unknown` are in blocks that
    the model does not know, which count as a cycle each. kernels and loops: the costliest first."""

    core: str
    tool: str
    instructions: int
    unknown: int
    predicted_cycles: float
    kernels: tuple[KernelCycles, ...]
    loops: tuple[LoopCycles, ...]


def require_tools() -> None:
    """Raises MissingCompilerError, naming the package, where LLVM's programs are not installed."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise MissingCompilerError(
            f"predicted cycles need {' and '.join(missing)}, not installed here: {apt_get(['llvm'])}"
        )


def predict(
    bundle: Bundle,
    target: Target,
    precision: str,
    machine: Machine,
    cases: Sequence[NDArray[np.float32]],
    model: Path | None = None,
) -> tuple[Prediction, ...]:
    """Predicted cycles of inferences on a machine that is emulated, by each of the target's cores.

    model: a compiled folder in place of the bundle's. Raises MissingCompilerError without LLVM, and what
    `Machine.trace` raises; no core, no prediction.
    """
    if not target.cores:
        return ()
    require_tools()
    functions = FUNCTIONS_WITHOUT_FPU if target.integers else FUNCTIONS
    execution = machine.trace(bundle, precision, cases, model, functions)
    blocks = executed_blocks(execution.image, target, execution.starts, functions)
    return tuple(_of_core(blocks, target, core) for core in target.cores)


def _of_core(blocks: Sequence[Block], target: Target, core: str) -> Prediction:
    published = core in armv6m.CORES
    costs: dict[int, float] = {i: armv6m.cycles(block.code) for i, block in enumerate(blocks)} if published else {}
    costs = costs or cycles_of_rounds(blocks, range(len(blocks)), target, core)
    kernels: dict[str, list[float]] = {}
    loops = []
    for i, block in enumerate(blocks):
        name, size = block.function.split(".")[0], len(block.code)
        cycles = costs.get(i, float(size))
        total = kernels.setdefault(name, [0, 0])
        total[0] += block.executed * size
        total[1] += block.executed * cycles
        if block.loops:
            loops.append(LoopCycles(name, block.offset, block.executed, size, cycles))
    made = [KernelCycles(name, int(n), cycles) for name, (n, cycles) in kernels.items()]
    return Prediction(
        core,
        armv6m.MANUAL if published else _version(),
        sum(k.instructions for k in made),
        sum(b.executed * len(b.code) for i, b in enumerate(blocks) if i not in costs),
        sum(k.predicted_cycles for k in made),
        tuple(sorted(made, key=lambda k: -k.predicted_cycles)),
        tuple(sorted(loops, key=lambda k: -k.total)),
    )


def cycles_of_rounds(blocks: Sequence[Block], which: Sequence[int], target: Target, core: str) -> dict[int, float]:
    """Predicted cycles of a round of each block of `which`, by its number; without what LLVM's model does not know."""
    mark = "#" if target.triple.startswith("aarch64") else "@"
    lines = []
    for i in which:
        lines.append(f"{mark} LLVM-MCA-BEGIN b{i}")
        lines += unconditional(instruction.text for instruction in blocks[i].code)
        lines.append(f"{mark} LLVM-MCA-END")
    command = ["llvm-mca", f"-mtriple={target.triple}", f"-mcpu={core}", f"-iterations={ITERATIONS}"]
    command += ["-all-stats=false", "-all-views=false", "-summary-view"]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if done.returncode:
        half = len(which) // 2
        parts = (which[:half], which[half:]) if half else ()
        return {i: cost for part in parts for i, cost in cycles_of_rounds(blocks, part, target, core).items()}
    costs: dict[int, float] = {}
    region = -1
    for line in done.stdout.splitlines():
        if found := _REGION.match(line):
            region = int(found[1])
        elif line.startswith("Total Cycles:"):
            costs[region] = int(line.split()[-1]) / ITERATIONS
    return costs


def unconditional(code: Iterable[str]) -> list[str]:
    """Code without Thumb's it-instructions, which a core folds away and LLVM's models do not know: what depends on one
    is as if it were always executed."""
    lines: list[str] = []
    conditions: list[str] = []
    for text in code:
        if found := _IT.match(text):
            opposite = _OPPOSITES[_OPPOSITES.index(found[2]) ^ 1]
            conditions = [found[2] if then == "t" else opposite for then in f"t{found[1]}"]
        elif conditions:
            name, *rest = text.split(" ", 1)
            stem, *suffix = name.split(".", 1)
            lines.append(" ".join([".".join([stem.removesuffix(conditions.pop(0)), *suffix]), *rest]))
        else:
            lines.append(text)
    return lines


def _version() -> str:
    said = subprocess.run(["llvm-mca", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"LLVM version (\S+)", said)
    return f"llvm-mca {found[1]}" if found else "llvm-mca"
