"""Either end dies or falls silent at any moment: the other one says so within two seconds, and goes on when it returns.

The moments are drawn at random, the same ones every time.
"""

from __future__ import annotations

import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import spedge
from spedge.base.errors import DeviceError
from spedge.cameras import EmulatedCamera
from spedge.device.open import Device
from spedge.events.evt2 import encode_words
from spedge.link.link import Timeouts
from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.ends import (
    REPORTING,
    WITHIN,
    Agent,
    Host,
    cli_command,
    host_tokens,
    kill_at_random,
    marked,
    stream_on,
    wait_for,
)
from tests.events import scattered
from tests.needs import needs

needs("cc")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 3 s."""
    path = tmp_path_factory.mktemp("recordings") / "a.npz"
    write(path, scattered(15_000, 3_000_000), 34, 34)
    return path


# ---- a device that is silent: what a user sees ---------------------------------------------------------------------


def results(host: Host) -> list[dict]:
    return [json.loads(line) for _, line in host.out]


def test_every_verb_says_that_its_device_is_silent_and_that_it_is_back(
    image: Path, bundle: Bundle, recording: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.npz"
    write(short, scattered(2000, 100_000), 34, 34)
    play = ["stream", "board", "--play", recording, "--camera-format", "evt2", "--width", 34, "--height", 34]
    hosts = {
        "check": Host(image, "check", bundle.path, short, "--json", "--fault", "delay=1,late=0.2"),
        "lossless": Host(image, "run", bundle.path, recording, "--mode", "lossless", "--speed", 1, "--json"),
        "live": Host(image, "run", bundle.path, recording, "--speed", 1, "--json"),
        "stream": Host(image, *play, "--mode", "lossless", "--out", tmp_path / "a.npz", "--json"),
    }
    devices = {name: host.device() for name, host in hosts.items()}
    time.sleep(1.0)  # all of them have begun
    since = time.monotonic()
    for pid in devices.values():
        os.kill(pid, signal.SIGSTOP)
    took = {name: host.said("sim has not answered for 1.", since, WITHIN) for name, host in hosts.items()}
    assert all(0.5 < seconds < WITHIN for seconds in took.values()), took
    for pid in devices.values():
        os.kill(pid, signal.SIGCONT)
    assert {name: host.end() for name, host in hosts.items()} == dict.fromkeys(hosts, 0)
    for host in hosts.values():
        lines = [line for _, line in host.err]
        assert len(lines) == 2 and re.fullmatch(r"spedge: sim answers again after \d\.\d s", lines[1]), lines
        assert host.left() == []
    check = json.loads("\n".join(line for _, line in hosts["check"].out))
    assert check["passed"]
    assert spedge.open(tmp_path / "a.npz").events().tolist() == spedge.open(recording).events().tolist()
    clean = Host(image, "run", bundle.path, recording, "--json")
    assert clean.end() == 0
    stopped, undisturbed = results(hosts["lossless"]), results(clean)
    for document in (*stopped, *undisturbed):
        for of_time in ("latency", "encode_cost", "summary"):
            document.pop(of_time, None)
    assert stopped == undisturbed
    assert results(hosts["live"])[-1]["summary"]["all_accounted"]


def test_a_device_that_is_asked_nothing_is_found_to_have_restarted(agent: Agent) -> None:
    with Device.open(agent.address) as device:
        device.configure(REPORTING)
        device.wait(1.2)  # it is asked whether it is there
        agent.kill()
        agent.start()
        begin = time.monotonic()
        with pytest.raises(DeviceError, match="was restarted or taken over by another program"):
            device.wait(5)
        assert time.monotonic() - begin < WITHIN


# ---- a device that dies --------------------------------------------------------------------------------------------


def test_sim_killed_at_random_moments(image: Path) -> None:
    draw = random.Random(1)
    moments = [draw.uniform(0, 0.4) for _ in range(10)] + [draw.uniform(0, 0.02) for _ in range(10)]
    errors = kill_at_random("sim", image, moments)
    assert set(errors) == {"sim was killed by signal 9 while it was in use"}


def test_an_agent_that_comes_back_is_gone_on_with(agent: Agent) -> None:
    """Killed at random moments, it knows nothing any more; stopped for a while, nothing is lost and nothing doubled."""
    draw = random.Random(2)
    events = scattered(12_000, 600_000)
    for _ in range(3):
        with Device.open(agent.address, timeouts=Timeouts(reconnect=0.2)) as device:
            threading.Timer(draw.uniform(0.0, 0.3), agent.process.kill).start()
            with pytest.raises(DeviceError, match=r"did not come back within|closed the link|broke"):
                stream_on(device, "lossless", events)
            agent.kill()
            agent.start()
            assert not device.resume(within=5)
            device.configure(REPORTING)
            device.send(encode_words(events))
            assert device.tokens().tolist() == host_tokens(events)
    with Device.open(agent.address) as device:
        device.configure(REPORTING)
        stop = threading.Event()

        def stutter() -> None:
            while not stop.wait(draw.uniform(0.01, 0.1)):
                agent.process.send_signal(signal.SIGSTOP)
                time.sleep(draw.uniform(0.01, 0.3))
                agent.process.send_signal(signal.SIGCONT)

        stopper = threading.Thread(target=stutter)
        stopper.start()
        for piece in np.array_split(encode_words(events), 60):
            device.send(piece)
            time.sleep(0.005)
        stop.set()
        stopper.join()
        assert device.tokens().tolist() == host_tokens(events)
        assert device.stats().imbalance(len(events)) is None
    agent.kill()


# ---- a host that dies ----------------------------------------------------------------------------------------------


def none_left(marks: list[str]) -> bool:
    return not any(map(marked, marks))


def test_no_process_is_left_of_a_host_that_is_killed_at_a_random_moment(
    image: Path, bundle: Bundle, recording: Path
) -> None:
    draw = random.Random(3)
    verbs = [
        ["run", bundle.path, recording, "--speed", 1, "--json"],
        ["run", bundle.path, recording, "--speed", 1, "--mode", "lossless"],
        ["check", bundle.path, *[recording] * 20],
        ["run", bundle.path, "--source", "board", "--play", recording, "--json"],
    ]
    killed = 0
    for _ in range(3):
        hosts = [Host(image, *verb) for verb in verbs]
        began = time.monotonic()
        for moment, host in sorted((draw.uniform(0.2, 2.0), host) for host in hosts):
            time.sleep(max(began + moment - time.monotonic(), 0))
            host.process.kill()
        ends = [host.end() for host in hosts]
        assert set(ends) <= {-signal.SIGKILL, 0}, "0: a check that was done before"
        killed += ends.count(-signal.SIGKILL)
        marks = [host.mark for host in hosts]
        wait_for(partial(none_left, marks), WITHIN)
    assert killed >= 6


def test_a_host_that_ended_before_its_device_began_leaves_none(image: Path) -> None:
    """The narrowest moment: the kernel was not yet told what the device depends on."""
    from spedge.base.children import guarded

    *guard, host, program = guarded([str(image)])
    assert host == str(os.getpid()) and program == str(image)
    process = subprocess.Popen([*guard, "1", program], stdout=subprocess.PIPE)  # not its parent
    assert process.communicate(timeout=5)[0] == b""
    assert process.returncode != 0


def test_an_agent_says_that_its_host_was_killed_and_goes_on_with_its_camera(agent: Agent) -> None:
    events = scattered(30_000, 3_000_000)  # 3 s
    script = (
        "import sys; from spedge.device import *\n"
        "device = Device.open(sys.argv[1])\n"
        "device.configure(Configuration(mode='live', source='camera', format='evt2', every_us=20_000, push=True))\n"
        "print(device.hello.session, device.session.id, flush=True)\n"
        "while True: device.wait(1); device.take_results()"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", script, agent.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert host.stdout
    session = int(host.stdout.readline().split()[1])
    with EmulatedCamera(agent.camera_address, events, "evt2") as camera:
        camera.play()
        time.sleep(0.7)
        host.kill()
        since = time.monotonic()
        wait_for(lambda: any("the host is gone; waiting for the next one" in line for _, line in agent.said), WITHIN)
        assert agent.said[-1][0] - since < WITHIN
        host.communicate()
        with Device.open(agent.address) as device:
            assert device.hello.session == session
            first = device.stats()
            time.sleep(0.3)
            second = device.stats()
            assert 0 < first.taken < second.taken and first.results < second.results
            camera.wait(10)
            wait_for(lambda: device.stats().loss.offered == len(events))
            device.flush()
            assert device.stats().imbalance(len(events)) is None
            device.configure(REPORTING)
            assert device.hello.session != device.session.id
            device.send(encode_words(events[:3000]))
            assert device.tokens().tolist() == host_tokens(events[:3000])


# ---- the terminal --------------------------------------------------------------------------------------------------


def on_a_terminal(command: list[str], key: bytes, when: bytes) -> tuple[int, str]:
    """Run a command on a terminal of its own and press a key once `when` has been written. Its exit code and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    written, pressed, deadline = b"", False, time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # it is closed
            break
        if not data:
            break
        written += data
        if when in written and not pressed:
            os.write(terminal, key)
            pressed = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), written.decode(errors="replace")


def test_the_terminals_ctrl_c_ends_the_host_and_not_the_device(image: Path, bundle: Bundle, recording: Path) -> None:
    """The terminal sends it to every process of its foreground group."""
    code, written = on_a_terminal(
        cli_command(image, "run", bundle.path, recording, "--speed", 1, "--every-ms", 50), b"\x03", b"tokens"
    )
    assert code == 0, written
    assert re.search(r"all accounted +yes", written), written
