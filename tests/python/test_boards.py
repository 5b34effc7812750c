"""Board manifests and their reader."""

import json
from pathlib import Path

import pytest

from spedge.base.errors import UsageError
from spedge.base.paths import boards_dir, firmware_dir
from spedge.base.programs import Tool
from spedge.boards import manifest as boards
from spedge.boards.manifest import Qemu, list_boards, load_board


def test_the_simulated_board_comes_first() -> None:
    names = [board.name for board in list_boards()]
    assert names[0] == "sim"
    assert {"sim", "mps2-an386", "mps2-an500"} <= set(names)


@pytest.mark.parametrize("name", [board.name for board in list_boards()])
def test_a_manifest_names_a_port_an_environment_and_a_way_to_run(name: str) -> None:
    board = load_board(name)
    assert (firmware_dir() / "port" / board.port).is_dir()
    assert f"[env:{board.environment}]" in (firmware_dir() / "platformio.ini").read_text()
    assert (board.qemu is not None) == (board.runs == "qemu")
    assert (board.serial is not None) == (board.runs == "serial")
    assert board.flash_bytes > 0 and board.ram_bytes > 0


def test_an_emulated_board_says_how_qemu_is_started() -> None:
    board = load_board("mps2-an500")
    assert board.qemu == Qemu(
        "qemu-system-arm", "mps2-an500", "cortex-m7", ("-icount", "shift=0"), 0, camera=1, ram_source=0x60800000
    )
    assert board.target == "cortex-m7"
    assert not board.silicon


@pytest.mark.parametrize(("name", "hint"), [("mps2-an50", "did you mean mps2-an500?"), ("zzz", "known: sim, ")])
def test_an_unknown_board_is_a_usage_error_that_names_the_known_ones(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="there is no board") as caught:
        load_board(name)
    assert hint in str(caught.value)
    assert "mps2-an386" in str(caught.value)


def test_a_missing_program_is_reported_with_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    board = load_board("mps2-an500")
    assert Tool("qemu-system-arm", ("qemu-system-arm",)) in board.missing
    assert board.packages_missing == ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi", "qemu-system-arm")


def test_a_board_on_a_cable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = json.loads((boards_dir() / "mps2-an386.json").read_text())
    manifest["spedge"]["run"] = {"how": "serial", "usb_ids": [["0x0483", "0x374b"]], "baud": 921600}
    (tmp_path / "nucleo.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(boards, "boards_dir", lambda: tmp_path)
    board = load_board("nucleo")
    assert board.serial is not None and board.qemu is None
    assert board.serial.usb_ids == ((0x0483, 0x374B),)
    assert board.serial.baud == 921600


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda manifest: manifest.pop("spedge"), "spedge"),
        (lambda manifest: manifest["spedge"].pop("target"), "target"),
        (lambda manifest: manifest["spedge"]["run"].update(how="magic"), "magic"),
        (lambda manifest: manifest["upload"].update(maximum_size="big"), "big"),
    ],
)
def test_a_bad_manifest_is_named(change, says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = json.loads((boards_dir() / "sim.json").read_text())
    change(manifest)
    (tmp_path / "odd.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(boards, "boards_dir", lambda: tmp_path)
    with pytest.raises(UsageError, match=r"odd\.json") as caught:
        load_board("odd")
    assert says in str(caught.value)
