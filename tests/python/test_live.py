"""Live mode's sending half: what is thinned, how evenly, and that every event is counted whatever the line does."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spedge
from spedge.base.errors import InputError
from spedge.events.evt2 import Decoder, encode_words
from spedge.link.counts import Status
from spedge.link.frames import Frame
from spedge.link.live import LiveSender, thin
from tests.tiny import live_payload

PAYLOAD = 1024


def scan(n: int, width: int = 40, gap: int = 10) -> np.ndarray:
    """Column after column, over and over, on and off in turn: a pattern that a regular choice would meet."""
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.arange(n) * gap
    events["x"] = np.arange(n) % width
    events["y"] = np.arange(n) // width % 20
    events["p"] = np.arange(n) % 2
    return events


def noise(n: int, seed: int, gap: int = 20, start: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = start + np.cumsum(rng.integers(0, 2 * gap + 1, n))
    events["x"], events["y"] = rng.integers(0, 40, (2, n))
    events["p"] = rng.integers(0, 2, n)
    return events


def patches(events: np.ndarray, side: int = 4) -> np.ndarray:
    return np.bincount(events["y"] // side * 10 + events["x"] // side, minlength=100)


@pytest.mark.parametrize("one_of", [2, 4, 5, 10, 40])
def test_thinning_meets_no_pattern_and_leaves_every_patch_its_share(one_of: int) -> None:
    events = scan(40_000)
    keep = len(events) // one_of
    kept = events[thin(events, keep, 4, np.random.default_rng(1))]
    assert len(kept) == keep
    assert (np.diff(kept["t"].astype(np.int64)) > 0).all()
    shares = patches(kept) - patches(events) / one_of
    assert np.abs(shares).max() <= 1
    assert abs(kept["p"].mean() - 0.5) < 0.03
    columns = np.bincount(kept["x"], minlength=40)
    assert np.abs(columns - keep / 40).max() < 5 * np.sqrt(keep / 40)
    # over time: in every hundredth of it about as many as in any other
    parts = np.histogram(kept["t"], 100, (0, 400_000))[0]
    assert np.abs(parts - keep / 100).max() < 5 * np.sqrt(keep / 100)
    assert np.diff(kept["t"].astype(np.int64)).max() < 10 * one_of * 14


def test_thinning_follows_what_is_busy() -> None:
    """A patch with many events keeps many: the picture stays what it is."""
    events = noise(20_000, 3)
    busy = np.random.default_rng(0).random(20_000) < 0.7
    events["x"][busy], events["y"][busy] = 5, 5
    kept = events[thin(events, 2000, 4, np.random.default_rng(0))]
    assert abs(patches(kept)[11] - patches(events)[11] / 10) <= 1


@given(st.integers(0, 300), st.integers(0, 300))
def test_thinning_any_number_to_any_number(n: int, keep: int) -> None:
    chosen = thin(scan(n), keep, 7, np.random.default_rng(n))
    assert len(chosen) == min(n, keep)
    assert len(np.unique(chosen)) == len(chosen)
    assert (np.diff(chosen) > 0).all()


class Receiver:
    """A device's half of live mode, as SPEC.md section 4.2 says it."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.expected = self.link = self.next_seq = 0
        self.events: list[np.ndarray] = []

    def take(self, frame: Frame) -> Status:
        first, offered = struct.unpack_from("<QI", frame.payload)
        words = np.frombuffer(frame.payload[12:], "<u4")
        kinds = words >> 28
        assert kinds[0] == 8
        assert set(kinds.tolist()) <= {0, 1, 8}
        events = int((kinds <= 1).sum())
        assert events <= offered
        if first >= self.expected and self.room:
            self.room -= 1
            self.link += first - self.expected + offered - events
            self.expected = first + offered
            self.next_seq = (frame.seq + 1) % 65536
            self.events.append(Decoder().push(words.tobytes()))
        return self.status()

    def status(self) -> Status:
        return Status(self.next_seq, self.room, 0, 0, 0, 0, 0)

    def flush(self, offered: int) -> Status:
        if offered > self.expected:
            self.link += offered - self.expected
            self.expected = offered
        return self.status()

    @property
    def taken(self) -> np.ndarray:
        return np.concatenate([np.empty(0, spedge.EVENT_DTYPE), *self.events])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.floats(0, 0.5), st.integers(20, 3000), st.sampled_from([0, 7, 900, 70_000]))
def test_offered_is_taken_and_lost_to_the_last_event(seed: int, bad: float, piece: int, gap: int) -> None:
    """Frames are lost, doubled and swapped, replies are lost, room comes and goes."""
    rng = random.Random(seed)
    events = noise(12_000, seed % 1000, gap)
    sender, receiver = LiveSender(seed, 8, PAYLOAD, 4, held=2000), Receiver(8)
    at, late, marks = 0, [], []
    for _ in range(20_000):
        if at >= len(events) and not sender.waiting:
            break
        sender.offer(events[at : at + piece])
        at += piece
        frames = sender.frames()
        assert all(len(frame.payload) <= PAYLOAD for frame in frames)
        for frame in frames:
            if rng.random() < bad:
                late.append(frame)
                continue
            if late and rng.random() < bad:
                receiver.take(late.pop())
            for _ in range(1 + (rng.random() < bad)):
                status = receiver.take(frame)
                if rng.random() > bad:
                    sender.on_status(status)
        receiver.room = min(8, receiver.room + rng.randrange(4))
        if (sender.in_flight or sender.blocked) and not frames:  # silence
            marks.append(sender.mark())
            sender.settled(marks[-1], receiver.flush(sender.sent))
    assert sender.offered == len(events)
    receiver.flush(sender.sent)
    taken = receiver.taken
    assert receiver.expected == len(events) == len(taken) + receiver.link
    assert set(taken.tolist()) <= set(events.tolist())
    assert (np.diff(taken["t"].astype(np.int64)) >= 0).all()


def test_a_device_that_keeps_up_gets_everything() -> None:
    events = noise(20_000, 1)
    sender, receiver = LiveSender(1, 8, PAYLOAD, 4), Receiver(8)
    for at in range(0, len(events), 300):
        sender.offer(events[at : at + 300])
        for frame in sender.frames():
            receiver.room = 8
            sender.on_status(receiver.take(frame))
    assert sender.waiting == 0
    assert receiver.taken.tolist() == events.tolist()
    assert receiver.link == 0


def test_a_device_without_room_costs_bounded_memory_and_evenly() -> None:
    sender = LiveSender(1, 0, PAYLOAD, 4, held=4000)
    events = noise(100_000, 2)
    for at in range(0, len(events), 7):
        sender.offer(events[at : at + 7])
        assert sender.waiting <= 4000
    assert sender.frames() == []
    sender.settled(0, Status(0, 8, 0, 0, 0, 0, 0))
    receiver = Receiver(8)
    for frame in sender.frames():
        receiver.take(frame)
    taken = receiver.taken
    assert receiver.expected == 100_000 == len(taken) + receiver.link
    parts = np.histogram(taken["t"], 10, (0, int(events["t"][-1])))[0]
    assert np.abs(parts - len(taken) / 10).max() < 0.3 * len(taken) / 10


@pytest.mark.parametrize("start", [0, 1_700_000_000_000_000, (1 << 34) - 500])
def test_times_of_any_size_come_through(start: int) -> None:
    events = noise(3000, 4, start=start)
    events["t"][2000:] += 3 << 33  # a gap of hours
    sender = LiveSender(1, 60, PAYLOAD, 4)
    decoder, found = Decoder(), []
    for at in range(0, 3000, 500):
        sender.offer(events[at : at + 500])
        for frame in sender.frames():
            found.append(decoder.push(frame.payload[12:]))
            sender.on_status(Status(frame.seq + 1, 60, 0, 0, 0, 0, 0))
    taken = np.concatenate(found)
    taken["t"] += sender.base
    assert taken.tolist() == events.tolist()


def test_unsorted_events_are_refused_with_a_sentence() -> None:
    sender = LiveSender(1, 8, PAYLOAD, 4)
    events = noise(10, 0)
    with pytest.raises(InputError, match="order of their times"):
        sender.offer(events[::-1])
    sender.offer(events[5:])
    with pytest.raises(InputError, match="order of their times"):
        sender.offer(events[:5])
    assert sender.offered == 5


def test_the_frame_of_the_specification() -> None:
    sender = LiveSender(0xA1B2C3D4, 1, PAYLOAD, 4)
    events = np.zeros(2, spedge.EVENT_DTYPE)
    events["t"], events["x"], events["y"], events["p"] = [100, 101], [5, 6], [7, 8], [1, 0]
    sender.offer(events)
    (frame,) = sender.frames()
    assert frame.payload == live_payload(0, 2, encode_words(events, 0, first=True))
