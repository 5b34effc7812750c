"""How recordings are opened, as options of the command line: written once, for every verb that takes a recording."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer


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
    options = _parameters(_options)
    own = _parameters(command)
    at = list(own).index("reading")
    before, after = list(own.values())[:at], list(own.values())[at + 1 :]

    @functools.wraps(command)
    def verb(**given: Any) -> None:
        from spedge.recordings import Reading

        reading = Reading(**{name: given.pop(name) for name in options})
        command(**given, reading=reading)

    parameters = [*before, *options.values(), *after]
    verb.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    verb.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return verb


def _parameters(function: Callable[..., None]) -> dict[str, inspect.Parameter]:
    """With annotations that are no strings any more. `Reading` is not looked up: that would load all readers."""
    hints = get_type_hints(function, localns={"Reading": object}, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.replace(annotation=hints[parameter.name]) for parameter in parameters}
