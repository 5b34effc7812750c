"""Doubles of teensy_loader_cli 2.2 and esptool 5, told apart by their options, on a chip in the folder CHIP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.flash.chip import Chip, Cut


def end(text: str, code: int = 1) -> None:
    print(text)
    raise SystemExit(code)


def put(chip: Chip, address: int, data: bytes) -> None:
    for sector in chip.sectors(address, len(data)):
        chip.erase(sector)
    chip.program(address, data)


def from_hex(text: str) -> tuple[int, bytes]:
    upper, start, data = 0, None, b""
    for line in text.splitlines():
        record = bytes.fromhex(line[1:])
        assert sum(record) & 0xFF == 0 and len(record) == record[0] + 5
        if record[3] == 4:
            upper = int.from_bytes(record[4:6], "big") << 16
        elif record[3] == 0:
            address = upper + int.from_bytes(record[1:3], "big")
            start = address if start is None else start
            assert address == start + len(data)
            data += record[4:-1]
    assert start is not None
    return start, data


def teensy(chip: Chip, arguments: list[str]) -> None:
    if chip.about.get("rights"):
        end("Found device but unable to open")
    if chip.about.get("gone"):
        end("Unable to find HalfKay")
    try:
        put(chip, *from_hex(Path(arguments[-1]).read_text()))
    except Cut:
        end("Found HalfKay Bootloader\nProgramming...error writing to Teensy")
    end("Found HalfKay Bootloader\nProgramming.....\nBooting", 0)


def esptool(chip: Chip, arguments: list[str]) -> None:
    about = chip.about
    if arguments == ["version"]:
        end("esptool v5.6\n5.6", 0)
    assert arguments[:2] == ["--chip", "esp32s3"] and arguments[4] == "--after"
    verb, *rest = arguments[6:]
    if about.get("rights"):
        end(f"A fatal error occurred: Could not open {arguments[3]}, [Errno 13] Permission denied")
    if about.get("busy"):
        end(f"A fatal error occurred: Could not open {arguments[3]}, the port is busy or doesn't exist.")
    if about.get("gone"):
        end("A fatal error occurred: Failed to connect to ESP32-S3: No serial data received.")
    try:
        if verb == "flash-id":
            end(f"Chip type:          {about.get('esp', 'ESP32-S3')} (QFN56)\nDetected flash size: 4MB", 0)
        elif verb == "read-flash":
            Path(rest[2]).write_bytes(chip.read(int(rest[0], 16), int(rest[1])))
        elif verb == "write-flash":
            put(chip, int(rest[0], 16), Path(rest[1]).read_bytes())
            if about.get("flip") is not None:
                end("A fatal error occurred: MD5 of file does not match data in flash!", 2)
            print("Writing at 0x08000000... (50 %)\nWrote 40000 bytes\nHash of data verified.")
        else:
            assert verb == "chip-id" and arguments[5] == "hard-reset"
    except Cut:
        end("A fatal error occurred: The serial data stream stopped: Possible serial noise or corruption.", 2)


if __name__ == "__main__":
    double = Chip(Path(os.environ["CHIP"]))
    (teensy if sys.argv[1].startswith("--mcu=") else esptool)(double, sys.argv[1:])
