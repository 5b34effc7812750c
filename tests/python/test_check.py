"""check: what it compares, what it reports, and that it can fail."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.base.errors import DeviceError, InputError, UsageError
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.jobs.check import CheckReport, check, count_difference, token_difference
from spedge.jobs.given import require_recordings
from spedge.link.counts import Stats
from spedge.link.protocol import Result
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.recordings import write
from tests.events import scattered
from tests.needs import needs
from tests.tiny import SMALL_FRAMES, build_firmware, model_source, tiny_bundle

needs("cc")


@pytest.fixture(scope="module", params=[(), SMALL_FRAMES], ids=["as shipped", "small frames"])
def flags(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


def recording(path: Path, n: int = 3000, start: int = 123_456_789, side: int = 34, seed: int = 0) -> Path:
    write(path, scattered(n, 100 * n, seed, side, start), side, side)
    return path


def test_the_report_is_the_documented_json(bundle: Bundle, device: Device, tmp_path: Path) -> None:
    paths = [recording(tmp_path / "a.npz"), recording(tmp_path / "b.npz", seed=1)]
    said: list[str] = []
    report = check(bundle, paths, device, on_progress=said.append)
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (document["schema"], document["board"], document["passed"]) == (1, "sim", True)
    promised = {
        "path", "events_sent", "events_device", "tokens_host", "tokens_device", "tokens_equal", "logits_max_abs_diff",
        "label_host", "label_device", "instructions",
    }  # fmt: skip
    for path, entry in zip(paths, document["recordings"], strict=True):
        assert promised <= set(entry)
        assert entry["path"] == str(path)
        assert entry["events_sent"] == entry["events_device"] == 3000
        assert entry["tokens_host"] == entry["tokens_device"] > 50
        assert entry["tokens_equal"] is True
        assert 0 <= entry["logits_max_abs_diff"] < 1e-5
        assert entry["label_host"] == entry["label_device"] in bundle.labels
        assert entry["instructions"] == dict.fromkeys(("tokenize", "embed", "encode"))  # sim counts ns
        assert all(entry["cost"][stage] > 0 for stage in ("tokenize", "embed", "encode"))
        kept = entry["events_device"] - sum(entry["events_dropped"].values()) - entry["events_pending"]
        assert kept == 16 * entry["tokens_device"]
    assert document["cost_unit"] == "ns"
    assert any("a.npz (1 of 2)" in text for text in said)


@pytest.mark.parametrize("every", [{"every_us": 20_000}, {"every_tokens": 7}, {"every_us": 30_000, "window_us": 9000}])
def test_results_on_the_way_are_compared_too(bundle: Bundle, device: Device, tmp_path: Path, every: dict) -> None:
    report = check(bundle, [recording(tmp_path / "a.npz"), recording(tmp_path / "b.npz", seed=1)], device, **every)
    assert [r.problem for r in report.recordings] == [None, None]
    assert all(r.results > 5 for r in report.recordings)
    assert report.to_json()["recordings"][0]["results"] == report.recordings[0].results


@pytest.mark.parametrize("seconds", [100, 300, 2_000, 40_000, 1_000_000])
def test_a_window_with_a_long_pause_in_it_passes(bundle: Bundle, device: Device, tmp_path: Path, seconds: int) -> None:
    """Host and device once rounded the phase of a large time each in its own way: it failed from minutes on."""
    assert len(Reference(bundle).window(tokens := paused(bundle, seconds))) == len(tokens) > 2
    write(tmp_path / "pause.npz", paused_events(seconds), 34, 34)
    (outcome,) = check(bundle, [tmp_path / "pause.npz"], device).recordings
    assert outcome.problem is None
    assert outcome.logits_max_abs_diff is not None and outcome.logits_max_abs_diff < 1e-5


@pytest.mark.parametrize("positions", [np.float32, np.float64])
def test_old_bundles_know_long_pauses_too(tmp_path: Path, positions: type) -> None:
    """model.onnx took float32 positions once: the oracle then computes them itself."""
    bundle = tiny_bundle(tmp_path / "bundle", positions=positions)
    reference = Reference(bundle)
    for seconds in (1, 300, 1_000_000):
        tokens = paused(bundle, seconds)
        device = reference.encode(reference.encoder_input(tokens))
        assert np.abs(reference.logits(tokens) - device).max() < 1e-5


def paused_events(seconds: int) -> np.ndarray:
    """48 events in one patch, a pause, 48 in another; the pause is no whole number of anything."""
    n = np.arange(96)
    events = np.zeros(96, spedge.EVENT_DTYPE)
    events["t"] = n * 3 + np.where(n < 48, 0, seconds * 1_000_000 + 17)
    events["x"], events["y"], events["p"] = np.where(n < 48, 5, 21), np.where(n < 48, 9, 17), n & 1
    return events


def paused(bundle: Bundle, seconds: int) -> spedge.Tokens:
    return Reference(bundle).compute(paused_events(seconds)).tokens


def test_a_wrong_result_on_the_way_fails_the_check(
    bundle: Bundle, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = device.take_results
    monkeypatch.setattr(device, "take_results", lambda: honest()[:-1])
    report = check(bundle, [recording(tmp_path / "a.npz")], device, every_us=20_000)
    assert "results and the device made" in str(report.recordings[0].problem)


@pytest.mark.parametrize("start", [0, 2**34 - 10_000, 2**34 * 5 + 77, 1_763_000_000_000_000])
def test_any_time_base_is_compared(bundle: Bundle, device: Device, tmp_path: Path, start: int) -> None:
    report = check(bundle, [recording(tmp_path / "a.npz", 1000, start)], device)
    assert report.recordings[0].problem is None
    assert report.recordings[0].tokens_device > 10


def test_few_events_and_no_token_are_fine(bundle: Bundle, device: Device, tmp_path: Path) -> None:
    report = check(bundle, [recording(tmp_path / "a.npz", 3)], device)
    assert report.passed
    assert report.recordings[0].tokens_device == 0


def test_a_model_that_computes_something_else_fails(bundle: Bundle, tmp_path: Path) -> None:
    image = build_firmware("sim", tmp_path / "firmware", model_source(bundle, head_scale=1.001))
    with open_board(load_board("sim"), image) as device:
        report = check(bundle, [recording(tmp_path / "a.npz")], device)
    assert not report.passed
    assert report.recordings[0].tokens_equal
    assert "difference of a logit" in str(report.recordings[0].problem)
    assert json.loads(json.dumps(report.to_json()))["passed"] is False


def test_a_tokenizer_that_computes_something_else_fails(bundle: Bundle, tmp_path: Path) -> None:
    source = model_source(bundle).replace(".threshold = 16.0", ".threshold = 17.0")
    image = build_firmware("sim", tmp_path / "firmware", source)
    with open_board(load_board("sim"), image) as device:
        report = check(bundle, [recording(tmp_path / "a.npz")], device)
    assert not report.passed
    assert not report.recordings[0].tokens_equal


def test_an_event_that_goes_missing_fails(
    bundle: Bundle, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Device.send
    monkeypatch.setattr(Device, "send", lambda self, words, *rest: send(self, words[:-1], *rest))
    report = check(bundle, [recording(tmp_path / "a.npz")], device)
    assert report.recordings[0].problem == "3000 events were sent and the device knows of 2999"


def test_logits_that_are_no_number_fail(
    bundle: Bundle, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Device.infer

    def broken(self: Device) -> Result:
        result = infer(self)
        return replace(result, outputs={"logits": np.full_like(result.logits, math.nan)})

    monkeypatch.setattr(Device, "infer", broken)
    report = check(bundle, [recording(tmp_path / "a.npz")], device)
    assert not report.passed
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["recordings"][0]["logits_max_abs_diff"] is None


def test_no_recording_is_no_pass() -> None:
    assert not CheckReport("sim", "ns", ()).passed


def test_a_small_pool_loses_the_same_on_both_sides(bundle: Bundle, tmp_path: Path) -> None:
    """A board with little memory: what does not fit is lost by the rule, counted, and lost on the host, too."""
    flags = ("-DSP_PORT_MEMORY_BYTES=16384u",)
    image = build_firmware("sim", tmp_path / "firmware", model_source(bundle), flags)
    with open_board(load_board("sim"), image) as device:
        report = check(bundle, [recording(tmp_path / "a.npz")], device)
    assert report.recordings[0].problem is None
    assert report.recordings[0].events_dropped["pool_lost"] > 0


def test_another_sensor_size_and_damage_are_found_before_any_device(bundle: Bundle, tmp_path: Path) -> None:
    good, large = recording(tmp_path / "a.npz"), recording(tmp_path / "large.npz", side=64)
    require_recordings(bundle, [good])
    with pytest.raises(UsageError, match=r"large.npz is 64x64 .*'tiny' is for 34x34"):
        require_recordings(bundle, [good, large])
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(good.read_bytes()[:500])
    with pytest.raises(InputError, match=r"damaged.npz"):
        require_recordings(bundle, [good, damaged])


def test_another_model_is_refused_with_both_named(device: Device, tmp_path: Path) -> None:
    other = tiny_bundle(tmp_path / "other", seed=5)
    with pytest.raises(DeviceError, match=f"holds model 'tiny' .*{other.hash[:12]}"):
        check(other, [recording(tmp_path / "a.npz")], device)


# ---- the comparison itself ---------------------------------------------------------------------------------------


def tokens_of(bundle: Bundle, tmp_path: Path) -> np.ndarray:
    events = spedge.open(recording(tmp_path / "t.npz")).events()
    return as_reported(Reference(bundle).tokenizer().push(events))


@pytest.mark.parametrize("field", ["x", "y", "t", "n", "crc"])
def test_every_field_of_a_token_counts(bundle: Bundle, tmp_path: Path, field: str) -> None:
    host = tokens_of(bundle, tmp_path)
    device = host.copy()
    assert token_difference(host, device) is None
    device[field][7] += 1
    assert str(token_difference(host, device)).startswith(f"token 7 differs in {field}: host (")


def test_missing_and_further_tokens_are_differences(bundle: Bundle, tmp_path: Path) -> None:
    host = tokens_of(bundle, tmp_path)
    assert "the host made" in str(token_difference(host, host[:-1]))
    assert "the host made" in str(token_difference(host[:-1], host))
    assert token_difference(host[:0], host[:0]) is None


def test_every_count_counts(bundle: Bundle, tmp_path: Path) -> None:
    tokenizer = Reference(bundle).tokenizer()
    tokenizer.push(spedge.open(recording(tmp_path / "t.npz")).events())
    names = ("taken", "in_tokens", "pending", "refractory", "decayed", "pool_lost", "outside", "backwards", "tokens")
    same: dict[str, Any] = dict.fromkeys(Stats.__dataclass_fields__, 0)
    same |= {name: getattr(tokenizer.stats, name) for name in names}
    assert count_difference(tokenizer.stats, Stats(**same)) is None
    for name in names:
        assert f"'{name}'" in str(count_difference(tokenizer.stats, Stats(**same | {name: same[name] + 1})))


# ---- the reference -----------------------------------------------------------------------------------------------


def test_oracle_and_encoder_agree(bundle: Bundle, tmp_path: Path) -> None:
    """Dense volumes through model.onnx against the sparse C embedding through encoder.onnx."""
    reference = Reference(bundle)
    tokens = reference.tokenizer().push(spedge.open(recording(tmp_path / "a.npz")).events())
    for count in (0, 1, 5, 24, 25, len(tokens)):
        first = tokens.last(count)
        rows = reference.encoder_input(first)
        assert rows.shape == (min(count, bundle.tokens), bundle.token_input.embedding.hidden)
        assert np.abs(reference.encode(rows) - reference.logits(first)).max() < 1e-5


def test_results_do_not_depend_on_when(bundle: Bundle, tmp_path: Path) -> None:
    reference = Reference(bundle)
    a = reference.compute(spedge.open(recording(tmp_path / "a.npz", start=0)).events())
    b = reference.compute(spedge.open(recording(tmp_path / "b.npz", start=10**12)).events())
    assert len(a.tokens) > bundle.tokens
    assert a.logits.tolist() == b.logits.tolist()
