"""Byte streams to a device: serial ports and pseudo-terminals, unix sockets, TCP.

One primitive: `exchange` writes what goes now, reads what is there and waits a bounded time for either. Writing
and reading together is what keeps two ends with full buffers from waiting for each other; between two exchanges a
thread reads on.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from spedge.base.errors import DeviceError, DeviceGone, DeviceRefused, UsageError
from spedge.link.clock import SYSTEM, Clock
from spedge.link.udev import WRITE_RULES, group_that_may, joining, udev_rule

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

BAUD = 115200  #: of a serial port that nobody says another rate for
KEPT_BYTES = 1 << 22  #: received and not fetched: far more than a device is ever asked for at once
_READ_BYTES = 1 << 16
_REDIAL_SECONDS = 0.05
_DRAIN_SECONDS = 0.02
_CONNECT_SECONDS = 1.8
_UNIX_PIECE = 256  # a unix socket tells what is unsent in pieces as they were written
_log = logging.getLogger("spedge.device")


class Transport(Protocol):
    """A byte stream to a device. `name` is what messages call it."""

    name: str

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        """Write as much of `out` as goes, read what has arrived; wait at most `timeout` seconds for either.

        Returns how many bytes were written, and the bytes read. Raises DeviceError when the other end is gone.
        """

    def unsent(self) -> int:
        """About how many of the bytes written the other end has not taken yet; 0 where that cannot be known."""

    def close(self) -> None: ...


class Outgoing:
    """Bytes that wait to be sent, added in pieces that are hardly ever copied again."""

    def __init__(self, first: bytes = b"") -> None:
        self._pieces = deque([first] if first else [])
        self._gone = 0  # bytes of the first piece
        self._left = len(first)

    def __len__(self) -> int:
        return self._left

    def __iadd__(self, piece: bytes) -> Self:
        if piece:
            self._pieces.append(piece)
            self._left += len(piece)
        return self

    def head(self, most: int) -> bytes | memoryview:
        """What is to go first, at most `most` bytes; small pieces together."""
        if not self._pieces:
            return b""
        first = memoryview(self._pieces[0])[self._gone : self._gone + most]
        if len(first) >= most // 2 or len(self._pieces) == 1:
            return first
        together = [first]
        room = most - len(first)
        for piece in itertools.islice(self._pieces, 1, None):
            together.append(memoryview(piece)[:room])
            room -= len(together[-1])
            if not room:
                break
        return b"".join(together)

    def advance(self, n: int) -> None:
        """The first n bytes, of those there are, have been sent."""
        self._left -= n
        self._gone += n
        while self._pieces and self._gone >= len(self._pieces[0]):
            self._gone -= len(self._pieces.popleft())


class FdTransport:
    """A transport over a non-blocking file descriptor that `keep` owns. piece: most bytes to write at once.

    While nobody exchanges, a thread reads: a device that nobody reads from would stop, and an emulator with it. Of what
    is not fetched, the latest KEPT_BYTES are kept; the rest is as good as lost on the line.
    """

    def __init__(
        self, name: str, fd: int, keep: contextlib.AbstractContextManager | None = None, piece: int = _READ_BYTES
    ) -> None:
        self.name = name
        self._fd = fd
        self._piece = piece
        self._kept = bytearray()
        self._broken: str | None = None
        self._turn = threading.Lock()  # whose the descriptor and the two above are
        self._closing = threading.Event()
        self._keep = contextlib.ExitStack()
        if keep is not None:
            self._keep.enter_context(keep)
        os.set_blocking(fd, False)
        self._thread = threading.Thread(target=self._read_on, name=f"spedge reads {name}", daemon=True)
        self._thread.start()

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        with self._turn:
            if self._fd < 0:
                raise DeviceGone(f"the link to {self.name} is closed")
            deadline = time.monotonic() + max(timeout, 0.0)
            written = self._write(out) if out else 0
            idle = not written  # else it is only looked whether something has come
            while not self._kept and not self._broken:
                left = deadline - time.monotonic() if idle or written < len(out) else 0.0
                readable, writable = self._wait(written < len(out), left)
                if readable:
                    self._read()
                if writable:
                    written += self._write(out[written:])
                if not readable and not (writable and written < len(out)):
                    break
            received = bytes(self._kept)
            self._kept.clear()
            if self._broken and not received:
                raise DeviceGone(self._broken)
            return written, received

    def _wait(self, to_write: bool, timeout: float) -> tuple[bool, bool]:
        """Until there is something to read, or room to write, or the time is over; whether there is."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN | (select.POLLOUT if to_write else 0))
        found = sum(event for _, event in poll.poll(max(timeout, 0.0) * 1000))
        return bool(found & ~select.POLLOUT), bool(found & select.POLLOUT)

    def _write(self, out: bytes | memoryview) -> int:
        done = 0
        view = memoryview(out)
        try:
            with contextlib.suppress(BlockingIOError):
                full = False
                while done < len(out) and not full:
                    piece = view[done : done + self._piece]
                    written = os.write(self._fd, piece)
                    done += written
                    full = written < len(piece)
        except OSError as error:
            self._read_last()
            self._broken = self._broken or f"the link to {self.name} broke: {error.strerror}"
        return done

    def _read(self) -> None:
        """What is there now, to what is kept."""
        try:
            data = os.read(self._fd, _READ_BYTES)
            self._broken = None if data else f"{self.name} closed the link"
        except BlockingIOError:
            return
        except OSError as error:
            self._broken = f"the link to {self.name} broke: {error.strerror}"
            return
        self._kept += data
        del self._kept[:-KEPT_BYTES]

    def _read_last(self) -> None:
        """All that came before the link broke: it may say why."""
        while not self._broken and self._wait(False, 0.0)[0]:
            self._read()

    def _read_on(self) -> None:
        """The thread."""
        while not self._closing.wait(_DRAIN_SECONDS):
            if self._turn.acquire(blocking=False):
                try:
                    self._read_last()
                finally:
                    self._turn.release()

    def unsent(self) -> int:
        with contextlib.suppress(OSError, ImportError):  # no such modules on Windows
            import fcntl
            import termios

            return int(struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4)))[0])
        return 0

    def close(self) -> None:
        """End the thread, then close. Later exchanges raise DeviceError."""
        self._closing.set()
        self._thread.join()
        self._fd = -1
        self._keep.close()


class Reconnecting:
    """A transport that is opened again when it breaks.

    While it is away, exchanges move nothing. It is back when something comes over it: one that can be opened and closes
    again is still away. It is given up, with a DeviceError that says why, when it has not come back within `patience`
    seconds; the next exchange begins anew. obituary: why the device is gone for good, None while it is not known to be.
    What happens is logged, as warnings of `spedge.device`.
    """

    def __init__(
        self,
        dial: Callable[[], Transport],
        patience: float,
        obituary: Callable[[], str | None] = lambda: None,
        clock: Clock = SYSTEM,
        key: bytes | None = None,
    ) -> None:
        """Opens it. key: what a device there may ask for. Raises what dial raises, or DeviceGone with the obituary."""
        self.key = key
        #: Makes what is said first on a line that has come back.
        self.greeting: Callable[[], bytes] = bytes
        self._unsaid = b""  # of that
        self._clock = clock
        self._dial = dial
        self._patience = patience
        self._obituary = obituary
        self._line: Transport | None = self._first()
        self.name = self._line.name
        self.reconnects = 0
        self._trouble = ""
        self.away = False  #: whether nothing has come since it broke
        self._give_up_at: float | None = None  # while it is away
        self._not_before = 0.0

    def _first(self) -> Transport:
        try:
            return self._dial()
        except DeviceError as error:
            if (gone := self._obituary()) is not None:
                raise DeviceGone(gone) from error
            raise

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        if self._line is None:
            self._redial(timeout)
        if self._line is None:
            return 0, b""
        first = self._unsaid or out
        try:
            written, received = self._line.exchange(first, timeout)
        except DeviceError as error:
            self._broke(str(error))
            return 0, b""
        if received and self.away:
            self.away, self._give_up_at = False, None
            self.reconnects += 1
            _log.warning("the link to %s is back", self.name)
        if self._unsaid:
            self._unsaid = self._unsaid[written:]
            written = 0
        return written, received

    def hang_up(self, seconds: float) -> None:
        """Break the connection, as a pulled cable does, and leave it so for that long."""
        self._broke(f"the link to {self.name} was cut", seconds)

    def _broke(self, why: str, away: float = 0.0) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        reason = None if away else self._obituary()
        if reason:
            raise DeviceGone(reason)
        now = self._clock.monotonic()
        self._not_before = now + max(away, _REDIAL_SECONDS)
        if away or not self.away:
            self._give_up_at = now + away + self._patience
        if not self.away:
            self.away, self._trouble = True, why
            _log.warning("%s; waiting for it to come back", why)

    def _redial(self, timeout: float) -> None:
        now = self._clock.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + self._patience
        if now >= self._not_before:
            with contextlib.suppress(DeviceError):
                self._line = self._dial()
                self._line.name = self.name
        if self._line is not None:
            self._unsaid = self.greeting()
        elif now > self._give_up_at:
            self._give_up_at = None
            reason = f"{self._trouble}, and did not come back within {self._patience:g} s"
            raise DeviceGone(self._obituary() or reason)
        else:
            self._clock.sleep(min(max(timeout, 0.0), _REDIAL_SECONDS))

    def unsent(self) -> int:
        return self._line.unsent() if self._line is not None else 0

    def close(self) -> None:
        """For good: later exchanges raise DeviceError."""
        if self._line is not None:
            self._line.close()
        self._patience, self._dial = 0.0, self._closed

    def _closed(self) -> Transport:
        raise DeviceGone(f"the link to {self.name} is closed")


def reconnecting(transport: Transport) -> Reconnecting | None:
    """The part of a transport that opens it again when it breaks, if there is one."""
    while not isinstance(transport, Reconnecting):
        inner = getattr(transport, "inner", None)
        if inner is None:
            return None
        transport = inner
    return transport


def connect(address: str, baud: int = BAUD) -> Transport:
    """Open `/dev/…` (serial port or pseudo-terminal), `unix:PATH` or `tcp://HOST:PORT`.

    Raises UsageError when the address makes no sense, DeviceError when nothing is there or it may not be used.
    """
    if address.startswith("tcp://"):
        return _tcp(address)
    if address.startswith("unix:"):
        return connect_unix(Path(address.removeprefix("unix:")))
    if address.startswith("/"):
        return _serial(address, baud)
    raise UsageError(
        f"{address!r} is no address of a device: give /dev/…, unix:PATH, tcp://HOST:PORT or ssh://USER@NAME"
    )


def connect_unix(path: Path, within: float = 0.0, gone: Callable[[], bool] = lambda: False) -> FdTransport:
    """Connect to a unix socket; keep trying for `within` seconds while nobody listens yet, and who should is there."""
    deadline = time.monotonic() + within
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
            return FdTransport(f"unix:{path}", sock.fileno(), sock, _UNIX_PIECE)
        except OSError as error:
            sock.close()
            if gone() or time.monotonic() >= deadline:
                raise DeviceGone(f"cannot connect to unix:{path}: {error.strerror}") from error
            time.sleep(0.01)


def _tcp(address: str) -> FdTransport:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UsageError(f"{address!r} is no address: give tcp://HOST:PORT")
    try:
        sock = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
    except OSError as error:
        raise DeviceGone(f"cannot connect to {address}: {error.strerror or error}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return FdTransport(address, sock.fileno(), sock)


def _serial(path: str, baud: int) -> FdTransport:
    import serial

    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    except serial.SerialException as error:
        kind = DeviceGone if error.errno == errno.ENOENT else DeviceRefused
        raise kind(_serial_trouble(path, error)) from error
    port.reset_input_buffer()
    return FdTransport(path, port.fileno(), port)


def _serial_trouble(path: str, error: OSError) -> str:
    code = error.errno
    if code == errno.ENOENT:
        return f"there is no {path}: is the board plugged in?"
    if code == errno.EACCES:
        return f"{path} may not be opened by you: {_permission_hint(path)}"
    cause = error.__context__
    if type(cause).__module__ == "termios" and cause.args[0] == errno.ENOTTY:  # type: ignore[union-attr]
        return f"{path} is no serial port"
    if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return f"{path} is in use by another program"
    return f"{path} cannot be opened: {error.strerror or error}"


def _permission_hint(path: str) -> str:
    """The group that may, or the udev rule that lets everyone at the desk."""
    if group := group_that_may(Path(path)):
        return f"run '{joining(group)}' and log in again, or run '{WRITE_RULES}'"
    return f"add the udev rule '{_udev_rule(path)}' to /etc/udev/rules.d/60-spedge.rules and plug the board in again"


def _udev_rule(path: str) -> str:
    """For the port's kind of USB device; for its name when it is not on USB."""
    from serial.tools import list_ports

    for port in list_ports.comports():
        if port.device == path and port.vid is not None:
            return udev_rule(port.vid, port.pid or 0)
    return f"""KERNEL=="{Path(path).name}", MODE="0660", TAG+="uaccess\""""
