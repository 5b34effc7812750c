"""Devices: what runs on a board, seen from the host."""

from spedge.device.open import Device, open_board
from spedge.link.counts import Loss, Stats, Status
from spedge.link.faults import Faults
from spedge.link.link import LineCounts, Timeouts
from spedge.link.protocol import Configuration, Configured, Hello, Result
from spedge.tokens.settings import TokenizerSettings

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
