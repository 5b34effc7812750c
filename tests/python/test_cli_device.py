"""build, flash, run and check on the simulated board, with a bundle whose C is written by hand instead of by TVM."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.base.paths import cache_dir
from spedge.boards.build import compile_model
from spedge.boards.manifest import Board
from spedge.device.open import open_board
from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.ends import children
from tests.events import scattered
from tests.needs import needs
from tests.tiny import model_source, tiny_bundle

needs("platformio", "cc")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for all tests of this file, so that the firmware is built once."""
    path = tmp_path_factory.getbasetemp() / "cache-of-test-cli-device"
    monkeypatch.setenv("SPEDGE_CACHE", str(path))
    monkeypatch.setattr("spedge.boards.build.compile_model", hand_written)
    return path


def hand_written(
    bundle: Bundle, target: str, on_progress: object = None, precision: str = "fp32", head_scale: float = 1.0
) -> Path:
    """Stands in for compile_model."""
    folder = cache_dir() / f"hand-written-{target}-{head_scale}"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        (folder / "model.c").write_text(model_source(bundle, head_scale))
        (folder / "report.json").write_text('{"arena_bytes": 1}')
    return folder


def recording(path: Path, seed: int = 0, side: int = 34) -> Path:
    write(path, scattered(3000, 300_000, seed, side, 123_456_789), side, side)
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.execute([str(argument) for argument in arguments])
    return (code, *capsys.readouterr())


def test_build_and_flash_say_what_they_made(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "build", bundle.path, "--board", "sim", "--report", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["model_hash"] == bundle.hash
    assert Path(document["image"]).is_file()
    assert document["report"]["flash_bytes"] == document["flash_bytes"]
    assert document["report"]["stack_bytes"] is None  # it has an operating system
    code, out, _ = call(capsys, "flash", bundle.path, "--board", "sim")
    assert code == 0
    assert "nothing to flash" in out and document["image"] in out


def test_check_passes_and_reports_as_promised(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [recording(tmp_path / f"{seed}.raw", seed) for seed in (1, 2)]
    code, out, err = call(capsys, "check", bundle.path, *paths, "--board", "sim", "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["schema"], document["board"], document["passed"]) == (1, "sim", True)
    assert [entry["path"] for entry in document["recordings"]] == list(map(str, paths))
    for entry in document["recordings"]:
        assert entry["events_sent"] == entry["events_device"] == 3000
        assert entry["tokens_host"] == entry["tokens_device"] > 24
        assert entry["tokens_equal"] is True
        assert 0 <= entry["logits_max_abs_diff"] <= 1e-4
        assert entry["label_host"] == entry["label_device"]
        assert set(entry["instructions"]) == {"tokenize", "embed", "encode"}
    code, out, _ = call(capsys, "check", bundle.path, *paths, "--html", tmp_path / "report.html")
    assert code == 0
    written = (tmp_path / "report.html").read_text()
    assert "2 of 2 passed" in written and "model on the device" in written and written.count("<polyline") > 4
    assert "2 of 2 recordings passed" in out and "1.raw" in out and "3,000" in out


def test_check_shows_host_and_device_until_it_is_interrupted(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report and the exit code are those of the check, and come before the page ends."""
    needs("starlette", "uvicorn", "wsproto")
    from spedge.cli import pages
    from tests.page_client import Page

    seen: list[dict[str, Any]] = []

    def look(address: str) -> None:
        page, version = Page(address), 0
        while version < 2:  # both were checked
            time.sleep(0.02)
            version = page.ask("state", seen=version)["version"]
        seen.append(page.ask("show", number=1)["about"])
        seen.append(page.ask("series"))
        page.close()

    def wait() -> None:
        looking[0].start()
        looking[0].join()
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
        until_interrupted()

    until_interrupted, looking = pages._until_interrupted, []
    monkeypatch.setattr(pages, "_until_interrupted", wait)
    monkeypatch.setattr(
        pages, "open_browser", lambda address: looking.append(threading.Thread(target=look, args=(address,)))
    )
    paths = [recording(tmp_path / f"{seed}.raw", seed) for seed in (1, 2)]
    code, out, err = call(capsys, "check", bundle.path, *paths, "--every-ms", "100", "--view", "--json")
    document = json.loads(out)
    assert (code, document["passed"]) == (0, True)
    assert f"{bundle.name} is at http://127.0.0.1:" in err
    assert seen[0]["name"] == "2.raw" and seen[1]["verdict"]["equal"]
    assert len(seen[1]["device"]["t"]) == document["recordings"][1]["results"] + 1
    code, _, err = call(capsys, "check", bundle.path, "--board", "host", "--view")
    assert code == 2 and "--board host has no device" in err


def test_check_with_a_camera_on_the_board(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [recording(tmp_path / f"{seed}.raw", seed) for seed in (1, 2)]
    code, out, err = call(capsys, "check", bundle.path, *paths, "--camera", "edvs-e2", "--json")
    document = json.loads(out)
    assert (code, err, document["passed"]) == (0, "", True)
    assert all(entry["events_device"] == 3000 and entry["tokens_device"] > 24 for entry in document["recordings"])
    code, out, err = call(capsys, "check", bundle.path, paths[0], "--camera", "evt9")
    assert (code, out) == (2, "")
    assert "no camera format 'evt9'; known are evt2, " in err
    code, out, err = call(capsys, "check", bundle.path, paths[0], "--camera", "frames")
    assert code == 2 and "sends what it sees, and no recording" in err and "spedge stream board" in err


def test_check_fails_with_code_1_when_the_device_computes_something_else(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(bundle: Bundle, target: str, on_progress: object = None, precision: str = "fp32") -> Path:
        return hand_written(bundle, target, head_scale=1.01)

    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("spedge.boards.build.compile_model", off)
    path = recording(tmp_path / "a.raw")
    code, out, err = call(capsys, "check", bundle.path, path)
    assert (code, err) == (1, "")
    assert "FAILED" in out and "0 of 1 recordings passed" in out
    assert "a.raw: the largest difference of a logit" in out
    code, out, _ = call(capsys, "check", bundle.path, path, "--json")
    assert code == 1
    assert json.loads(out)["passed"] is False


def test_run_prints_results_as_the_recording_goes(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "a.raw")
    code, out, err = call(capsys, "run", bundle.path, path, "--every-ms", 50, "--json", "--out", tmp_path / "r.jsonl")
    *lines, last = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [line["index"] for line in lines] == list(range(len(lines)))
    assert [line["cause"] for line in lines] == ["every_us"] * (len(lines) - 1) + ["asked"]
    times = [line["t_us"] for line in lines[:-1]]
    assert times == list(range(times[0], times[-1] + 1, 50_000)) and len(times) == 6
    assert all(line["label"] == max(line["logits"], key=line["logits"].get) for line in lines)
    assert all(0 < line["confidence"] <= 1 for line in lines)
    summary = last["summary"]
    assert summary["events_offered"] == summary["events_accepted"] == 3000
    assert summary["all_accounted"] and summary["results"] == len(lines) and not any(summary["lost"].values())
    assert [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()] == lines
    code, out, _ = call(capsys, "run", bundle.path, path, "--every-ms", 0)
    assert code == 0
    assert lines[-1]["label"] in out.splitlines()[0] and "all accounted     yes" in out
    for wrong in (["--every-ms", -5], ["--speed", 0], ["--crop", "left"], ["--mode", "fast"], ["--source", path]):
        assert call(capsys, "run", bundle.path, path, *wrong)[0] == 2, wrong


def test_run_looks_at_a_part_of_a_larger_sensor(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "wide.raw", side=100)
    events = spedge.open(path).events()
    inside = (events["x"] >= 50) & (events["x"] < 84) & (events["y"] >= 60) & (events["y"] < 94)
    code, out, _ = call(capsys, "run", bundle.path, path, "--crop", "50,60", "--json")
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert code == 0 and summary["events_accepted"] == np.count_nonzero(inside)
    code, _, err = call(capsys, "run", bundle.path, path, "--crop", "67,60")
    assert code == 2 and "reach outside" in err


def test_pixels_of_a_larger_sensor_are_taken_together(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "wide.raw", side=100)
    code, out, _ = call(capsys, "check", bundle.path, path, "--bin", 2, "--every-ms", 50, "--json")
    (entry,) = json.loads(out)["recordings"]
    assert code == 0 and entry["tokens_equal"] and entry["results"] > 3
    events = spedge.open(path).events()
    inside = (events["x"] >= 16) & (events["x"] < 84) & (events["y"] >= 16) & (events["y"] < 84)
    assert entry["events_dropped"]["outside"] == 3000 - np.count_nonzero(inside)
    code, out, _ = call(capsys, "run", bundle.path, path, "--bin", 2, "--json")
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert code == 0 and summary["events_accepted"] == np.count_nonzero(inside)
    code, _, err = call(capsys, "run", bundle.path, path)
    assert code == 2 and "or --crop X,Y to look at 34x34 pixels of it, or --bin N" in err
    for options in (("--crop", "90,1"), ("--crop", "100,1", "--bin", 2)):
        code, _, err = call(capsys, "check", bundle.path, path, *options)
        assert code == 2 and "reach outside" in err
    code, _, err = call(capsys, "check", bundle.path, "--board", "host", "--bin", 2)
    assert code == 2 and "--board host has no device" in err


def test_run_in_real_time_is_live(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path / "a.raw")
    code, out, _ = call(capsys, "run", bundle.path, "--source", path, "--speed", 1, "--every-tokens", 4, "--json")
    *lines, last = [json.loads(line) for line in out.splitlines()]
    summary = last["summary"]
    assert code == 0 and summary["all_accounted"]
    assert summary["seconds"] >= 0.29
    assert summary["events_offered"] == 3000 == summary["events_accepted"] + sum(summary["lost"].values())
    assert {line["cause"] for line in lines} == {"every_us", "every_tokens", "asked"}


def test_ctrl_c_ends_a_run_with_a_summary(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path / "a.raw")
    before = signal.getsignal(signal.SIGINT)
    out_path = tmp_path / "r.jsonl"
    over = threading.Event()

    def interrupt() -> None:
        while not (out_path.exists() and out_path.stat().st_size):
            if over.wait(0.05):
                return
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        code, out, _ = call(
            capsys, "run", bundle.path, path, "--speed", 0.01, "--every-ms", 10, "--json", "--out", out_path
        )
    finally:
        over.set()
        thread.join()
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert code == 0 and signal.getsignal(signal.SIGINT) is before
    assert summary["all_accounted"] and 0 < summary["events_offered"] < 3000


def test_a_bundle_for_another_sensor_is_refused_before_anything_is_built(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spedge.boards.build.build", None)
    path = recording(tmp_path / "wide.raw", side=40)
    for verb in ("check", "run"):
        code, out, err = call(capsys, verb, bundle.path, path)
        assert (code, out) == (2, "")
        assert "40x40" in err and "34x34" in err and err.count("\n") == 1


def test_a_damaged_recording_is_refused_before_anything_is_built(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spedge.boards.build.build", None)
    path = recording(tmp_path / "a.raw")
    path.write_bytes(path.read_bytes()[:-3])
    for verb in ("check", "run"):
        code, out, err = call(capsys, verb, bundle.path, path)
        assert (code, out) == (4, "")
        assert "a.raw" in err and err.count("\n") == 1


def test_a_port_that_is_not_there_is_code_3(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path / "a.raw")
    code, out, err = call(capsys, "check", bundle.path, path, "--device", tmp_path / "tty")
    assert (code, out) == (3, "")
    assert err.count("\n") == 1


def test_a_device_with_another_model_is_named(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_bundle(tmp_path / "other", seed=1)
    path = recording(tmp_path / "a.raw")
    image = Path(json.loads(call(capsys, "build", bundle.path, "--json")[1])["image"])

    def wrong(board: Board, _: Path, **__: object) -> object:
        return open_board(board, image)

    monkeypatch.setattr("spedge.device.open.open_board", wrong)
    for verb in ("check", "run"):
        code, out, err = call(capsys, verb, other.path, path)
        assert (code, out) == (3, "")
        assert bundle.hash[:12] in err and other.hash[:12] in err


def test_compiling_without_tvm_names_the_extra(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tvm" else find(name))
    with pytest.raises(spedge.UsageError, match=r"spedge\[compile\]"):
        compile_model(bundle, "native")


def test_a_device_that_stops_answering_is_code_3_within_10_s(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording(tmp_path / "a.raw")
    call(capsys, "build", bundle.path)

    def hanging(board: Board, image: Path, **_: object) -> object:
        before = set(children(os.getpid()))
        device = open_board(board, image)
        (process,) = set(children(os.getpid())) - before
        os.kill(process, signal.SIGSTOP)
        device.owns(lambda: os.kill(process, signal.SIGCONT))
        return device

    monkeypatch.setattr("spedge.device.open.open_board", hanging)
    start = time.monotonic()
    code, out, err = call(capsys, "check", bundle.path, path)
    assert (code, out) == (3, "")
    assert err.startswith("spedge: error: sim does not answer") and err.count("\n") == 1
    assert time.monotonic() - start < 10


def test_a_full_disk_is_a_sentence(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "run", bundle.path, recording(tmp_path / "a.raw"), "--json", "--out", "/dev/full")
    assert (code, err) == (2, "spedge: error: the output cannot be written: No space left on device\n")


def test_what_is_no_serial_port_is_said_to_be_none(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "run", bundle.path, "--source", "edvs:/dev/null")
    assert (code, out, err) == (3, "", "spedge: error: /dev/null is no serial port\n")
