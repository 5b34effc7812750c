"""UF2: a bootloader that is a USB drive. What is copied there cannot be read back: the firmware tells its CRC."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import ClassVar

from spedge.boards.flash.image import Image, to_uf2
from spedge.boards.flash.programs import LINE
from spedge.boards.flash.way import Chip, Count, FlashError, Need, Way

_INFO = "INFO_UF2.TXT"
_ID = "Board-ID"
_PIECE_BYTES = 32 << 10
_APPEAR_SECONDS = 10.0
_VANISH_SECONDS = 10.0
_BOOTSEL = "hold BOOTSEL while you plug the board in, and wait until its drive is mounted"
_MOUNT = "mount it, as a desktop does by itself, and flash again"


class Uf2(Way):
    """Settings: "board_id", as the drive names itself. The chip's family is the manifest's `uf2_family`."""

    name: ClassVar[str] = "uf2"
    need: ClassVar[Need] = Need("spedge", "", module=True)
    reads: ClassVar[bool] = False
    in_bootloader: ClassVar[bool] = True

    _drive: Path | None = None

    def find_tool(self) -> str:
        return "the board's own bootloader, a USB drive"

    def is_waiting(self) -> bool:
        return not (self.port or self.serial) and bool(self._fitting(drives()))

    def find_chip(self) -> Chip:
        until = time.monotonic() + (_APPEAR_SECONDS if self.asked == "" else 0.0)
        while not (fitting := self._fitting(found := drives())) and time.monotonic() < until:
            time.sleep(0.1)
        if not found and self.asked == "":
            raise FlashError("board", "the firmware went to its bootloader, and no drive of it is mounted", _MOUNT)
        if not found:
            why = f" ({self.asked})" if self.asked else ""
            raise FlashError("board", f"no drive of a UF2 bootloader is mounted{why}", _BOOTSEL)
        if not fitting:
            others = ", ".join(f"{_field(info, _ID)} at {drive}" for drive, info in found.items())
            wanted = self.settings["board_id"]
            raise FlashError(
                "board", f"the drive is of another board ({others}), not {wanted}", "unplug it, or name its board"
            )
        if len(fitting) > 1:
            raise FlashError("board", f"there are {len(fitting)} such boards", "unplug all but one")
        self._drive = fitting[0]
        return Chip(None, None, None, str(self._drive))

    def _fitting(self, found: dict[Path, str]) -> list[Path]:
        wanted = str(self.settings["board_id"])
        return [drive for drive, info in found.items() if _field(info, _ID).startswith(wanted)]

    def write(self, image: Image, count: Count) -> None:
        """In pieces; with the last block the drive goes away, and the bootloader starts the program."""
        assert self._drive is not None and self.about.uf2_family is not None
        content = to_uf2(image, self.about.uf2_family)
        done = 0
        try:
            with (self._drive / "firmware.uf2").open("wb", buffering=0) as file:
                while done < len(content):
                    done += file.write(content[done : done + _PIECE_BYTES])
                    count(len(image.data) * done // len(content))
                with contextlib.suppress(OSError):  # it may have gone with the last block
                    os.fsync(file.fileno())
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise FlashError("write", f"you may not write to {self._drive}", "mount it for your user") from error
            if error.errno == errno.ENOSPC:
                raise FlashError("write", f"{self._drive} has no room", "flash a smaller model") from error
            raise FlashError("write", f"the board was gone after {done} of {len(content)} bytes", LINE) from error

        self._gone()

    def _gone(self) -> None:
        """A drive that stays has not taken all."""
        assert self._drive is not None
        until = time.monotonic() + _VANISH_SECONDS
        while (self._drive / _INFO).exists():
            if time.monotonic() > until:
                raise FlashError("write", f"the drive {self._drive} stays, so the bootloader lacks something", LINE)
            time.sleep(0.05)

    def reset(self) -> None:
        """The bootloader has started the program."""


def drives() -> dict[Path, str]:
    """Mounted drives of UF2 bootloaders, with what their information file says."""
    found = {}
    for place in _mounts():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found[place] = (place / _INFO).read_text()
    return found


def _mounts() -> list[Path]:
    import psutil

    parts = psutil.disk_partitions(all=True)
    return [Path(part.mountpoint) for part in parts if part.fstype.lower() in ("vfat", "msdos", "fat", "fat32")]


def _field(info: str, name: str) -> str:
    return next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith(f"{name}:")), "")
