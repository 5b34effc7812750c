"""spedge boards: which boards there are, and whether they can be built and run here."""

from __future__ import annotations

from typing import Any

from spedge.boards.flash.ways import ways_of
from spedge.boards.manifest import Board, list_boards
from spedge.boards.parts import parts_of
from spedge.cli.common import JsonOption, byte_count, print_json, show, table


def command(as_json: JsonOption = False) -> None:
    """List the boards and what each needs on this machine."""
    boards = list_boards()
    if as_json:
        print_json({"boards": [_document(board) for board in boards]})
        return
    listing = table(
        "", "board", "core", "runs", "flash", "RAM", "counts", "ready here", "written by", right=("flash", "RAM")
    )
    for board in boards:
        listing.add_row(
            board.name,
            board.core,
            _runs(board),
            byte_count(board.flash_bytes),
            byte_count(board.ram_bytes),
            board.cost_unit,
            _ready(board),
            _written_by(board),
        )
    show(listing)


def _runs(board: Board) -> str:
    if board.process and board.process.emulated:
        return f"process, emulated by {board.emulator}"
    return {"process": "process on this machine", "qemu": "emulated by QEMU", "serial": "on a cable"}[board.runs]


def _ready(board: Board) -> str:
    if board.missing:
        return f"no: {board.bring}"
    absent = [f"{part.name} {part.version}" for part in parts_of(board) if not part.present]
    return f"yes; a build fetches {' and '.join(absent)}" if absent else "yes"


def _written_by(board: Board) -> str:
    """The methods of 'spedge flash', the preferred first, and what those need that this machine has not."""
    return ", ".join(way.name if way.need.present else f"{way.name} ({way.need.bring})" for way in ways_of(board))


def _document(board: Board) -> dict[str, Any]:
    return {
        "name": board.name,
        "title": board.title,
        "description": board.description,
        "core": board.core,
        "target": board.target,
        "port": board.port,
        "runs": board.runs,
        "silicon": board.silicon,
        "flash_bytes": board.flash_bytes,
        "ram_bytes": board.ram_bytes,
        "cost_unit": board.cost_unit,
        "ready": not board.missing,
        "missing": {tool.program: list(tool.packages) for tool in board.missing},
        "installed": [tool.program for tool in board.requires if tool.present],
        "parts": [{"name": part.name, "version": part.version, "ready": part.present} for part in parts_of(board)],
        "flash": [
            {"method": way.name, "needs": way.need.name, "ready": way.need.present, "install": way.need.bring}
            for way in ways_of(board)
        ],
    }
