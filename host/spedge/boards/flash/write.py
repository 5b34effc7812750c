"""The steps from finding the tool to the reset, in one order for all ways; errors tell what is on the board."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from spedge.boards.flash.image import Image
from spedge.boards.flash.way import Chip, Count, FlashError, Way

Tell = Callable[[str], None]  #: gets short sentences

UNTOUCHED = "nothing was written"
PARTLY = "the board's flash is not whole: flash again before it is used"
UNVERIFIED = "written, and not verified"
VERIFIED = "written and verified"
ALREADY = "it holds this image already"
_FIRST_BYTES = 1024  # compared first: other firmware is seen without reading all of it


@dataclass(frozen=True)
class Written:
    """What was done. state: one of the sentences of this module, what the board holds now.

    seconds: of writing alone, 0 when nothing was. crc: CRC-32 of the image's `length` bytes from `address` on.
    """

    method: str
    tool: str
    chip: Chip
    address: int
    length: int
    crc: int
    state: str
    seconds: float = 0.0

    @property
    def wrote(self) -> bool:
        return self.state in (VERIFIED, UNVERIFIED)


def write(way: Way, image: Image, tell: Tell, dry_run: bool = False) -> Written:
    """Put the image on the board; what cannot be read back is left unverified (the device tells).

    dry_run: stop before writing.
    Raises FlashError, with the step and what the board holds now.
    """
    state = UNTOUCHED
    seconds = 0.0
    try:
        tell("Looking for the tool")
        tool = way.find_tool()
        tell(f"Looking for {way.board.name} by {tool}")
        chip = way.find_chip()
        _require_chip(way, chip)
        require_room(way, chip, image)
        if _holds(way, image, tell):
            state = ALREADY
        elif not dry_run:
            state = PARTLY
            begin = time.monotonic()
            way.write(image, _counter("Writing", len(image.data), tell))
            seconds = time.monotonic() - begin
            state = _verified(way, image, tell)
        if not dry_run:
            tell("Starting the program")
            way.reset()
    except FlashError as error:
        raise error.left(state) from error
    finally:
        way.close()
    return Written(way.name, tool, chip, image.address, len(image.data), image.crc, state, seconds)


def _require_chip(way: Way, chip: Chip) -> None:
    wanted = way.about.chip_id
    if wanted is not None and chip.id is not None and chip.id != wanted:
        raise FlashError(
            "board",
            f"the chip that answers has the id 0x{chip.id:03x} and {way.board.name}'s has 0x{wanted:03x}",
            "it is another board: name it by --board, or its probe by --serial",
        )


def require_room(way: Way, chip: Chip, image: Image) -> None:
    """Raises FlashError of the step "room"."""
    room = min(way.board.flash_bytes, chip.flash_bytes or way.board.flash_bytes)
    if image.address < way.about.address or image.end > way.about.address + room:
        raise FlashError(
            "room",
            f"the image is for 0x{image.address:08x} to 0x{image.end:08x} and the board has {room:,} bytes "
            f"from 0x{way.about.address:08x} on",
            "choose a smaller model, or another board",
        )


def _holds(way: Way, image: Image, tell: Tell) -> bool:
    """Whether the board has the image already; not known where nothing can be read."""
    if not way.reads:
        return False
    tell("Comparing with what is there")
    first = Image(image.address, image.data[:_FIRST_BYTES])
    try:
        if way.compares_parts and way.difference(first, lambda _: None) is not None:
            return False
        return way.difference(image, _counter("Comparing", len(image.data), tell)) is None
    except FlashError as error:
        raise FlashError("compare", error.what, error.remedy) from error


def _verified(way: Way, image: Image, tell: Tell) -> str:
    if not way.reads:
        return UNVERIFIED
    difference = way.difference(image, _counter("Reading back", len(image.data), tell))
    if difference is not None:
        raise FlashError("verify", difference, "flash again; if it stays, the cable or the flash is bad")
    return VERIFIED


def _counter(doing: str, total: int, tell: Tell) -> Count:
    begin = time.monotonic()

    def count(done: int) -> None:
        rate = done / max(time.monotonic() - begin, 1e-3)
        tell(f"{doing} {done >> 10} of {-(-total // 1024)} KB, {rate / 1024:.0f} KB/s")

    return count
