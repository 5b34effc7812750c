"""The ways to write boards that there are, by the names that manifests and --method give them."""

from __future__ import annotations

from spedge.base.errors import UsageError
from spedge.boards.flash.esptool import EspTool
from spedge.boards.flash.openocd import OpenOcd
from spedge.boards.flash.pyocd import PyOcd
from spedge.boards.flash.rom_uart import RomUart
from spedge.boards.flash.ssh import Ssh
from spedge.boards.flash.st_flash import StFlash
from spedge.boards.flash.teensy import Teensy
from spedge.boards.flash.uf2 import Uf2
from spedge.boards.flash.way import Way
from spedge.boards.manifest import Board

WAYS: dict[str, type[Way]] = {way.name: way for way in (OpenOcd, PyOcd, StFlash, RomUart, Uf2, Teensy, EspTool, Ssh)}


def ways_of(board: Board) -> list[type[Way]]:
    """Those of a board, the preferred first. Raises UsageError for a manifest with one that there is not."""
    names = board.flash.methods if board.flash else {}
    for name in names:
        if name not in WAYS:
            raise UsageError(f"{board.manifest} has the flash method {name!r}, not one of {', '.join(WAYS)}")
    return [WAYS[name] for name in names]


def choose(board: Board, method: str | None, port: str | None = None) -> type[Way]:
    """The way of that name; without one, the first of the board's that this machine has what it needs for.

    Raises UsageError for a board that cannot be written, or not in that way.
    """
    ways = ways_of(board)
    if not ways:
        raise UsageError(f"nothing is known of how {board.name} is written")
    if method is None:
        ready = [way for way in ways if way.need.present]
        return (ready or ways)[0]
    for way in ways:
        if way.name == method:
            return way
    raise UsageError(
        f"{board.name} is not written by {method!r}; its methods are: {', '.join(way.name for way in ways)}"
    )
