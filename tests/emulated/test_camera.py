"""A camera at the second UART of a board: the board decodes, tokenizes and infers, and the host sends no event."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spedge.base.errors import DeviceError, UsageError
from spedge.base.paths import assets_dir
from spedge.boards.build import build
from spedge.boards.manifest import load_board
from spedge.cameras import FORMATS, EmulatedCamera, protocol_of
from spedge.device.open import Device, open_board
from spedge.events.words import encoder
from spedge.jobs.check import check, token_difference
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.recordings import write
from tests.events import scattered
from tests.shorter import shorter
from tests.tiny import build_firmware, model_source, require_compiled

BOARDS = ("sim", "mps2-an500", "netduinoplus2")
DIGITS = ("3/00008", "7/00016")
TIMED = [format for format in FORMATS if format != "edvs-e0"]


@pytest.fixture(scope="module", params=BOARDS)
def board(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def some_events(n: int, seed: int = 0) -> np.ndarray:
    return scattered(n, 10 * n, seed)


def plug(device: Device, events: np.ndarray, protocol: str = "edvs", pace: str | float = "full") -> EmulatedCamera:
    assert device.camera_address
    return EmulatedCamera(device.camera_address, events, protocol, pace)


def settle(device: Device, words: int, seconds: float = 30) -> None:
    """Until the device has decoded that many words of the camera's."""
    deadline = time.monotonic() + seconds
    while device.stats().words < words and time.monotonic() < deadline:
        time.sleep(0.02)


def formats_of(board: str) -> list[str]:
    return TIMED if board == "sim" else ["edvs-e4", "evt3"]


def test_what_a_camera_says_becomes_the_tokens_and_logits_of_the_host(bundle: Bundle, device: Device) -> None:
    for seed, format in enumerate(formats_of(device.hello.board)):
        events = some_events(1200, seed)
        protocol = protocol_of(format)
        with plug(device, events, protocol) as camera:
            pool = device.configure(Configuration(report_tokens=16, source="camera", format=format)).pool_events
            if protocol != "edvs":
                camera.play()
            camera.wait(30)
            assert len(camera.sent_events) == len(events)
            while device.stats().events < len(events):
                device.tokens()
            computed = Reference(bundle).compute(camera.sent_events, pool)
            assert token_difference(as_reported(computed.tokens), device.tokens()) is None
            result = device.infer()
            assert np.abs(result.logits - computed.logits).max() < 1e-4
            stats = device.stats()
            assert stats.imbalance() is None
            assert (stats.loss.sensor, stats.skipped, stats.taken) == (0, 0, len(events))
            assert stats.status.next_seq == 0  # no EVENTS frame has come


def test_check_plays_recordings_with_a_camera(bundle: Bundle, device: Device, tmp_path: Path) -> None:
    for seed in (1, 2):
        write(tmp_path / f"{seed}.npz", some_events(1500, seed), 34, 34)
    report = check(bundle, [tmp_path / "1.npz", tmp_path / "2.npz"], device, camera="edvs-e2")
    assert [recording.problem for recording in report.recordings] == [None, None]
    assert all(recording.tokens_device > 20 for recording in report.recordings)
    with pytest.raises(UsageError, match="no camera format 'evt9'"):
        check(bundle, [tmp_path / "1.npz"], device, camera="evt9")


def test_a_camera_that_takes_long_to_start_is_spoken_to_again(device: Device, image: Path) -> None:
    """It was deaf when the board gave up waiting for its greeting and told it what to do."""
    if image.name != "sim":
        pytest.skip("the boards of QEMU give up later than is worth waiting for")
    events = some_events(500)
    assert device.camera_address
    with EmulatedCamera(device.camera_address, events, "edvs", "full", boot_seconds=1.0) as camera:
        device.configure(Configuration(source="camera", format="edvs-e2"))
        camera.wait(30)
        settle(device, len(events))
        assert device.stats().taken == len(events)


def test_a_camera_in_real_time_is_kept_up_with(device: Device) -> None:
    events = some_events(500)
    events["t"] = np.linspace(0, 400_000, len(events)).astype(np.uint64)
    with plug(device, events, pace="realtime") as camera:
        device.configure(Configuration(source="camera", format="edvs-e4", mode="live"))
        camera.wait(30)
        settle(device, len(events))
        stats = device.stats()
        assert stats.taken + stats.loss.thinned == stats.loss.offered == len(events)
        assert stats.taken > 0.9 * len(events)  # sim thins when this machine is busy with other things


def test_a_stopped_camera_is_silent_and_the_next_session_is_of_the_link(device: Device) -> None:
    with plug(device, some_events(100_000)) as camera:
        device.configure(Configuration(report_tokens=8, source="camera", format="edvs-e4"))
        while not camera.sent:
            time.sleep(0.01)
        device.configure(Configuration(report_tokens=256))
        deadline = time.monotonic() + 10
        sent = -1
        while sent != len(camera.sent) and time.monotonic() < deadline:
            sent = len(camera.sent)
            time.sleep(0.3)
        assert sent == len(camera.sent) < 6 * 100_000
        assert device.stats().words == 0


def test_a_camera_that_is_unplugged_leaves_the_device_well(device: Device) -> None:
    with plug(device, some_events(50_000)) as camera:
        device.configure(Configuration(source="camera", format="edvs-e4"))
        while not camera.sent:
            time.sleep(0.01)
    taken = device.stats().taken
    with plug(device, some_events(600, 1)) as camera:
        device.reset()
        camera.wait(30)
        settle(device, 600)
        assert device.stats().taken == 600
    assert taken < 50_000


def test_what_the_receiver_had_no_room_for_is_counted(bundle: Bundle, image: Path, tmp_path: Path) -> None:
    """A model takes long while the camera sends: bytes are dropped, what is left are whole events, none is made up."""
    if image.name != "netduinoplus2":
        pytest.skip(
            "the terminal of sim makes the camera wait, and QEMU's MPS2 brings few bytes while the board computes"
        )
    long = "static int done; for (volatile long i = 0; !done && i < 40000000; i++) {} done = 1;"  # a second, once
    slow = model_source(bundle).replace("double sum = 0;", f"double sum = 0; {long}")
    small = build_firmware(image.name, tmp_path / image.name, slow, ("-DSP_CAMERA_RING_BYTES=256u",))
    with open_board(load_board(image.name), small) as device:
        events = some_events(2000)
        with plug(device, events) as camera:
            device.configure(Configuration(source="camera", format="edvs-e4", mode="live", every_tokens=4))
            camera.wait(60)
            last = -1
            while (stats := device.stats()).words != last:
                last = stats.words
                time.sleep(0.3)
        assert stats.loss.sensor > 0
        assert stats.words * 6 + stats.loss.sensor == len(camera.sent)
        assert stats.skipped == stats.backwards == 0
        assert stats.loss.thinned + stats.taken == stats.events


def test_bytes_in_ram_are_a_source(bundle: Bundle, image: Path, tmp_path: Path) -> None:
    board = load_board(image.name)
    ram = tmp_path / "ram"
    events = some_events(1500)
    ram.write_bytes(encoder("evt3")(events))
    if image.name == "netduinoplus2":
        with pytest.raises(UsageError, match="no memory for camera bytes"):
            open_board(board, image, ram=ram)
        return
    with open_board(board, image, ram=ram) as device:
        for _ in range(2):
            pool = device.configure(Configuration(report_tokens=16, source="ram", format="evt3")).pool_events
            computed = Reference(bundle).compute(events, pool)
            assert token_difference(as_reported(computed.tokens), device.tokens()) is None
            assert device.stats().imbalance() is None


def test_rates_that_the_uart_cannot_make_are_refused(device: Device) -> None:
    if device.hello.board == "sim":
        pytest.skip("a terminal has no rate")
    device.configure(Configuration(source="camera", format="edvs-e4", baud=1_000_000))
    with pytest.raises(DeviceError, match="baud"):
        device.configure(Configuration(source="camera", format="edvs-e4", baud=60_000_000))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Recordings of N-MNIST, in folders by digit; without the data set, digits that were drawn for the bundle."""
    folder = tmp_path_factory.mktemp("digits")
    archive = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).parents[3] / "shared")) / "data/nmnist-800.zip"
    if archive.is_file():
        with zipfile.ZipFile(archive) as packed:
            return [Path(packed.extract(f"N-MNIST/Train/{name}.bin", folder)) for name in DIGITS]
    paths = []
    for number, vector in zip((1, 4, 7), Bundle.load(assets_dir() / "nmnist-pico").vectors(), strict=True):
        (folder / str(number)).mkdir()
        paths.append(folder / str(number) / "drawn.npz")
        write(paths[-1], vector.events, 34, 34)
    return paths


@pytest.mark.parametrize(
    ("name", "tokens"), [("mps2-an500", 128), pytest.param("netduinoplus2", 80, marks=pytest.mark.long)]
)
def test_a_board_reads_digits_with_an_edvs_and_the_host_agrees(
    name: str, tokens: int, digits: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trained model; on the small board, which has no room for 128 tokens, with a window of the last 80."""
    require_compiled(name)
    trained = Bundle.load(assets_dir() / "nmnist-pico")
    if tokens != trained.tokens:
        monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))  # nobody else will want that
        trained = shorter(trained, tokens, tmp_path / "shorter")
    board = load_board(name)
    with open_board(board, build(board, trained).path) as device:
        report = check(trained, digits, device, camera="edvs-e4")
        assert [recording.problem for recording in report.recordings] == [None] * len(digits)
        if digits[0].suffix == ".bin":
            assert [recording.label_device for recording in report.recordings] == [path.parent.name for path in digits]
        assert device.stats().status.next_seq == 0
