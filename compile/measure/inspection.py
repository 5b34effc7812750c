"""What a compiled model costs kernel by kernel, and where its values leave those of ONNX Runtime.

The executor is generated once more with a probe around every kernel call. On this machine the probes write what
each call computed, to compare it with the graph's values; on a board they count its instructions.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.base.objects import rows_objects
from spedge.base.paths import cache_dir

from ..driver import Progress, Result, generate, write_folder
from ..errors import CompileError, MissingCompilerError
from ..graph.nodes import Array
from ..graph.reference import Runner, to_onnx
from ..kernels.base import Kernel, Layout, LinearKernel, MapKernel, MixKernel, NormKernel
from ..kernels.fixed import FixedAttentionKernel, FixedLinearKernel
from ..kernels.int8 import Int8LinearKernel
from ..kernels.rows import RowsAttentionKernel
from ..plan.program import Call, HeadLoop
from ..supported import supported
from ..targets import TARGETS, Target, find_target
from .cycles import Prediction, predict
from .footprint import SOURCES, Footprint, footprint, include_flags, require_compiler

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle

    from .machine import Machine

SCHEMA = 1
SAMPLES = 3


@dataclass(frozen=True)
class CallReport:
    """One kernel call of the executor, repeated `calls` times with all tokens present.

    `share`: of the instructions where they were measured, else of the multiply-accumulates. `instructions`: of all
    repeats, with the tokens of the measured sample. The errors are those of the value that the call completes,
    against ONNX Runtime in the same precision; None for a call that only prepares one.
    """

    kernel: str
    computes: str
    calls: int
    macs: int
    share: float
    instructions: int | None
    max_abs_error: float | None
    rmse: float | None
    cosine: float | None


@dataclass(frozen=True)
class Inspection:
    """footprint: bytes on the target, None when its compiler is not installed. tokens: present in the measured sample.

    instructions: of a whole inference on the board `measured_on`, without probes' own. predictions: of its cycles, by
    core; `unpredicted` says why there are none though the board was measured.
    """

    target: str
    precision: str
    macs: int
    arena_bytes: int
    footprint: Footprint | None
    samples: int
    tokens: int
    measured_on: str | None
    instructions: int | None
    max_abs_error: float
    calls: tuple[CallReport, ...]
    predictions: tuple[Prediction, ...] = ()
    unpredicted: str | None = None

    def to_json(self) -> str:
        """The report as a JSON document."""
        document = {"schema": SCHEMA, **asdict(self)}
        if self.footprint:
            document["footprint"]["flash_bytes"] = self.footprint.flash_bytes
        return json.dumps(document, indent=1) + "\n"


@dataclass(frozen=True)
class _Site:
    """A kernel call in the executor's text."""

    call: Call
    in_blocks: bool

    @property
    def rows(self) -> int:
        return self.call.kernel.rows

    @property
    def width(self) -> int:
        """Columns that it writes to the value it computes; 0 when that is no value of the graph."""
        kernel: Kernel = self.call.kernel
        if isinstance(kernel, LinearKernel | Int8LinearKernel | FixedLinearKernel | NormKernel | MapKernel):
            return kernel.width
        if isinstance(kernel, FixedAttentionKernel):
            return kernel.value_depth
        if isinstance(kernel, RowsAttentionKernel):
            return kernel.width if kernel.given else 0  # all heads
        return kernel.depth if isinstance(kernel, MixKernel) else 0

    @property
    def layout(self) -> Layout:
        return getattr(self.call.kernel, "out", Layout(0))


_Values = dict[int, list[tuple[int, int, NDArray[np.float32]]]]  # by site: block, head, [rows, width]


def inspect(
    bundle: Bundle,
    target: str,
    precision: str = "fp32",
    machine: Machine | None = None,
    on_progress: Progress | None = None,
) -> Inspection:
    """Sizes, kernels and errors of a bundle's encoder, and what each costs on a machine that counts instructions.

    The samples are the bundle's vectors, or random rows when it keeps none. Raises what `compile_bundle` raises,
    UsageError when the machine does not count instructions or has another core.
    """
    say = on_progress or (lambda _: None)
    chosen = find_target(target, precision)
    require_compiler(TARGETS["native"])
    samples = sample_rows(bundle)
    result = generate(bundle, chosen, say, precision, probes=True)
    sites = _sites(result)
    folder = cache_dir() / "probes" / f"{bundle.hash[:16]}-{target}-{precision}"
    write_folder(folder, result.files)
    say("comparing with ONNX Runtime")
    errors, largest = _errors(result, sites, folder, samples)
    longest = max(samples, key=len)
    costs, whole = _measure(bundle, chosen, precision, folder, machine, longest, len(sites), say)
    predictions, unpredicted = _predict(bundle, chosen, precision, machine, longest, say)
    parts = result.report.kernels
    weights = [float(c) for c in costs] if costs else [float(p.macs) for p in parts]
    total = sum(weights) or 1.0
    calls = tuple(
        CallReport(p.kernel, p.computes, p.calls, p.macs, w / total, costs[i] if costs else None, *errors[i])
        for i, (p, w) in enumerate(zip(parts, weights, strict=True))
    )
    return Inspection(
        target=target,
        precision=precision,
        macs=result.report.macs,
        arena_bytes=result.report.arena_bytes,
        footprint=_footprint(bundle, chosen, say, precision),
        samples=len(samples),
        tokens=len(longest),
        measured_on=None if machine is None else machine.name,
        instructions=whole,
        max_abs_error=largest,
        calls=calls,
        predictions=predictions,
        unpredicted=unpredicted,
    )


def sample_rows(bundle: Bundle) -> list[Array]:
    """Rows to run a model on: of the bundle's vectors, or random ones when it keeps none."""
    kept = [v.embedded for v in bundle.vectors()][:SAMPLES]
    if kept:
        return kept
    model = supported(bundle)
    return [np.random.default_rng(0).normal(0, 1, (model.window, model.input.features)).astype(np.float32)]


def _sites(result: Result) -> list[_Site]:
    return [
        _Site(call, in_blocks)
        for item, in_blocks in result.program.items()
        for call in (item.calls if isinstance(item, HeadLoop) else (item,))
    ]


def _footprint(bundle: Bundle, target: Target, say: Progress, precision: str) -> Footprint | None:
    try:
        require_compiler(target)
    except MissingCompilerError:
        return None
    with tempfile.TemporaryDirectory(prefix="spedge-") as scratch:
        folder = Path(scratch) / "model"
        write_folder(folder, generate(bundle, target, say, precision).files)
        return footprint(folder, target)


# ---------------------------------------------------------------- errors

_DRIVER = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>

static const int32_t extents[][5] = {@EXTENTS@}; /* rows, columns, the layout's size, panel and tile */

void sp_probe_begin(int32_t site);
void sp_probe_end(int32_t site, int32_t block, int32_t head, const void *out);

void sp_probe_begin(int32_t site)
{
    (void)site;
}

void sp_probe_end(int32_t site, int32_t block, int32_t head, const void *out)
{
    const int32_t *const e = extents[site];
    const int32_t place[3] = {site, block, head};
    if (e[1] == 0) {
        return;
    }
    fwrite(place, sizeof place, 1, stdout);
    for (int32_t row = 0; row < e[0]; ++row) {
        for (int32_t column = 0; column < e[1]; ++column) {
            const int32_t at = e[4] ? column / 4 * e[4] + row * 4 + column % 4 : e[3] ? column * 4 + row
                                                                                    : row * e[2] + column;
            fwrite((const float *)out + at, sizeof(float), 1, stdout);
        }
    }
}

int main(void)
{
    unsigned char *arena = aligned_alloc(16, sp_model.arena_bytes);
    uint32_t count;
    if (arena == NULL || fread(&count, sizeof count, 1, stdin) != 1 || count > SP_MODEL_TOKENS) {
        return 2;
    }
    if (fread(arena + sp_model.input_offset, SP_MODEL_HIDDEN * sizeof(float), count, stdin) != count) {
        return 3;
    }
    return sp_model.encode(arena, count) == SP_OK ? 0 : 4;
}
"""


def _errors(
    result: Result, sites: Sequence[_Site], folder: Path, samples: Sequence[Array]
) -> tuple[list[tuple[float | None, float | None, float | None]], float]:
    """(max abs, RMSE, cosine) of each site over all samples, and the largest error of the result."""
    graph = result.graph
    assert graph is not None
    values = {n.out.name: n.out for n in graph.nodes}
    factors = getattr(result.program, "factors", {})
    wanted = list(dict.fromkeys(values[s.call.what] for s in sites if s.width))
    runner = Runner(to_onnx(graph, wanted), graph)
    pairs: list[list[tuple[Array, Array]]] = [[] for _ in sites]
    with tempfile.TemporaryDirectory(prefix="spedge-") as scratch:
        program = _build(folder, sites, Path(scratch))
        for rows in samples:
            expected = dict(zip(wanted, runner(rows, [v.name for v in wanted]), strict=True))
            got = _run(program, sites, rows)
            for index, site in enumerate(sites):
                if site.width:
                    value = values[site.call.what]
                    theirs, factor = expected[value][: graph.prefix + len(rows)], np.float32(factors.get(value, 1))
                    pairs[index] += _compare(site, got.get(index, []), theirs, graph.output_row, factor)
    errors = [_error(p) for p in pairs]
    last = [e[0] for e, s in zip(errors, sites, strict=True) if s.call.what == graph.output.name]
    return errors, max((e for e in last if e is not None), default=0.0)


def _build(folder: Path, sites: Sequence[_Site], scratch: Path) -> Path:
    extents = ", ".join(
        f"{{{s.rows}, {s.width}, {s.layout.size}, {int(s.layout.panel)}, {s.layout.tile}}}" for s in sites
    )
    (scratch / "driver.c").write_text(_DRIVER.replace("@EXTENTS@", extents))
    sources = [str(folder / name) for name in SOURCES]
    options = ["cc", "-std=c11", "-O1", "-ffp-contract=off"]
    command = [*options, *include_flags(folder), str(scratch / "driver.c"), *sources]
    command += map(str, rows_objects(folder, options))
    command += ["-pthread", "-lm", "-o", str(scratch / "driver")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"the generated sources do not compile here: {done.stderr.strip().splitlines()[0]}")
    return scratch / "driver"


def _run(program: Path, sites: Sequence[_Site], rows: Array) -> _Values:
    """What each call computed, in the order of the run."""
    stdin = np.uint32(len(rows)).tobytes() + rows.astype(np.float32).tobytes()
    done = subprocess.run([str(program)], input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise CompileError(f"the generated encoder ended with status {done.returncode}")
    found: _Values = {}
    at = 0
    while at < len(done.stdout):
        index, block, head = (int(v) for v in np.frombuffer(done.stdout, np.int32, 3, at))
        site = sites[index]
        block_of = np.frombuffer(done.stdout, np.float32, site.rows * site.width, at + 12)
        found.setdefault(index, []).append((block, head, block_of.reshape(site.rows, site.width)))
        at += 12 + 4 * site.rows * site.width
    return found


def _compare(
    site: _Site, parts: list[tuple[int, int, Array]], expected: Array, single: int, factor: np.float32
) -> list[tuple[Array, Array]]:
    """Pairs of what was computed and what should have been. expected: the rows present; single: the row read alone;
    factor: what the computed is multiplied by."""
    pairs = []
    out = site.call.args[[p.name for p in site.call.kernel.parameters].index("out")]
    for block, head, got in parts:
        first = block * site.rows if site.in_blocks else single
        count = min(site.rows, len(expected) - first) if site.in_blocks else 1
        column = site.layout.column(out.offset + head * out.per_head)
        pairs.append((got[:count] / factor, expected[first : first + count, column : column + site.width]))
    return pairs


def _error(pairs: list[tuple[Array, Array]]) -> tuple[float | None, float | None, float | None]:
    if not pairs:
        return None, None, None
    got, wanted = (np.concatenate([p[i].ravel() for p in pairs]).astype(np.float64) for i in (0, 1))
    length = float(np.linalg.norm(got) * np.linalg.norm(wanted))
    cosine = float(got @ wanted) / length if length else 1.0
    return float(np.abs(got - wanted).max(initial=0)), float(np.sqrt(np.mean((got - wanted) ** 2))), cosine


# ---------------------------------------------------------------- instructions


def _measure(
    bundle: Bundle,
    target: Target,
    precision: str,
    folder: Path,
    machine: Machine | None,
    rows: Array,
    sites: int,
    say: Progress,
) -> tuple[list[int], int | None]:
    """Instructions of each site and of the whole inference; nothing without a machine, or where they are counted by
    `predict` alone."""
    if machine is None or (machine.target == target.name and machine.cost_unit != "instructions" and target.cores):
        return [], None
    if machine.target != target.name or machine.cost_unit != "instructions":
        raise UsageError(f"{machine.name} cannot count the instructions of {target.name}: see 'spedge boards'")
    say(f"measuring on {machine.name}")
    (whole,) = machine.run(bundle, precision, [rows])
    (run,) = machine.run(bundle, precision, [rows], model=folder, probes=sites)
    return list(run.probes), whole.cost


def _predict(
    bundle: Bundle, target: Target, precision: str, machine: Machine | None, rows: Array, say: Progress
) -> tuple[tuple[Prediction, ...], str | None]:
    """By core, or why there are none."""
    if machine is None:
        return (), None
    say("predicting cycles")
    try:
        return predict(bundle, target, precision, machine, [rows]), None
    except MissingCompilerError as error:
        return (), str(error)
