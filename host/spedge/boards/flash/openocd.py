"""OpenOCD, as a process: debug probes of all kinds (ST-LINK, CMSIS-DAP, J-Link), by the board's script of its own."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import ClassVar

from spedge.boards.flash.image import Image
from spedge.boards.flash.programs import LINE, TROUBLES, dumped, run
from spedge.boards.flash.way import Chip, Count, FlashError, Need, Way

_PIECE_BYTES = 32 << 10  # written at once, so that progress can be told
_MISSING_SCRIPT = (r"Can't find (\S+)", "this OpenOCD does not know the board", "install OpenOCD 0.12 or newer")


class OpenOcd(Way):
    """Settings: "script", of those that come with OpenOCD."""

    name: ClassVar[str] = "openocd"
    need: ClassVar[Need] = Need("openocd", "sudo apt-get install openocd")

    def find_tool(self) -> str:
        super().find_tool()
        said = run("tool", ["openocd", "--version"])
        version = re.search(r"Open On-Chip Debugger (\S+)", said)
        return f"OpenOCD {version[1] if version else 'of unknown version'}"

    def find_chip(self) -> Chip:
        words = [f"mdw 0x{self.about.id_at:08x}", f"mdh 0x{self.about.size_at:08x}"]
        said = self._call("board", *words)
        identity, kilobytes = (_word(said, at) for at in (self.about.id_at, self.about.size_at))
        return Chip(identity & 0xFFF, kilobytes << 10, self.serial, "a probe that OpenOCD found")

    def read(self, address: int, n: int, count: Count) -> bytes:
        data = dumped(lambda path: self._call("verify", f"dump_image {{{path}}} 0x{address:08x} {n}"))
        count(n)
        return data

    def write(self, image: Image, count: Count) -> None:
        with tempfile.TemporaryDirectory(prefix="spedge-") as folder:
            commands = [f"flash erase_address pad 0x{image.address:08x} {len(image.data)}"]
            for at in range(0, len(image.data), _PIECE_BYTES):
                piece = image.data[at : at + _PIECE_BYTES]
                path = Path(folder) / f"{at}.bin"
                path.write_bytes(piece)
                commands.append(f"flash write_image {{{path}}} 0x{image.address + at:08x} bin")
                commands.append(f"echo {{spedge has written {at + len(piece)}}}")
            self._call("write", *commands, count=count)

    def reset(self) -> None:
        self._call("reset", "reset run")

    def _call(self, step: str, *commands: str, count: Count | None = None) -> str:
        """Halt the chip and do that. The servers are off: another OpenOCD may have their ports."""

        def on_line(line: str) -> None:
            written = re.match(r"spedge has written (\d+)", line)
            if written and count:
                count(int(written[1]))

        serial = ["-c", f"adapter serial {self.serial}"] if self.serial else []
        quiet = "gdb_port disabled; tcl_port disabled; telnet_port disabled"
        body = [part for command in ("init", "reset halt", *commands, "shutdown") for part in ("-c", command)]
        command = ["openocd", "-f", str(self.settings["script"]), *serial, "-c", quiet, *body]
        return run(step, command, (_MISSING_SCRIPT, *TROUBLES), on_line)


def _word(said: str, address: int) -> int:
    found = re.search(rf"0x{address:08x}: ([0-9a-fA-F]+)", said)
    if not found:
        raise FlashError("board", "OpenOCD did not read the chip's id", LINE)
    return int(found[1], 16)
