"""spedge train: a preset and data to a checkpoint and a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.common import JsonOption, print_json, progress, require_torch

if TYPE_CHECKING:
    from spedge.training.train import Progress, TrainReport

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder or zip file of the data set; not needed for data we make ourselves."),
]


def command(
    preset: Annotated[str, typer.Option(help="What to train, for example nmnist-pico or gestures-pico.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and the bundle.")],
    data: DataOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    minutes: Annotated[float | None, typer.Option(help="CPU time to train for; default: the preset's.")] = None,
    attention: Annotated[
        str | None, typer.Option(help="full or causal (token by token on the device); default: the preset's.")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(help="Window length, for a board with little memory; default: the preset's.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a preset and write its checkpoint and bundle.

    Ctrl-C ends training early and keeps what was learned.
    """
    require_torch()
    from spedge.training import train

    with progress("Reading the data") as say:
        report = train(
            preset,
            data,
            out,
            seed=seed,
            minutes=minutes,
            attention=attention,
            tokens=tokens,
            on_progress=lambda state: say(_describe(state)),
        )
    if as_json:
        print_json(_document(report))
    else:
        state = "interrupted after" if report.interrupted else "trained"
        print(
            f"{report.preset}: {state} {report.epochs} epochs in {report.cpu_seconds / 60:.1f} min of CPU time, "
            f"{report.top1:.1%} of {report.held_out_samples} held-out samples right"
        )
        print(report.bundle.path)


def _describe(state: Progress) -> str:
    accuracy = "" if state.accuracy is None else f", held-out {state.accuracy:.1%}"
    clock = f"{state.cpu_seconds / 60:.1f} of at most {state.budget_seconds / 60:.0f} min"
    return f"Epoch {state.epoch}: {state.done:.0%} done, loss {state.loss:.3f}{accuracy}, {clock}"


def _document(report: TrainReport) -> dict[str, Any]:
    return {
        "preset": report.preset,
        "seed": report.seed,
        "checkpoint": str(report.checkpoint),
        "bundle": str(report.bundle.path),
        "hash": report.bundle.hash,
        "learned_samples": report.learned_samples,
        "held_out_samples": report.held_out_samples,
        "epochs": report.epochs,
        "top1": report.top1,
        "cpu_seconds": report.cpu_seconds,
        "interrupted": report.interrupted,
    }
