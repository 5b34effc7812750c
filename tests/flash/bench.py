"""A board on a bench of doubles: its manifest, its chip, what reaches the chip, and the firmware that then answers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge import cli
from spedge.base.paths import boards_dir
from spedge.link.link import Timeouts
from tests.flash import pyocd
from tests.flash.chip import ADDRESS, ID_AT, SIZE_AT, Chip
from tests.flash.drive import Drive
from tests.flash.elf import write_elf
from tests.flash.firmware import Firmware
from tests.flash.rom import Rom

LENGTH = 40_000  #: of the image: parts of three sectors of 16 KB
PROBES = ("openocd", "st-flash", "pyocd", "uart")  #: ways that read back
SILENT = ("uf2", "teensy")  #: ways that do not
METHODS: dict[str, dict[str, Any]] = {
    "openocd": {"script": "board/double.cfg"},
    "st-flash": {},
    "pyocd": {"target": "stm32h743xx"},
    "uart": {"sectors": [[16384, 16]], "parity": "N"},
    "uf2": {"board_id": "RPI-RP2"},
    "teensy": {"mcu": "TEENSY41"},
    "esptool": {"chip": "esp32s3"},
}
_PROGRAMS = {  # name: its double
    "openocd": {"openocd": "openocd"},
    "st-flash": {"st-flash": "st_flash", "st-info": "st_flash"},
    "teensy": {"teensy_loader_cli": "others"},
    "esptool": {"esptool": "others"},
}


class Bench:
    """The board "bench" with one method. `flash` runs the command."""

    def __init__(
        self,
        folder: Path,
        way: str,
        patch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        length: int = LENGTH,
    ) -> None:
        self.way, self.capsys = way, capsys
        self.chip = Chip.make(folder)
        self.data = np.random.default_rng(5).integers(0, 256, length, np.uint8).tobytes()
        self.image = write_elf(folder / "firmware.elf", self.data, ADDRESS)
        self.firmware = Firmware(self.chip, length)
        self.rom: Rom | None = None
        self.drive: Drive | None = None
        if way == "uart":
            self.rom = Rom(self.chip, self.firmware.speak)
        self.port = self.rom.path if self.rom else self.firmware.open()
        self._install(folder, patch)
        if way == "uf2":
            self.drive = Drive(folder / "drive", self.chip)
            patch.setattr("spedge.boards.flash.uf2._mounts", self.drive.mounted)
        if way == "pyocd":
            pyocd.install(patch, self.chip)
        patch.setattr("spedge.boards.flash.uf2._VANISH_SECONDS", 0.5)
        patch.setattr("spedge.boards.flash.uf2._APPEAR_SECONDS", 0.0)
        patch.setattr(
            "spedge.jobs.flash.PROBE", Timeouts(resend_least=0.02, resend_most=0.05, silence=0.3, reconnect=0.0)
        )
        patch.setattr("spedge.jobs.flash._START_SECONDS", 1.0)
        patch.setattr("spedge.boards.flash.rom_uart._ANSWER_SECONDS", 0.2)
        patch.setattr("spedge.boards.flash.rom_uart._SYNC_SECONDS", 0.2)

    def _install(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        manifest = json.loads((boards_dir() / "netduinoplus2.json").read_text())
        own = manifest["spedge"]
        own["run"] = {"how": "serial"}
        own["flash"] = {
            "address": hex(ADDRESS), "chip_id": "0x450", "id_at": hex(ID_AT), "size_at": hex(SIZE_AT),
            "uf2_family": "0xe48bff56",
            "methods": {self.way: METHODS[self.way]},
        }  # fmt: skip
        (folder / "boards").mkdir()
        (folder / "boards" / "bench.json").write_text(json.dumps(manifest))
        patch.setattr("spedge.boards.manifest.boards_dir", lambda: folder / "boards")
        programs = folder / "programs"
        programs.mkdir()
        for name, module in _PROGRAMS.get(self.way, {}).items():
            script = programs / name
            script.write_text(
                f"#!{sys.executable}\nimport runpy, sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
                f"runpy.run_path({str(Path(__file__).with_name(module + '.py'))!r}, run_name='__main__')\n"
            )
            script.chmod(0o755)
        self.programs = programs
        patch.setenv("PATH", f"{programs}:/usr/bin:/bin" if self.way in _PROGRAMS else os.environ["PATH"])
        patch.setenv("CHIP", str(folder))

    def flash(self, *arguments: str) -> tuple[int, str, str]:
        given = ["flash", "--board", "bench", "--image", str(self.image), "--device", self.port, *arguments]
        code = cli.execute(given)
        said = self.capsys.readouterr()
        return code, said.out, said.err

    @property
    def holds_the_image(self) -> bool:
        return self.chip.flash[: len(self.data)] == self.data

    def close(self) -> None:
        self.firmware.close()
        if self.rom:
            self.rom.close()
        if self.drive:
            self.drive.close()
