"""spedge flash: put the firmware on a board; an emulated board takes it when it is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.build import OptionalBundle, build_document, describe
from spedge.cli.common import BoardOption, DeviceOption, JsonOption, PrecisionOption, print_json, progress

if TYPE_CHECKING:
    from spedge.boards.manifest import Board
    from spedge.jobs.flash import Flashed


def command(
    bundle: OptionalBundle = None,
    board: BoardOption = "sim",
    device: DeviceOption = None,
    precision: PrecisionOption = "fp32",
    method: Annotated[
        str | None, typer.Option(help="How to write; see 'spedge boards'. By default the first that can be used here.")
    ] = None,
    serial: Annotated[
        str | None, typer.Option(help="Serial number of the probe, or of the board's own USB, where there are several.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="USER@NAME", help="A board that runs Linux: where to copy the agent by ssh.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS:PORT",
            help="With --host: where the agent listens; on another address than that machine's own it needs a key.",
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --host: the key that the agent asks for.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write this image, which was built before; no bundle then.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Find the tool and the board, compare, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a board's firmware, put it on the board, verify it, and hear from the board that it runs.

    An emulated board is only built: 'run' and 'check' start it.
    """
    from spedge.boards.build import build
    from spedge.boards.manifest import load_board
    from spedge.jobs.flash import describe as describe_flashed
    from spedge.jobs.flash import flash
    from spedge.model.bundle import Bundle

    known = load_board(board)
    loaded = Bundle.load(bundle) if bundle and image is None else None
    document: dict[str, Any] = {"board": known.name, "image": str(image)}
    with progress(f"Building for {known.name}") as say:
        if image is None:
            document = build_document(build(known, loaded, say, precision), loaded)
        elif bundle:
            raise _both(image)
        flashed: Flashed | None = None
        if known.runs == "serial" or host or method or listen or key:
            flashed = flash(
                known,
                Path(document["image"]),
                document.get("model_hash"),
                method or ("ssh" if host else None),
                serial,
                host or device,
                say,
                dry_run,
                listen,
                key,
            )
    if as_json:
        print_json({**document, "runs": known.runs, **(_document(flashed) if flashed else {"flashed": False})})
        return
    if image is None:
        print(describe(document))
    print(describe_flashed(flashed) if flashed else _nothing(known))


def _both(image: Path) -> Exception:
    from spedge.base.errors import UsageError

    return UsageError(f"--image {image} is written as it is: leave the bundle out")


def _nothing(board: Board) -> str:
    where = "a process on this machine" if board.runs == "process" else f"QEMU ({board.title})"
    return f"nothing to flash: {board.name} is {where}; 'spedge run' and 'spedge check' start this image"


def _document(flashed: Flashed) -> dict[str, Any]:
    written, hello = flashed.written, flashed.hello
    return {
        "flashed": written.wrote,
        "verified": flashed.verified,
        "state": written.state,
        "method": written.method,
        "tool": written.tool,
        "chip_id": written.chip.id,
        "serial": written.chip.serial,
        "where": written.chip.where,
        "address": written.address,
        "bytes": written.length,
        "crc": written.crc,
        "seconds": round(written.seconds, 3),
        "hello": hello
        and {
            "board": hello.board,
            "firmware": hello.version,
            "build": hello.build,
            "model": hello.model or None,
            "model_hash": hello.model_hash.hex() if hello.model_hash else None,
        },
    }
