"""What the doubles of DMA, DCMI, I2C and the sensor take for wrong; no core, no image."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chips.parts import Gpio, System, Wrong
from tests.chips.receivers import FRAME_PACKETS, Dcmi, Dma, DmaMux, Genx320, I2c, Reach, receive, table
from tests.chips.test_parts import f7, h7
from tests.chips.usart import Usart

DCMI, DTCM, SRAM, DOMAIN_2 = 0x50050000, 0x20000000, 0x20010000, 0x30000000
STREAM = 1
CR, LEFT, FROM, FIRST, SECOND = (0x10 + 0x18 * STREAM + at for at in (0x00, 0x04, 0x08, 0x0C, 0x10))
WORDS, STEPS, TWO, FULL, ON = 2 << 11 | 2 << 13, 1 << 10, 1 << 18 | 1 << 8, 1 << 4, 1
CHANNEL = 1 << 25


class Ram:
    def __init__(self) -> None:
        self.written: list[tuple[int, bytes]] = []

    def mem_write(self, address: int, data: bytes) -> None:
        self.written.append((address, data))


class Board:
    """An F746's DMA2 and DCMI, ready to receive packets of four words."""

    def __init__(self) -> None:
        self.clocks = f7()
        self.clocks.write(0x30, 1 << 22)
        self.clocks.write(0x34, 1)
        self.core = System(32, lambda: 0.0, self.clocks)
        reach = (Reach(DTCM, 64 << 10, False), Reach(SRAM, 256 << 10, True))
        requests = {(STREAM, 1): (DCMI + 0x28, 4)}
        self.dma = Dma(0x40026400, "DMA2", self.clocks, requests, reach, (56, 57), self.core)
        self.ram = self.dma.memory = Ram()
        self.dcmi = Dcmi(DCMI, "DCMI", self.clocks, (self.dma,))

    def set_up(self, **other: int) -> None:
        values = {"LEFT": 4, "FROM": DCMI + 0x28, "FIRST": DTCM, "SECOND": DTCM + 16} | other
        for name, at in (("LEFT", LEFT), ("FROM", FROM), ("FIRST", FIRST), ("SECOND", SECOND)):
            self.dma.write(at, values[name])
        self.dma.write(CR, values.get("CR", WORDS | STEPS | TWO | FULL | CHANNEL) | ON)

    def capture(self) -> None:
        self.dcmi.write(0x0C, 3)
        self.dcmi.write(0x00, 1 << 14)
        self.dcmi.write(0x00, 1 << 14 | 1)


def test_two_buffers_are_filled_in_turn() -> None:
    board = Board()
    board.set_up()
    board.capture()
    board.dcmi.packet(1, bytes(16), 0)
    assert not board.ram.written  # no frame has begun
    for number in range(3):
        board.dcmi.packet(number, bytes([number]) * 16, 0)
    assert board.ram.written == [(DTCM, bytes(16)), (DTCM + 16, b"\1" * 16), (DTCM, b"\2" * 16)]
    assert board.dma.wants() == [57] and board.dcmi.pending()
    board.dma.write(0x08, 0x3D << 6)
    assert board.dma.wants() == [] and not board.dcmi.wants
    board.dcmi.packet(FRAME_PACKETS - 1, bytes(16), 0)
    assert board.dcmi.read(0x10) == Dcmi.FRAME


def test_an_overrun_costs_the_rest_of_a_frame() -> None:
    board = Board()
    board.set_up()
    board.dcmi.overruns = {1}
    board.capture()
    for number in range(FRAME_PACKETS):
        board.dcmi.packet(number, bytes(16), 0)
        board.dma.write(0x08, 0x3D << 6)
    assert sum(len(data) for _, data in board.ram.written) == 24
    assert board.dcmi.read(0x10) == Dcmi.OVERRUN  # and no frame has ended


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda b: b.set_up(FIRST=SRAM), "which is cached"),
        (lambda b: b.set_up(SECOND=DTCM + (64 << 10) - 8), "does not reach 0x2000fff8"),
        (lambda b: b.set_up(FROM=DCMI), "not wired to 0x50050000"),
        (lambda b: b.set_up(LEFT=0), "nothing to move"),
        (lambda b: b.set_up(CR=STEPS | TWO | CHANNEL), "does not move 4 bytes at a time"),
        (lambda b: b.set_up(CR=WORDS | TWO | CHANNEL), "one item behind the other"),
        (lambda b: b.set_up(CR=WORDS | STEPS | 2 << 25), "stream 1 of DMA2 has no request 2"),
        (lambda b: (b.set_up(), b.dma.write(FIRST, DTCM)), "is on, and its register 0x0c is written"),
        (lambda b: (b.set_up(), b.dma.write(SECOND, SRAM)), "which is cached"),
        (lambda b: b.dma.read(0xD0), "there is no register 0x400264d0"),
        (lambda b: (b.clocks.write(0x30, 0), b.dma.read(0)), "DMA2 has no clock"),
        (lambda b: b.dcmi.write(0, 1 << 14 | 1), "was not on before"),
        (lambda b: (b.capture(), b.dcmi.packet(0, bytes(16), 0)), "no DMA takes its words"),
        (lambda b: (b.set_up(), b.capture(), b.dcmi.packet(0, bytes(16), 3)), "blank that are not"),
        (lambda b: (b.clocks.write(0x34, 0), b.dcmi.read(0)), "DCMI has no clock"),
    ],
)
def test_a_receiver_that_is_used_as_no_chip_has_it(spoil: Callable[[Board], object], says: str) -> None:
    with pytest.raises(Wrong, match=says):
        spoil(Board())


def test_memory_of_another_domain() -> None:
    """An H743's: by the multiplexer, with a clock, and out of the cache by the MPU."""
    clocks = h7()
    clocks.write(0xD8, 2)
    core = System(128, lambda: 0.0, clocks)
    mux = DmaMux(0x40020800, "DMA2", clocks)
    reach = (Reach(DOMAIN_2, 288 << 10, True, ("SRAM1",)),)
    dma = Dma(0x40020400, "DMA2", clocks, {(-1, 75): (DCMI + 0x28, 4)}, reach, (56, 57), core, mux)

    def begin() -> None:
        dma.write(CR, 0)
        for at, value in ((LEFT, 4), (FROM, DCMI + 0x28), (FIRST, DOMAIN_2), (CR, WORDS | STEPS | ON)):
            dma.write(at, value)

    with pytest.raises(Wrong, match="has no request 0"):
        begin()
    mux.write(4 * (8 + STREAM), 75)
    with pytest.raises(Wrong, match="SRAM1 has no clock"):
        begin()
    clocks.write(0xDC, 1 << 29)
    with pytest.raises(Wrong, match="is cached"):
        begin()
    for at, value in ((0xED98, 2), (0xED9C, DOMAIN_2), (0xEDA0, 1 << 19 | 18 << 1 | 1)):
        core.write(at, value)
    with pytest.raises(Wrong, match="is cached"):
        begin()  # the MPU is off
    core.write(0xED94, 5)
    begin()


def test_a_line_s_bytes_go_round_in_memory() -> None:
    board = Board()
    board.clocks.write(0x44, 1 << 4)
    line = Usart(0x40011000, "USART1", board.clocks)
    board.dma.requests[(STREAM, 4)] = (0x40011024, 1)
    line.received.extend(range(10))
    line.write(0x08, 1 << 6)
    line.write(0x00, 0x15)
    with pytest.raises(Wrong, match="and none takes them"):
        receive(line, (board.dma,))
    board.set_up(LEFT=8, FROM=0x40011024, CR=STEPS | 1 << 8 | 3 << 3 | 4 << 25)
    assert receive(line, (board.dma,)) and board.dma.wants() == [57]
    assert board.ram.written == [(DTCM, bytes(range(4)))]
    assert not receive(line, (board.dma,))  # its interrupt waits
    for written in ([4, 5, 6, 7], [8, 9]):
        board.dma.write(0x08, 0x3D << 6)
        assert receive(line, (board.dma,)) and board.ram.written[-1][1] == bytes(written)
    assert line.wants and line.read(0x1C) & Usart.IDLE
    line.write(0x20, Usart.IDLE)
    assert not line.wants


def bus(device: Genx320 | None) -> I2c:
    clocks = f7()
    clocks.write(0x40, 1 << 21)
    clocks.write(0x30, 2)
    i2c = I2c(0x40005400, "I2C1", clocks)
    port = Gpio(0x40020400, "GPIOB", clocks)
    for at, value in ((0x00, 2 << 16), (0x04, 1 << 8), (0x24, 4)):
        port.write(at, value)
    i2c.pins, i2c.device = ((port, 8, 4),), device
    i2c.write(0x10, 1 << 28 | 3 << 20 | 1 << 16 | 3 << 8 | 9)
    i2c.write(0x00, 1)
    return i2c


def say(i2c: I2c, at: int, value: int) -> int:
    """Returns what its state is then."""
    i2c.write(0x04, 0x3C << 1 | 6 << 16 | 1 << 25 | 1 << 13)
    for byte in at.to_bytes(2) + value.to_bytes(4):
        if i2c.read(0x18) & 2:
            i2c.write(0x28, byte)
    return i2c.read(0x18)


def test_the_sensor_takes_its_words_in_their_order_and_no_other() -> None:
    sensor = Genx320(None, lambda: 0.0)
    i2c = bus(sensor)
    words = table("set_up") + table("start")
    assert len(words) > 110 and ("WRITE", 0x8010, FRAME_PACKETS) in words
    for what, at, value in words:
        if what == "WRITE":
            assert say(i2c, at, value) == 0x21
        else:
            sensor.answer(at.to_bytes(2))
    assert sensor.started == 0 and sensor.blanks == 3
    with pytest.raises(Wrong, match="is told WRITE 0x9008 0x00000000, not WRITE 0x0064"):
        say(i2c, 0x9008, 0)


def test_a_bus_on_which_nobody_answers_or_that_is_not_set_up() -> None:
    assert say(bus(None), 0, 0) & 0x10
    i2c = bus(None)
    i2c.write(0x00, 0)
    with pytest.raises(Wrong, match="starts, and is off"):
        say(i2c, 0, 0)
    i2c.write(0x10, 0)
    with pytest.raises(Wrong, match="is high for"):
        i2c.write(0x00, 1)
    with pytest.raises(Wrong, match="nothing has come"):
        i2c.read(0x24)
    other = bus(None)
    other.pins[0][0].write(0x04, 0)
    with pytest.raises(Wrong, match="not open drain"):
        say(other, 0, 0)
