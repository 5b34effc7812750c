"""spedge bench decoder: what a camera's word costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.common import (
    JsonOption,
    print_json,
    print_pairs,
    progress,
)
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from spedge.recordings import Reading


@reads
def decoder(
    recording: Annotated[Path, typer.Argument(metavar="RECORDING")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="evt2, evt2.1, evt2.1-legacy, evt3, edvs-e0 to edvs-e4: the recording's events are written in it. "
            "Default: a RAW file's own words, else evt2.",
            show_default=False,
        ),
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", "-b", help="Emulated board; default: this machine.", show_default=False)
    ] = None,
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """Decode a recording's words: events per second here, or instructions per word on an emulated board."""
    from spedge.bench.decoder import board_cost, host_cost, stream_of
    from spedge.boards.manifest import load_board

    opened = reading.open(recording)
    document: dict[str, object] = {"board": board or "host"}
    with progress(f"Reading {recording.name}") as say:
        name, data = stream_of(opened, format)
        document["format"] = name
        if board:
            on_board = board_cost(name, data, load_board(board), say)
            document |= {"words": on_board.words, "events": on_board.events}
            document["instructions_per_word"] = round(on_board.instructions_per_word, 2)
        else:
            say(f"Decoding {recording.name} as {name}")
            here = host_cost(name, data)
            document |= {"words": here.words, "events": here.events}
            document["events_per_second"] = round(here.events_per_second)
            document["times_bincount"] = round(here.times_bincount, 2)
    if as_json:
        print_json(document)
    else:
        print_pairs(document)
