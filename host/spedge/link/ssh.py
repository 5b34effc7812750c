"""An agent on another machine, through ssh's own pipe: nothing there listens on a network.

The ssh that is installed does it, with its keys and its known machines, as a process that is ended with the line.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from spedge.base.children import OWN_GROUP, guarded
from spedge.base.errors import DeviceGone, UsageError
from spedge.link.transport import FdTransport

AGENT_PORT = 7343  #: of an agent on its machine's loopback
#: What ssh says, what that means, and what to do.
TROUBLES: tuple[tuple[str, str, str], ...] = (
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the machine is unknown, or not the one that you knew",
        "make sure which one it is and log in once with ssh",
    ),
    (
        r"Permission denied \(|Too many authentication failures",
        "you may not log in there",
        "put your key there with ssh-copy-id",
    ),
    (r"stdio forwarding failed|open failed", "no agent listens there", "start one there"),
    (
        r"Connection refused|No route to host|Could not resolve|timed out|Network is unreachable",
        "the machine cannot be reached",
        "look whether it runs, and at its name",
    ),
)
_OPTIONS = {"BatchMode": "yes", "ConnectTimeout": "5", "ServerAliveInterval": "2", "ServerAliveCountMax": "2"}
_LOGGED_IN = "spedge: logged in"
_LOGIN_SECONDS = 10.0
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")


class SshTransport(FdTransport):
    """A line whose other end is an ssh, that says why when it ends. name: the address."""

    def __init__(self, name: str, command: list[str]) -> None:
        """Returns when ssh has logged in. Raises DeviceGone, with the reason, when it does not."""
        with contextlib.ExitStack() as stack:
            self._said = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spedge-"))) / "stderr"
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            with theirs, self._said.open("wb") as said:
                self._process = subprocess.Popen(
                    guarded(command), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=said, **OWN_GROUP
                )
            stack.callback(self._process.wait)
            stack.callback(self._process.kill)
            self._await_login(name)
            super().__init__(name, ours.fileno(), stack.pop_all())

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        try:
            return super().exchange(out, timeout)
        except DeviceGone:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.3)
                raise DeviceGone(self._reason(self.name)) from None
            raise

    def _await_login(self, name: str) -> None:
        deadline = time.monotonic() + _LOGIN_SECONDS
        while _LOGGED_IN not in self._said.read_text(errors="replace"):
            if self._process.poll() is not None:
                raise DeviceGone(self._reason(name))
            if time.monotonic() > deadline:
                raise DeviceGone(
                    f"{name}: ssh has not logged in within {_LOGIN_SECONDS:g} s: look whether it does by hand"
                )
            time.sleep(0.02)

    def _reason(self, name: str) -> str:
        text = self._said.read_text(errors="replace") if self._said.exists() else ""
        for pattern, what, remedy in TROUBLES:
            if re.search(pattern, text):
                return f"{name}: {what}: {remedy}"
        lines = [line for line in text.splitlines() if line.strip() and line.strip() != _LOGGED_IN]
        return f"{name}: ssh ended" + (f": {lines[-1].strip()}" if lines else "")


def connect_ssh(address: str) -> SshTransport:
    """Open `ssh://[USER@]NAME[:PORT][/AGENT]`. AGENT: the agent's port there, AGENT_PORT if it is not said.

    Raises UsageError when the address makes no sense, DeviceGone when ssh is not installed or does not log in.
    """
    wrong = UsageError(f"{address} is no address: give ssh://USER@NAME, ssh://USER@NAME:PORT for another port of ssh")
    try:
        parts = urlsplit(address)
        port, agent = parts.port, int(parts.path.strip("/") or AGENT_PORT)
    except ValueError:
        raise wrong from None
    names = [parts.hostname or "", *([parts.username] if parts.username is not None else [])]
    if (
        not all(map(_NAME.fullmatch, names))
        or parts.password
        or parts.query
        or parts.fragment
        or not 0 < agent < 1 << 16
    ):
        raise wrong
    if shutil.which("ssh") is None:
        raise DeviceGone(f"{address} needs ssh, which is not installed: sudo apt-get install openssh-client")
    command = ["ssh", *(f"-o{name}={value}" for name, value in _OPTIONS.items())]
    command += ["-oPermitLocalCommand=yes", f"-oLocalCommand=echo '{_LOGGED_IN}' >&2"]
    command += ["-p", str(port)] if port else []
    return SshTransport(address, [*command, "-W", f"127.0.0.1:{agent}", "@".join(reversed(names))])
