"""ssh, as a process: the agent of a board that runs Linux, and the unit of systemd that keeps it running.

The program goes over ssh's own pipe; its SHA-256 is compared there before it takes the place of the one before. It
listens on that machine's loopback, where ssh's pipe reaches it, or, with a key, where it is told to.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import shlex
from pathlib import Path
from typing import ClassVar

from spedge.base.errors import UsageError
from spedge.boards.flash.image import Image
from spedge.boards.flash.programs import LINE, Trouble, run
from spedge.boards.flash.way import Chip, Count, FlashError, Need, Way
from spedge.link.key import read_key
from spedge.link.ssh import AGENT_PORT, TROUBLES

_FOLDER = ".local/share/spedge"
_AGENT = f"{_FOLDER}/agent"
_KEY = f"{_FOLDER}/key"
_SERVICE = "spedge-agent.service"
_UNIT = f".config/systemd/user/{_SERVICE}"
_LOOPBACK = "127.0.0.1"
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5")
_TROUBLES: tuple[Trouble, ...] = (
    *TROUBLES,
    (r"No space left|Disk quota", "its disk is full", "make room there"),
    (r"[Pp]ermission denied|Read-only file system", "you may not write there", "look at who owns ~/.local there"),
    (r"Failed to connect to bus", "it has no systemd for users", "run 'loginctl enable-linger' there"),
    (
        r"Could not enable linger",
        "what you start there ends when you log out",
        "run 'sudo loginctl enable-linger $USER' there",
    ),
    (r"Address already in use", "something else listens there already", "end it, or choose another port by --listen"),
    (r"(?m)^inactive$", "the agent ended when it was started", "start it by hand there, it says why"),
    (r"[Cc]onnection (closed|reset)|Broken pipe|not responding|client_loop", "the line broke", LINE),
)
_TEXT = """\
[Unit]
Description=spedge agent

[Service]
ExecStart=%h/{agent} {options}
Restart=always
RestartSec=1

[Install]
WantedBy=default.target
"""


class Ssh(Way):
    """Settings: "machine", as uname -m says it there. `port` is user@name."""

    name: ClassVar[str] = "ssh"
    need: ClassVar[Need] = Need("ssh", "sudo apt-get install openssh-client")
    compares_parts: ClassVar[bool] = False

    _listen = f"{_LOOPBACK}:{AGENT_PORT}"
    _key: Path | None = None

    def listen(self, where: str | None, key: Path | None) -> None:
        """Where the agent shall listen, ADDRESS:PORT, and the file of the key that it shall ask for.

        Raises UsageError for what the agent would refuse.
        """
        self._listen, self._key = where or self._listen, key
        host, _, port = self._listen.rpartition(":")
        try:
            ipaddress.IPv4Address(host)
            right = 0 < int(port) < 1 << 16
        except ValueError:
            right = False
        if not right:
            raise UsageError(
                f"--listen {self._listen} is no address: give it as 0.0.0.0:{AGENT_PORT}, for all networks"
            )
        if key is None and host != _LOOPBACK:
            raise UsageError(
                f"--listen {self._listen} can be reached by others, who would need no key: give one by --key FILE, or "
                "leave --listen out and come by ssh"
            )
        if key is not None:
            read_key(key)

    @property
    def address(self) -> str | None:
        """Through ssh's pipe, which has the loopback, or by the one address that the agent listens on."""
        host, _, port = self._listen.rpartition(":")
        key = f",key={self._key}" if self._key else ""
        if host not in (_LOOPBACK, "0.0.0.0"):
            return f"tcp://{self._listen}{key}"
        there = (self.port or "").removeprefix("ssh://")
        return f"ssh://{there}/{port}{key}"

    @staticmethod
    def image_of(path: Path) -> Image:
        """The program as it is."""
        return Image(0, path.read_bytes())

    def find_tool(self) -> str:
        super().find_tool()
        return run("tool", ["ssh", "-V"]).strip()

    def find_chip(self) -> Chip:
        if not self.port:
            raise FlashError("board", "it is not said which machine", "give --host user@name")
        folder = shlex.quote(_FOLDER)
        said = self._call("board", f"uname -m && mkdir -p {folder} && df -Pk {folder} | tail -n 1").split("\n")
        machine = said[0].strip()
        if machine != self.settings["machine"]:
            raise FlashError(
                "board", f"the machine is {machine} and the agent is for {self.settings['machine']}", "name its board"
            )
        free = re.search(r"\s(\d+)\s+\d+%\s", said[1]) if len(said) > 1 else None
        return Chip(None, int(free[1]) << 10 if free else None, None, f"{self.port} ({machine})")

    def difference(self, image: Image, count: Count) -> str | None:
        said = self._call("verify", f"sha256sum {_AGENT} 2>/dev/null || true").split()
        count(len(image.data))
        wanted = hashlib.sha256(image.data).hexdigest()
        if said and said[0] == wanted:
            return None
        return f"the SHA-256 there is {said[0] if said else 'that of nothing'} and not {wanted}"

    def write(self, image: Image, count: Count) -> None:
        """It takes its place only when it is whole."""
        wanted = hashlib.sha256(image.data).hexdigest()
        part = f"{_AGENT}.part"
        check = f'[ "$(sha256sum < {part} | cut -d" " -f1)" = {wanted} ] || {{ echo differs; exit 9; }}'
        said = ((r"(?m)^differs$", "what arrived there is not what was sent", LINE), *_TROUBLES)
        command = f"cat > {part} && {check} && chmod 755 {part} && mv -f {part} {_AGENT}"
        run("write", self._command(command), said, content=image.data)
        count(len(image.data))

    def reset(self) -> None:
        options = ["--listen", self._listen]
        if self._key:
            part = f"{_KEY}.part"
            command = f"(umask 077; rm -f {part}; cat > {part}) && mv -f {part} {_KEY}"
            self._call("reset", command, self._key.read_bytes())
            options += ["--key", f"%h/{_KEY}"]
        folder = _UNIT.rpartition("/")[0]
        unit = _TEXT.format(agent=_AGENT, options=" ".join(options))
        self._call("reset", f"mkdir -p {folder} && cat > {_UNIT}", unit.encode())
        self._call("reset", f"systemctl --user daemon-reload && systemctl --user enable --quiet {_SERVICE}")
        self._call("reset", "loginctl enable-linger")
        # started, and looked at a while later, whether it still runs; else what it said last is told
        self._call(
            "reset",
            f"systemctl --user restart {_SERVICE} && sleep 1 && {{ systemctl --user is-active --quiet {_SERVICE} ||"
            f" {{ journalctl --user -u {_SERVICE} _COMM=agent -n 1 -o cat 2>/dev/null; echo inactive; exit 1; }}; }}",
        )

    def _call(self, step: str, command: str, content: bytes | None = None) -> str:
        return run(step, self._command(command), _TROUBLES, content=content)

    def _command(self, command: str) -> list[str]:
        assert self.port is not None
        return ["ssh", *_OPTIONS, self.port, command]
