"""What the program in a chip's flash would say over the link: HELLO and IMAGE, from what lies in flash now."""

from __future__ import annotations

import os
import pty
import select
import struct
import threading
import tty
import zlib

from spedge.link.frames import REPLY_BIT, VERSION, ErrorCode, Frame, FrameReader, Type
from tests.flash.chip import Chip


def short(data: bytes) -> bytes:
    return bytes([len(data)]) + data


class Firmware:
    """Speaks behind a pseudo-terminal of its own, or on a descriptor that it is given.

    board, model_hash: what HELLO says. length: of its image. tells: whether it can tell its image's CRC.
    """

    def __init__(
        self, chip: Chip, length: int, board: str = "bench", model_hash: bytes = b"", tells: bool = True
    ) -> None:
        self.chip, self.length, self.board, self.model_hash, self.tells = chip, length, board, model_hash, tells
        self.rebooted: list[int] = []
        self._end, self._ended = os.pipe()
        self._threads: list[threading.Thread] = []
        self._fds: list[int] = []
        self.path = ""

    def open(self) -> str:
        master, slave = pty.openpty()
        tty.setraw(slave)
        self._fds += [master, slave]
        self.path = os.ttyname(slave)
        self.speak(master)
        return self.path

    def speak(self, fd: int) -> None:
        self._threads.append(threading.Thread(target=self._serve, args=(fd,), daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        os.write(self._ended, b"x")
        for thread in self._threads:
            thread.join()
        for fd in (*self._fds, self._end, self._ended):
            os.close(fd)

    def _serve(self, fd: int) -> None:
        reader = FrameReader()
        while self._end not in (ready := select.select([fd, self._end], [], [])[0]):
            for frame in reader.feed(os.read(fd, 4096)) if ready else ():
                if self.chip.flash[:4] != b"\xff" * 4:  # else there is no program
                    os.write(fd, self._answer(frame).encode())

    def _answer(self, frame: Frame) -> Frame:
        payload = b""
        kind = frame.type | REPLY_BIT
        if frame.type == Type.HELLO:
            numbers = struct.pack("<HBBHHIIHHHBBIII", VERSION, bool(self.model_hash), 3, 1024, 4, 65536, *[0] * 9)
            texts = b"".join(map(short, (b"1.2.3", b"gcc", self.board.encode(), b"a model")))
            payload = numbers + self.model_hash.ljust(32, b"\0") + texts + bytes(9)
        elif frame.type == Type.IMAGE and self.tells:
            payload = struct.pack("<II", self.length, zlib.crc32(self.chip.flash[: self.length]))
            payload += short(b"") + short(b"\x01\x02")
        elif frame.type == Type.IMAGE:
            payload = struct.pack("<II", 0, 0) + short(b"") + short(b"")
        elif frame.type == Type.REBOOT:
            self.rebooted.append(frame.payload[0])
        else:
            kind = Type.ERROR
            payload = struct.pack("<HBII", ErrorCode.TYPE, frame.type, 0, 0) + short(b"unknown request type")
        return Frame(kind, frame.seq, 0, payload, frame.flags)
