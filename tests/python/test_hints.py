"""Whoever follows what a sentence says to do with events ends with the right events, and loses none in silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge import compat
from spedge.events.times import apparent_units, to_us

SIZE: dict[str, Any] = {"width": 16, "height": 16}
TIMES = 780 + 1000 * np.arange(32, dtype=np.uint64)


def events(**columns: Any) -> dict[str, NDArray[Any]]:
    """32 events of one patch, in columns as other software keeps them."""
    n = np.arange(32)
    return {"t": TIMES, "x": n % 16, "y": n // 16, "p": n % 2, **{k: np.asarray(v) for k, v in columns.items()}}


def records(columns: dict[str, NDArray[Any]]) -> NDArray[np.void]:
    out = np.zeros(len(columns["t"]), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        out[name] = column
    return out


def push(columns: dict[str, NDArray[Any]]) -> spedge.Tokens:
    return spedge.Tokenizer(threshold=8.0, **SIZE).push(records(columns))


def push_columns(columns: dict[str, NDArray[Any]]) -> spedge.Tokens:
    return spedge.Tokenizer(threshold=8.0, **SIZE).push(spedge.Columns(**columns))


def batch(columns: dict[str, NDArray[Any]]) -> spedge.Tokens:
    return spedge.tokenize_batch([records(columns)], threshold=8.0, **SIZE)[0]


def published(columns: dict[str, NDArray[Any]]) -> spedge.Tokens:
    tokenizer = compat.ContinuousStreamingTokenizer(0, 0.0, 16, 16, 0, 0.4, 8.0, 16)
    result = tokenizer.stream(columns["x"], columns["y"], columns["t"], columns["p"])
    names = dict(zip("xytp", (np.concatenate(parts) for parts in result[3:]), strict=True))
    return spedge.Tokens(result[0], result[1], result[2], np.arange(0, 33, 8), spedge.as_events(records(names)))


def write(columns: dict[str, NDArray[Any]]) -> spedge.Tokens:
    """What is written, read and tokenized."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        spedge.recordings.write(Path(folder) / "a.npz", records(columns), 16, 16)
        return spedge.Tokenizer(threshold=8.0, **SIZE).push(spedge.open(Path(folder) / "a.npz").events())


WAYS = [push, push_columns, batch, published, write]


def followed(sentence: str, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The columns after the expression that the sentence gives for one of them."""
    code = re.search(
        r"(?P<code>\(?\(?(?:np\.array\()?\b(?P<name>[txyp])\b[^;,]*?(?:\)|> 0))"
        r"(?= gives| keeps| finds| says| takes| if they|;|$)",
        sentence,
    )
    code = code or re.search(r"(?P<code>[^ ]*(?P<name>t)\.astype\(np\.int64\) - t\.min\(\))", sentence)
    code = code or re.search(r"(?P<code>\((?P<name>t) - t\.min\(\)\) // np\.timedelta64\(1, 'us'\))", sentence)
    assert code is not None, sentence
    scope = {**columns, "np": np}
    return {**columns, code["name"]: eval(code["code"], scope)}


FIRST = int(TIMES[0])
AS_TOLD: dict[str, tuple[dict[str, NDArray[Any]], int]] = {
    "seconds": (events(t=TIMES / 1e6), 0),
    "seconds, single": (events(t=(TIMES / 1e6).astype(np.float32)), 0),
    "the clock of Unix": (events(t=1_504_645_177 + TIMES / 1e6), 1_504_645_177_000_000),
    "seconds from before 0": (events(t=TIMES / 1e6 - 0.01), -FIRST),
    "seconds of before 0, whole milliseconds": (events(t=(TIMES - 780) / 1e6 - 5), -FIRST),
    "microseconds from before 0": (events(t=TIMES.astype(np.int64) - 5000), -FIRST),
    "microseconds from before 0, narrow": (events(t=(TIMES.astype(np.int64) - 30_000).astype(np.int16)), -FIRST),
    "real microseconds": (events(t=TIMES.astype(np.float64)), 0),
    "real microseconds, single": (events(t=TIMES.astype(np.float32)), 0),
    "dates": (events(t=np.datetime64("2020-01-01T00:00:00", "ns") + TIMES * np.timedelta64(1000, "ns")), -FIRST),
    "spans": (events(t=TIMES * np.timedelta64(1000, "ns")), -FIRST),
    "Python's numbers": (events(t=TIMES.astype(object)), 0),
    "real pixels": (events(x=np.arange(32) % 16 * 1.0), 0),
    "pixels between pixels": (events(y=np.arange(32) // 16 + 0.25), 0),
    "real polarity": (events(p=np.arange(32) % 2 * 2.0 - 1), 0),
    "real polarity, 0 and 1": (events(p=np.arange(32) % 2 * 1.0), 0),
}


@pytest.mark.parametrize("name", AS_TOLD)
@pytest.mark.parametrize("way", WAYS)
def test_what_the_sentence_says_gives_the_right_tokens(
    name: str, way: Callable[[dict[str, NDArray[Any]]], spedge.Tokens]
) -> None:
    columns, later = AS_TOLD[name]
    tried = 0
    while True:
        try:
            tokens = way(columns)
        except spedge.InputError as error:
            columns = followed(str(error), columns)
            tried += 1
            assert tried < 4, error
        else:
            break
    assert tried > 0, "there is no sentence to follow"
    assert (tokens.t.astype(np.int64) - later).tolist() == [7780, 15780, 23780, 31780]
    right = push(events())
    for field in "xyp":
        np.testing.assert_array_equal(tokens.events[field], right.events[field])
    assert (tokens.events["t"].astype(np.int64) - later).tolist() == right.events["t"].tolist()


def test_seconds_of_python_numbers_need_two_sentences() -> None:
    columns = events(t=(TIMES / 1e6).astype(object))
    with pytest.raises(spedge.InputError, match=r"np\.array\(t\.tolist\(\)\)") as first:
        push_columns(columns)
    columns = followed(str(first.value), columns)
    with pytest.raises(spedge.InputError, match="these look like seconds") as second:
        push_columns(columns)
    assert push_columns(followed(str(second.value), columns)).t.tolist() == [7780, 15780, 23780, 31780]


@pytest.mark.parametrize(
    ("t", "units"),
    [
        (TIMES / 1e6, ("s",)),
        (TIMES / 1e6 + 1.6e9, ("s",)),
        (np.arange(200) / 1e3, ("s", "ms")),
        (np.arange(20) / 1e3, ("s",)),
        (TIMES / 1e3, ("s", "ms")),
        (TIMES / 1e3 + 1.6e12, ("ms", "us")),
        (TIMES.astype(np.float64), ("us",)),
        (TIMES / 1e6 * 1e6 + np.arange(32) % 2 * 1e-12, ("us",)),  # whole, but for rounding
        (TIMES * 1.0 + 0.0, ("us",)),
        (np.arange(100) * 5000.5, ("us", "ms", "s")),  # no one records for days
        (np.arange(3.0), ("us", "s")),
        (TIMES.astype(np.float64) * 1000 + 1.6e18, ("ns", "us")),
        (TIMES * 1000 + 16 * 10**17, ("ns", "us")),
        (TIMES, ("us",)),
        (np.zeros(0), ("us",)),
    ],
)
def test_the_unit_that_times_seem_to_be_in(t: NDArray[Any], units: tuple[str, ...]) -> None:
    assert apparent_units(t) == units


def test_units_that_may_be_two_are_both_named() -> None:
    with pytest.raises(spedge.InputError, match=r"1e6\).*if they are seconds or .*1e3\).*if they are milliseconds"):
        push(events(t=TIMES / 1e3))


def test_other_units_to_microseconds() -> None:
    assert to_us(np.array([0.000779999, 1.5]), "s").tolist() == [780, 1_500_000]
    assert to_us(np.array([1499, 1500, 1501], np.int64), "ns").tolist() == [1, 2, 2]
    assert to_us(np.array([7], np.uint8), "s").tolist() == [7_000_000]
    with pytest.raises(OverflowError):
        to_us(np.array([1 << 60]), "s")


def test_what_is_no_number_is_left_out_by_name() -> None:
    array = records(events(t=TIMES / 1e6))
    array["t"][5] = np.nan
    with pytest.raises(spedge.InputError, match=r"event 5 has t=nan; leave such events out, (events\[.*\])$") as caught:
        spedge.Tokenizer(**SIZE).push(array)
    code = re.search(r"out, (.*)$", str(caught.value))
    assert code
    left = eval(code[1], {"events": array, "np": np})
    assert len(left) == 31
    assert np.isfinite(left["t"]).all()


def test_normalised_coordinates_are_not_rounded_away() -> None:
    with pytest.raises(spedge.InputError, match="from 0 to 1, like parts of widths: give pixels") as caught:
        push(events(x=np.arange(32) % 16 / 15))
    assert "round" not in str(caught.value)
    assert "astype" not in str(caught.value)


def test_coordinates_left_of_the_sensor_are_refused_after_the_sentence_was_followed() -> None:
    columns = events(x=np.arange(32) - 4.6)
    with pytest.raises(spedge.InputError, match="between two pixels") as caught:
        push(columns)
    with pytest.raises(spedge.InputError, match="event 0: x=-5 is negative"):  # not 65531
        push(followed(str(caught.value), columns))


def test_masked_arrays() -> None:
    array = np.ma.array(records(events()), mask=np.arange(32) == 3)  # type: ignore[no-untyped-call]
    with pytest.raises(spedge.InputError, match="masked array") as caught:
        spedge.Tokenizer(**SIZE).push(array)
    code = re.search(r"out, (events\.data.*)$", str(caught.value))
    assert code
    left = eval(code[1], {"events": array, "np": np})
    assert spedge.as_events(left)["t"].tolist() == np.delete(TIMES, 3).tolist()


def test_unsorted_events_are_sorted_as_told() -> None:
    array = records(events())[::-1]
    with pytest.raises(spedge.InputError, match="sort the events by time") as caught:
        spedge.Tokenizer(threshold=8.0, **SIZE).push(array)
    code = re.search(r"by time \((events\[.*?\)\]), or", str(caught.value))
    assert code
    in_order = eval(code[1], {"events": array, "np": np})
    by_hand = spedge.Tokenizer(threshold=8.0, **SIZE).push(in_order)
    assert by_hand.t.tolist() == spedge.Tokenizer(threshold=8.0, **SIZE).push(array, sort=True).t.tolist()
    assert by_hand.t.tolist() == [7780, 15780, 23780, 31780]


@pytest.mark.parametrize("bits", [24, 31, 32])
def test_a_clock_that_wrapped_is_no_matter_of_sorting(bits: int, tmp_path: Path) -> None:
    true = (1 << bits) - 500 + np.arange(32, dtype=np.uint64) * 100
    array = records(events(t=true % (1 << bits)))
    with pytest.raises(spedge.InputError, match=rf"clock of {bits} bits wrapped.*add 2\*\*{bits}") as caught:
        spedge.Tokenizer(**SIZE).push(array)
    at = int(re.search(r"event (\d+)", str(caught.value))[1])  # type: ignore[index]
    array["t"][at:] += 1 << bits
    np.testing.assert_array_equal(spedge.as_events(array)["t"], true)
    again: dict[str, Any] = events(t=true % (1 << bits))
    np.savez(tmp_path / "a.npz", **again, **SIZE)
    with pytest.raises(spedge.InputError, match=f"clock of {bits} bits wrapped"):
        spedge.open(tmp_path / "a.npz").events()


def test_events_outside_and_a_batch_of_one() -> None:
    with pytest.raises(spedge.InputError, match="give the width and height of the camera that recorded it"):
        spedge.as_events(records(events(x=np.arange(32))), 16, 16)
    assert len(spedge.as_events(records(events(x=np.arange(32))), 32, 16)) == 32
    with pytest.raises(spedge.InputError, match="put this one stream into a list"):
        spedge.tokenize_batch(records(events()), **SIZE)  # type: ignore[arg-type]
    assert len(spedge.tokenize_batch([records(events())], threshold=8.0, **SIZE)[0]) == 4


def test_times_that_a_format_cannot_hold_are_shifted_as_told(tmp_path: Path) -> None:
    from spedge.recordings.convert import convert

    late = records(events(t=TIMES + (1 << 63)))
    spedge.recordings.write(tmp_path / "a.npz", late, 16, 16)
    for name in ("a.h5", "a.raw"):
        with pytest.raises(spedge.InputError, match="shift the times towards 0"):
            convert(tmp_path / "a.npz", tmp_path / name)
        convert(tmp_path / "a.npz", tmp_path / name, from_zero=True)
        assert spedge.open(tmp_path / name).events()["t"].tolist() == (TIMES - TIMES[0]).tolist()
    voxels = spedge.Tokenizer("voxel", threshold=1, duration_us=5000, **SIZE)
    last = records(events(t=TIMES + np.uint64((1 << 64) - 33_000)))
    with pytest.raises(spedge.InputError, match=r"too late for bins.*shift the times towards 0"):
        voxels.push(last)
    last["t"] -= last["t"][0]
    assert len(voxels.push(last)) > 0


def test_the_hint_of_the_case_that_came_in() -> None:
    array = records({**events(t=TIMES / 1e6)})
    with pytest.raises(spedge.InputError) as caught:
        spedge.Tokenizer("continuous", patch_size=16, threshold=8.0, **SIZE).push(array)
    assert "(t * 1e6).round().astype(np.uint64)" in str(caught.value)
