"""spedge convert: a recording in another format, or a part of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.base.errors import UsageError
from spedge.cli.common import (
    WRITTEN,
    JsonOption,
    print_json,
    print_pairs,
    progress,
)
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from spedge.recordings import Reading


@reads
def command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A recording.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help=f"What to write: {WRITTEN}."),
    ],
    encoding: Annotated[str | None, typer.Option(help="Of a .raw file: evt2 or evt3.", show_default="evt2")] = None,
    start: Annotated[
        int | None, typer.Option(metavar="US", help="Leave out what is earlier, microseconds after the first event.")
    ] = None,
    end: Annotated[
        int | None, typer.Option(metavar="US", help="Leave out this and what is later, counted likewise.")
    ] = None,
    shift: Annotated[
        str | None, typer.Option(metavar="US|zero", help="Add to all times; 'zero': the first event becomes 0.")
    ] = None,
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """Write a recording, or a part of it, in another format.

    OUT appears whole or not at all: a damaged recording is not converted. Of one that is cut off, what is before the
    cut is, and the exit code is 4; a file that was there before is not replaced by it.
    """
    from spedge.recordings.convert import convert

    with progress(f"Reading {source.name}") as say:
        done = convert(
            source,
            target,
            start_us=start,
            end_us=end,
            shift_us=_shift(shift),
            from_zero=shift == "zero",
            encoding=encoding,
            on_progress=lambda count: say(f"Reading {source.name}: {count:,} events"),
            **asdict(reading),
        )
    document: dict[str, Any] = {**asdict(done), "source": str(source), "target": str(target)}
    document["source_layout"] = done.source_layout or None
    if as_json:
        print_json(document)
    else:
        left_out = document.pop("left_out")
        print_pairs({**document, **{f"left out, {name}": count for name, count in left_out.items()}})


def _shift(text: str | None) -> int | None:
    if text is None or text == "zero":
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--shift {text}: give microseconds, or zero") from None
