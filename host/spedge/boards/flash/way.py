"""What all ways of writing a board have in common: the steps, what is found at each, and the error that names one."""

from __future__ import annotations

import abc
import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from spedge.base.errors import DeviceError
from spedge.boards.flash.image import Image, read_elf
from spedge.boards.manifest import Board, Flash

#: What is done, in this order.
STEPS = ("tool", "board", "room", "compare", "write", "verify", "reset", "hello")
Count = Callable[[int], None]  #: gets the bytes that are done so far


class FlashError(DeviceError):
    """A step failed. what: in a clause; remedy: what to do, in another."""

    def __init__(self, step: str, what: str, remedy: str, state: str = "nothing was written") -> None:
        super().__init__(f"{what}: {remedy} (step {step}; {state})")
        self.step, self.what, self.remedy = step, what, remedy

    def left(self, state: str) -> FlashError:
        """The same, with what is on the board now."""
        return type(self)(self.step, self.what, self.remedy, state)


@dataclass(frozen=True)
class Need:
    """What a way needs on this machine, a program or a module of Python, and the command that brings it."""

    name: str
    bring: str
    module: bool = False

    @property
    def present(self) -> bool:
        return importlib.util.find_spec(self.name) is not None if self.module else shutil.which(self.name) is not None


@dataclass(frozen=True)
class Chip:
    """What answered. id: as the chip's own register or its bootloader tells it, None where nothing tells it.

    flash_bytes: by the chip, None where it does not say. serial: of the probe or the board. where: port or probe.
    """

    id: int | None
    flash_bytes: int | None = None
    serial: str | None = None
    where: str = ""


class Way(abc.ABC):
    """One way to write a board. The steps are called in the order of STEPS, `close` at the end, whatever happened."""

    name: ClassVar[str]
    need: ClassVar[Need]
    #: Whether what was written can be read back; else only the firmware itself can tell.
    reads: ClassVar[bool] = True
    #: Whether the board has to be in its bootloader, so that the running firmware is asked to go there.
    in_bootloader: ClassVar[bool] = False
    #: Whether a part of an image can be compared with what is there; else only all of it.
    compares_parts: ClassVar[bool] = True

    def __init__(self, board: Board, serial: str | None = None, port: str | None = None) -> None:
        assert board.flash
        self.board = board
        self.about: Flash = board.flash
        self.settings: dict[str, Any] = board.flash.methods[self.name]
        self.serial = serial
        self.port = port
        self.asked: str | None = None  # why the firmware was not asked for its bootloader; "" when it has gone there

    @property
    def address(self) -> str | None:
        """Where the firmware answers, None where its port has to be looked for."""
        return self.port

    @staticmethod
    def image_of(path: Path) -> Image:
        """What is written of a build: the bytes that its ELF file puts into flash."""
        return read_elf(path)

    def is_waiting(self) -> bool:
        """Whether a board is in its bootloader already, so that none has to be asked to go there."""
        return False

    def find_tool(self) -> str:
        """What writes, with its version. Raises FlashError, with the command that brings it."""
        if not self.need.present:
            raise FlashError("tool", f"{self.need.name} is not installed", self.need.bring)
        return self.need.name

    @abc.abstractmethod
    def find_chip(self) -> Chip:
        """The board, by what its chip says. Raises FlashError."""

    @abc.abstractmethod
    def write(self, image: Image, count: Count) -> None:
        """Raises FlashError of the step "write"."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Start what was written. Raises FlashError of the step "reset"."""

    def read(self, address: int, n: int, count: Count) -> bytes:
        """n bytes of the chip's memory. Raises FlashError of the step "verify"."""
        raise NotImplementedError

    def difference(self, image: Image, count: Count) -> str | None:
        """Where the board holds something else, None when it holds the image."""
        found = self.read(image.address, len(image.data), count)
        if found == image.data:
            return None
        wrong = [at for at, (is_, shall) in enumerate(zip(found, image.data, strict=False)) if is_ != shall]
        if not wrong:
            return f"only {len(found)} of {len(image.data)} bytes could be read back"
        at = wrong[0]
        return (
            f"{len(wrong)} bytes differ, the first at 0x{image.address + at:08x}, "
            f"where 0x{found[at]:02x} is and 0x{image.data[at]:02x} was written"
        )

    def close(self) -> None:  # noqa: B027
        """Let go of the board, where it is held."""
