"""What receives a camera on an STM32F746 or H743, as their reference manuals have it: DMA, its multiplexer, DCMI, I2C;
and the sensor at their other end. No core; what they do not take is Wrong, as in parts.py."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from tests.chips.parts import Clocked, Clocks, Gpio, System, Wrong, field
from tests.chips.usart import Usart

REPOSITORY = Path(__file__).resolve().parents[2]
PACKET_BYTES, FRAME_PACKETS = 1024, 320


class Memory(Protocol):
    """Where a DMA writes: the chip's memories."""

    def mem_write(self, address: int, data: bytes) -> None: ...


class Reach(NamedTuple):
    """Memory that a DMA reaches. clocks: that it needs. cached: whether the core's data cache holds it, where the MPU
    does not say otherwise."""

    base: int
    size: int
    cached: bool
    clocks: tuple[str, ...] = ()


class Dma(Clocked):
    """DMA1 or DMA2. requests: of a stream's channel, or of the multiplexer's number: the peripheral's register that it
    reads, and bytes of an item. reach: memories. mux: None where the channels are wired."""

    REGISTERS: ClassVar[dict[int, int]] = dict.fromkeys(range(0, 0xD0, 4), 0)  # FCR is not used
    FULL, HALF = 5, 4

    def __init__(
        self, base: int, name: str, clocks: Clocks, requests: dict[tuple[int, int], tuple[int, int]],
        reach: tuple[Reach, ...], irqs: tuple[int, ...], core: System, mux: DmaMux | None = None,
    ) -> None:  # fmt: skip
        self.requests, self.reach, self.irqs, self.core, self.mux = requests, reach, irqs, core, mux
        self.memory: Memory
        super().__init__(base, name, clocks)

    def reset(self) -> None:
        super().reset()
        self.items = [0] * 8  # NDTR as it was when the stream began

    def _at(self, stream: int, register: int) -> int:
        return 0x10 + 0x18 * stream + register

    def control(self, stream: int) -> int:
        return self.values[self._at(stream, 0)]

    def write(self, at: int, value: int) -> None:
        if at >= 0x10:
            stream, register = divmod(at - 0x10, 0x18)
            self._check_write(stream, register, value)
            before = self.values.get(at, 0)
            super().write(at, value)
            if register == 0 and value & 1 and not before & 1:
                self._begin(stream)
        else:
            super().write(at, value)
            if at in (0x08, 0x0C):
                self.values[at - 0x08] &= ~value
                self.values[at] = 0

    def _check_write(self, stream: int, register: int, value: int) -> None:
        control = self.control(stream)
        if not control & 1:
            return
        second = control >> 19 & 1
        other = control >> 18 & 1 and register == (0x0C if second else 0x10)
        if register in (0x04, 0x08, 0x0C, 0x10, 0x14) and not other:
            raise Wrong(f"stream {stream} of {self.name} is on, and its register 0x{register:02x} is written")
        if other:
            self._check_memory(stream, value)
        if register == 0 and value & 1 and (value ^ control) & ~(0x1F | 1 << 19):
            raise Wrong(f"stream {stream} of {self.name} is on, and what it does is changed")

    def _begin(self, stream: int) -> None:
        control = self.control(stream)
        status = self.values[stream // 4 * 4] >> (stream % 4 // 2 * 16 + stream % 2 * 6) & 0x3D
        if status:
            raise Wrong(f"stream {stream} of {self.name} begins with flags 0x{status:02x} of before")
        if self.values[self._at(stream, 4)] == 0:
            raise Wrong(f"stream {stream} of {self.name} begins with nothing to move")
        source, size = self._wired(stream)
        if self.values[self._at(stream, 8)] != source:
            raise Wrong(f"stream {stream} of {self.name} is not wired to 0x{self.values[self._at(stream, 8)]:08x}")
        if field(control, 11, 2) != size.bit_length() - 1 or field(control, 13, 2) != size.bit_length() - 1:
            raise Wrong(f"stream {stream} of {self.name} does not move {size} bytes at a time")
        if control >> 6 & 3 or control >> 9 & 1 or not control >> 10 & 1:
            raise Wrong(f"stream {stream} of {self.name} does not write one item behind the other")
        if self.mux and size == 1 and not control >> 20 & 1:
            raise Wrong(f"stream {stream} of {self.name} moves a USART's bytes without TRBUFF, and may lock up")
        self.items[stream] = self.values[self._at(stream, 4)]
        for register in (0x0C, 0x10) if control >> 18 & 1 else (0x0C,):
            self._check_memory(stream, self.values[self._at(stream, register)])

    def _wired(self, stream: int) -> tuple[int, int]:
        """The register that it reads, and the bytes of an item."""
        request = self.mux.request(self.name, stream) if self.mux else field(self.control(stream), 25, 3)
        found = self.requests.get((-1 if self.mux else stream, request))
        if found is None:
            raise Wrong(f"stream {stream} of {self.name} has no request {request}")
        return found

    def _check_memory(self, stream: int, first: int) -> None:
        _, size = self._wired(stream)
        last = first + size * self.items[stream] - 1
        for reach in self.reach:
            if reach.base <= first and last < reach.base + reach.size:
                for clock in reach.clocks:
                    if not self.clocks.on(clock):
                        raise Wrong(f"{self.name} writes to 0x{first:08x}, and {clock} has no clock")
                if reach.cached and not self.core.is_uncached(first, last):
                    raise Wrong(f"{self.name} writes to 0x{first:08x}, which is cached")
                return
        raise Wrong(f"{self.name} does not reach 0x{first:08x}")

    # ---- moving ------------------------------------------------------------------------------------------------

    def stream_of(self, source: int) -> int | None:
        """Which stream that is on reads the register."""
        for stream in range(8):
            if self.control(stream) & 1 and self.values[self._at(stream, 8)] == source:
                return stream
        return None

    def room(self, stream: int) -> int:
        """Items until its buffer is full."""
        return self.values[self._at(stream, 4)]

    def move(self, stream: int, data: bytes) -> None:
        """Items, at most as many as there is room for."""
        control = self.control(stream)
        size = 1 << field(control, 13, 2)
        left = self.room(stream)
        done = self.items[stream] - left
        target = self.values[self._at(stream, 0x10 if control >> 19 & 1 else 0x0C)]
        self.memory.mem_write(target + size * done, data)
        moved = len(data) // size
        half = self.items[stream] // 2
        if done < half <= done + moved:
            self._flag(stream, self.HALF)
        left -= moved
        if left == 0:
            self._flag(stream, self.FULL)
            left = self.items[stream]
            if control >> 18 & 1:
                control ^= 1 << 19
            elif not control >> 8 & 1:
                control, left = control & ~1, 0
        self.values[self._at(stream, 0)], self.values[self._at(stream, 4)] = control, left

    def flagged(self, stream: int) -> bool:
        """Whether one of its interrupts waits."""
        return self.has_flag(stream, self.FULL) or self.has_flag(stream, self.HALF)

    def to_flag(self, stream: int) -> int:
        """Items until the next flag."""
        left, half = self.room(stream), self.items[stream] // 2
        return left - half if left > half else left

    def _flag(self, stream: int, flag: int) -> None:
        self.values[stream // 4 * 4] |= 1 << (stream % 4 // 2 * 16 + stream % 2 * 6 + flag)

    def has_flag(self, stream: int, flag: int) -> bool:
        return bool(self.values[stream // 4 * 4] >> (stream % 4 // 2 * 16 + stream % 2 * 6 + flag) & 1)

    def wants(self) -> list[int]:
        """The interrupts that it asks for."""
        found = []
        for stream, irq in enumerate(self.irqs):
            control = self.control(stream)
            if (control >> 4 & 1 and self.has_flag(stream, self.FULL)) or (
                control >> 3 & 1 and self.has_flag(stream, self.HALF)
            ):
                found.append(irq)
        return found


def receive(usart: Usart, dmas: tuple[Dma, ...]) -> bool:
    """A DMA takes bytes of the line, to its next flag, which has to be seen before more come. Whether it did."""
    if not usart.by_dma or usart.is_idle:
        return False
    for dma in dmas:
        stream = dma.stream_of(usart.base + 0x24)
        if stream is None:
            continue
        data = b"" if dma.flagged(stream) else usart.take(min(dma.to_flag(stream), usart.AT_ONCE))
        if data:
            dma.move(stream, data)
        return bool(data)
    raise Wrong(f"{usart.name} hands its bytes to a DMA, and none takes them")


class DmaMux(Clocked):
    """DMAMUX1: which request moves a stream."""

    REGISTERS: ClassVar[dict[int, int]] = {4 * channel: 0 for channel in range(16)}

    def request(self, name: str, stream: int) -> int:
        return self.values[4 * (stream + (8 if name == "DMA2" else 0))] & 0x7F


class Dcmi(Clocked):
    """DCMI, 8 bits wide. sensor: what is at its pins; its frames are those of its packets. overruns: the numbers of
    packets of the stream in whose middle its memory overruns, for so many bytes."""

    REGISTERS: ClassVar[dict[int, int]] = dict.fromkeys((0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x28), 0)
    FRAME, OVERRUN = 1, 2
    irq = 78
    pins: tuple[tuple[Gpio, int, int], ...] = ()

    def __init__(self, base: int, name: str, clocks: Clocks, dmas: tuple[Dma, ...]) -> None:
        self.dmas = dmas
        self.overruns: set[int] = set()
        super().__init__(base, name, clocks)

    def reset(self) -> None:
        super().reset()
        self.in_frame = False

    def read(self, at: int) -> int:
        if at == 0x10:
            return self.values[0x08] & self.values[0x0C]
        return super().read(at)

    def write(self, at: int, value: int) -> None:
        before = self.values.get(at, 0)
        if at == 0 and value & 1 and not before >> 14 & value >> 14 & 1:
            raise Wrong("DCMI captures, and was not on before")
        if at == 0 and value & 1 and before & 1 and value != before:
            raise Wrong("DCMI captures, and what it does is changed")
        super().write(at, value)
        if at == 0 and not value & 1:
            self.in_frame = False
        elif at == 0x14:
            self.values[0x08] &= ~value

    @property
    def captures(self) -> bool:
        return self.values[0] & 0x4001 == 0x4001

    @property
    def wants(self) -> bool:
        return bool(self.values[0x08] & self.values[0x0C])

    def pending(self) -> bool:
        """Whether an interrupt waits that has to be taken before the next packet may come."""
        if self.wants:
            return True
        moved = self._stream()
        return moved is not None and moved[0].has_flag(moved[1], Dma.FULL)

    def _stream(self) -> tuple[Dma, int] | None:
        for dma in self.dmas:
            if (stream := dma.stream_of(self.base + 0x28)) is not None:
                return dma, stream
        return None

    def packet(self, number: int, data: bytes, blanks: int) -> None:
        """A line of the sensor's: the number-th of its stream. blanks: what it says between lines (bit 0), frames."""
        within = number % FRAME_PACKETS
        if within == 0 and self.captures:
            self._check(blanks)
            self.in_frame = True
        if self.captures and self.in_frame:
            cut = len(data) // 2 // 4 * 4 if number in self.overruns else len(data)
            self._move(data[:cut])
            if cut < len(data):
                self.values[0x08] |= self.OVERRUN
                self.in_frame = False  # nothing more of this one
        if within == FRAME_PACKETS - 1 and self.in_frame:
            self.values[0x08] |= self.FRAME

    def _move(self, data: bytes) -> None:
        moved = self._stream()
        if moved is None:
            raise Wrong("DCMI captures, and no DMA takes its words")
        dma, stream = moved
        while data:
            piece = data[: 4 * dma.room(stream)]
            dma.move(stream, piece)
            data = data[len(piece) :]

    def _check(self, blanks: int) -> None:
        for port, pin, function in self.pins:
            if port.function(pin) != function:
                raise Wrong(f"{self.name} captures, and pin {pin} of {port.name} is not its")
        if self.values[0] >> 6 & 3 != blanks:
            raise Wrong(f"{self.name} takes lines and frames for blank that are not: {blanks}")


class Listener(Protocol):
    """A device at an I2C bus."""

    address: int

    def hears(self) -> bool: ...
    def wrote(self, data: bytes) -> None: ...
    def answer(self, register: bytes) -> bytes: ...


class I2c(Clocked):
    """I2C of the F7 and the H7, as a controller that polls. device: what is at the bus; None: nothing."""

    REGISTERS: ClassVar[dict[int, int]] = dict.fromkeys((0x00, 0x04, 0x10, 0x18, 0x1C, 0x24, 0x28), 0) | {0x18: 1}
    FASTEST_HZ = 400_000
    pins: tuple[tuple[Gpio, int, int], ...] = ()
    device: Listener | None = None

    def reset(self) -> None:
        super().reset()
        self.sent = bytearray()
        self.to_read = b""
        self.left = 0

    def write(self, at: int, value: int) -> None:
        super().write(at, value)
        if at == 0x00 and value & 1:
            self._check_time()
        elif at == 0x00:
            self.values[0x18], self.left, self.sent, self.to_read = 1, 0, bytearray(), b""
        elif at == 0x1C:
            self.values[0x18] &= ~(value & 0x38)
        elif at == 0x04 and value >> 13 & 1:
            self._start(value)
        elif at == 0x28:
            self._send(value & 0xFF)

    def _check_time(self) -> None:
        timing = self.values[0x10]
        tick = (field(timing, 28, 4) + 1) / self.clocks.bus(self.name)
        high, low = (field(timing, 8, 8) + 1) * tick, (field(timing, 0, 8) + 1) * tick
        if low < 1.2e-6 or high < 0.45e-6 or 1 / (low + high) > 1.5 * self.FASTEST_HZ:
            raise Wrong(f"{self.name} is high for {high * 1e9:.0f} ns and low for {low * 1e9:.0f} ns")

    def _start(self, value: int) -> None:
        if not self.values[0] & 1:
            raise Wrong(f"{self.name} starts, and is off")
        for port, pin, function in self.pins:
            if port.function(pin) != function or not port.values[0x04] >> pin & 1:
                raise Wrong(f"{self.name} is used, and pin {pin} of {port.name} is not its, or not open drain")
        self.values[0x04] &= ~(1 << 13)
        self.left = field(value, 16, 8)
        if self.device is None or field(value, 1, 7) != self.device.address or not self.device.hears():
            self.values[0x18] = 1 | 1 << 4 | 1 << 5  # nobody says yes: NACK, and the bus is let go
        elif value >> 10 & 1:
            self.to_read = self.device.answer(bytes(self.sent))[: self.left]
            self.sent.clear()
            self.values[0x18] = 1 | 1 << 2
        else:
            self.sent.clear()
            self.values[0x18] = 1 | 1 << 1

    def read(self, at: int) -> int:
        if at == 0x24:
            if not self.to_read:
                raise Wrong(f"{self.name} is read, and nothing has come")
            byte, self.to_read = self.to_read[0], self.to_read[1:]
            self.left -= 1
            if self.left == 0:
                self.values[0x18] = 1 | 1 << 5
            return byte
        return super().read(at)

    def _send(self, byte: int) -> None:
        if not self.values[0x18] >> 1 & 1:
            raise Wrong(f"{self.name} is written to, and does not wait for a byte")
        self.sent.append(byte)
        self.left -= 1
        if self.left:
            return
        if self.values[0x04] >> 25 & 1:
            self.values[0x18] = 1 | 1 << 5
            assert self.device
            self.device.wrote(bytes(self.sent))
        else:
            self.values[0x18] = 1 | 1 << 6


def table(name: str) -> list[tuple[str, int, int]]:
    """What the firmware tells a GENX320, of one of its files: ("WRITE", register, value), ("READ", register, 0)."""
    text = (REPOSITORY / f"firmware/port/stm32/genx320_{name}.h").read_text()
    found = re.findall(r"^(WRITE|READ)\((0x\w+)(?:, (0x\w+))?\)", text, re.MULTILINE)
    return [(what, int(at, 16), int(value or "0", 16)) for what, at, value in found]


class Genx320:
    """The sensor: it takes the words of its tables, in their order, and sends its packets once the last one has come.

    played: a file of packets, each with the microseconds when it is sent, from the sensor's start (u64), before it.
    now: the chip's time. deaf: the number of the word that it does not take, from 1.
    """

    address = 0x3C
    CHIP_ID = 0xB0602003
    ID_AT, BLANKS_AT = 0x0014, 0x8018

    def __init__(self, played: Path | None, now: Callable[[], float], deaf: int = 0) -> None:
        self.now, self.deaf = now, deaf
        self.records: bytes | mmap.mmap = b""
        if played is not None:
            with played.open("rb") as stream:
                self.records = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.stop, self.begin = table("stop"), table("set_up") + table("start")
        self.expected: list[tuple[str, int, int]] = []
        self.registers: dict[int, int] = {}
        self.started: float | None = None
        self.sent = self.words = 0

    def hears(self) -> bool:
        self.words += 1
        return self.words != self.deaf

    def wrote(self, data: bytes) -> None:
        if len(data) != 6:
            raise Wrong(f"the sensor gets {len(data)} bytes, and a register's number and value are 6")
        at, value = int.from_bytes(data[:2]), int.from_bytes(data[2:])
        self._next(("WRITE", at, value))
        self.registers[at] = value

    def answer(self, register: bytes) -> bytes:
        at = int.from_bytes(register)
        if at == self.ID_AT:
            return self.CHIP_ID.to_bytes(4)
        self._next(("READ", at, 0))
        return self.registers.get(at, 0).to_bytes(4)

    def _next(self, word: tuple[str, int, int]) -> None:
        if word == self.stop[0] and self.started is not None:
            self.expected, self.started = list(self.stop), None
        elif not self.expected or word == self.begin[0]:
            self.expected, self.started = list(self.begin), None
        if self.expected[0] != word:
            what, at, value = self.expected[0]
            raise Wrong(
                f"the sensor is told {word[0]} 0x{word[1]:04x} 0x{word[2]:08x}, not {what} 0x{at:04x} 0x{value:08x}"
            )
        del self.expected[0]
        if not self.expected and word == self.begin[-1]:
            self.started, self.sent = self.now(), 0

    @property
    def blanks(self) -> int:
        return self.registers.get(self.BLANKS_AT, 0) & 3

    def due(self, at_once: bool = False) -> bytes | None:
        """The packet whose time has come, or, at once, the next one; `sent` counts it."""
        at = self.sent * (8 + PACKET_BYTES)
        if self.started is None or at >= len(self.records):
            return None
        when = int.from_bytes(self.records[at : at + 8], "little")
        if not at_once and self.now() - self.started < when * 1e-6:
            return None
        self.sent += 1
        return bytes(self.records[at + 8 : at + 8 + PACKET_BYTES])

    @property
    def has_played(self) -> bool:
        return self.started is not None and self.sent * (8 + PACKET_BYTES) >= len(self.records) > 0
