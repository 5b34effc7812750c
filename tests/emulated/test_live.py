"""Live mode and continuous inference on an Arm board in QEMU, whose serial line is slow of itself."""

from __future__ import annotations

import time

import numpy as np
import pytest

import spedge
from spedge.device.open import Device
from spedge.events.evt2 import encode_words
from spedge.jobs.check import LOGITS_TOLERANCE
from spedge.jobs.results import check_results
from spedge.link.faults import Faults, FaultyTransport
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from tests.events import scattered
from tests.tiny import Tap, missing_for, play_live

BOARD = "mps2-an500"
pytestmark = pytest.mark.skipif(missing_for(BOARD) is not None, reason=str(missing_for(BOARD)))


@pytest.fixture(scope="module")
def board() -> str:
    return BOARD


def some_events(n: int, gap: int, seed: int = 0) -> np.ndarray:
    return scattered(n, gap * n, seed)


def test_results_are_those_of_the_host_and_have_a_latency_in_instructions(device: Device, bundle: Bundle) -> None:
    events = some_events(2500, 20)
    words = encode_words(events)
    configuration = Configuration(every_us=6000, every_tokens=20, window_us=15_000, push=True, report_tokens=16)
    reference = Reference(bundle)
    tokens = reference.compute(events, device.configure(configuration).pool_events).tokens
    device.send(words)
    assert device.tokens().tolist() == as_reported(tokens).tolist()
    results = device.take_results()
    assert len(results) > 8
    assert check_results(reference, tokens, results, configuration, LOGITS_TOLERANCE, words) is None
    assert device.hello.cost_unit == "instructions"
    for result in results:  # the encoder, and what was in the way before the bytes were looked at
        assert result.cost_window + result.cost_encode <= result.latency < 10**9


def test_a_recording_five_times_faster_than_the_board_can_take(device: Device, bundle: Bundle) -> None:
    configuration = Configuration(mode="live", every_us=50_000, push=True, report_tokens=50_000)
    gap = 50
    probe = encode_words(some_events(4000, gap))
    device.configure(Configuration(every_us=50_000, push=True))
    can_take = 0.0  # events a second; the best of a few, as others use this machine, too
    for _ in range(3):
        device.reset()
        begin = time.monotonic()
        device.send(probe)
        device.flush()
        can_take = max(can_take, 4000 / (time.monotonic() - begin))

    seconds = 2.0
    events = some_events(int(5 * can_take * seconds), gap)
    pool = device.configure(configuration).pool_events
    tap = Tap(device.link.transport)
    device.link.transport = tap
    played = play_live(device, events, pace=5 * can_take * gap / 1e6)
    stats, there = device.stats(), device.tokens()
    words = np.concatenate(tap.words)
    accepted = spedge.evt2.Decoder().push(words.tobytes())

    assert stats.imbalance(len(events)) is None
    assert stats.loss.offered == len(events) == stats.taken + stats.loss.link
    assert stats.taken == len(accepted)
    assert len(accepted) < 0.7 * len(events)
    assert np.diff(accepted["t"].astype(np.int64)).max() < 2 * configuration.every_us
    times = [result.t for result in played.results]
    last = int(events["t"][-1]) // configuration.every_us
    assert times == [configuration.every_us * i for i in range(1, last + 1)]
    reference = Reference(bundle)
    computed = reference.compute(accepted, pool)
    assert there.tolist() == as_reported(computed.tokens).tolist()
    assert check_results(reference, computed.tokens, played.results, configuration, LOGITS_TOLERANCE, words) is None


def test_live_over_a_bad_line(device: Device) -> None:
    events = some_events(20_000, 50)
    device.configure(Configuration(mode="live", every_us=50_000, push=True))
    line = FaultyTransport(device.link.transport, Faults(0.03, 0.03, 0.03, swap=0.03, noise=0.03, seed=7))
    device.link.transport = line
    play_live(device, events)
    stats = device.stats()
    assert line.done.total() > 3
    assert stats.imbalance(len(events)) is None
    assert stats.loss.offered == len(events) == stats.taken + stats.loss.link
    assert stats.taken > 0
