"""Agents through ssh's own pipe, by an sshd on the loopback with keys of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spedge.base.errors import DeviceGone, UsageError
from spedge.device.open import Device
from spedge.events.evt2 import encode_words
from spedge.link.ssh import SshTransport, connect_ssh
from spedge.link.transport import reconnecting
from tests.ends import REPORTING, Agent, host_tokens
from tests.events import scattered

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
with_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="sshd is not installed: make test-ssh brings it"
)


class Sshd:
    """The server, and an ssh on the PATH that knows it and has its key."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        assert SSHD
        self.folder = folder
        for name in ("host", "mine", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "mine.pub", folder / "authorized")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized\nPidFile none\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        known = f"[127.0.0.1]:{self.port} {(folder / 'host.pub').read_text()}"
        (folder / "known").write_text(known)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # it insists
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=(folder / "log").open("wb")
        )
        self.use("mine")
        (folder / "programs").mkdir()
        program = folder / "programs" / "ssh"
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
        program.chmod(0o755)
        patch.setenv("PATH", f"{folder / 'programs'}:{os.environ['PATH']}")
        deadline = time.monotonic() + 5
        while b"listening" not in (folder / "log").read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)

    def use(self, key: str, known: str = "known") -> None:
        (self.folder / "config").write_text(
            f"IdentityFile {self.folder}/{key}\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {self.folder}/{known}\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\n"
        )

    def address(self, agent: str) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}/{agent}"


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    server = Sshd(tmp_path, monkeypatch)
    yield server
    server.process.kill()
    server.process.wait()


def ssh_of(device: Device) -> SshTransport:
    line = reconnecting(device.link.transport)
    assert line and isinstance(line._line, SshTransport)
    return line._line


@with_sshd
def test_a_session_survives_an_ssh_that_is_killed_and_not_an_agent_that_restarts(sshd: Sshd, agent: Agent) -> None:
    events = scattered(20_000, 200_000)
    with Device.open(sshd.address(agent.port)) as device:
        device.configure(REPORTING)
        device.send(encode_words(events[:10_000]))
        process = ssh_of(device)._process
        process.kill()
        device.send(encode_words(events[10_000:]))
        assert device.tokens().tolist() == host_tokens(events)
        assert device.stats().imbalance(len(events)) is None
        assert device.line_counts().reconnects == 1 and ssh_of(device)._process.pid != process.pid
        agent.kill()
        agent.start()
        with pytest.raises(DeviceGone, match="restarted"):
            device.stats()
        assert not device.resume()
        last = ssh_of(device)._process
    assert last.poll() is not None  # nothing is left


@with_sshd
def test_what_ssh_says_is_told(sshd: Sshd, agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = str(free.getsockname()[1])
    with pytest.raises(DeviceGone, match="no agent listens there"):
        Device.open(sshd.address(nobody))
    sshd.use("other")
    with pytest.raises(DeviceGone, match="you may not log in there: put your key there"):
        Device.open(sshd.address(agent.port))
    sshd.use("mine", known="absent")
    with pytest.raises(DeviceGone, match="the machine is unknown"):
        Device.open(sshd.address(agent.port))
    sshd.process.kill()
    sshd.process.wait()
    with pytest.raises(DeviceGone, match="the machine cannot be reached"):
        Device.open(sshd.address(agent.port))


@pytest.mark.parametrize(
    "address",
    [
        "ssh://", "ssh://-oProxyCommand=true", "ssh://me@-x", "ssh://-l@there", "ssh://me@there:port", "ssh://me@there/x",
        "ssh://me@there/70000", "ssh://me:secret@there", "ssh://me@there?x", "ssh://me@the re",
    ],
)  # fmt: skip
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="give ssh://USER@NAME"):
        connect_ssh(address)


def test_ssh_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceGone, match="needs ssh, which is not installed: sudo apt-get install openssh-client"):
        connect_ssh("ssh://me@there")
