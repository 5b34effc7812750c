"""A double of pyOCD's API, as far as it is used: probes, a session with a target, the loader. The library that is
installed gives its errors; its flash algorithms do not run here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.flash.chip import Chip, Cut, Protected


class Probe:
    unique_id = "066DFF51"
    description = "a double of a probe"


class Target:
    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    def reset_and_halt(self) -> None:
        if self.chip.about.get("dead"):
            raise _error("TransferError", "Error connecting DP: no ACK received")

    def read32(self, address: int) -> int:
        return self.chip.word(address)

    def read16(self, address: int) -> int:
        return self.chip.word(address)

    def read_memory_block8(self, address: int, n: int) -> list[int]:
        return list(_moved(lambda: self.chip.read(address, n)))

    def reset(self) -> None:
        pass


class Session:
    def __init__(self, chip: Chip, options: dict[str, Any]) -> None:
        assert options["target_override"] == "stm32h743xx"
        self.target = Target(chip)

    def open(self) -> None:
        about = self.target.chip.about
        if about.get("rights"):
            raise _error("ProbeError", "[Errno 13] Access denied (insufficient permissions)")
        if about.get("busy"):
            raise _error("ProbeError", "[Errno 16] Resource busy")

    def close(self) -> None:
        pass


class Loader:
    def __init__(self, session: Session, progress: Callable[[float], None], chip_erase: str, **_: Any) -> None:
        assert chip_erase == "sector"
        self.chip, self.progress = session.target.chip, progress
        self.data: list[tuple[int, bytes]] = []

    def add_data(self, address: int, data: bytes) -> None:
        self.data.append((address, data))

    def commit(self) -> None:
        """As `pyocd load`: what it wrote is not looked at."""
        for address, data in self.data:
            try:
                for sector in self.chip.sectors(address, len(data)):
                    self.chip.erase(sector)
                for at in range(0, len(data), 1024):
                    piece = data[at : at + 1024]
                    _moved(partial(self.chip.program, address + at, piece))
                    self.progress((at + len(piece)) / len(data))
            except Protected:
                raise _error("FlashEraseFailure", "flash erase sector failure (WRPERR)") from None


def _moved(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except Cut:
        raise _error("TransferError", "STLink error: USB transfer failed, LIBUSB_ERROR_PIPE") from None


def _error(name: str, text: str) -> Exception:
    from pyocd.core import exceptions

    made: Exception = getattr(exceptions, name)(text)
    return made


def install(patch: pytest.MonkeyPatch, chip: Chip) -> None:
    def probes(**_: Any) -> list[Probe]:
        return [] if chip.about.get("gone") else [Probe()]

    patch.setattr("pyocd.core.helpers.ConnectHelper.get_all_connected_probes", probes)
    patch.setattr("pyocd.core.session.Session", lambda _probe, auto_open, options: Session(chip, options))
    patch.setattr("pyocd.flash.loader.MemoryLoader", Loader)
