"""Where a board answers after its reset, among ports that come and go."""

from __future__ import annotations

from typing import Any

import pytest

from spedge.base.errors import DeviceError
from spedge.boards.flash.ways import choose
from spedge.boards.manifest import load_board
from spedge.jobs.flash import PortOf
from tests.flash.cable import port

METHODS = {"pico": "uf2", "disco-f746g": "openocd"}
A, B = "E6614104031234AA", "E6614104031234BB"


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    there: list[Any] = []
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: there)
    return there


def port_of(board: str = "pico", serial: str | None = None, address: str | None = None) -> PortOf:
    known = load_board(board)
    return PortOf(choose(known, METHODS[board])(known, serial, address))


def test_by_the_number_of_the_port_that_was_named(ports: list[Any]) -> None:
    ports += [port("/dev/ttyACM0", A), port("/dev/ttyACM1", B)]
    found = port_of(address="/dev/ttyACM0")
    assert found.address() == "/dev/ttyACM0"
    ports[:] = [port("/dev/ttyACM1", B)]
    with pytest.raises(DeviceError, match=f"no port has the USB serial number {A}"):
        found.address()
    ports[:] = [port("/dev/ttyACM0", B), port("/dev/ttyACM2", A)]
    assert found.address() == "/dev/ttyACM2"


def test_by_the_number_of_the_only_one(ports: list[Any]) -> None:
    ports.append(port("/dev/ttyACM0", A))
    found = port_of()
    found.look()
    ports[:] = [port("/dev/ttyACM0", B), port("/dev/ttyACM1", A)]
    assert found.address() == "/dev/ttyACM1"


def test_one_that_was_in_its_bootloader_is_the_one_that_is_new(ports: list[Any]) -> None:
    ports.append(port("/dev/ttyACM0", A))
    found = port_of()
    with pytest.raises(DeviceError, match="no port has the USB id of pico"):
        found.address()
    ports.append(port("/dev/ttyACM1", B))
    assert found.address() == "/dev/ttyACM1"


def test_a_probe_s_port_stays(ports: list[Any]) -> None:
    """Whose number is the port's; and of two boards one has to be named."""
    ports += [port("/dev/ttyACM0", A, "disco-f746g"), port("/dev/ttyACM1", B, "disco-f746g")]
    assert port_of("disco-f746g", serial=B).address() == "/dev/ttyACM1"
    with pytest.raises(DeviceError, match="disco-f746g may be at /dev/ttyACM0, /dev/ttyACM1"):
        port_of("disco-f746g").address()
    assert port_of("disco-f746g", address="/dev/pts/7").address() == "/dev/pts/7"
    del ports[0]
    assert port_of("disco-f746g").address() == "/dev/ttyACM1"


def test_a_bootloader_s_serial_port_is_that_of_the_number(ports: list[Any]) -> None:
    ports.append(port("/dev/ttyNONE0", A, "disco-f746g"))
    known = load_board("disco-f746g")
    with pytest.raises(DeviceError, match=f"USB id of disco-f746g and the serial number {B}: .*nothing was written"):
        choose(known, "uart")(known, B, None).find_chip()
    with pytest.raises(DeviceError, match="there is no board at /dev/ttyNONE0"):
        choose(known, "uart")(known, A, None).find_chip()
