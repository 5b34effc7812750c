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


def test_gestures_pico_checks_and_the_golden_tokens(shared: Path, board: str) -> None:
    require_compiled(board)
    bundle = Bundle.load(assets_dir() / "gestures-pico")
    recording = assets_dir() / "recordings/approach.raw"
    with OnUsb(board, build(load_board(board), bundle).path) as double, double.open_usb(60) as device:
        report = check(bundle, [recording], device)
        assert [checked.problem for checked in report.recordings] == [None]
        give_the_reference(device, shared)
