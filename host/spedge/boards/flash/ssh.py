"""ssh, as a process: the agent of a board that runs Linux, and the unit of systemd that keeps it running.

The program goes over ssh's own pipe; its SHA-256 is compared there before it takes the place of the one before.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path
from typing import ClassVar

from spedge.boards.flash.image import Image
from spedge.boards.flash.programs import LINE, Trouble, run
from spedge.boards.flash.way import Chip, Count, FlashError, Need, Way
from spedge.link.ssh import TROUBLES

_FOLDER = ".local/share/spedge"
_AGENT = f"{_FOLDER}/agent"
_UNIT = ".config/systemd/user/spedge-agent.service"
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5")
_TROUBLES: tuple[Trouble, ...] = (
    *TROUBLES,
    (r"No space left|Disk quota", "its disk is full", "make room there"),
    (r"[Pp]ermission denied|Read-only file system", "you may not write there", "look at who owns ~/.local there"),
    (r"Failed to connect to bus", "it has no systemd for users", "run 'loginctl enable-linger' there"),
    (r"[Cc]onnection (closed|reset)|Broken pipe|not responding|client_loop", "the line broke", LINE),
)
_SERVICE = f"""\
[Unit]
Description=spedge agent

[Service]
ExecStart=%h/{_AGENT}
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
    answers: ClassVar[bool] = False

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
        folder = _UNIT.rpartition("/")[0]
        self._call("reset", f"mkdir -p {folder} && cat > {_UNIT}", _SERVICE.encode())
        self._call("reset", "systemctl --user daemon-reload && systemctl --user enable --quiet spedge-agent.service")
        self._call("reset", "systemctl --user restart spedge-agent.service")

    def _call(self, step: str, command: str, content: bytes | None = None) -> str:
        return run(step, self._command(command), _TROUBLES, content=content)

    def _command(self, command: str) -> list[str]:
        assert self.port is not None
        return ["ssh", *_OPTIONS, self.port, command]
