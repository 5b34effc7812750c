"""spedge view: a recording or a camera on a page of this machine's browser."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.common import (
    DeviceOption,
    PatchSizeOption,
    PrecisionOption,
    ThresholdOption,
    interruptible,
    open_browser,
    opened_device,
    progress,
    require_range,
    require_view,
    shown_live,
)
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from collections.abc import Callable

    from spedge.recordings import Reading
    from spedge.view.stage import RecordingStage

_LIVE = ("camera", "edvs", "serial")


@reads
def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A recording; camera:NAME (evk3, evk4, davis346, dvxplorer); edvs:PORT; serial:PORT,width=W,height=H.",
        ),
    ],
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Show what its model says, too.", show_default=False)
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            "--board", "-b", help="Give the events to this board, too, and compare what it says.", show_default=False
        ),
    ] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "fp32",
    every_ms: Annotated[float, typer.Option(help="A result of the model each so many milliseconds.")] = 50.0,
    patch_size: PatchSizeOption = 16,
    threshold: ThresholdOption = 64.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    *,
    reading: Reading,
) -> None:
    """Show a recording or a camera on a page of the browser: events, tokens, what the model says, until Ctrl-C.

    The page is for this machine only: on 127.0.0.1, behind a token in its address.
    """
    require_view("starlette", "uvicorn", "wsproto", "pillow")
    from spedge.base.errors import UsageError
    from spedge.view.open import open_stage
    from spedge.view.server import Server

    require_range("--every-ms", every_ms)
    if source.partition(":")[0] in _LIVE and ":" in source:
        if bundle is not None:
            raise UsageError("of a camera the page shows events and tokens; with a model: spedge run BUNDLE --view")
        _camera(source, reading, patch_size, threshold)
        return
    recording = Path(source)
    if (board or device) and bundle is None:
        raise UsageError("a board runs the model of a bundle: give a BUNDLE behind the recording")
    every_us = round(every_ms * 1000)
    ended = threading.Event()
    with contextlib.ExitStack() as stack:
        say = stack.enter_context(progress(f"Reading {recording.name}"))
        stage = open_stage(recording, reading, bundle, patch_size, threshold, every_us, say)
        server = stack.enter_context(Server(stage, port))
        stack.enter_context(interruptible(ended.set))
        print(f"{recording.name} is at {server.address} until Ctrl-C", flush=True)
        if browser:
            open_browser(server.address)
        if bundle is not None and (board or device):
            _ask(stage, recording, reading, bundle, board or "sim", device, precision, every_us, say)
        say(f"Showing {recording.name}")
        while not ended.wait(3600):
            pass


def _camera(name: str, reading: Reading, patch_size: int, threshold: float) -> None:
    """Show what happens now, until the camera ends or Ctrl-C."""
    from spedge.sources import open_source
    from spedge.tokens.settings import TokenizerSettings

    with open_source(name, reading=reading) as events:
        settings = TokenizerSettings.of(
            width=events.width, height=events.height, patch_size=patch_size, threshold=threshold
        )
        with shown_live(name, settings) as stage, interruptible(events.stop):
            for packet in events.packets():
                stage.offer(packet)


def _ask(
    stage: RecordingStage,
    recording: Path,
    reading: Reading,
    bundle: Path,
    board: str,
    device: str | None,
    precision: str,
    every_us: int,
    say: Callable[[str], None],
) -> None:
    """Give the recording to the board, and the page what it says."""
    from spedge.boards.manifest import load_board
    from spedge.jobs.run import Session, Triggers
    from spedge.model.bundle import Bundle
    from spedge.sources import RecordingSource
    from spedge.view.open import follow

    known, loaded = load_board(board), Bundle.load(bundle)
    with (
        RecordingSource(recording, None, reading) as source,
        opened_device(known, loaded, device, say, precision) as link,
    ):
        session = Session(link, loaded, source, Triggers(every_us))
        with interruptible(session.stop):
            follow(session, stage, known.name, say)
