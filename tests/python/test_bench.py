"""spedge bench on the simulated board, and its refusals."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spedge
from spedge import recordings
from spedge.base.errors import CheckFailed, DeviceError, DeviceGone, InputError, UsageError
from spedge.base.paths import assets_dir
from spedge.bench import paired as bench_paired
from spedge.bench.link import (
    _CONFIGURE,
    _FORGET,
    _TOKENIZE,
    _TOKENIZER,
    _ask,
    _words_seconds,
    event_bytes,
)
from spedge.bench.model import bench_encoder, bench_model
from spedge.boards.build import build, compile_model
from spedge.boards.launch import running
from spedge.boards.manifest import load_board
from spedge.cli import execute
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder, random_bundle
from spedge.events.evt2 import encode_words
from spedge.link.protocol import pack_tokenizer
from spedge.model.bundle import Bundle
from tests.needs import needs
from tests.variants import long

needs("tvm", "cc")

BOARDS = ("sim", "mps2-an500")
SMALL = Shape(tokens=8, hidden=16, intermediate=24, heads=2, layers=2, classes=3)


@pytest.mark.parametrize("name", [*long("sim"), "mps2-an500"])
def test_a_random_encoder_is_right_and_within_its_bounds(name: str) -> None:
    board = load_board(name)
    if board.missing:
        pytest.skip(f"not installed: {', '.join(tool.program for tool in board.missing)}")
    report = bench_encoder(random_bundle(SMALL), 5, name)
    assert report.present == 5 and report.samples > 1
    assert report.max_abs_error <= 1e-5
    assert 0 < report.stack_bytes <= report.stack_bound_bytes
    assert (report.instructions is None) == (report.ns is not None) == (name == "sim")
    assert (report.instructions or report.ns or 0) > 0


def test_the_command_prints_what_the_function_returns(capfd: pytest.CaptureFixture[str]) -> None:
    sizes = "--tokens 8 --present 5 --hidden 16 --intermediate 24 --heads 2 --layers 2 --classes 3"
    assert execute(["bench", "encoder", *sizes.split(), "--board", "mps2-an500", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    keys = "schema board precision macs instructions arena_bytes flash_bytes stack_bytes max_abs_error"
    assert set(keys.split()) <= set(document)
    assert document["macs"] > 0 and document["arena_bytes"] > 0 and document["flash_bytes"] > 0
    assert document["instructions"] > 0 and document["ns"] is None


def test_an_encoder_runs_beside_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_paired, "SECONDS", 0.0)
    bundle = random_bundle(SMALL)
    report = bench_encoder(bundle, 8, "sim", threads=1)
    both = report.paired
    assert both is not None and (both.threads, both.turns) == (1, bench_paired.TURNS)
    assert both.ours_ns > 0 and both.theirs_ns > 0 and both.ratio > 0 and both.wall_ratio > 0
    assert report.to_json()["paired"]["ratio"] == both.ratio


def test_an_encoder_of_8_bits_runs_beside_our_own_of_floats(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_paired, "SECONDS", 0.0)
    sizes = "--tokens 8 --hidden 16 --intermediate 24 --heads 2 --layers 2 --classes 3 --precision int8 --threads 1"
    assert execute(["bench", "encoder", *sizes.split(), "--json"]) == 0
    both = json.loads(capfd.readouterr().out)["paired"]
    assert both["fp32_ns"] > 0 and both["of_fp32"] > 0 and both["wall_of_fp32"] > 0 and both["vectors"] is None
    monkeypatch.setenv("SPEDGE_VECTORS", "baseline")
    assert execute(["bench", "encoder", *sizes.split()]) == 0
    assert re.search(
        r"beside our fp32 +[0-9.]+ times, by the clock [0-9.]+ times, of [0-9,]+ ns", capfd.readouterr().out
    )


def test_a_board_computes_on_threads_and_by_the_vectors_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_paired, "SECONDS", 0.0)
    bundle = random_bundle(SMALL)
    monkeypatch.setenv("SPEDGE_VECTORS", "baseline")
    report = bench_encoder(bundle, 8, "sim", threads=2)
    assert report.paired is not None and report.paired.threads == 2 and report.max_abs_error < 1e-5
    assert (report.paired.vectors, report.paired.fp32_ns) == ("baseline", None)
    monkeypatch.setenv("SPEDGE_VECTORS", "mmx")
    with pytest.raises(DeviceGone, match="this machine cannot compute on 2 threads by mmx"):
        bench_encoder(bundle, 8, "sim", threads=2)


def test_an_encoder_that_differs_from_onnx_runtime_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, right = random_bundle(replace(SMALL, seed=1)), random_bundle(SMALL)
    rows = np.ones((8, SMALL.hidden), np.float32)
    with pytest.raises(CheckFailed, match="the compiled encoder and ONNX Runtime differ"):
        bench_paired.paired(right, compile_model(wrong, "native"), rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "huge"], "There is no size 'huge'"),
        (["--board", "mps2-an500", "--threads", "1"], "mps2-an500 is not this machine"),
    ],
)
def test_an_encoder_that_cannot_be_measured_is_refused(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert execute(["bench", "encoder", *arguments]) == 2
    assert message in capfd.readouterr().err


def test_a_bundle_is_measured_on_its_own_vectors() -> None:
    bundle = random_bundle(SMALL)
    report = bench_model(bundle, "sim")
    assert (report.present, report.samples) == (8, len(bundle.vectors()))
    assert report.max_abs_error <= 1e-5


def test_whole_recordings_are_measured_by_stage(tmp_path: Path) -> None:
    bundle = Bundle.load(assets_dir() / "gestures-pico")
    events = spedge.open(assets_dir() / "recordings" / "clap.raw").events()[:4000]
    recordings.write(tmp_path / "start.raw", events, bundle.sensor.width, bundle.sensor.height)
    mean = bench_model(bundle, "sim", recordings=[tmp_path / "start.raw"]).classification
    assert mean is not None and (mean.recordings, mean.unit) == (1, "ns")
    assert mean.tokens > 0 and min(mean.tokenize, mean.embed, mean.encode) > 0
    assert mean.total == mean.tokenize + mean.embed + mean.encode


def test_a_bundle_without_vectors_is_refused(tmp_path: Path) -> None:
    bundle: Bundle = make_bundle(tmp_path / "bundle", make_encoder(Shape()), Shape())
    with pytest.raises(InputError, match="keeps no vectors"):
        bench_model(bundle, "sim")


@pytest.mark.parametrize(
    ("shape", "present", "message"),
    [
        (Shape(tokens=4), 5, "5 tokens cannot be present among 4"),
        (Shape(tokens=4, hidden=64, heads=5), 4, "5 heads do not divide 64"),
        (Shape(tokens=4, layers=0), 4, "at least 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(shape: Shape, present: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench_encoder(random_bundle(shape), present, "sim")


def test_the_link_is_measured_next_to_raw_bytes(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "link", "--seconds", "0.05", "--rounds", "2", "--line-rate", "2e6", "--json"]
    assert execute(arguments) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["board"] == "sim" and document["line_bytes_per_s"] == 2e6
    assert 0 < document["raw_bytes_per_s"] < 3e6  # held to the rate, but for a burst
    assert document["words_bytes_per_s"] > 0 and document["payload_bytes_per_s"] > 0
    for base in ("raw", "words"):
        ratio = document["payload_bytes_per_s"] / document[f"{base}_bytes_per_s"]
        assert document[f"payload_of_{base}"] == pytest.approx(ratio, abs=1e-3)
    assert document["events"] == event_words(document["bytes"]) > 0
    assert document["frames_resent"] == 0


def event_words(n: int) -> int:
    """Events in n bytes of the stream that is measured."""
    return int(np.count_nonzero(np.frombuffer(event_bytes(n), "<u4") >> 28 <= 1))


def test_a_round_in_which_the_device_loses_events_is_no_measurement() -> None:
    events = np.zeros(100, spedge.EVENT_DTYPE)
    data = encode_words(events).tobytes()
    board = load_board("sim")
    with running(board, build(board, None, program="bench/link").path) as (line, _):
        assert _ask(line, _CONFIGURE, pack_tokenizer(_TOKENIZER))[1:] == (0, 0)
        assert _ask(line, _FORGET, data)[1:] == (0, 0)
        for _ in range(2):  # a new stream each time
            assert _ask(line, _TOKENIZE, data)[1:] == (100, 0)
        with pytest.raises(DeviceError, match="took 0 of 100 events and lost 100"):
            _words_seconds(line, data[4:], 100)  # without the time word
        assert _words_seconds(line, data, 100) > 0


@pytest.mark.parametrize("name", BOARDS)
def test_the_chain_of_a_causal_model_is_within_its_bound(name: str, tmp_path: Path) -> None:
    """Its calls go deeper: encode, step, a part of it, a kernel."""
    board = load_board(name)
    if board.missing:
        pytest.skip(f"not installed: {', '.join(tool.program for tool in board.missing)}")
    causal = replace(SMALL, causal=True)
    report = bench_model(make_bundle(tmp_path / "causal", make_encoder(causal), causal, samples=2), name)
    assert report.max_abs_error <= 1e-5
    assert 0 < report.stack_bytes <= report.stack_bound_bytes
