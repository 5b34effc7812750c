"""What the doubles of chips take for wrong, part by part; no core, no image."""

from __future__ import annotations

import math
import random
import struct

import pytest

from tests.chips import fpu, parts
from tests.chips.dwc2 import Otg, OtgF4
from tests.chips.parts import (
    ClocksF4,
    ClocksF7,
    ClocksH7,
    FlashF7,
    FlashH7,
    Gpio,
    PowerF4,
    PowerF7,
    PowerH7,
    System,
    Watchdog,
    Wrong,
)
from tests.chips.usart import Usart, UsartF4


def f7(dead: set[str] = frozenset(), crystal: int = 25_000_000, fed: bool = False) -> ClocksF7:  # type: ignore[assignment]
    clocks = ClocksF7(0x40023800, dead, crystal, fed)
    clocks.power, clocks.flash = PowerF7(0x40007000), FlashF7(0x40023C00)
    clocks.power.dead = dead
    return clocks


def h7() -> ClocksH7:
    clocks = ClocksH7(0x58024400, set(), 8_000_000, True)
    clocks.power, clocks.flash = PowerH7(0x58024800), FlashH7(0x52002000)
    return clocks


def fast_f7(clocks: ClocksF7, multiplier: int = 432) -> None:
    """216 MHz: crystal, PLL, overdrive, waits, buses, and the switch."""
    clocks.write(0x00, 0x83 | 1 << 16)
    clocks.write(0x04, 25 | 1 << 22 | multiplier << 6 | 9 << 24)
    clocks.write(0x00, 0x83 | 1 << 16 | 1 << 24)
    clocks.power.write(0, 0xC000 | 3 << 16)
    clocks.flash.write(0, 7)
    clocks.write(0x08, 5 << 10 | 4 << 13)
    clocks.write(0x08, 5 << 10 | 4 << 13 | 2)


def test_a_clock_within_its_limits() -> None:
    clocks = f7()
    fast_f7(clocks)
    assert (clocks.core(), clocks.bus("USART3"), clocks.bus("USART1")) == (216_000_000, 54_000_000, 108_000_000)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda clocks: clocks.power.write(0, 0xC000), "without overdrive"),
        (lambda clocks: clocks.flash.write(0, 6), "6 waits"),
        (lambda clocks: clocks.write(0x08, 4 << 10 | 4 << 13 | 2), "the buses run at 108000000"),
        (lambda clocks: clocks.write(0x00, 0x83 | 1 << 16), "not ready"),
        (lambda clocks: clocks.dead.add("pll"), "not ready"),
        (lambda clocks: clocks.write(0x04, 12 | 1 << 22 | 432 << 6), "the PLL gets 2083333 Hz"),
        (lambda clocks: clocks.write(0x04, 25 | 1 << 22 | 440 << 6), "makes 440000000 Hz"),
    ],
)
def test_a_clock_beyond_its_limits(spoil, says: str) -> None:
    clocks = f7(set())
    fast_f7(clocks)
    with pytest.raises(Wrong, match=says):
        spoil(clocks)
        clocks.write(0x30, 1)


def test_usb_gets_48_mhz_or_ends_it() -> None:
    f746 = f7()
    fast_f7(f746)
    assert f746.usb() == 48_000_000
    clocks = h7()
    clocks.write(0x00, 0x83 | 1 << 16 | 1 << 18)
    clocks.write(0x28, 2 | 2 << 20)
    clocks.write(0x2C, 2 << 10 | 1 << 23)
    clocks.write(0x40, 47 | 3 << 16)
    with pytest.raises(Wrong, match="the USB has no supply"):
        clocks.usb()
    clocks.power.write(0x0C, 2 | 1 << 24)
    assert clocks.usb() == 0
    clocks.write(0x00, 0x83 | 1 << 16 | 1 << 18 | 1 << 28)
    clocks.write(0x54, 2 << 20)
    assert clocks.usb() == 48_000_000


def test_a_usb_controller_wants_its_clock_its_pins_and_an_endpoint_that_is_enabled() -> None:
    clocks = f7()
    fast_f7(clocks)
    pins = Gpio(0x40020000, "GPIOA", clocks)
    usb = Otg(0x50000000, clocks)
    usb.pins = ((pins, 11, 10), (pins, 12, 10))
    with pytest.raises(Wrong, match="OTG_FS has no clock"):
        usb.write(0x804, 0)
    clocks.write(0x34, 1 << 7)
    clocks.write(0x30, 1)
    with pytest.raises(Wrong, match="pin 11 of GPIOA is not its"):
        usb.write(0x804, 0)
    usb.reset()
    pins.write(0x00, 2 << 22 | 2 << 24)
    pins.write(0x24, 10 << 12 | 10 << 16)
    usb.write(0x38, 1 << 16)
    with pytest.raises(Wrong, match="waits for a pin to say that a host is there"):
        usb.write(0x804, 0)
    usb.write(0x804, 2)
    usb.write(0x00, 3 << 6)
    usb.write(0x24, 321)
    with pytest.raises(Wrong, match=r"words of 320"):
        usb.write(0x804, 0)
    usb.write(0x804, 2)
    usb.write(0x24, 52)
    usb.write(0x804, 0)
    with pytest.raises(Wrong, match="endpoint 1 is not enabled"):
        usb.write(0x2000, 1)
    with pytest.raises(Wrong, match="no register"):
        usb.read(0x60)


def test_what_an_f405_has_otherwise() -> None:
    """Its limits, its USART's registers, its core without caches, a USB that is told to look at no pin."""
    clocks = ClocksF4(0x40023800, set(), 25_000_000, False)
    clocks.power, clocks.flash = PowerF4(0x40007000), FlashF7(0x40023C00)
    for at, value in (
        (0x00, 0x83 | 1 << 16),
        (0x04, 25 | 1 << 22 | 336 << 6 | 7 << 24),
        (0x00, 0x83 | 1 << 16 | 1 << 24),
    ):
        clocks.write(at, value)
    with pytest.raises(Wrong, match="flash has 0 waits at 168000000 Hz"):
        clocks.write(0x08, 5 << 10 | 4 << 13 | 2)
    clocks.flash.write(0, 5)
    clocks.write(0x08, 5 << 10 | 4 << 13 | 2)
    assert (clocks.bus("USART2"), clocks.bus("USART6"), clocks.usb()) == (42_000_000, 84_000_000, 48_000_000)
    with pytest.raises(Wrong, match="the buses run at 84000000 and 84000000"):
        clocks.write(0x08, 4 << 10 | 4 << 13 | 2)
    clocks.write(0x08, 5 << 10 | 4 << 13 | 2)
    clocks.power.write(0, 0)
    with pytest.raises(Wrong, match="144000000 is the most at its voltage"):
        clocks.write(0x40, 1 << 17)
    clocks.power.write(0, 1 << 14)
    clocks.write(0x40, 1 << 17)
    line = UsartF4(0x40004400, "USART2", clocks)
    line.baud = 115_200
    sent: list[int] = []
    line.out = sent.append
    line.write(0x08, 365)
    line.write(0x0C, 0x202C)
    line.write(0x04, 0x55)
    line.received.append(0x66)
    assert sent == [0x55] and line.wants and line.read(0x00) == 0xE0 and line.read(0x04) == 0x66 and not line.wants
    core = System(0, lambda: 0.0, clocks)
    core.write(0x1000, 1)
    with pytest.raises(Wrong, match="no register"):
        core.write(0xEF60, 0)
    clocks.write(0x34, 1 << 7)
    usb = OtgF4(0x50000000, clocks)
    usb.write(0x38, 1 << 16)
    usb.write(0x00, 3 << 6)
    with pytest.raises(Wrong, match="waits for a pin"):
        usb.write(0x804, 0)
    usb.write(0x804, 2)
    usb.write(0x38, 1 << 16 | 1 << 21)
    usb.write(0x804, 0)
    with pytest.raises(Wrong, match="no register"):
        usb.read(0x980)


def test_a_usb_bus_that_is_reset_forgets_what_was_under_way() -> None:
    """And one that is quiet holds it; a packet for an endpoint that says NAK is none."""
    clocks = f7()
    fast_f7(clocks)
    clocks.write(0x34, 1 << 7)
    usb = Otg(0x50000000, clocks)
    sent: list[bytes] = []
    usb.on_endpoint_write = lambda n, packet: sent.append(packet)
    usb.on_endpoint_read = lambda n, size: sent.append(b"room")

    def fill() -> None:
        usb.write(0x930, 1 << 19 | 4)
        usb.write(0x920, 1 << 31)
        usb.write(0x2000, 0x64636261)

    def work() -> list[bytes]:
        while usb.work():
            pass
        done, sent[:] = list(sent), []
        return done

    fill()
    usb.suspend()
    assert work() == [] and usb.read(0x808) & 1 and usb.read(0x14) & 1 << 11
    usb.resume()
    assert work() == [b"abcd"] and not usb.read(0x808) & 1 and usb.read(0x14) & 1 << 31
    fill()
    usb.write(0x10, 1 << 5 | 1 << 6)
    assert work() == []
    usb.write(0x920, 1 << 30)
    fill()
    usb.reset_device()
    assert work() == []
    usb.write(0xB30, 1 << 19 | 64)
    usb.write(0xB20, 1 << 31 | 1 << 26)
    assert work() == [b"room"]
    usb.write(0xB20, 1 << 31 | 1 << 27)
    assert work() == []
    usb.write(0xB20, 1 << 31 | 1 << 26)
    assert work() == [b"room"]


def test_a_clock_that_is_fed_is_no_crystal() -> None:
    for fed in (False, True):
        clocks = f7(set(), 8_000_000, fed)
        clocks.write(0x00, 0x83 | 1 << 16)
        assert bool(clocks.read(0x00) >> 17 & 1) == (not fed)
        clocks.write(0x00, 0x83 | 5 << 16)
        assert bool(clocks.read(0x00) >> 17 & 1) == fed


def test_the_voltage_of_a_fast_core() -> None:
    clocks = h7()
    clocks.power.write(0x18, 3 << 14)
    clocks.write(0x00, 0x83 | 5 << 16)
    for at, value in (
        (0x28, 2 << 4 | 2),
        (0x2C, 2 << 2 | 1 << 16),
        (0x30, 199 | 1 << 9),
        (0x00, 0x83 | 5 << 16 | 1 << 24),
    ):
        clocks.write(at, value)
    clocks.write(0x18, 8 | 4 << 4)
    clocks.write(0x1C, 4 << 4 | 4 << 8)
    clocks.write(0x10, 3)
    assert (clocks.core(), clocks.bus("USART3")) == (400_000_000, 100_000_000)
    clocks.power.write(0x18, 1 << 14)
    with pytest.raises(Wrong, match="400000000 Hz at a voltage of scale 3"):
        clocks.write(0x20, 0)


def test_registers_that_are_not_there_and_parts_without_a_clock() -> None:
    clocks = f7()
    with pytest.raises(Wrong, match="there is no register 0x40023838"):
        clocks.read(0x38)
    port = Gpio(0x40020000, "GPIOA", clocks)
    with pytest.raises(Wrong, match="GPIOA has no clock"):
        port.write(0, 1)
    clocks.write(0x30, 1)
    port.write(0, 2 << 18)
    port.write(0x24, 7 << 4)
    assert (port.function(9), port.function(8)) == (7, None)


@pytest.mark.parametrize(
    ("divider", "control", "good"),
    [(139, 0, True), (140, 0, True), (144, 0, False), (0x113, 0x8000, True), (0x113, 0, False)],
)
def test_the_rate_of_a_line(divider: int, control: int, good: bool) -> None:
    clocks = f7()
    clocks.write(0x44, 1 << 4)
    line = Usart(0x40011000, "USART1", clocks)
    line.baud = 115_200
    sent: list[int] = []
    line.out = sent.append
    line.write(0x0C, divider)
    line.write(0x00, 0x2D | control)
    if good:
        line.write(0x28, 0x155)
        assert sent == [0x55]
    else:
        with pytest.raises(Wrong, match="its other end at 115200"):
            line.write(0x28, 0x55)


def test_pins_that_are_not_the_lines() -> None:
    clocks = f7()
    clocks.write(0x44, 1 << 4)
    clocks.write(0x30, 1)
    line = Usart(0x40011000, "USART1", clocks)
    line.pins = ((Gpio(0x40020000, "GPIOA", clocks), 9, 7),)
    with pytest.raises(Wrong, match="pin 9 of GPIOA is not its"):
        line.write(0x28, 0)


def test_the_watchdog() -> None:
    now = [0.0]
    dog = Watchdog(0x40003000, lambda: now[0], hurry=1)
    now[0] = 1e6
    assert not dog.bites  # it was not started
    dog.write(0, 0xCCCC)
    with pytest.raises(Wrong, match="locked"):
        dog.write(4, 6)
    for at, value in ((0, 0x5555), (4, 6), (8, 0xFFF), (0, 0xAAAA)):
        dog.write(at, value)
    now[0] += 32
    assert not dog.bites
    dog.write(0, 0xAAAA)
    now[0] += 32
    assert not dog.bites
    now[0] += 1
    assert dog.bites


def test_the_core_s_own_registers() -> None:
    now = [0.0]
    core = System(32, lambda: now[0], f7())
    core.write(0xEDFC, 1 << 24)
    with pytest.raises(Wrong, match="locked"):
        core.write(0x1000, 1)
    core.write(0x1FB0, 0xC5ACCE55)
    core.write(0x1000, 1)
    now[0] = 1.0
    assert abs(core.read(0x1004) - 16_000_000) < 100
    with pytest.raises(Wrong, match="not all of its lines"):
        core.write(0xED14, 1 << 16)
    core.write(0xED9C, 0x2004F020)
    with pytest.raises(Wrong, match="8 bits begins at 0x2004f020"):
        core.write(0xEDA0, 7 << 1 | 1)
    core.write(0xE104, 1 << 5)
    core.write(0xE104, 1 << 7)
    core.write(0xE184, 1 << 5)
    assert (core.enabled(37), core.enabled(39)) == (False, True)
    core.write(0xED0C, 4)
    assert not core.wants_reset  # without its key
    core.write(0xED0C, 0x05FA0004)
    assert core.wants_reset


class Bank:
    """Registers for the arithmetic in double precision."""

    def __init__(self) -> None:
        self.bits, self.narrow, self.status, self.compared = [0] * 32, [0] * 32, 0, 0

    def d(self, number: int) -> int:
        return self.bits[number]

    def set_d(self, number: int, value: int) -> None:
        self.bits[number] = value

    def s(self, number: int) -> int:
        return self.narrow[number]

    def set_s(self, number: int, value: int) -> None:
        self.narrow[number] = value

    def flags(self) -> int:
        return self.status

    def set_float_flags(self, flags: int) -> None:
        self.compared = flags


#: As arm-none-eabi-as writes them, with d2 = d1 . d0 or one operand.
CODES = {
    "vmul.f64 d2, d1, d0": 0xEE212B00, "vadd.f64 d2, d1, d0": 0xEE312B00, "vsub.f64 d2, d1, d0": 0xEE312B40,
    "vdiv.f64 d2, d1, d0": 0xEE812B00, "vfma.f64 d2, d1, d0": 0xEEA12B00, "vfms.f64 d2, d1, d0": 0xEEA12B40,
    "vfnms.f64 d2, d1, d0": 0xEE912B00, "vmls.f64 d2, d1, d0": 0xEE012B40,
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("vmul.f64 d2, d1, d0", lambda d, n, m: n * m),
        ("vadd.f64 d2, d1, d0", lambda d, n, m: n + m),
        ("vsub.f64 d2, d1, d0", lambda d, n, m: n - m),
        ("vdiv.f64 d2, d1, d0", lambda d, n, m: n / m),
        ("vmls.f64 d2, d1, d0", lambda d, n, m: d - n * m),
    ],
)
def test_arithmetic_in_double_precision(code: str, expected) -> None:
    draw = random.Random(1)
    for _ in range(50):
        d, n, m = (draw.uniform(-1e6, 1e6) for _ in range(3))
        bank = Bank()
        bank.bits[:3] = (fpu.to_bits(value) for value in (m, n, d))
        assert fpu.run(CODES[code], bank)
        assert fpu.to_float(bank.bits[2]) == expected(d, n, m)


def test_a_fused_product_is_rounded_once() -> None:
    n = 1 + 2**-30
    bank = Bank()
    bank.bits[:3] = fpu.to_bits(n), fpu.to_bits(n), fpu.to_bits(-1.0 - 2**-29)
    assert fpu.run(CODES["vfma.f64 d2, d1, d0"], bank)
    assert fpu.to_float(bank.bits[2]) == 2.0**-60
    assert n * n - 1.0 - 2**-29 == 0.0


def test_what_is_no_number() -> None:
    assert math.isnan(fpu.quotient(0.0, 0.0)) and fpu.quotient(-1.0, 0.0) == -math.inf
    assert fpu.single(1e300) == int.from_bytes(struct.pack("<f", math.inf), "little")
    assert math.isnan(fpu.fused(math.nan, 1.0, 1.0))


def test_comparisons_conversions_and_what_is_none_of_these() -> None:
    bank = Bank()
    bank.bits[:3] = fpu.to_bits(-7.9), fpu.to_bits(2.5), fpu.to_bits(2.5)
    assert fpu.run(0xEEB42B41, bank) and bank.compared == 6  # vcmp.f64 d2, d1
    assert fpu.run(0xEEB40BC1, bank) and bank.compared == 8  # vcmpe.f64 d0, d1
    assert fpu.run(0xEEBD2BC0, bank) and bank.narrow[4] == 0xFFFFFFF9  # vcvt.s32.f64 s4, d0
    assert fpu.run(0xEEBC2BC0, bank) and bank.narrow[4] == 0  # vcvt.u32.f64 s4, d0
    assert fpu.run(0xEEB73BC1, bank) and bank.narrow[6] == 0x40200000  # vcvt.f32.f64 s6, d1
    assert fpu.run(0xEEB74AC3, bank) and fpu.to_float(bank.bits[4]) == 2.5  # vcvt.f64.f32 d4, s6
    bank.narrow[0] = 0xFFFFFFFE
    assert fpu.run(0xEEB85BC0, bank) and fpu.to_float(bank.bits[5]) == -2.0  # vcvt.f64.s32 d5, s0
    assert fpu.run(0xFEBB6B40, bank) and fpu.to_float(bank.bits[6]) == -8.0  # vrintm.f64 d6, d0
    bank.status = 4
    assert fpu.run(0xFE007B01, bank) and bank.bits[7] == bank.bits[0]  # vseleq.f64 d7, d0, d1
    for other in (0xEE212A00, 0xF3BF8F4F, 0xDEADBEEF):  # single precision, a barrier, none
        assert not fpu.run(other, bank)


def test_prescalers() -> None:
    assert parts.divided(0, 4, 4) == 1 and parts.divided(8 << 4, 4, 4) == 2 and parts.divided(0xC << 4, 4, 4) == 64
