"""spedge export: a checkpoint to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spedge.cli.common import JsonOption, print_json, progress, require_torch


def command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="What 'spedge train' wrote: folder or file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")],
    tokens: Annotated[
        int | None,
        typer.Option(
            help="The most tokens it sees, in the place of those it was trained with: fewer take less memory.",
            show_default=False,
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            metavar="window",
            help="Of a model trained with whole samples: let times count from its window's first token, as on a board.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the bundle of a checkpoint, checked against ONNX Runtime."""
    require_torch()
    from spedge.training import export

    with progress("Exporting"):
        bundle = export(checkpoint, out, tokens, times)
    if as_json:
        print_json({"bundle": str(bundle.path), "name": bundle.name, "hash": bundle.hash})
    else:
        print(bundle.path)
