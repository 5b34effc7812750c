"""Parts of an STM32F405, F746 and H743 as their manuals have them, without a core: what tests/chips/stm32.py maps.

A register that is not here is a failure, and so is one of a part that has no clock, a clock above its limit, flash read
too fast for its waits, a data cache switched on over what a reset left in it, a counter that is still locked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar


class Wrong(Exception):
    """What no chip would take, in a sentence."""


class Part:
    """Registers by offset, with their values after a reset; what is written is kept, if no method says otherwise."""

    REGISTERS: ClassVar[dict[int, int]] = {}

    def __init__(self, base: int, size: int = 0x400) -> None:
        self.base, self.size = base, size
        self.reset()

    def reset(self) -> None:
        self.values = dict(self.REGISTERS)

    def read(self, at: int) -> int:
        self._known(at)
        return self.values[at]

    def write(self, at: int, value: int) -> None:
        self._known(at)
        self.values[at] = value

    def _known(self, at: int) -> None:
        if at not in self.values:
            raise Wrong(f"there is no register 0x{self.base + at:08x}")

    def has(self, at: int, bit: int) -> bool:
        return bool(self.values[at] >> bit & 1)


def field(value: int, low: int, bits: int) -> int:
    return value >> low & ((1 << bits) - 1)


def divided(value: int, low: int, bits: int) -> int:
    """By a prescaler: the top bit says that it divides, the rest by which power of two; AHB's leaves out 32."""
    code = field(value, low, bits)
    if not code >> (bits - 1):
        return 1
    power = (code & ((1 << (bits - 1)) - 1)) + 1
    return 1 << (power + 1 if bits == 4 and power > 4 else power)


class Clocks(Part):
    """RCC with PWR and FLASH, which all have a say in how fast the core may be. Frequencies in Hz. dead: flags that
    never come, of hse, pll, voltage."""

    CR, CSR = 0x00, 0x74
    HSI = 16_000_000
    ENABLES: ClassVar[dict[tuple[int, int], str]] = {}
    RESET_BY_WATCHDOG, CLEAR = 29, 24

    def __init__(self, base: int, dead: set[str], crystal_hz: int, fed: bool) -> None:
        self.dead, self.crystal_hz, self.fed = dead, crystal_hz, fed
        self.power: Part
        self.flash: Part
        super().__init__(base)

    @property
    def hse_ready(self) -> bool:
        return self.has(self.CR, 16) and self.fed == self.has(self.CR, 18) and "hse" not in self.dead

    @property
    def pll_ready(self) -> bool:
        return self.has(self.CR, 24) and "pll" not in self.dead and self.pll() > 0

    def pll(self) -> int:
        raise NotImplementedError

    def usb(self) -> int:
        """Hz of the USB's clock, which is to be 48 MHz."""
        raise NotImplementedError

    def core(self) -> int:
        raise NotImplementedError

    def bus(self, part: str) -> int:
        raise NotImplementedError

    def limits(self) -> str | None:
        """What is too fast."""
        raise NotImplementedError

    def on(self, part: str) -> bool:
        return any(self.has(at, bit) for (at, bit), name in self.ENABLES.items() if name == part)

    def write(self, at: int, value: int) -> None:
        super().write(at, value)
        if at == self.CSR and value >> self.CLEAR & 1:
            self.values[at] &= ~(1 << self.RESET_BY_WATCHDOG)
        if wrong := self.limits():
            raise Wrong(wrong)


def _ports(register: int) -> dict[tuple[int, int], str]:
    return {(register, number): f"GPIO{letter}" for number, letter in enumerate("ABCDEFGHIJK")}


class ClocksF7(Clocks):
    REGISTERS: ClassVar[dict[int, int]] = {
        0x00: 0x83,
        0x04: 0x24003010,
        0x08: 0,
        0x30: 0x100000,
        0x34: 0,
        0x40: 0,
        0x44: 0,
        0x74: 0x0E000000,
    }
    ENABLES: ClassVar[dict[tuple[int, int], str]] = _ports(0x30) | {
        (0x30, 21): "DMA1", (0x30, 22): "DMA2", (0x34, 0): "DCMI", (0x40, 21): "I2C1",
        (0x34, 7): "OTG_FS",
        (0x40, 0): "TIM2", (0x40, 18): "USART3", (0x40, 28): "PWR", (0x44, 4): "USART1", (0x44, 5): "USART6",
    }  # fmt: skip

    def read(self, at: int) -> int:
        value = super().read(at)
        if at == 0x00:
            return value | 2 | self.hse_ready << 17 | self.pll_ready << 25
        return value | (value & 3) << 2 if at == 0x08 else value

    def pll(self) -> int:
        word = self.values[0x04]
        source = (self.crystal_hz if self.hse_ready else 0) if word >> 22 & 1 else self.HSI
        entry = source // max(field(word, 0, 6), 1)
        vco = entry * field(word, 6, 9)
        if source and not (950_000 <= entry <= 2_100_000 and 100_000_000 <= vco <= 432_000_000):
            raise Wrong(f"the PLL gets {entry} Hz and makes {vco} Hz of them")
        return vco // (2 * field(word, 16, 2) + 2)

    def usb(self) -> int:
        return self.pll() * (2 * field(self.values[0x04], 16, 2) + 2) // max(field(self.values[0x04], 24, 4), 1)

    def core(self) -> int:
        switch = field(self.values[0x08], 0, 2)
        if (switch == 2 and not self.pll_ready) or (switch == 1 and not self.hse_ready):
            raise Wrong("the core was switched to a clock that is not ready")
        source = (self.HSI, self.crystal_hz, self.pll() if switch == 2 else 0)[switch]
        return source // divided(self.values[0x08], 4, 4)

    def bus(self, part: str) -> int:
        return self.core() // divided(self.values[0x08], *((13, 3) if part in ("USART1", "USART6") else (10, 3)))

    def limits(self) -> str | None:
        core, waits = self.core(), field(self.flash.values[0], 0, 4)
        overdriven = self.power.read(4) >> 16 & 3 == 3
        if core > (216_000_000 if overdriven else 180_000_000):
            return f"the core runs at {core} Hz {'with' if overdriven else 'without'} overdrive"
        if core > (waits + 1) * 30_000_000:
            return f"flash has {waits} waits at {core} Hz"
        slow, fast = self.bus("USART3"), self.bus("USART1")
        return f"the buses run at {slow} and {fast} Hz" if slow > 54_000_000 or fast > 108_000_000 else None


class PowerF7(Part):
    REGISTERS: ClassVar[dict[int, int]] = {0x00: 0xC000, 0x04: 0}
    dead: frozenset[str] | set[str] = frozenset()

    def read(self, at: int) -> int:
        if at == 0x04 and "voltage" not in self.dead:
            wanted = self.values[0] >> 16 & 3
            return (wanted if wanted & 1 else 0) << 16
        return super().read(at)


class ClocksF4(ClocksF7):
    """An F405's, of which the voltage is that after a reset, high enough for all that it may be."""

    ENABLES: ClassVar[dict[tuple[int, int], str]] = {
        **{at: name for at, name in _ports(0x30).items() if at[1] < 9}, (0x34, 7): "OTG_FS",
        (0x40, 0): "TIM2", (0x40, 17): "USART2", (0x40, 28): "PWR", (0x44, 5): "USART6",
    }  # fmt: skip

    def limits(self) -> str | None:
        core, waits = self.core(), field(self.flash.values[0], 0, 3)
        most = 168_000_000 if self.power.values[0] >> 14 & 1 else 144_000_000
        if core > most:
            return f"the core runs at {core} Hz, and {most} is the most at its voltage"
        if core > (waits + 1) * 30_000_000:
            return f"flash has {waits} waits at {core} Hz"
        slow, fast = self.bus("USART2"), self.bus("USART6")
        return f"the buses run at {slow} and {fast} Hz" if slow > 42_000_000 or fast > 84_000_000 else None


class PowerF4(Part):
    REGISTERS: ClassVar[dict[int, int]] = {0x00: 0x4000, 0x04: 0x4000}
    dead: frozenset[str] | set[str] = frozenset()


class ClocksH7(Clocks):
    HSI = 64_000_000
    CSR, RESET_BY_WATCHDOG, CLEAR = 0xD0, 26, 16
    REGISTERS: ClassVar[dict[int, int]] = {
        0x00: 0x83, 0x10: 0, 0x18: 0, 0x1C: 0, 0x20: 0, 0x28: 0x02020200, 0x2C: 0x01FF0000, 0x30: 0x01010280,
        0x40: 0x01010280, 0x54: 0,
        0x100: 0x3E038023, 0xD0: 0x00FE0000, 0xD8: 0, 0xDC: 0, 0xE0: 0, 0xE8: 0, 0xF0: 0,
    }  # fmt: skip
    ENABLES: ClassVar[dict[tuple[int, int], str]] = _ports(0xE0) | {
        (0xD8, 0): "DMA1", (0xD8, 1): "DMA2", (0xDC, 0): "DCMI", (0xE8, 21): "I2C1", (0xD8, 27): "OTG_FS",
        (0xDC, 29): "SRAM1", (0xDC, 30): "SRAM2", (0xDC, 31): "SRAM3",
        (0xE8, 0): "TIM2", (0xE8, 18): "USART3", (0xF0, 4): "USART1", (0xF0, 5): "USART6",
    }  # fmt: skip

    def read(self, at: int) -> int:
        value = super().read(at)
        if at == 0x00:
            return value | 4 | self.hse_ready << 17 | self.pll_ready << 25 | self.has(0x00, 28) << 29
        return value | (value & 7) << 3 if at == 0x10 else value

    def pll(self) -> int:
        source = {0: self.HSI, 2: self.crystal_hz if self.hse_ready else 0}.get(field(self.values[0x28], 0, 2), 0)
        entry = source // max(field(self.values[0x28], 4, 6), 1)
        vco = entry * (field(self.values[0x30], 0, 9) + 1)
        low = 1_000_000 << field(self.values[0x2C], 2, 2)
        if source and not (low <= entry <= 2 * low and 192_000_000 <= vco <= 836_000_000):
            raise Wrong(f"the PLL gets {entry} Hz, of a range from {low} Hz, and makes {vco} Hz of them")
        return vco // (field(self.values[0x30], 9, 7) + 1) if self.has(0x2C, 16) else 0

    def usb(self) -> int:
        """By the third PLL."""
        source = {0: self.HSI, 2: self.crystal_hz if self.hse_ready else 0}.get(field(self.values[0x28], 0, 2), 0)
        entry = source // max(field(self.values[0x28], 20, 6), 1)
        vco = entry * (field(self.values[0x40], 0, 9) + 1)
        low = 1_000_000 << field(self.values[0x2C], 10, 2)
        if not (low <= entry <= 2 * low and 192_000_000 <= vco <= 836_000_000) or not self.power.read(0x0C) >> 26 & 1:
            raise Wrong(f"PLL3 gets {entry} Hz and makes {vco} Hz of them, or the USB has no supply")
        is_on = self.has(0x00, 28) and self.has(0x2C, 23) and field(self.values[0x54], 20, 2) == 2
        return vco // (field(self.values[0x40], 16, 7) + 1) * is_on

    def core(self) -> int:
        switch = field(self.values[0x10], 0, 3)
        if (switch == 3 and not self.pll_ready) or (switch == 2 and not self.hse_ready):
            raise Wrong("the core was switched to a clock that is not ready")
        source = {0: self.HSI, 2: self.crystal_hz, 3: self.pll() if switch == 3 else 0}[switch]
        return source // divided(self.values[0x18], 8, 4)

    def bus(self, part: str) -> int:
        axi = self.core() // divided(self.values[0x18], 0, 4)
        return axi // divided(self.values[0x1C], *((8, 3) if part in ("USART1", "USART6") else (4, 3)))

    def limits(self) -> str | None:
        core, acr = self.core(), self.flash.values[0]
        scale = field(self.power.values[0x18], 14, 2)
        if core > {3: 400_000_000, 2: 300_000_000}.get(scale, 200_000_000):
            return f"the core runs at {core} Hz at a voltage of scale {4 - scale}"
        axi = core // divided(self.values[0x18], 0, 4)
        if axi > (field(acr, 0, 4) + 1) * 70_000_000 or axi > 200_000_000:
            return f"flash has {field(acr, 0, 4)} waits at {axi} Hz"
        fast = max(self.bus("USART1"), self.bus("USART3"))
        return f"a bus runs at {fast} Hz" if fast > 100_000_000 else None


class PowerH7(Part):
    REGISTERS: ClassVar[dict[int, int]] = {0x04: 0x4000, 0x0C: 6, 0x18: 0x4000}
    dead: frozenset[str] | set[str] = frozenset()

    def read(self, at: int) -> int:
        value = super().read(at)
        if at == 0x0C:
            return value | (value >> 24 & 1) << 26
        return value | (1 << 13 if at in (0x04, 0x18) and "voltage" not in self.dead else 0)


class FlashF7(Part):
    """An F4's, too."""

    REGISTERS: ClassVar[dict[int, int]] = {0x00: 0}


class FlashH7(Part):
    REGISTERS: ClassVar[dict[int, int]] = {0x00: 0x37}


class Clocked(Part):
    """A part that is dead without its clock."""

    def __init__(self, base: int, name: str, clocks: Clocks) -> None:
        self.name, self.clocks = name, clocks
        super().__init__(base)

    def _known(self, at: int) -> None:
        super()._known(at)
        if not self.clocks.on(self.name):
            raise Wrong(f"{self.name} has no clock, and its register 0x{self.base + at:08x} is used")


class Gpio(Clocked):
    REGISTERS: ClassVar[dict[int, int]] = {0x00: 0, 0x04: 0, 0x08: 0, 0x0C: 0, 0x18: 0, 0x20: 0, 0x24: 0}

    def reset(self) -> None:
        super().reset()
        self.high: set[int] = set()

    def write(self, at: int, value: int) -> None:
        super().write(at, value)
        if at == 0x18:
            self.high |= {pin for pin in range(16) if value >> pin & 1}
            self.high -= {pin for pin in range(16) if value >> pin + 16 & 1}

    def is_high(self, pin: int) -> bool:
        """Whether it drives the pin high."""
        return field(self.values[0], 2 * pin, 2) == 1 and pin in self.high

    def function(self, pin: int) -> int | None:
        """The alternate function that the pin is given to."""
        if field(self.values[0], 2 * pin, 2) != 2:
            return None
        return field(self.values[0x20 + pin // 8 * 4], 4 * (pin % 8), 4)


class Timer(Clocked):
    REGISTERS: ClassVar[dict[int, int]] = {0x00: 0, 0x24: 0, 0x2C: 0xFFFFFFFF}


class Watchdog(Part):
    """IWDG. hurry: how many times as fast as a real one it runs."""

    REGISTERS: ClassVar[dict[int, int]] = {0x00: 0, 0x04: 0, 0x08: 0xFFF, 0x0C: 0}

    def __init__(self, base: int, now: Callable[[], float], hurry: float) -> None:
        self.now, self.hurry = now, hurry
        super().__init__(base)

    def reset(self) -> None:
        super().reset()
        self.deadline: float | None = None

    def write(self, at: int, value: int) -> None:
        if at != 0 and self.values[0] != 0x5555:
            raise Wrong("a register of the watchdog was written while it was locked")
        super().write(at, value)
        if value == 0xCCCC or (value == 0xAAAA and self.deadline is not None):
            seconds = (self.values[8] + 1) * (4 << self.values[4]) / 32_000
            self.deadline = self.now() + seconds / self.hurry

    @property
    def bites(self) -> bool:
        return self.deadline is not None and self.now() > self.deadline


class System(Part):
    """What is in the core's own space: NVIC, SysTick, SCB, MPU, caches, DWT. sets: of the data cache, of four ways; 0:
    a Cortex-M4, which has none, nor a lock before its counter."""

    OF_CACHES = (0xED80, 0xED84, 0xEF50, 0xEF60)

    REGISTERS: ClassVar[dict[int, int]] = {
        0x1000: 0, 0x1004: 0, 0x1FB0: 0, 0xE010: 0, 0xE014: 0, 0xE018: 0, 0xED08: 0, 0xED0C: 0, 0xED14: 0x40200,
        0xED28: 0, 0xED80: 0, 0xED84: 0, 0xED88: 0, 0xED94: 0, 0xED98: 0, 0xED9C: 0, 0xEDA0: 0, 0xEDFC: 0, 0xEF50: 0,
        0xEF60: 0, **dict.fromkeys((*range(0xE100, 0xE114, 4), *range(0xE180, 0xE194, 4)), 0),
    }  # fmt: skip

    def __init__(self, sets: int, now: Callable[[], float], clocks: Clocks) -> None:
        self.sets, self.now, self.clocks = sets, now, clocks
        self.restarts = 0
        super().__init__(0xE0000000, 0x100000)

    def reset(self) -> None:
        super().reset()
        if not self.sets:
            self.values = {at: value for at, value in self.values.items() if at not in self.OF_CACHES}
            self.values[0xED14] = 0x200
        self.unlocked, self.counted_from, self.next_tick = not self.sets, 0.0, 0.0
        self.clean: set[int] = set()
        self.regions: dict[int, tuple[int, int]] = {}
        self.wants_reset = False

    def read(self, at: int) -> int:
        if at == 0x1004:
            return int((self.now() - self.counted_from) * self.clocks.core()) & 0xFFFFFFFF if self._counts else 0
        if at == 0xED80:
            return (self.sets - 1) << 13 | 3 << 3 | 1
        return super().read(at)

    @property
    def _counts(self) -> bool:
        return self.unlocked and self.has(0x1000, 0) and self.has(0xEDFC, 24)

    def write(self, at: int, value: int) -> None:
        self._known(at)
        if 0xE100 <= at < 0xE180:
            value |= self.values[at]
        elif 0xE180 <= at < 0xE200:
            at, value = at - 0x80, self.values[at - 0x80] & ~value
        elif at == 0xED28:
            value = self.values[at] & ~value
        self.values[at] = value
        if at == 0x1FB0:
            self.unlocked = value == 0xC5ACCE55 or not self.sets
        elif at in (0x1000, 0x1004) and not self.unlocked:
            raise Wrong("the cycle counter is used, and locked")
        elif at in (0x1000, 0x1004):
            self.counted_from = self.now() - 1e-6
        elif at == 0xE010:
            self.next_tick = self.now()
        elif at == 0xEF60:
            self.clean.add(value)
        elif (
            at == 0xED14
            and value >> 16 & 1
            and self.clean != {w << 30 | s << 5 for w in range(4) for s in range(self.sets)}
        ):
            raise Wrong("the data cache was switched on and not all of its lines were invalid")
        elif at == 0xEDA0 and value & 1:
            bits = field(value, 1, 5) + 1
            base = self.values[0xED9C]
            if base & ((1 << bits) - 1):
                raise Wrong(f"an MPU region of {bits} bits begins at 0x{base:08x}")
            self.regions[self.values[0xED98]] = (base, value)
        elif at == 0xED0C:
            self.wants_reset = value >> 16 == 0x05FA and bool(value & 4)

    def is_uncached(self, first: int, last: int) -> bool:
        """Whether the MPU keeps these addresses out of the data cache: by the last region that has them."""
        found = False
        for number in sorted(self.regions):
            base, value = self.regions[number]
            if base <= first and last < base + (2 << field(value, 1, 5)):
                found = field(value, 16, 6) in (8, 12)  # TEX, S, C, B: normal memory, not cached
        return found and bool(self.values[0xED94] & 1)

    def enabled(self, irq: int) -> bool:
        return bool(self.values[0xE100 + irq // 32 * 4] >> irq % 32 & 1)

    @property
    def ticks(self) -> bool:
        """Whether SysTick asks for its exception."""
        if self.values[0xE010] & 3 != 3:
            return False
        period = (self.values[0xE014] + 1) / self.clocks.core()
        return self.now() - self.next_tick > period

    def ticked(self) -> None:
        self.next_tick = self.now()
