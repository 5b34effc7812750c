"""Both ends of a link as processes, to be killed: the command line on a firmware that is built already, an agent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

import spedge
from spedge.base.errors import DeviceError
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.tokens.settings import TokenizerSettings
from tests.events import scattered

WITHIN = 2.0  #: seconds in which an end has to say that the other one is gone
SETTINGS = TokenizerSettings(34, 34, 4, 12.0)
#: For lines that lose much: what is lost is soon sent again.
HASTY = Timeouts(resend_least=0.03, resend_most=0.3)
REPORTING = Configuration(SETTINGS, model=False, report_tokens=64)
#: The command line, with an image that is built already.
_CLI = """
import sys
from pathlib import Path
from types import SimpleNamespace
import spedge.boards.build
from spedge import cli
image = Path(sys.argv[1])
spedge.boards.build.build = lambda *_: SimpleNamespace(path=image)
sys.argv = ["spedge", *sys.argv[2:]]
cli.main()
"""


def cli_command(image: Path, *arguments: object) -> list[str]:
    """`spedge` with these arguments and `image` as the firmware of whatever board they name."""
    return [sys.executable, "-c", _CLI, str(image), *map(str, arguments)]


class Host:
    """`spedge` as a process: what it writes, and when. Its processes carry a mark by which they are found."""

    def __init__(self, image: Path, *arguments: object) -> None:
        self.image = image
        self.mark = f"SPEDGE_TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            cli_command(image, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, name: value},
        )
        assert self.process.stdout and self.process.stderr
        self.out: list[tuple[float, str]] = []  # when, line
        self.err: list[tuple[float, str]] = []
        self._threads = [
            threading.Thread(target=self._read, args=pair)
            for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[str], lines: list[tuple[float, str]]) -> None:
        with stream:
            for line in stream:
                lines.append((time.monotonic(), line.rstrip("\n")))

    def device(self) -> int:
        """The process of its device, once it runs."""
        found: list[int] = []

        def started() -> bool:
            found[:] = device_processes(self.process.pid, self.image)
            return bool(found)

        wait_for(started, 30)
        return found[0]

    def said(self, text: str, since: float, within: float) -> float:
        """Wait for a line with `text` on stderr; how long after `since` it came."""
        found: list[float] = []

        def has_come() -> bool:
            found[:] = [when for when, line in self.err if text in line]
            return bool(found)

        wait_for(has_come, within + 1)
        return found[0] - since

    def left(self) -> list[int]:
        """Processes of its making that are there, itself among them."""
        return marked(self.mark)

    def end(self, within: float = 30.0) -> int:
        """Wait for its end, and return its exit code."""
        code = self.process.wait(within)
        for thread in self._threads:
            thread.join(10)
        return code


class Agent:
    """The application on TCP, at an address that stays the same when it is started again: what it says, and when."""

    def __init__(self, image: Path, *arguments: object, emulator: Sequence[str] = ()) -> None:
        self.program = [*emulator, str(image)]
        self.arguments = [str(argument) for argument in arguments]
        self.port = "0"
        self.start()

    def start(self) -> None:
        command = [*self.program, "--listen", f"127.0.0.1:{self.port}", *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stderr
        self.address, self.camera_address = (self.process.stdout.readline().strip() for _ in range(2))
        self.port = self.address.rpartition(":")[2]
        self.said: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.said.append((time.monotonic(), line.rstrip()))

    def kill(self) -> None:
        """May be called again."""
        self.process.kill()
        self.process.wait()
        self._thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()


def sim_process(image: Path, timeouts: Timeouts | None = None) -> tuple[Device, subprocess.Popen]:
    """The board sim, behind its pseudo-terminal, and its process, which ends with the device."""
    process = subprocess.Popen([image], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    device = Device.open(process.stdout.readline().strip(), timeouts=timeouts)
    for end in (process.stdout.close, process.wait, process.kill):  # the last one comes first
        device.owns(end)
    return device, process


def host_tokens(events: np.ndarray) -> Any:
    """What a device configured with SETTINGS has to report of these events."""
    tokenizer = spedge.Tokenizer("continuous", width=34, height=34, patch_size=4, threshold=12.0)
    return as_reported(tokenizer.push(events)).tolist()


def alive(pid: int) -> bool:
    """Whether a process runs."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid: int) -> list[int]:
    """Those that its main thread started."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def command_of(pid: int) -> bytes:
    """Its arguments, each with a zero byte behind it; none of a process that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def device_processes(host: int, image: Path) -> list[int]:
    """Those of its children that run the image, or emulate it; not what leads up to that."""
    found = []
    for pid in children(host):
        command = command_of(pid).split(b"\0")
        if str(image).encode() in command and command[0] not in (b"setpriv", b"sh", sys.executable.encode()):
            found.append(pid)
    return found


def marked(mark: str) -> list[int]:
    """All running processes that have `mark` in their environment, as it was when they began."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def wait_for(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stream_on(device: Device, mode: str, events: np.ndarray) -> None:
    """Until an error."""
    device.configure(Configuration(SETTINGS, model=False, mode=mode, report_tokens=64))
    while True:
        device.reset()
        if mode == "lossless":
            device.send(encode_words(events))
            continue
        for piece in np.array_split(events, 200):
            device.offer(piece)
            device.wait(0.005)
        device.finish()


def kill_at_random(board: str, image: Path, moments: list[float]) -> list[str]:
    """Kill the board's process so many seconds after it has been started, for each of the moments, while it is
    streamed to, losslessly and live by turns. Returns the error of each, all of which came in time."""
    events, errors = scattered(20_000, 1_000_000), []
    for number, moment in enumerate(moments):
        killed: list[float] = []

        def kill(moment: float = moment, killed: list[float] = killed) -> None:
            found: list[int] = []

            def started() -> bool:
                found[:] = device_processes(os.getpid(), image)
                return bool(found)

            wait_for(started, 20)
            time.sleep(moment)
            killed.append(time.monotonic())
            os.kill(found[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(DeviceError) as caught, open_board(load_board(board), image) as device:
            stream_on(device, ("lossless", "live")[number % 2], events)
        assert time.monotonic() - killed[0] < WITHIN
        killer.join()
        errors.append(str(caught.value))
        assert device_processes(os.getpid(), image) == []
    return errors
