"""The agent for 64-bit Arm Linux: emulated here, over TCP."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from spedge.base.errors import DeviceError, DeviceGone
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.jobs.check import check
from spedge.link.faults import Faults
from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.ends import REPORTING, Agent, host_tokens, kill_at_random
from tests.events import scattered
from tests.noise import require_unmoved
from tests.tiny import missing_for

pytestmark = pytest.mark.skipif(missing_for("jetson") is not None, reason=str(missing_for("jetson")))


@pytest.fixture(scope="module")
def board() -> str:
    return "jetson"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(3):
        write(folder / f"{seed}.npz", scattered(4000, 200_000, seed), 34, 34)
    return [folder / f"{seed}.npz" for seed in range(3)]


def emulator_of(image: Path) -> int:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            command = (folder / "cmdline").read_bytes().split(b"\0") if folder.exists() else []
            if command and b"qemu-aarch64" in command[0] and str(image).encode() in command:
                return int(folder.name)
    raise AssertionError("no emulator")


def test_it_is_not_said_to_be_silicon() -> None:
    board = load_board("jetson")
    assert not board.silicon
    assert board.process and board.process.emulated and board.emulator == "qemu-aarch64"
    assert "not yet on a Jetson" in board.description


def test_check_passes(bundle: Bundle, image: Path, device: Device, recordings: list[Path]) -> None:
    assert (device.hello.board, device.hello.cost_unit) == ("jetson", "ns")
    report = check(bundle, recordings, device)
    assert [recording.problem for recording in report.recordings] == [None] * 3
    assert all(recording.tokens_device > 100 for recording in report.recordings)


def test_a_bad_line_changes_nothing(bundle: Bundle, image: Path, recordings: list[Path]) -> None:
    faults = Faults(drop=0.02, flip=0.02, dup=0.02, cut=2, away=0.2, seed=1)
    with open_board(load_board("jetson"), image, faults=faults) as device:
        report = check(bundle, recordings * 6, device)  # enough of its large frames to be cut twice among
    assert [recording.problem for recording in report.recordings] == [None] * 18
    assert report.faults["cut"] == 2 == report.line.reconnects


def test_a_killed_agent_is_reported_and_nothing_is_left(image: Path, device: Device) -> None:
    pid = emulator_of(image)
    os.kill(pid, signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(DeviceError, match="jetson was killed by signal 9 while it was in use"):
        device.stats()
    assert time.monotonic() - begin < 2
    device.close()
    assert not Path(f"/proc/{pid}").exists()


def test_of_two_hosts_on_one_agent_the_last_has_all(image: Path) -> None:
    emulator = load_board("jetson").emulator
    assert emulator
    agent = Agent(image, emulator=[emulator])
    try:
        events = scattered(20_000, 1_000_000)
        with Device.open(agent.address) as first:
            first.configure(REPORTING)
            first.send(encode_words(events[:5000]))
            with Device.open(agent.address) as second:
                second.configure(REPORTING)
                second.send(encode_words(events))
                with pytest.raises(DeviceGone, match=f"^another program took over {agent.address}$"):
                    first.send(encode_words(events[5000:]))
                assert second.tokens().tolist() == host_tokens(events)
                assert second.stats().imbalance(len(events)) is None
    finally:
        agent.kill()


def test_where_the_machine_is_one_it_needs_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setenv("PATH", "/nowhere")
    board = load_board("jetson")
    assert board.emulator is None
    assert [tool.program for tool in board.missing] == ["aarch64-linux-gnu-gcc"]


def test_an_emulator_that_is_not_installed_names_the_package(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = load_board("jetson")
    assert board.process
    absent = replace(board, process=replace(board.process, emulator="qemu-none"))
    with pytest.raises(DeviceError, match="qemu-none, which is not installed: sudo apt-get install"):
        open_board(absent, image)


def test_a_million_random_bytes_change_nothing(device: Device) -> None:
    require_unmoved(device, 1_000_000, 100)


def test_killed_at_random_moments(image: Path) -> None:
    draw = random.Random(5)
    errors = kill_at_random("jetson", image, [draw.uniform(0, 0.6) for _ in range(4)])
    assert set(errors) == {"jetson was killed by signal 9 while it was in use"}
