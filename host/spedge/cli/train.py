"""spedge train: a preset and data to a run with a checkpoint and a bundle."""

from __future__ import annotations

import math
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.base.errors import UsageError
from spedge.base.paths import bundle_named
from spedge.cli.common import JsonOption, print_json, progress, require_torch
from spedge.cli.pages import require_page, shown_run
from spedge.cli.recipe import PresetCommand, changes_recipe

if TYPE_CHECKING:
    from spedge.training.train import Progress, TrainReport

COMMAND = PresetCommand
RUNS = Path("runs")  #: where a run is that is given by its name alone

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder or zip file of the data set; not needed for data we make ourselves."),
]
SizeOption = Annotated[
    str | None,
    typer.Option(help="Of a transformer: pico, nano, tiny, small or base; default: the preset's.", show_default=False),
]
CompatOption = Annotated[
    str | None, typer.Option(help="authors: what they do differently, for comparison.", show_default=False)
]


@changes_recipe
def command(
    preset: Annotated[str | None, typer.Argument(help="What to train; see 'spedge presets'.")] = None,
    preset_option: Annotated[str | None, typer.Option("--preset", hidden=True)] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", "--out", help="Folder of the run; a name alone is a folder in runs/. Goes on if it is there."
        ),
    ] = None,
    data: DataOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    size: SizeOption = None,
    attention: Annotated[
        str | None, typer.Option(help="full or causal (token by token on the device); default: the preset's.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|HUB_NAME",
            help="Begin with ViT-MAE's weights, as facebook/vit-mae-base; base only. Default: random.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(help="Window length, for a board with little memory; default: the preset's.", show_default=False),
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[
        int | None, typer.Option(min=1, help="GPUs, or processes on a CPU; default: 1.", show_default=False)
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Machines; this runs on each of them. Default: 1.", show_default=False)
    ] = None,
    compat: CompatOption = None,
    checkpoint_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Keep the weights so often, too; default: 10. 0: at every step.", show_default=False),
    ] = None,
    wandb: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Log to Weights & Biases, too.", show_default=False)
    ] = None,
    bundle: Annotated[bool, typer.Option(help="Write a bundle, where the model has one.")] = True,
    debug: Annotated[bool, typer.Option(help="Keep and log nothing.")] = False,
    view: Annotated[
        bool, typer.Option("--view", help="Show curves and what is taken for what on a page meanwhile: docs/view.md.")
    ] = False,
    as_json: JsonOption = False,
    *,
    recipe: dict[str, Any],
) -> None:
    """Train a preset and write its run, checkpoint and bundle.

    The same command again goes on where it was stopped. Ctrl-C ends training early and keeps what was learned.
    """
    chosen = preset or preset_option
    if chosen is None:
        raise UsageError("Say what to train: 'spedge presets' lists the presets.")
    require_torch()
    from spedge.training import train
    from spedge.training.fit.machine import Machine
    from spedge.training.train import KEEP_MINUTES

    folder = run_folder(run or Path(chosen))
    minutes, holdout = recipe.pop("minutes", None), recipe.pop("holdout", None)
    first = int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) == 0  # of several processes
    if view:
        require_page()
        if debug:
            raise UsageError("--debug keeps nothing, and the page shows what is kept: leave one of the two out")
    shown = shown_run(folder, data) if view and first else nullcontext()
    with shown, progress("Reading the data") if first else nullcontext(lambda _: None) as say:
        report = train(
            chosen,
            data,
            folder,
            seed=seed,
            minutes=minutes,
            holdout=holdout,
            size=size,
            attention=attention,
            start=start,
            tokens=tokens,
            recipe=recipe,
            compat=compat,
            machine=Machine(accelerator, devices, nodes),
            keep_minutes=KEEP_MINUTES if checkpoint_minutes is None else checkpoint_minutes,
            wandb=wandb,
            bundle=bundle,
            debug=debug,
            watched=view,
            on_progress=lambda state: say(_describe(state)),
        )
    if report is None:  # one of several processes: the first one tells
        return
    if as_json:
        print_json(_document(report))
        return
    state = "interrupted after" if report.interrupted else "trained"
    print(
        f"{report.preset}: {state} {report.epochs} epochs ({report.steps} steps) in "
        f"{report.cpu_seconds / 60:.1f} min of CPU time, "
        + (
            f"{report.score:.1%} of {report.held_out_samples} held-out samples right"
            if report.metric == "top1"
            else f"{report.metric} {report.score:.3f} on {report.held_out_samples} held-out recordings"
        )
    )
    how = f"{report.processes} processes, {report.precision}" if report.processes > 1 else report.precision
    print(f"in {how}" + (f", as the {report.compat} do" if report.compat else ""))
    print(report.checkpoint.parent if report.bundle is None else report.bundle.path)


def run_folder(run: Path) -> Path:
    """A run that is given by its name alone is in `runs`, unless there is a file or folder of that name here."""
    return run if len(run.parts) != 1 or run.exists() else RUNS / run


def model_folder(name: Path) -> Path:
    """The same for what is only read, which may also be a bundle that comes with spedge: a path first, then a run."""
    run, bundle = run_folder(name), bundle_named(name)
    return run if run.exists() or bundle == name else bundle


def _describe(state: Progress) -> str:
    accuracy = "" if state.accuracy is None else f", held-out {state.accuracy:.1%}"
    clock = f"{state.cpu_seconds / 60:.1f} min"
    if state.budget_seconds is not None:
        clock = f"{state.cpu_seconds / 60:.1f} of at most {state.budget_seconds / 60:.0f} min"
    waiting = "" if math.isnan(state.waiting) else f", {state.waiting:.0%} waiting for data"
    return (
        f"Epoch {state.epoch}, step {state.step} of {state.steps}: {state.done:.0%} done, "
        f"loss {state.loss:.3f}{accuracy}, {clock}{waiting}"
    )


def _document(report: TrainReport) -> dict[str, Any]:
    return {
        "preset": report.preset,
        "seed": report.seed,
        "precision": report.precision,
        "processes": report.processes,
        "compat": report.compat,
        "checkpoint": str(report.checkpoint),
        "bundle": None if report.bundle is None else str(report.bundle.path),
        "hash": None if report.bundle is None else report.bundle.hash,
        "learned_samples": report.learned_samples,
        "held_out_samples": report.held_out_samples,
        "epochs": report.epochs,
        "steps": report.steps,
        report.metric: report.score,
        "cpu_seconds": report.cpu_seconds,
        "interrupted": report.interrupted,
    }
