"""The images of the boards with an STM32, as they are flashed, on models of their chips; the F405's is QEMU's, too."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from spedge.base.errors import DeviceError
from spedge.base.paths import assets_dir
from spedge.boards.build import build
from spedge.boards.flash.image import told_image
from spedge.boards.manifest import load_board
from spedge.boards.stack import worst_stack
from spedge.cameras import EmulatedCamera
from spedge.events.evt2 import encode_words
from spedge.jobs.check import check
from spedge.jobs.play import recordings_for
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration
from spedge.model.bundle import Bundle
from tests.chips.double import BOARDS, Double, checked
from tests.emulated import budgets
from tests.emulated.test_golden import give_the_reference
from tests.events import scattered
from tests.needs import needs
from tests.tiny import build_firmware, model_source, require_compiled

needs("platformio", "arm-none-eabi-gcc", "unicorn")

FULL_SPEED = {"netduinoplus2": 168_000_000, "disco-f746g": 216_000_000, "nucleo-h743zi2": 400_000_000}
INTERNAL = {"netduinoplus2": 16_000_000, "disco-f746g": 16_000_000, "nucleo-h743zi2": 64_000_000}
UNIQUE_ID = bytes(range(1, 13))
HURRY = "hurry=60"  # the watchdog's half a minute is half a second


ROOMY = tuple(board for board in BOARDS if board not in budgets.SMALL)


@pytest.fixture(scope="module", params=[*ROOMY, pytest.param("netduinoplus2", marks=pytest.mark.chips)])
def board(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_check_passes_on_the_image_that_is_flashed(
    bundle: Bundle, board: str, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Double(board, image) as double:
        with double.open() as device:
            told = device.image()
            assert (told.length, told.crc, told.unique_id) == (*told_image(image), UNIQUE_ID)
            assert (device.hello.board, device.hello.cost_unit, device.hello.ended) == (board, "cycles", "")
        report = checked(bundle, double.link, tmp_path, capsys)
        assert report["board"] == board and report["recordings"][0]["tokens_device"] > 30
        assert report["line"]["damaged_there"] == report["line"]["damaged_here"] == 0
        assert double.hear() == f"clock {FULL_SPEED[board]}"


def test_every_byte_of_a_camera_at_the_uart_comes_or_is_counted(board: str, image: Path) -> None:
    """Its DMA goes round in its ring: a camera that can be stopped loses nothing, of others it says what it lost."""
    events = scattered(6000, 100_000, 1)
    with (
        Double(board, image) as double,
        double.open() as device,
        EmulatedCamera(double.camera, events, "evt2", "full") as camera,
    ):
        for mode in ("lossless", "live"):
            device.configure(Configuration(source="camera", format="evt2", mode=mode))
            camera.play()
            camera.wait(30)
            end = time.monotonic() + 30
            while device.stats().words * 4 + device.stats().loss.sensor < len(camera.sent) and time.monotonic() < end:
                time.sleep(0.05)
            stats = device.stats()
            assert stats.words * 4 + stats.loss.sensor == len(camera.sent) and stats.imbalance() is None
            assert mode == "live" or (stats.loss.sensor, stats.taken) == (0, len(events))


def test_the_image_takes_what_is_recorded(board: str, image: Path) -> None:
    budgets.require_within(board, "tiny", budgets.sizes(board, image))


@pytest.mark.parametrize(
    ("fault", "full"),
    [("dead=hse", True), ("dead=pll", False), ("dead=voltage", False)],
)
def test_a_clock_that_never_comes_leaves_a_board_that_answers(board: str, image: Path, fault: str, full: bool) -> None:
    """At the rate of its line, which the other end of the double's line insists on."""
    if (board, fault) == ("netduinoplus2", "dead=voltage"):
        pytest.skip("an F405's voltage is high enough after a reset")
    with Double(board, image, fault) as double, double.open() as device:
        device.reboot()  # says so, and comes again
        expected = [f"clock {FULL_SPEED[board]}"] if full else []
        assert [double.hear() for _ in range(len(expected) + 1)] == [*expected, "reset"]
        assert not device.resume()


def test_the_bootloader_is_entered(board: str, image: Path) -> None:
    with Double(board, image) as double, double.open() as device:
        device.reboot(to_bootloader=True)
        assert [double.hear() for _ in range(3)] == [f"clock {FULL_SPEED[board]}", "reset", "bootloader"]


def test_a_crystal_of_another_frequency_is_noticed(board: str, image: Path) -> None:
    """By the double, where the core or the line is at a wrong frequency: else its other tests would say little."""
    with Double(board, image, "crystal=12000000") as double:
        said = [double.hear(), double.hear()]
        assert any("baud" in line or "the PLL" in line or "the core runs at" in line for line in said), said


def trapping(bundle: Bundle) -> str:
    """A model that hangs on one token and takes a fault on more."""
    trap = 'if (count == 1) for (;;) __asm__ volatile(""); double sum = *(volatile int *)0xc0000000u;'
    return model_source(bundle).replace("double sum = 0;", trap)


@pytest.mark.parametrize("board", ["disco-f746g"], scope="module")
def test_the_next_hello_says_how_the_firmware_ended(bundle: Bundle, board: str, tmp_path: Path) -> None:
    image = build_firmware(board, tmp_path / board, trapping(bundle))
    with Double(board, image, HURRY) as double:
        assert ended_after(double, 1, "does not answer", patience=0.3) == "it hung, and its watchdog reset it"
        ended = ended_after(double, 20, "the core took a fault")
        assert ended.startswith("its core took a fault at 0x") and ended.endswith("(0x00008200)")
        assert function_at(image, int(ended.split(" at ")[1][:10], 16)) in ("encode", "infer", "app_infer")
        with double.open() as device:
            device.reboot()
            device.resume()
            assert device.hello.ended == ""  # it was told to


def ended_after(double: Double, tokens: int, problem: str, patience: float = 5.0) -> str:
    """What HELLO says when an inference on so many tokens, waited for so many seconds, ended the firmware."""
    one = scattered(16, 1600, side=1)  # of one patch, at its threshold
    with double.open() as device:
        device.configure(Configuration())
        for number in range(tokens):
            one["t"] += 2000 * number
            device.send(encode_words(one))
        device.link.timeouts = Timeouts(silence=patience, work=patience)
        with pytest.raises(DeviceError, match=problem):
            device.infer()
    while double.hear() != "watchdog":
        pass
    with double.open() as device:
        return device.hello.ended


def function_at(image: Path, address: int) -> str:
    with image.open("rb") as stream:
        table: Any = ELFFile(stream).get_section_by_name(".symtab")
        symbols = list(table.iter_symbols())
    return next(str(s.name) for s in symbols if s["st_value"] & ~1 <= address < (s["st_value"] & ~1) + s["st_size"])


# ---- whole models: make test-chips ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gestures(board: str) -> Path:
    require_compiled(board)
    return build(load_board(board), Bundle.load(assets_dir() / "gestures-pico")).path


@pytest.mark.chips
@pytest.mark.parametrize("board", ROOMY, scope="module")
@pytest.mark.parametrize("camera", [None, "evt3"])
def test_gestures_pico_checks(board: str, gestures: Path, camera: str | None) -> None:
    bundle = Bundle.load(assets_dir() / "gestures-pico")
    recordings = recordings_for(bundle, assets_dir() / "recordings")[: 1 if camera else 3]
    with Double(board, gestures) as double:
        with double.open(30) as device:
            report = check(bundle, recordings, device, camera=camera)
        bound = worst_stack(load_board(board), gestures)
        assert bound and 600 < double.stack() <= bound.bytes
    assert [recording.problem for recording in report.recordings] == [None] * len(recordings)
    assert all(recording.tokens_device > 50 for recording in report.recordings)
    for recording in report.to_json()["recordings"]:
        assert all(recording["cost"][stage] > 0 for stage in ("tokenize", "embed", "encode"))


@pytest.mark.chips
@pytest.mark.parametrize("board", ROOMY, scope="module")
def test_the_golden_tokens(shared: Path, board: str, gestures: Path) -> None:
    with Double(board, gestures) as double, double.open(30) as device:
        give_the_reference(device, shared)


@pytest.mark.chips
@pytest.mark.parametrize("name", budgets.SHIPPED)
@pytest.mark.parametrize("board", [board for board in budgets.BARE if board not in budgets.SMALL])
def test_the_shipped_models_take_what_is_recorded(board: str, name: str) -> None:
    require_compiled(board)
    found = budgets.sizes_of(build(load_board(board), Bundle.load(assets_dir() / name)))
    budgets.require_within(board, name, found)
