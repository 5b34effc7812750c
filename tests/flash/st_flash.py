"""A double of st-flash and st-info 1.7, which are told apart by --probe, on a chip in the folder that CHIP names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.flash.chip import Chip, Cut, Protected


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def st_info(chip: Chip) -> None:
    about = chip.about
    if about.get("rights"):
        say("libusb: error [get_usbfs_fd] libusb couldn't open USB device, errno=13\nFound 0 stlink programmers")
        say("LIBUSB_ERROR_ACCESS")
    elif about.get("busy"):
        say("libusb: unable to claim interface: LIBUSB_ERROR_BUSY\nFound 0 stlink programmers")
    elif about.get("gone"):
        say("Found 0 stlink programmers")
    else:
        probes = about.get("serial", "066DFF51"), *about.get("others", ())
        say(f"Found {len(probes)} stlink programmers")
        for serial in probes:
            identity = 0 if about.get("dead") else about["id"]
            say(f"  version:    V2J37S26\n  serial:     {serial}\n  flash:      {about['size']} (pagesize: 16384)")
            say(f"  sram:       131072\n  chipid:     0x{identity:03x}\n  dev-type:   STM32H74x_H75x")


def st_flash(chip: Chip, arguments: list[str]) -> int:
    if "--version" in arguments:
        print("v1.7.0")
        return 0
    if arguments[0] == "--serial":
        assert arguments[1] == chip.about.get("serial", "066DFF51")
        arguments = arguments[2:]
    try:
        if arguments[0] == "write":
            path, address = Path(arguments[1]), int(arguments[2], 16)
            data = path.read_bytes()
            sectors = chip.sectors(address, len(data))
            for number in sectors:
                chip.erase(number)
            for done, number in enumerate(sectors, 1):
                at = number * chip.about["sector"]
                chip.program(address + at, data[at : at + chip.about["sector"]])
                print(f"\r  {done}/{len(sectors)} pages written", end="", file=sys.stderr)
            say("\nFlash written and verified! jolly good!")
        elif arguments[0] == "read":
            Path(arguments[1]).write_bytes(chip.read(int(arguments[2], 16), int(arguments[3])))
        else:
            assert arguments == ["reset"]
    except Cut:
        say("ERROR common.c: stlink_flash_write: send request failed: LIBUSB_ERROR_PIPE")
        return 255
    except Protected:
        say("ERROR flash_loader.c: Flash memory is write protected (WRPERR)")
        return 255
    return 0


if __name__ == "__main__":
    double = Chip(Path(os.environ["CHIP"]))
    if sys.argv[1] == "--probe":
        st_info(double)
    else:
        raise SystemExit(st_flash(double, sys.argv[1:]))
