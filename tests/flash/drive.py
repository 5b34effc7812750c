"""A double of a UF2 bootloader: a folder for its drive, and what writes the chip as the blocks of a file come.

The file there is a pipe, so that a drive that vanishes is gone for who writes to it. What goes wrong is in the chip's
chip.json, "cut" for a line that breaks among them, "gone", and "vanishes" for a drive that goes away when it is cut.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from tests.flash.chip import Chip, Cut

INFO = "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: {}\n"
RP2040, RP2350 = 0xE48BFF56, 0xE48BFF59
BLOCK = 512
LOOK_SECONDS = 0.02


class Drive:
    """board: as it names itself. family: blocks of another are passed over, as by the ROM. then: when it has all."""

    def __init__(
        self,
        folder: Path,
        chip: Chip,
        board: str = "RPI-RP2",
        family: int = RP2040,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.chip, self.board, self.family, self.then = folder, chip, board, family, then
        self.folder.mkdir()
        self.info, self.file = folder / "INFO_UF2.TXT", folder / "firmware.uf2"
        self.info.write_text(INFO.format(board))
        os.mkfifo(self.file)
        self._pipe = os.open(self.file, os.O_RDWR)  # so that it has a writer, and a reader, all the time
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, 4096)
        self.written: set[int] = set()  # numbers of blocks
        self.erased: set[int] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def mounted(self) -> list[Path]:
        return [] if self.chip.about.get("gone") or not self.info.exists() else [self.folder]

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _serve(self) -> None:
        block = b""
        total = 1
        while len(self.written) < total and not self._end.is_set():
            if not select.select([self._pipe], [], [], LOOK_SECONDS)[0]:
                continue
            block += os.read(self._pipe, BLOCK - len(block))
            if len(block) < BLOCK:
                continue
            try:
                total = self._take(block)
            except Cut:
                break
            block = b""
        whole = len(self.written) == total
        if whole or self.chip.about.get("vanishes"):
            self.info.unlink()  # it is off the bus
        self.file.unlink()
        os.close(self._pipe)
        if whole:
            self.then()

    def _take(self, block: bytes) -> int:
        """Returns how many there are to be."""
        flags, address, n, number, total, family = struct.unpack_from("<6I", block, 8)
        if flags & 0x2000 and family == self.family:
            for sector in self.chip.sectors(address, n):
                if sector not in self.erased:
                    self.erased.add(sector)
                    self.chip.erase(sector)
            self.chip.program(address, block[32 : 32 + n])
            self.written.add(number)
        return int(total)
