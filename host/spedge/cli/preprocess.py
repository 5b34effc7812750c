"""spedge preprocess: a published data set to files that training reads quickly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from spedge.base.errors import InputError
from spedge.cli.common import JsonOption, print_json, progress


def command(
    name: Annotated[str, typer.Argument(help="Of the data set; see 'spedge datasets'.")],
    data: Annotated[Path, typer.Option(help="Folder where it was unpacked.")],
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    chunk_duration_ms: Annotated[float, typer.Option(help="Length of the chunks of a data set with boxes.")] = 50.0,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Keep one of boxes that a file holds several times.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="A Dask scheduler whose workers do it.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Cut the recordings of a data set into labelled samples: a file for each recording.

    What is there and was made from the same files in the same way is kept; run it again after whatever stopped it. A
    recording that cannot be read is left out; that is said at the end, with exit code 4.
    """
    from spedge.training.preprocess import preprocess

    with progress("Looking at the recordings") as say:
        report = preprocess(
            name,
            data,
            out,
            chunk_ms=chunk_duration_ms,
            drop_duplicates=drop_duplicates,
            jobs=jobs,
            scheduler=scheduler,
            on_progress=lambda p: say(
                f"{p.recordings} of {p.total} recordings, {p.kept} as they were, {p.rate / 1e6:.1f} million events/s"
            ),
        )
    for problem in report.problems[1:]:  # the first is in the summary
        print(f"spedge: warning: {problem}", file=sys.stderr)
    if as_json:
        print_json(
            {
                "folder": str(report.folder),
                "recordings": report.recordings,
                "made": report.made,
                "kept": report.kept,
                "samples": report.samples,
                "events": report.events,
                "seconds": report.seconds,
                "problems": list(report.problems),
            }
        )
    else:
        print(
            f"{report.recordings} recordings ({report.made} made, {report.kept} as they were): "
            f"{report.samples} samples with {report.events:,} events in {report.seconds:.1f} s"
        )
        print(report.folder)
    if (left_out := report.summary()) is not None:
        raise InputError(left_out)
