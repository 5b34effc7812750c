"""The queue of a frame port (firmware/port/packets.h): what comes out, what is counted, and where."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spedge.events import evt2
from tests.c_library import c_library
from tests.events import scattered

PACKETS, WORDS = 6, 256


class Queue:
    def __init__(self, library: Path) -> None:
        self._c = ctypes.CDLL(str(library))

    def open(self) -> None:
        self._c.fake_open(PACKETS)

    def packet(self, words: np.ndarray) -> None:
        words = np.ascontiguousarray(words, np.uint32)
        self._c.fake_packet(words.ctypes.data_as(ctypes.c_void_p), len(words))

    def missed(self, words: int) -> None:
        self._c.fake_missed(4 * words)

    def take(self, n: int) -> np.ndarray:
        out = ctypes.create_string_buffer(n)
        got = self._c.fake_take(out, n)
        return np.frombuffer(out.raw[:got], "<u4")

    def all(self) -> np.ndarray:
        """What a reader gets that asks what was lost whenever nothing comes."""
        found = []
        while len(words := self.take(1000)) or len(words := (self.lost(), self.take(1000))[1]):
            found.append(words)
        return np.concatenate([np.zeros(0, np.uint32), *found])

    def lost(self) -> tuple[int, int]:
        """Events and words, so far."""
        events = self._c.fake_lost_events()
        return events, self._c.fake_lost_bytes() // 4

    @property
    def level(self) -> int:
        return int(self._c.fake_level())


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Queue:
    return Queue(c_library(tmp_path_factory.mktemp("packets") / "packets.so", "packet_queue.c"))


def in_packets(n: int) -> list[np.ndarray]:
    words = evt2.encode_words(scattered(n, 20 * n, 1), first=True)
    return np.split(words, range(WORDS, len(words), WORDS))


def events_in(words: np.ndarray) -> int:
    return int(np.count_nonzero(words >> 28 <= 1))


@given(steps=st.lists(st.sampled_from([0, 0, 0, 4, 100, 3000]), max_size=40))
@settings(max_examples=50, deadline=None)
def test_what_is_given_up_is_counted_and_leaves_no_event_at_a_wrong_time(queue: Queue, steps: list[int]) -> None:
    """0: a packet comes; else so many bytes are taken."""
    packets = in_packets(4000)
    queue.open()
    out, sent = [], 0
    for step in steps:
        if step == 0 and sent < len(packets):
            queue.packet(packets[sent])
            sent += 1
        elif step:
            out.append(queue.take(step))
    out.append(queue.all())
    came = evt2.Decoder().feed(np.concatenate(out).tobytes())
    everything = np.concatenate([np.zeros(0, np.uint32), *packets[:sent]])
    lost, words = queue.lost()
    assert len(came) + lost == events_in(everything) and words == 0
    whole = iter(evt2.Decoder().feed(everything.tobytes()))
    assert all(any(event == other for other in whole) for event in came)


def test_a_reader_stops_at_a_gap_until_it_has_asked(queue: Queue) -> None:
    packets = in_packets(4000)
    queue.open()
    for packet in packets[:6]:
        queue.packet(packet)
    assert queue.level == 255
    first = queue.take(1 << 14)
    assert first.tolist() == np.concatenate(packets[:4]).tolist()
    assert queue.take(1 << 14).size == 0
    queue.packet(packets[6])
    assert queue.take(1 << 14).size == 0  # it comes behind a gap
    assert queue.lost() == (sum(map(events_in, packets[4:6])), 0)
    times = np.concatenate(packets[4:6])
    assert queue.take(4).tolist() == times[times >> 28 == 8][-1:].tolist()
    assert queue.take(1 << 14).tolist() == packets[6].tolist()


def test_behind_words_that_never_came_events_have_no_time(queue: Queue) -> None:
    packets = in_packets(1000)
    queue.open()
    queue.packet(packets[0][:10])
    queue.missed(246)
    queue.packet(packets[1])
    assert queue.take(1 << 14).tolist() == packets[0][:10].tolist()
    known = int(np.argmax(packets[1] >> 28 == 8))
    assert known > 0
    assert queue.all().tolist() == packets[1][known:].tolist()
    assert queue.lost() == (known, 246)
