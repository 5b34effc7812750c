"""spedge runs: what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spedge.base.errors import UsageError
from spedge.cli.common import JsonOption, print_json, show, table
from spedge.cli.train import RUNS


def command(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = RUNS, as_json: JsonOption = False
) -> None:
    """List runs with how far they are and how good."""
    from spedge.training.run import list_runs

    if folder != RUNS and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: give the one that holds the folders of runs.")
    runs = list_runs(folder)
    if as_json:
        print_json({"runs": runs})
        return
    listing = table(
        "", "run", "preset", "seed", "step", "of", "held-out", "best", right=("seed", "step", "of", "held-out", "best")
    )
    for run in runs:
        shares = ("-" if run[name] is None else f"{run[name]:.1%}" for name in ("accuracy", "best"))
        seed = "-" if run["seed"] is None else str(run["seed"])
        listing.add_row(run["run"], run["preset"], seed, str(run["step"]), str(run["steps"]), *shares)
    show(listing)
