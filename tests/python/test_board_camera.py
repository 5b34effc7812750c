"""The camera on a board, seen through the board: RAW on the link, gaps in what comes, and `spedge stream board`."""

from __future__ import annotations

import json
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import spedge
from spedge import cli
from spedge.base.errors import DeviceError, UsageError
from spedge.cameras import EmulatedCamera
from spedge.device.open import Device
from spedge.events.formats import FORMATS as FORMATS_BY_NAME
from spedge.events.formats import format_name
from spedge.events.words import encoder
from spedge.link.protocol import Configuration
from spedge.link.transport import connect
from spedge.recordings import write
from spedge.sources import BoardCamera
from spedge.tokens.settings import TokenizerSettings
from tests import recording_files
from tests.events import scattered
from tests.needs import needs
from tests.tiny import build_firmware

FORMATS = ("evt2", "evt2.1", "evt2.1-legacy", "evt3", "edvs-e2", "edvs-e3", "edvs-e4")


def made(n: int = 4000, span_us: int = 40_000, seed: int = 3, side: int = 100) -> NDArray[np.void]:
    return scattered(n, span_us, seed, side)


# ---- gaps: a device that is not there ------------------------------------------------------------------------------


class Passing:
    """Stands for a Device whose camera sent these bytes, of which those between the cuts at odd places were lost."""

    name = "a board"

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        edges = [0, *cuts, len(data)]
        self.lost = 0
        self.pages: list[tuple[int, bytes]] = []
        gap = 0
        for number, (a, b) in enumerate(pairwise(edges)):
            if number % 2:
                gap = b - a
                self.lost += gap
            else:
                self.pages.append((gap, data[a:b]))
                gap = 0
        if gap:
            self.pages.append((gap, b""))

    def configure(self, _: Configuration) -> None: ...

    def wait(self, _: float) -> None: ...

    def raw(self) -> tuple[int, bytes]:
        return self.pages.pop(0) if self.pages else (0, b"")


def through(device: Passing, format: str, side: int = 100) -> tuple[NDArray[np.void], dict[str, int]]:
    source = BoardCamera(device, format, width=side, height=side)  # type: ignore[arg-type]
    parts = []
    for packet in source.packets():
        parts.append(packet)
        if not device.pages:
            source.stop()
    return np.concatenate(parts), source.lost


@pytest.mark.parametrize("format", FORMATS)
def test_without_gaps_every_event_comes(format: str) -> None:
    events = made()
    got, lost = through(Passing(encoder(format)(events), []), format)
    assert np.array_equal(np.sort(got), np.sort(events)) and not lost


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(FORMATS), st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_after_a_gap_no_event_is_made_up(format: str, places: list[int]) -> None:
    events = made()
    data = encoder(format)(events)
    device = Passing(data, sorted(place % (len(data) + 1) for place in places))
    got, lost = through(device, format)
    assert lost.get("bytes", 0) == device.lost
    assert set(got.tolist()) <= set(events.tolist())


def test_a_format_without_times_is_refused() -> None:
    with pytest.raises(UsageError, match="edvs-e0"):
        BoardCamera(Passing(b"", []), "edvs-e0", width=128, height=128)  # type: ignore[arg-type]


# ---- RAW, on the simulated board -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a model."""
    return build_firmware("sim", tmp_path_factory.mktemp("image") / "sim")


def configuration(mode: str, **more: object) -> Configuration:
    tokenizer = TokenizerSettings(100, 100)
    return Configuration(model=False, tokenizer=tokenizer, source="camera", mode=mode, raw=True, **more)  # type: ignore[arg-type]


def test_lossless_every_byte_comes_once_and_the_camera_waits(device: Device) -> None:
    events = made(20_000)  # ten times what the board keeps
    device.configure(configuration("lossless"))
    assert device.camera_address
    with EmulatedCamera(device.camera_address, events, "evt2", "full") as camera:
        camera.play()
        time.sleep(0.2)  # nobody reads: the board keeps what it can and takes no more
        expected = encoder("evt2")(events)
        got, deadline = bytearray(), time.monotonic() + 20
        while len(got) < len(expected) and time.monotonic() < deadline:
            lost, data = device.raw()
            assert lost == 0
            got += data
        camera.wait(5)
        assert bytes(got) == camera.sent == expected
    assert device.stats().taken == len(events)


@pytest.mark.parametrize("format", ["evt2.raw", "evt21.raw", "evt21-legacy.raw", "evt3.raw"])
def test_words_of_no_meaning_are_counted_as_a_reader_counts_them(device: Device, format: str, tmp_path: Path) -> None:
    """The same words in a file and at the board's camera port."""
    expected, _ = recording_files.with_strays(format, tmp_path / format, seed=5)
    recording = spedge.open(tmp_path / format)
    assert recording.events().tolist() == expected
    words = (tmp_path / format).read_bytes().partition(b"% end\n")[2]
    settings = TokenizerSettings(recording.width, recording.height)
    form = format_name(recording.format.removeprefix("RAW "))
    device.configure(Configuration(model=False, tokenizer=settings, source="camera", format=form))
    assert device.camera_address
    line = connect(device.camera_address)
    sent, deadline = 0, time.monotonic() + 20
    while sent < len(words):
        sent += line.exchange(words[sent : sent + 999], 1)[0]  # words are cut
    while device.stats().words < len(words) // FORMATS_BY_NAME[form].word and time.monotonic() < deadline:
        time.sleep(0.01)
    line.close()
    stats = device.stats()
    counts = {name: getattr(stats, name) for name in ("unknown", "triggers", "other", "untimed", "clipped")}
    assert {name: count for name, count in counts.items() if count} == recording.left_out
    assert (stats.events, stats.taken, stats.decoder_outside) == (len(expected), len(expected), 0)


def test_live_what_nobody_read_in_time_is_counted(device: Device) -> None:
    events = made(20_000)
    device.configure(configuration("live"))
    assert device.camera_address
    with EmulatedCamera(device.camera_address, events, "evt2", "full") as camera:
        camera.play()
        camera.wait(10)
        lost, data = device.raw()
        last = 0
        while data or last < 5:
            last = 0 if data else last + 1
            missed, data = device.raw()
            lost += missed
            time.sleep(0.01)
        assert lost > 0


def test_raw_is_for_sessions_that_asked_for_it(device: Device) -> None:
    device.configure(Configuration(model=False, tokenizer=TokenizerSettings(100, 100), source="camera"))
    with pytest.raises(UsageError, match="raw=True"):
        device.raw()
    with pytest.raises(DeviceError, match="source on the board"):
        device.configure(Configuration(model=False, tokenizer=TokenizerSettings(100, 100), raw=True))


# ---- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "options"), [("evt3", ["--width", 100, "--height", 100]), ("edvs-e4", [])])
def test_stream_board_writes_what_the_camera_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str, options: list[object]
) -> None:
    needs("platformio")
    events = made(3000, span_us=100_000)
    write(tmp_path / "in.npz", events, 100, 100)
    arguments = ["stream", "board", "--play", tmp_path / "in.npz", "--out", tmp_path / "out.npz", "--mode", "lossless"]
    code = cli.execute([str(a) for a in [*arguments, "--camera-format", format, *options, "--json"]])
    said = json.loads(capsys.readouterr().out)
    assert code == 0 and said["events"] == 3000 and not said["lost"]
    assert np.array_equal(np.sort(spedge.open(tmp_path / "out.npz").events()), np.sort(events))
    assert threading.active_count() < 10


def test_view_board_shows_what_the_camera_sends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("platformio", "starlette", "uvicorn", "wsproto", "PIL")
    from spedge.view.live import LiveStage

    events, seen = made(3000, span_us=100_000), []
    write(tmp_path / "in.npz", events, 100, 100)
    offer = LiveStage.offer

    def watched(stage: LiveStage, some: NDArray[np.void]) -> None:
        seen.append(some.copy())
        offer(stage, some)

    monkeypatch.setattr(LiveStage, "offer", watched)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    given = ["view", "board", "--play", tmp_path / "in.npz", "--width", 100, "--height", 100]
    assert cli.execute([str(a) for a in given]) == 0
    assert "board is at http://127.0.0.1:" in capsys.readouterr().err
    assert np.array_equal(np.sort(np.concatenate(seen)), np.sort(events))
    assert cli.execute(["view", "board", "bundle"]) == cli.execute(["view", "a.raw", "--play", "b.raw"]) == 2


def test_what_stream_board_needs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "o.npz")
    assert cli.execute(["stream", "board", "--out", out]) == 2
    assert "--width and --height" in capsys.readouterr().err
    assert cli.execute(["stream", "x.raw", "--out", out, "--play", "y.raw"]) == 2
    assert "source board" in capsys.readouterr().err


def test_what_the_frame_port_does_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("platformio")
    asked = ["stream", "board", "--out", str(tmp_path / "o.npz"), "--width", "34", "--height", "34", "--camera-port"]
    for more, problem in (
        (["usb"], "use one of uart, frames"),
        (["frames", "--camera-format", "evt3"], "leave --camera-format and --camera-baud out"),
        (["frames", "--camera-baud", "9600"], "leave --camera-format and --camera-baud out"),
        (["frames", "--play", "x.raw"], "leave --play or --camera-port out"),
    ):
        assert cli.execute([*asked, *more]) == 2
        assert problem in capsys.readouterr().err
    assert cli.execute([*asked, "frames", "--seconds", "1"]) == 4
    assert "this board has no frame port" in capsys.readouterr().err
