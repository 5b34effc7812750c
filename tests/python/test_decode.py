"""EVT2 words: decoding against a transcription of the format, encoding by decoding again."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import spedge
from spedge.events import evt2

TIME = 0x8


def word(kind: int, low: int = 0, x: int = 0, y: int = 0) -> int:
    return kind << 28 | low << 22 | x << 11 | y


def pack(*words: int) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


def decode_by_definition(data: bytes) -> list[tuple[int, int, int, int]]:
    events, high, loops = [], None, 0
    for (w,) in struct.iter_unpack("<I", data[: len(data) // 4 * 4]):
        kind = w >> 28
        if kind == TIME:
            new = w & 0x0FFFFFFF
            if high is not None and high - new >= 1 << 27:
                loops += 1
            high = new
        elif kind in (0, 1) and high is not None:
            t = (loops << 34) + (high << 6 | w >> 22 & 63)
            events.append((t, w >> 11 & 0x7FF, w & 0x7FF, kind))
    return events


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_bytes_cut_anywhere_decode_as_defined(data: st.DataObject) -> None:
    kinds = st.sampled_from([0, 1, 1, TIME, TIME, 0xA, 0xE, 0xF, 2, 9])
    words = data.draw(
        st.lists(st.tuples(kinds, st.integers(0, 2**28 - 1)).map(lambda k: k[0] << 28 | k[1]), max_size=60)
    )
    raw = pack(*words) + data.draw(st.binary(max_size=3))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    decoder = evt2.Decoder()
    pieces = [decoder.push(raw[a:b]) for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert np.concatenate(pieces).tolist() == decode_by_definition(raw)
    stats = decoder.stats
    assert stats.words == len(words)
    assert decoder.partial_bytes == len(raw) % 4


def test_reset_forgets_time_counts_and_the_cut_word() -> None:
    decoder = evt2.Decoder()
    decoder.push(pack(word(TIME, 1)) + b"abc")
    decoder.reset()
    assert decoder.partial_bytes == 0
    assert len(decoder.push(pack(word(1)))) == 0
    assert decoder.stats.untimed == 1
    assert decoder.stats.words == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_all_bytes_like_things_are_taken(kind: Any) -> None:
    assert len(evt2.Decoder().push(kind(pack(word(TIME), word(1, 3, 4, 5))))) == 1


def events_at(*times: int) -> NDArray[np.void]:
    events = np.zeros(len(times), spedge.EVENT_DTYPE)
    events["t"] = times
    events["x"] = np.arange(len(times)) % 2048
    events["y"] = 2047 - events["x"]
    events["p"] = np.arange(len(times)) % 2
    return events


RANGE = 2**34


@pytest.mark.parametrize(
    "times",
    [
        (),
        (0,),
        (63, 64, 64, 127, 128),
        (RANGE - 1, RANGE, RANGE + 1),
        (RANGE,),
        (5, RANGE // 2 + 5, RANGE + 4, 3 * RANGE // 2 + 4),
        (5, RANGE // 2 + 64, RANGE + 200),
        (5, RANGE - 70),
        (RANGE - 70, RANGE + RANGE // 2),
        (0, 7 * RANGE + 3, 7 * RANGE + 4, 20 * RANGE - 1, 20 * RANGE),
        (2**45, 2**45 + 1),
    ],
)
def test_times_survive_encoding(times: tuple[int, ...]) -> None:
    events = events_at(*times)
    np.testing.assert_array_equal(evt2.Decoder().push(evt2.encode(events)), events)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 3 * RANGE), max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_encoding_in_pieces_is_encoding_at_once(times: list[int], cuts: list[int]) -> None:
    events = events_at(*sorted(times))
    data, high = b"", 0
    for i, piece in enumerate(np.split(events, sorted(min(cut, len(events)) for cut in cuts))):
        data += evt2.encode_words(piece, high, first=not data).tobytes()
        high = int(piece["t"][-1]) >> 6 if len(piece) else high
        assert i >= 0
    assert data == evt2.encode(events)
    np.testing.assert_array_equal(evt2.Decoder().push(data), events)


def test_other_arrays_can_be_encoded() -> None:
    openeb = np.array([(1, 2, -1, 5), (3, 4, 1, 70)], [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    assert evt2.Decoder().push(evt2.encode(openeb)).tolist() == [(5, 1, 2, 0), (70, 3, 4, 1)]


def test_coordinates_of_more_than_11_bits_are_refused() -> None:
    events = events_at(1, 2, 3)
    events["x"][1] = 2048
    with pytest.raises(spedge.InputError, match="event 1"):
        evt2.encode(events)


def test_times_that_go_back_are_refused() -> None:
    with pytest.raises(spedge.InputError, match="event 1"):
        evt2.encode(events_at(9, 3))


def test_a_gap_of_centuries_is_refused() -> None:
    with pytest.raises(spedge.InputError, match="shift"):
        evt2.encode(events_at(0, 2**63))


@pytest.mark.parametrize("last", [0, 63, 10_000, (1 << 34) - 5, 3 << 35])
@pytest.mark.parametrize("pause", [0, 1, 64, 6401, 1 << 33, (1 << 34) + 7, 1 << 36])
def test_time_words_bring_the_clock_there(last: int, pause: int) -> None:
    before = np.array([(last, 3, 4, 1)], spedge.EVENT_DTYPE)
    after = np.uint32(1 << 28)  # an event at the clock's time
    words = evt2.encode(before) + evt2.time_words(last + pause, last).astype("<u4").tobytes() + after.tobytes()
    first, second = evt2.Decoder().push(words)["t"].tolist()
    assert first == last
    assert last + pause <= second <= last + pause + 63


def test_the_clock_does_not_go_back() -> None:
    with pytest.raises(spedge.UsageError, match="go back"):
        evt2.time_words(5, 6)
