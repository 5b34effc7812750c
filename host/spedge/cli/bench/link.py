"""spedge bench link: what the link carries."""

from __future__ import annotations

from typing import Annotated

import typer

from spedge.cli.common import BoardOption, JsonOption, print_json, print_pairs, progress


def link(
    board: BoardOption = "sim",
    seconds: Annotated[float, typer.Option(min=0.05, help="That each round takes about.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="The quickest one counts.")] = 5,
    line_rate: Annotated[
        float | None,
        typer.Option(min=1, help="Bytes a second to hold the line to, as a cable does.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bytes a second to a simulated or emulated board: events through the protocol, next to bytes without one."""
    from spedge.bench.link import bench_link

    with progress(f"Measuring the link of {board}") as say:
        report = bench_link(board, seconds, rounds, line_rate, say)
    if as_json:
        print_json(report.to_json())
    else:
        print_pairs(report.to_json())
