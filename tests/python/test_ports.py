"""Where devices are found: serial ports and their rules, addresses, boards by their names."""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import spedge
from spedge import cli
from spedge.base.errors import DeviceError, UsageError
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.link.frames import VERSION
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration
from spedge.link.transport import connect
from spedge.model.bundle import Bundle
from tests.ends import SETTINGS, Agent, host_tokens, sim_process
from tests.events import scattered


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The serial ports of this machine, to be filled in."""
    from serial.tools import list_ports

    found: list[SimpleNamespace] = []
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    return found


def usb(device: str, vid: int | None = 0x0483, pid: int | None = 0x374B) -> SimpleNamespace:
    return SimpleNamespace(device=device, description="STM32 STLink", vid=vid, pid=pid, serial_number="066B")


def test_devices_lists_ports_and_what_answers(
    image: Path, ports: list[SimpleNamespace], capsys: pytest.CaptureFixture[str], agent: Agent
) -> None:
    board = subprocess.Popen([image], stdout=subprocess.PIPE, text=True)
    assert board.stdout
    link = board.stdout.readline().strip()
    ours, theirs = os.openpty()
    ports += [usb(link), usb(os.ttyname(theirs), None, None), usb("/dev/ttyNONE0", 0x1A86, 0x7523)]
    assert cli.execute(["devices", agent.address, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["devices"]
    assert [entry["usb_id"] for entry in found] == ["0483:374b", "1a86:7523", None, None]
    assert found[0]["hello"]["board"] == "sim" and found[0]["hello"]["model"] == "tiny"
    assert found[0]["serial_number"] == "066B"
    assert "there is no /dev/ttyNONE0" in found[1]["problem"]
    assert "does not answer" in found[2]["problem"]
    assert found[3]["port"] == agent.address and found[3]["hello"]["protocol"] == VERSION
    assert cli.execute(["devices", "--no-ask"]) == 0
    listing = capsys.readouterr().out
    assert "0483:374b" in listing and "STM32 STLink" in listing and "does not answer" not in listing
    for end in (ours, theirs):
        os.close(end)
    board.kill()
    board.communicate()


def test_devices_says_when_there_is_none(ports: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["devices"]) == 0
    assert "no serial port" in capsys.readouterr().out


def test_udev_prints_the_rules_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["udev"]) == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if not line.startswith("#")]
    assert (
        'SUBSYSTEM=="tty", ATTRS{idVendor}=="0483", ATTRS{idProduct}=="374b", MODE="0660", TAG+="uaccess", '
        'ENV{ID_MM_DEVICE_IGNORE}="1"'
    ) in lines
    kinds = ("tty", "usb", "hidraw")
    assert all(any(line.startswith(f'SUBSYSTEM=="{kind}", ATTRS{{idVendor}}=="') for kind in kinds) for line in lines)
    probe = 'ATTRS{idVendor}=="0483", ATTRS{idProduct}=="374e", MODE="0660", TAG+="uaccess"'
    assert {f'SUBSYSTEM=="{kind}", {probe}' for kind in ("usb", "hidraw")} <= set(lines)
    assert "nothing was written" in printed.err


def test_udev_writes_the_file_or_says_that_it_needs_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spedge.boards.ports import usb_ids
    from spedge.link import udev

    monkeypatch.setattr(shutil, "which", lambda _: None)  # no udev here
    monkeypatch.setattr(udev.write_rules, "__defaults__", (tmp_path / "60-spedge.rules",))
    assert cli.execute(["udev", "--write"]) == 0
    assert (tmp_path / "60-spedge.rules").read_text() == udev.udev_rules(usb_ids())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert cli.execute(["udev", "--write"]) == 2
    assert "may be written by root only: run 'sudo spedge udev --write'" in capsys.readouterr().err


def test_a_port_that_is_not_ours_names_the_rule_of_its_usb_device(
    ports: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import serial

    port = tmp_path / "ttyACM0"
    port.touch(0o600)
    ports.append(usb(str(port), 0x16C0, 0x0483))

    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(13, "Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(DeviceError) as caught:
        connect(str(port))
    assert 'ATTRS{idVendor}=="16c0", ATTRS{idProduct}=="0483", MODE="0660"' in str(caught.value)
    assert "60-spedge.rules and plug the board in again" in str(caught.value)


def test_a_device_is_opened_by_the_name_of_its_board(
    image: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    asked = []

    def build(board: Any, model: Bundle | None) -> SimpleNamespace:
        asked.append((board.name, model))
        return SimpleNamespace(path=image)

    monkeypatch.setattr("spedge.boards.build.build", build)
    with spedge.Device.open("sim", bundle) as device:
        assert device.hello.model == "tiny"
    assert asked == [("sim", bundle)]
    with pytest.raises(UsageError, match="'simm' is no address of a device"):
        spedge.Device.open("simm")


# ---- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "error", "text"),
    [
        ("/dev/ttyNONE7", DeviceError, "there is no /dev/ttyNONE7: is the board plugged in"),
        ("tcp://127.0.0.1:1", DeviceError, "cannot connect to tcp://127.0.0.1:1"),
        ("tcp://nowhere", UsageError, "give tcp://HOST:PORT"),
        ("tcp://host:port", UsageError, "give tcp://HOST:PORT"),
        ("unix:/nothing/here", DeviceError, "cannot connect to unix:/nothing/here"),
        ("COM3", UsageError, "is no address of a device"),
    ],
)
def test_bad_addresses_end_in_a_sentence(address: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        connect(address)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, "may not be opened by you: (run 'sudo usermod -aG|add the udev rule)"),
        (errno.EBUSY, "is in use by another program"),
        (errno.EIO, "cannot be opened: "),
    ],
)
def test_a_port_that_may_not_be_opened_says_what_to_do(monkeypatch: pytest.MonkeyPatch, number: int, text: str) -> None:
    import serial

    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(number, os.strerror(number))

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(DeviceError, match=f"/dev/null {text}"):
        connect("/dev/null")


def test_a_port_in_use_is_named(image: Path) -> None:
    device, _ = sim_process(image)
    with device, pytest.raises(DeviceError, match="is in use by another program"):
        connect(device.name)


def test_a_device_behind_tcp(image: Path) -> None:
    """A bridge as ser2net is one."""
    first, process = sim_process(image)
    path = first.name
    first.link.transport.close()
    server = socket.create_server(("127.0.0.1", 0))

    def bridge() -> None:
        sock, _ = server.accept()
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        with sock:
            while True:
                readable = select.select([sock.fileno(), fd], [], [])[0]
                if fd in readable:
                    sock.sendall(os.read(fd, 4096))
                if sock.fileno() in readable:
                    data = sock.recv(4096)
                    if not data:
                        break
                    os.write(fd, data)
        os.close(fd)

    thread = threading.Thread(target=bridge, daemon=True)
    thread.start()
    events = scattered(3000, 120_000)
    with Device.open(f"tcp://127.0.0.1:{server.getsockname()[1]}", timeouts=Timeouts(silence=1.5)) as device:
        device.configure(Configuration(SETTINGS, model=False, report_tokens=64))
        device.send(encode_words(events))
        assert device.tokens().tolist() == host_tokens(events)
    thread.join(5)
    server.close()
    first.close()
    assert process.poll() is not None


def test_a_board_on_a_cable_needs_its_port_and_others_an_image() -> None:
    with pytest.raises(UsageError, match="started from a firmware image"):
        open_board(load_board("sim"))


def test_an_image_that_cannot_be_started_is_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "firmware"
    broken.write_text("#!/bin/sh\necho no terminal to be had >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(DeviceError, match="sim ended with status 3: no terminal to be had"):
        open_board(load_board("sim"), broken)
    with pytest.raises(DeviceError, match="sim"):
        open_board(load_board("sim"), tmp_path / "absent")
