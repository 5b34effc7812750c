"""Programs that users have: how they are run, and what went wrong when they fail."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from spedge.base.children import OWN_GROUP, guarded
from spedge.boards.flash.way import FlashError

_SECONDS = 180.0  # for one run; a megabyte over a slow probe takes about 60

PLUG_IN = "plug the board in by its debugger's or bootloader's socket, with a cable that carries data"
RIGHTS = "run 'sudo spedge udev --write' and plug the board in again"
IN_USE = "end the debugger, IDE or other program that uses it"
LINE = "look at the cable and the power, and flash again"
PROTECTED = "remove the chip's read or write protection with its maker's tool, which may erase it"

Trouble = tuple[str, str, str]  #: a pattern in what a program said, what that means, what to do
#: Of programs that speak to probes by libusb.
TROUBLES: tuple[Trouble, ...] = (
    (r"LIBUSB_ERROR_ACCESS|[Pp]ermission denied|[Ii]nsufficient permissions", "you may not open the board", RIGHTS),
    (
        r"LIBUSB_ERROR_BUSY|[Rr]esource busy|[Dd]evice busy|already in use|[Uu]nable to claim|[Cc]ould not exclusively",
        "another program has the board",
        IN_USE,
    ),
    (
        r"[Pp]rotected|[Ww]rite protection|[Rr]ead protection|RDP level|WRPERR|PGSERR",
        "the chip's flash is protected",
        PROTECTED,
    ),
    (
        r"LIBUSB_ERROR_(NO_DEVICE|PIPE|IO|TIMEOUT)|disconnected|[Cc]ommunication failure|jtag status|SWD.*(error|fault)"
        r"|DAP transaction stalled|Send string error|GET_STATUS|lost connection|Device not configured",
        "the line to the board broke",
        LINE,
    ),
    (
        r"[Ee]rror connecting DP|init mode failed|target voltage|[Cc]annot connect to target|unable to connect to the t"
        r"|unknown chip id|Failed to connect to target",
        "the probe is there and the chip behind it does not answer",
        "power the board, and hold its reset while flashing begins if its program has turned the debugger off",
    ),
    (
        r"open failed|Found 0 stlink|Couldn't find any ST-Link|[Nn]o device found|No probe",
        "no board was found",
        PLUG_IN,
    ),
)


def run(
    step: str,
    command: Sequence[str],
    troubles: Sequence[Trouble] = TROUBLES,
    on_line: Callable[[str], None] | None = None,
    seconds: float = _SECONDS,
    content: bytes | None = None,
) -> str:
    """What the program said, both streams together. content: for its stdin.

    Raises FlashError of that step when it fails, cannot be started or does not end in time.
    """
    try:
        process = subprocess.Popen(
            guarded(list(command)),
            stdin=subprocess.DEVNULL if content is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **OWN_GROUP,
        )
    except OSError as error:
        raise FlashError(step, f"{command[0]} cannot be started ({error.strerror})", "install it again") from error
    try:
        output = _follow(process, on_line or (lambda _: None), content, time.monotonic() + seconds)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if output is None:
        raise FlashError(step, f"{command[0]} did not end within {seconds:g} s", LINE)
    if process.returncode:
        raise explained(step, command[0], output, troubles)
    return output


def dumped(dump: Callable[[Path], object]) -> bytes:
    """What a program has written to the file whose path `dump` gives it; nothing where it wrote none."""
    with tempfile.TemporaryDirectory(prefix="spedge-") as folder:
        path = Path(folder) / "read.bin"
        dump(path)
        return path.read_bytes() if path.is_file() else b""


def _follow(
    process: subprocess.Popen[bytes], on_line: Callable[[str], None], content: bytes | None, until: float
) -> str | None:
    """What it says until its end; None when the time is over before. A line ends with \\n or \\r."""
    assert process.stdout is not None
    left = memoryview(content or b"")
    said = b""
    lines = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while time.monotonic() < until:
            for key, _ in selector.select(max(until - time.monotonic(), 0)):
                if key.fileobj is process.stdin:
                    left = _feed(process, left)
                    if not left:
                        selector.unregister(process.stdin)
                        with contextlib.suppress(BrokenPipeError):
                            process.stdin.close()
                    continue
                piece = os.read(process.stdout.fileno(), 65536)
                said += piece
                whole = re.split(rb"[\r\n]+", said)
                for line in whole[lines:-1]:
                    on_line(line.decode(errors="replace"))
                lines = len(whole) - 1
                if not piece:
                    process.wait(max(until - time.monotonic(), 0.1))
                    return said.decode(errors="replace")
    return None


def _feed(process: subprocess.Popen[bytes], left: memoryview) -> memoryview:
    """What is left of the bytes for its stdin; nothing when it reads no more."""
    assert process.stdin is not None
    try:
        return left[os.write(process.stdin.fileno(), left[:65536]) :] if left else left
    except BlockingIOError:
        return left
    except OSError:
        return memoryview(b"")


def explained(step: str, program: str, output: str, troubles: Sequence[Trouble] = TROUBLES) -> FlashError:
    """The error that a program's output tells."""
    for pattern, what, remedy in troubles:
        if re.search(pattern, output):
            return FlashError(step, what, remedy)
    said = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    errors = [line for line in said if re.search(r"(?i)\berror\b|fail", line)]
    last = (errors or said or ["nothing"])[-1]
    return FlashError(step, f"{program} failed ({last})", LINE)
