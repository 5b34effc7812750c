"""The line between host and device: drained, bad, broken, back again; and ends that die."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.base.errors import DeviceError, DeviceGone, UsageError
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.jobs.check import CheckReport, check
from spedge.link.faults import Faults, FaultyTransport
from spedge.link.frames import VERSION
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.link.transport import KEPT_BYTES, FdTransport, Outgoing, Reconnecting, connect
from spedge.model.bundle import Bundle
from spedge.recordings import write
from spedge.tokens.settings import TokenizerSettings
from tests.ends import children
from tests.events import scattered
from tests.needs import needs
from tests.noise import require_unmoved
from tests.tiny import SANITIZED, SMALL_FRAMES, build_firmware, model_source

needs("cc")


SETTINGS = TokenizerSettings(34, 34, 4, 12.0)
REPORTING = Configuration(SETTINGS, model=False, report_tokens=64)
#: Of the promise that is shown: a line that loses, damages and doubles frames, and goes away twice.
BAD_LINE = "drop=0.01,flip=0.01,dup=0.005,cut=2,away=0.3,seed=1"


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    """Lines go bad by the frame: as many of them as the boards' size makes."""
    return SMALL_FRAMES


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty of N-MNIST's size."""
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(20):
        write(folder / f"{seed}.npz", some_events(4000, seed), 34, 34)
    return [folder / f"{seed}.npz" for seed in range(20)]


def some_events(n: int = 6000, seed: int = 0) -> np.ndarray:
    return scattered(n, 50 * n, seed)


class Agent:
    """The application on TCP, at an address that stays the same when it is started again."""

    def __init__(self, image: Path) -> None:
        self.image = image
        self.port = "0"
        self.start()

    def start(self) -> None:
        command = [str(self.image), "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        self.port = self.address.rpartition(":")[2]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def agent(image: Path) -> Iterator[Agent]:
    started = Agent(image)
    yield started
    started.kill()


def host_tokens(events: np.ndarray) -> Any:
    tokenizer = spedge.Tokenizer("continuous", width=34, height=34, patch_size=4, threshold=12.0)
    return as_reported(tokenizer.push(events)).tolist()


# ---- the reading thread ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "most"), [((1, 2, 300, 7), 10), ((1, 61756, 44, 61756), 1 << 16), ((5,) * 50, 64)])
def test_what_waits_to_be_sent_goes_in_order_and_once(sizes: tuple[int, ...], most: int) -> None:
    random = np.random.default_rng(0)
    pieces = [random.bytes(n) for n in sizes]
    out, sent = Outgoing(pieces[0]), b""
    for piece in pieces[1:]:
        out += piece
    while out:
        left = len(out)
        head = out.head(most)
        assert min(left, most // 2) <= len(head) <= most  # not byte by byte
        taken = int(random.integers(0, len(head) + 1))
        sent += head[:taken]
        out.advance(taken)
        assert len(out) == left - taken
    assert sent == b"".join(pieces) and not out.head(most)


def test_a_device_is_read_from_while_nobody_asks() -> None:
    ours, theirs = socket.socketpair()
    transport = FdTransport("pair", ours.fileno(), ours)
    data = bytes(range(256)) * 4096  # far more than a socket holds
    theirs.settimeout(10)
    theirs.sendall(data)
    received = b""
    while len(received) < len(data):
        received += transport.exchange(b"", 1.0)[1]
    assert received == data
    transport.close()
    theirs.close()


def test_what_nobody_fetches_is_bounded_and_the_latest_is_kept() -> None:
    ours, theirs = socket.socketpair()
    transport = FdTransport("pair", ours.fileno(), ours)
    theirs.settimeout(10)
    theirs.sendall(bytes(KEPT_BYTES + 100_000) + b"the end")
    theirs.shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    received = transport.exchange(b"", 1.0)[1]
    assert len(received) == KEPT_BYTES
    assert received.endswith(b"the end")
    with pytest.raises(DeviceError, match="pair closed the link"):
        transport.exchange(b"", 1.0)
    transport.close()


def test_closing_ends_the_thread_and_may_be_done_twice() -> None:
    before = threading.active_count()
    ours, theirs = socket.socketpair()
    transport = FdTransport("pair", ours.fileno(), ours)
    assert threading.active_count() == before + 1
    transport.close()
    transport.close()
    assert threading.active_count() == before
    with pytest.raises(DeviceError, match="the link to pair is closed"):
        transport.exchange(b"x", 0.1)
    theirs.close()


def test_two_ends_with_full_buffers_do_not_wait_for_each_other() -> None:
    """An end that writes before it reads, and ours that does the same."""
    ours, theirs = socket.socketpair()
    transport = FdTransport("pair", ours.fileno(), ours)
    data = bytes(3_000_000)

    def write_and_read() -> None:
        theirs.sendall(data)
        left = len(data)
        while left:
            left -= len(theirs.recv(1 << 16))

    other = threading.Thread(target=write_and_read)
    other.start()
    sent = got = 0
    deadline = time.monotonic() + 20
    while (sent < len(data) or got < len(data)) and time.monotonic() < deadline:
        written, received = transport.exchange(data[sent : sent + 65536], 0.5)
        sent, got = sent + written, got + len(received)
    assert (sent, got) == (len(data), len(data))
    other.join(10)
    transport.close()
    theirs.close()


# ---- a bad line --------------------------------------------------------------------------------------------------


def test_faults_are_written_as_on_the_command_line() -> None:
    assert Faults.parse("drop=0.01, flip=0.02,dup=0.5,cut=2,seed=7") == Faults(
        drop=0.01, flip=0.02, dup=0.5, cut=2, seed=7
    )
    assert Faults.parse("delay=1,late=0.2,away=3") == Faults(delay=1.0, late=0.2, away=3.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lose=0.1", "there is no fault 'lose' .known: drop, flip, dup, delay"),
        ("drop=2", "give drop=a chance between 0 and 1"),
        ("drop=nan", "give drop=a chance"),
        ("drop", "give drop=a chance"),
        ("cut=0.5", "give cut=a whole number"),
        ("away=-1", "give away=seconds"),
    ],
)
def test_a_fault_that_is_none_ends_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Faults.parse(text)


class Pipe:
    """A transport that takes everything and gives it back."""

    name = "pipe"

    def __init__(self) -> None:
        self.taken = b""

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        self.taken += out
        return len(out), b""

    def unsent(self) -> int:
        return 0

    def close(self) -> None:
        pass


def through(faults: Faults, frames: int = 400) -> tuple[list[bytes], FaultyTransport]:
    pipe = Pipe()
    line = FaultyTransport(pipe, faults)
    for i in range(frames):
        line.exchange(b"frame %d\0" % i, 0.0)
    deadline = time.monotonic() + faults.late + 0.05
    while time.monotonic() < deadline:
        line.exchange(b"", 0.01)
    return pipe.taken.split(b"\0")[:-1], line


def test_each_fault_does_what_it_says() -> None:
    sent = [b"frame %d" % i for i in range(400)]
    dropped, line = through(Faults(drop=0.1))
    assert len(dropped) == 400 - line.done["drop"] < 390
    assert set(dropped) < set(sent)
    flipped, line = through(Faults(flip=0.1))
    assert 10 < line.done["flip"] < 80
    assert flipped != sent
    doubled, line = through(Faults(dup=0.1))
    assert len(doubled) == 400 + line.done["dup"] > 410
    delayed, line = through(Faults(delay=0.1, late=0.05))
    assert sorted(delayed) == sorted(sent) and delayed != sent and line.done["delay"] > 10
    swapped, line = through(Faults(swap=0.1))
    assert line.done["swap"] > 10 and swapped != sent
    _, line = through(Faults(cut=2, away=0.0))
    assert line.done["cut"] == 2


def test_the_same_seed_does_the_same() -> None:
    faults = Faults(drop=0.1, flip=0.1, dup=0.1, swap=0.1, noise=0.1, seed=5)
    assert through(faults)[0] == through(faults)[0] != through(dataclasses.replace(faults, seed=6))[0]


def faultless(reports: list[CheckReport]) -> list[list]:
    """What has to be the same, whatever the line did."""
    return [
        [
            [r.problem, r.events_device, r.tokens_device, r.tokens_equal, r.label_device, r.logits_device.tolist()]
            for r in report.recordings
        ]
        for report in reports
    ]


def test_twenty_recordings_over_a_bad_line_are_those_of_a_clean_run(
    bundle: Bundle, image: Path, recordings: list[Path]
) -> None:
    reports = []
    for faults in (None, Faults.parse(BAD_LINE)):
        with open_board(load_board("sim"), image, faults=faults) as device:
            reports.append(check(bundle, recordings, device))
    clean, bad = reports
    assert clean.passed
    assert faultless([bad]) == faultless([clean])
    assert (clean.line.resent, clean.line.reconnects, clean.faults) == (0, 0, {})
    assert bad.faults["cut"] == 2 == bad.line.reconnects
    assert min(bad.faults[kind] for kind in ("drop", "flip", "dup")) > 0
    assert bad.line.resent > 0 and bad.line.repeated > 0 and bad.line.refused > 0
    assert bad.line.damaged_there + bad.line.damaged_here > 0
    document = bad.to_json()
    assert document["line"] == dataclasses.asdict(bad.line)
    assert document["faults"] == bad.faults
    assert sum(r["line"]["resent"] for r in document["recordings"]) == bad.line.resent


def test_late_frames_and_all_faults_together(bundle: Bundle, image: Path, recordings: list[Path]) -> None:
    faults = Faults.parse("drop=0.02,flip=0.02,dup=0.02,delay=0.05,swap=0.02,noise=0.02,cut=1,away=0.2,seed=3")
    with open_board(load_board("sim"), image, faults=faults) as device:
        report = check(bundle, recordings[:4], device)
    assert [r.problem for r in report.recordings] == [None] * 4
    assert report.faults["delay"] > 0


# ---- lines that break --------------------------------------------------------------------------------------------


def test_a_line_that_comes_back_is_gone_on_with(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    events = some_events(20_000)
    with Device.open(agent.address) as device, caplog.at_level(logging.WARNING, "spedge.device"):
        device.configure(REPORTING)
        line = device.link.transport
        assert isinstance(line, Reconnecting)
        cuts = iter((10_000, 40_000))
        at = next(cuts)

        def cut(done: int) -> None:
            nonlocal at
            if done > at:
                at = next(cuts, 1 << 40)
                line.hang_up(0.2)

        device.send(encode_words(events), cut)
        assert device.tokens().tolist() == host_tokens(events)
        assert device.stats().imbalance(len(events)) is None
        assert device.line_counts().reconnects == 2
    said = [record.getMessage() for record in caplog.records]
    assert f"the link to {agent.address} was cut; waiting for it to come back" in said
    assert said.count(f"the link to {agent.address} is back") == 2


def test_a_line_that_stays_away_is_reported_within_two_seconds_and_can_be_resumed(agent: Agent) -> None:
    events = some_events(8000)
    words = encode_words(events)
    with Device.open(agent.address) as device:
        device.configure(REPORTING)
        device.send(words[:3000])
        line = device.link.transport
        assert isinstance(line, Reconnecting)
        line.hang_up(60)
        begin = time.monotonic()
        line._give_up_at = begin + line._patience  # as when nobody says how long it will be away
        with pytest.raises(DeviceError, match=r"was cut, and did not come back within 1\.5 s"):
            device.send(words[3000:])
        assert time.monotonic() - begin < 2
        line._not_before = 0.0
        assert device.resume(within=5)  # and the rest is sent
        assert device.tokens().tolist() == host_tokens(events)


def test_a_device_that_dies_and_returns(agent: Agent) -> None:
    events = some_events(4000)
    with Device.open(agent.address) as device:
        device.configure(REPORTING)
        threading.Timer(0.2, agent.kill).start()
        begin = time.monotonic()
        with pytest.raises(DeviceError, match=r"tcp://127.0.0.1:\d+ .*, and did not come back within 1.5 s"):
            while True:
                device.reset()
                device.send(encode_words(events))
        assert time.monotonic() - begin < 0.2 + 2
        agent.start()
        assert not device.resume(within=5)  # it knows nothing any more
        device.configure(REPORTING)
        device.send(encode_words(events))
        assert device.tokens().tolist() == host_tokens(events)


def test_a_device_that_returns_at_once_is_found_to_have_restarted(agent: Agent) -> None:
    with Device.open(agent.address) as device:
        device.configure(REPORTING)
        agent.kill()
        agent.start()
        with pytest.raises(DeviceError, match="was restarted or taken over"):
            device.send(encode_words(some_events()))


def test_a_device_that_does_not_return_in_time(agent: Agent) -> None:
    with Device.open(agent.address, timeouts=Timeouts(reconnect=0.2)) as device:
        agent.kill()
        with pytest.raises(DeviceError, match=r"did not come back within 0\.2 s"):
            device.resume(within=0.5)


def test_silence_is_mentioned_before_it_is_given_up(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    limits = Timeouts(notice=1.0, silence=1.6)
    with Device.open(agent.address, timeouts=limits) as device:
        agent.process.send_signal(signal.SIGSTOP)
        with caplog.at_level(logging.WARNING, "spedge.device"), pytest.raises(DeviceError, match="does not answer"):
            device.stats()
        agent.process.send_signal(signal.SIGCONT)
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{agent.address} has not answered for 1.0 s; waiting"]


class Plug:
    """A unix socket in front of a device, that can be pulled out and put in."""

    def __init__(self, device: str, path: Path) -> None:
        self.device, self.path = device, path
        self.pulled = threading.Event()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        wait_for(path.exists)

    def _serve(self) -> None:
        inner = connect(self.device)
        while not self.stop.is_set():
            if self.pulled.is_set():
                time.sleep(0.01)
                continue
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(self.path))
                listener.listen(1)
                listener.settimeout(0.05)
                while not (self.pulled.is_set() or self.stop.is_set()):
                    with contextlib.suppress(TimeoutError), listener.accept()[0] as host:
                        self._carry(host, inner)
            self.path.unlink()
        inner.close()

    def _carry(self, host: socket.socket, inner: Any) -> None:
        waiting = b""
        while not (self.pulled.is_set() or self.stop.is_set()):
            if select.select([host], [], [], 0)[0]:
                data = host.recv(1 << 14)
                if not data:
                    return
                waiting += data
            written, received = inner.exchange(waiting, 0.002)
            waiting = waiting[written:]
            with contextlib.suppress(BrokenPipeError):
                host.sendall(received)

    def close(self) -> None:
        self.stop.set()
        self.thread.join()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_port_that_is_unplugged_and_plugged_in_again(agent: Agent, tmp_path: Path) -> None:
    """The device stays powered, as one with its own supply: the session goes on where it was."""
    events = some_events(20_000)
    plug = Plug(agent.address, tmp_path / "port")
    try:
        with Device.open(f"unix:{tmp_path / 'port'}") as device:
            device.configure(REPORTING)
            out = threading.Timer(0.02, plug.pulled.set)
            back = threading.Timer(0.7, plug.pulled.clear)
            for timer in (out, back):
                timer.start()
            for piece in np.array_split(encode_words(events), 40):
                device.send(piece)
                time.sleep(0.01)
            assert device.tokens().tolist() == host_tokens(events)
            assert device.line_counts().reconnects >= 1
    finally:
        plug.close()


# ---- ends that die -----------------------------------------------------------------------------------------------

HOST = """
import sys
from spedge.device import *
from spedge.events.evt2 import encode_words
from tests.python.test_link import REPORTING, some_events
device = Device.open(sys.argv[1])
words = encode_words(some_events(50_000))
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
            device.send(encode_words(some_events(500)))
            assert device.flush().events == 500
        host.wait()
        host.stdout.close()
    assert agent.process.poll() is None


def test_the_host_that_comes_last_has_the_device(agent: Agent) -> None:
    """The one before may be a connection that nobody closed."""
    with Device.open(agent.address, timeouts=Timeouts(silence=2)) as old:
        old.configure(REPORTING)
        with Device.open(agent.address) as new:
            new.configure(REPORTING)
            new.send(encode_words(some_events(500)))
            assert new.flush().events == 500
        with pytest.raises(DeviceGone, match=f"^another program took over {agent.address}$"):
            old.flush()


def test_an_agent_with_a_bad_address_says_so(image: Path) -> None:
    for address in ("nonsense", "1.2.3.4", "localhost:80", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:80x"):
        done = subprocess.run([image, "--listen", address], capture_output=True, text=True, timeout=10)
        assert done.returncode == 2
        assert f"{address} is no address to listen on: give it as 127.0.0.1:7343" in done.stderr


def test_an_agent_whose_port_is_taken_says_so(agent: Agent, image: Path) -> None:
    done = subprocess.run([image, "--listen", f"127.0.0.1:{agent.port}"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1:{agent.port}: Address already in use" in done.stderr


#: `spedge check` of a bundle with a firmware that is built already, over a line so slow that there is time to kill.
CHECK = """
import sys
from pathlib import Path
from types import SimpleNamespace
import spedge.boards.build
from spedge import cli
image = Path(sys.argv[1])
spedge.boards.build.build = lambda *_: SimpleNamespace(path=image)
sys.argv = ["spedge", "check", *sys.argv[2:], "--fault", "delay=1,late=0.3"]
cli.main()
"""


def start_check(image: Path, bundle: Bundle, recording: Path) -> tuple[subprocess.Popen, int]:
    """The process of the host, and the id of the device's, while events are on their way."""
    host = subprocess.Popen(
        [sys.executable, "-c", CHECK, image, bundle.path, recording], stderr=subprocess.PIPE, text=True
    )
    device: list[int] = []

    def started() -> bool:
        device[:] = [pid for pid in children(host.pid) if Path(f"/proc/{pid}/exe").resolve() == image.resolve()]
        return bool(device)

    wait_for(started, 30)
    time.sleep(0.8)  # beyond HELLO
    return host, device[0]


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_the_host_says_so_when_its_device_is_killed(image: Path, bundle: Bundle, recordings: list[Path]) -> None:
    host, device = start_check(image, bundle, recordings[0])
    os.kill(device, signal.SIGKILL)
    begin = time.monotonic()
    _, said = host.communicate(timeout=10)
    assert time.monotonic() - begin < 2
    assert host.returncode == 3
    assert said == "spedge: error: sim was killed by signal 9 while it was in use\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_device_outlives_its_host(
    image: Path, bundle: Bundle, recordings: list[Path], number: signal.Signals
) -> None:
    host, device = start_check(image, bundle, recordings[0])
    host.send_signal(number)
    host.communicate(timeout=10)
    wait_for(lambda: not alive(device), 2)


# ---- noise -------------------------------------------------------------------------------------------------------


def test_a_million_random_bytes_change_nothing(bundle: Bundle, tmp_path: Path) -> None:
    image = build_firmware("sim", tmp_path / "firmware", model_source(bundle), SANITIZED)
    with open_board(load_board("sim"), image) as device:
        require_unmoved(device, 1_000_000, 300)


# ---- ports -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The serial ports of this machine, to be filled in."""
    from serial.tools import list_ports

    found: list[SimpleNamespace] = []
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    return found


def usb(device: str, vid: int | None = 0x0483, pid: int | None = 0x374B) -> SimpleNamespace:
    return SimpleNamespace(device=device, description="STM32 STLink", vid=vid, pid=pid, serial_number="066B")


def test_devices_lists_ports_and_what_answers(
    image: Path, ports: list[SimpleNamespace], capsys: pytest.CaptureFixture[str], agent: Agent
) -> None:
    board = subprocess.Popen([image], stdout=subprocess.PIPE, text=True)
    assert board.stdout
    link = board.stdout.readline().strip()
    ours, theirs = os.openpty()
    ports += [usb(link), usb(os.ttyname(theirs), None, None), usb("/dev/ttyNONE0", 0x1A86, 0x7523)]
    assert cli.execute(["devices", agent.address, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["devices"]
    assert [entry["usb_id"] for entry in found] == ["0483:374b", "1a86:7523", None, None]
    assert found[0]["hello"]["board"] == "sim" and found[0]["hello"]["model"] == "tiny"
    assert found[0]["serial_number"] == "066B"
    assert "there is no /dev/ttyNONE0" in found[1]["problem"]
    assert "does not answer" in found[2]["problem"]
    assert found[3]["port"] == agent.address and found[3]["hello"]["protocol"] == VERSION
    assert cli.execute(["devices", "--no-ask"]) == 0
    listing = capsys.readouterr().out
    assert "0483:374b" in listing and "STM32 STLink" in listing and "does not answer" not in listing
    for end in (ours, theirs):
        os.close(end)
    board.kill()
    board.communicate()


def test_devices_says_when_there_is_none(ports: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["devices"]) == 0
    assert "no serial port" in capsys.readouterr().out


def test_udev_prints_the_rules_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["udev"]) == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if not line.startswith("#")]
    assert (
        'SUBSYSTEM=="tty", ATTRS{idVendor}=="0483", ATTRS{idProduct}=="374b", MODE="0660", TAG+="uaccess", '
        'ENV{ID_MM_DEVICE_IGNORE}="1"'
    ) in lines
    assert all(line.startswith('SUBSYSTEM=="tty", ATTRS{idVendor}=="') for line in lines)
    assert "nothing was written" in printed.err


def test_udev_writes_the_file_or_says_that_it_needs_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spedge.boards.ports import usb_ids
    from spedge.link import udev

    monkeypatch.setattr(shutil, "which", lambda _: None)  # no udev here
    monkeypatch.setattr(udev.write_rules, "__defaults__", (tmp_path / "60-spedge.rules",))
    assert cli.execute(["udev", "--write"]) == 0
    assert (tmp_path / "60-spedge.rules").read_text() == udev.udev_rules(usb_ids())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert cli.execute(["udev", "--write"]) == 2
    assert "may be written by root only: run 'sudo spedge udev --write'" in capsys.readouterr().err


def test_a_port_that_is_not_ours_names_the_rule_of_its_usb_device(
    ports: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import serial

    port = tmp_path / "ttyACM0"
    port.touch(0o600)
    ports.append(usb(str(port), 0x16C0, 0x0483))

    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(13, "Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(DeviceError) as caught:
        connect(str(port))
    assert 'ATTRS{idVendor}=="16c0", ATTRS{idProduct}=="0483", MODE="0660"' in str(caught.value)
    assert "60-spedge.rules and plug the board in again" in str(caught.value)


def test_a_device_is_opened_by_the_name_of_its_board(
    image: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    asked = []

    def build(board: Any, model: Bundle | None) -> SimpleNamespace:
        asked.append((board.name, model))
        return SimpleNamespace(path=image)

    monkeypatch.setattr("spedge.boards.build.build", build)
    with spedge.Device.open("sim", bundle) as device:
        assert device.hello.model == "tiny"
    assert asked == [("sim", bundle)]
    with pytest.raises(UsageError, match="'simm' is no address of a device"):
        spedge.Device.open("simm")
