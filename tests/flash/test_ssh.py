"""The agent of a board that runs Linux, by ssh: a double of ssh runs the commands here, in a home folder of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from spedge import cli

SSH = """#!/bin/sh
[ "$1" = -V ] && { echo OpenSSH_9.2 >&2; exit 0; }
while [ $# -gt 2 ]; do shift; done
[ -n "$SSH_SAYS" ] && { echo "$SSH_SAYS" >&2; exit 255; }
cd "$SSH_HOME"
case "$2" in
cat*) [ -n "$SSH_FLIPS" ] && { tr A B | sh -c "$2"; exit; } ;;
systemctl*) [ -n "$NO_BUS" ] && { echo "Failed to connect to bus: No medium found" >&2; exit 1; } ;;
esac
exec sh -c "$2"
"""


class Machine:
    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = folder / "home", capsys
        self.home.mkdir()
        programs = folder / "programs"
        programs.mkdir()
        for name, text in {
            "ssh": SSH,
            "uname": "#!/bin/sh\necho ${MACHINE:-aarch64}\n",
            "systemctl": '#!/bin/sh\necho "$@" >> systemctl.log\n',
        }.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.image = folder / "agent"
        self.image.write_bytes(os.urandom(3000) + b"A" * 200_000)
        patch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        patch.setenv("SSH_HOME", str(self.home))

    @property
    def agent(self) -> Path:
        return self.home / ".local/share/spedge/agent"

    def flash(self, *arguments: str) -> tuple[int, str, str]:
        given = ["flash", "--board", "jetson", "--host", "me@there", "--image", str(self.image), *arguments]
        code = cli.execute(given)
        said = self.capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Machine:
    return Machine(tmp_path, monkeypatch, capsys)


def test_the_agent_is_copied_verified_and_started(machine: Machine) -> None:
    code, out, err = machine.flash("--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["flashed"] and report["verified"] and report["where"] == "me@there (aarch64)"
    assert machine.agent.read_bytes() == machine.image.read_bytes() and os.access(machine.agent, os.X_OK)
    unit = (machine.home / ".config/systemd/user/spedge-agent.service").read_text()
    assert "ExecStart=%h/.local/share/spedge/agent" in unit
    assert "restart spedge-agent.service" in (machine.home / "systemctl.log").read_text()
    code, out, _ = machine.flash()
    assert code == 0 and "it holds this image already" in out


def test_what_arrives_damaged_does_not_take_the_place_of_the_agent(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.flash()[0] == 0
    before = machine.agent.read_bytes()
    machine.image.write_bytes(b"A" * 1000)
    monkeypatch.setenv("SSH_FLIPS", "1")
    code, out, err = machine.flash()
    assert code == 3 and "what arrived there is not what was sent" in err and "and verified" not in out + err
    assert machine.agent.read_bytes() == before


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("MACHINE", "x86_64", "the machine is x86_64 and the agent is for aarch64"),
        ("SSH_SAYS", "me@there: Permission denied (publickey).", "put your key there with ssh-copy-id"),
        ("SSH_SAYS", "ssh: connect to host there port 22: No route to host", "the machine cannot be reached"),
        ("SSH_SAYS", "Host key verification failed.", "the machine is unknown"),
        ("NO_BUS", "1", "run 'loginctl enable-linger' there"),
    ],
)
def test_what_goes_wrong_is_said(
    variable: str, value: str, says: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    code, out, err = machine.flash()
    assert code == 3 and says in err and out == ""
    assert machine.agent.exists() == (variable == "NO_BUS")


def test_the_machine_has_to_be_named(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["flash", "--board", "jetson", "--method", "ssh", "--image", str(machine.image)]) == 3
    assert "give --host user@name" in capsys.readouterr().err
    assert machine.flash()[0] == 0
