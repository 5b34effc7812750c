"""The host's tokenizer takes events block by block: what a wrong one leaves, and refractory periods within a block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge._host import BadEvent
from tests.python import tokenizer_oracle

WIDTH, HEIGHT = 40, 30
N = 20_000  # events; some blocks
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"threshold": 9},
    "refractory": {"threshold": 9, "absolute_refractory_us": 700},
    "weakening": {"threshold": 7.5, "relative_refractory_us": 900},
    "decaying": {"threshold": 5, "decay_per_us": 1e-3, "absolute_refractory_us": 300, "relative_refractory_us": 500},
    "discrete": {"kind": "discrete", "threshold": 6, "duration_us": 5000, "absolute_refractory_us": 400},
    "voxel": {"kind": "voxel", "threshold": 2, "duration_us": 9000},
    "frames": {"kind": "voxel", "threshold": 0, "duration_us": 50_000},
}


def stream(n: int = N, most_step: int = 12, patches: int = 12, last_t: int | None = None) -> NDArray[np.void]:
    """Of the first patches of 8 pixels, most of them in few."""
    rng = np.random.default_rng(n)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    t = np.cumsum(rng.integers(0, most_step, n)).astype(np.uint64)
    events["t"] = t if last_t is None else t + (np.uint64(last_t) - t[-1])
    patch = (rng.random(n) ** 2 * patches).astype(np.uint16)
    events["x"] = patch % 5 * 8 + rng.integers(0, 8, n)
    events["y"] = patch // 5 * 8 + rng.integers(0, min(8, HEIGHT - 16), n)
    events["p"] = rng.integers(0, 2, n)
    return events


def in_form(events: NDArray[np.void], form: str) -> NDArray[np.void] | spedge.Columns:
    if form == "records":
        return events
    columns = [np.ascontiguousarray(events[name]) for name in ("t", "x", "y", "p")]
    if form == "strided":
        columns[0] = np.repeat(columns[0], 2)[::2]
    return spedge.Columns(*columns)


def new(settings: str) -> spedge.Tokenizer:
    return spedge.Tokenizer(width=WIDTH, height=HEIGHT, patch_size=8, **SETTINGS[settings])


def assert_equal_tokens(a: spedge.Tokens, b: spedge.Tokens) -> None:
    for name in ("x", "y", "t", "offsets", "events"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def assert_found(error: spedge.InputError, place: int) -> None:
    """By the C, too, whose answer is looked at again for the sentence."""
    assert isinstance(error.__context__, BadEvent)
    assert error.__context__.index == place


@pytest.mark.parametrize("form", ["records", "columns", "strided"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("taken", [0, 5000])
def test_a_wrong_event_in_any_block_changes_nothing(settings: str, form: str, taken: int) -> None:
    events = stream()
    before, good = events[:taken], events[taken:]
    expected = new(settings)
    expected.push(in_form(before, form))
    tokens, tokenizer = expected.push(in_form(good, form)), new(settings)
    tokenizer.push(in_form(before, form))
    for place in (0, 255, 256, 8191, 8192, 14_999):
        wrong = good.copy()
        wrong["y"][place] = HEIGHT
        wrong["t"][min(place + 700, len(good) - 1)] = 0  # a later one is not the one that is named
        stats = tokenizer.stats
        with pytest.raises(spedge.InputError, match=f"event {place} ") as caught:
            tokenizer.push(in_form(wrong, form))
        assert_found(caught.value, place)
        assert tokenizer.stats == stats
    assert_equal_tokens(tokenizer.push(in_form(good, form)), tokens)
    assert tokenizer.stats == expected.stats


@pytest.mark.parametrize("form", ["records", "columns"])
@pytest.mark.parametrize("first_t", [1, 2**63 - 500, 2**63 + 7])
def test_every_wrong_field_is_found_at_every_place(first_t: int, form: str) -> None:
    """Events are checked some at a time; times about 2^63 are not what signed numbers hold."""
    n = 1100
    good = np.zeros(n, spedge.EVENT_DTYPE)
    good["t"] = np.uint64(first_t) + np.arange(n, dtype=np.uint64)
    new("plain").push(in_form(good, form))  # none is wrong
    for place in [*range(18), *range(1015, 1034), *range(n - 9, n)]:
        wrong_ones = {"x": (WIDTH, 65535), "y": (HEIGHT, 65535), "p": (2, 255)}
        if place:
            wrong_ones["t"] = (int(good["t"][place]) - 2, 0)
        for name, values in wrong_ones.items():
            for value in values:
                events = good.copy()
                events[name][place] = value
                with pytest.raises(spedge.InputError) as caught:
                    new("plain").push(in_form(events, form))
                assert_found(caught.value, place)


@pytest.mark.parametrize("settings", ["voxel", "frames"])
@pytest.mark.parametrize("form", ["records", "columns"])
def test_bins_that_end_before_the_events_do(settings: str, form: str) -> None:
    events = stream()
    events["t"][-1] = 1
    with pytest.raises(spedge.InputError, match=f"event {N - 1} .*sort") as caught:
        new(settings).push(in_form(events, form))
    assert_found(caught.value, N - 1)


@pytest.mark.parametrize("form", ["records", "columns"])
@pytest.mark.parametrize("period", [1, 30, 400, 2**40])
@pytest.mark.parametrize("last_t", [60_000, 2**64 - 1])
@pytest.mark.parametrize("settings", ["refractory", "decaying", "discrete"])
def test_periods_that_begin_and_end_within_a_block(settings: str, period: int, last_t: int, form: str) -> None:
    """Up to the last time that there is, behind which a period may end."""
    parameters: dict[str, Any] = {"kind": "continuous", **SETTINGS[settings], "absolute_refractory_us": period}
    events = stream(6000, patches=4, last_t=last_t)
    events["t"][-40:] = last_t
    size: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "patch_size": 8}
    tokenizer = spedge.Tokenizer(**parameters, **size)
    tokens = tokenizer.push(in_form(events, form))
    expected = tokenizer_oracle.tokens(events, **parameters, **size, pool_events=None)
    assert tokens.t.tolist() == expected.t
    assert tokens.x.tolist() == expected.x
    np.testing.assert_array_equal(tokens.events, events[[i for token in expected.events for i in token]])
    assert (tokenizer.stats.refractory, tokenizer.stats.decayed) == (expected.refractory, expected.decayed)
    assert expected.refractory > 0


@pytest.mark.parametrize("form", ["records", "columns"])
@pytest.mark.parametrize("period", [1, 30, 400, 2**40])
@pytest.mark.parametrize("last_t", [60_000, 2**64 - 1])
@pytest.mark.parametrize("sleep", [0, 25])
def test_weak_events_come_to_an_end_within_a_block(period: int, last_t: int, sleep: int, form: str) -> None:
    """Or never, where that would be behind the last time that there is."""
    size: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "patch_size": 8}
    parameters: dict[str, Any] = {
        "kind": "continuous", "threshold": 40.3, "relative_scale": 0.1,
        "relative_refractory_us": period, "absolute_refractory_us": sleep,
    }  # fmt: skip
    events = stream(6000, patches=4, last_t=last_t)
    events["t"][-40:] = last_t
    tokenizer = spedge.Tokenizer(**parameters, **size)
    tokens = tokenizer.push(in_form(events, form))
    expected = tokenizer_oracle.tokens(events, **parameters, **size, pool_events=None)
    assert tokens.t.tolist() == expected.t
    np.testing.assert_array_equal(tokens.events, events[[i for token in expected.events for i in token]])
    assert len({len(token) for token in expected.events}) > (1 if period < 2**40 else 0)


@pytest.mark.parametrize("scale", [0.1, 0.3, 1 / 3, 0.7, 5e-324, 1 - 2**-53])
@pytest.mark.parametrize("threshold", [1.0, 1.05, 2.5, 63.9, 1025.3, 4096.0])
def test_weak_events_add_up_as_doubles_do(threshold: float, scale: float) -> None:
    """The first pass over the threshold is of 1s; then so many weak events come, and 1s again."""
    tokenizer = spedge.Tokenizer(
        width=8, height=8, patch_size=8, threshold=threshold, relative_refractory_us=10, relative_scale=scale
    )
    whole = int(np.ceil(threshold))
    for weak in (0, 1, 2, 3, 7, 31, 200, 1000):
        u, expected = 0.0, 0
        while u < threshold:
            u += scale if expected < weak else 1.0
            expected += 1
        events = np.zeros(whole + expected, spedge.EVENT_DTYPE)
        events["t"][whole : whole + weak] = 9
        events["t"][whole + weak :] = 10
        tokens = tokenizer.push(events)
        assert np.diff(tokens.offsets).tolist() == [whole, expected]
        assert tokenizer.stats.pending == 0
        tokenizer.reset()
