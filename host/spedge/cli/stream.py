"""spedge stream: record what a camera or a board sends."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.board_camera import board_camera
from spedge.cli.common import (
    LIVE_SOURCES,
    WRITTEN,
    BoardOption,
    CameraBaudOption,
    CameraFormatOption,
    CameraPortOption,
    DeviceOption,
    JsonOption,
    ModeOption,
    PlayOption,
    camera_port_of,
    causes,
    interruptible,
    playing,
    print_json,
    print_pairs,
    progress,
)
from spedge.cli.labelling import label, labeller_of, print_labelled
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from spedge.jobs.capture import Captured
    from spedge.recordings import Reading


@reads
def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help=f"{LIVE_SOURCES}; board, the camera on a board; or a recording.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help=f"What to write: {WRITTEN}; with --labels, a folder."),
    ],
    encoding: Annotated[str | None, typer.Option(help="Of a .raw file: evt2 or evt3.", show_default="evt2")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after so long. Without: when the source ends, or Ctrl-C.", show_default=False),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="Of a recording: 1 plays it in real time.", show_default=False)
    ] = None,
    board: BoardOption = "sim",
    device: DeviceOption = None,
    mode: ModeOption = None,
    camera_format: CameraFormatOption = "evt2",
    camera_baud: CameraBaudOption = 0,
    camera_port: CameraPortOption = "uart",
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Keep the last seconds as a sample of the label whose key is pressed: 1, 2, …",
            show_default=False,
        ),
    ] = None,
    keep_seconds: Annotated[float, typer.Option(help="Of a labelled sample.")] = 1.0,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL", help="With --labels: keep a sample of this label at the end.", show_default=False
        ),
    ] = None,
    view: Annotated[
        bool, typer.Option("--view", help="With --labels: show a page with a button and a key for each.")
    ] = False,
    *,
    reading: Reading,
    play: PlayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record what a camera or a board sends, until Ctrl-C.

    With --labels the last second is kept each time that a label's key is pressed, here or on the page: a folder for
    each label in --out, which 'spedge train --data' takes.

    What came until a second ago is in OUT.part, or OUT.raw.part, whatever ends this program, and is read as it stands.
    When the camera breaks off, what had come is kept and the exit code is 3; 4 when a recording is damaged or cut off.
    """
    from spedge.base.errors import DeviceError, InputError, UsageError
    from spedge.jobs.capture import capture
    from spedge.sources import RecordingSource, open_source

    if play is not None and source != "board":
        raise UsageError("--play is for the source board: the camera on the board plays it")
    if labels is None and (keep is not None or view):
        raise UsageError("--keep and --view are for labelled samples: give --labels A,B, too")
    if labels is not None and encoding is not None:
        raise UsageError("labelled samples are written in EVT2: leave --encoding out")
    port = camera_port_of(camera_port, camera_format, camera_baud, play)
    with contextlib.ExitStack() as stack:
        say = stack.enter_context(progress(f"Waiting for {source}"))
        if source == "board":
            camera = board_camera(
                board, device, say, reading,
                format=camera_format, baud=camera_baud, port=port, play=play, mode=mode or "live",
            )  # fmt: skip
            events, ended = stack.enter_context(camera)
        else:
            events = stack.enter_context(open_source(source, speed=speed, reading=reading))
            ended = stack.enter_context(playing(None, None, camera_format))
        stack.enter_context(interruptible(events.stop))

        kind = InputError if isinstance(events, RecordingSource) else DeviceError
        if labels is not None:
            labeller = labeller_of(labels, out, events, keep_seconds)
            end = None if seconds is None else time.monotonic() + seconds
            labelled = label(
                events, labeller, view, keep, say,
                lambda come: ended(come) or (end is not None and time.monotonic() >= end),
            )  # fmt: skip
            print_labelled(labelled, labeller, as_json)
            if labelled.problem:
                raise kind(labelled.problem)
            return

        def follow(state: Captured) -> None:
            say(_status(state))
            if ended(state.events):
                events.stop()

        done = capture(events, out, encoding=encoding, seconds=seconds, on_progress=follow)
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
        document["lost"] = causes(done.lost, "none that it knows of")
        print_pairs(document)
    if done.problem:
        raise kind(f"{done.problem}; the {done.events:,} events that had come are in {done.path}")


def _status(state: Captured) -> str:
    rate = state.events_per_second / 1e3
    return f"{state.seconds:6.1f} s  {state.events:>12,} events  {rate:8.1f} kev/s  lost: {causes(state.lost)}"
