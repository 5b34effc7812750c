"""How recordings are opened, as options of the command line: written once, for every verb that takes a recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from spedge.cli.options import in_place_of


def _options(
    *,
    width: Annotated[
        int | None,
        typer.Option(help="Sensor width in pixels, for a recording that does not say it.", show_default=False),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Sensor height in pixels.", show_default=False)] = None,
    sort: Annotated[
        bool, typer.Option("--sort", help="Sort the events by time; takes memory for the whole recording.")
    ] = False,
    outside: Annotated[
        str | None,
        typer.Option(
            metavar="drop|refuse",
            help="What becomes of events outside the sensor: left out and counted, or an error. By default what the "
            "makers of the file's format do: EVT3 drops them, else they are an error.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="txyp",
            help="What the columns of a text or an array are, where they do not tell: a letter each, - for another.",
            show_default=False,
        ),
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option(metavar="s|ms|us|ns", help="Of times that do not tell theirs.", show_default=False)
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="Which one of several streams of events in a file.", show_default=False)
    ] = None,
) -> None:
    """The fields of recordings.Reading."""


def reads(command: Callable[..., None]) -> Callable[..., None]:
    """A verb with a keyword `reading`, a recordings.Reading, gets these options in its place."""
    return in_place_of("reading", _options, _reading, command)


def _reading(**given: Any) -> Any:
    from spedge.recordings import Reading

    return Reading(**given)
