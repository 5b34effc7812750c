"""spedge bench link: what the link carries."""

from __future__ import annotations

from typing import Annotated

import typer

from spedge.cli.common import BoardOption, JsonOption, print_json, print_pairs, progress


def link(
    board: BoardOption = "sim",
    seconds: Annotated[float, typer.Option(min=0.05, help="That each round takes about.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="The quickest one counts.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Bytes a second to a simulated or emulated board: events through the protocol, next to bytes without one."""
    from spedge.bench.link import bench_link

    with progress(f"Measuring the link of {board}") as say:
        report = bench_link(board, seconds, rounds, say)
    document: dict[str, object] = {
        "board": report.board,
        "bytes": report.bytes,
        "raw_bytes_per_s": round(report.raw),
        "payload_bytes_per_s": round(report.payload),
        "payload_of_raw": round(report.ratio, 3),
        "frames_resent": report.resent,
    }
    if as_json:
        print_json(document)
    else:
        print_pairs(document)
