"""Models of a USART as the F4, and as the F7 and H7 have it, for tests/chips/stm32.py, without a core.

What it does not take is Wrong, as in parts.py: a line at another rate than its other end's, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar

from tests.chips.parts import Clocked, Gpio, Wrong


class Usart(Clocked):
    """pins: (port, number, function) of its two lines. out: where its bytes go. baud: of the other end; None: any.
    stop: (port, pin): while it is high the other end sends nothing. clock: seconds; where there is one a DMA gets bytes
    no faster than the line brings them."""

    REGISTERS: ClassVar[dict[int, int]] = {0x00: 0, 0x08: 0, 0x0C: 0, 0x1C: 0, 0x20: 0, 0x24: 0, 0x28: 0}
    #: Where registers are: CR1, CR3, BRR, ISR, ICR, RDR, TDR. ON: CR1's bits that have it receive.
    CONTROL, BY_DMA, RATE, STATUS, CLEAR, DATA_IN, DATA_OUT = 0x00, 0x08, 0x0C, 0x1C, 0x20, 0x24, 0x28
    ON = 1 << 0 | 1 << 2
    pins: tuple[tuple[Gpio, int, int], ...] = ()
    baud: int | None = None
    stop: tuple[Gpio, int] | None = None
    clock: Callable[[], float] | None = None
    irq = 0
    IDLE = 1 << 4
    AT_ONCE = 256  # bytes that one interrupt finds: between two the main loop gets on, as it does on a line

    def reset(self) -> None:
        super().reset()
        self.received: deque[int] = deque()
        self.allowance = self.AT_ONCE
        self.is_idle = False
        self.came, self.since = 0.0, 0.0  # bytes that the line has brought, but for those that were taken; until when
        self.out: Callable[[int], None] = getattr(self, "out", lambda _: None)

    def read(self, at: int) -> int:
        value = super().read(at)
        if at == self.STATUS:
            came = self.is_on and self.received and self.allowance
            return 0xC0 | self.IDLE * self.is_idle | (0x20 if came else 0)
        return self._byte() if at == self.DATA_IN else value

    @property
    def is_on(self) -> bool:
        return self.values[self.CONTROL] & self.ON == self.ON

    def _byte(self) -> int:
        if not self.received:
            return 0
        self._check()
        self.allowance -= 1
        return self.received.popleft()

    def write(self, at: int, value: int) -> None:
        super().write(at, value)
        if at == self.DATA_OUT:
            self._check()
            self.out(value & 0xFF)
        elif at == self.CLEAR and value & self.IDLE:
            self.is_idle = False

    def _check(self) -> None:
        for port, pin, function in self.pins:
            if port.function(pin) != function:
                raise Wrong(f"{self.name} is used, and pin {pin} of {port.name} is not its")
        if self.baud is not None and abs((rate := self._rate()) - self.baud) > 0.025 * self.baud:
            raise Wrong(f"{self.name} runs at {rate:.0f} baud, and its other end at {self.baud}")

    def _rate(self) -> float:
        """Baud."""
        divider = self.values[self.RATE]
        if self.has(self.CONTROL, 15):
            divider = (divider & ~15 | (divider & 7) << 1) >> 1
        return self.clocks.bus(self.name) / max(divider, 1)

    @property
    def by_dma(self) -> bool:
        return bool(self.values[self.BY_DMA] & 0x40) and self.is_on

    def take(self, n: int) -> bytes:
        """For a DMA: at most n bytes that have come. When there are no more, the line is idle."""
        if not self.received or (self.stop is not None and self.stop[0].is_high(self.stop[1])):
            return b""
        self._check()
        data = bytes(self.received.popleft() for _ in range(min(n, len(self.received), self._came(n))))
        self.is_idle = not self.received
        return data

    def _came(self, n: int) -> int:
        """How many of n bytes the line has brought by now."""
        if self.clock is None:
            return n
        now = self.clock()
        self.came = min(self.came + (now - self.since) * self._rate() / 10, self.AT_ONCE)
        self.since = now
        whole = min(n, int(self.came))
        self.came -= whole
        return whole

    @property
    def wants(self) -> bool:
        """Whether it asks for its interrupt."""
        control = self.values[self.CONTROL]
        return bool(
            control & 0x80 or (control & 0x24 == 0x24 and self.received) or (control & self.IDLE and self.is_idle)
        )


class UsartF4(Usart):
    """The older one, with one register for data in and out."""

    REGISTERS: ClassVar[dict[int, int]] = dict.fromkeys(range(0x00, 0x1C, 4), 0)
    CONTROL, BY_DMA, RATE, STATUS, DATA_IN, DATA_OUT = 0x0C, 0x14, 0x08, 0x00, 0x04, 0x04
    CLEAR = -1  # there is none: reading does it
    ON = 1 << 2 | 1 << 13
