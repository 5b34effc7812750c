"""What an STM32F405, an STM32F746 and an STM32H743 have, and where, for the doubles of them."""

from __future__ import annotations

from typing import Any

from tests.chips import parts
from tests.chips.receivers import Reach

FLASH = 0x08000000
#: Of each chip. doubles: it has an FPU for them. link, camera: USART, where, interrupt, pins. requests: of each DMA, as
#: receivers.Dma has them. stop: the pin that stops the camera. dcmi: where, and its pins. sets: as of parts.System.
CHIPS: dict[str, dict[str, Any]] = {
    "f405": {
        "memories": ((FLASH, 1 << 20), (0x20000000, 128 << 10), (0x1FFF7000, 0x1000), (0x1FFF0000, 0x1000)),
        "unique_id": 0x1FFF7A10,
        "bootloader": 0x1FFF0000,
        "sets": 0,
        "doubles": False,
        "gpio": 0x40020000,
        "link": ("USART2", 0x40004400, 38, (("A", 2, 7), ("A", 3, 7))),
        "camera": ("USART6", 0x40011400, 71, (("C", 6, 8), ("C", 7, 8))),
        "clocks": (parts.ClocksF4, 0x40023800),
        "power": (parts.PowerF4, 0x40007000),
        "flash": (parts.FlashF7, 0x40023C00),
        "watchdog": 0x40003000,
        "dma": (),
        "mux": None,
        "requests": (),
        "stop": ("B", 12),
        "usb": (0x50000000, 67),
        "reach": (),
        "dcmi": None,
    },
    "f746": {
        "memories": ((FLASH, 1 << 20), (0x20000000, 320 << 10), (0x1FF0F000, 0x1000), (0x1FF00000, 0x1000)),
        "unique_id": 0x1FF0F420,
        "bootloader": 0x1FF00000,
        "sets": 32,
        "doubles": False,
        "gpio": 0x40020000,
        "link": ("USART1", 0x40011000, 37, (("A", 9, 7), ("B", 7, 7))),
        "camera": ("USART6", 0x40011400, 71, (("C", 6, 8), ("C", 7, 8))),
        "clocks": (parts.ClocksF7, 0x40023800),
        "power": (parts.PowerF7, 0x40007000),
        "flash": (parts.FlashF7, 0x40023C00),
        "watchdog": 0x40003000,
        "dma": ((0x40026000, (11, 12, 13, 14, 15, 16, 17, 47)), (0x40026400, (56, 57, 58, 59, 60, 68, 69, 70))),
        "mux": None,
        "requests": ({}, {(1, 1): (0x50050028, 4), (7, 1): (0x50050028, 4), (2, 4): (0x40011024, 1),
                          (5, 4): (0x40011024, 1), (1, 5): (0x40011424, 1), (2, 5): (0x40011424, 1)}),
        "stop": ("G", 6),
        "usb": (0x50000000, 67),
        "reach": (Reach(0x20000000, 64 << 10, False), Reach(0x20010000, 256 << 10, True)),
        "dcmi": (0x50050000, (("A", 4), ("A", 6), ("G", 9), ("H", 9), ("H", 10), ("H", 11), ("H", 12), ("H", 14),
                              ("D", 3), ("E", 5), ("E", 6))),
    },
    "h743": {
        "memories": (
            (FLASH, 2 << 20), (0x20000000, 128 << 10), (0x24000000, 512 << 10), (0x1FF1E000, 0x1000),
            (0x1FF09000, 0x1000), (0x30000000, 288 << 10),
        ),
        "unique_id": 0x1FF1E800,
        "bootloader": 0x1FF09800,
        "sets": 128,
        "doubles": True,
        "gpio": 0x58020000,
        "link": ("USART3", 0x40004800, 39, (("D", 8, 7), ("D", 9, 7))),
        "camera": ("USART6", 0x40011400, 71, (("C", 6, 7), ("C", 7, 7))),
        "clocks": (parts.ClocksH7, 0x58024400),
        "power": (parts.PowerH7, 0x58024800),
        "flash": (parts.FlashH7, 0x52002000),
        "watchdog": 0x58004800,
        "dma": ((0x40020000, (11, 12, 13, 14, 15, 16, 17, 47)), (0x40020400, (56, 57, 58, 59, 60, 68, 69, 70))),
        "mux": 0x40020800,
        "requests": 2 * ({(-1, 75): (0x48020028, 4), (-1, 45): (0x40004824, 1), (-1, 71): (0x40011424, 1)},),
        "stop": ("B", 12),
        "usb": (0x40080000, 101),
        "reach": (Reach(0x24000000, 512 << 10, True), Reach(0x30000000, 288 << 10, True, ("SRAM1", "SRAM2", "SRAM3"))),
        "dcmi": (0x48020000, (("A", 4), ("A", 6), ("B", 7), ("C", 6), ("C", 7), ("C", 8), ("C", 9), ("C", 11), ("D", 3),
                              ("E", 5), ("E", 6))),
    },
}  # fmt: skip
