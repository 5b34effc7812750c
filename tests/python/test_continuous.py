"""Continuous inference and live mode on the `sim` board: results when they are due, and every event accounted for."""

from __future__ import annotations

import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.base.errors import DeviceError, UsageError
from spedge.boards.manifest import load_board
from spedge.cameras import EmulatedCamera
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.events.words import encoder
from spedge.jobs.results import check_results, expected_results, result_difference, results_difference, stream_times
from spedge.link.counts import Status
from spedge.link.faults import Faults, FaultyTransport
from spedge.link.frames import ErrorCode, Frame, FrameReader, Type
from spedge.link.protocol import Configuration, Error, Result
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.tokens.settings import TokenizerSettings
from tests.events import scattered
from tests.needs import needs
from tests.tiny import SANITIZED, Slow, Tap, build_firmware, live_payload, model_source, play_live

needs("cc")


SETTINGS = TokenizerSettings(34, 34, 4, 12.0)
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    return SANITIZED


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> Reference:
    return Reference(bundle)


def some_events(n: int = 6000, seed: int = 0, gap: int = 40, side: int = 34) -> np.ndarray:
    return scattered(n, gap * n, seed, side, 5000)


# ---- results that come as the stream goes on ---------------------------------------------------------------------

TRIGGERS = [
    {"every_us": 10_000},
    {"every_us": 10_000, "window_us": 7000},
    {"every_us": 777, "window_us": 30_000},
    {"every_tokens": 1},
    {"every_tokens": 17, "window_us": 20_000},
    {"every_us": 5000, "every_tokens": 10, "push": True, "report_tokens": 5},
    {"every_us": 30_000, "push": True},
]


@pytest.mark.parametrize("triggers", TRIGGERS, ids=lambda t: "-".join(f"{k}={v}" for k, v in t.items()))
def test_results_are_those_of_the_host(device: Device, reference: Reference, triggers: dict[str, Any]) -> None:
    events = some_events()
    configuration = Configuration(**triggers)
    configured = device.configure(configuration)
    assert configured.results == 8
    tokens = reference.compute(events, configured.pool_events).tokens
    for _ in range(2):
        words = encode_words(events)
        data = words.tobytes()
        results: list[Result] = []
        for at in range(0, len(data), 2999):  # words are cut
            device.send(data[at : at + 2999])
            results += device.take_results()
        device.flush()
        results += device.take_results()
        assert len(results) > 5
        assert check_results(reference, tokens, results, configuration, TOLERANCE, words) is None
        assert all(0 < r.latency < 10**10 for r in results)
        assert results[-1].loss.lost == 0
        stats = device.stats()
        assert stats.imbalance(len(events)) is None
        assert (stats.results, stats.results_kept) == (len(results), 0)
        if configuration.report_tokens:
            assert device.tokens().tolist() == as_reported(tokens).tolist()
        asked = device.infer()
        assert (asked.cause, asked.index, asked.newest) == ("asked", len(results), len(tokens))
        assert result_difference(reference, tokens, asked, configuration.window_us, TOLERANCE)[1] is None
        device.reset()


def test_a_difference_is_found(device: Device, reference: Reference) -> None:
    """What check_results says of results that are not the host's."""
    events = some_events(3000)
    configuration = Configuration(every_us=10_000, every_tokens=20, window_us=50_000)
    tokens = reference.compute(events, device.configure(configuration).pool_events).tokens
    words = encode_words(events)
    device.send(words)
    device.flush()
    good = device.take_results()

    def problem(results: list[Result], words: np.ndarray | None = words) -> str | None:
        return check_results(reference, tokens, results, configuration, TOLERANCE, words)

    assert problem(good) is None
    assert "is missing" in str(problem(good[:3] + good[4:]))
    assert "the device made" in str(problem(good[:-1]))
    assert "the host expects" in str(problem([replace(good[0], t=good[0].t + 1), *good[1:]]))
    last = good[-1]
    assert "largest difference of a logit is" in str(
        problem([replace(last, outputs={"logits": last.logits + 0.01})], None)
    )
    assert "the host's window has" in str(problem([replace(last, window=last.window - 1)], None))
    assert "the model failed with code -4" in str(problem([replace(last, code=-4)], None))
    assert "the host made" in str(problem([replace(last, newest=10**6)], None))


def test_expected_results_by_hand() -> None:
    """Times 3, 12, 38, 40; boundaries at 10s: 12 crosses 10, 38 crosses 20 and 30, 40 is one itself."""
    times = np.array([3, 12, 38, 40])
    found = expected_results(np.array([12, 38, 40]), times, every_us=10, every_tokens=2)
    assert [(e.cause, e.t, e.newest) for e in found] == [
        ("every_us", 10, 0),
        ("every_us", 30, 1),
        ("every_tokens", 38, 2),
        ("every_us", 40, 2),
    ]
    assert results_difference(found, []) == "the host expects 4 results and the device made 0"
    words = encode_words(np.array([(100, 1, 1, 1), (130, 1, 1, 1)], spedge.EVENT_DTYPE))
    assert stream_times(words).tolist() == [64, 100, 128, 130]


def test_processing_waits_for_results_that_nobody_reads(device: Device, reference: Reference) -> None:
    events = some_events(2000, side=8)
    device.configure(Configuration(every_tokens=2))
    words = encode_words(events).tobytes()[: 6 * 1024]
    for seq in range(6):
        device.link._out += Frame(Type.EVENTS, seq, device.session.id, words[1024 * seq : 1024 * (seq + 1)]).encode()
    for _ in range(50):
        device.link.pump(0.02)
        stats = device.stats()
        if stats.results == 8:
            break
    assert (stats.results, stats.results_kept, stats.tokens) == (8, 8, 16)
    assert stats.status.queued > 0
    with pytest.raises(DeviceError, match="unread tokens or results"):
        device.link.request(Type.INFER)
    first = device.link.request(Type.RESULTS, struct.pack("<I", 3))
    assert Result.unpack(first.payload, device.outputs).index == 3
    assert (device.stats().results, device.stats().results_kept) == (11, 8)
    with pytest.raises(DeviceError, match="no such result"):
        device.link.request(Type.RESULTS, struct.pack("<I", 12))
    device.flush()
    assert device.stats().loss.lost == 0
    assert [r.index for r in device.take_results()] == list(range(3, device.stats().results))


def test_results_come_over_a_bad_line(image: Path, reference: Reference) -> None:
    events = some_events(5000, seed=5)
    words = encode_words(events)
    configuration = Configuration(every_us=4000, push=True, report_tokens=16)
    with open_board(load_board("sim"), image) as device:
        tokens = reference.compute(events, device.configure(configuration).pool_events).tokens
        line = FaultyTransport(device.link.transport, Faults(0.03, 0.03, 0.03, swap=0.03, noise=0.03, seed=2))
        device.link.transport = line
        device.send(words)
        assert device.tokens().tolist() == as_reported(tokens).tolist()
        results = device.take_results()
        assert check_results(reference, tokens, results, configuration, TOLERANCE, words) is None
        assert line.done.total() > 10


def test_a_model_that_fails_says_so_in_its_result(bundle: Bundle, tmp_path: Path) -> None:
    source = model_source(bundle).replace("return SP_OK;", "return count == 5 ? SP_ERR_FORMAT : SP_OK;")
    with open_board(load_board("sim"), build_firmware("sim", tmp_path / "firmware", source, SANITIZED)) as device:
        device.configure(Configuration(every_tokens=1))
        device.send(encode_words(some_events(500, side=8)))
        device.flush()
        results = device.take_results()
        assert [r.code for r in results[:6]] == [0, 0, 0, 0, -4, 0]
        assert np.isnan(results[4].logits).all()
        assert np.isfinite(results[5].logits).all()


# ---- formats and sources -----------------------------------------------------------------------------------------


FORMATS = ("evt2", "evt2.1", "evt2.1-legacy", "evt3", "edvs-e1", "edvs-e2", "edvs-e3", "edvs-e4")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("report_tokens", [0, 3])
def test_every_format_makes_the_same_tokens_and_results(
    device: Device, reference: Reference, name: str, report_tokens: int
) -> None:
    events = some_events(4000, gap=9)  # within one wrap of every clock
    configuration = Configuration(format=name, every_us=3000, every_tokens=9, report_tokens=report_tokens)
    tokens = reference.compute(events, device.configure(configuration).pool_events).tokens
    data = encoder(name)(events)
    for at in range(0, len(data), 1777):
        device.send(data[at : at + 1777])
    device.flush()
    if report_tokens:
        assert device.tokens().tolist() == as_reported(tokens).tolist()
    results = device.take_results()
    assert len(results) > 10
    assert check_results(reference, tokens, results, configuration, TOLERANCE) is None
    stats = device.stats()
    assert stats.imbalance(len(events)) is None
    assert stats.taken == len(events)
    assert stats.tokens == len(tokens)


def test_events_in_ram_are_played_once_and_again_after_a_reset(
    image: Path, reference: Reference, tmp_path: Path
) -> None:
    events = some_events(6000)
    words = encode_words(events)
    (tmp_path / "events").write_bytes(words.tobytes())
    process = subprocess.Popen([image, tmp_path / "events"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process, Device.open(process.stdout.readline().strip()) as device:
        device.owns(process.kill)
        assert device.hello.has_ram
        configuration = Configuration(source="ram", every_us=10_000, report_tokens=7)
        tokens = reference.compute(events, device.configure(configuration).pool_events).tokens
        for _ in range(2):
            assert device.tokens().tolist() == as_reported(tokens).tolist()
            results = device.take_results()
            assert check_results(reference, tokens, results, configuration, TOLERANCE, words) is None
            assert device.stats().imbalance(len(events)) is None
            device.reset()
        with pytest.raises(UsageError, match="come from the board's ram"):
            device.send(words)
        with pytest.raises(DeviceError, match="do not come over the link"):
            device.link.request(Type.EVENTS, words.tobytes()[:100])


@pytest.mark.parametrize(
    ("configuration", "text"),
    [
        (Configuration(SETTINGS, model=False, every_us=10), "results need the model"),
        (Configuration(SETTINGS, model=False, push=True), "results need the model"),
        (Configuration(mode="live", format="evt3"), "EVT2 only"),
        (Configuration(source="ram"), "no events in RAM"),
    ],
)
def test_what_a_device_has_not_is_refused_and_changes_nothing(
    device: Device, configuration: Configuration, text: str
) -> None:
    device.configure(Configuration(SETTINGS, model=False))
    device.send(encode_words(some_events(100)))
    before = device.flush()
    with pytest.raises(DeviceError, match=text):
        device.configure(configuration)
    assert device.flush() == before


def test_numbers_that_mean_nothing_are_refused(device: Device) -> None:
    for bad in ({"format": "evt4"}, {"mode": "dead"}, {"source": "sink"}, {"every_us": -1}, {"window_us": 1 << 32}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            Configuration(**bad)
    good = Configuration().pack(7)
    for at, value in ((4, 4), (6, 4), (6, 15), (6, 21), (7, 2), (72, 3)):
        reply = _ask(device, Type.CONFIGURE, good[:at] + bytes([value]) + good[at + 1 :])
        assert (reply.type, Error.unpack(reply.payload).code) == (Type.ERROR, ErrorCode.VALUE)
    with pytest.raises(DeviceError, match="no session yet"):
        device.flush()


def _ask(device: Device, kind: int, payload: bytes, seq: int = 0) -> Frame:
    """A request by hand, after everything that is still under way."""
    device.link.pump(0.02)
    out, reader = Frame(kind, seq, device.session.id, payload).encode(), FrameReader()
    for _ in range(100):
        written, received = device.link.transport.exchange(out, 0.1)
        out = out[written:]
        for frame in reader.feed(received):
            return frame
    raise TimeoutError


# ---- live mode ---------------------------------------------------------------------------------------------------


def test_a_device_five_times_too_slow_goes_on_at_its_interval(image: Path, reference: Reference) -> None:
    """The line takes a fifth of what the camera gives. Results come at every interval, the loss is even and counted."""
    interval, seconds, rate = 50_000, 2.0, 20_000
    events = some_events(int(rate * seconds), gap=int(1e6 / rate))
    configuration = Configuration(mode="live", every_us=interval, push=True, report_tokens=50_000)
    for _ in range(5):  # until this machine has had time for the line: what it takes is uneven otherwise
        with open_board(load_board("sim"), image) as device:
            pool = device.configure(configuration).pool_events
            slow = Slow(device.link.transport, rate * 4 / 5)
            device.link.transport = tap = Tap(slow)
            played = play_live(device, events)
            stats = device.stats()
            tokens_there = device.tokens()
        if slow.stood < 0.1:
            break
    words = np.concatenate(tap.words)
    accepted = spedge.evt2.Decoder().push(words.tobytes())

    assert stats.imbalance(len(events)) is None
    assert stats.loss.offered == len(events) == stats.taken + stats.loss.link
    assert stats.taken == len(accepted)
    assert 0.1 < len(accepted) / len(events) < 0.3
    assert set(accepted.tolist()) <= set(events.tolist())

    # even: over time, and over the patches
    assert np.diff(accepted["t"].astype(np.int64)).max() < 2 * interval
    for part in np.array_split(np.arange(int(events["t"][-1])), 6)[1:]:  # at first the device has room
        among = (events["t"] >= part[0]) & (events["t"] <= part[-1])
        kept = (accepted["t"] >= part[0]) & (accepted["t"] <= part[-1])
        assert 0.4 < kept.sum() / among.sum() / (len(accepted) / len(events)) < 2
    share = _patches(accepted) / (_patches(events) * len(accepted) / len(events))
    assert 0.5 < share.min() < share.max() < 1.6

    # results: at every interval, as they become due, and right
    times = [result.t for result in played.results]
    last = int(events["t"][-1]) // interval * interval
    assert times == list(range(interval, last + 1, interval))
    assert len(set(played.arrivals)) > 5  # on the way, not at the end
    computed = reference.compute(accepted, pool)
    assert tokens_there.tolist() == as_reported(computed.tokens).tolist()
    assert check_results(reference, computed.tokens, played.results, configuration, TOLERANCE, words) is None
    lossy = [result.loss for result in played.results if result.loss.until]
    assert len(lossy) > 10
    assert all(loss.since <= loss.until for loss in lossy)


def _patches(events: np.ndarray) -> np.ndarray:
    """Events of each patch of 8 pixels that lies wholly on the sensor."""
    on = (events["x"] < 32) & (events["y"] < 32)
    return np.bincount(events["y"][on] // 8 * 4 + events["x"][on] // 8, minlength=16)


@pytest.mark.parametrize(
    "faults", [Faults(drop=0.05, seed=4), Faults(0.05, 0.05, 0.05, swap=0.05, noise=0.02, seed=4)], ids=["drop", "all"]
)
def test_over_a_bad_line_offered_is_taken_and_lost(image: Path, faults: Faults) -> None:
    events = some_events(30_000, gap=30)
    with open_board(load_board("sim"), image) as device:
        device.configure(Configuration(mode="live", every_us=20_000, push=True))
        line = FaultyTransport(Slow(device.link.transport, 60_000), faults)
        device.link.transport = line
        played = play_live(device, events)
        stats = device.stats()
        assert line.done.total() > 5
        assert stats.imbalance(len(events)) is None
        assert stats.loss.offered == len(events) == stats.taken + stats.loss.link
        assert 0 < stats.taken < len(events)
        indices = [result.index for result in played.results]
        assert indices == sorted(set(indices))
        assert len(indices) > stats.results / 2


def test_a_device_that_keeps_up_loses_nothing(device: Device) -> None:
    events = some_events(1000, gap=200)  # so few that the device has room for all, whenever it is run
    events["t"] += 1_700_000_000_000_000  # as a camera's driver may count
    device.configure(Configuration(mode="live", every_us=20_000, push=True))
    played = play_live(device, events)
    stats = device.stats()
    assert stats.imbalance(len(events)) is None
    assert (stats.taken, stats.loss.lost) == (len(events), 0)
    assert all(result.t % 20_000 == played.results[0].t % 20_000 for result in played.results)
    assert events["t"][0] < played.results[0].t < played.results[-1].t <= events["t"][-1]


def test_a_camera_that_is_too_fast_is_thinned_on_the_device(bundle: Bundle, tmp_path: Path) -> None:
    """The camera's bytes are all read; events are left out before they cost much, and counted."""
    slow = model_source(bundle).replace(
        "double sum = 0;", "double sum = 0; for (volatile int k = 0; k < 999999; k++) {}"
    )
    events = some_events(60_000, gap=20)
    with open_board(load_board("sim"), build_firmware("sim", tmp_path / "firmware", slow)) as device:
        assert device.camera_address
        with EmulatedCamera(device.camera_address, events, "evt2", "full") as camera:
            device.configure(Configuration(mode="live", source="camera", every_us=10_000, push=True))
            camera.play()
            results: list[Result] = []
            deadline = time.monotonic() + 30
            while device.stats().loss.offered < len(events) and time.monotonic() < deadline:
                device.wait(0.02)
                results += device.take_results()
        device.flush()
        results += device.take_results()
        stats = device.stats()
    assert stats.imbalance() is None
    assert (stats.loss.offered, stats.loss.sensor, stats.loss.link) == (len(events), 0, 0)
    assert stats.loss.offered == stats.taken + stats.loss.thinned
    assert stats.loss.thinned > 0.05 * len(events)
    assert stats.taken > 0.05 * len(events)
    times = [result.t for result in results]
    steps = np.diff(times) // 10_000
    assert (np.diff(times) == steps * 10_000).all() and (steps >= 1).all()
    assert (steps - 1).sum() == stats.loss.results_dropped  # none where this machine keeps up
    assert [result.loss.thinned for result in results] == sorted(result.loss.thinned for result in results)


def test_results_of_a_live_session_can_be_asked_for_instead(device: Device) -> None:
    """Without push the device keeps the newest, and counts those that it had to drop."""
    events = some_events(6000)
    device.configure(Configuration(mode="live", every_us=5000))
    played = play_live(device, events, take=False)
    results = device.take_results()
    assert played.results == []
    assert [r.index for r in results] == list(range(results[-1].index - 7, results[-1].index + 1))
    stats = device.stats()
    assert stats.results == results[-1].index + 1
    assert stats.loss.results_dropped == stats.results - 8


def test_tokens_of_a_live_session_do_not_hold_it_up(device: Device) -> None:
    device.configure(Configuration(SETTINGS, model=False, mode="live", report_tokens=5))
    play_live(device, some_events(3000))
    status = device.flush()
    assert (status.queued, status.unread) == (0, 5)
    assert status.tokens > 50


def test_live_frames_that_cannot_be_are_refused(device: Device) -> None:
    device.configure(Configuration(SETTINGS, model=False, mode="live"))
    words = encode_words(some_events(20), 0, first=True)
    event, time_word = words[-1:], words[:1]
    good = live_payload(0, 30, words)
    bad = [
        good[:11], good[:12], good[:-1], good[:-2], live_payload(0, 30, event),
        live_payload(0, int((words >> 28 <= 1).sum()) - 1, words), live_payload((1 << 63) + 1, 1, time_word),
        live_payload(0, 3, np.concatenate([time_word, np.array([0xE0000000], np.uint32)])),
    ]  # fmt: skip
    for payload in bad:
        reply = _ask(device, Type.EVENTS, payload)
        assert (reply.type, Error.unpack(reply.payload).code) == (Type.ERROR, ErrorCode.VALUE)
    assert device.stats().loss.offered == 0
    status = Status.unpack(_ask(device, Type.EVENTS, good, seq=6).payload)
    assert status.next_seq == 7
    for _ in range(2):  # late: nothing changes
        assert Status.unpack(_ask(device, Type.EVENTS, good, seq=9).payload).next_seq == 7
    stats = device.stats()
    assert (stats.taken, stats.repeated, stats.loss.offered, stats.loss.link) == (20, 2, 30, 10)
    _ask(device, Type.EVENTS, live_payload(35, 2, time_word), seq=10)  # 5 were lost before, 2 thinned out
    _ask(device, Type.FLUSH, (40).to_bytes(8, "little"))  # and 3 after
    _ask(device, Type.FLUSH, (39).to_bytes(8, "little"))  # of the past
    stats = device.stats()
    assert (stats.loss.offered, stats.loss.link) == (40, 20)
    assert stats.imbalance(40) is None
    assert _ask(device, Type.FLUSH, bytes(5)).type == Type.ERROR


def test_each_mode_has_its_way_to_send(device: Device) -> None:
    device.configure(Configuration(SETTINGS, model=False))
    with pytest.raises(UsageError, match="mode='live'"):
        device.offer(some_events(10))
    with pytest.raises(UsageError, match="mode='live'"):
        device.finish()
    device.configure(Configuration(SETTINGS, model=False, mode="live"))
    with pytest.raises(UsageError, match="mode='lossless'"):
        device.send(b"1234")
