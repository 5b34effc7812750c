"""A double of a UF2 bootloader: a folder for its drive, and what writes the chip when a file is whole."""

from __future__ import annotations

import threading
from pathlib import Path

from spedge.boards.flash.image import from_uf2
from tests.flash.chip import Chip, Cut

INFO = "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: {}\n"


class Drive:
    def __init__(self, folder: Path, chip: Chip) -> None:
        self.folder, self.chip = folder, chip
        self.board = "RPI-RP2"
        folder.mkdir()
        (folder / "INFO_UF2.TXT").write_text("")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def mounted(self) -> dict[Path, str]:
        return {} if self.chip.about.get("gone") else {self.folder: INFO.format(self.board)}

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _serve(self) -> None:
        path = self.folder / "firmware.uf2"
        while not self._end.wait(0.02):
            content = path.read_bytes() if path.is_file() else b""
            if len(content) < 512 or len(content) != 512 * int.from_bytes(content[24:28], "little"):
                continue
            image = from_uf2(content)
            try:
                for sector in self.chip.sectors(image.address, len(image.data)):
                    self.chip.erase(sector)
                self.chip.program(image.address, image.data)
            except Cut:
                return  # its drive stays
            (self.folder / "INFO_UF2.TXT").unlink()
            return
