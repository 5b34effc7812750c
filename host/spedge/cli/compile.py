"""spedge compile: a bundle or an ONNX file to plain C."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.base.errors import UsageError
from spedge.cli.common import (
    JsonOption,
    PrecisionOption,
    byte_count,
    print_json,
    print_pairs,
    progress,
    show,
    table,
)

if TYPE_CHECKING:
    from spedge.compile import CompileReport
    from spedge.compile.measure.cycles import Prediction
    from spedge.compile.measure.inspection import Inspection
    from spedge.compile.measure.tune import Tuning

LOOPS = 12  # that are shown; with --json all


def command(
    model: Annotated[
        Path, typer.Argument(metavar="BUNDLE|FILE.onnx", help="Bundle directory, or an ONNX file of another model.")
    ],
    target: Annotated[
        str, typer.Option(help="cortex-m0plus, cortex-m4, cortex-m7, cortex-m55, rv32, aarch64 or native.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the C sources and the report.")],
    precision: PrecisionOption = "fp32",
    detailed: Annotated[bool, typer.Option("--report", help="Report kernel by kernel, with errors.")] = False,
    measure: Annotated[
        str | None,
        typer.Option(
            metavar="BOARD",
            help="With --report: count instructions on this emulated board, and predict cycles of its core.",
            show_default=False,
        ),
    ] = None,
    tuning: Annotated[
        bool,
        typer.Option("--tune", help="First search the target's parameters on its emulated board, and keep the best."),
    ] = False,
    by: Annotated[
        str,
        typer.Option(metavar="instructions|cycles", help="With --tune: what is searched for, executed or predicted."),
    ] = "instructions",
    as_json: JsonOption = False,
) -> None:
    """Compile a bundle's encoder, or any ONNX model of supported operators, to plain C with TVM.

    Reports flash, arena and work. A file whose name ends in .onnx needs no bundle: it is compiled with its own fixed
    shape and the same interface.

    With --tune, the kernels' parameters are searched first: what costs the fewest instructions on the emulated core is
    kept for every later compilation for that target. On native the cost is time, and the answer may differ. With --by
    cycles, what costs the fewest cycles by LLVM's model of the core, which are predicted, not measured.
    """
    from spedge.boards.build import require_tvm
    from spedge.model.bundle import Bundle

    is_file = model.suffix == ".onnx" and not model.is_dir()
    loaded = None if is_file else Bundle.load(model)
    require_tvm()
    from spedge.compile import compile_bundle, compile_onnx

    if measure and not detailed:
        raise UsageError("--measure goes with --report")
    if by != "instructions" and not tuning:
        raise UsageError("--by goes with --tune")
    if loaded is None and (detailed or tuning or precision != "fp32"):
        raise UsageError("--report, --tune and --precision are for bundles; an ONNX file is compiled in fp32")
    with progress(f"Compiling {loaded.name if loaded else model.name} for {target}") as say:
        inspection = tuned = None
        if loaded is not None and tuning:
            from spedge.bench.machine import find_machine
            from spedge.compile import find_target
            from spedge.compile.measure.tune import store, tune

            tuned = tune(loaded, target, find_machine(find_target(target).name), precision, on_progress=say, by=by)
            kept = store(tuned)
        if loaded is None:
            report = compile_onnx(model, target, out, on_progress=say)
        else:
            report = compile_bundle(loaded, target, out, on_progress=say, precision=precision)
        if loaded is not None and detailed:
            from spedge.bench.machine import load_machine
            from spedge.compile.measure.inspection import inspect

            inspection = inspect(loaded, target, precision, load_machine(measure) if measure else None, say)
    document = json.loads(report.to_json())
    if as_json:
        more = {"inspection": json.loads(inspection.to_json())} if inspection else {}
        more |= {"tuning": tuned.to_json()} if tuned else {}
        print_json({**document, "out": str(out), **more})
        return
    print_pairs(
        {
            "model": f"{report.name} ({report.bundle_hash[:12]})",
            "target": report.target,
            "precision": report.precision,
            "flash": f"{byte_count(report.flash_bytes)} of constants",
            "arena": f"{byte_count(report.arena_bytes)} of RAM",
            "work": f"{report.macs:,} multiply-accumulates" + (f" with all {report.tokens} tokens" if loaded else ""),
            "kernels": f"{len({kernel.kernel for kernel in report.kernels})}, called {_calls(report):,} times",
            "out": str(out),
        }
    )
    if tuned:
        _print_tuning(tuned, kept)
    if inspection:
        _print_inspection(inspection)


def _print_tuning(tuning: Tuning, kept: Path) -> None:
    """A row per trial, the cheapest first, and what became of it."""
    names = tuple(tuning.default.parameters)
    listing = table("", *names, tuning.unit, "of the default", right=(*names, tuning.unit, "of the default"))
    for trial in sorted(tuning.trials, key=lambda t: (t.cost is None, t.cost or 0)):
        share = f"{trial.cost / tuning.default.cost:.1%}" if trial.cost and tuning.default.cost else trial.reason
        cost = "" if trial.cost is None else f"{trial.cost:,}"
        listing.add_row(*(str(trial.parameters[n]) for n in names), cost, share)
    show(listing)
    print_pairs({"measured": f"on {tuning.board}, inferences with up to {tuning.present} tokens", "kept": str(kept)})


def _print_inspection(inspection: Inspection) -> None:
    """The model's sizes, and a row per kernel call."""
    size = inspection.footprint
    whole = inspection.instructions
    print_pairs(
        {
            "code": f"{byte_count(size.code_bytes)} by {size.compiler}" if size else None,
            "stack": f"at most {size.stack_bytes} bytes" if size else None,
            "error": f"{inspection.max_abs_error:.2g} at most, {inspection.samples} samples against ONNX Runtime",
            "instructions": f"{whole:,} on {inspection.measured_on}, {inspection.tokens} tokens" if whole else None,
            "predicted cycles": inspection.unpredicted,
        }
    )
    numbers = ("calls", "MACs", "instructions", "share", "max abs", "RMSE", "cosine")
    listing = table("", "kernel", "computes", *numbers, right=numbers)
    for call in inspection.calls:
        listing.add_row(
            call.kernel,
            call.computes,
            f"{call.calls:,}",
            f"{call.macs:,}",
            "" if call.instructions is None else f"{call.instructions:,}",
            f"{call.share:.1%}",
            "" if call.max_abs_error is None else f"{call.max_abs_error:.1e}",
            "" if call.rmse is None else f"{call.rmse:.1e}",
            "" if call.cosine is None else f"{call.cosine:.7f}",
        )
    show(listing)
    for prediction in inspection.predictions:
        _print_prediction(prediction)


def _print_prediction(prediction: Prediction) -> None:
    """What a core's model says of the whole, of each kernel, and of the loops that take most."""
    whole = prediction.predicted_cycles
    each = f"{whole / prediction.instructions:.2f} an instruction" if prediction.instructions else ""
    print_pairs(
        {
            "predicted cycles": f"{whole:,.0f} of {prediction.core} by {prediction.tool}, {each}",
            "executed": f"{prediction.instructions:,} instructions, {prediction.unknown:,} of them not in that model",
        }
    )
    numbers = ("instructions", "predicted cycles", "share")
    listing = table("", "kernel", *numbers, right=numbers)
    for kernel in prediction.kernels:
        cycles = kernel.predicted_cycles
        listing.add_row(kernel.kernel, f"{kernel.instructions:,}", f"{cycles:,.0f}", f"{cycles / whole:.1%}")
    show(listing)
    each_round = ("at", "rounds", "instructions a round", "predicted cycles a round", "share")
    listing = table("", "loop of", *each_round, right=each_round)
    for loop in prediction.loops[:LOOPS]:
        cost = f"{loop.predicted_cycles:.1f}", f"{loop.total / whole:.1%}"
        listing.add_row(loop.kernel, f"+{loop.offset:#x}", f"{loop.executed:,}", str(loop.instructions), *cost)
    show(listing)


def _calls(report: CompileReport) -> int:
    """Kernel calls of one inference with all tokens present."""
    return sum(kernel.calls for kernel in report.kernels)
