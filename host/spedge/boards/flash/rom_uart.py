"""The bootloader in every STM32's ROM, over a serial port (ST's application note AN3155): no probe and no tool."""

from __future__ import annotations

import contextlib
import struct
import time
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, ClassVar

from spedge.base.errors import DeviceError
from spedge.boards.flash.image import Image
from spedge.boards.flash.programs import IN_USE, LINE, PLUG_IN, PROTECTED, RIGHTS
from spedge.boards.flash.way import Chip, Count, FlashError, Need, Way
from spedge.boards.ports import port_of

if TYPE_CHECKING:
    import serial

try:
    from termios import error as TermiosError
except ImportError:  # on Windows
    TermiosError = OSError  # type: ignore[misc, assignment]

_ACK, _NACK, _SYNC = 0x79, 0x1F, b"\x7f"
_GET_ID, _READ, _GO, _WRITE, _ERASE = 0x02, 0x11, 0x21, 0x31, 0x44
_PIECE_BYTES = 256
_BAUD = 115200
_ANSWER_SECONDS = 2.0
_SYNC_SECONDS = 0.5  # for each of some attempts
_SECTOR_SECONDS = 10.0  # to erase one; a sector of 128 KB takes up to 4
_BOOT0 = "hold BOOT0 high, press reset, and flash again; the serial port is the one of the ROM's pins"


class RomUart(Way):
    """Settings: "sectors", [bytes, how many] from the flash's start; "baud"; "parity", as pyserial has it."""

    name: ClassVar[str] = "uart"
    need: ClassVar[Need] = Need("serial", "", module=True)
    in_bootloader: ClassVar[bool] = True

    _line: serial.Serial | None = None

    def find_tool(self) -> str:
        super().find_tool()
        return "the chip's own bootloader, by its serial port"

    def find_chip(self) -> Chip:
        try:
            path = self.port or port_of(self.board, number=self.serial).device
        except DeviceError as error:
            raise FlashError("board", str(error), "give its port by --device") from error
        self._open(path)
        self._synchronize()
        self._command("board", _GET_ID)
        n = self._take("board", 1)[0] + 1
        identity = int.from_bytes(self._take("board", n), "big")
        self._acknowledged("board", "it does not say which chip it is", LINE)
        kilobytes = int.from_bytes(self._read_piece("board", self.about.size_at, 2), "little")
        return Chip(identity & 0xFFF, kilobytes << 10, self.serial, path)

    def read(self, address: int, n: int, count: Count) -> bytes:
        found = bytearray()
        while len(found) < n:
            found += self._read_piece("verify", address + len(found), min(_PIECE_BYTES, n - len(found)))
            count(len(found))
        return bytes(found)

    def write(self, image: Image, count: Count) -> None:
        for sector in self._sectors_of(image):
            self._command("write", _ERASE, "the flash is protected from being erased", PROTECTED)
            self._send(_checked(struct.pack(">HH", 0, sector)))  # one of them: each has its time
            self._acknowledged("write", f"sector {sector} could not be erased", PROTECTED, _SECTOR_SECONDS)
        data = image.data.ljust(-(-len(image.data) // 4) * 4, b"\xff")  # the ROM takes whole words
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            where = image.address + at
            self._command("write", _WRITE, "the flash is protected from being written", PROTECTED)
            self._send(_checked(struct.pack(">I", where)))
            self._acknowledged("write", f"the chip does not write at 0x{where:08x}", PROTECTED)
            self._send(_checked(bytes([len(piece) - 1]) + piece))
            self._acknowledged("write", f"the chip did not take the bytes for 0x{where:08x}", LINE)
            count(min(at + len(piece), len(image.data)))

    def reset(self) -> None:
        self._command("reset", _GO)
        self._send(_checked(struct.pack(">I", self.about.address)))
        self._acknowledged("reset", "the program was not started", "set BOOT0 back and press reset")
        self.close()

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    # ---- the protocol -----------------------------------------------------------------------------------------

    def _open(self, path: str) -> None:
        import serial

        baud = int(self.settings.get("baud", _BAUD))
        try:
            parity = self.settings.get("parity", serial.PARITY_EVEN)
            self._line = serial.Serial(path, baud, parity=parity, timeout=_ANSWER_SECONDS, exclusive=True)
        except (OSError, TermiosError) as error:
            said = str(error).lower()
            if "lock" in said or "busy" in said:
                raise FlashError("board", f"another program has {path}", IN_USE) from error
            if "permission" in said:
                raise FlashError("board", f"you may not open {path}", RIGHTS) from error
            raise FlashError("board", f"there is no board at {path}", PLUG_IN) from error
        self._line.reset_input_buffer()

    def _synchronize(self) -> None:
        """The first byte tells it the rate. One that has been told answers it with a NACK."""
        assert self._line is not None
        self._line.timeout = _SYNC_SECONDS
        for _ in range(3):
            self._send(_SYNC)
            if self._receive("board", 1) in (bytes([_ACK]), bytes([_NACK])):
                self._line.timeout = _ANSWER_SECONDS
                return
        raise FlashError("board", f"no bootloader answers at {self._line.name}", _BOOT0)

    def _command(self, step: str, code: int, refused: str = "the bootloader refuses", remedy: str = PROTECTED) -> None:
        self._send(bytes([code, code ^ 0xFF]))
        self._acknowledged(step, refused, remedy)

    def _read_piece(self, step: str, address: int, n: int) -> bytes:
        self._command(step, _READ, "the flash is protected from being read")
        self._send(_checked(struct.pack(">I", address)))
        self._acknowledged(step, f"the chip does not read at 0x{address:08x}", PROTECTED)
        self._send(bytes([n - 1, (n - 1) ^ 0xFF]))
        self._acknowledged(step, f"the chip does not read at 0x{address:08x}", PROTECTED)
        return self._take(step, n)

    def _acknowledged(self, step: str, refused: str, remedy: str, seconds: float = _ANSWER_SECONDS) -> None:
        until = time.monotonic() + seconds
        answer = b""
        while not answer and time.monotonic() < until:
            answer = self._receive(step, 1)
        if not answer:
            raise FlashError(step, "the bootloader has stopped answering", LINE)
        if answer[0] == _NACK:
            raise FlashError(step, refused, remedy)
        if answer[0] != _ACK:
            raise FlashError(step, f"the bootloader answers 0x{answer[0]:02x}, which means nothing", LINE)

    def _take(self, step: str, n: int) -> bytes:
        data = self._receive(step, n)
        if len(data) < n:
            raise FlashError(step, "the bootloader has stopped answering", LINE)
        return data

    def _receive(self, step: str, n: int) -> bytes:
        assert self._line is not None
        try:
            return bytes(self._line.read(n))
        except OSError as error:  # pyserial's own are among them
            raise FlashError(step, "the line to the board broke", LINE) from error

    def _send(self, data: bytes) -> None:
        assert self._line is not None
        with contextlib.suppress(OSError):  # the answer will be missing
            self._line.write(data)

    def _sectors_of(self, image: Image) -> list[int]:
        """Numbers of the sectors that the image lies in."""
        at, number, found = self.about.address, 0, []
        for size, many in self.settings["sectors"]:
            for _ in range(many):
                if at < image.end and at + size > image.address:
                    found.append(number)
                at, number = at + size, number + 1
        return found


def _checked(data: bytes) -> bytes:
    """With the exclusive or of all its bytes behind it."""
    return data + bytes([reduce(xor, data)])
