"""A GENX320 at the frame port of boards: set up by I2C, received by DCMI and DMA, on models of chips."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge import cli
from spedge.base.errors import DeviceRefused
from spedge.device.open import Device
from spedge.link.counts import Stats
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from tests.chips.double import Double
from tests.chips.packets import PACKET_WORDS, packets_of
from tests.chips.receivers import FRAME_PACKETS
from tests.events import scattered
from tests.needs import needs

needs("platformio", "arm-none-eabi-gcc", "unicorn")


WITH_FRAMES = ("disco-f746g", "nucleo-h743zi2")
BOTH = pytest.mark.parametrize("board", WITH_FRAMES, scope="module")
#: One of the two is enough for each day.
ONE = pytest.mark.parametrize(
    "board", ["disco-f746g", pytest.param("nucleo-h743zi2", marks=pytest.mark.chips)], scope="module"
)


def sent_to(folder: Path, packets: NDArray[np.void]) -> str:
    """The double's option for a sensor that sends these packets."""
    (folder / "packets").write_bytes(packets.tobytes())
    return f"frames={folder / 'packets'}"


def events_of(packets: NDArray[np.void]) -> int:
    return int(np.count_nonzero(packets["words"] >> 28 <= 1))


def settle(device: Device, double: Double, packets: int, seconds: float = 120) -> Stats:
    """When the sensor has sent all, and the device has worked off what it got."""
    assert any(double.hear() == f"played {packets}" for _ in range(2))  # a line says its clock
    end, before = time.monotonic() + seconds, device.stats()
    while time.monotonic() < end:
        time.sleep(0.1)
        now = device.stats()
        if now.status.queued == 0 and now.loss == before.loss and now.words == before.words:
            return now
        before = now
    raise AssertionError(f"after {seconds} s it still works: {before}")


@BOTH
def test_a_stream_that_fits_gives_the_host_s_tokens(bundle: Bundle, board: str, image: Path, tmp_path: Path) -> None:
    """Packets of which a half is padding; the second session sets the sensor up anew."""
    events = scattered(2000, 100_000, 1)
    packets = packets_of(events, PACKET_WORDS // 2)
    with Double(board, image, sent_to(tmp_path, packets)) as double, double.open() as device:
        assert device.hello.has_frames
        for _ in range(2):
            pool = device.configure(Configuration(source="frames", report_tokens=500)).pool_events
            stats = settle(device, double, len(packets))
            assert stats.imbalance(len(events)) is None and stats.loss.lost == stats.loss.sensor == 0
            assert stats.other >= len(packets) * PACKET_WORDS // 2  # padding
            computed = Reference(bundle).compute(events, pool)
            found = device.tokens()
            assert len(found) > 30
            assert found.tobytes() == as_reported(computed.tokens).tobytes()
            assert np.abs(device.infer().logits - computed.logits).max() < 1e-4


@ONE
def test_what_the_receiver_overran_is_counted_where_it_was(board: str, image: Path, tmp_path: Path) -> None:
    """In the middle of the packet 100: what is lacking of its frame is lost, and the next frame comes whole."""
    events = scattered(2 * FRAME_PACKETS * 3, 40_000, 1)
    packets = packets_of(events, 4)[: 2 * FRAME_PACKETS]
    with Double(board, image, sent_to(tmp_path, packets), "overrun=100") as double, double.open() as device:
        device.configure(Configuration(source="frames"))
        stats = settle(device, double, len(packets))
        came = np.concatenate([packets["words"][:100].ravel(), packets["words"][100, : PACKET_WORDS // 2]])
        behind = packets["words"][FRAME_PACKETS:].ravel()
        assert stats.loss.sensor == (FRAME_PACKETS * PACKET_WORDS - len(came)) * 4
        assert stats.loss.offered == np.count_nonzero(came >> 28 <= 1) + np.count_nonzero(behind >> 28 <= 1)
        assert stats.imbalance() is None


@ONE
def test_a_packet_that_was_written_over_is_counted_where_it_was(board: str, image: Path, tmp_path: Path) -> None:
    """By an interrupt that comes after both buffers were filled: nobody knows what the first one's words were."""
    events = scattered(2000, 100_000, 1)
    packets = packets_of(events)
    with Double(board, image, sent_to(tmp_path, packets), "late=5") as double, double.open() as device:
        device.configure(Configuration(source="frames"))
        stats = settle(device, double, len(packets))
        assert stats.loss.sensor == PACKET_WORDS * 4
        assert stats.loss.offered == len(events) - events_of(packets[5:6])
        behind = packets["words"][6]
        assert stats.loss.link == np.argmax(behind >> 28 == 8)  # events without a time
        assert stats.imbalance() is None


@BOTH
@pytest.mark.chips
def test_what_it_sends_is_recorded_and_checked(bundle: Bundle, board: str, image: Path, tmp_path: Path) -> None:
    """Which is how a board with a real sensor is checked: nobody else knows what that sent."""
    events = scattered(2000, 100_000, 1)
    with Double(board, image, sent_to(tmp_path, packets_of(events, PACKET_WORDS // 2))) as double:
        arguments = ["stream", "board", "--camera-port", "frames", "--device", double.link, "--mode", "lossless"]
        arguments += ["--width", "34", "--height", "34", "--seconds", "5", "--out", str(tmp_path / "out.npz")]
        assert cli.execute(arguments) == 0
        assert np.array_equal(spedge.open(tmp_path / "out.npz").events(), events)
        assert cli.execute(["check", str(bundle.path), str(tmp_path / "out.npz"), "--device", double.link]) == 0


@ONE
def test_more_than_there_is_room_for(board: str, image: Path, tmp_path: Path) -> None:
    """Two million events a second: the sensor waits for nobody, and every event is accounted for."""
    events = scattered(60_000, 30_000, 1)
    packets = packets_of(events)
    with Double(board, image, sent_to(tmp_path, packets), "slow=10") as double, double.open(20) as device:
        device.configure(Configuration(source="frames", mode="live", every_us=10_000, push=True))
        stats = settle(device, double, len(packets))
        times = [result.t for result in device.take_results()]
        assert stats.imbalance(len(events)) is None
        assert stats.loss.link + stats.loss.thinned > 0 and stats.loss.sensor == 0
        assert times in ([10_000, 20_000], [20_000])  # one that falls into a gap is left out


@ONE
def test_a_sensor_that_does_not_take_a_word_is_set_up_anew(board: str, image: Path, tmp_path: Path) -> None:
    packets = packets_of(scattered(500, 10_000, 1))
    with Double(board, image, sent_to(tmp_path, packets), "deaf=60") as double, double.open() as device:
        device.configure(Configuration(source="frames"))
        assert settle(device, double, len(packets)).imbalance(500) is None


@ONE
def test_what_the_frame_port_is_not_for(
    bundle: Bundle, board: str, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Double(board, image) as double:
        with double.open() as device:
            with pytest.raises(DeviceRefused, match="the frame port gets EVT2 only"):
                device.configure(Configuration(source="frames", format="evt3"))
            with pytest.raises(DeviceRefused, match="no sensor answers at the frame port"):
                device.configure(Configuration(source="frames"))
        played = ("run", bundle.path, "--source", "board", "--camera-port", "frames", "--device", double.link)
        assert cli.execute(list(map(str, played))) == 3
        assert "no sensor answers at the frame port" in capsys.readouterr().err


# ---- ten seconds of a sensor at its fastest: make test-chips ---------------------------------------------------


@BOTH
@pytest.mark.chips
@pytest.mark.timeout(1800)
def test_two_million_events_a_second_for_ten_seconds(bundle: Bundle, board: str, image: Path, tmp_path: Path) -> None:
    """Of the sensor, whose seconds are five times as long here, where the model of the core is slower than the core."""
    rate, seconds, every_us = 2_000_000, 10, 50_000
    events = scattered(rate * seconds, seconds * 1_000_000, 1)
    packets = packets_of(events)
    option = sent_to(tmp_path, packets)
    with Double(board, image, option, "slow=5") as double, double.open(60) as device:
        device.configure(Configuration(source="frames", mode="live", every_us=every_us, push=True))
        results = []
        while (stats := device.stats()).loss.offered != len(events):
            results += device.take_results()
            assert stats.loss.offered < len(events) and double.process.poll() is None
            time.sleep(0.2)
        stats = settle(device, double, len(packets))
        results += device.take_results()
        assert stats.imbalance(len(events)) is None
        assert stats.loss.sensor == 0 and stats.accepted > 0 and stats.loss.link > 0 and stats.loss.thinned > 0
        assert [result.t for result in results] == list(range(every_us, seconds * 1_000_000, every_us))
