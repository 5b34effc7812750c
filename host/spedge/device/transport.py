"""Byte streams to a device: serial ports and pseudo-terminals, unix sockets, TCP.

One primitive: `exchange` writes what goes now, reads what is there and waits a bounded time for either. Writing
and reading together is what keeps two ends with full buffers from waiting for each other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import select
import socket
import struct
import termios
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from spedge.errors import DeviceError, UsageError

_READ_BYTES = 1 << 16
_UNIX_PIECE = 256  # a unix socket tells what is unsent in pieces as they were written


class Transport(Protocol):
    """A byte stream to a device. `name` is what messages call it."""

    name: str

    def exchange(self, out: bytes, timeout: float) -> tuple[int, bytes]:
        """Write as much of `out` as goes, read what has arrived; wait at most `timeout` seconds for either.

        Returns how many bytes were written, and the bytes read. Raises DeviceError when the other end is gone.
        """

    def unsent(self) -> int:
        """About how many of the bytes written the other end has not taken yet; 0 where that cannot be known."""

    def close(self) -> None: ...


class FdTransport:
    """A transport over a non-blocking file descriptor that `keep` owns. piece: most bytes to write at once."""

    def __init__(
        self, name: str, fd: int, keep: contextlib.AbstractContextManager | None = None, piece: int = _READ_BYTES
    ) -> None:
        self.name = name
        self._fd = fd
        self._piece = piece
        self._keep = contextlib.ExitStack()
        if keep is not None:
            self._keep.enter_context(keep)
        os.set_blocking(fd, False)

    def exchange(self, out: bytes, timeout: float) -> tuple[int, bytes]:
        try:
            wants = [self._fd] if out else []
            readable, writable, _ = select.select([self._fd], wants, [], max(timeout, 0.0))
            written = self._write(out) if writable else 0
            received = self._read() if readable else b""
        except (OSError, ValueError) as error:
            raise DeviceError(f"the link to {self.name} broke: {error}") from error
        return written, received

    def _write(self, out: bytes) -> int:
        done = 0
        with contextlib.suppress(BlockingIOError):
            while done < len(out):
                done += os.write(self._fd, out[done : done + self._piece])
        return done

    def _read(self) -> bytes:
        try:
            received = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        if not received:
            raise DeviceError(f"{self.name} closed the link")
        return received

    def unsent(self) -> int:
        with contextlib.suppress(OSError):
            return int(struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4)))[0])
        return 0

    def close(self) -> None:
        self._keep.close()


def connect(address: str, baud: int = 115200) -> Transport:
    """Open `/dev/…` (serial port or pseudo-terminal), `unix:PATH` or `tcp://HOST:PORT`.

    Raises UsageError when the address makes no sense, DeviceError when nothing is there or it may not be used.
    """
    if address.startswith("tcp://"):
        return _tcp(address)
    if address.startswith("unix:"):
        return connect_unix(Path(address.removeprefix("unix:")))
    if address.startswith("/"):
        return _serial(address, baud)
    raise UsageError(f"{address!r} is no address of a device: give /dev/…, unix:PATH or tcp://HOST:PORT")


def connect_unix(path: Path, within: float = 0.0) -> FdTransport:
    """Connect to a unix socket; keep trying for `within` seconds while nobody listens yet."""
    deadline = time.monotonic() + within
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
            return FdTransport(f"unix:{path}", sock.fileno(), sock, _UNIX_PIECE)
        except OSError as error:
            sock.close()
            if time.monotonic() >= deadline:
                raise DeviceError(f"cannot connect to unix:{path}: {error.strerror}") from error
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
        sock = socket.create_connection((host, port), timeout=5)
    except OSError as error:
        raise DeviceError(f"cannot connect to {address}: {error.strerror or error}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return FdTransport(address, sock.fileno(), sock)


def _serial(path: str, baud: int) -> FdTransport:
    import serial

    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    except serial.SerialException as error:
        raise DeviceError(_serial_trouble(path, error)) from error
    port.reset_input_buffer()
    return FdTransport(path, port.fileno(), port)


def _serial_trouble(path: str, error: OSError) -> str:
    code = error.errno
    if code == errno.ENOENT:
        return f"there is no {path}: is the board plugged in?"
    if code == errno.EACCES:
        return f"{path} may not be opened by you: {_permission_hint(path)}"
    if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return f"{path} is in use by another program"
    return f"{path} cannot be opened: {error.strerror or error}"


def _permission_hint(path: str) -> str:
    """The group that may, or the udev rule that lets everyone at the desk."""
    rule = f"""KERNEL=="{Path(path).name}", MODE="0660", TAG+="uaccess\""""
    with contextlib.suppress(OSError, KeyError):
        status = Path(path).stat()
        group = grp.getgrgid(status.st_gid).gr_name
        if status.st_mode & 0o060 == 0o060 and group != "root":
            return f"run 'sudo usermod -aG {group} $USER' and log in again"
    return f"add the udev rule '{rule}' to /etc/udev/rules.d/60-spedge.rules and plug the board in again"
