"""spedge run: play a recording to a board and print its results as they come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.common import (
    BoardOption,
    BundleArgument,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    opened_device,
    print_json_line,
    progress,
)

if TYPE_CHECKING:
    from spedge.bundle import Bundle
    from spedge.play import Opinion


def command(
    bundle: BundleArgument,
    recording: Annotated[Path, typer.Argument(metavar="RECORDING")],
    board: BoardOption = "sim",
    device: DeviceOption = None,
    every_ms: Annotated[
        float, typer.Option(help="A result each so many milliseconds of the recording; 0: one at the end.")
    ] = 100.0,
    precision: PrecisionOption = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Play a recording to a board and print its results as they come.

    With --json, a line of JSON each.
    """
    from spedge.boards import load_board
    from spedge.bundle import Bundle
    from spedge.errors import UsageError
    from spedge.play import load_events, play

    if every_ms < 0:
        raise UsageError("--every-ms must not be negative")
    known = load_board(board)
    loaded = Bundle.load(bundle)
    events = load_events(recording, loaded)
    with progress("Preparing") as say, opened_device(known, loaded, device, say, precision) as link:
        say(f"Playing {recording.name} to {known.name}")
        for opinion in play(link, loaded, events, round(every_ms * 1000) or None):
            if as_json:
                print_json_line(_document(opinion, loaded, link.hello.cost_unit))
            else:
                print(_line(opinion, int(events["t"][0])), flush=True)


def _line(opinion: Opinion, start_us: int) -> str:
    seconds = (opinion.t - start_us) / 1e6
    return (
        f"{seconds:9.3f} s  {opinion.events:>9,} events  {opinion.tokens:>6,} tokens  "
        f"{opinion.label} ({opinion.confidence:.1%})"
    )


def _document(opinion: Opinion, bundle: Bundle, unit: str) -> dict[str, Any]:
    return {
        "t_us": opinion.t,
        "events": opinion.events,
        "tokens": opinion.tokens,
        "label": opinion.label,
        "confidence": opinion.confidence,
        "logits": dict(zip(bundle.labels, opinion.logits.tolist(), strict=True)),
        "encode_cost": opinion.encode_cost,
        "cost_unit": unit,
    }
