"""A double of the bootloader in an STM32's ROM (ST's AN3155) behind a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from collections.abc import Callable
from functools import reduce
from operator import xor

from tests.flash.chip import ADDRESS, ID_AT, SIZE_AT, Chip, Cut, Protected

ACK, NACK = b"\x79", b"\x1f"


class Rom:
    """started: called when the bootloader jumps to the program, which then has the line."""

    def __init__(self, chip: Chip, started: Callable[[int], None]) -> None:
        self.chip = chip
        self.started = started
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._end, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.write(self._ended, b"x")
        self._thread.join()
        for fd in (self.master, self._slave, self._end, self._ended):
            os.close(fd)

    def _take(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            if self._end in select.select([self.master, self._end], [], [])[0]:
                raise EOFError
            data += os.read(self.master, n - len(data))
        return data

    def _checked(self, n: int) -> bytes | None:
        data = self._take(n + 1)
        return data[:-1] if reduce(xor, data) == 0 else None

    def _serve(self) -> None:
        try:
            while self._take(1) != b"\x7f":
                pass
            if self.chip.about.get("gone"):
                return
            os.write(self.master, ACK)
            while self._command():
                pass
        except (Cut, EOFError):
            pass  # it says nothing any more

    def _command(self) -> bool:
        code, check = self._take(2)
        if code ^ check != 0xFF:
            os.write(self.master, NACK)
            return True
        if code == 0x02:
            os.write(self.master, ACK + bytes([1]) + int(self.chip.about["id"]).to_bytes(2, "big") + ACK)
        elif code == 0x11:
            self._read()
        elif code == 0x31:
            self._write()
        elif code == 0x44:
            self._erase()
        elif code == 0x21:
            os.write(self.master, ACK)
            assert self._checked(4) == ADDRESS.to_bytes(4, "big")
            os.write(self.master, ACK)
            self.started(self.master)
            return False
        else:
            os.write(self.master, NACK)
        return True

    def _read(self) -> None:
        if self.chip.about.get("unreadable"):
            os.write(self.master, NACK)
            return
        os.write(self.master, ACK)
        address = int.from_bytes(self._checked(4) or b"", "big")
        os.write(self.master, ACK)
        n = self._take(2)[0] + 1
        if address in (ID_AT, SIZE_AT):
            data = self.chip.word(address).to_bytes(4, "little")[:n]
        else:
            data = self.chip.read(address, n)
        os.write(self.master, ACK + data)

    def _write(self) -> None:
        os.write(self.master, ACK)
        address = int.from_bytes(self._checked(4) or b"", "big")
        os.write(self.master, ACK)
        n = self._take(1)
        data = self._take(n[0] + 2)
        if reduce(xor, n + data):
            os.write(self.master, NACK)
            return
        try:
            self.chip.program(address, data[:-1])
        except Protected:
            os.write(self.master, NACK)
            return
        os.write(self.master, ACK)

    def _erase(self) -> None:
        os.write(self.master, ACK)
        body = self._checked(4)
        assert body is not None and body[:2] == bytes(2)
        try:
            self.chip.erase(int.from_bytes(body[2:], "big"))
        except Protected:
            os.write(self.master, NACK)
            return
        os.write(self.master, ACK)
