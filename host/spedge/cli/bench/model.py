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
    tokens: Annotated[int, typer.Option(help="Most tokens, CLS not counted.")] = 64,
    present: Annotated[int | None, typer.Option(help="Tokens present; all when not given.", show_default=False)] = None,
    hidden: Annotated[int, typer.Option(help="Features of a token.")] = 64,
    intermediate: Annotated[int, typer.Option(help="Width of the MLP.")] = 128,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = 4,
    layers: Annotated[int, typer.Option(help="Layers.")] = 2,
    classes: Annotated[int, typer.Option(help="Logits.")] = 11,
    seed: Annotated[int, typer.Option(help="Seed of the random weights and rows.")] = 0,
    board: BoardOption = "sim",
    precision: PrecisionOption = "fp32",
    as_json: JsonOption = False,
) -> None:
    """A transformer encoder with random weights: what its size costs on a simulated or emulated board."""
    from spedge.bench.model import bench_encoder
    from spedge.boards.build import require_tvm

    require_tvm()
    from spedge.compile.measure.synthetic import Shape, random_bundle

    shape = Shape(tokens, hidden, intermediate, heads, layers, classes, seed=seed)
    with progress(f"Measuring an encoder on {board}") as say:
        bundle = random_bundle(shape)
        report = bench_encoder(bundle, tokens if present is None else present, board, precision, seed, say)
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
        }
    )


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
