"""`spedge flash` against doubles: what is said to be on the board is there, and a failure is said with its step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spedge import cli
from spedge.boards.flash.image import Image, from_uf2, read_elf, told_image, write_outputs
from tests.flash.bench import LENGTH, PROBES, SILENT, Bench
from tests.flash.drive import INFO
from tests.flash.elf import write_elf
from tests.flash.others import from_hex
from tests.needs import needs

Make = Callable[..., Bench]
WRITTEN = "written and verified"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Make]:
    made: list[Bench] = []

    def bench(way: str, **more: Any) -> Bench:
        if way == "pyocd":
            needs("pyocd")
        made.append(Bench(tmp_path, way, monkeypatch, capsys, **more))
        return made[-1]

    yield bench
    for one in made:
        one.close()


@pytest.mark.parametrize("way", PROBES)
def test_an_image_is_written_verified_and_answers(way: str, make: Make) -> None:
    bench = make(way)
    code, out, err = bench.flash("--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["flashed"] and report["verified"] and report["state"] == WRITTEN
    assert (report["method"], report["bytes"], report["chip_id"]) == (way, LENGTH, 0x450)
    assert report["hello"]["board"] == "bench" and report["hello"]["firmware"] == "1.2.3"
    assert bench.holds_the_image
    assert bench.chip.flash[-16384:] == b"\xff" * 16384  # no more was erased than has to be


@pytest.mark.parametrize("way", PROBES)
def test_other_firmware_is_overwritten(way: str, make: Make) -> None:
    bench = make(way)
    (bench.chip.folder / "flash.bin").write_bytes(b"\x5a" * len(bench.chip.flash))
    code, out, _ = bench.flash()
    assert code == 0 and WRITTEN in out and bench.holds_the_image


@pytest.mark.parametrize("way", PROBES)
def test_what_is_there_is_not_written_again(way: str, make: Make) -> None:
    bench = make(way)
    (bench.chip.folder / "flash.bin").write_bytes(bench.data.ljust(len(bench.chip.flash), b"\xff"))
    bench.chip.fail(protected=list(range(16)))  # whoever writes is found out
    code, out, err = bench.flash()
    assert code == 0, err
    assert "it holds this image already" in out and "written" not in out


@pytest.mark.parametrize("way", PROBES)
def test_a_dry_run_writes_nothing(way: str, make: Make) -> None:
    bench = make(way)
    code, out, _ = bench.flash("--dry-run")
    assert code == 0 and "nothing was written" in out
    assert bench.chip.flash == b"\xff" * len(bench.chip.flash)


FAULTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # chip.json; the step; what is said; what is on the board
    "a flipped bit": ({"flip": 17_001}, "verify", r"1 bytes differ, the first at 0x08004269", "is not whole"),
    "a cut line": ({"cut": 20_000}, "write", r"the line to the board broke|has stopped answering", "is not whole"),
    "another chip": ({"id": 0x413}, "board", r"has the id 0x413 and bench's has 0x450", "nothing was written"),
    "a protected sector": ({"protected": [1]}, "write", r"flash is protected|could not be erased", "is not whole"),
    "no room": ({"size": 32768}, "room", r"the board has 32,768 bytes", "nothing was written"),
    "no rights": ({"rights": True}, "board", r"you may not open", "nothing was written"),
    "in use": ({"busy": True}, "board", r"another program has", "nothing was written"),
    "no board": ({"gone": True}, "board", r"no board was found|no bootloader answers|no debug probe", "nothing was"),
    "a chip that is silent": ({"dead": True}, "board", r"chip behind it does not answer", "nothing was written"),
}
NOT_OF = {("uart", "no rights"), ("uart", "in use"), ("uart", "a chip that is silent")}  # of the port: below
CASES = [(way, fault) for way in PROBES for fault in FAULTS if (way, fault) not in NOT_OF]


@pytest.mark.parametrize(("way", "fault"), CASES)
def test_what_goes_wrong_is_said_and_nothing_is_called_written(way: str, fault: str, make: Make) -> None:
    faults, step, says, state = FAULTS[fault]
    bench = make(way)
    bench.chip.fail(**faults)
    code, out, err = bench.flash()
    assert code == 3, (out, err)
    assert f"(step {step}; " in err and state in err, err
    assert re.search(says, err), err
    assert WRITTEN not in out + err and not bench.holds_the_image
    assert len(err.strip().splitlines()) == 1
    if "nothing was" in state:
        assert bench.chip.flash == b"\xff" * len(bench.chip.flash)


@pytest.mark.parametrize("way", ["openocd", "st-flash"])
def test_a_tool_that_is_missing_is_named_with_what_brings_it(
    way: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make(way)
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = bench.flash()
    assert code == 3 and "is not installed: sudo apt-get install" in err and "(step tool; nothing was written)" in err


def test_a_missing_pyocd_is_named_with_its_extra(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make("pyocd")
    monkeypatch.setattr("spedge.boards.flash.way.importlib.util.find_spec", lambda name: None)
    code, _, err = bench.flash()
    assert code == 3 and "pip install 'spedge[flash]'" in err


def test_a_serial_port_that_another_program_has(make: Make) -> None:
    import serial

    bench = make("uart")
    with serial.Serial(bench.port, exclusive=True):
        code, _, err = bench.flash()
    assert code == 3 and "another program has" in err and "(step board; nothing was written)" in err


def test_a_port_that_is_not_there(make: Make) -> None:
    bench = make("uart")
    bench.port = "/dev/nowhere"
    code, _, err = bench.flash()
    assert code == 3 and "there is no board at /dev/nowhere" in err


def test_flash_that_is_protected_from_being_read(make: Make) -> None:
    bench = make("uart")
    bench.chip.fail(unreadable=True)
    code, _, err = bench.flash()
    assert code == 3 and "protected from being read" in err and "nothing was written" in err


# ---------------------------------------------------------------- what the board says itself


def test_a_board_that_does_not_start_is_told_from_one_that_was_not_written(make: Make) -> None:
    bench = make("openocd")
    bench.firmware.board = "another"
    code, _, err = bench.flash()
    assert code == 3 and "the board that answers is another" in err and f"(step hello; {WRITTEN})" in err
    bench.firmware.board = "bench"
    bench.port = "/dev/nowhere"
    code, _, err = bench.flash()
    assert code == 3 and "the firmware does not answer" in err and "it holds this image already" in err


def test_a_board_that_runs_another_image(make: Make) -> None:
    """For example when the port is that of a second board of the kind."""
    bench = make("openocd")
    bench.firmware.length = LENGTH - 4
    code, _, err = bench.flash()
    assert code == 3 and "the board runs an image of 39996 bytes" in err


def test_of_several_probes_one_has_to_be_named(make: Make) -> None:
    bench = make("st-flash")
    bench.chip.fail(serial="AB12", others=["CD34"])
    code, _, err = bench.flash()
    assert code == 3 and "there are several ST-LINKs (AB12, CD34): say which one by --serial" in err
    code, out, _ = bench.flash("--serial", "AB12")
    assert code == 0 and WRITTEN in out
    code, _, err = bench.flash("--serial", "EF56")
    assert code == 3 and "no ST-LINK has the serial number EF56" in err


def test_a_method_that_the_board_has_not(make: Make) -> None:
    bench = make("openocd")
    code, _, err = bench.flash("--method", "smoke-signals")
    assert code == 2 and "bench is not written by 'smoke-signals'; its methods are: openocd" in err


def test_an_image_for_another_place(make: Make) -> None:
    bench = make("openocd")
    write_elf(bench.image, bench.data, 0x20000000)
    code, _, err = bench.flash()
    assert code == 3 and "the image is for 0x20000000" in err and "(step room; nothing was written)" in err


def test_a_file_that_is_no_image(make: Make) -> None:
    bench = make("openocd")
    bench.image.write_bytes(b"no ELF file")
    code, _, err = bench.flash()
    assert code == 4 and "is not an ELF file" in err


# ---------------------------------------------------------------- ways that cannot read back


@pytest.mark.parametrize("way", SILENT)
def test_what_cannot_be_read_back_is_verified_by_the_device(way: str, make: Make) -> None:
    bench = make(way)
    code, out, err = bench.flash("--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["flashed"] and report["verified"] and report["hello"]["board"] == "bench"
    assert bench.holds_the_image


SILENT_FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a flipped bit": ({"flip": 17_001}, "hello; written, and not verified", r"the board runs an image of .* CRC"),
    "a cut line": ({"cut": 20_000}, "write; .*not whole", "stays|was gone|line .* broke"),
    "no board": ({"gone": True}, "board; nothing was written|write; .*not whole", "no drive|no board is in"),
}


@pytest.mark.parametrize("fault", SILENT_FAULTS)
@pytest.mark.parametrize("way", SILENT)
def test_without_reading_back_nothing_wrong_passes_either(way: str, fault: str, make: Make) -> None:
    faults, step, says = SILENT_FAULTS[fault]
    bench = make(way)
    bench.chip.fail(**faults)
    code, out, err = bench.flash()
    assert code == 3, (out, err)
    assert re.search(rf"\(step ({step})", err) and re.search(says, err), err
    assert "and verified" not in out + err


@pytest.mark.parametrize("way", SILENT)
def test_firmware_that_cannot_tell_its_image_leaves_it_unverified(way: str, make: Make) -> None:
    bench = make(way)
    bench.firmware.tells = False
    code, _, err = bench.flash()
    assert code == 3 and "cannot tell its image's CRC" in err and "written, and not verified" in err


def test_a_board_whose_firmware_can_be_asked_is_not_disturbed_for_nothing(make: Make) -> None:
    """By a dry run, nor when it is this image that it runs; another one is asked to go."""
    bench = make("uf2")
    (bench.chip.folder / "flash.bin").write_bytes(b"\x5a" * len(bench.chip.flash))
    code, out, err = bench.flash("--dry-run", "--json")
    report = json.loads(out)
    assert code == 0 and (report["state"], report["flashed"], report["verified"]) == (
        "nothing was written",
        False,
        False,
    )
    assert report["hello"]["board"] == "bench" and report["where"] == bench.port and bench.firmware.rebooted == []
    (bench.chip.folder / "flash.bin").write_bytes(bench.data.ljust(len(bench.chip.flash), b"\xff"))
    code, out, err = bench.flash("--json")
    report = json.loads(out)
    assert code == 0 and report["state"] == "it holds this image already" and report["verified"]
    assert bench.firmware.rebooted == []
    (bench.chip.folder / "flash.bin").write_bytes(b"\x5a" * len(bench.chip.flash))
    code, out, err = bench.flash()
    assert code == 0 and WRITTEN in out and bench.firmware.rebooted == [1], err


def test_the_drive_of_another_board(make: Make) -> None:
    bench = make("uf2")
    assert bench.drive
    bench.drive.info.write_text(INFO.format("SAMD51J20A"))
    code, _, err = bench.flash()
    assert code == 3 and "the drive is of another board (SAMD51J20A at" in err and "nothing was written" in err


def test_a_drive_that_may_not_be_written(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == "firmware.uf2":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)

    bench = make("uf2")
    monkeypatch.setattr(Path, "open", refuse)
    code, _, err = bench.flash()
    assert code == 3 and "you may not write to" in err


# ---------------------------------------------------------------- esptool


def test_esptool_writes_and_is_read_back(make: Make) -> None:
    bench = make("esptool")
    code, out, err = bench.flash()
    assert code == 0 and WRITTEN in out and bench.holds_the_image, err


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"flip": 9}, "the flash holds something else than was written"),
        ({"cut": 20_000}, "the line broke"),
        ({"esp": "ESP32-C3"}, "the chip is ESP32-C3"),
        ({"rights": True}, "you may not open the port"),
        ({"busy": True}, "another program has the port"),
        ({"gone": True}, "no bootloader answers"),
    ],
)
def test_esptools_failures_are_said(faults: dict[str, Any], says: str, make: Make) -> None:
    bench = make("esptool")
    bench.chip.fail(**faults)
    code, out, err = bench.flash()
    assert code == 3 and says in err and WRITTEN not in out + err


# ---------------------------------------------------------------- around it


def test_an_image_and_a_bundle_are_not_both_written(make: Make) -> None:
    bench = make("openocd")
    code, _, err = bench.flash("some-bundle")
    assert code == 2 and "is written as it is: leave the bundle out" in err


def test_boards_lists_what_is_missing_and_what_brings_it(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = make("openocd")
    monkeypatch.setenv("PATH", str(bench.programs))
    assert cli.execute(["boards", "--json"]) == 0
    (board,) = json.loads(capsys.readouterr().out)["boards"]
    openocd = {"method": "openocd", "needs": "openocd", "ready": True, "install": "sudo apt-get install openocd"}
    assert board["flash"] == [openocd] and "arm-none-eabi-gcc" in board["missing"] and board["installed"] == []
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.execute(["boards"]) == 0
    assert "openocd (sudo apt-get install openocd)" in capsys.readouterr().out
    assert cli.execute(["boards", "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["boards"][0]["flash"][0]["ready"]


def test_files_for_other_tools_hold_the_image(tmp_path: Path) -> None:
    data = bytes(range(256)) * 300 + b"end"  # over a boundary of 64 KB
    image = Image(0x0800FF00, data)
    paths = {path.suffix: path for path in write_outputs(image, tmp_path, "firmware", 0xE48BFF56)}
    assert paths[".bin"].read_bytes() == data
    assert from_hex(paths[".hex"].read_text()) == (image.address, data)
    again = from_uf2(paths[".uf2"].read_bytes())
    assert again.address == image.address and again.data[: len(data)] == data and not any(again.data[len(data) :])
    elf = write_elf(tmp_path / "a.elf", data, image.address)
    assert read_elf(elf) == image and told_image(elf) == (len(data), image.crc)
