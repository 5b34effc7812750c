"""spedge view: a recording, a camera or a training on a page of this machine's browser."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.board_camera import board_camera
from spedge.cli.boxes import BoxesOption, beside, shown
from spedge.cli.common import (
    LIVE_SOURCES,
    CameraBaudOption,
    CameraFormatOption,
    CameraPortOption,
    DeviceOption,
    PatchSizeOption,
    PlayOption,
    PrecisionOption,
    ThresholdOption,
    camera_port_of,
    interruptible,
    opened_device,
    playing,
    progress,
    require_range,
)
from spedge.cli.pages import BrowserOption, PortOption, require_page, run_stage, shown_live, stay
from spedge.cli.reading import reads
from spedge.cli.train import run_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from spedge.recordings import Reading
    from spedge.sources import Source
    from spedge.view.stage import RecordingStage

_LIVE = ("camera", "edvs", "openmv", "serial", "v4l2")


@reads
def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help=f"A recording; {LIVE_SOURCES}; board, the camera on a board; or a training's run.",
        ),
    ],
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Show what its model says, too.", show_default=False)
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            "-b",
            help="Give the events to this board, too, and compare what it says; of the source board: "
            "whose camera it is.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "fp32",
    every_ms: Annotated[float, typer.Option(help="A result of the model each so many milliseconds.")] = 50.0,
    patch_size: PatchSizeOption = 16,
    threshold: ThresholdOption = 64.0,
    boxes: BoxesOption = None,
    camera_format: CameraFormatOption = "evt2",
    camera_baud: CameraBaudOption = 0,
    camera_port: CameraPortOption = "uart",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Of a run: what it is trained on, to show recordings of it.", show_default=False),
    ] = None,
    port: PortOption = 0,
    browser: BrowserOption = True,
    *,
    reading: Reading,
    play: PlayOption = None,
) -> None:
    """Show a recording, a camera or a training on a page of the browser, until Ctrl-C.

    Events, tokens, and what a model says; of a training its curves and what it takes for what.

    The page is for this machine only: on 127.0.0.1, behind a token in its address.
    """
    require_page()
    from spedge.base.errors import UsageError
    from spedge.sources import open_source
    from spedge.training.run import is_run
    from spedge.view.open import open_stage

    require_range("--every-ms", every_ms)
    if play is not None and source != "board":
        raise UsageError("--play is for the source board: the camera on the board plays it")
    at = camera_port_of(camera_port, camera_format, camera_baud, play)
    if source == "board" or (source.partition(":")[0] in _LIVE and ":" in source):
        if bundle is not None:
            raise UsageError("of a camera the page shows events and tokens; with a model: spedge run BUNDLE --view")
        with contextlib.ExitStack() as stack:
            say = stack.enter_context(progress(f"Waiting for {source}"))
            if source == "board":
                camera = board_camera(
                    board or "sim", device, say, reading, format=camera_format, baud=camera_baud, port=at, play=play
                )
                events, ended = stack.enter_context(camera)
            else:
                events = stack.enter_context(open_source(source, reading=reading))
                ended = stack.enter_context(playing(None, None, camera_format))
            _show(source, events, ended, patch_size, threshold)
        return
    if is_run(run := run_folder(Path(source))):
        if bundle is not None or board or device:
            raise UsageError(f"{run} is a run, which is shown by itself: give a recording for a BUNDLE or a board")
        stay(run.name, run_stage(run, data), port, browser)
        return
    recording = Path(source)
    if (board or device) and bundle is None:
        raise UsageError("a board runs the model of a bundle: give a BUNDLE behind the recording")
    every_us = round(every_ms * 1000)
    with progress(f"Reading {recording.name}") as say:
        stage = open_stage(recording, reading, bundle, patch_size, threshold, every_us, say)
        stage.scene = shown(boxes or beside(recording), stage.scene)

        def ask() -> None:
            if bundle is not None and (board or device):
                _ask(stage, recording, reading, bundle, board or "sim", device, precision, every_us, say)
            say(f"Showing {recording.name}")

        stay(recording.name, stage, port, browser, ask)


def _show(name: str, events: Source, ended: Callable[[int], bool], patch_size: int, threshold: float) -> None:
    """Show what happens now, until the camera ends or Ctrl-C. ended: as `playing` yields it."""
    from spedge.tokens.settings import TokenizerSettings

    settings = TokenizerSettings.of(
        width=events.width, height=events.height, patch_size=patch_size, threshold=threshold
    )
    come = 0
    with shown_live(name, settings) as stage, interruptible(events.stop):
        for packet in events.packets():
            stage.offer(packet)
            come += len(packet)
            if ended(come):
                return


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
