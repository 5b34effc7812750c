"""spedge bench model, spedge bench encoder: what a model costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.common import (
    BoardOption,
    BundleArgument,
    JsonOption,
    PrecisionOption,
    byte_count,
    print_json,
    print_pairs,
    progress,
)
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from spedge.bench.model import Classification, ModelBench
    from spedge.bench.paired import Paired
    from spedge.recordings import Reading


@reads
def model(
    bundle: BundleArgument,
    recordings: Annotated[
        list[Path] | None, typer.Argument(metavar="[RECORDING]...", help="Also classify these whole, by stage.")
    ] = None,
    board: BoardOption = "sim",
    precision: PrecisionOption = "fp32",
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """A bundle's model on a simulated or emulated board: cost, memory, error against ONNX Runtime.

    With recordings also the mean cost of classifying one: decode and tokenize, embed, encode. Each must pass 'spedge
    check'.
    """
    from spedge.bench.model import bench_model
    from spedge.model.bundle import Bundle

    loaded = Bundle.load(bundle)
    with progress(f"Measuring {loaded.name} on {board}") as say:
        report = bench_model(loaded, board, precision, say, recordings or (), reading)
    _print(report, as_json)


def encoder(
    size: Annotated[
        str | None,
        typer.Option(help="pico, nano, tiny, small or base: a preset's sizes, with 128 tokens.", show_default=False),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(help="Most tokens, CLS not counted; 64 without --size.", show_default=False)
    ] = None,
    present: Annotated[int | None, typer.Option(help="Tokens present; all when not given.", show_default=False)] = None,
    hidden: Annotated[int | None, typer.Option(help="Features of a token; pico's 64.", show_default=False)] = None,
    intermediate: Annotated[int | None, typer.Option(help="Width of the MLP; pico's 128.", show_default=False)] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads; pico's 4.", show_default=False)] = None,
    layers: Annotated[int | None, typer.Option(help="Layers; pico's 2.", show_default=False)] = None,
    classes: Annotated[int, typer.Option(help="Logits.")] = 11,
    seed: Annotated[int, typer.Option(help="Seed of the random weights and rows.")] = 0,
    board: BoardOption = "sim",
    precision: PrecisionOption = "fp32",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Also beside ONNX Runtime in fp32, by turns in one process, both on so many threads of this machine; "
            "a reduced precision beside our own fp32, too.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A transformer encoder with random weights: what its size costs on a simulated or emulated board."""
    from spedge.base.errors import UsageError
    from spedge.bench.model import bench_encoder
    from spedge.boards.build import require_tvm
    from spedge.training.presets.base import SIZES

    require_tvm()
    from spedge.compile.measure.synthetic import Shape, random_bundle

    if size is not None and size not in SIZES:
        raise UsageError(f"There is no size {size!r}. Choose one of: {', '.join(SIZES)}.")
    capacity = tokens if tokens is not None else 128 if size else 64
    told = zip((hidden, intermediate, heads, layers), SIZES[size or "pico"], strict=True)
    shape = Shape(capacity, *(one if one is not None else usual for one, usual in told), classes, seed=seed)
    with progress(f"Measuring an encoder on {board}") as say:
        bundle = random_bundle(shape)
        rows = capacity if present is None else present
        report = bench_encoder(bundle, rows, board, precision, seed, say, threads)
    _print(report, as_json)


def _print(report: ModelBench, as_json: bool) -> None:
    if as_json:
        document = report.to_json()
        del document["schema"]
        print_json(document)
        return
    cost = f"{report.instructions:,} instructions" if report.instructions is not None else f"{report.ns or 0:,} ns"
    print_pairs(
        {
            "board": report.board,
            "precision": report.precision,
            "cost": f"{cost} with {report.present} of {report.tokens} tokens",
            "work": f"{report.macs:,} multiply-accumulates with all tokens",
            "arena": byte_count(report.arena_bytes),
            "flash": f"{byte_count(report.flash_bytes)} of code and constants",
            "stack": f"{report.stack_bytes} bytes, at most {report.stack_bound_bytes}",
            "error": f"{report.max_abs_error:.2g} at most against ONNX Runtime, over {report.samples} inputs",
            **_stages(report.classification),
            **_beside(report.paired),
        }
    )


def _beside(paired: Paired | None) -> dict[str, str]:
    if paired is None:
        return {}
    times = f"{paired.ours_ns:,} ns of processors; ONNX Runtime in fp32: {paired.theirs_ns:,} ns"
    ratios = f"{paired.ratio:.2f} times, by the clock {paired.wall_ratio:.2f} times; medians of {paired.turns} turns"
    shown = {f"{paired.threads} thread{'s' * (paired.threads > 1)}": times, "beside it": ratios}
    if paired.fp32_ns is not None:
        ratios = f"{paired.of_fp32:.2f} times, by the clock {paired.wall_of_fp32:.2f} times"
        shown["beside our fp32"] = f"{ratios}, of {paired.fp32_ns:,} ns"
    return shown


def _stages(mean: Classification | None) -> dict[str, str]:
    if mean is None:
        return {}
    return {
        "recordings": f"{mean.recordings}; means: {mean.events:,.0f} events, {mean.tokens:,.1f} tokens",
        "tokenize": f"{mean.tokenize:,.0f} {mean.unit}",
        "embed": f"{mean.embed:,.0f} {mean.unit}",
        "encode": f"{mean.encode:,.0f} {mean.unit}",
        "whole": f"{mean.total:,.0f} {mean.unit}",
    }
