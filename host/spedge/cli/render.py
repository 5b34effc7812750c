"""spedge render: a recording as a picture, a GIF or a video."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.boxes import BoxesOption, shown
from spedge.cli.common import (
    JsonOption,
    PatchSizeOption,
    ThresholdOption,
    print_json,
    print_pairs,
    progress,
    require_range,
    require_view,
)
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from spedge.recordings import Reading


@reads
def command(
    recording: Annotated[Path, typer.Argument(metavar="RECORDING")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="What to write: .png, .gif, .apng, .webp or .mp4.")],
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Show the tokens of this bundle, and what its model says, computed here.", show_default=False
        ),
    ] = None,
    from_ms: Annotated[float, typer.Option(help="Begin so long after the first event.")] = 0.0,
    to_ms: Annotated[
        float | None, typer.Option(help="End so long after the first event, not at the last.", show_default=False)
    ] = None,
    speed: Annotated[float, typer.Option(help="0.1: ten times as slow as it was.")] = 1.0,
    fps: Annotated[float, typer.Option(help="Frames a second of what is written.")] = 25.0,
    fade_ms: Annotated[float, typer.Option(help="How long an event is seen; a token five times as long.")] = 50.0,
    scale: Annotated[int, typer.Option(help="Pixels for one of the sensor; 0: what is good to look at.")] = 0,
    theme: Annotated[str, typer.Option(help="dark or light.")] = "dark",
    boxes: BoxesOption = None,
    every_ms: Annotated[float, typer.Option(help="With --bundle: a result each so many milliseconds.")] = 50.0,
    patch_size: PatchSizeOption = 16,
    threshold: ThresholdOption = 64.0,
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """Draw a recording: its events, its tokens over the patch grid and, with a bundle, what the model says over time.

    A .png is a picture of the range's end; the others move, in slow motion with a --speed below 1.
    """
    require_view("pillow")
    from spedge.view.open import open_scene
    from spedge.view.render import Look, render, require_look

    require_range("--every-ms", every_ms)
    look = Look(
        from_us=round(from_ms * 1000),
        to_us=None if to_ms is None else round(to_ms * 1000),
        speed=speed,
        fps=fps,
        fade_us=round(fade_ms * 1000),
        scale=scale,
        theme=theme,
    )
    require_look(out, look)
    with progress(f"Reading {recording.name}") as say:
        scene = open_scene(recording, reading, bundle, patch_size, threshold, round(every_ms * 1000), say)
        scene = shown(boxes, scene) if boxes else scene
        done = render(scene, out, recording.name, look, say)
    document = asdict(done) | {"path": str(done.path)}
    if as_json:
        print_json(document)
    else:
        print_pairs(document)
