"""OpenMV cameras, faked on a pseudo-terminal: every event that the sensor gave is there once, or counted."""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.errors import DeviceGone, DeviceRefused, UsageError
from spedge.boards.ports import Port
from spedge.cli import execute
from spedge.jobs.devices import Probe, probe, source_of
from spedge.sources import OpenMvCamera, open_source
from spedge.sources.openmv_link import Packet, PacketReader, crc16, crc32
from tests.openmv_camera import FakeOpenMv, numbers_of


def heard(camera: FakeOpenMv, source: OpenMvCamera) -> NDArray[np.void]:
    """Until the camera has given all, and nothing waits there."""
    packets: list[NDArray[np.void]] = []
    for packet in source.packets():
        packets.append(packet)
        if camera.done.is_set() and not len(packet):
            source.stop()
    return np.concatenate(packets)


def require_counted(camera: FakeOpenMv, source: OpenMvCamera, events: NDArray[np.void]) -> None:
    """What came, came once and in order, as it was given; what did not was counted. Asserts."""
    numbers = numbers_of(events)
    assert np.all(np.diff(numbers) > 0)
    assert numbers[-1] == camera.count - 1 == camera.given - 1
    before = numbers[numbers < camera.given_at_reset]  # what followed the last of these went with the reset
    gone = camera.given_at_reset - 1 - int(before[-1]) if len(before) else 0
    assert len(events) + source.lost.get("events", 0) + gone == camera.given
    assert np.all(np.diff(events["t"].astype(np.int64)) >= 0)
    assert set(source.lost) <= {"events", "failed reads", "restarts"}


def test_crcs_are_the_ones_of_the_protocol() -> None:
    """Of both polynomials; the longer one by a table, and by distances."""
    assert (crc16(b"123456789"), crc32(b"123456789")) == (0xE541, 0x41B403D3)
    for n in (0, 1, 3, 4, 5, 4096):
        data = os.urandom(n)
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte << 24
            for _ in range(8):
                crc = (crc << 1 ^ (0xFA567D89 if crc >> 31 else 0)) & 0xFFFFFFFF
        assert crc32(data) == crc


def test_packets_are_found_again_after_any_damage() -> None:
    packets = [Packet(i, 4, 0, 0x26, os.urandom(i * 13 % 200)) for i in range(60)]
    stream = b"\xaa\xd5\xaa".join(packet.encode() for packet in packets)
    assert list(PacketReader().feed(stream)) == packets
    reader = PacketReader()
    assert [packet for byte in stream for packet in reader.feed(bytes([byte]))] == packets
    damaged = bytearray(stream)
    damaged[len(stream) // 2] ^= 4
    assert len([packet for packet in PacketReader().feed(bytes(damaged)) if packet in packets]) >= 58


def test_a_camera_runs_our_program_and_all_its_events_come() -> None:
    with FakeOpenMv(count=6000, most=500, patient=True) as camera, OpenMvCamera(camera.path) as source:
        events = heard(camera, source)
        assert (source.width, source.height, source.live) == (320, 320, True)
        assert np.array_equal(numbers_of(events), np.arange(6000))
        assert np.array_equal(events["t"], np.arange(6000) * 7)
        assert source.lost.get("events", 0) == source.lost.get("restarts", 0) == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_drops_empty_buffers_and_a_reset_lose_no_count_and_make_no_event(seed: int) -> None:
    """1 % of the packets are lost, both ways; reads find nothing, or zeros; the camera is reset in mid-stream."""
    fake = FakeOpenMv(count=200_000, drop=0.01, empty=0.3, most=1000, pace=0.003, reset_at=90_000, seed=seed)
    with fake as camera, open_source(f"openmv:{camera.path}") as source:
        assert isinstance(source, OpenMvCamera)
        events = heard(camera, source)
        require_counted(camera, source, events)
        assert source.lost["restarts"] == 1 and camera.boots == 2
        assert source.lost["failed reads"] > 0
        assert camera.dropped_packets > 0 and source.empty > 0


def test_what_a_camera_has_no_room_for_is_counted_there() -> None:
    with FakeOpenMv(count=100_000, pace=0.0) as camera, OpenMvCamera(camera.path) as source:
        events = heard(camera, source)
        require_counted(camera, source, events)
        assert source.lost["events"] > 0


def test_the_time_goes_on_when_the_seconds_wrap() -> None:
    with FakeOpenMv(count=4000, begin_us=65_536_000_000 - 14_000, patient=True) as camera:
        with OpenMvCamera(camera.path) as source:
            events = heard(camera, source)
        assert np.array_equal(events["t"], 65_536_000_000 - 14_000 + 7 * np.arange(4000, dtype=np.uint64))


def test_a_program_that_fails_is_told_with_its_reason() -> None:
    with FakeOpenMv(no_sensor=True) as camera, pytest.MonkeyPatch.context() as patch:
        patch.setattr("spedge.sources.openmv._START_SECONDS", 0.2)
        with pytest.raises(DeviceRefused, match="does not run the program: RuntimeError: Failed to detect the image"):
            OpenMvCamera(camera.path)


@pytest.fixture
def silent() -> Iterator[str]:
    master, slave = os.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_a_port_without_such_a_camera_is_told(silent: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceGone, match=rf"openmv:{silent} is no OpenMV camera that answers .*: plug it in again"):
        OpenMvCamera(silent, patience=0.1)
    with pytest.raises(DeviceGone, match="is the board plugged in"):
        open_source(f"openmv:{tmp_path}/none")
    with pytest.raises(UsageError, match="openmv:/dev/ttyACM0,mode=1: there is no option 'mode'"):
        open_source("openmv:/dev/ttyACM0,mode=1")


def test_a_camera_that_goes_away_is_told() -> None:
    with FakeOpenMv() as camera:
        source = OpenMvCamera(camera.path, patience=0.2)
        packets = source.packets()
        next(packets)
    with pytest.raises(DeviceGone, match=r"is gone .*: plug it in again"):
        for _ in packets:
            pass
    source.close()


def test_a_camera_is_streamed_to_a_file_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with FakeOpenMv(count=5000, patient=True) as camera:
        code = execute(["stream", f"openmv:{camera.path}", "--out", str(tmp_path / "o.raw"), "--seconds", "1"])
    assert code == 0, capsys.readouterr().err
    with open_source(str(tmp_path / "o.raw")) as recorded:
        events = np.concatenate(list(recorded.packets()))
    assert np.array_equal(numbers_of(events), np.arange(5000))


def test_cameras_are_named_among_the_ports_and_left_alone() -> None:
    camera = Port("/dev/ttyACM7", "OpenMV", 0x37C5, 0x1206)
    assert probe(camera) == Probe(camera, None, None, "openmv:/dev/ttyACM7")
    assert source_of(Port("/dev/ttyACM8", "", 0x1209, 0xABD1)) == "openmv:/dev/ttyACM8"
    assert source_of(Port("/dev/ttyACM8", "", 0x1209, 1)) is source_of(Port("tcp://a:1", "")) is None
