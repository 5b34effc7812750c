"""spedge bench tokenizer: what an event costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.common import (
    AbsoluteRefractoryOption,
    DecayOption,
    DurationOption,
    JsonOption,
    KindOption,
    PatchSizeOption,
    RelativeRefractoryOption,
    RelativeScaleOption,
    ThresholdOption,
    print_json,
    print_pairs,
    progress,
)
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from spedge.recordings import Reading


@reads
def tokenizer(
    recording: Annotated[Path, typer.Argument(metavar="RECORDING")],
    board: Annotated[
        str | None, typer.Option("--board", "-b", help="Emulated board; default: this machine.", show_default=False)
    ] = None,
    kind: KindOption = "continuous",
    patch_size: PatchSizeOption = 16,
    threshold: ThresholdOption = 256.0,
    absolute_refractory_us: AbsoluteRefractoryOption = 0,
    relative_refractory_us: RelativeRefractoryOption = 0,
    relative_scale: RelativeScaleOption = 0.4,
    decay_per_us: DecayOption = 0.0,
    duration_us: DurationOption = None,
    crop: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Only the sensor's middle, as a sensor of that size.", show_default=False),
    ] = None,
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """Tokenize a recording: events per second here, or instructions per event on an emulated board."""
    import numpy as np

    from spedge.base.errors import UsageError
    from spedge.bench.tokenizer import board_cost, host_cost
    from spedge.bench.tokenizer import crop as middle_of
    from spedge.boards.manifest import load_board
    from spedge.events.arrays import Columns
    from spedge.tokens.tokenizer import Tokenizer

    opened = reading.open(recording)
    size = (opened.width, opened.height)
    part = _size(crop) if crop else size

    def make() -> Tokenizer:
        return Tokenizer(
            kind,
            width=part[0],
            height=part[1],
            patch_size=patch_size,
            threshold=threshold,
            absolute_refractory_us=absolute_refractory_us,
            relative_refractory_us=relative_refractory_us,
            relative_scale=relative_scale,
            decay_per_us=decay_per_us,
            duration_us=duration_us,
        )

    make()  # says what is wrong with the parameters before the file is read
    document: dict[str, object] = {"board": board or "host", "width": part[0], "height": part[1]}
    with progress(f"Reading {recording.name}") as say:
        events = middle_of(opened.events(), size, part)
        if len(events) == 0:
            raise UsageError(f"{recording} has no events to measure with" + (f" in its middle {crop}" if crop else ""))
        if board:
            on_board = board_cost(events, make(), load_board(board), say)
            document |= {"events": on_board.events, "tokens": on_board.tokens}
            document["instructions_per_event"] = round(on_board.instructions_per_event, 2)
        else:
            say(f"Tokenizing {recording.name}")
            arrays = Columns(*(np.ascontiguousarray(events[name]) for name in ("t", "x", "y", "p")))
            here = host_cost(arrays, make)
            document |= {"events": here.events, "tokens": here.tokens}
            document["events_per_second"] = round(here.events_per_second)
            document["times_bincount"] = round(here.times_bincount, 2)
    if as_json:
        print_json(document)
    else:
        print_pairs(document)


def _size(text: str) -> tuple[int, int]:
    from spedge.base.errors import UsageError

    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) <= 65535 and 0 < int(height) <= 65535):
        raise UsageError(f"--crop {text}: give width and height in pixels, for example 320x320")
    return int(width), int(height)
