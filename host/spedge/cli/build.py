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
    report: Annotated[
        bool, typer.Option("--report", help="Say what it takes of flash, RAM and stack, and of what.")
    ] = False,
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
    if report:
        document["report"] = report_document(firmware)
    if as_json:
        print_json(document)
    else:
        print(describe(document))
        if report:
            print(describe_report(document["report"]))


def report_document(firmware: Firmware) -> dict[str, Any]:
    """What the image takes; stack null on boards with an operating system."""
    from spedge.boards.stack import worst_stack

    stack = worst_stack(firmware.board, firmware.path)
    return {
        "flash_bytes": firmware.flash_bytes,
        "flash_limit": firmware.board.flash_bytes,
        "model_flash_bytes": firmware.report.get("flash_bytes"),
        "ram_bytes": firmware.ram_bytes,
        "ram_limit": firmware.board.ram_bytes,
        "arena_bytes": firmware.report.get("arena_bytes"),
        "stack_bytes": stack and stack.bytes,
        "stack_chain": stack and list(stack.chain),
    }


def describe_report(document: dict[str, Any]) -> str:
    """The report, a line for each kind of memory."""
    model, arena, stack = (document[name] for name in ("model_flash_bytes", "arena_bytes", "stack_bytes"))
    flash = f"{document['flash_bytes']:,} of {document['flash_limit']:,} bytes" + (
        f", {model:,} of them the model's" if model is not None else ""
    )
    lines = [("flash", flash), ("static RAM", f"{document['ram_bytes']:,} of {document['ram_limit']:,} bytes")]
    if arena is not None:
        lines.append(("arena", f"{arena:,} bytes of what is left"))
    if stack is not None:
        lines.append(("stack", f"at most {stack:,} bytes: {', '.join(document['stack_chain'])}"))
    return "\n".join(f"{name:<11} {text}" for name, text in lines)


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
