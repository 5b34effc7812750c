"""`spedge doctor`: what is missing is planted, one thing at a time, and has its line and its command."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spedge import cli
from spedge.boards.manifest import list_boards
from spedge.jobs import doctor
from spedge.link.udev import joining, udev_rules

COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A machine with everything; `without` are programs that it has not, `ports` its serial ports, `free` its room."""
    from serial.tools import list_ports

    here = SimpleNamespace(without=set(), ports=[], cameras=[], free=100 << 30, versions={})
    version = importlib.metadata.version
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name in here.without else f"/usr/bin/{name}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=here.free))
    monkeypatch.setattr(list_ports, "comports", lambda: here.ports)
    monkeypatch.setattr(doctor, "list_cameras", lambda: here.cameras)
    monkeypatch.setattr(doctor, "_said_version", lambda _: "1.2.3")
    monkeypatch.setattr(doctor, "UDEV_FILE", tmp_path / "60-spedge.rules")

    def version_of(name: str) -> str:
        found = here.versions.get(name, ())
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found or version(name)

    monkeypatch.setattr(importlib.metadata, "version", version_of)
    return here


def looked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what was found by its name."""
    code = cli.execute(["doctor", "--json", *arguments])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1 and document["good"] == (code == 0)
    return code, {finding["name"]: finding for finding in document["findings"]}


def without_packages(machine: SimpleNamespace, *names: str) -> None:
    machine.versions |= dict.fromkeys(names)


def test_a_machine_with_everything_is_well(machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = looked(capsys)
    assert code == 0 and not [name for name, finding in found.items() if finding["state"] == "wrong"]
    assert found[COMPILER] | {"found": ""} == {
        "topic": "compilers", "name": COMPILER, "state": "good", "found": "", "mend": None
    }  # fmt: skip
    assert re.fullmatch(r"1\.2\.3, for .*\bmps2-an386\b.*", found[COMPILER]["found"])
    assert found["libraries"]["found"].startswith("numpy ")
    assert found[EMULATOR]["topic"] == "emulators" and found["ffmpeg"]["topic"] == "videos"
    assert "100.0 GB" in found["cache"]["found"]
    assert cli.execute(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "✓" in said and said.endswith("all well\n")


def test_without_a_compiler(machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    machine.without.add(COMPILER)
    brings = "sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"
    code, found = looked(capsys)
    assert (code, found[COMPILER]["state"], found[COMPILER]["mend"]) == (0, "optional", brings)
    assert "mps2" not in found["ready"]["found"] and "sim" in found["ready"]["found"]
    code, found = looked(capsys, "--board", "mps2-an386")
    assert (code, found[COMPILER]["state"], found[COMPILER]["mend"]) == (1, "wrong", brings)
    assert cli.execute(["doctor", "-b", "mps2-an386"]) == 1
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if COMPILER in line]
    assert line.split()[0] == "✗" and line.rstrip().endswith(brings) and "1 to mend" in said


def test_no_compiler_at_all_is_wrong_where_firmware_is_built(
    machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.without |= {tool.program for board in list_boards() for tool in board.requires}
    code, found = looked(capsys)
    assert (code, found["cc"]["mend"]) == (1, "sudo apt-get install gcc libc6-dev")
    assert found[COMPILER]["state"] == "optional"
    without_packages(machine, "platformio", "scons")  # a machine that only reads recordings
    code, found = looked(capsys)
    assert (code, found["cc"]["state"], found["firmware"]["state"]) == (0, "optional", "optional")


def test_without_an_emulator(machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    machine.without.add(EMULATOR)
    for arguments, expected in (((), (0, "optional")), (("--board", "mps2-an500"), (1, "wrong"))):
        code, found = looked(capsys, *arguments)
        assert (code, found[EMULATOR]["state"]) == expected
        assert found[EMULATOR]["mend"] == "sudo apt-get install qemu-system-arm"
        assert found[COMPILER]["state"] == "good"


@pytest.mark.parametrize(("group", "user", "mend"), [
    ("dialout", "me", joining("dialout")), ("dialout", "member", "newgrp dialout"),
    (None, "me", "sudo spedge udev --write")
])  # fmt: skip
def test_a_port_without_rights(
    machine: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, group: str | None,
    user: str, mend: str
) -> None:  # fmt: skip
    import grp

    machine.ports.append(
        SimpleNamespace(device="/dev/ttyACM7", description="STLink", vid=0x0483, pid=0x374B, serial_number="1")
    )
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "/dev/ttyACM7")
    monkeypatch.setattr(doctor, "group_that_may", lambda _: group)
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_mem=["member"]))
    monkeypatch.setenv("USER", user)
    code, found = looked(capsys)
    port = found["/dev/ttyACM7"]
    assert (code, port["topic"], port["state"], port["mend"]) == (1, "ports", "wrong", mend)
    assert "may not be opened by you: 0483:374b STLink" in port["found"]
    machine.ports[0].vid = None  # such as /dev/ttyS0: there may be nothing
    assert looked(capsys)[0] == 0


def test_a_full_disk(machine: SimpleNamespace, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    machine.free = 3 << 20
    code, found = looked(capsys)
    cache = found["cache"]
    assert (code, cache["state"], cache["mend"]) == (1, "wrong", "export SPEDGE_CACHE=FOLDER")
    assert cache["found"] == f"3 MB are free at {tmp_path / 'cache'}, of 500"
    assert found["temporary files"]["mend"] == "export TMPDIR=FOLDER"
    with (tmp_path / "cache" / "build").open("wb") as file:  # a hole: the cache itself takes the room
        file.truncate(doctor.ROOM_BYTES + 1)
    assert looked(capsys)[1]["cache"]["mend"] == f"rm -r '{tmp_path / 'cache'}'"


def test_a_cache_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "file" / "cache"))
    code, found = looked(capsys)
    assert code == 1 and "cannot be written to" in found["cache"]["found"]
    monkeypatch.setenv(*found["cache"]["mend"].removeprefix("export ").replace("FOLDER", str(tmp_path)).split("="))
    assert looked(capsys)[0] == 0


def test_extras_are_brought_by_their_names(machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    from packaging.requirements import Requirement

    without_packages(machine, "platformio", "matplotlib", "onnx", "numpy")
    code, found = looked(capsys)
    for extra, package in (("firmware", "platformio"), ("view", "matplotlib"), ("compile", "onnx"), ("train", "onnx")):
        assert found[extra]["state"] == "optional" and found[extra]["found"] == f"without {package}"
        own = Requirement(found[extra]["mend"].removeprefix("pip install ").strip("'")).extras
        assert own == {extra} and extra in importlib.metadata.metadata("spedge").get_all("Provides-Extra", [])
    assert code == 1 and found["libraries"]["state"] == "wrong"  # nothing works without numpy
    assert "'numpy>=" in found["libraries"]["mend"]
    assert "dev" not in found and "all" not in found
    machine.versions.clear()
    machine.versions["pillow"] = "9.0"
    code, found = looked(capsys)
    assert code == 1 and found["view"]["found"] == "pillow 9.0 is installed, and pillow>=10.1 is taken"
    machine.versions["pillow"] = None
    without_packages(machine, "platformio")
    assert looked(capsys, "--board", "sim")[1]["firmware"]["state"] == "wrong"


def test_ways_to_write_cameras_rules_and_videos(
    machine: SimpleNamespace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from spedge.boards.ports import usb_ids
    from spedge.sources.usb import PluggedIn

    machine.without |= {"ssh", "ffmpeg"}
    machine.cameras = [
        PluggedIn("Prophesee EVK4", "evk4", "USB", "0005", None),
        PluggedIn("DAVIS346", "davis346", "USB", None, "access denied"),
    ]
    code, found = looked(capsys)
    assert code == 1 and found["Prophesee EVK4 0005"]["state"] == "good"
    assert found["DAVIS346"]["mend"].endswith("bin/neuromorphic-drivers-install-udev-rules")
    machine.cameras.pop()
    code, found = looked(capsys)
    assert code == 0 and found["ssh"]["mend"] == "sudo apt-get install openssh-client"
    assert found["ffmpeg"]["mend"] == "sudo apt-get install ffmpeg"
    assert found["udev rules"]["mend"] == "sudo spedge udev --write"
    assert looked(capsys, "--board", "jetson")[1]["ssh"]["state"] == "wrong"
    (tmp_path / "60-spedge.rules").write_text("# of an earlier version\n")
    assert "another version" in looked(capsys)[1]["udev rules"]["found"]
    (tmp_path / "60-spedge.rules").write_text(udev_rules(usb_ids()))
    assert looked(capsys)[1]["udev rules"]["state"] == "good"


def test_this_machine_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing pretended: programs say their versions, and one that is not there says why."""
    monkeypatch.undo()
    assert doctor._said_version("sh-of-nobody").startswith("does not say its version")
    names = [finding.name for finding in doctor.examine().findings]
    assert len(names) == len(set(names)) > 20


def test_a_board_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["doctor", "--board", "simm"]) == 2
    assert "did you mean sim?" in capsys.readouterr().err
