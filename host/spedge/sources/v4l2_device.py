"""A V4L2 capture device (Linux, 64 bit): buffers that the kernel fills, by the ioctls of <linux/videodev2.h>."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from spedge.base.errors import DeviceError, DeviceGone, DeviceRefused
from spedge.link.udev import group_that_may, joining

CAPTURE, MMAP = 1, 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_MMAP
CAN_CAPTURE, CAN_STREAM, HAS_OWN = 0x1, 0x4000000, 0x80000000  # capabilities; HAS_OWN: those of the node come apart
DAMAGED = 0x40  # V4L2_BUF_FLAG_ERROR
CAPABILITY = struct.Struct("=16s32s32sIII12x")
REQUEST = struct.Struct("=III8x")  # count, type, memory
#: index, type, bytes used, flags, field, time (s, µs), time code, sequence, memory, offset, length, 0, 0
BUFFER = struct.Struct("=IIIII4xqq16sIIQIIi4x")
_BUFFERS = 4
_RECEIVERS = ("unicam", "rp1-cfe")  # a Raspberry Pi's; what is at them, they do not say


def _code(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP = _code(2, 0, CAPABILITY.size)
REQBUFS, QUERYBUF = _code(3, 8, REQUEST.size), _code(3, 9, BUFFER.size)
QBUF, DQBUF = _code(3, 15, BUFFER.size), _code(3, 17, BUFFER.size)
STREAMON, STREAMOFF = _code(1, 18, 4), _code(1, 19, 4)


def receivers(folder: Path = Path("/sys/class/video4linux")) -> dict[str, str]:
    """The devices here that are receivers of a camera connector, with their names."""
    names = {f"/dev/{path.parent.name}": path.read_text().strip() for path in sorted(folder.glob("*/name"))}
    return {device: name for device, name in names.items() if name.startswith(_RECEIVERS)}


class Calls(Protocol):
    """What is asked of the kernel."""

    def open(self, path: str) -> int: ...

    def ioctl(self, fd: int, code: int, argument: bytearray) -> None: ...

    def map(self, fd: int, length: int, offset: int) -> Any: ...

    def wait(self, fd: int, seconds: float) -> bool: ...

    def close(self, fd: int) -> None: ...


class Kernel:
    """The one that runs here."""

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def ioctl(self, fd: int, code: int, argument: bytearray) -> None:
        import fcntl  # there is none on Windows

        fcntl.ioctl(fd, code, argument)

    def map(self, fd: int, length: int, offset: int) -> Any:
        return mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)

    def wait(self, fd: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self, fd: int) -> None:
        os.close(fd)


@dataclass(frozen=True)
class Frame:
    """data: as many bytes as the device says it wrote. sequence: frames are counted by the driver, lost ones, too."""

    data: bytes
    sequence: int
    damaged: bool


class V4l2Device:
    """Frames of a capture device. Raises DeviceError when it cannot be opened or is none, or has gone."""

    def __init__(self, path: str, calls: Calls | None = None) -> None:
        self.path = path
        self._calls = calls or Kernel()
        self._maps: list[Any] = []
        try:
            self._fd = self._calls.open(path)
        except OSError as error:
            raise self._unopened(error) from None
        try:
            self._begin()
        except OSError as error:
            self.close()
            raise DeviceRefused(f"{path} cannot be started ({error.strerror}): does another program use it?") from None
        except BaseException:
            self.close()
            raise

    def frame(self, seconds: float) -> Frame | None:
        """The next one, or None when none comes within that time."""
        try:
            if not self._calls.wait(self._fd, seconds):
                return None
            fields = self._ask(DQBUF, BUFFER, 0, CAPTURE, 0, 0, 0, 0, 0, b"", 0, MMAP, 0, 0, 0, 0)
            index, used, flags, sequence = fields[0], fields[2], fields[3], fields[8]
            data = bytes(memoryview(self._maps[index])[:used])
            self._give(index)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return None
            raise DeviceGone(f"{self.path} is gone ({error.strerror}): look at the camera's cable and driver") from None
        return Frame(data, sequence, bool(flags & DAMAGED))

    def close(self) -> None:
        """May be called again."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._calls.ioctl(self._fd, STREAMOFF, bytearray(struct.pack("=i", CAPTURE)))
            self._maps.clear()
            self._calls.close(self._fd)
            self._fd = -1

    def _begin(self) -> None:
        try:
            _, _, _, _, can, own = self._ask(QUERYCAP, CAPABILITY, b"", b"", b"", 0, 0, 0)
        except OSError:
            can, own = 0, 0
        can = own if can & HAS_OWN else can
        if not can & CAN_CAPTURE or not can & CAN_STREAM:
            raise DeviceRefused(
                f"{self.path} is no V4L2 device that captures: /sys/class/video4linux names what is here"
            )
        count = self._ask(REQBUFS, REQUEST, _BUFFERS, CAPTURE, MMAP)[0]
        for index in range(count):
            fields = self._ask(QUERYBUF, BUFFER, index, CAPTURE, 0, 0, 0, 0, 0, b"", 0, MMAP, 0, 0, 0, 0)
            self._maps.append(self._calls.map(self._fd, fields[11], fields[10]))
            self._give(index)
        self._calls.ioctl(self._fd, STREAMON, bytearray(struct.pack("=i", CAPTURE)))

    def _give(self, index: int) -> None:
        """The kernel may fill that buffer."""
        self._ask(QBUF, BUFFER, index, CAPTURE, 0, 0, 0, 0, 0, b"", 0, MMAP, 0, 0, 0, 0)

    def _ask(self, code: int, layout: struct.Struct, *fields: Any) -> tuple[Any, ...]:
        argument = bytearray(layout.pack(*fields))
        self._calls.ioctl(self._fd, code, argument)
        return layout.unpack(argument)

    def _unopened(self, error: OSError) -> DeviceError:
        if error.errno == errno.ENOENT:
            return DeviceGone(f"there is no {self.path}: is the camera plugged in, and its driver loaded?")
        if error.errno == errno.EACCES:
            group = group_that_may(Path(self.path))
            remedy = f"run '{joining(group)}' and log in again" if group else "ask whoever looks after this machine"
            return DeviceRefused(f"{self.path} may not be opened by you: {remedy}")
        return DeviceRefused(f"{self.path} cannot be opened: {error.strerror}")
