"""Hosts that come, go and are killed: whose the device is, and that neither end outlives the other unnoticed."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spedge.base.errors import DeviceError, DeviceGone, DeviceRefused
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.link.protocol import Configuration
from spedge.link.transport import Reconnecting
from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.ends import (
    REPORTING,
    WITHIN,
    Agent,
    Host,
    alive,
    children,
    host_tokens,
    stream_on,
    wait_for,
)
from tests.events import scattered
from tests.needs import needs

needs("cc")

EVENTS = scattered(20_000, 1_000_000)
COME, IN_PLACE, FOUND, GONE = (
    "a host has come from 127.0.0.1",
    "a host has come from 127.0.0.1 in the place of another",
    "a host has come from 127.0.0.1 and found another here",
    "the host is gone; waiting for the next one",
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 2 s."""
    path = tmp_path_factory.mktemp("recordings") / "a.npz"
    write(path, scattered(10_000, 2_000_000), 34, 34)
    return path


# ---- whose the device is -----------------------------------------------------------------------------------------


def require_all(device: Device, events: np.ndarray = EVENTS) -> None:
    """In a session of its own the device gets all events, and makes of them what it should. Asserts."""
    device.configure(REPORTING)
    for piece in np.array_split(encode_words(events), 5):
        device.send(piece)
    assert device.tokens().tolist() == host_tokens(events)
    assert device.stats().imbalance(len(events)) is None
    assert device.line_counts().reconnects == 0


def taken(agent: Agent) -> str:
    return f"^another program took over {agent.address}$"


def log_of(agent: Agent) -> list[str]:
    return [line for _, line in agent.said]


def test_of_three_hosts_the_last_has_the_device_and_the_others_are_told(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    hosts: list[Device] = []
    for _ in range(3):
        hosts.append(Device.open(agent.address))
        require_all(hosts[-1], EVENTS[:3000])
    *others, last = hosts
    for host in others:
        with pytest.raises(DeviceGone, match=taken(agent)):
            host.flush()
        with pytest.raises(DeviceGone, match=taken(agent)):
            host.resume(within=5)
    require_all(last)
    for host in hosts:
        host.close()
    assert log_of(agent)[:3] == [COME, IN_PLACE, IN_PLACE]
    assert set(log_of(agent)[3:]) <= {FOUND, GONE}  # of resume, which asks
    assert not [record for record in caplog.records if "took" in record.getMessage()]


@pytest.mark.parametrize("mode", ["lossless", "live"])
def test_a_host_that_comes_during_a_stream_loses_nothing(
    agent: Agent, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The one before is told at once and once, and does not come back."""
    ends: list[tuple[float, str]] = []

    def stream(device: Device) -> None:
        with device:
            try:
                stream_on(device, mode, EVENTS)
            except DeviceError as error:
                ends.append((time.monotonic(), str(error)))

    with caplog.at_level(logging.WARNING, "spedge.device"):
        first = Device.open(agent.address)
        thread = threading.Thread(target=stream, args=(first,))
        thread.start()
        wait_for(lambda: first.session.id and first.status is not None and first.status.events > 100)
        came = time.monotonic()
        with Device.open(agent.address) as second:
            require_all(second)
            thread.join(10)
            require_all(second)
    assert [error for _, error in ends] == [f"another program took over {agent.address}"]
    assert ends[0][0] - came < WITHIN
    assert log_of(agent)[:2] == [COME, IN_PLACE] and FOUND not in log_of(agent)
    assert caplog.records == []


def test_a_host_gets_in_while_the_device_is_busy_all_the_time(image: Path, tmp_path: Path) -> None:
    """A device that never comes to sleep sees who comes all the same."""
    words = tmp_path / "words"
    words.write_bytes(encode_words(scattered(400_000, 4_000_000_000)).tobytes())
    agent = Agent(image, words)
    try:
        with Device.open(agent.address) as first:
            first.configure(Configuration(mode="live", source="ram", every_us=1))  # for seconds
            came = time.monotonic()
            with Device.open(agent.address) as second:
                assert time.monotonic() - came < WITHIN
                assert second.hello.session == first.session.id
                before = second.stats()
                assert second.stats().results > before.results  # it was at it
                require_all(second)
            with pytest.raises(DeviceGone, match=taken(agent)):
                first.stats()
    finally:
        agent.kill()


def test_hosts_that_come_at_once_find_one_place(agent: Agent) -> None:
    """Each has the device for all that it wants, or is told that it has not; never a part of another's stream."""
    for _ in range(4):
        start = threading.Barrier(3)
        ends: list[str] = []

        def visit(start: threading.Barrier = start, ends: list[str] = ends) -> None:
            start.wait()
            try:
                with Device.open(agent.address) as device:
                    require_all(device, EVENTS[:2000])
                ends.append("all")
            except DeviceError as error:
                ends.append(str(error))

        threads = [threading.Thread(target=visit) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        told = {f"another program took over {agent.address}", f"{agent.address} is in use by another program"}
        assert len(ends) == 3 and "all" in ends and set(ends) <= told | {"all"}


def test_a_host_that_yields_is_not_let_in_beside_another(agent: Agent) -> None:
    with Device.open(agent.address) as first:
        first.configure(REPORTING)
        first.send(encode_words(EVENTS[:3000]))
        for _ in range(3):
            with pytest.raises(DeviceRefused, match=f"^{agent.address} is in use by another program$"):
                Device.open(agent.address, yields=True)
        assert first.tokens().tolist() == host_tokens(EVENTS[:3000])
        assert first.line_counts().reconnects == 0
    wait_for(lambda: GONE in log_of(agent))
    with Device.open(agent.address, yields=True) as second:
        require_all(second)


@pytest.mark.parametrize("says", [b"", b"\0\0\0", b"GET / HTTP/1.0\r\n\r\n", bytes(range(1, 256)) * 8], ids=len)
def test_a_connection_that_says_nothing_disturbs_nobody(agent: Agent, says: bytes) -> None:
    host, _, port = agent.address.removeprefix("tcp://").partition(":")
    with Device.open(agent.address) as device:
        device.configure(REPORTING)
        device.send(encode_words(EVENTS[:1000]))
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(says)
            device.send(encode_words(EVENTS[1000:2000]))
            with socket.create_connection((host, int(port))):
                device.send(encode_words(EVENTS[2000:3000]))
        assert device.tokens().tolist() == host_tokens(EVENTS[:3000])
        assert device.line_counts().reconnects == 0
        with Device.open(agent.address) as second:  # behind those who say nothing
            require_all(second)
    assert log_of(agent)[:2] == [COME, IN_PLACE]


def abandon(device: Device, abandoned: list) -> None:
    """Take its line from it, as when it broke, without closing it."""
    line = device.link.transport
    assert isinstance(line, Reconnecting)
    abandoned.append(line._line)
    line._line = None
    line._broke("the link was pulled")


@pytest.fixture
def abandoned() -> Iterator[list]:
    """Lines that nobody closed."""
    lines: list = []
    yield lines
    for line in lines:
        line.close()


def test_a_host_takes_the_place_of_a_connection_of_its_own_that_broke(agent: Agent, abandoned: list) -> None:
    """As after a cable was pulled: the device does not know yet that the old one is dead."""
    with Device.open(agent.address) as device:
        device.configure(REPORTING)
        for piece in np.array_split(encode_words(EVENTS), 4):
            device.send(piece)
            abandon(device, abandoned)
        assert device.tokens().tolist() == host_tokens(EVENTS)
        assert device.stats().imbalance(len(EVENTS)) is None
        assert device.line_counts().reconnects == 4


@pytest.mark.parametrize("begun", [True, False], ids=["with a session of its own", "before it began one"])
def test_a_host_that_slept_through_being_told_leaves_the_device_to_the_next(
    agent: Agent, begun: bool, abandoned: list
) -> None:
    with Device.open(agent.address) as first:
        first.configure(REPORTING)
        first.send(encode_words(EVENTS[:1000]))
        with Device.open(agent.address) as second:
            if begun:
                second.configure(REPORTING)
            abandon(first, abandoned)  # with what it was told
            with pytest.raises(DeviceGone, match=taken(agent)):
                first.send(encode_words(EVENTS[1000:2000]))
            require_all(second)
    wait_for(lambda: log_of(agent)[:3] == [COME, IN_PLACE, FOUND], 10)


@pytest.mark.parametrize("verb", ["run", "check"])
def test_of_two_commands_on_one_agent_the_second_has_all(
    agent: Agent, image: Path, bundle: Bundle, recording: Path, verb: str
) -> None:
    on = ["--device", agent.address]
    long = ["--speed", 0.01] if verb == "run" else [recording] * 400
    first = Host(image, verb, bundle.path, recording, *long, *on)
    wait_for(lambda: COME in log_of(agent), 30)
    time.sleep(1.0 if verb == "run" else 0.2)  # it has begun
    if verb == "check":  # it might be done before the other one has started
        first.process.send_signal(signal.SIGSTOP)
    second = Host(image, verb, bundle.path, recording, *on)
    assert second.end() == 0
    first.process.send_signal(signal.SIGCONT)
    assert first.end(10) == 3
    assert [line for _, line in first.err] == [f"spedge: error: another program took over {agent.address}"]
    assert second.err == []
    assert log_of(agent)[:2] == [COME, IN_PLACE]


# ---- ends that die -----------------------------------------------------------------------------------------------

HOST = """
import sys
from spedge.device import *
from spedge.events.evt2 import encode_words
from tests.ends import REPORTING
from tests.events import scattered
device = Device.open(sys.argv[1])
words = encode_words(scattered(50_000, 2_500_000))
print("up", flush=True)
while True:
    device.configure(REPORTING)
    device.send(words)
"""


def test_a_device_serves_the_next_host_when_one_is_killed(agent: Agent, repository: Path) -> None:
    for wait in (0.0, 0.1, 0.3):
        host = subprocess.Popen(
            [sys.executable, "-c", HOST, agent.address], stdout=subprocess.PIPE, text=True, cwd=repository
        )
        assert host.stdout and host.stdout.readline() == "up\n"
        time.sleep(wait)
        host.kill()
        begin = time.monotonic()
        with Device.open(agent.address) as device:
            device.configure(REPORTING)
            assert time.monotonic() - begin < 2
            device.send(encode_words(EVENTS[:500]))
            assert device.flush().events == 500
        host.wait()
        host.stdout.close()
    assert agent.process.poll() is None


def test_an_agent_with_a_bad_address_says_so(image: Path) -> None:
    for address in ("nonsense", "1.2.3.4", "localhost:80", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:80x"):
        done = subprocess.run([image, "--listen", address], capture_output=True, text=True, timeout=10)
        assert done.returncode == 2
        assert f"{address} is no address to listen on: give it as 127.0.0.1:7343" in done.stderr


def test_an_agent_whose_port_is_taken_says_so(agent: Agent, image: Path) -> None:
    done = subprocess.run([image, "--listen", f"127.0.0.1:{agent.port}"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1:{agent.port}: Address already in use" in done.stderr


def start_check(image: Path, bundle: Bundle, recording: Path) -> tuple[Host, int]:
    """The host, over a line so slow that there is time to kill, and the process of its device."""
    host = Host(image, "check", bundle.path, recording, "--fault", "delay=1,late=0.3")
    device = host.device()
    time.sleep(0.8)  # beyond HELLO
    return host, device


def test_the_host_says_so_when_its_device_is_killed(image: Path, bundle: Bundle, recording: Path) -> None:
    host, device = start_check(image, bundle, recording)
    os.kill(device, signal.SIGKILL)
    assert host.said("sim was killed by signal 9", time.monotonic(), WITHIN) < WITHIN
    assert host.end(10) == 3
    assert [line for _, line in host.err] == ["spedge: error: sim was killed by signal 9 while it was in use"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_device_outlives_its_host(image: Path, bundle: Bundle, recording: Path, number: signal.Signals) -> None:
    host, device = start_check(image, bundle, recording)
    host.process.send_signal(number)
    host.end(10)
    wait_for(lambda: not alive(device), 2)


def test_a_killed_device_is_reported_at_once(image: Path) -> None:
    device = open_board(load_board("sim"), image)
    device.configure(Configuration(report_tokens=8))
    ours = [pid for pid in children(os.getpid()) if Path(f"/proc/{pid}/exe").resolve() == image.resolve()]
    assert len(ours) == 1
    threading.Timer(0.2, os.kill, (ours[0], signal.SIGKILL)).start()
    begin = time.monotonic()
    with device, pytest.raises(DeviceError, match="sim was killed by signal 9"):
        for _ in range(10_000):
            device.reset()
            device.send(encode_words(EVENTS[:3000]))
    assert time.monotonic() - begin < 5


def test_the_device_dies_with_its_parent(image: Path, tmp_path: Path) -> None:
    script = (
        "import subprocess, time\n"
        f"p = subprocess.Popen([{str(image)!r}], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\nprint(p.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not alive(pid))
