"""Search a target's parameters on its emulated board: the fewest instructions, or predicted cycles, of inferences win.

Coordinate descent from the parameters that targets.py gives the target: along one axis at a time every choice is built
and run, and the cheapest stays. Instructions are counted exactly, so that the same search gives the same answer; on a
board that measures time it need not. What is found is kept in tuned/<target>.json beside this file and used by every
compilation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spedge.base.errors import DeviceError, UsageError
from spedge.base.paths import cache_dir

from ..precision import find_precision
from ..supported import transformer_on_tokens
from ..targets import TARGETS, TUNED_SCHEMA, Parameters, Target, find_target, read_tuned, tuned_path
from .cycles import predict, require_tools

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle

    from .machine import Machine

Progress = Callable[[str], None]
Axis = Sequence[Mapping[str, int | bool]]

PASSES = 3  #: times over all axes, at most
ARENA_GROWTH = 1.05  #: a choice that takes more memory than this multiple of what the start takes is left out
COUNTER_STEP = 40  #: instructions, of the coarsest board
COUNTS = 8  #: inferences of a trial, each with a token less: the last block of rows is full in some and not in others
BY = ("instructions", "cycles")  #: what a search goes by, where the board counts instructions
PREDICTED = "predicted cycles"  #: the unit of costs by cycles
REPEATS = 20  #: runs of a choice where the cost is time; the quickest counts
TOLERANCE = {"fp32": 1e-4, "int8w": 1e-4, "int8": 0.1}  #: of a logit, against what the start computes


def _tiles(*sizes: tuple[int, int], **more: bool) -> list[Parameters]:
    return [{"rows": rows, "columns": columns, **more} for rows, columns in sizes]


_UNROLL: Axis = [{"unroll": n} for n in (8, 16, 32)]
_ALONE: Axis = [{"single_columns": n} for n in (4, 8, 16)]
_CORTEX_M = [[*_tiles((4, 4), panels=True), *_tiles((4, 4), (5, 4), panels=False)], _UNROLL, _ALONE]

#: What is searched, by target: along each axis one choice is taken.
SPACE: dict[str, Sequence[Axis]] = {
    "cortex-m4": _CORTEX_M,
    "cortex-m7": _CORTEX_M,
    "cortex-m55": _CORTEX_M,
    "rv32": [_tiles((4, 4), (5, 4), (6, 4), (4, 6)), _UNROLL, _ALONE],
    "native": [_tiles((4, 8), (4, 16), (8, 8)), _UNROLL, _ALONE],
}


@dataclass(frozen=True)
class Trial:
    """Parameters and what COUNTS inferences cost with them; None: they were left out, and why is in `reason`."""

    parameters: Parameters
    cost: int | None
    reason: str = ""


@dataclass(frozen=True)
class Tuning:
    """One search. unit: of the costs. present: tokens in the longest inference. trials: in the order they were made."""

    target: str
    precision: str
    board: str
    unit: str
    model: str
    bundle_hash: str
    present: int
    default: Trial
    best: Trial
    trials: tuple[Trial, ...]

    @property
    def exact(self) -> bool:
        """Whether the same search gives the same answer."""
        return self.unit != "ns"

    def to_json(self) -> dict[str, Any]:
        """The search as a JSON document."""
        return {"schema": TUNED_SCHEMA, **asdict(self)}


def tune(
    bundle: Bundle,
    target: str,
    machine: Machine,
    precision: str = "fp32",
    space: Sequence[Axis] | None = None,
    on_progress: Progress | None = None,
    by: str = "instructions",
) -> Tuning:
    """The best parameters for a bundle's encoder, by running it on a machine with the target's core.

    The sample is the bundle's vector with the most tokens, or random rows, and the same without its last tokens.
    space: axes of choices instead of SPACE's. by: one of BY; "cycles" are predicted of the target's first core. Nothing
    is stored: see `store`. Raises UsageError when the machine has another core, or `by` cannot be, MissingCompilerError
    for cycles without LLVM, and what compiling, building and running raise.
    """
    say = on_progress or (lambda _: None)
    find_target(target)
    find_precision(precision)
    start = TARGETS[target]
    if machine.target != target:
        raise UsageError(f"{machine.name} cannot run what is compiled for {target}")
    _require_costs(start, by)
    axes = SPACE.get(target, ()) if space is None else space
    transformer_on_tokens(bundle)  # what the machine runs alone
    search = _Search(bundle, start, machine, precision, say, by)
    best = default = search.trial(start.parameters)
    for _ in range(PASSES):
        before = best
        for axis in axes:
            for choice in axis:
                other = search.trial({**best.parameters, **choice})
                if other.cost is not None and best.cost is not None and other.cost < best.cost - search.resolution:
                    best = other
        if best is before:
            break
    return Tuning(
        target,
        precision,
        machine.name,
        search.unit,
        bundle.name,
        bundle.hash,
        len(search.rows),
        default,
        best,
        tuple(search.trials.values()),
    )


def _require_costs(target: Target, by: str) -> None:
    if by not in BY:
        raise UsageError(f"kernels are not searched by {by!r}: choose one of {', '.join(BY)}")
    if by == "cycles":
        if not target.cores:
            known = ", ".join(t.name for t in TARGETS.values() if t.cores and t.name in SPACE)
            raise UsageError(f"no cycles are predicted of {target.name}: {known} can be searched by them")
        require_tools()


def store(tuning: Tuning, folder: Path | None = None) -> Path:
    """Keep the best parameters for every later compilation of the target in that precision. Returns the file.

    folder: instead of tuned/ beside this file. Raises UsageError when it cannot be written.
    """
    path = tuned_path(tuning.target, folder)
    document = read_tuned(tuning.target, folder)
    document[tuning.precision] = {
        "parameters": tuning.best.parameters,
        "cost": tuning.best.cost,
        "default": tuning.default.parameters,
        "default_cost": tuning.default.cost,
        "unit": tuning.unit,
        "board": tuning.board,
        "model": tuning.model,
        "bundle_hash": tuning.bundle_hash,
        "present": tuning.present,
    }
    text = json.dumps({"schema": TUNED_SCHEMA, **dict(sorted(document.items()))}, indent=1) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): tune in a checkout of your own") from error
    return path


class _Search:
    """Runs choices, each once."""

    def __init__(
        self, bundle: Bundle, start: Target, machine: Machine, precision: str, say: Progress, by: str = "instructions"
    ) -> None:
        from .inspection import sample_rows

        self.bundle, self.start, self.machine, self.precision, self.say = bundle, start, machine, precision, say
        self.rows = max(sample_rows(bundle), key=len)
        self.trials: dict[tuple[tuple[str, int | bool], ...], Trial] = {}
        #: Boards count instructions in steps, and a run begins anywhere in one: smaller differences are none.
        self.unit = PREDICTED if by == "cycles" else machine.cost_unit
        self.resolution = COUNTER_STEP * min(COUNTS, len(self.rows)) if self.unit == "instructions" else 0
        self.arena = 0.0
        self.wanted: Any = None

    def trial(self, parameters: Parameters) -> Trial:
        key = tuple(sorted(parameters.items()))
        if key not in self.trials:
            made = self.trials[key] = self.run(parameters)
            shown = ", ".join(f"{name} {value}" for name, value in parameters.items())
            cost = f"{made.cost:,} {self.unit}" if made.cost is not None else made.reason
            self.say(f"trial {len(self.trials)}: {shown}: {cost}")
        return self.trials[key]

    def run(self, parameters: Parameters) -> Trial:
        from ..driver import generate, write_folder

        changes: dict[str, Any] = parameters
        target = replace(self.start, **changes)
        result = generate(self.bundle, target, lambda _: None, self.precision)
        if self.arena and result.report.arena_bytes > self.arena:
            return Trial(parameters, None, f"takes {result.report.arena_bytes} bytes of arena")
        folder = cache_dir() / "tune" / f"{self.bundle.hash[:16]}-{target.name}-{self.precision}"
        write_folder(folder, result.files)
        repeats = 1 if self.machine.cost_unit == "instructions" else REPEATS
        try:
            cases = [self.rows[: len(self.rows) - i] for i in range(min(COUNTS, len(self.rows)))]
            runs = self.machine.run(self.bundle, self.precision, cases, folder, repeats)
        except DeviceError as error:
            if self.wanted is None:  # not this choice's fault
                raise
            return Trial(parameters, None, f"failed: {error}")
        if self.wanted is None:
            self.wanted, self.arena = [r.logits for r in runs], ARENA_GROWTH * result.report.arena_bytes
        difference = max(float(np.abs(r.logits - w).max()) for r, w in zip(runs, self.wanted, strict=True))
        if not difference <= TOLERANCE[self.precision]:
            return Trial(parameters, None, f"is wrong by {difference:.2g}")
        if self.unit != PREDICTED:
            return Trial(parameters, sum(r.cost for r in runs))
        predicted, *_ = predict(self.bundle, target, self.precision, self.machine, cases, folder)
        return Trial(parameters, round(predicted.predicted_cycles))
