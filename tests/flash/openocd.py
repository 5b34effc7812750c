"""A double of OpenOCD 0.12: it does what -c says, in its words, on a chip in the folder that CHIP names."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.flash.chip import Chip, Cut, Protected


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> None:
    say(text)
    raise SystemExit(1)


class OpenOcd:
    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.serial: str | None = None

    def do(self, command: str) -> None:
        name, _, rest = command.partition(" ")
        if command == "init":
            self.init()
        elif name in ("gdb_port", "reset", "shutdown", "adapter"):
            if command.startswith("adapter serial "):
                self.serial = command.split()[2]
        elif name in ("mdw", "mdh"):
            address = int(rest, 16)
            say(f"0x{address:08x}: {self.chip.word(address):0{8 if name == 'mdw' else 4}x} ")
        elif name == "dump_image":
            path, start, size = _file(rest)
            data = self.chip.read(int(start, 16), int(size))
            path.write_bytes(data)
            say(f"dumped {len(data)} bytes in 0.05s (100.0 KiB/s)")
        elif command.startswith("flash erase_address pad "):
            start, n = command.split()[3:]
            for sector in self.chip.sectors(int(start, 16), int(n)):
                self.chip.erase(sector)
        elif command.startswith("flash write_image "):
            path, start, kind = _file(command.removeprefix("flash write_image "))
            assert kind == "bin"
            self.chip.program(int(start, 16), path.read_bytes())
            say(f"wrote {path.stat().st_size} bytes from file {path} in 0.1s (100 KiB/s)")
        elif name == "echo":
            say(rest.strip("{}"))
        else:
            fail(f'invalid command name "{name}"')

    def init(self) -> None:
        about = self.chip.about
        if about.get("rights"):
            fail("Error: libusb_open() failed with LIBUSB_ERROR_ACCESS\nError: open failed")
        if about.get("busy"):
            fail("Error: libusb_claim_interface() failed with LIBUSB_ERROR_BUSY\nError: open failed")
        if about.get("gone") or (self.serial and self.serial != about.get("serial")):
            fail("Error: open failed")
        if about.get("dead"):
            fail("Info : Target voltage: 0.012\nError: init mode failed (unable to connect to the target)")


def _file(rest: str) -> tuple[Path, str, str]:
    found = re.fullmatch(r"\{(.*)\} (\S+) (\S+)", rest)
    assert found
    return Path(found[1]), found[2], found[3]


def main(arguments: list[str]) -> None:
    say("Open On-Chip Debugger 0.12.0\nLicensed under GNU GPL v2")
    if "--version" in arguments:
        return
    chip = OpenOcd(Chip(Path(os.environ["CHIP"])))
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    assert ("-f", "board/double.cfg") in pairs
    try:
        for option, value in pairs:
            if option == "-c":
                chip.do(value)
    except Cut:
        fail("Error: jtag status contains invalid mode value - communication failure")
    except Protected:
        fail("Error: cannot erase protected sector\nError: failed erasing sectors 0 to 3")


if __name__ == "__main__":
    main(sys.argv[1:])
