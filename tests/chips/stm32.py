"""A double of an STM32 that runs an image as it is flashed: python -m tests.chips.stm32 f405|f746|h743 ELF OPTION...

Unicorn is its core; around it are the parts of parts.py and receivers.py. It is a program of its own, because Unicorn's
licence is the GPL: tests start it, and nothing imports it. Standard output: where the link and the camera port are, two
pseudo-terminals (a line each), then a line for each thing that happens: "clock HZ" (the core's), "reset", "watchdog",
"bootloader", "played PACKETS" (the sensor has sent all it had), and "stack BYTES" for each SIGUSR1: what was used so
far. It ends with status 1 and a sentence when something is used as no chip would have it.

Options: crystal=HZ, fed (the board feeds a clock in the place of a crystal), dead=NAME (a flag that never comes: hse,
pll, voltage), hurry=N (the watchdog runs N times as fast), frames=FILE (a GENX320 is at the frame port and sends these
packets: tests.chips.packets), slow=N (they come N times slower than they say, as this core is slower than the chip's;
by the time that this process gets), overrun=N (the receiver's memory overruns in the N-th of them), late=N (the N-th's
interrupt comes only when the next one is there, too), deaf=N (the sensor does not take the N-th word), usb (a USB host
is at the cable, usb_host.py: its port is a third line; standard input is then a word a line, as for pico.py).

Not modelled: what is in caches, what the MPU forbids, bytes lost on a line, cycles (the counter goes by this machine's
clock), an interrupt elsewhere than where a function begins.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_ARM, UC_HOOK_CODE, UC_HOOK_INSN_INVALID, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, UcError
from unicorn.arm_const import (
    UC_ARM_REG_D0,
    UC_ARM_REG_FPSCR,
    UC_ARM_REG_LR,
    UC_ARM_REG_PC,
    UC_ARM_REG_PRIMASK,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_R2,
    UC_ARM_REG_R3,
    UC_ARM_REG_R12,
    UC_ARM_REG_S0,
    UC_ARM_REG_SP,
    UC_ARM_REG_XPSR,
    UC_CPU_ARM_CORTEX_M4,
    UC_CPU_ARM_CORTEX_M7,
)
from unicorn.unicorn_const import UC_ERR_FETCH_UNMAPPED, UC_ERR_INSN_INVALID

from tests.chips import dwc2, fpu, parts, receivers
from tests.chips.chips import CHIPS, FLASH
from tests.chips.line import Line
from tests.chips.usart import Usart, UsartF4
from tests.chips.usb_host import Host, say

PAD = 0x1FFE0000  # where handlers return to
HARD_FAULT, TICK, FIRST_IRQ = 3, 15, 16
LOOK_SECONDS = 0.25  # a program that neither calls a function nor uses a register for so long is looked at
LOOK_EVERY = 256  # calls, at the timer
PACKETS_AT_ONCE = 16  # of the sensor, before the main loop goes on
WFI = b"\x30\xbf"
FOREVER = b"\xfe\xe7"
PUSHED = (UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2, UC_ARM_REG_R3, UC_ARM_REG_R12, UC_ARM_REG_LR, UC_ARM_REG_PC)
BUS_FAULT, FETCH_FAULT, UNDEFINED = 1 << 9 | 1 << 15, 1 << 8, 1 << 16
REGIONS = (
    (0x40000000, 0x30000),
    (0x40080000, 0x10000),
    (0x48000000, 0x30000),
    (0x50000000, 0x60000),
    (0x52000000, 0x10000),
    (0x58000000, 0x30000),
    (0xE0000000, 0x100000),
)
UNUSED = b"\xa5"  # stack
UNIQUE_ID = bytes(range(1, 13))


class FloatRegisters:
    """The core's, for tests.chips.fpu."""

    def __init__(self, uc: Any) -> None:
        self.uc = uc

    def d(self, number: int) -> int:
        return int(self.uc.reg_read(UC_ARM_REG_D0 + number))

    def set_d(self, number: int, value: int) -> None:
        self.uc.reg_write(UC_ARM_REG_D0 + number, value)

    def s(self, number: int) -> int:
        return int(self.uc.reg_read(UC_ARM_REG_S0 + number))

    def set_s(self, number: int, value: int) -> None:
        self.uc.reg_write(UC_ARM_REG_S0 + number, value)

    def flags(self) -> int:
        return int(self.uc.reg_read(UC_ARM_REG_XPSR)) >> 28

    def set_float_flags(self, flags: int) -> None:
        self.uc.reg_write(UC_ARM_REG_FPSCR, self.uc.reg_read(UC_ARM_REG_FPSCR) & 0x0FFFFFFF | flags << 28)


class Stm32:
    def __init__(self, chip: str, elf: Path, crystal: int = 25_000_000, fed: bool = False, **options: Any) -> None:
        about = CHIPS[chip]
        dead: set[str] = options.get("dead", set())
        self.about, self.problem, self.in_fault = about, "", False
        self.in_handler, self.idle = False, 0.0
        self.clocks: parts.Clocks = about["clocks"][0](about["clocks"][1], dead, crystal, fed)
        self.clocks.power = about["power"][0](about["power"][1])
        self.clocks.power.dead = dead
        self.clocks.flash = about["flash"][0](about["flash"][1])
        gpio = {
            letter: parts.Gpio(about["gpio"] + 0x400 * number, f"GPIO{letter}", self.clocks)
            for number, letter in enumerate("ABCDEFGHIJK")
        }
        self.lines = []
        for name, at, irq, pins in (about["link"], about["camera"]):
            usart = (UsartF4 if chip == "f405" else Usart)(at, name, self.clocks)
            usart.irq, usart.pins = irq, tuple((gpio[port], pin, function) for port, pin, function in pins)
            self.lines.append(Line(usart))
        self.lines[0].usart.baud = 115_200
        port, pin = about["stop"]
        self.lines[1].usart.stop, self.lines[1].usart.clock = (gpio[port], pin), self.busy
        self.watchdog = parts.Watchdog(about["watchdog"], time.perf_counter, float(options.get("hurry", 1)))
        self.system = parts.System(about["sets"], time.perf_counter, self.clocks)
        self._receive(gpio, options)
        self.usb = {"f405": dwc2.OtgF4, "f746": dwc2.Otg, "h743": dwc2.OtgH7}[chip](about["usb"][0], self.clocks)
        self.usb.irq, self.usb.pins = about["usb"][1], tuple((gpio["A"], pin, 10) for pin in (11, 12))
        self.host = Host(self.usb) if "usb" in options else None
        self.parts: list[parts.Part] = [
            self.clocks, self.clocks.power, self.clocks.flash, *gpio.values(), self.watchdog, self.system,
            parts.Timer(0x40000000, "TIM2", self.clocks), *(line.usart for line in self.lines), *self.dmas,
            *([self.mux] if self.mux else []), *([self.dcmi, self.i2c] if about["dcmi"] else []), self.usb,
        ]  # fmt: skip
        self.uc: Any = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M7 if about["sets"] else UC_CPU_ARM_CORTEX_M4)
        self.uc.hook_add(UC_HOOK_INSN_INVALID, self._undefined)
        self.registers = FloatRegisters(self.uc)
        self.doubles = 0
        for dma in self.dmas:
            dma.memory = self.uc
        self._map(elf)
        self.news = threading.Event()
        self.attention, self.calls, self.uses = False, 0, 0
        self.words: deque[str] = deque()
        threading.Thread(target=self._hear, daemon=True).start()
        threading.Thread(target=self._look, daemon=True).start()
        if self.host:
            threading.Thread(target=self._obey, daemon=True).start()

    def _receive(self, gpio: dict[str, parts.Gpio], options: dict[str, Any]) -> None:
        """What receives a camera, and the camera."""
        about, clocks = self.about, self.clocks
        self.mux = receivers.DmaMux(about["mux"], "DMA2", clocks) if about["mux"] else None
        self.dmas = tuple(
            receivers.Dma(at, name, clocks, requests, about["reach"], irqs, self.system, self.mux)
            for (at, irqs), requests, name in zip(about["dma"], about["requests"], ("DMA1", "DMA2"), strict=False)
        )
        at, pins = about["dcmi"] or (0, ())
        self.dcmi = receivers.Dcmi(at, "DCMI", clocks, self.dmas)
        self.dcmi.pins = tuple((gpio[port], pin, 13) for port, pin in pins)
        self.dcmi.overruns, self.late = set(options.get("overrun", ())), set(options.get("late", ()))
        self.i2c = receivers.I2c(0x40005400, "I2C1", clocks)
        self.i2c.pins = tuple((gpio["B"], pin, 4) for pin in (8, 9))
        self.sensor: receivers.Genx320 | None = None
        if "frames" in options:
            slow = float(options.get("slow", 1))
            deaf = int(options.get("deaf", 0))
            self.sensor = receivers.Genx320(Path(options["frames"]), lambda: self.busy() / slow, deaf)
            self.i2c.device = self.sensor
        self.told_played = False

    def _map(self, elf: Path) -> None:
        for address, size in (*self.about["memories"], (PAD, 0x1000)):
            self.uc.mem_map(address, size)
        for base, size in REGIONS:
            self.uc.mmio_map(base, size, self._read, base, self._write, base)
        self.uc.mem_write(self.about["unique_id"], UNIQUE_ID)
        bootloader = self.about["bootloader"]
        self.uc.mem_write(
            bootloader, (0x20001000).to_bytes(4, "little") + (bootloader + 9).to_bytes(4, "little") + FOREVER
        )
        self.uc.hook_add(UC_HOOK_CODE, self._bootloader, begin=bootloader + 8, end=bootloader + 8)
        with elf.open("rb") as stream:
            file = ELFFile(stream)
            for segment in file.iter_segments("PT_LOAD"):
                if segment["p_filesz"]:
                    self.uc.mem_write(segment["p_paddr"], segment.data())
            table: Any = file.get_section_by_name(".symtab")
            functions = {s["st_value"] & ~1 for s in table.iter_symbols() if s["st_info"]["type"] == "STT_FUNC"}
            self.stack = [table.get_symbol_by_name(f"link_stack_{end}")[0]["st_value"] for end in ("bottom", "top")]
            (idle,) = table.get_symbol_by_name("port_idle")
        for at in functions:  # where an interrupt may come: Unicorn cannot be stopped at a load or store of a register
            self.uc.hook_add(UC_HOOK_CODE, self._called, begin=at, end=at)
        at = idle["st_value"] & ~1
        code = bytes(self.uc.mem_read(at, idle["st_size"]))
        assert code.count(WFI) == 1
        self.wfi = at + code.index(WFI)
        self.uc.hook_add(UC_HOOK_CODE, self._sleep, begin=self.wfi, end=self.wfi)

    # ---- running -----------------------------------------------------------------------------------------------

    def run(self) -> str:
        """Until something is wrong: what."""
        bottom, top = self.stack
        self.uc.mem_write(bottom, UNUSED * (top - bottom))
        self.reset()
        while not self.problem:
            self._go()
            if self.watchdog.bites:
                say("watchdog")
                self.reset()
                self.clocks.values[self.clocks.CSR] |= 1 << self.clocks.RESET_BY_WATCHDOG
            elif self.system.wants_reset:
                say("reset")
                self.reset()
            elif not self.in_fault:
                self._interrupts()
                for _ in range(PACKETS_AT_ONCE):
                    if not self._feed() or self.in_fault or self.problem:
                        break
                    self._interrupts()
        return self.problem

    def _feed(self) -> bool:
        """Whether something has come that an interrupt is to tell."""
        if self.in_handler:
            return False
        try:
            lines = [receivers.receive(line.usart, self.dmas) for line in self.lines]
            while self.words:
                self._tell(self.words.popleft())
            if self.host:
                self.host.serve()
            return self.usb.work() or self._sense() or any(lines)
        except parts.Wrong as error:
            self._wrong(error)
            return False

    def _tell(self, word: str) -> None:
        """What the one at the other end of the cable does."""
        assert self.host
        if word in ("deaf", "hears"):
            self.host.hears = word == "hears"
        elif word in ("suspend", "unplug"):
            self.host.plugged = word == "suspend" and self.host.plugged
            self.host.asleep = word == "suspend"
            if word == "unplug":
                self.host.forget()
            self.usb.suspend()
        elif word == "resume":
            self.host.asleep = False
            self.usb.resume()
        elif word == "plug":
            self.host.plugged = True
            self.usb.reset_device()
        else:
            raise parts.Wrong(f"{word!r} is no word for it")

    def _sense(self) -> bool:
        """Whether the sensor has sent a packet. One at a time: its interrupt comes, and is over, before the next."""
        if self.sensor is None or self.dcmi.pending():
            return False
        number, packet = self.sensor.sent, self.sensor.due()
        if packet is not None:
            self.dcmi.packet(number, packet, self.sensor.blanks)
        if packet is not None and number in self.late and (after := self.sensor.due(at_once=True)) is not None:
            self.dcmi.packet(number + 1, after, self.sensor.blanks)
        if self.sensor.has_played != self.told_played:
            self.told_played = self.sensor.has_played
            if self.told_played:
                say(f"played {self.sensor.sent}")
        return packet is not None

    def stack_used(self, *_: object) -> None:
        """For a signal."""
        bottom, top = self.stack
        content = bytes(self.uc.mem_read(bottom, top - bottom))
        say(f"stack {len(content.lstrip(UNUSED))}")

    def reset(self) -> None:
        """RAM stays as it is."""
        self.hz = self.clocks.HSI
        for part in self.parts:
            part.reset()
        self.in_fault = self.in_handler = False
        stack, start = (int.from_bytes(self.uc.mem_read(FLASH + 4 * i, 4), "little") for i in (0, 1))
        self.uc.reg_write(UC_ARM_REG_PRIMASK, 0)
        self.uc.reg_write(UC_ARM_REG_SP, stack)
        self.uc.reg_write(UC_ARM_REG_PC, start)

    def _go(self, count: int = 0) -> None:
        try:
            self.uc.emu_start(self.uc.reg_read(UC_ARM_REG_PC) | 1, PAD, 0, count)
        except UcError as error:
            self._fault(error)

    def _fault(self, error: UcError) -> None:
        if self.in_fault:
            self.problem = self.problem or f"{error} in the handler of a fault"
            return
        self.in_fault = True
        cause = {UC_ERR_FETCH_UNMAPPED: FETCH_FAULT, UC_ERR_INSN_INVALID: UNDEFINED}.get(error.errno, BUS_FAULT)
        self.system.values[0xED28] |= cause
        frame = [self.uc.reg_read(register) for register in (*PUSHED, UC_ARM_REG_XPSR)]
        stack = (self.uc.reg_read(UC_ARM_REG_SP) & ~7) - 32
        self.uc.mem_write(stack, b"".join(word.to_bytes(4, "little") for word in frame))
        self.uc.reg_write(UC_ARM_REG_SP, stack)
        self.uc.reg_write(UC_ARM_REG_LR, 0xFFFFFFF9)
        self.uc.reg_write(UC_ARM_REG_PC, self._handler(HARD_FAULT))

    def _undefined(self, *_: object) -> bool:
        """Whether it was an instruction in double precision, which is done now."""
        at = self.uc.reg_read(UC_ARM_REG_PC)
        low, high = (int.from_bytes(self.uc.mem_read(at + i, 2), "little") for i in (2, 0))
        if not self.about["doubles"] or not fpu.run(high << 16 | low, self.registers):
            return False
        self.doubles += 1
        status = self.uc.reg_read(UC_ARM_REG_XPSR)
        block = status >> 25 & 3 | (status >> 10 & 0x3F) << 2
        if block:  # of an IT instruction: this was one of those that it leads
            block = block & 0xE0 | block << 1 & 0x1F if block & 7 else 0
            status = status & ~(3 << 25 | 0x3F << 10) | (block & 3) << 25 | (block >> 2) << 10
            self.uc.reg_write(UC_ARM_REG_XPSR, status)
        self.uc.reg_write(UC_ARM_REG_PC, at + 4 | 1)
        return True

    def _handler(self, exception: int) -> int:
        return int.from_bytes(self.uc.mem_read(self.system.values[0xED08] + 4 * exception, 4), "little")

    def _dues(self) -> list[int]:
        """The numbers of exceptions that wait to be taken."""
        wanting = [line.usart.irq for line in self.lines if line.usart.wants]
        wanting += [irq for dma in self.dmas for irq in dma.wants()] + [self.dcmi.irq] * self.dcmi.wants
        wanting += [self.usb.irq] * self.usb.wants
        return [FIRST_IRQ + irq for irq in wanting if self.system.enabled(irq)] + [TICK] * self.system.ticks

    def _interrupts(self) -> None:
        for due in self._dues():
            while self.uc.reg_read(UC_ARM_REG_PRIMASK) and not self.problem:
                self._go(count=1)
            if due == TICK:
                self.system.ticked()
            before = self.uc.context_save()
            self.uc.reg_write(UC_ARM_REG_LR, PAD | 1)
            self.uc.reg_write(UC_ARM_REG_PC, self._handler(due))
            self.in_handler = True
            while self.uc.reg_read(UC_ARM_REG_PC) != PAD and not self.problem:
                self._go()
                if self.in_fault:
                    return
            self.in_handler = False
            self.uc.context_restore(before)
            for line in self.lines:
                line.usart.allowance = line.usart.AT_ONCE

    def _called(self, *_: object) -> None:
        self.calls += 1
        if self.attention or self.calls % LOOK_EVERY == 0:
            self.attention = False
            self._feed()
            if self._dues() or self.watchdog.bites:
                self.uc.emu_stop()

    def _sleep(self, *_: object) -> None:
        """WFI ends when an exception waits, masked or not."""
        self.news.clear()
        while not self._dues() and not self.watchdog.bites:
            if self._feed():
                continue
            before = time.perf_counter()
            self.news.wait(0.001 if self.sensor or self.host or self.lines[1].usart.received else 0.01)
            self.idle += time.perf_counter() - before
            self.news.clear()
        self.uc.reg_write(UC_ARM_REG_PC, self.wfi + len(WFI) | 1)
        self.uc.emu_stop()

    def busy(self) -> float:
        """Seconds of this process, and those that its core slept: a clock that a machine with much to do does not
        hurry."""
        return time.process_time() + self.idle

    def _bootloader(self, *_: object) -> None:
        say("bootloader")
        self.problem = "the bootloader was entered"
        self.uc.emu_stop()

    def _hear(self) -> None:
        """A thread of its own, which ends the core's slice when bytes come."""
        by_fd = {line.fd: line for line in self.lines}
        while True:
            for fd in select.select(list(by_fd), [], [])[0]:
                usart = by_fd[fd].usart
                while len(usart.received) > 1 << 16:
                    time.sleep(0.001)
                usart.received.extend(os.read(fd, 4096))
            self.attention = True
            self.news.set()

    def _obey(self) -> None:
        """Another one, for the words."""
        for line in sys.stdin:
            self.words.append(line.strip())
            self.attention = True
            self.news.set()

    def _look(self) -> None:
        """Stop a program that hangs. Not at a register's load or store, which Unicorn would do twice."""
        before = None
        while True:
            time.sleep(LOOK_SECONDS)
            if before == (now := (self.calls, self.uses)):
                self.uc.emu_stop()
            before = now

    # ---- registers ---------------------------------------------------------------------------------------------

    def _part(self, address: int) -> parts.Part:
        for part in self.parts:
            if part.base <= address < part.base + part.size:
                return part
        raise parts.Wrong(f"there is nothing at 0x{address:08x}")

    def _read(self, _: Uc, offset: int, __: int, base: int) -> int:
        self.uses += 1
        try:
            part = self._part(base + offset)
            return part.read(base + offset - part.base)
        except parts.Wrong as error:
            self._wrong(error)
            return 0

    def _write(self, _: Uc, offset: int, __: int, value: int, base: int) -> None:
        self.uses += 1
        try:
            part = self._part(base + offset)
            part.write(base + offset - part.base, value)
        except parts.Wrong as error:
            self._wrong(error)
            return
        self.attention = True
        if isinstance(part, parts.Clocks) and self.hz != part.core():
            self.hz = part.core()
            say(f"clock {self.hz}")
        if self.system.wants_reset:
            self.uc.emu_stop()

    def _wrong(self, error: parts.Wrong) -> None:
        self.problem = self.problem or f"at 0x{self.uc.reg_read(UC_ARM_REG_PC):08x}: {error}"
        self.uc.emu_stop()


def main(chip: str, elf: str, *given: str) -> int:
    options: dict[str, Any] = {"dead": {option[5:] for option in given if option.startswith("dead=")}}
    for name in ("overrun", "late"):
        options[name] = [int(option.partition("=")[2]) for option in given if option.startswith(f"{name}=")]
    for option in given:
        name, _, value = option.partition("=")
        if name == "frames":
            options[name] = value
        elif name not in ("dead", "overrun", "late"):
            options[name] = float(value) if name in ("hurry", "slow") else int(value or "1")
    double = Stm32(chip, Path(elf), **options)
    for line in double.lines:
        say(line.path)
    if double.host:
        say(double.host.path)
    signal.signal(signal.SIGUSR1, double.stack_used)
    print(double.run(), file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
