"""Put an image on a board, and hear from the board itself that it runs it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from spedge.base.errors import DeviceError, DeviceGone, UsageError
from spedge.boards.flash.image import Image, told_image
from spedge.boards.flash.ssh import Ssh
from spedge.boards.flash.way import Chip, FlashError, Way
from spedge.boards.flash.ways import choose
from spedge.boards.flash.write import ALREADY, UNTOUCHED, UNVERIFIED, VERIFIED, Tell, Written, require_room, write
from spedge.boards.manifest import Board
from spedge.boards.ports import list_ports, port_of
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
    listen: str | None = None,
    key: Path | None = None,
) -> Flashed:
    """Write an image that was built for the board, in the way of that name or the first that can be used here.

    image: an ELF file, or the program of a board that runs Linux. model_hash: what HELLO has to say, 64 hex digits;
    None: whatever it says. serial: the number of the probe, or of the board's own USB. address: where the firmware
    answers (`/dev/…`), or user@name. listen, key: of the agent of a board that runs Linux, where it shall listen
    (ADDRESS:PORT) and the file of the key that it shall ask for.
    Raises FlashError, which names the step and what is on the board now, UsageError for a board that is not written.
    """
    way = choose(board, method)(board, serial, address)
    if listen or key:
        if not isinstance(way, Ssh):
            raise UsageError(f"--listen and --key are for agents, which are copied by ssh; {board.name} has none")
        way.listen(listen, key)
    port = PortOf(way)
    content = way.image_of(image)
    if way.in_bootloader and not way.is_waiting():
        tell("Asking the firmware that runs")
        if (found := _ask(way, port, image, content, dry_run)) is not None:
            return found
    written = write(way, content, tell, dry_run)
    if dry_run:
        return Flashed(written, None, not dry_run)
    tell("Waiting for the firmware")
    try:
        hello, told = _hear(way, port, image, model_hash)
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


class PortOf:
    """Where a board's firmware answers. After a reset USB may give its port another name; its number stays."""

    def __init__(self, way: Way) -> None:
        self.board, self.named = way.board, way.address
        present = list_ports()
        path = os.path.realpath(way.port) if way.port else None
        known = [port for port in present if port.device == path or (path is None and port.serial_number == way.serial)]
        self.number = known[0].serial_number if known else None
        if way.in_bootloader and way.serial and not way.port:
            self.number = way.serial
        #: Ports of boards of the kind that are in use now, and stay so while another one is in its bootloader.
        self.others = [port for port in present if self.board.name in port.boards] if way.in_bootloader else []

    def address(self) -> str:
        """Raises DeviceError where there is none, or more than one."""
        if self.number is None:
            return self.named or port_of(self.board, self.others).device
        found = [port.device for port in list_ports() if port.serial_number == self.number]
        if not found:
            raise DeviceGone(f"no port has the USB serial number {self.number}")
        return self.named if self.named in found else found[0]

    def look(self) -> None:
        """Which of those that are there now it is; the same as `address`."""
        if self.number is None and self.named is None:
            port = port_of(self.board)
            self.number = port.serial_number
            self.others.remove(port)


def _ask(way: Way, port: PortOf, image: Path, content: Image, dry_run: bool) -> Flashed | None:
    """Have the firmware that runs start its bootloader, when it is another one than this image and it is no dry run.

    Returns what there is to say where nothing has to be written; else `way.asked` has what came of it: where no
    firmware answers, the board may be in its bootloader already. Raises FlashError.
    """
    tool = way.find_tool()
    require_room(way, Chip(None), content)
    try:
        port.look()
        address = port.address()
        with Device.open(address, baud=_baud(way.board), timeouts=PROBE, yields=True) as device:
            hello, told = device.hello, device.image()
            holds = told.length > 0 and (told.length, told.crc) == told_image(image)
            if not holds and not dry_run:
                device.reboot(to_bootloader=True)
    except DeviceError as error:
        way.asked = str(error)
        return None
    if not holds and not dry_run:
        way.asked = ""
        time.sleep(_AGAIN_SECONDS)
        return None
    chip = Chip(None, None, port.number, address)
    state = ALREADY if holds else UNTOUCHED
    return Flashed(
        Written(way.name, tool, chip, content.address, len(content.data), content.crc, state), hello, verified=holds
    )


def _baud(board: Board) -> int:
    return board.serial.baud if board.serial else BAUD


def _hear(way: Way, port: PortOf, image: Path, model_hash: str | None) -> tuple[Hello, bool]:
    """HELLO of the board, and whether it told that its image is this one. Raises FlashError."""
    length, crc = told_image(image)
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            with Device.open(port.address(), baud=_baud(way.board), timeouts=PROBE, yields=True) as device:
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
