"""Devices: what runs on a board, seen from the host."""

from typing import TYPE_CHECKING

from spedge.device.client import Device, LineCounts, Timeouts
from spedge.link.faults import Faults
from spedge.link.protocol import Configuration, Configured, Hello, Loss, Result, Stats, Status
from spedge.tokens.settings import TokenizerSettings

if TYPE_CHECKING:
    from spedge.boards.launch import open_board

__all__ = [
    "Configuration",
    "Configured",
    "Device",
    "Faults",
    "Hello",
    "LineCounts",
    "Loss",
    "Result",
    "Stats",
    "Status",
    "Timeouts",
    "TokenizerSettings",
    "open_board",
]


if not TYPE_CHECKING:

    def __getattr__(name):
        """`open_board`, when asked for: it opens devices itself."""
        if name != "open_board":
            raise AttributeError(f"module 'spedge.device' has no attribute {name!r}")
        from spedge.boards.launch import open_board

        return open_board
