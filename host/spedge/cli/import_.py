"""spedge import: a checkpoint of the paper's authors to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spedge.cli.common import JsonOption, print_json, progress, require_torch
from spedge.cli.train import CompatOption, SizeOption, run_folder


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE.ckpt", help="A Lightning checkpoint of the authors' code.")],
    preset: Annotated[str, typer.Option(help="The experiment that it is of; see 'spedge presets'.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; a name alone is a folder in runs/. Default: the preset's name."),
    ] = None,
    size: SizeOption = None,
    compat: CompatOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The preset's data: a few samples of it go into bundles, which are checked with them.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn a checkpoint of the authors' code into a run, which can be evaluated and exported.

    Nothing that the file pickles is run. Checkpoints of spiking patches, voxels and frames look alike: say which it is.
    """
    require_torch()
    from spedge.training import import_run

    with progress("Reading the checkpoint"):
        report = import_run(file, preset, run_folder(run or Path(preset)), size=size, compat=compat, data=data)
    if as_json:
        print_json(
            {
                "preset": report.spec.preset,
                "checkpoint": str(report.checkpoint),
                "parameters": report.parameters,
                "not_looked_at": list(report.foreign),
                **report.trained,
            }
        )
        return
    trained = ", ".join(f"{count} {what}" for what, count in report.trained.items())
    print(f"{report.spec.preset}: {report.parameters:,} parameters" + (f", trained for {trained}" if trained else ""))
    if report.foreign:
        print(f"not looked at: {', '.join(report.foreign)}")
    print(report.checkpoint.parent)
