"""Put an image on a board, and hear from the board itself that it runs it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from spedge.base.errors import DeviceError, UsageError
from spedge.boards.flash.image import told_image
from spedge.boards.flash.way import FlashError, Way
from spedge.boards.flash.ways import choose
from spedge.boards.flash.write import UNVERIFIED, VERIFIED, Tell, Written, write
from spedge.boards.manifest import Board
from spedge.boards.ports import port_of
from spedge.device.open import Device
from spedge.jobs.devices import PROBE
from spedge.link.protocol import Hello
from spedge.link.transport import BAUD

_START_SECONDS = 10.0  # until the firmware answers: USB has to be found again
_AGAIN_SECONDS = 0.2


@dataclass(frozen=True)
class Flashed:
    """What was done, and what the board said when it had started: hello is None when it was not asked.

    verified: by reading back, or by the CRC-32 that the device told of its image.
    """

    written: Written
    hello: Hello | None
    verified: bool


def flash(
    board: Board,
    image: Path,
    model_hash: str | None = None,
    method: str | None = None,
    serial: str | None = None,
    address: str | None = None,
    tell: Tell = lambda _: None,
    dry_run: bool = False,
) -> Flashed:
    """Write an image that was built for the board, in the way of that name or the first that can be used here.

    image: an ELF file, or the program of a board that runs Linux. model_hash: what HELLO has to say, 64 hex digits;
    None: whatever it says. serial: the number of the probe. address: where the firmware answers
    (`/dev/…`), or user@name.
    Raises FlashError, which names the step and what is on the board now, UsageError for a board that is not written.
    """
    way = choose(board, method)(board, serial, address)

    def ask_bootloader(say: Tell) -> None:
        say("Asking the firmware to start its bootloader")
        _to_bootloader(way)

    written = write(way, way.image_of(image), tell, dry_run, ask_bootloader)
    if dry_run or not way.answers:
        return Flashed(written, None, not dry_run)
    tell("Waiting for the firmware")
    try:
        hello, told = _hear(way, image, model_hash)
    except FlashError as error:
        raise error.left(written.state) from error
    if written.state == UNVERIFIED and not told:
        raise FlashError(
            "hello",
            f"{board.name} answers and cannot tell its image's CRC",
            "flash a firmware of this version of spedge",
            UNVERIFIED,
        )
    return Flashed(written, hello, written.state != UNVERIFIED or told)


def _to_bootloader(way: Way) -> None:
    """Firmware of ours goes there when it is asked; where none answers, the board may be there already."""
    try:
        address = way.port or port_of(way.board).device
        with Device.open(address, baud=_baud(way.board), timeouts=PROBE, yields=True) as device:
            device.reboot(to_bootloader=True)
        time.sleep(_AGAIN_SECONDS)
    except DeviceError:
        pass


def _baud(board: Board) -> int:
    return board.serial.baud if board.serial else BAUD


def _hear(way: Way, image: Path, model_hash: str | None) -> tuple[Hello, bool]:
    """HELLO of the board, and whether it told that its image is this one. Raises FlashError."""
    length, crc = told_image(image)
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            address = way.port or port_of(way.board).device
            with Device.open(address, baud=_baud(way.board), timeouts=PROBE, yields=True) as device:
                hello, told = device.hello, device.image()
            break
        except UsageError as error:
            raise FlashError("hello", str(error), "give its port by --device") from error
        except DeviceError as error:
            if time.monotonic() > until:
                raise FlashError(
                    "hello", f"the firmware does not answer ({error})", "press reset, or give its port by --device"
                ) from error
            time.sleep(_AGAIN_SECONDS)
    again = "flash again"
    if hello.board != way.board.name:
        raise FlashError("hello", f"the board that answers is {hello.board}", "name its port by --device")
    if told.length and (told.length, told.crc) != (length, crc):
        raise FlashError(
            "hello",
            f"the board runs an image of {told.length} bytes with the CRC 0x{told.crc:08x}, "
            f"not {length} with 0x{crc:08x}",
            again,
        )
    if model_hash is not None and (hello.model_hash or bytes(32)).hex() != model_hash:
        raise FlashError("hello", f"the board runs the model {hello.model!r}, which is another", again)
    return hello, told.length > 0


def describe(flashed: Flashed) -> str:
    """What was done, in a sentence."""
    written = flashed.written
    state = VERIFIED if flashed.verified and written.state == UNVERIFIED else written.state
    rate = f", {written.length / 1024:.0f} KB in {written.seconds:.1f} s" if written.wrote else ""
    answer = f"; {flashed.hello.board} answers, firmware {flashed.hello.version}" if flashed.hello else ""
    return f"{state}{rate}, by {written.tool}{answer}"
