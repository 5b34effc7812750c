"""The USB controller of an STM32F405, F746 and H743, as a device without DMA: Synopsys' core, by the reference manuals.

Its other side has the names that usb_host.py's host asks for. What comes from there waits until the program has dealt
with what came before: a bus is slower than a core. A bus that is quiet, because the host sleeps or the cable is out,
holds what is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar

from tests.chips.parts import Clocked, Clocks, Gpio, Wrong, field

PACKET = 64
AHB, RESET, STATUS, MASK, RX_PEEK, RX_POP = 0x08, 0x10, 0x14, 0x18, 0x1C, 0x20
IN_MASK, OUT_MASK, ALL, ALL_MASK, EMPTY_MASK, CONTROL = 0x810, 0x814, 0x818, 0x81C, 0x834, 0x804
IN, OUT, OF_ENDPOINT = 0x900, 0xB00, 0x20
FLAGS, SIZE, ROOM = 0x08, 0x10, 0x18  # of an endpoint
FIFO, OF_FIFO = 0x1000, 0x1000
RX_LEVEL, SUSPENDED, BUS_RESET, ENUMERATED = 1 << 4, 1 << 11, 1 << 12, 1 << 13
IN_EVENT, OUT_EVENT, RESUMED = 1 << 18, 1 << 19, 1 << 31
ENABLE, DISABLE, SET_NAK, CLEAR_NAK = 1 << 31, 1 << 30, 1 << 27, 1 << 26
DONE, DISABLED, SETUP, FIFO_EMPTY = 1 << 0, 1 << 1, 1 << 3, 1 << 7
OUT_DATA, OUT_DONE, SETUP_DONE, SETUP_DATA = 2, 3, 4, 6  # what a word of the receiver's FIFO is about
SOFT_DISCONNECT = 2
OTG, RX_ROOM, TX_ROOM, PHY, SPEED = 0x00, 0x24, 0x28, 0x38, 0x808
SESSION = 1 << 6 | 1 << 7  # of OTG: there is a host, whatever a pin says; later cores have it
PHY_ON, BIT_21 = 1 << 16, 1 << 21  # bit 21: an F405 does not look at a pin for a host, others do
FLUSH_RX, FLUSH_TX, ALL_TX = 1 << 4, 1 << 5, 0x10
IS_SUSPENDED = 1


def _registers(endpoints: int, revision: int) -> dict[int, int]:
    plain = (OTG, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, RX_ROOM, TX_ROOM, PHY, 0x44, 0x4C, 0x50, 0x5C, 0xE00)
    found = dict.fromkeys(plain, 0)
    found |= {0x40: revision, 0x48: endpoints - 1 << 10, 0x800: 0, CONTROL: SOFT_DISCONNECT, SPEED: 3 << 1}
    found |= dict.fromkeys((IN_MASK, OUT_MASK, ALL_MASK, EMPTY_MASK), 0)
    found |= {0x104 + 4 * n: 0 for n in range(endpoints - 1)}
    found |= {base + OF_ENDPOINT * n + at: 0 for base in (IN, OUT) for n in range(endpoints) for at in (0, FLAGS, SIZE)}
    return found


class Otg(Clocked):
    """ENDPOINTS: in each direction. WORDS: of the memory that all FIFOs share."""

    REGISTERS: ClassVar[dict[int, int]] = _registers(6, 0x4F54330A)
    ENDPOINTS, WORDS = 6, 320
    irq = 0
    pins: tuple[tuple[Gpio, int, int], ...] = ()
    on_usb_enabled: Callable[[], None] | None = None
    on_reset_received: Callable[[], None] | None = None
    on_reset: Callable[[], None] | None = None
    on_endpoint_write: Callable[[int, bytes], None]
    on_endpoint_read: Callable[[int, int], None]

    def __init__(self, base: int, clocks: Clocks) -> None:
        super().__init__(base, "OTG_FS", clocks)
        self.size = FIFO + OF_FIFO * self.ENDPOINTS

    def reset(self) -> None:
        super().reset()
        self.received: deque[tuple[int, int, bytes]] = deque()
        self.words: deque[int] = deque()
        self.filled = [b""] * self.ENDPOINTS
        self.turns = [0] * self.ENDPOINTS  # a packet of one that is over is not sent any more
        self.held: set[int] = set()  # control registers of endpoints that say NAK
        self.quiet = False
        self.later: deque[Callable[[], None]] = deque()
        if self.on_reset:
            self.on_reset()

    # ---- the program's side ------------------------------------------------------------------------------------

    def _known(self, at: int) -> None:
        if at < FIFO and at not in (RX_PEEK, RX_POP, ALL) and at not in range(IN + ROOM, OUT, OF_ENDPOINT):
            super()._known(at)

    def read(self, at: int) -> int:
        if at >= FIFO:
            return self.words.popleft() if self.words else 0
        if at == RX_POP:
            return self._pop()
        if at == ALL:
            return sum(1 << n for n in range(self.ENDPOINTS) if self._in_flags(n) & self._in_mask(n)) | sum(
                1 << 16 + n for n in range(self.ENDPOINTS) if self._flags(OUT, n) & self.values[OUT_MASK]
            )
        if at in range(IN + ROOM, OUT, OF_ENDPOINT):
            return PACKET // 4 * (not self.filled[(at - IN) // OF_ENDPOINT])
        if at in range(IN + FLAGS, OUT, OF_ENDPOINT):
            return self._in_flags((at - IN) // OF_ENDPOINT)
        self._known(at)
        if at == RESET:
            return 1 << 31  # idle, and done with what it was told
        return self._status() if at == STATUS else self.values[at]

    def write(self, at: int, value: int) -> None:
        self._known(at)
        if at >= FIFO:
            self._fill((at - FIFO) // OF_FIFO, value)
        elif at == STATUS:
            self._clear(value & self.values[STATUS])
        elif at in range(IN + FLAGS, OUT, OF_ENDPOINT) or at in range(OUT + FLAGS, 0xE00, OF_ENDPOINT):
            self.values[at] &= ~value
        elif at in range(IN, OUT, OF_ENDPOINT) or at in range(OUT, 0xE00, OF_ENDPOINT):
            self._control(at, value)
        elif at == CONTROL:
            was, self.values[at] = self.values[at], value
            if was & SOFT_DISCONNECT and not value & SOFT_DISCONNECT:
                self._attach()
            elif value & SOFT_DISCONNECT and not was & SOFT_DISCONNECT and self.on_reset:
                self.on_reset()
        elif at == RESET:
            self._flush(value)
        else:
            self.values[at] = value

    def _flush(self, value: int) -> None:
        if value & FLUSH_RX:
            self.received.clear()
            self.words.clear()
        if value & FLUSH_TX:
            which = field(value, 6, 5)
            for n in range(self.ENDPOINTS) if which == ALL_TX else (which,):
                self._drop(n)

    def _drop(self, n: int) -> None:
        """What an endpoint was to send."""
        self.filled[n] = b""
        self.turns[n] += 1

    @property
    def wants(self) -> bool:
        """Its interrupt."""
        return bool(self.values[AHB] & 1 and self._status() & self.values[MASK])

    def _status(self) -> int:
        every = self.read(ALL) & self.values[ALL_MASK]
        return (
            self.values[STATUS]
            | RX_LEVEL * bool(self.received)
            | IN_EVENT * bool(every & 0xFFFF)
            | OUT_EVENT * bool(every >> 16)
        )

    def _flags(self, base: int, n: int) -> int:
        return self.values[base + OF_ENDPOINT * n + FLAGS]

    def _in_flags(self, n: int) -> int:
        return self._flags(IN, n) | FIFO_EMPTY * (not self.filled[n])

    def _in_mask(self, n: int) -> int:
        return self.values[IN_MASK] | FIFO_EMPTY * (self.values[EMPTY_MASK] >> n & 1)

    def _clear(self, flags: int) -> None:
        self.values[STATUS] &= ~flags
        if flags & BUS_RESET:
            self.values[STATUS] |= ENUMERATED
        elif flags & ENUMERATED and self.on_reset_received:
            self.later.append(self.on_reset_received)

    def _attach(self) -> None:
        for port, pin, function in self.pins:
            if port.function(pin) != function or field(port.values[0x0C], 2 * pin, 2):
                raise Wrong(f"{self.name} is used, and pin {pin} of {port.name} is not its, or pulled")
        if (hz := self.clocks.usb()) != 48_000_000:
            raise Wrong(f"{self.name} runs at {hz} Hz")
        if not self.values[PHY] & PHY_ON or not self._sees_a_host():
            raise Wrong(
                f"{self.name} attaches, and its transceiver is off, or waits for a pin to say that a host is there"
            )
        rooms = [self.values[RX_ROOM] & 0xFFFF] + [
            self.values[at] >> 16 for at in (TX_ROOM, *(0x104 + 4 * n for n in range(self.ENDPOINTS - 1)))
        ]
        if sum(rooms) > self.WORDS:
            raise Wrong(f"the FIFOs of {self.name} have {rooms} words of {self.WORDS}")
        if self.on_usb_enabled:
            self.later.append(self.on_usb_enabled)

    def _sees_a_host(self) -> bool:
        return not self.values[PHY] & BIT_21 and self.values[OTG] & SESSION == SESSION

    def _control(self, at: int, value: int) -> None:
        """Of an endpoint."""
        base = OUT if at >= OUT else IN
        n = (at - base) // OF_ENDPOINT
        was_enabled = self.values[at] & ENABLE
        is_held = at in self.held
        if value & (SET_NAK | CLEAR_NAK):
            (self.held.add if value & SET_NAK else self.held.discard)(at)
        self.values[at] = value & ~(ENABLE | DISABLE | SET_NAK | CLEAR_NAK) | was_enabled
        if value & DISABLE:
            self.values[at] &= ~ENABLE
            self.values[at + FLAGS] |= DISABLED
            if base == IN:
                self._drop(n)
        elif value & ENABLE and (not was_enabled or (is_held and value & CLEAR_NAK)):
            self.values[at] |= ENABLE
            size = field(self.values[at + SIZE], 0, 19)
            if base == OUT:
                self.later.append(lambda: self.on_endpoint_read(n, min(size, PACKET)))
            elif size == 0:
                self._send(n, b"")

    def _fill(self, n: int, word: int) -> None:
        at = IN + OF_ENDPOINT * n
        if not self.values[at] & ENABLE:
            raise Wrong(f"endpoint {n} is not enabled, and its FIFO is written")
        size = field(self.values[at + SIZE], 0, 19)
        self.filled[n] += word.to_bytes(4, "little")
        if len(self.filled[n]) >= min(size, PACKET):
            packet, self.filled[n] = self.filled[n][: min(size, PACKET)], b""
            packets = field(self.values[at + SIZE], 19, 10) - 1
            self.values[at + SIZE] = packets << 19 | size - len(packet)
            self._send(n, packet)

    def _send(self, n: int, packet: bytes) -> None:
        turn = self.turns[n]

        def sent() -> None:
            if turn == self.turns[n]:
                self._indicate_buffer_ready(n, False)
                self.later.append(lambda: self.on_endpoint_write(n, packet))

        self.later.append(sent)

    def _indicate_buffer_ready(self, n: int, out: bool) -> None:
        """A packet has been taken; a host that takes none puts that off."""
        at = (OUT if out else IN) + OF_ENDPOINT * n
        self.values[at] &= ~ENABLE
        self.values[at + FLAGS] |= DONE

    def _pop(self) -> int:
        if not self.received:
            return 0
        kind, n, data = self.received.popleft()
        padded = data + bytes(-len(data) % 4)
        self.words = deque(int.from_bytes(padded[i : i + 4], "little") for i in range(0, len(padded), 4))
        if kind == OUT_DONE:
            self._indicate_buffer_ready(n, True)
        elif kind == SETUP_DONE:
            self.values[OUT + FLAGS] |= SETUP
        return n | len(data) << 4 | kind << 17

    # ---- the host's side ---------------------------------------------------------------------------------------

    def work(self) -> bool:
        """The next thing on the bus, when the program has dealt with the one before; whether there was one."""
        if not self.later or self.wants or self.quiet:
            return False
        self.later.popleft()()
        return True

    def reset_device(self) -> None:
        """Of what was under way nothing comes any more."""
        self.quiet = False
        self.later.clear()
        self.values[SPEED] &= ~IS_SUSPENDED
        self.values[STATUS] |= BUS_RESET

    def suspend(self) -> None:
        """The bus is quiet, as it is without a cable, too: by its setting the chip sees a host, whatever there is."""
        self.quiet = True
        self.values[SPEED] |= IS_SUSPENDED
        self.values[STATUS] |= SUSPENDED

    def resume(self) -> None:
        self.quiet = False
        self.values[SPEED] &= ~IS_SUSPENDED
        self.values[STATUS] |= RESUMED

    def send_setup_packet(self, packet: bytes) -> None:
        self.later.append(lambda: self.received.extend(((SETUP_DATA, 0, packet), (SETUP_DONE, 0, b""))))

    def endpoint_read_done(self, n: int, data: bytes) -> None:
        self.later.append(lambda: self._finish_read(n, data))

    def _finish_read(self, n: int, data: bytes) -> None:
        at = OUT + OF_ENDPOINT * n + SIZE
        packets, size = field(self.values[at], 19, 10), field(self.values[at], 0, 19)
        self.values[at] = max(packets - 1, 0) << 19 | size - len(data)
        self.received.extend(((OUT_DATA, n, data), (OUT_DONE, n, b"")))


class OtgF4(Otg):
    REGISTERS: ClassVar[dict[int, int]] = _registers(4, 0x4F54281A)
    ENDPOINTS = 4

    def _sees_a_host(self) -> bool:
        return bool(self.values[PHY] & BIT_21)


class OtgH7(Otg):
    REGISTERS: ClassVar[dict[int, int]] = _registers(9, 0x4F54330A)
    ENDPOINTS, WORDS = 9, 1024
