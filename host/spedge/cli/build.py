"""spedge build: the firmware of a board, with a model in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.common import BoardOption, JsonOption, PrecisionOption, byte_count, print_json, progress

if TYPE_CHECKING:
    from spedge.boards.build import Firmware
    from spedge.model.bundle import Bundle

OptionalBundle = Annotated[
    Path | None,
    typer.Argument(metavar="[BUNDLE]", help="Bundle to build in; without one the firmware only makes tokens."),
]


def command(
    bundle: OptionalBundle = None,
    board: BoardOption = "sim",
    precision: PrecisionOption = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Build the firmware of a board with a bundle's model in it."""
    from spedge.boards.build import build
    from spedge.boards.manifest import load_board
    from spedge.model.bundle import Bundle

    known = load_board(board)
    loaded = Bundle.load(bundle) if bundle else None
    with progress(f"Building for {known.name}") as say:
        firmware = build(known, loaded, say, precision)
    document = build_document(firmware, loaded)
    if as_json:
        print_json(document)
    else:
        print(describe(document))


def build_document(firmware: Firmware, loaded: Bundle | None) -> dict[str, Any]:
    """What came out."""
    return {
        "board": firmware.board.name,
        "image": str(firmware.path),
        "model": loaded.name if loaded else None,
        "model_hash": firmware.model_hash,
        "flash_bytes": firmware.flash_bytes,
        "ram_bytes": firmware.ram_bytes,
        "log": str(firmware.log),
    }


def describe(document: dict[str, Any]) -> str:
    """The build in a few lines."""
    model = f"model {document['model']} ({document['model_hash'][:12]})" if document["model"] else "no model"
    sizes = f"flash {byte_count(document['flash_bytes'])}, RAM {byte_count(document['ram_bytes'])}"
    return f"{document['board']}: {model}, {sizes}\n{document['image']}"
