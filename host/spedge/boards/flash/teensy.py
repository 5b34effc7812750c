"""teensy_loader_cli, as a process. HalfKay, the bootloader, cannot be read back: the firmware itself tells its CRC."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from spedge.boards.flash.image import Image, to_hex
from spedge.boards.flash.programs import LINE, RIGHTS, TROUBLES, run
from spedge.boards.flash.way import Chip, Count, Need, Way

_TROUBLES = (
    (r"Unable to open device|Found device but unable to open", "you may not open the board", RIGHTS),
    (r"error writing to Teensy|Error writing", "the line to the board broke", LINE),
    (r"[Uu]nknown (MCU|mcu)|unsupported", "this teensy_loader_cli does not know the chip", "install a newer one"),
    (r"File not found|[Nn]o HalfKay|[Uu]nable to find", "no board is in its bootloader", "press the board's button"),
    *TROUBLES,
)
_BUTTON_SECONDS = 60.0


class Teensy(Way):
    """Settings: "mcu", as the program calls the chip."""

    name: ClassVar[str] = "teensy"
    need: ClassVar[Need] = Need("teensy_loader_cli", "sudo apt-get install teensy-loader-cli")
    reads: ClassVar[bool] = False
    in_bootloader: ClassVar[bool] = True

    def find_chip(self) -> Chip:
        """HalfKay says no id; the program finds the board when it writes, and HELLO tells which one it was."""
        return Chip(None, None, None, "its bootloader, HalfKay")

    def write(self, image: Image, count: Count) -> None:
        with tempfile.TemporaryDirectory(prefix="spedge-") as folder:
            path = Path(folder) / "firmware.hex"
            path.write_text(to_hex(image))
            command = ["teensy_loader_cli", f"--mcu={self.settings['mcu']}", "-v", "-w", str(path)]
            run("write", command, _TROUBLES, seconds=_BUTTON_SECONDS)
        count(len(image.data))

    def reset(self) -> None:
        """The program has booted it."""
