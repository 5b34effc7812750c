"""What a device tells of the program that it runs, and that it starts anew."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from spedge.base.errors import DeviceRefused
from spedge.boards.build import build
from spedge.boards.flash.image import told_image
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.link.protocol import Configuration
from tests.ends import SETTINGS, Agent
from tests.needs import needs
from tests.tiny import require_compiled

needs("platformio")
BARE = ["mps2-an386", "mps2-an500", "mps3-an547", "netduinoplus2", "rv32-virt"]


@pytest.fixture
def board_image(request: pytest.FixtureRequest) -> tuple[str, Path]:
    require_compiled(request.param)
    return request.param, build(load_board(request.param), None).path


@pytest.mark.parametrize("board_image", [*BARE, pytest.param("mps2-m0plus", marks=pytest.mark.long)], indirect=True)
def test_a_chip_reads_its_image_from_its_flash(board_image: tuple[str, Path]) -> None:
    name, path = board_image
    with open_board(load_board(name), path) as device:
        told = device.image()
        assert (told.length, told.crc) == told_image(path)
        assert told.length > 50_000 and len(told.build_id) == 20
        assert told.unique_id == b""  # of emulated chips


def test_a_program_tells_the_file_that_it_was_started_from() -> None:
    path = build(load_board("sim"), None).path
    with open_board(load_board("sim"), path) as device:
        told = device.image()
        assert (told.length, told.crc) == (path.stat().st_size, zlib.crc32(path.read_bytes()))
        with pytest.raises(DeviceRefused, match="cannot start that"):
            device.reboot()
        with pytest.raises(DeviceRefused, match="no bootloader"):
            device.reboot(to_bootloader=True)


@pytest.mark.parametrize("board_image", ["netduinoplus2"], indirect=True)
def test_a_board_that_starts_anew_has_no_session(board_image: tuple[str, Path]) -> None:
    name, path = board_image
    with open_board(load_board(name), path) as device:
        device.configure(Configuration(SETTINGS, model=False))
        session = device.session.id
        with pytest.raises(DeviceRefused, match="no bootloader"):
            device.reboot(to_bootloader=True)  # QEMU has no ROM
        assert device.image().length > 0 and device.session.id == session
        device.reboot()
        assert not device.resume()
        assert device.hello.session == 0
        device.configure(Configuration(SETTINGS, model=False))


def test_an_agent_starts_anew() -> None:
    agent = Agent(build(load_board("sim"), None).path)
    agent.kill()
    agent.start()  # at the port that it had: now its arguments name one
    try:
        with Device.open(agent.address) as device:
            device.configure(Configuration(SETTINGS, model=False))
            device.reboot()
            assert not device.resume()
            assert device.hello.session == 0 and device.image().length > 0
    finally:
        agent.kill()
