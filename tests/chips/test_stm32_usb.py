"""The images of boards with an STM32 and its own USB beside the USART, on models of the chips: make test-chips."""

from __future__ import annotations

from pathlib import Path

import pytest

from spedge.base.errors import DeviceError
from spedge.base.paths import assets_dir
from spedge.boards.build import build
from spedge.boards.flash.image import told_image
from spedge.boards.manifest import load_board
from spedge.device.open import Device
from spedge.jobs.check import check
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration
from spedge.model.bundle import Bundle
from tests.chips.bus import HOSTS, WHENS, require_the_hosts_tokens
from tests.chips.double import BOARDS, Double, checked
from tests.emulated import budgets
from tests.emulated.test_golden import give_the_reference
from tests.needs import needs
from tests.tiny import require_compiled, require_parts

needs("platformio", "arm-none-eabi-gcc", "unicorn")
require_parts("disco-f746g-usb")
pytestmark = pytest.mark.chips

WITH_USB = tuple(f"{board}-usb" for board in BOARDS)
UNIQUE_ID = bytes(range(1, 13))


class OnUsb(Double):
    """A board with a cable in its USB socket, too."""

    def __init__(self, board: str, image: Path) -> None:
        super().__init__(board.removesuffix("-usb"), image, "usb")
        self.usb = self.hear()
        self.attached = next(iter(line for line in iter(self.hear, "") if line.startswith("attached")))

    def open_usb(self, silence: float = 60.0) -> Device:
        return Device.open(self.usb, timeouts=Timeouts(silence=silence, work=silence))


@pytest.fixture(scope="module", params=WITH_USB)
def board(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_check_passes_over_usb(
    bundle: Bundle, board: str, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OnUsb(board, image) as double:
        assert double.attached == f"attached 0483:5740 spedge {board} {UNIQUE_ID.hex().upper()}"
        with double.open_usb() as device:
            told = device.image()
            assert (told.length, told.crc, told.unique_id) == (*told_image(image), UNIQUE_ID)
            assert (device.hello.board, device.hello.cost_unit) == (board, "cycles")
        report = checked(bundle, double.usb, tmp_path, capsys)
        assert report["recordings"][0]["tokens_device"] > 30
        assert report["line"]["damaged_there"] == report["line"]["damaged_here"] == 0


def test_the_link_is_where_hello_came_last(board: str, image: Path) -> None:
    """The host on the other line is told."""
    with OnUsb(board, image) as double:
        for first, second in ((double.open, double.open_usb), (double.open_usb, double.open)):
            with first() as one:
                one.configure(Configuration())
                with second() as other:
                    other.configure(Configuration())
                    with pytest.raises(DeviceError, match="another program took over"):
                        one.stats()
                    assert other.stats().imbalance(0) is None


@WHENS
@HOSTS
def test_no_byte_is_lost(board: str, image: Path, words: tuple[str, str], when: str) -> None:
    """By a host that sleeps, or takes nothing for a while; the port is there after it."""
    with OnUsb(board, image) as double:
        with double.open_usb() as device:
            require_the_hosts_tokens(double, device, words, when)
            if words[0] == "deaf":
                assert device.line_counts().damaged_there == device.line_counts().damaged_here == 0
        with double.open_usb() as again:
            assert again.hello.board == board


@WHENS
def test_a_cable_that_was_out(board: str, image: Path, when: str) -> None:
    """The board attaches again, and the link goes on where it was; so it does over the other line while it is out."""
    with OnUsb(board, image) as double:
        with double.open_usb() as device:
            require_the_hosts_tokens(double, device, ("unplug", "plug"), when)
            assert double.hear() == double.attached
        double.tell("unplug")
        with double.open() as other:
            assert other.hello.board == board
        double.tell("plug")
        assert double.hear() == double.attached
        with double.open_usb() as again:
            assert again.hello.board == board


def test_it_starts_anew_and_enters_its_bootloader(board: str, image: Path) -> None:
    with OnUsb(board, image) as double, double.open_usb() as device:
        device.reboot()
        said = [double.hear() for _ in range(3)]
        assert said[0] == "reset" and said[2] == double.attached
        assert not device.resume() and device.hello.ended == ""
        device.reboot(to_bootloader=True)
        assert [double.hear(), double.hear()] == ["reset", "bootloader"]


def test_the_image_takes_what_is_recorded(board: str, image: Path) -> None:
    budgets.require_within(board, "tiny", budgets.sizes(board, image))


@pytest.mark.parametrize("board", [board for board in WITH_USB if board not in budgets.SMALL], scope="module")
def test_gestures_pico_checks_and_the_golden_tokens(shared: Path, board: str) -> None:
    require_compiled(board)
    bundle = Bundle.load(assets_dir() / "gestures-pico")
    recording = assets_dir() / "recordings/approach.raw"
    with OnUsb(board, build(load_board(board), bundle).path) as double, double.open_usb(60) as device:
        report = check(bundle, [recording], device)
        assert [checked.problem for checked in report.recordings] == [None]
        give_the_reference(device, shared)


@pytest.mark.parametrize("board", [board for board in WITH_USB if board in budgets.SMALL], scope="module")
def test_the_golden_tokens_on_a_board_with_little_memory(shared: Path, board: str, image: Path) -> None:
    with OnUsb(board, image) as double, double.open_usb(60) as device:
        give_the_reference(device, shared)
