"""spedge stream: record what a camera or a board sends."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.common import JsonOption, interruptible, print_json, print_pairs, progress
from spedge.errors import DeviceError

if TYPE_CHECKING:
    from spedge.capture import Captured


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="camera:NAME (evk3, evk4, davis346, dvxplorer); edvs:PORT; serial:PORT,width=W,height=H; "
            "or a recording.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="What to write: .raw (EVT2 or EVT3), .hdf5, .h5, .npz or .csv.")],
    encoding: Annotated[str | None, typer.Option(help="Of a .raw file: EVT2 or EVT3.", show_default="EVT2")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Stop after so long. Without: when the source ends, or Ctrl-C.", show_default=False),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="Of a recording: 1 plays it in real time.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record what a camera or a board sends, until Ctrl-C.

    When the camera breaks off, what had come is kept and the exit code is 3.
    """
    from spedge.capture import capture
    from spedge.sources import open_source

    with (
        open_source(source, speed=speed) as events,
        progress(f"Waiting for {source}") as say,
        interruptible(events.stop),
    ):
        done = capture(
            events,
            out,
            encoding=encoding.upper() if encoding else None,
            seconds=seconds,
            on_progress=lambda state: say(_status(state)),
        )
    document: dict[str, Any] = {
        **asdict(done),
        "path": str(done.path),
        "width": events.width,
        "height": events.height,
        "events_per_second": round(done.events_per_second, 1),
    }
    if as_json:
        print_json(document)
    else:
        document["lost"] = ", ".join(f"{cause} {n:,}" for cause, n in done.lost.items() if n) or "none that it knows of"
        print_pairs(document)
    if done.problem:
        raise DeviceError(f"{done.problem}; the {done.events:,} events that had come are in {done.path}")


def _status(state: Captured) -> str:
    lost = ", ".join(f"{cause} {n:,}" for cause, n in state.lost.items() if n) or "none"
    rate = state.events_per_second / 1e3
    return f"{state.seconds:6.1f} s  {state.events:>12,} events  {rate:8.1f} kev/s  lost: {lost}"
