"""The agent of a board that runs Linux, by ssh: a double of ssh runs the commands here, in a home folder of its own.

What answers is the agent itself, in qemu-aarch64, started by a double of systemd as its unit says.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spedge import cli
from spedge.base.errors import DeviceError
from spedge.device.open import Device
from spedge.link.link import Timeouts
from tests.tiny import missing_for

pytestmark = pytest.mark.skipif(missing_for("jetson") is not None, reason=str(missing_for("jetson")))

SSH = f"""#!/bin/sh
[ "$1" = -V ] && {{ echo OpenSSH_9.2 >&2; exit 0; }}
[ -n "$SSH_SAYS" ] && {{ echo "$SSH_SAYS" >&2; exit 255; }}
while [ $# -gt 2 ]; do [ "$1" = -W ] && exec {sys.executable} "$(dirname "$0")/pipe.py" "$2"; shift; done
cd "$SSH_HOME"
case "$2" in
cat*) [ -n "$SSH_FLIPS" ] && {{ tr A B | sh -c "$2"; exit; }} ;;
systemctl*) [ -n "$NO_BUS" ] && {{ echo "Failed to connect to bus: No medium found" >&2; exit 1; }} ;;
esac
exec sh -c "$2"
"""
PIPE = """\
import os, socket, sys, threading
host, _, port = sys.argv[1].rpartition(":")
try:
    line = socket.create_connection((host, int(port)))
except OSError as error:
    sys.exit(f"channel 0: open failed: {error}\\nstdio forwarding failed")
print("spedge: logged in", file=sys.stderr, flush=True)
def back():
    while said := line.recv(65536):
        os.write(1, said)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while given := os.read(0, 65536):
    line.sendall(given)
"""
#: Starts what the unit says, and comes back when that listens or has ended.
SYSTEMCTL = """\
import os, pathlib, shlex, subprocess, sys
with open("systemctl.log", "a") as log:
    print(*sys.argv[1:], file=log)
pid = pathlib.Path("agent.pid")
if "restart" in sys.argv:
    unit = pathlib.Path(".config/systemd/user/spedge-agent.service").read_text()
    (command,) = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
    if pid.exists():
        os.kill(int(pid.read_text()), 9)
        pid.unlink()
    if os.environ.get("NO_AGENT"):
        sys.exit()
    command = ["qemu-aarch64", *shlex.split(command.replace("%h", os.getcwd()))]
    with open("agent.err", "wb") as said:
        agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
    if agent.stdout.readline():
        pid.write_text(str(agent.pid))
elif "is-active" in sys.argv:
    sys.exit(0 if pid.exists() or os.environ.get("NO_AGENT") else 3)
"""
PROGRAMS = {
    "ssh": SSH,
    "uname": "#!/bin/sh\necho ${MACHINE:-aarch64}\n",
    "sleep": "#!/bin/sh\n",
    "journalctl": "#!/bin/sh\ntail -n 1 agent.err\n",
    "loginctl": '#!/bin/sh\n[ -n "$NO_LINGER" ] && { echo "Could not enable linger: Access denied" >&2; exit 1; }\n'
    'echo "$@" > loginctl.log\n',
    "systemctl": f'#!/bin/sh\nexec {sys.executable} "$(dirname "$0")/systemctl.py" "$@"\n',
    "systemctl.py": SYSTEMCTL,
    "pipe.py": PIPE,
}


class Machine:
    def __init__(
        self, folder: Path, image: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.home, self.capsys, self.image = folder / "home", capsys, image
        self.home.mkdir()
        programs = folder / "programs"
        programs.mkdir()
        for name, text in PROGRAMS.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        patch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        patch.setenv("SSH_HOME", str(self.home))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.at = f"127.0.0.1:{self.port}"

    @property
    def agent(self) -> Path:
        return self.home / ".local/share/spedge/agent"

    @property
    def unit(self) -> str:
        return (self.home / ".config/systemd/user/spedge-agent.service").read_text()

    def flash(self, *arguments: str) -> tuple[int, str, str]:
        given = ["flash", "--board", "jetson", "--host", "me@there", "--image", str(self.image), *arguments]
        code = cli.execute(given)
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def end(self) -> None:
        if (pid := self.home / "agent.pid").exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.fixture(scope="module")
def board() -> str:
    return "jetson"


@pytest.fixture
def machine(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Machine]:
    there = Machine(tmp_path, image, monkeypatch, capsys)
    yield there
    there.end()


def test_the_agent_is_copied_verified_and_answers(machine: Machine) -> None:
    code, out, err = machine.flash("--listen", machine.at, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["flashed"] and report["verified"] and report["where"] == "me@there (aarch64)"
    assert (report["hello"]["board"], report["hello"]["model"]) == ("jetson", "tiny")
    assert machine.agent.read_bytes() == machine.image.read_bytes() and os.access(machine.agent, os.X_OK)
    assert f"ExecStart=%h/.local/share/spedge/agent --listen {machine.at}\n" in machine.unit
    assert "restart spedge-agent.service" in (machine.home / "systemctl.log").read_text()
    assert (machine.home / "loginctl.log").read_text() == "enable-linger\n"
    code, out, _ = machine.flash("--listen", machine.at)
    assert code == 0 and "it holds this image already" in out and "jetson answers" in out


def test_by_itself_it_listens_where_only_that_machine_is(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And HELLO, which comes last, is asked at that port."""
    monkeypatch.setattr("spedge.jobs.flash._START_SECONDS", 0.0)
    monkeypatch.setenv("NO_AGENT", "1")  # another may have that port here
    code, _, err = machine.flash()
    assert "ExecStart=%h/.local/share/spedge/agent --listen 127.0.0.1:7343\n" in machine.unit
    assert code == 3 and "ssh://me@there/7343: no agent listens there" in err and "(step hello; written and" in err


def test_with_a_key_it_may_listen_to_others(machine: Machine, tmp_path: Path) -> None:
    everywhere = f"0.0.0.0:{machine.port}"
    code, out, err = machine.flash("--listen", everywhere)
    assert code == 2 and out == "" and f"--listen {everywhere} can be reached by others, who would need no key" in err
    assert not machine.agent.exists()  # nothing was done
    key = tmp_path / "lab.key"
    key.write_text("sixteen bytes, at the least\n")
    code, out, err = machine.flash("--listen", everywhere, "--key", str(key))
    assert code == 0 and "jetson answers" in out, err
    there = machine.home / ".local/share/spedge/key"
    assert there.read_bytes() == key.read_bytes() and there.stat().st_mode & 0o777 == 0o600
    assert f"--listen {everywhere} --key %h/.local/share/spedge/key\n" in machine.unit
    limits = Timeouts(silence=5.0, reconnect=0.0)
    with pytest.raises(DeviceError, match="key"):
        Device.open(f"tcp://{machine.at}", timeouts=limits)
    with Device.open(f"tcp://{machine.at},key={key}", timeouts=limits) as device:
        assert device.hello.board == "jetson"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--listen", "everywhere"), "--listen everywhere is no address: give it as 0.0.0.0:7343"),
        (("--listen", "127.0.0.1:0"), "--listen 127.0.0.1:0 is no address"),
        (("--key", "/dev/null"), "/dev/null is no key: it has fewer than 16 bytes"),
        (("--board", "disco-f746g", "--key", "/dev/null"), "disco-f746g is not written by 'ssh'"),
    ],
)
def test_what_it_would_refuse_is_refused_here(options: tuple[str, ...], says: str, machine: Machine) -> None:
    code, out, err = machine.flash(*options)
    assert code == 2 and says in err and out == "" and not machine.agent.exists()


def test_what_arrives_damaged_does_not_take_the_place_of_the_agent(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.flash("--listen", machine.at)[0] == 0
    before = machine.agent.read_bytes()
    machine.image = tmp_path / "other"
    machine.image.write_bytes(b"A" * 1000)
    monkeypatch.setenv("SSH_FLIPS", "1")
    code, out, err = machine.flash("--listen", machine.at)
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
        ("NO_LINGER", "1", "run 'sudo loginctl enable-linger $USER' there"),
    ],
)
def test_what_goes_wrong_is_said(
    variable: str, value: str, says: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    code, out, err = machine.flash()
    assert code == 3 and says in err and out == ""
    assert machine.agent.exists() == variable.startswith("NO_")


def test_an_agent_that_ends_is_said_to(machine: Machine, tmp_path: Path) -> None:
    """By what it said last."""
    with socket.create_server(("127.0.0.1", machine.port)):
        code, out, err = machine.flash("--listen", machine.at)
    assert code == 3 and out == "" and "something else listens there already" in err
    assert "(step reset; written and verified)" in err


def test_the_machine_has_to_be_named(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["flash", "--board", "jetson", "--method", "ssh", "--image", str(machine.image)]) == 3
    assert "give --host user@name" in capsys.readouterr().err


def test_only_agents_listen(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["flash", "--board", "pico", "--image", str(machine.image), "--listen", "0.0.0.0:1"]
    assert cli.execute(given) == 2
    assert "are for agents, which are copied by ssh; pico has none" in capsys.readouterr().err
