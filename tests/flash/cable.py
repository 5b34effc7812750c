"""A Raspberry Pi Pico at a cable of this machine: its serial port or its drive, whichever it shows.

The drive is a double of the ROM's, which is quick, or the ROM itself in the model of the chip.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spedge.boards.flash.image import Image
from spedge.boards.manifest import load_board
from spedge.link.link import Timeouts
from tests.chips.double import Pico
from tests.flash.chip import Chip
from tests.flash.drive import BLOCK, INFO, RP2040, Drive

FLASH, FLASH_BYTES, SECTOR = 0x10000000, 2 << 20, 4 << 10
SECONDS = 60.0  # for what takes one, on a machine with much to do


class RomDrive:
    """A folder for the drive of a ROM that runs in a double: a file that is whole goes there, block by block."""

    def __init__(self, folder: Path, double: Pico) -> None:
        folder.mkdir()
        self.double, self.folder = double, folder
        self.info, self.file, self.whole = folder / "INFO_UF2.TXT", folder / "firmware.uf2", folder / "whole"
        self.info.write_text(INFO.format("RPI-RP2"))
        os.mkfifo(self.file)
        self._pipe = os.open(self.file, os.O_RDWR)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def mounted(self) -> list[Path]:
        return [self.folder] if self.info.exists() else []

    def _serve(self) -> None:
        content = b""
        while len(content) < BLOCK or len(content) < BLOCK * int.from_bytes(content[24:28], "little"):
            content += os.read(self._pipe, BLOCK)
        self.whole.write_bytes(content)
        self.double.tell(f"copy {self.whole}")

    def close(self) -> None:
        """It is off the bus."""
        if self.info.exists():
            self.info.unlink()
            self.file.unlink()


class Cable:
    """`power` is how it is plugged in. Where it is, programs of this machine are told: ports and mounted drives.

    by_rom: whether the ROM in the model is the drive."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, by_rom: bool = False) -> None:
        folder.mkdir()
        self.folder, self.by_rom = folder, by_rom
        self.chip = Chip.make(folder, FLASH_BYTES, SECTOR, address=FLASH)
        self.ports: list[Any] = []  # those of others, too
        self.drive: Drive | RomDrive | None = None
        self.said: list[str] = []
        self._own: list[Any] = []
        self._running: Pico | None = None
        self._drives = 0
        patch.setattr("serial.tools.list_ports.comports", lambda: self.ports + self._own)
        patch.setattr("spedge.boards.flash.uf2._mounts", lambda: self.drive.mounted() if self.drive else [])
        patch.setattr("spedge.jobs.flash.PROBE", Timeouts(silence=SECONDS, work=SECONDS, reconnect=0.0))
        patch.setattr("spedge.jobs.flash._START_SECONDS", SECONDS)
        patch.setattr("spedge.boards.flash.uf2._APPEAR_SECONDS", SECONDS)

    def hold(self, image: Image) -> None:
        """In its flash, from before."""
        self.chip.program(image.address, image.data)

    def power(
        self, bootsel: bool = False, board_id: str = "RPI-RP2", family: int = RP2040, starts: bool = True
    ) -> None:
        """bootsel: with that button held. The others: as another chip would be, which is not started."""
        if bootsel:
            self._show_drive(board_id, family, starts)
        else:
            self._running = Pico(self.folder / "flash.bin")
            if not self._tell(self._running.attached):
                threading.Thread(target=self._follow, args=(self._running,), daemon=True).start()

    def close(self) -> None:
        if self.drive:
            self.drive.close()
        self._stop()

    def _stop(self) -> None:
        self._own = []
        if self._running:
            self._running.process.kill()
            self._running.process.wait()

    def _follow(self, double: Pico) -> None:
        for line in iter(double.hear, ""):
            if self._tell(line):
                return

    def _tell(self, line: str) -> bool:
        """What the double says; whether that is the last that is wanted of it."""
        self.said.append(line)
        if line == "reset":
            self._own = []
            if self.by_rom and self.drive:
                self.drive.close()
        elif line.startswith("attached 2e8a:000a"):
            assert self._running
            number = line.split()[-1]
            self._own = [port(self._running.link, number)]
        elif line.startswith("attached 2e8a:0003") and not self.by_rom:
            self._show_drive()
            return True
        elif line.startswith("attached 2e8a:0003") and not (self.drive and self.drive.mounted()):
            assert self._running
            self._drives += 1
            self.drive = RomDrive(self.folder / f"drive-{self._drives}", self._running)
        return False

    def flash(self) -> bytes:
        """What is in the flash of the chip that runs."""
        assert self._running
        path = self.folder / "told.bin"
        self._running.tell(f"flash {path}")
        until = time.monotonic() + SECONDS
        while self.said[-1] != "flash" and time.monotonic() < until:
            time.sleep(0.05)
        return path.read_bytes()

    def _show_drive(self, board_id: str = "RPI-RP2", family: int = RP2040, starts: bool = True) -> None:
        """What the chip's own ROM says of itself by USB is heard; its drive is a double."""
        self._stop()
        self._drives += 1
        then = self.power if starts else lambda: None
        self.drive = Drive(self.folder / f"drive-{self._drives}", self.chip, board_id, family, then)


def port(device: str, number: str, board: str = "pico") -> Any:
    """As pyserial has one."""
    serial = load_board(board).serial
    assert serial
    vendor, product = serial.usb_ids[0]
    return SimpleNamespace(device=device, description=board, vid=vendor, pid=product, serial_number=number)
