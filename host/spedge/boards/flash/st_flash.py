"""st-flash of stlink-org, as a process: boards with an ST-LINK."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import ClassVar

from spedge.boards.flash.image import Image
from spedge.boards.flash.programs import PLUG_IN, TROUBLES, dumped, explained, run
from spedge.boards.flash.way import Chip, Count, FlashError, Need, Way


class StFlash(Way):
    """No settings."""

    name: ClassVar[str] = "st-flash"
    need: ClassVar[Need] = Need("st-flash", "sudo apt-get install stlink-tools")

    def find_tool(self) -> str:
        super().find_tool()
        return f"st-flash {run('tool', ['st-flash', '--version']).strip().removeprefix('v')}"

    def find_chip(self) -> Chip:
        said = run("board", ["st-info", "--probe"])
        probes = [_fields(part) for part in re.split(r"(?m)^\s*version:", said)[1:]]
        if not probes:
            raise explained("board", "st-info", said, TROUBLES)  # it ends with 0 all the same
        if self.serial:
            probes = [probe for probe in probes if probe.get("serial", "").lower() == self.serial.lower()]
            if not probes:
                raise FlashError("board", f"no ST-LINK has the serial number {self.serial}", PLUG_IN)
        if len(probes) > 1:
            serials = ", ".join(probe.get("serial", "?") for probe in probes)
            raise FlashError("board", f"there are several ST-LINKs ({serials})", "say which one by --serial")
        (probe,) = probes
        identity = int(probe.get("chipid", "0"), 16)
        if not identity:
            raise explained("board", "st-info", f"{said}\nunknown chip id", TROUBLES)
        return Chip(identity, int(probe.get("flash", "0").split()[0]), probe.get("serial"), "an ST-LINK")

    def read(self, address: int, n: int, count: Count) -> bytes:
        data = dumped(lambda path: self._call("verify", "read", str(path), f"0x{address:08x}", str(n)))
        count(n)
        return data

    def write(self, image: Image, count: Count) -> None:
        def on_line(line: str) -> None:
            pages = re.search(r"(\d+)/\s*(\d+) (?:pages|halfpages)? ?written", line)
            if pages:
                count(len(image.data) * int(pages[1]) // max(int(pages[2]), 1))

        with tempfile.TemporaryDirectory(prefix="spedge-") as folder:
            path = Path(folder) / "image.bin"
            path.write_bytes(image.data)
            run("write", self._command("write", str(path), f"0x{image.address:08x}"), on_line=on_line)
            count(len(image.data))

    def reset(self) -> None:
        self._call("reset", "reset")

    def _call(self, step: str, *arguments: str) -> str:
        return run(step, self._command(*arguments))

    def _command(self, *arguments: str) -> list[str]:
        serial = ["--serial", self.serial] if self.serial else []
        return ["st-flash", *serial, *arguments]


def _fields(part: str) -> dict[str, str]:
    """The `name: value` lines about one probe."""
    return {name: value.strip() for name, value in re.findall(r"(?m)^\s*([\w-]+):\s*(.*)$", part)}
