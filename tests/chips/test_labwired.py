"""A second opinion on clocks: labwired (MIT), a simulator by others, runs the images as they are flashed.

Its F405 is its own; its F746 has the parts of labwired/*.yaml, since the file that comes with it lacks the voltage
regulator, the waits of the flash and the DMA. It has neither the interrupt of a receiver nor its request to a DMA: both
are done by hand here, as the chip would.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spedge.link.frames import VERSION, Frame, FrameReader, Type
from spedge.link.protocol import Hello
from tests.needs import needs

needs("platformio", "arm-none-eabi-gcc", "labwired")

from labwired import Sim  # noqa: E402

pytestmark = pytest.mark.chips

HSE = 25_000_000
RCC, FLASH_WAITS, PENDING = 0x40023800, 0x40023C00, 0xE000E200
ASKS = Frame(Type.HELLO, 1, 0, VERSION.to_bytes(2, "little")).encode()
STREAM = 0x40026400 + 0x10 + 5 * 0x18  # of DMA2: control, what is left, from, to
RING = 16384


def start(board: str, image: Path) -> Any:
    if board == "netduinoplus2":
        return Sim(image, chip="stm32f405", uart="uart2")
    return Sim(image, system=Path(__file__).with_name("labwired") / f"{board}.yaml", uart="usart1")


def clocks(sim: Any) -> tuple[int, int, int]:
    """Hz of the core and of both buses, by the registers of RCC; 0 where what they name is not ready."""
    control, pll, switch = (sim.read_u32(RCC + at) for at in (0, 4, 8))
    crystal_is_ready, pll_is_ready = control >> 17 & 1, control >> 25 & 1
    source = HSE * crystal_is_ready if pll >> 22 & 1 else 16_000_000
    core = source // (pll & 63) * (pll >> 6 & 511) // (2 * (pll >> 16 & 3) + 2) * pll_is_ready
    assert switch >> 2 & 3 == 2 and switch >> 4 & 15 == 0  # it runs by the PLL, not divided
    slow, fast = (1 << max((switch >> at & 7) - 3, 0) for at in (10, 13))
    return core, core // slow, core // fast


def by_interrupts(sim: Any) -> None:
    """USART2, a byte after the other."""
    for byte in ASKS:
        sim.send_bytes(bytes([byte]))
        sim.run_for("20us")
        sim.write_u32(PENDING + 4, 1 << 38 - 32)
        sim.run_for("80us")


def by_dma(sim: Any) -> None:
    """USART1: into the ring, whose interrupt then says that the line is idle."""
    left, ring = sim.read_u32(STREAM + 4), sim.read_u32(STREAM + 12)
    first = ring + RING - left
    words = sim.read_memory(first & ~3, first & 3) + ASKS
    words += bytes(-len(words) % 4)
    for at in range(0, len(words), 4):
        sim.write_u32((first & ~3) + at, int.from_bytes(words[at : at + 4], "little"))
    sim.write_u32(STREAM + 4, left - len(ASKS))
    sim.write_u32(PENDING + 4, 1 << 37 - 32)


def answer(sim: Any) -> Frame:
    said = b""
    for _ in range(100):
        sim.run_for("1ms")
        said += sim.read_uart_bytes()
        if frames := list(FrameReader().feed(said)):
            return frames[0]
    raise AssertionError(f"it said {said!r}")


@pytest.mark.parametrize(
    ("board", "hz", "waits", "divider", "tell"),
    [
        ("netduinoplus2", (168_000_000, 42_000_000, 84_000_000), 5, 0x40004408, by_interrupts),
        ("disco-f746g", (216_000_000, 54_000_000, 108_000_000), 7, 0x4001100C, by_dma),
    ],
    scope="module",
)
def test_its_clocks_are_ours_and_hello_is_answered(
    board: str, hz: tuple[int, int, int], waits: int, divider: int, tell: Any, image: Path
) -> None:
    with start(board, image.resolve()) as sim:
        sim.run_for("3ms")
        assert clocks(sim) == hz and sim.read_u32(FLASH_WAITS) & 15 == waits
        bus = hz[2] if board == "disco-f746g" else hz[1]
        assert abs(bus / sim.read_u32(divider) - 115_200) < 0.005 * 115_200
        sim.read_uart_bytes()
        tell(sim)
        reply = answer(sim)
        assert Hello.unpack(reply.payload, reply.session).board == board


@pytest.mark.parametrize("board", ["disco-f746g"], scope="module")
def test_without_its_regulator_it_stays_at_16_mhz(image: Path, tmp_path: Path) -> None:
    """So that the other test says something of it."""
    for path in Path(__file__).with_name("labwired").iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace("bits: 0x10000}", "bits: 0}"))
    with Sim(image.resolve(), system=tmp_path / "disco-f746g.yaml", uart="usart1") as sim:
        sim.run_for("8ms")
        assert sim.read_u32(RCC + 8) >> 2 & 3 == 0
        assert abs(16_000_000 / sim.read_u32(0x4001100C) - 115_200) < 0.005 * 115_200
