"""What an event and a camera's word cost on the emulated boards. Instructions are counted exactly: they are checked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.bench.streams import encode
from spedge.cli import execute
from spedge.events.decoders import FORMATS, Decoder
from spedge.recordings import write
from tests.tiny import missing_for

BOARDS = ("mps2-an386", "mps2-an500")
pytestmark = pytest.mark.skipif(missing_for(BOARDS[0]) is not None, reason=str(missing_for(BOARDS[0])))

MOST_PER_EVENT = 40


def blobs(n: int, side: int) -> np.ndarray:
    """Moving blobs on noise, 5 million events per second."""
    random = np.random.default_rng(0)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.arange(n) // 5
    phase = np.arange(n) / n * 2 * np.pi + random.integers(0, 5, n)
    for name, wave in (("x", np.cos), ("y", np.sin)):
        blob = side / 2 + side / 3 * wave(phase) + random.normal(0, side / 20, n)
        events[name] = np.where(random.random(n) < 0.2, random.uniform(0, side, n), blob).clip(0, side - 1)
    events["p"] = random.integers(0, 2, n)
    return events


def measured(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert execute(["bench", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("side", [128, 320])
def test_an_event_of_the_default_tokenizer(
    board: str, side: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = blobs(50_000, side)
    write(tmp_path / "a.npz", events, side, side)
    document = measured(capsys, "tokenizer", tmp_path / "a.npz", "--board", board)
    tokens = spedge.Tokenizer("continuous", width=side, height=side).push(events)
    assert (document["schema"], document["board"], document["events"]) == (1, board, len(events))
    assert document["tokens"] == len(tokens) > 40
    assert 15 < document["instructions_per_event"] <= MOST_PER_EVENT


@pytest.mark.parametrize("side", [128, 320])
def test_an_event_of_a_camera(side: int, capsys: pytest.CaptureFixture[str]) -> None:
    recording = Path(os.environ.get("SPEDGE_SHARED", "../shared")) / "data/recordings/evt2_sample.raw"
    if not recording.is_file():
        pytest.skip(f"no recording {recording} (set SPEDGE_SHARED)")
    document = measured(capsys, "tokenizer", recording, "--crop", f"{side}x{side}", "--board", "mps2-an500")
    assert document["events"] > 50_000
    assert document["instructions_per_event"] <= MOST_PER_EVENT


@pytest.mark.parametrize(
    ("options", "most"),
    [
        (["--threshold", "250", "--absolute-refractory-us", "25000"], 60),
        (["--kind", "discrete", "--threshold", "64", "--duration-us", "100000"], 80),
        (["--patch-size", "8", "--threshold", "32", "--decay-per-us", "0.0001"], 170),
    ],
)
def test_the_other_tokenizers_take_the_same_tokens(
    options: list[str], most: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.npz", blobs(50_000, 128), 128, 128)
    here = measured(capsys, "tokenizer", tmp_path / "a.npz", *options)
    document = measured(capsys, "tokenizer", tmp_path / "a.npz", "--board", "mps2-an500", *options)
    assert document["tokens"] == here["tokens"] > 20
    assert document["instructions_per_event"] <= most


@pytest.mark.parametrize("format", FORMATS)
def test_a_word_of_a_format(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = blobs(3000, 128)
    write(tmp_path / "a.npz", events, 128, 128)
    document = measured(capsys, "decoder", tmp_path / "a.npz", "--format", format, "--board", "mps2-an500")
    decoder = Decoder(format)
    decoder.feed(encode(events, format))
    assert (document["schema"], document["board"], document["format"]) == (1, "mps2-an500", format)
    assert (document["words"], document["events"]) == (decoder.stats.words, len(events))
    assert 15 < document["instructions_per_word"] <= 85
