"""A model of an STM32F746 or H743 in Unicorn that runs an image as it is flashed: python -m tests.chips.stm32 CHIP ELF.

Prints where the link is, a pseudo-terminal. A register that is not in the table below is a failure, and so is a write to one
that has to be unlocked first. What is not modelled: caches, time (the cycle counter runs by the host's clock), and
interrupts in the middle of a function: one is taken where the main loop begins a round.
"""

from __future__ import annotations

import os
import pty
import select
import sys
import time
import tty
from collections import deque
from pathlib import Path

from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_ARM, UC_HOOK_CODE, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, UcError
from unicorn.arm_const import UC_ARM_REG_LR, UC_ARM_REG_PC, UC_ARM_REG_SP, UC_CPU_ARM_CORTEX_M7

PAD = 0x1FFF0000  # where handlers return to
PPB = 0xE0000000
WFI, NOP = b"\x30\xbf", b"\x00\xbf"
RXNE, TC_TXE, RXNEIE, RE = 1 << 5, 1 << 6 | 1 << 7, 1 << 5, 1 << 2
GPIO = {0x00, 0x08, 0x0C, 0x18, 0x20, 0x24}
#: Registers that hold what is written and do nothing.
PLAIN_PPB = {
    0xED08, 0xED14, 0xED28, 0xED84, 0xED88, 0xEDFC, 0xEF50, 0xEF60, 0xE010, 0xE014, 0x1000, *range(0xE100, 0xE200, 4)
}  # fmt: skip
MEMORIES = {
    "f746": ((0x08000000, 1 << 20), (0x20000000, 320 << 10), (0x1FF0F000, 0x1000)),
    "h743": ((0x08000000, 2 << 20), (0x20000000, 128 << 10), (0x24000000, 512 << 10), (0x1FF1E000, 0x1000)),
}
UNIQUE_ID = {"f746": 0x1FF0F420, "h743": 0x1FF1E800}
LINK = {"f746": (0x40011000, 37), "h743": (0x40004800, 39)}
CAMERA = 0x40011400
GPIO_PORTS = {"f746": (0x40020000, 11), "h743": (0x58020000, 11)}
PLAIN = {
    "f746": {0x40023804, 0x40023830, 0x40023840, 0x40023844, 0x40023C00, 0x40000000, 0x40000024, 0x4000002C},
    "h743": {
        0x58024418, 0x5802441C, 0x58024420, 0x58024428, 0x5802442C, 0x58024430, 0x580244E0, 0x580244E8, 0x580244F0,
        0x5802480C, 0x52002000, 0x40000000, 0x40000024, 0x4000002C,
    },
}  # fmt: skip
REGIONS = ((0x40000000, 0x30000), (0x58020000, 0x10000), (0x52000000, 0x10000))


class Unknown(Exception):
    """A register that the model has not."""


class Stm32:
    """faults: names of flags that never come: "hse", "pll"."""

    def __init__(self, chip: str, elf: Path, faults: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.chip, self.faults = chip, faults
        self.values: dict[int, int] = {}
        self.received: deque[int] = deque()
        self.problem: str | None = None
        self.unlocked = False
        self.begin = time.perf_counter()
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M7)
        for address, size in (*MEMORIES[chip], (PAD, 0x1000)):
            self.uc.mem_map(address, size)
        for address, size in (*REGIONS, (PPB, 0x100000)):
            self._map(address, size)
        self.uc.mem_write(UNIQUE_ID[chip], bytes(range(1, 13)))
        self.symbols = self._load(elf)
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.link = os.ttyname(slave)
        os.set_blocking(self.master, False)
        self.uc.hook_add(UC_HOOK_CODE, self._round, begin=self.symbols["app_step"], end=self.symbols["app_step"])
        self.uc.hook_add(UC_HOOK_CODE, self._idle, begin=self.symbols["port_idle"], end=self.symbols["port_idle"])

    def _load(self, elf: Path) -> dict[str, int]:
        with elf.open("rb") as stream:
            file = ELFFile(stream)
            for segment in file.iter_segments("PT_LOAD"):
                if segment["p_filesz"]:
                    self.uc.mem_write(segment["p_paddr"], segment.data())
            table = list(file.get_section_by_name(".symtab").iter_symbols())  # type: ignore[union-attr]
        symbols = {symbol.name: symbol["st_value"] & ~1 for symbol in table}
        size = next(symbol["st_size"] for symbol in table if symbol.name == "port_idle")
        code = bytes(self.uc.mem_read(symbols["port_idle"], size))
        assert code.count(WFI) == 1
        self.uc.mem_write(symbols["port_idle"], code.replace(WFI, NOP))  # Unicorn would end there
        return symbols

    def run(self) -> None:
        """Until something fails."""
        stack, start = (int.from_bytes(self.uc.mem_read(0x08000000 + 4 * i, 4), "little") for i in (0, 1))
        self.uc.reg_write(UC_ARM_REG_SP, stack)
        while self.problem is None:
            try:
                self.uc.emu_start(start | 1, 0xFFFFFFFE)
            except UcError as error:
                self.problem = self.problem or f"{error} at 0x{self.uc.reg_read(UC_ARM_REG_PC):08x}"
                return
            start = self.uc.reg_read(UC_ARM_REG_PC)
            if self._pending():
                self._interrupt(LINK[self.chip][1])

    # ---- interrupts --------------------------------------------------------------------------------------------

    def _round(self, *_: object) -> None:
        self._hear(0.0)
        if self._pending():
            self.uc.emu_stop()

    def _idle(self, *_: object) -> None:
        self._hear(0.0 if self.received else 0.02)

    def _hear(self, seconds: float) -> None:
        if len(self.received) < 4096 and select.select([self.master], [], [], seconds)[0]:
            self.received.extend(os.read(self.master, 4096))

    def _pending(self) -> bool:
        usart, irq = LINK[self.chip]
        enabled = self.values.get(PPB + 0xE100 + irq // 32 * 4, 0) >> irq % 32 & 1
        return bool(self.received and enabled and self.values.get(usart, 0) & RXNEIE)

    def _interrupt(self, irq: int) -> None:
        vector = self.values[PPB + 0xED08] + 4 * (16 + irq)
        handler = int.from_bytes(self.uc.mem_read(vector, 4), "little")
        before = self.uc.context_save()
        self.uc.reg_write(UC_ARM_REG_LR, PAD | 1)
        self.uc.emu_start(handler, PAD)
        self.uc.context_restore(before)

    # ---- registers ---------------------------------------------------------------------------------------------

    def _map(self, base: int, size: int) -> None:
        def read(_: Uc, offset: int, __: int, ___: object) -> int:
            return self._guarded(self.read, base + offset)

        def write(_: Uc, offset: int, __: int, value: int, ___: object) -> None:
            self._guarded(self.write, base + offset, value)

        self.uc.mmio_map(base, size, read, None, write, None)

    def _guarded(self, act, address: int, *value: int) -> int:  # type: ignore[no-untyped-def]
        try:
            return int(act(address, *value) or 0)
        except Unknown as error:
            self.problem = self.problem or f"{error} 0x{address:08x}"
            self.uc.emu_stop()
            return 0

    def read(self, address: int) -> int:
        usarts = (LINK[self.chip][0], CAMERA)
        if address == PPB + 0x1004:
            running = self.values.get(PPB + 0x1000, 0) & 1 and self.unlocked
            return int((time.perf_counter() - self.begin) * 216e6) + 1 & 0xFFFFFFFF if running else 0
        if address == PPB + 0xED80:
            return 31 << 13 | 3 << 3  # 4 KB of data cache
        for usart in usarts:
            if address == usart + 0x1C:
                return TC_TXE | (RXNE if usart == usarts[0] and self.received else 0)
            if address == usart + 0x24:
                return self.received.popleft() if usart == usarts[0] and self.received else 0
        self._require(address)
        return self._flags(address, self.values.get(address, 0))

    def write(self, address: int, value: int) -> None:
        usart = LINK[self.chip][0]
        if address == usart + 0x28:
            os.write(self.master, bytes([value & 0xFF]))
            return
        if address == PPB + 0x1FB0:
            self.unlocked = value == 0xC5ACCE55
            return
        if address in (PPB + 0x1004, usart + 0x20, CAMERA + 0x20):
            return
        self._require(address)
        if PPB + 0xE100 <= address < PPB + 0xE180:
            value |= self.values.get(address, 0)
        elif PPB + 0xE180 <= address < PPB + 0xE200:
            address, value = address - 0x80, self.values.get(address - 0x80, 0) & ~value
        self.values[address] = value

    def _require(self, address: int) -> None:
        ports, many = GPIO_PORTS[self.chip]
        known = (
            address in PLAIN[self.chip]
            or (address - PPB in PLAIN_PPB)
            or (ports <= address < ports + many * 0x400 and address % 0x400 in GPIO)
            or any(address in (usart, usart + 0x0C) for usart in (LINK[self.chip][0], CAMERA))
            or address in {"f746": (0x40023800, 0x40023808, 0x40007000, 0x40007004), "h743": (
                0x58024400, 0x58024410, 0x58024804, 0x58024818)}[self.chip]
        )  # fmt: skip
        if not known:
            raise Unknown("no such register is modelled:")

    def _flags(self, address: int, value: int) -> int:
        """What the hardware adds to what was written."""
        if address in (0x40023800, 0x58024400):  # RCC_CR
            hse = value >> 16 & 1 and "hse" not in self.faults
            pll = value >> 24 & 1 and "pll" not in self.faults
            return value | bool(hse) << 17 | bool(pll) << 25
        if address == 0x40023808:  # RCC_CFGR
            return value | (value & 3) << 2
        if address == 0x58024410:
            return value | (value & 7) << 3
        if address == 0x40007004:  # PWR_CSR1: the overdrive is ready
            return value | self.values.get(0x40007000, 0) & 3 << 16
        if address in (0x58024804, 0x58024818):
            return value | 1 << 13
        return value


def main(chip: str, elf: str, *faults: str) -> int:
    double = Stm32(chip, Path(elf), set(faults))
    print(double.link, flush=True)
    double.run()
    print(double.problem, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
