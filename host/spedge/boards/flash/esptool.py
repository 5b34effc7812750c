"""esptool, as a process: Espressif's chips by the bootloader in their ROM. It holds an MD5 against what it wrote."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import ClassVar

from spedge.boards.flash.image import Image
from spedge.boards.flash.programs import IN_USE, LINE, PLUG_IN, RIGHTS, TROUBLES, dumped, run
from spedge.boards.flash.way import Chip, Count, FlashError, Need, Way

_TROUBLES = (
    (r"[Pp]ermission denied", "you may not open the port", RIGHTS),
    (r"port is busy|[Cc]ould not exclusively lock", "another program has the port", IN_USE),
    (r"This chip is (\S+)[,;]? not|wrong -.chip", "the chip is another one", "name the board that it is"),
    (r"MD5 of file does not match|[Vv]erification failed", "the flash holds something else than was written", LINE),
    (r"serial data stream stopped|[Ss]erial exception|Packet content transfer stopped", "the line broke", LINE),
    (r"No such file|could not open port|Failed to connect|No serial data", "no bootloader answers", PLUG_IN),
    *TROUBLES,
)


class EspTool(Way):
    """Settings: "chip", as esptool calls it."""

    name: ClassVar[str] = "esptool"
    need: ClassVar[Need] = Need("esptool", "pip install esptool")

    def find_tool(self) -> str:
        super().find_tool()
        version = re.search(r"v?(\d+\.\S+)", run("tool", ["esptool", "version"], _TROUBLES))
        return f"esptool {version[1] if version else 'of unknown version'}"

    def find_chip(self) -> Chip:
        said = self._call("board", "flash-id", after="no-reset")
        chip = re.search(r"(?:Chip is|Chip type:|Connected to) +(ESP[\w-]*)", said)
        if chip and _plain(chip[1]) != _plain(str(self.settings["chip"])):
            raise FlashError("board", f"the chip is {chip[1]}", "name the board that it is")
        size = re.search(r"[Dd]etected flash size: +(\d+)MB", said)
        return Chip(None, int(size[1]) << 20 if size else None, self.serial, self.port or "a port that esptool found")

    def read(self, address: int, n: int, count: Count) -> bytes:
        data = dumped(
            lambda path: self._call("verify", "read-flash", f"0x{address:x}", str(n), str(path), after="no-reset")
        )
        count(n)
        return data

    def write(self, image: Image, count: Count) -> None:
        def on_line(line: str) -> None:
            percent = re.search(r"\((\d+) ?%\)|(\d+)\.\d%", line)
            if percent:
                count(len(image.data) * int(percent[1] or percent[2]) // 100)

        with tempfile.TemporaryDirectory(prefix="spedge-") as folder:
            path = Path(folder) / "image.bin"
            path.write_bytes(image.data)
            command = self._command("write-flash", f"0x{image.address:x}", str(path), after="no-reset")
            run("write", command, _TROUBLES, on_line)

    def reset(self) -> None:
        self._call("reset", "chip-id", after="hard-reset")

    def _call(self, step: str, *arguments: str, after: str) -> str:
        return run(step, self._command(*arguments, after=after), _TROUBLES)

    def _command(self, *arguments: str, after: str) -> list[str]:
        port = ["--port", self.port] if self.port else []
        return ["esptool", "--chip", str(self.settings["chip"]), *port, "--after", after, *arguments]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
