"""The line between host and device: drained, bad, broken, back again; and ends that die."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import select
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import DeviceError, DeviceGone
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.jobs.check import CheckReport, RecordingCheck, check
from spedge.link.faults import Faults
from spedge.link.link import Timeouts
from spedge.link.transport import Reconnecting, Transport, connect
from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.ends import HASTY, REPORTING, Agent, host_tokens, wait_for
from tests.events import scattered
from tests.needs import needs
from tests.noise import require_unmoved
from tests.scripted import Skipped
from tests.tiny import SANITIZED, SMALL_FRAMES, build_firmware, model_source

needs("cc")


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


# ---- a bad line --------------------------------------------------------------------------------------------------


def faultless(reports: list[CheckReport[RecordingCheck]]) -> list[list]:
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
        with open_board(load_board("sim"), image, timeouts=HASTY if faults else None, faults=faults) as device:
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
    with open_board(load_board("sim"), image, timeouts=HASTY, faults=faults) as device:
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
    clock = Skipped()
    there = True

    def dial() -> Transport:
        if not there:
            raise DeviceGone("nobody listens")
        return connect(agent.address)

    line = Reconnecting(dial, Timeouts().reconnect, clock=clock)
    with Device(line, clock=clock) as device:
        device.configure(REPORTING)
        device.send(words[:3000])
        there = False
        line.hang_up(0.0)
        begin = clock.monotonic()
        with pytest.raises(DeviceGone, match=r"was cut, and did not come back within 1\.5 s"):
            device.send(words[3000:])
        assert 1.5 < clock.monotonic() - begin < 2
        there = True
        assert device.resume(within=5)  # and the rest is sent
        assert device.tokens().tolist() == host_tokens(events)


def test_a_device_that_is_gone_before_its_line_is_open_says_why() -> None:
    def dial() -> Transport:
        raise DeviceGone("there is no /dev/pts/5: is the board plugged in?")

    with pytest.raises(DeviceGone, match=r"^sim was killed by signal 9$"):
        Reconnecting(dial, 1.5, lambda: "sim was killed by signal 9")
    with pytest.raises(DeviceGone, match="is the board plugged in"):
        Reconnecting(dial, 1.5)


def test_a_device_that_dies_and_returns(agent: Agent) -> None:
    events = some_events(4000)
    with Device.open(agent.address, timeouts=Timeouts(reconnect=0.3)) as device:
        device.configure(REPORTING)
        threading.Timer(0.2, agent.kill).start()
        begin = time.monotonic()
        with pytest.raises(DeviceGone, match=r"tcp://127.0.0.1:\d+ .*, and did not come back within 0.3 s"):
            while True:
                device.reset()
                device.send(encode_words(events))
        assert time.monotonic() - begin < 0.2 + 0.3 + 0.5
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


# ---- noise -------------------------------------------------------------------------------------------------------


def test_a_million_random_bytes_change_nothing(bundle: Bundle, tmp_path: Path) -> None:
    image = build_firmware("sim", tmp_path / "firmware", model_source(bundle), SANITIZED)
    with open_board(load_board("sim"), image) as device:
        require_unmoved(device, 1_000_000, 300)
