"""The USB host at the other end of a board's cable, for the doubles of chips with USB.

It does what a computer does: reads all descriptors, opens the serial port while a program has ours, a pseudo-terminal,
open (DTR), takes and gives packets when the device has room for them or some to give; to a drive it writes the blocks
of a file. It is the other end of a controller, which has the names of rp2040py's: reset_device and send_setup_packet on
the host's side, endpoint_read_done for a packet to the device, hooks for what the device does.
"""

from __future__ import annotations

import os
import pty
import select
import tty
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.chips.parts import Wrong

DESCRIPTOR, SET_ADDRESS, SET_CONFIGURATION, LINE_CODING, LINE_STATE = 6, 5, 9, 0x20, 0x22
DEVICE, CONFIGURATION, TEXT = 1, 2, 3
INTERFACE, ENDPOINT, CLASS_DATA, CLASS_STORAGE = 4, 5, 10, 8
TO_HOST, CLASS_INTERFACE = 0x80, 0x21
PACKET = 64
MOST_WAITING = 4096
BLOCK, FIRST_BLOCK = 512, 1024  #: of a drive, and one that is behind what a file system says of files
WRITE = 0x2A  # SCSI
STATUS_BYTES = 13


def say(what: str) -> None:
    print(what, flush=True)


class Request:
    """A control transfer: what it asks, what it gives, and who gets the answer."""

    def __init__(self, setup: bytes, out: bytes, then: Callable[[bytes], None]) -> None:
        self.setup, self.out, self.then = setup, out, then
        self.answer = b""
        self.length = int.from_bytes(setup[6:8], "little")
        self.to_host = bool(setup[0] & TO_HOST)


class Host:
    """The end of the cable that asks."""

    def __init__(self, usb: Any, on_reset: Callable[[], None] = lambda: None) -> None:
        self.usb, self.on_reset = usb, on_reset
        self.indicate = usb._indicate_buffer_ready
        usb._indicate_buffer_ready = self._hold_back  # the controller would take what nobody has asked for
        self.finish_read = usb._finish_read
        usb._finish_read = self._read
        usb.on_usb_enabled = self.attach
        usb.on_reset_received = self._enumerate
        usb.on_reset = self.forget
        usb.on_endpoint_write = self._written
        usb.on_endpoint_read = self._wanted
        self.master, slave = pty.openpty()
        self.path = os.ttyname(slave)
        tty.setraw(slave)
        os.close(slave)  # from now on the terminal says whether a program has it open
        os.set_blocking(self.master, False)
        self.poll = select.poll()
        self.poll.register(self.master, select.POLLIN)
        self.plugged, self.hears, self.asleep = True, True, False
        self.forget()

    def forget(self) -> None:
        """The device is off the bus."""
        self.requests: deque[Request] = deque()
        self.to_device, self.to_program = b"", b""
        self.room: deque[int] = deque()  # packets that the device waits for
        self.held = 0  # packets of the device that the host has not asked for
        self.ready, self.opened, self.sees_open = False, False, False
        self.endpoint_in = self.endpoint_out = -1
        self.is_drive = False
        self.blocks: deque[bytes] = deque()  # for a drive, which has got so many:
        self.written = 0
        self.packets: deque[bytes] = deque()
        self.awaits_status = False

    def attach(self) -> None:
        if self.plugged:
            self.usb.reset_device()

    # ---- requests ----------------------------------------------------------------------------------------------

    def ask(self, kind: int, request: int, value: int, index: int, out: bytes | int, then: Callable[..., None]) -> None:
        """out: bytes for the device, or how many of it are wanted."""
        length = out if isinstance(out, int) else len(out)
        words = (value, index, length)
        setup = bytes((kind, request)) + b"".join(word.to_bytes(2, "little") for word in words)
        self.requests.append(Request(setup, b"" if isinstance(out, int) else out, then))
        if len(self.requests) == 1:
            self.usb.send_setup_packet(setup)

    def _done(self) -> None:
        request = self.requests.popleft()
        waits = bool(self.requests)
        request.then(request.answer)
        if waits:
            self.usb.send_setup_packet(self.requests[0].setup)

    def _written(self, endpoint: int, packet: bytes) -> None:
        if endpoint == self.endpoint_in:
            self.to_program += packet
            return
        if endpoint != 0 or not self.requests:
            return
        request = self.requests[0]
        if request.to_host:
            request.answer += packet
        elif packet:
            raise Wrong("data in answer to a request that takes none")
        else:
            self._done()

    def _wanted(self, endpoint: int, n: int) -> None:
        if endpoint == self.endpoint_out:
            self.room.append(n)
        elif endpoint == 0 and self.requests:
            self.usb.endpoint_read_done(0, self.requests[0].out[:n])

    def _read(self, endpoint: int, packet: bytes) -> None:
        """The device has got a packet."""
        self.finish_read(endpoint, packet)
        if endpoint == 0 and self.requests and self.requests[0].to_host:
            self._done()

    # ---- what a computer does with a new device ----------------------------------------------------------------

    def _enumerate(self) -> None:
        self.forget()
        self.on_reset()
        self.about, self.texts = b"", [""]
        self.ask(TO_HOST, DESCRIPTOR, DEVICE << 8, 0, 8, lambda _: None)
        self.ask(0, SET_ADDRESS, 7, 0, b"", lambda _: None)
        self.ask(TO_HOST, DESCRIPTOR, DEVICE << 8, 0, 18, self._device)
        self.ask(TO_HOST, DESCRIPTOR, CONFIGURATION << 8, 0, 9, self._length)

    def _device(self, about: bytes) -> None:
        if len(about) != 18 or about[0] != 18 or about[1] != DEVICE or about[7] != PACKET:
            raise Wrong(f"the descriptor of the device is {about.hex()}")
        self.about = about

    def _length(self, head: bytes) -> None:
        total = int.from_bytes(head[2:4], "little")
        self.ask(TO_HOST, DESCRIPTOR, CONFIGURATION << 8, 0, total, self._configuration)

    def _configuration(self, about: bytes) -> None:
        if len(about) != int.from_bytes(about[2:4], "little"):
            raise Wrong(f"the configuration is {about.hex()}")
        is_data, at = False, 0
        while at < len(about):
            length, kind = about[at], about[at + 1]
            if kind == INTERFACE:
                is_data = about[at + 5] in (CLASS_DATA, CLASS_STORAGE)
                self.is_drive |= about[at + 5] == CLASS_STORAGE
            elif kind == ENDPOINT and is_data:
                if int.from_bytes(about[at + 4 : at + 6], "little") != PACKET:
                    raise Wrong("a bulk endpoint has packets of another size")
                number = about[at + 2] & 0xF
                if about[at + 2] & TO_HOST:
                    self.endpoint_in = number
                else:
                    self.endpoint_out = number
            at += length
        for index in self.about[14:17]:
            self.ask(TO_HOST, DESCRIPTOR, TEXT << 8 | index, 0x0409, 255, self._text)
        self.ask(0, SET_CONFIGURATION, about[5], 0, b"", self._attached)

    def _text(self, text: bytes) -> None:
        if len(text) < 4 or text[0] != len(text) or text[1] != TEXT:
            raise Wrong(f"a text is {text.hex()}")
        self.texts.append(text[2:].decode("utf-16-le"))

    def _attached(self, _: bytes) -> None:
        vendor, product = (int.from_bytes(self.about[i : i + 2], "little") for i in (8, 10))
        say(f"attached {vendor:04x}:{product:04x} {' '.join(self.texts[1:])}")
        self.ready = True

    # ---- the port ----------------------------------------------------------------------------------------------

    def serve(self) -> bool:
        """Between the program that has the port open and the device; whether there was something to do."""
        if not self.ready or not self.plugged or self.asleep:
            return False
        if self.is_drive:
            return self._serve_drive()
        state = next(iter(self.poll.poll(0)), (0, 0))[1]
        is_open = not state & select.POLLHUP
        if is_open != self.sees_open:
            self.sees_open = is_open
            if is_open:
                self.ask(
                    CLASS_INTERFACE, LINE_CODING, 0, 0, (115_200).to_bytes(4, "little") + b"\0\0\x08", lambda _: None
                )
            else:
                self.to_device = b""
            self.ask(CLASS_INTERFACE, LINE_STATE, 3 * is_open, 0, b"", lambda _: self._open(is_open))
        busy = bool(self.requests)
        if self.opened and state & select.POLLIN and len(self.to_device) < MOST_WAITING:
            self.to_device += os.read(self.master, MOST_WAITING)
        while self.room and self.to_device:
            n = self.room.popleft()
            self.usb.endpoint_read_done(self.endpoint_out, self.to_device[:n])
            self.to_device = self.to_device[n:]
            busy = True
        if self.to_program and self.opened and self.hears:
            try:
                self.to_program = self.to_program[os.write(self.master, self.to_program) :]
            except BlockingIOError:
                return busy
        if not self.to_program or not self.opened:
            self.to_program = b""
            while self.held and self.hears:
                self.held -= 1
                self.indicate(self.endpoint_in, False)
                busy = True
        return busy

    # ---- a drive: USB mass storage, bulk-only ------------------------------------------------------------------

    def copy(self, content: bytes) -> None:
        """To its blocks, one behind the other."""
        if not self.is_drive:
            raise Wrong("what is attached is no drive")
        self.blocks.extend(content[at : at + BLOCK] for at in range(0, len(content), BLOCK))

    def _serve_drive(self) -> bool:
        if self.blocks and not self.awaits_status:
            block = self.blocks.popleft()
            command = bytes((WRITE, 0)) + (FIRST_BLOCK + self.written).to_bytes(4, "big") + bytes((0, 0, 1, 0))
            wrapper = b"USBC" + bytes(4) + BLOCK.to_bytes(4, "little") + bytes((0, 0, len(command))) + command
            self.packets.append(wrapper.ljust(31, b"\0"))
            self.packets.extend(block[at : at + PACKET] for at in range(0, BLOCK, PACKET))
            self.to_program, self.awaits_status = b"", True
        if self.room and self.packets and not self.usb.is_busy(self.endpoint_out):
            self.room.popleft()
            self.usb.endpoint_read_done(self.endpoint_out, self.packets.popleft())
        while self.held and self.hears:
            self.held -= 1
            self.indicate(self.endpoint_in, False)
        if self.awaits_status and len(self.to_program) >= STATUS_BYTES:
            if self.to_program[:4] != b"USBS" or self.to_program[12]:
                raise Wrong(f"the drive answers {self.to_program.hex()}")
            self.awaits_status = False
            self.written += 1
            if not self.blocks:
                say(f"copied {self.written}")
        return self.awaits_status

    def _open(self, is_open: bool) -> None:
        self.opened = is_open

    def _hold_back(self, endpoint: int, out: bool) -> None:
        if endpoint == self.endpoint_in and not out:
            self.held += 1
        else:
            self.indicate(endpoint, out)
