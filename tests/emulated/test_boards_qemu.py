"""The boards in QEMU: the same application, real instructions, counted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spedge.base.errors import DeviceError
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.jobs.check import check
from spedge.link.faults import Faults, FaultyTransport
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration
from spedge.model.bundle import Bundle
from spedge.recordings import write
from spedge.tokens.settings import TokenizerSettings
from tests.emulated import budgets
from tests.ends import kill_at_random
from tests.events import scattered
from tests.noise import require_unmoved
from tests.tiny import build_firmware, model_source
from tests.wide import FACTORS, wide_source, widened

BOARDS = ("mps2-an386", "mps2-an500", "netduinoplus2", "mps3-an547", "rv32-virt")
NO_FPU = "mps2-m0plus"


@pytest.fixture(scope="module", params=[*BOARDS, pytest.param(NO_FPU, marks=pytest.mark.long)])
def board(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def some_events(n: int, seed: int = 0) -> np.ndarray:
    return scattered(n, 10 * n, seed)


def test_outputs_that_no_frame_holds_come_whole(bundle: Bundle, tmp_path: Path) -> None:
    wide = widened(bundle, tmp_path / "bundle", ("logits", "boxes"))
    image = build_firmware("mps2-an500", tmp_path / "mps2-an500", wide_source(wide))
    with open_board(load_board("mps2-an500"), image) as device:
        device.configure(Configuration(outputs=("boxes",)))
        device.send(encode_words(some_events(1000)))
        result = device.infer()
        logit, factors = FACTORS["boxes"]
        assert result.outputs["boxes"].tolist() == (result.logits[logit] * factors).tolist()
        assert (result.gone, device.resent) == ((), 0)


def test_check_passes_and_counts_instructions(bundle: Bundle, board: str, device: Device, tmp_path: Path) -> None:
    for seed in (1, 2):
        write(tmp_path / f"{seed}.npz", some_events(2500, seed), 34, 34)
    report = check(bundle, [tmp_path / "1.npz", tmp_path / "2.npz"], device)
    assert [recording.problem for recording in report.recordings] == [None, None]
    for entry in report.to_json()["recordings"]:
        assert entry["tokens_device"] > 50
        costs = entry["instructions"]
        assert 2500 * 20 < costs["tokenize"] < 2500 * 1000
        assert entry["tokens_device"] * 16 * 14 < costs["embed"] < (8_000_000 if board == NO_FPU else 3_000_000)
        assert 24 * 14 * 3 < costs["encode"] < 1_000_000


def test_the_image_takes_what_is_recorded(image: Path) -> None:
    """Flash, RAM and the deepest stack of budgets.json."""
    budgets.require_within(image.name, "tiny", budgets.sizes(image.name, image))


def test_costs_are_exact(device: Device) -> None:
    words = encode_words(some_events(800))
    device.configure(Configuration())
    counted = set()
    for _ in range(3):
        device.reset()
        device.send(words)
        counted.add(device.infer().cost_encode)
    assert max(counted) - min(counted) <= 40  # a tick of the timer


def test_noise_and_a_bad_line_change_nothing(device: Device) -> None:
    words = encode_words(some_events(1500))
    settings = TokenizerSettings(34, 34, 4, 12.0)
    device.configure(Configuration(settings, model=False, report_tokens=8))
    device.send(words)
    clean = device.tokens()
    line = FaultyTransport(device.link.transport, Faults(drop=0.04, flip=0.04, dup=0.04, noise=0.04, seed=2))
    device.link.transport = line
    device.reset()
    device.send(words)
    assert device.tokens().tolist() == clean.tolist()
    assert device.stats().imbalance(1500) is None
    assert line.done.total() > 0


@pytest.mark.parametrize("board", ["mps2-an500"], scope="module")
def test_recordings_over_a_bad_line_that_is_cut_twice_are_those_of_a_clean_run(
    bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    """Two recordings; twenty are played on `sim`."""
    paths = [tmp_path / f"{seed}.npz" for seed in (1, 2)]
    for seed, path in enumerate(paths):
        write(path, some_events(4000, seed), 34, 34)
    results = []
    for faults in (None, Faults(drop=0.01, flip=0.01, dup=0.005, cut=2, away=0.3, seed=2)):
        with open_board(load_board(image.name), image, faults=faults) as device:
            report = check(bundle, paths, device)
        assert [recording.problem for recording in report.recordings] == [None, None]
        results.append([(r.tokens_device, r.logits_device.tolist()) for r in report.recordings])
    assert results[0] == results[1]
    assert report.line.reconnects == report.faults["cut"] == 2
    assert report.line.resent > 0


@pytest.mark.parametrize("board", ["mps2-an500"], scope="module")
def test_an_emulator_that_is_killed_while_events_are_on_their_way(image: Path) -> None:
    words = encode_words(some_events(50_000))
    with open_board(load_board(image.name), image) as device:
        device.configure(Configuration())
        threading.Timer(0.5, os.kill, (_emulator(image), signal.SIGKILL)).start()
        begin = time.monotonic()
        with pytest.raises(DeviceError, match=f"{image.name} was killed by signal 9"):
            device.send(words)
        assert time.monotonic() - begin < 0.5 + 2


@pytest.mark.parametrize("board", ["mps2-an500"], scope="module")
def test_an_emulator_that_is_killed_at_random_moments(image: Path) -> None:
    draw = random.Random(4)
    errors = kill_at_random(image.name, image, [draw.uniform(0, 1.5) for _ in range(4)])
    assert all(f"{image.name} was killed by signal 9" in error for error in errors)


@pytest.mark.parametrize("board", ["mps2-an500"], scope="module")
def test_a_hundred_thousand_random_bytes_change_nothing(device: Device) -> None:
    require_unmoved(device, 100_000, 20)


def test_a_fault_of_the_core_is_reported(bundle: Bundle, image: Path, tmp_path: Path) -> None:
    source = model_source(bundle).replace("double sum = 0;", "double sum = *(volatile int *)0xfffffff0u;")
    with open_board(load_board(image.name), build_firmware(image.name, tmp_path / "firmware", source)) as device:
        device.configure(Configuration())
        device.send(encode_words(some_events(500)))
        with pytest.raises(DeviceError, match=rf"{image.name} has failed: the core took a (fault|trap); .*\(0x[018]"):
            device.infer()


@pytest.mark.parametrize("board", ["netduinoplus2"], scope="module")
def test_a_stack_that_runs_over_is_a_fault_and_no_damage(bundle: Bundle, image: Path, tmp_path: Path) -> None:
    """The MPU keeps the end of the stack: the application's block below it is not written to."""
    deep = "static int deep(volatile int *from) { volatile int here[8] = {*from}; "
    deep += "return *from < 0 ? 0 : deep(here) + here[1]; }"
    source = model_source(bundle).replace("static int encode(", deep + "\nstatic int encode(")
    source = source.replace("double sum = 0;", "volatile int one = 1; double sum = deep(&one);")
    with open_board(load_board(image.name), build_firmware(image.name, tmp_path / "firmware", source)) as device:
        device.configure(Configuration())
        device.send(encode_words(some_events(500)))
        with pytest.raises(DeviceError, match=r"the core took a fault; .*\(0x00000000, 0x00000092\)"):
            device.infer()


def test_a_stopped_emulator_is_given_up_and_leaves_no_process(image: Path) -> None:
    device = open_board(load_board(image.name), image, timeouts=Timeouts(silence=1.5))
    pid = _emulator(image)
    with device:
        device.configure(Configuration())
        os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(DeviceError, match="does not answer"):
            device.stats()
        assert time.monotonic() - begin < 5
    assert not Path(f"/proc/{pid}").exists()


def test_a_killed_emulator_is_named(image: Path) -> None:
    with open_board(load_board(image.name), image) as device:
        os.kill(_emulator(image), signal.SIGKILL)
        with pytest.raises(DeviceError, match=f"{image.name} was killed by signal 9"):
            device.configure(Configuration())


def test_the_emulator_dies_with_the_host(image: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from spedge.boards.manifest import load_board\nfrom spedge.device import open_board\n"
        f"device = open_board(load_board({image.name!r}), Path({str(image)!r}))\n"
        "print('up', flush=True)\ntime.sleep(60)\n"
    )
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert host.stdout and host.stdout.readline() == "up\n"
    pid = _emulator(image)
    host.kill()
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.05)
    assert not _runs(pid)


def test_an_emulator_that_is_not_installed_names_the_package(image: Path) -> None:
    board = load_board(image.name)
    assert board.qemu
    board = replace(board, qemu=replace(board.qemu, program="qemu-system-none"))
    with pytest.raises(DeviceError, match="qemu-system-none, which is not installed: sudo apt-get install"):
        open_board(board, image)


def test_an_image_that_is_none_ends_in_a_sentence(image: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=f"{image.name} ended with status 1: .*absent"):
        open_board(load_board(image.name), tmp_path / "absent")


def _emulator(image: Path) -> int:
    """The process that runs this image."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            command = (folder / "cmdline").read_bytes().split(b"\0") if _runs(int(folder.name)) else []
            if command and b"qemu" in command[0] and str(image).encode() in command:
                return int(folder.name)
    raise AssertionError("no emulator")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
