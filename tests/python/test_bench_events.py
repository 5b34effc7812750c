"""spedge bench tokenizer and decoder on this machine: what they measure is what they say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.base.errors import UsageError
from spedge.bench.decoder import stream_of
from spedge.bench.streams import encode
from spedge.bench.tokenizer import crop
from spedge.boards import launch
from spedge.cli import execute
from spedge.events import evt2
from spedge.events.decoders import FORMATS, Decoder
from spedge.events.words import EDVS_SIDE
from spedge.recordings import write


def some_events(n: int, width: int = 200, height: int = 150, seed: int = 0) -> np.ndarray:
    """Rows of neighbours now and then, pauses from none to 20 seconds."""
    random = np.random.default_rng(seed)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    pauses = random.choice([0, 0, 0, 1, 40, 9000, 20_000_000], n, p=[0.3, 0.3, 0.1, 0.15, 0.1, 0.045, 0.005])
    events["t"] = np.cumsum(pauses)
    events["x"], events["y"] = random.integers(0, width, n), random.integers(0, height, n)
    events["p"] = random.integers(0, 2, n)
    same = pauses == 0
    for i in np.flatnonzero(same[1:]) + 1:
        events["x"][i] = (events["x"][i - 1] + random.integers(1, 9)) % width
        events["y"][i], events["p"][i] = events["y"][i - 1], events["p"][i - 1]
    return events


@pytest.mark.parametrize("format", [name for name in FORMATS if not name.startswith("edvs")])
def test_streams_decode_to_the_events(format: str) -> None:
    events = some_events(5000)
    decoder = Decoder(format)
    np.testing.assert_array_equal(decoder.feed(encode(events, format)), events)
    if format.startswith("evt2.1"):
        assert 0 < decoder.stats.vectors < 0.9 * len(events)  # some events share a word
        assert decoder.stats.vector_events == len(events)


@pytest.mark.parametrize("mode", range(5))
def test_edvs_streams_decode_to_the_events(mode: int) -> None:
    events = some_events(5000)
    events["t"] //= 1000  # E2's clock wraps after 65 ms
    decoder = Decoder(f"edvs-e{mode}")
    decoded = decoder.feed(encode(events, f"edvs-e{mode}"))
    for name in ("x", "y"):
        np.testing.assert_array_equal(decoded[name], events[name] % EDVS_SIDE)
    np.testing.assert_array_equal(decoded["p"], events["p"])
    assert decoder.stats.skipped == 0
    if mode:
        np.testing.assert_array_equal(decoded["t"], events["t"] - (events["t"][0] if mode == 1 else 0))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no camera format 'EVT4'; known are evt2, evt2\.1"):
        encode(some_events(3), "EVT4")


@pytest.mark.parametrize("part", [(64, 48), (200, 150), (320, 320), (300, 50), (1, 1)])
def test_a_crop_is_the_middle(part: tuple[int, int]) -> None:
    events = some_events(3000)
    left, top = (200 - part[0]) // 2, (150 - part[1]) // 2
    cut = crop(events, (200, 150), part)
    expected = [
        (t, x - left, y - top, p)
        for t, x, y, p in events.tolist()
        if left <= x < left + part[0] and top <= y < top + part[1]
    ]
    assert cut.tolist() == expected
    assert len(cut) == len(events) or part[0] < 200 or part[1] < 150


def test_a_raw_file_is_measured_by_its_own_words(tmp_path: Path) -> None:
    events = some_events(300)
    write(tmp_path / "a.raw", events, 200, 150, "EVT3")
    opened = spedge.open(tmp_path / "a.raw")
    name, data = stream_of(opened, None)
    assert name == "evt3" and (tmp_path / "a.raw").read_bytes().endswith(data)
    np.testing.assert_array_equal(Decoder("EVT3").feed(data), events)
    assert stream_of(opened, "EVT2") == ("evt2", evt2.encode(events))
    write(tmp_path / "a.npz", events, 200, 150)
    assert stream_of(spedge.open(tmp_path / "a.npz"), None)[0] == "evt2"


def document_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert execute(["bench", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


@pytest.mark.parametrize("format", ["evt2", "evt2.1", "evt3", "edvs-e4"])
def test_bench_decoder(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = some_events(4000)
    write(tmp_path / "a.npz", events, 200, 150)
    document = document_of(capsys, "decoder", tmp_path / "a.npz", "--format", format)
    decoder = Decoder(format)
    decoder.feed(encode(events, format))
    assert (document["schema"], document["board"], document["format"]) == (1, "host", format)
    assert (document["words"], document["events"]) == (decoder.stats.words, len(events))
    assert document["events_per_second"] > 0 and document["times_bincount"] > 0


def test_bench_tokenizer_on_a_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = some_events(20_000)
    write(tmp_path / "a.npz", events, 200, 150)
    document = document_of(capsys, "tokenizer", tmp_path / "a.npz", "--crop", "64x48", "--threshold", "9")
    part = crop(events, (200, 150), (64, 48))
    tokens = spedge.Tokenizer("continuous", width=64, height=48, threshold=9).push(part)
    assert (document["width"], document["height"], document["events"]) == (64, 48, len(part))
    assert document["tokens"] == len(tokens) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decoder", "a.npz", "--format", "EVT9"], "there is no camera format 'EVT9'"),
        (["decoder", "a.npz", "--board", "sim"], "sim cannot count instructions"),
        (["decoder", "empty.npz"], "has no events to measure with"),
        (["tokenizer", "empty.npz"], "no events to measure with"),
        (["tokenizer", "a.npz", "--crop", "64"], "--crop 64: give width and height"),
        (["tokenizer", "a.npz", "--crop", "0x4"], "--crop 0x4: give width and height"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.npz", some_events(100), 200, 150)
    write(tmp_path / "empty.npz", some_events(0), 200, 150)
    verb, name, *options = arguments
    assert execute(["bench", verb, str(tmp_path / name), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["decoder", "tokenizer"])
def test_without_the_boards_emulator_it_says_what_brings_it(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.npz", some_events(100), 200, 150)
    monkeypatch.setattr(launch, "shutil", SimpleNamespace(which=lambda program: None))
    assert execute(["bench", verb, str(tmp_path / "a.npz"), "--board", "mps2-an500"]) == 3
    said = capsys.readouterr().err
    assert "mps2-an500 needs qemu-system-arm, which is not installed: " in said
    assert "apt-get install qemu-system-arm" in said
