"""The C decoders against transcriptions of the formats, on any bytes cut anywhere."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spedge
from spedge.events import evt3
from spedge.events.decoders import (
    FORMATS,
    Decoder,
    DecodeStats,
    EdvsDecoder,
    Evt2Decoder,
    Evt3Decoder,
    Evt21Decoder,
)
from tests.python.test_decode import decode_by_definition

Event = tuple[int, int, int, int]


def fed(decoder: Decoder, data: bytes, cuts: list[int] | None = None) -> list[Event]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts or []), len(data)]
    return np.concatenate([decoder.feed(data[a:b]) for a, b in pairwise(edges)]).tolist()  # type: ignore[no-any-return]


def accounts_for_all(stats: DecodeStats) -> bool:
    kinds = (stats.vectors, stats.addresses, stats.times, stats.triggers, stats.other, stats.unknown, stats.untimed)
    return stats.words == stats.singles + sum(kinds)


class Clock:
    """Upper bits of a time that wrap: a step down of at least half the range."""

    def __init__(self, bits: int) -> None:
        self.half, self.range = 1 << bits - 1, 1 << bits
        self.last: int | None = None
        self.wraps = 0

    def __call__(self, high: int) -> int:
        self.wraps += self.last is not None and self.last - high >= self.half
        self.last = high
        return self.wraps * self.range + high


def evt21_by_definition(data: bytes, legacy: bool, width: int, height: int) -> list[Event]:
    events, clock, high = [], Clock(28), None
    for first, second in struct.iter_unpack("<II", data[: len(data) // 8 * 8]):
        head, mask = (first, second) if legacy else (second, first)
        kind = head >> 28
        if kind == 8:
            high = clock(head & 0x0FFFFFFF)
        elif kind in (0, 1) and high is not None:
            t, x, y = high << 6 | head >> 22 & 63, head >> 11 & 2047, head & 2047
            events += [(t, x + i, y, kind) for i in range(32) if mask >> i & 1 and x + i < width and y < height]
    return events


def evt3_by_definition(data: bytes, width: int, height: int) -> list[Event]:
    events: list[Event] = []
    clock, high, low, y, base, p = Clock(12), None, 0, None, None, 0
    for (word,) in struct.iter_unpack("<H", data[: len(data) // 2 * 2]):
        kind, value = word >> 12, word & 0xFFF
        if kind == 8:
            if clock.last != value:
                high, low = clock(value), 0
        elif high is None:
            continue
        elif kind == 6:
            low = value
        elif kind == 0:
            y = value & 2047
        elif kind == 2 and y is not None:
            if value & 2047 < width and y < height:
                events.append((high << 12 | low, value & 2047, y, value >> 11))
        elif kind == 3:
            base, p = value & 2047, value >> 11
        elif kind in (4, 5) and y is not None and base is not None:
            bits = 12 if kind == 4 else 8
            places = [base + i for i in range(bits) if value >> i & 1]
            events += [(high << 12 | low, x, y, p) for x in places if x < width and y < height]
            base += bits
    return events


def edvs_by_definition(data: bytes, mode: int) -> list[Event]:
    events, t, i, started = [], 0, 0, False
    while i < len(data):
        if not data[i] & 0x80:
            i += 1
            continue
        address, i = data[i : i + 2], i + 2
        if mode == 1:
            stamp = data[i : i + 4]
            size = next((n + 1 for n, byte in enumerate(stamp) if byte & 0x80), 5)
            if size == 5:
                i += 4  # a time without an end: none of it is used
                continue
        else:
            size = mode
        stamp, i = data[i : i + size], i + size
        if i > len(data):
            break
        if mode == 1:
            for n, byte in enumerate(stamp):
                t += (byte & 0x7F) << 7 * (len(stamp) - 1 - n)
        elif mode:
            now, span = int.from_bytes(stamp, "big"), 1 << 8 * mode
            now += t // span * span
            t, started = now + span if started and now < t else now, True
        events.append((t, address[1] & 127, address[0] & 127, address[1] >> 7))
    return events


cuts = st.lists(st.integers(0, 600), max_size=6)
sizes = st.sampled_from([(2048, 2048), (1280, 720), (40, 700), (1, 1)])


def words_of(kinds: list[int], bits: int) -> Any:
    """Bytes of little-endian words of these kinds and any other bits; one or more bytes too many."""
    kind = st.sampled_from(kinds)
    word = st.tuples(kind, st.integers(0, (1 << bits - 4) - 1)).map(
        lambda w: (w[0] << bits - 4 | w[1]).to_bytes(bits // 8, "little")
    )
    return st.tuples(st.lists(word, max_size=60), st.binary(max_size=1)).map(lambda w: b"".join(w[0]) + w[1])


@settings(max_examples=150, deadline=None)
@given(words_of([0, 1, 1, 8, 8, 10, 14, 15, 3], 64), cuts, sizes, st.booleans())
def test_evt21(data: bytes, cuts: list[int], size: tuple[int, int], legacy: bool) -> None:
    if legacy:
        whole = len(data) // 8 * 8
        data = b"".join(data[i + 4 : i + 8] + data[i : i + 4] for i in range(0, whole, 8)) + data[whole:]
    decoder = Evt21Decoder(width=size[0], height=size[1], legacy=legacy)
    assert fed(decoder, data, cuts) == evt21_by_definition(data, legacy, *size)
    assert decoder.partial_bytes == len(data) % 8
    assert decoder.stats.words == len(data) // 8
    assert accounts_for_all(decoder.stats)


@settings(max_examples=300, deadline=None)
@given(words_of([0, 2, 2, 3, 4, 4, 5, 6, 8, 8, 7, 10, 14, 15, 1], 16), cuts, sizes)
def test_evt3(data: bytes, cuts: list[int], size: tuple[int, int]) -> None:
    decoder = Evt3Decoder(width=size[0], height=size[1])
    assert fed(decoder, data, cuts) == evt3_by_definition(data, *size)
    assert decoder.partial_bytes == len(data) % 2
    assert decoder.stats.words == len(data) // 2
    assert accounts_for_all(decoder.stats)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=8), st.integers(0x80, 0xFF).map(lambda b: bytes([b]))), max_size=60),
    cuts,
    st.integers(0, 4),
)
def test_edvs(pieces: list[bytes], cuts: list[int], mode: int) -> None:
    data = b"".join(pieces)
    decoder = EdvsDecoder(mode)
    events = fed(decoder, data, cuts)
    assert events == edvs_by_definition(data, mode)
    assert decoder.stats.words == len(events)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.binary(max_size=400), cuts)
def test_any_bytes_in_any_pieces_give_the_same(format: str, data: bytes, cuts: list[int]) -> None:
    whole, cut = Decoder(format, width=100, height=80), Decoder(format, width=100, height=80)
    assert fed(whole, data) == fed(cut, data, cuts)
    assert whole.stats == cut.stats
    assert accounts_for_all(whole.stats)


def test_evt3_time_low_is_taken_as_it_is() -> None:
    """Not monotonic within one TIME_HIGH: no carry, no clamp."""
    words = [0x8002, 0x6FFF, 0x0001, 0x2005, 0x6001, 0x2006, 0x8003, 0x2007]
    events = Evt3Decoder().feed(struct.pack("<8H", *words))
    assert events["t"].tolist() == [2 << 12 | 0xFFF, 2 << 12 | 1, 3 << 12]


def test_evt3_wraps_and_small_steps_back() -> None:
    words = [0x8FFF, 0x0000, 0x2001, 0x8000, 0x2002, 0x8005, 0x8004, 0x2003]
    events = Evt3Decoder().feed(struct.pack("<8H", *words))
    assert events["t"].tolist() == [0xFFF << 12, 1 << 24, (1 << 24) + (4 << 12)]


def test_evt3_sample(shared: Path) -> None:
    recording = shared / "data/recordings/evt3_sample.raw"
    data = recording.read_bytes()
    data = data[spedge.open(recording).header.size :]  # type: ignore[attr-defined]
    with np.load(shared / "golden/evt3_1280x720.decoded.npz") as expected:
        for piece in (len(data), 1001):
            decoder = Evt3Decoder(width=1280, height=720)
            events = np.concatenate([decoder.feed(data[i : i + piece]) for i in range(0, len(data), piece)])
            for field in "txyp":
                np.testing.assert_array_equal(events[field], expected[field])
    assert events["t"][-1] == 11_727_457


def test_evt2_is_as_defined(shared: Path) -> None:
    recording = shared / "data/recordings/evt2_sample.raw"
    data = recording.read_bytes()[spedge.open(recording).header.size :]  # type: ignore[attr-defined]
    assert Evt2Decoder().feed(data).tolist() == decode_by_definition(data)


def test_edvs_clocks_wrap() -> None:
    pixel = b"\x81\x02"
    for mode in (2, 3, 4):
        top = 1 << 8 * mode
        data = b"".join(pixel + t.to_bytes(mode, "big") for t in (top - 2, 3, 9, 1))
        assert EdvsDecoder(mode).feed(data)["t"].tolist() == [top - 2, top + 3, top + 9, 2 * top + 1]
    data = pixel + b"\x85" + pixel + b"\x01\x80" + pixel + b"\x7f\x7f\x7f\xff"
    assert EdvsDecoder(1).feed(data)["t"].tolist() == [5, 133, 133 + (1 << 28) - 1]


def test_edvs_without_time_polarity_and_resynchronisation() -> None:
    decoder = EdvsDecoder(0, invert_polarity=True)
    decoder.set_time(77)
    assert decoder.feed(b"\x05\x81\x82\x07\x90\x03").tolist() == [(77, 2, 1, 0), (77, 3, 16, 1)]
    assert decoder.stats.skipped == 2


def test_copies_go_on_alone_and_reset_forgets() -> None:
    decoder = Evt3Decoder(width=100)
    decoder.feed(struct.pack("<2H", 0x8001, 0x0003) + b"\x05")
    other = decoder.copy()
    assert len(other.feed(b"\x20")) == 1
    assert decoder.partial_bytes == 1
    assert decoder.stats.events == 0
    decoder.reset()
    assert decoder.partial_bytes == 0
    assert decoder.stats.words == 0
    assert len(decoder.feed(struct.pack("<4H", 0x8001, 0x0003, 0x2000 | 99, 0x2000 | 100))) == 1, "the sensor stays"
    assert decoder.stats.outside == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_all_bytes_like_things_are_taken(kind: Any) -> None:
    assert len(Evt3Decoder().feed(kind(struct.pack("<3H", 0x8001, 0x0003, 0x2005)))) == 1
    assert len(Evt3Decoder().feed(kind(b""))) == 0


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Decoder("EVT4"), "no camera format 'EVT4'"),
        (lambda: Decoder("EVT3", width=0), "width=0"),
        (lambda: Decoder("EVT3", height=70_000), "height=70000"),
        (lambda: EdvsDecoder(5), "mode=5 is out of range; it must be 0 to 4"),
        (lambda: EdvsDecoder(2.5), "mode must be a whole number, not 2.5"),  # type: ignore[arg-type]
        (lambda: Decoder("EVT2", width=1.5, height=2), "width must be a whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: EdvsDecoder(0).set_time(1.5), "t must be a whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: EdvsDecoder(0).set_time(-1), "t=-1 is out of range"),
    ],
)
def test_wrong_parameters(make: Any, complaint: str) -> None:
    with pytest.raises(spedge.UsageError, match=complaint):
        make()


# ---------------------------------------------------------------- EVT3 encoder


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, 4000, 5000, 1 << 23, 1 << 24, 5 << 30]),
            st.integers(0, 2047),
            st.integers(0, 3),
            st.integers(0, 1),
        ),
        max_size=40,
    ),
    st.lists(st.integers(0, 40), max_size=4),
    st.sampled_from([0, 1 << 12, 1 << 24, (1 << 30) + 12345]),
)
def test_encoded_evt3_decodes_to_the_same(rows: list[tuple[int, int, int, int]], cuts: list[int], start: int) -> None:
    events = np.array(rows, spedge.EVENT_DTYPE) if rows else np.zeros(0, spedge.EVENT_DTYPE)
    events["t"] = start + np.cumsum(events["t"])
    encoder = evt3.Encoder()
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    data = b"".join(encoder.encode(events[a:b]) for a, b in pairwise(edges))
    assert Evt3Decoder().feed(data).tolist() == events.tolist()
    assert data == evt3.encode(events)


def test_evt3_refuses_what_it_cannot_hold() -> None:
    events = np.zeros(1, spedge.EVENT_DTYPE)
    events["x"] = 2048
    with pytest.raises(spedge.InputError, match="2048"):
        evt3.encode(events)
    events["x"], events["t"] = 0, 1 << 50
    with pytest.raises(spedge.InputError, match="shift the times"):
        evt3.encode(events)
