"""The commands of an eDVS, answered as its firmware (eDVS4337) does: echo, replies, reset, greeting."""

from __future__ import annotations

import time
from collections.abc import Callable

_MOST_LINE = 127
_GREETING = "\nEDVS-4337, V0.0 emulated by spedge\nSystem Clock: 192MHz; 1us event time resolution\n"
_FORMATS = (
    "List of available event data formats:\n"
    " !E0   - 1yyyyyyy.pxxxxxxx, no time\n"
    " !E1   - and the time since the last event, 7 bits each byte\n"
    " !E2   - and 16 bits of time\n !E3   - and 24 bits of time\n !E4   - and 32 bits of time\n"
)
_HELP = "Supported Commands:\n E+/-, !E0 to !E4, ?E, ??E, !U0 to !U2, !U=x, !L0 to !L2, R, ??\n"


class Edvs:
    """The side of an eDVS that listens: give it what the host sends, it gives back what the camera says.

    While it sends events it neither echoes nor confirms; between a reset and its greeting it is deaf.
    streaming: it sends events, in format `mode` (0 to 4). starts: how often it was told to begin.
    """

    def __init__(self, boot_seconds: float = 0.01, clock: Callable[[], float] = time.monotonic) -> None:
        self._boot_seconds = boot_seconds
        self._clock = clock
        self._boots_until: float | None = None
        self.starts = 0
        self._power_on()

    def _power_on(self) -> None:
        self.streaming = False
        self.mode = 0
        self._echo = 2  # 0 none, 1 what is typed, 2 confirmations, too
        self._line = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What it says to these bytes; also call it with none now and then: it may have come up after a reset."""
        said = bytearray()
        if self._boots_until is not None and self._clock() >= self._boots_until:
            self._boots_until = None
            said += _GREETING.encode()
        for byte in data:
            if self._boots_until is None:
                said += self._take(byte)
        return bytes(said)

    def _take(self, byte: int) -> bytes:
        echoes = self._echo > 0 and not self.streaming
        if byte in b"\r\n":
            line, self._line = self._line.decode(), bytearray()
            return (b"\n" if echoes else b"") + (self._obey(line).encode() if line else b"")
        if byte == 8:
            gone = bool(self._line)
            del self._line[-1:]
            return b"\b \b" if gone and echoes else b""
        if byte & 0x80:
            return b""
        if len(self._line) >= _MOST_LINE:
            self._line.clear()
        self._line.append(byte)
        return bytes([byte]) if echoes else b""

    def _obey(self, line: str) -> str:
        name, rest = line[0].upper(), line[1:].upper()
        if name == "?":
            return self._tell(rest)
        if name == "!":
            return self._set(rest)
        if name == "R":
            self._power_on()
            self._boots_until = self._clock() + self._boot_seconds
            return ""
        if name == "E":
            self.starts += rest.startswith("+") and not self.streaming
            self.streaming = rest.startswith("+")
            return ""
        return "?\n"

    def _tell(self, what: str) -> str:
        if what.startswith("E"):
            return f"-E{self.mode}\n"
        if what.startswith("?"):
            return _FORMATS if what[1:2] == "E" else _GREETING + _HELP
        return "Get: parsing error\n"

    def _set(self, what: str) -> str:
        name, value = what[:1], what[1:]
        if name == "E" and value[:1] in tuple("01234"):
            self.mode = int(value[0])
            return f"-E{self.mode}\n" if self._echo > 1 and not self.streaming else ""
        if name == "U" and value[:1] in tuple("012"):
            self._echo = int(value[0])
            return ""
        if name == "U" and value[:1] == "=":
            confirms = self._echo > 1 and not self.streaming
            return f"Switching Baud Rate to {value[1:]} Baud!\n" if confirms else ""
        if name == "L" and value[:1] in tuple("012"):
            return ""
        return "Set: parsing error\n"
