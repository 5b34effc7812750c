"""Measure a compiled model on a board of this machine: what one inference costs, takes and gets right.

The board runs firmware/bench/model: the model alone, rows in, logits out, by the same build as the application.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CheckFailed, InputError, UsageError
from spedge.bench.machine import Rows, run_on_board
from spedge.bench.paired import Paired, paired
from spedge.boards.build import build, compile_model, footprint
from spedge.boards.manifest import Board, load_board
from spedge.device.open import open_board
from spedge.jobs.check import QUANTISED, StageCosts, check, encoder_of, tolerance_of
from spedge.jobs.given import require_recordings
from spedge.model import parts
from spedge.model.bundle import Bundle
from spedge.recordings import PLAIN, Reading

SCHEMA = 1
REPEATS = 20  #: times that a run is repeated where the cost is time; the quickest counts

_HERE = "native"  # the target that is this machine
_PLAIN = "fp32"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Classification:
    """Means over whole recordings: events, tokens, and what each stage cost in `unit`.

    tokenize: decoding and tokenizing; embed: embedding the tokens, and the times of the window; encode: one inference.
    """

    recordings: int
    events: float
    tokens: float
    unit: str
    tokenize: float
    embed: float
    encode: float

    @property
    def total(self) -> float:
        """All stages."""
        return self.tokenize + self.embed + self.encode


@dataclass(frozen=True)
class ModelBench:
    """One model on one board.

    macs: multiply-accumulates with all tokens present. instructions: retired instructions of one inference with
    `present` tokens, None where the board counts nanoseconds, which are then in `ns`. arena_bytes: working memory.
    flash_bytes: code and constants of the model; for a random encoder without a token embedding. stack_bytes: what
    the inference took, by painting; stack_bound_bytes: the most it can take, by the compiler's account.
    max_abs_error: largest difference of a logit, over `samples` inputs, from ONNX Runtime in the same precision.
    classification: what whole recordings cost, None when there were none. paired: beside ONNX Runtime, None where not
    asked for.
    """

    board: str
    precision: str
    tokens: int
    present: int
    macs: int
    instructions: int | None
    ns: int | None
    arena_bytes: int
    flash_bytes: int
    stack_bytes: int
    stack_bound_bytes: int
    max_abs_error: float
    samples: int
    classification: Classification | None = None
    paired: Paired | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON document."""
        document = {"schema": SCHEMA, **asdict(self)}
        if self.classification:
            document["classification"]["total"] = self.classification.total
        return document


def bench_model(
    bundle: Bundle,
    board: str,
    precision: str = "fp32",
    on_progress: Progress | None = None,
    recordings: Sequence[Path] = (),
    reading: Reading = PLAIN,
) -> ModelBench:
    """The bundle's model on its own vectors; the cost is that of the vector with the most tokens.

    With recordings, also what it costs to classify those, by stage; each must pass `spedge check`.
    Raises UsageError for a board that is not one of this machine, InputError for a model that is no classifier by a
    transformer, whose encoder is all that is to be measured, and when the bundle has no vectors,
    CheckFailed when a recording does not pass, and what building and running raise.
    """
    bundle.parts("spedge bench model", parts.Classification, parts.TokenInput, parts.Transformer)
    events = require_recordings(bundle, recordings, reading)
    cases = [vector.embedded for vector in bundle.vectors()]
    if not cases:
        raise InputError(f"{bundle.path} keeps no vectors to measure with: export the bundle again")
    say = on_progress or (lambda _: None)
    report = _bench(bundle, load_board(board), precision, cases, False, say)
    if not recordings:
        return report
    return replace(report, classification=classify(bundle, load_board(board), recordings, precision, say, events))


def classify(
    bundle: Bundle,
    board: Board,
    recordings: Sequence[Path],
    precision: str,
    say: Progress,
    events: Mapping[Path, NDArray[np.void]],
) -> Classification:
    """Play whole recordings to the application on a board of this machine; where time counts, the quickest of three."""
    encoder = encoder_of(bundle, board.target, precision, say)
    image = build(board, bundle, say, precision).path
    costs: list[list[StageCosts]] = []
    with open_board(board, image) as device:
        for _ in range(1 if board.cost_unit == "instructions" else 3):
            report = check(bundle, recordings, device, board.name, say, encoder, tolerance_of(precision), events=events)
            for one in report.recordings:
                if one.problem:
                    raise CheckFailed(f"{one.path}: {one.problem}")
            costs.append([one.costs for one in report.recordings])

    def mean(stage: str) -> float:
        return fmean(min(getattr(tries, stage) for tries in of_one) for of_one in zip(*costs, strict=True))

    return Classification(
        recordings=len(recordings),
        events=fmean(one.events_sent for one in report.recordings),
        tokens=fmean(one.tokens_device for one in report.recordings),
        unit=report.cost_unit,
        tokenize=mean("tokenize"),
        embed=mean("embed"),
        encode=mean("encode"),
    )


def bench_encoder(
    bundle: Bundle,
    present: int,
    board: str,
    precision: str = "fp32",
    seed: int = 0,
    on_progress: Progress | None = None,
    threads: int | None = None,
) -> ModelBench:
    """An encoder with random weights (spedge.compile.measure.synthetic.random_bundle), on seeded random rows of which
    `present` are tokens.

    threads: run on so many, and also it and ONNX Runtime by turns, both on so many, for a board that is this machine;
    where the precision is a reduced one, ours in fp32 takes its turns, too.
    Raises UsageError for a number of tokens that cannot be and for threads of another machine, otherwise as
    `bench_model`.
    """
    where, say = load_board(board), on_progress or (lambda _: None)
    if not 0 <= present <= bundle.tokens:
        raise UsageError(f"{present} tokens cannot be present among {bundle.tokens}")
    if threads is not None and where.target != _HERE:
        raise UsageError(f"{board} is not this machine: its model cannot run beside ONNX Runtime")
    where = where.on_threads(threads)
    rows = np.random.default_rng(seed + 1).normal(0, 1, (4, present, bundle.token_input.features)).astype(np.float32)
    report = _bench(bundle, where, precision, list(rows), True, say)
    if threads is None:
        return report
    folder = compile_model(bundle, _HERE, say, precision)
    plain = None if precision == _PLAIN else compile_model(bundle, _HERE, say, _PLAIN)
    say("Running beside ONNX Runtime")
    return replace(report, paired=paired(bundle, folder, rows[0], threads, plain))


def _bench(
    bundle: Bundle, board: Board, precision: str, cases: Sequence[Rows], encoder_only: bool, say: Progress
) -> ModelBench:
    firmware = build(board, bundle, say, precision, "bench/model")
    report: dict[str, Any] = firmware.report
    folder = compile_model(bundle, board.target, say, precision)
    taken = footprint(folder, board.target, precision)
    say(f"Running on {board.name}")
    counted = board.cost_unit == "instructions"
    runs = run_on_board(board, firmware.path, bundle, cases, 1 if counted else REPEATS)
    wanted = _reference(bundle, folder, cases)
    largest = max(range(len(cases)), key=lambda i: len(cases[i]))
    return ModelBench(
        board=board.name,
        precision=precision,
        tokens=bundle.tokens,
        present=len(cases[largest]),
        macs=report["macs"],
        instructions=runs[largest].cost if counted else None,
        ns=None if counted else runs[largest].cost,
        arena_bytes=report["arena_bytes"],
        flash_bytes=taken.flash_bytes - (report["embedding_weight_bytes"] if encoder_only else 0),
        stack_bytes=max(run.stack_bytes for run in runs),
        stack_bound_bytes=taken.stack_bytes,
        max_abs_error=max(float(np.abs(run.logits - w).max()) for run, w in zip(runs, wanted, strict=True)),
        samples=len(cases),
    )


def _reference(bundle: Bundle, folder: Path, cases: Sequence[Rows]) -> list[NDArray[np.float32]]:
    """Logits of each case by ONNX Runtime, in the precision of the compiled model."""
    from spedge.model.reference import Reference

    quantised = folder / QUANTISED
    reference = Reference(bundle, quantised if quantised.is_file() else None)
    return [reference.encode(rows) for rows in cases]
