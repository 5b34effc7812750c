"""QEMU: its command line for a board, and its monitor."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

from spedge.base.errors import DeviceError, DeviceGone, DeviceRefused
from spedge.boards.manifest import Qemu

_CONNECT_SECONDS = 5.0
_QUIT_SECONDS = 1.0  # a monitor that does not answer within this will not end QEMU either


def command(board: Qemu, image: Path, *more: str) -> list[str]:
    """QEMU as that board, with `image` in it and nothing else connected than `more` says."""
    machine = [board.program, "-machine", board.machine, "-cpu", board.cpu, *board.arguments]
    return [*machine, "-display", "none", "-nodefaults", "-kernel", str(image), *more]


def loaded(path: Path, address: int) -> list[str]:
    """Arguments that put a file into the memory at that address."""
    return ["-device", f"loader,file={path},addr={address:#x},force-raw=on"]


def listening(path: Path) -> str:
    """A unix socket that is served there, for `-serial` and `-qmp`."""
    return f"unix:{path},server=on,wait=off"


class Monitor:
    """Just enough of QMP."""

    def __init__(self, path: Path, gone: Callable[[], bool]) -> None:
        """gone: whether there is nobody any more to wait for."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_CONNECT_SECONDS)
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                if gone() or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._stream = self._socket.makefile("rwb")
        self._stream.readline()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str) -> None:
        self._stream.write(json.dumps({"execute": command}).encode() + b"\n")
        self._stream.flush()
        while line := self._stream.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise DeviceRefused(f"QEMU refused {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return
        raise DeviceGone("QEMU closed its monitor")

    def quit(self) -> None:
        """End QEMU. Raises an OSError when it does not answer."""
        self._socket.settimeout(_QUIT_SECONDS)
        with contextlib.suppress(DeviceError), contextlib.closing(self._socket), contextlib.closing(self._stream):
            self.execute("quit")
