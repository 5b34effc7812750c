"""A chip's flash, as doubles of probes and bootloaders see it: it lies in a folder, so that processes share it.

Flash is erased by sectors and written by clearing bits, as real flash is: who forgets to erase is found out. What goes
wrong is in chip.json: "flip" (an offset: a bit does not become what was written), "cut" (bytes after which the line is
dead), "protected" (numbers of sectors), "rights", "busy", "gone", "dead" (the chip does not answer its probe).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ADDRESS = 0x08000000
ID_AT, SIZE_AT = 0x5C001000, 0x1FF1E880


class Cut(Exception):
    """The line is dead."""


class Protected(Exception):
    """A sector that may not be changed."""


class Chip:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = json.loads((folder / "chip.json").read_text())
        self.moved = 0  # bytes over the line, in this process

    @classmethod
    def make(
        cls,
        folder: Path,
        size: int = 256 << 10,
        sector: int = 16 << 10,
        identity: int = 0x450,
        address: int = ADDRESS,
    ) -> Chip:
        about = {"size": size, "sector": sector, "id": identity, "address": address}
        (folder / "chip.json").write_text(json.dumps(about))
        (folder / "flash.bin").write_bytes(b"\xff" * size)
        return cls(folder)

    def fail(self, **faults: Any) -> None:
        self.about |= faults
        (self.folder / "chip.json").write_text(json.dumps(self.about))

    @property
    def address(self) -> int:
        return int(self.about["address"])

    @property
    def flash(self) -> bytes:
        return (self.folder / "flash.bin").read_bytes()

    @property
    def protected(self) -> bool:
        return bool(self.about.get("protected"))

    def word(self, address: int) -> int:
        """The registers that say what chip it is."""
        if address == ID_AT:
            return int(self.about["id"]) | 0x2003 << 16
        if address == SIZE_AT:
            return int(self.about["size"]) >> 10
        raise KeyError(hex(address))

    def read(self, address: int, n: int) -> bytes:
        self._move(n)
        return self.flash[address - self.address :][:n]

    def erase(self, sector: int) -> None:
        self._move(1)
        size = self.about["sector"]
        if sector in self.about.get("protected", ()):
            raise Protected
        self._put(sector * size, b"\xff" * size)

    def sectors(self, address: int, n: int) -> range:
        size = self.about["sector"]
        return range((address - self.address) // size, (address - self.address + n - 1) // size + 1)

    def program(self, address: int, data: bytes) -> None:
        for number in self.sectors(address, len(data)):
            if number in self.about.get("protected", ()):
                raise Protected
        self._move(len(data))
        at = address - self.address
        with (self.folder / "flash.bin").open("rb") as file:
            file.seek(at)
            before = file.read(len(data))
        new = bytearray(is_ & shall for is_, shall in zip(before, data, strict=True))
        flip = self.about.get("flip")
        if flip is not None and at <= flip < at + len(data):
            new[flip - at] ^= 4
        self._put(at, bytes(new))

    def _put(self, at: int, data: bytes) -> None:
        with (self.folder / "flash.bin").open("r+b") as file:
            file.seek(at)
            file.write(data)

    def _move(self, n: int) -> None:
        self.moved += n
        cut = self.about.get("cut")
        if cut is not None and self.moved > cut:
            raise Cut
