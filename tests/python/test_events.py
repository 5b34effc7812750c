"""Event arrays of other software."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spedge
from spedge.events.arrays import as_events

DTYPES = {
    "OpenEB": [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")],
    "faery": [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")],
    "expelliarmus": [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")],
    "tonic": [("x", "<i2"), ("y", "<i2"), ("p", "?"), ("t", "<i8")],
    "signed": [("t", "<i4"), ("x", "<i8"), ("y", "i1"), ("p", "i1")],
    "big endian": [("t", ">u8"), ("x", ">u2"), ("y", ">u2"), ("p", ">i4")],
    "small": [("t", "<u2"), ("x", "u1"), ("y", "u1"), ("p", "u1")],
    "more fields": [("id", "S3"), ("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1"), ("weight", "<f4")],
    "aligned": np.dtype([("p", "u1"), ("x", "<u2"), ("y", "<u2"), ("t", "<u8")], align=True),
}


def array_of(dtype: Any, polarities: tuple[int, int] = (0, 1)) -> Any:
    events = np.zeros(300, dtype)
    events["t"] = np.arange(300) * 7
    events["x"], events["y"] = np.arange(300) % 20, np.arange(300) % 17
    events["on" if "on" in (events.dtype.names or ()) else "p"] = np.array(polarities)[np.arange(300) % 3 % 2]
    return events


@pytest.mark.parametrize("name", DTYPES)
def test_arrays_of_other_software_are_taken_as_they_are(name: str) -> None:
    events = array_of(DTYPES[name])
    plain = as_events(array_of(spedge.EVENT_DTYPE))
    np.testing.assert_array_equal(as_events(events), plain)
    tokens = spedge.Tokenizer(width=20, height=17, threshold=9).push(events)
    expected = spedge.Tokenizer(width=20, height=17, threshold=9).push(plain)
    assert len(tokens) > 10
    np.testing.assert_array_equal(tokens.events, expected.events)


def test_views_with_any_stride_are_taken() -> None:
    events = array_of(spedge.EVENT_DTYPE)
    both = np.zeros((300, 2), spedge.EVENT_DTYPE)
    both[:, 1] = events
    both.flags.writeable = False
    expected = spedge.Tokenizer(width=20, height=17, threshold=9).push(events)
    for view in (both[:, 1], np.ascontiguousarray(events[::-1])[::-1]):
        got = spedge.Tokenizer(width=20, height=17, threshold=9).push(view)
        np.testing.assert_array_equal(got.events, expected.events)
        np.testing.assert_array_equal(as_events(view), events)


def test_minus_one_is_off() -> None:
    dtype = [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "i1")]
    np.testing.assert_array_equal(as_events(array_of(dtype, (-1, 1))), as_events(array_of(dtype, (0, 1))))


def test_nothing_is_copied_without_need() -> None:
    events = array_of(spedge.EVENT_DTYPE)
    assert as_events(events) is events


@pytest.mark.parametrize(
    ("dtype", "field", "value", "words"),
    [
        ("OpenEB", "t", -5, ["event 4", "t=-5", "negative"]),
        ("expelliarmus", "x", -1, ["event 4", "x=-1", "negative"]),
        ("signed", "x", 65536, ["event 4", "x=65536", "65535"]),
        ("signed", "p", -2, ["event 4", "p=-2"]),
        ("expelliarmus", "p", 2, ["event 4", "p=2"]),
        ("big endian", "p", 70000, ["event 4", "p=70000"]),
    ],
)
def test_a_wrong_value_is_named(dtype: str, field: str, value: int, words: list[str]) -> None:
    events = array_of(DTYPES[dtype])
    events[field][4] = value
    with pytest.raises(spedge.InputError) as caught:
        as_events(events)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("events", "word"),
    [
        (None, "NoneType"),
        ([(1, 2, 3, 1)], "list"),
        (np.zeros((5, 4)), "float64"),
        (np.zeros(5, [("t", "u8"), ("x", "u2"), ("p", "u1")]), "y"),
        (np.zeros(5, [("t", "u8"), ("x", "u2"), ("y", "u2")]), "p"),
        (np.zeros(5, [("t", "f8"), ("x", "u2"), ("y", "u2"), ("p", "u1")]), "field t"),
        (np.zeros(5, [("t", "u8"), ("x", "f4"), ("y", "u2"), ("p", "u1")]), "field x"),
        (np.zeros(5, [("t", "u8"), ("x", "u2"), ("y", "?"), ("p", "u1")]), "field y"),
        (np.zeros(5, [("t", "u8"), ("x", "u2"), ("y", "u2"), ("p", "f4")]), "field p"),
        (np.zeros((5, 2), spedge.EVENT_DTYPE), "one-dimensional"),
        (np.zeros((), spedge.EVENT_DTYPE), "one-dimensional"),
    ],
)
def test_what_is_no_event_array_is_refused(events: Any, word: str) -> None:
    with pytest.raises(spedge.InputError, match=word):
        spedge.Tokenizer(width=8, height=8).push(events)


def test_order_and_sensor_are_checked() -> None:
    events = array_of(spedge.EVENT_DTYPE)
    as_events(events, 20, 17)
    with pytest.raises(spedge.InputError, match=r"event 19 .*19x17"):
        as_events(events, 19, 17)
    with pytest.raises(spedge.InputError, match="event 1 "):
        as_events(events[::-1])
