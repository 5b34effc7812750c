"""spedge.Tokenizer against the reference vectors, a slow oracle, and its own promises."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import spedge
from spedge.tokens.settings import KINDS
from tests.python import tokenizer_oracle

INDEX = "golden/index.json"
RECORDINGS = ["evt2_640x480", "dvs_320x240", "nmnist_34x34", "adversarial_46x37"]
CONTINUOUS = [f"continuous_{name}" for name in ("default", "abs25ms", "decay_relative", "fractional", "small")]
STREAMING = [*CONTINUOUS, "discrete_50ms", "discrete_100ms_abs10ms"]
VOXELS = ["voxel_100ms", "voxel_50ms", "frame_1s"]


def golden_events(shared: Path, recording: str) -> NDArray[np.void]:
    with np.load(shared / f"golden/{recording}.events.npz") as arrays:
        events = np.empty(len(arrays["t"]), spedge.EVENT_DTYPE)
        for name in spedge.EVENT_DTYPE.names or ():
            events[name] = arrays[name]
    return events


def golden_tokenizer(shared: Path, recording: str, config: str, **changes: Any) -> spedge.Tokenizer:
    index = json.loads((shared / INDEX).read_text())
    size = index["recordings"][recording]
    parameters = {"width": size["width"], "height": size["height"], **index["configs"][config], **changes}
    return spedge.Tokenizer(parameters.pop("kind"), **parameters)


def events_hash(events: NDArray[np.void]) -> str:
    """Field after field: x u16, y u16, t u64, p u8, little-endian."""
    digest = hashlib.sha256()
    for name in ("x", "y", "t", "p"):
        digest.update(np.ascontiguousarray(events[name]).tobytes())
    return digest.hexdigest()


def push_in_pieces(tokenizer: spedge.Tokenizer, events: NDArray[np.void], cuts: list[int]) -> spedge.Tokens:
    return spedge.Tokens.concatenate([tokenizer.push(piece) for piece in np.split(events, cuts)])


def assert_equal_tokens(a: spedge.Tokens, b: spedge.Tokens) -> None:
    for name in ("x", "y", "t", "offsets", "events"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def assert_accounted(tokenizer: spedge.Tokenizer, taken: int) -> None:
    s = tokenizer.stats
    assert s.taken == taken
    assert s.taken == s.in_tokens + s.pending + s.refractory + s.decayed + s.pool_lost + s.outside + s.backwards
    assert s.outside == s.backwards == 0


# ---------------------------------------------------------------- reference vectors


def assert_is_the_reference(shared: Path, recording: str, config: str, tokens: spedge.Tokens) -> None:
    name = f"{recording}.{config}"
    expected = json.loads((shared / INDEX).read_text())["tokens"][name]
    with np.load(shared / f"golden/{name}.npz") as arrays:
        np.testing.assert_array_equal(tokens.x, arrays["x"])
        np.testing.assert_array_equal(tokens.y, arrays["y"])
        np.testing.assert_array_equal(tokens.t, arrays["t"])
        np.testing.assert_array_equal(tokens.n, arrays["n"])
    assert len(tokens) == expected["tokens"]
    assert len(tokens.events) == expected["events"]
    assert events_hash(tokens.events) == expected["events_sha256"]


@pytest.mark.parametrize("config", STREAMING)
@pytest.mark.parametrize("recording", RECORDINGS)
def test_equals_the_reference(shared: Path, recording: str, config: str) -> None:
    events = golden_events(shared, recording)
    tokenizer = golden_tokenizer(shared, recording, config)
    tokens = tokenizer.push(events)
    assert_is_the_reference(shared, recording, config, tokens)
    assert_accounted(tokenizer, len(events))
    for piece in (1, 7, 1000) if len(events) < 100_000 else (1000,):
        tokenizer.reset()
        assert_equal_tokens(push_in_pieces(tokenizer, events, list(range(piece, len(events), piece))), tokens)


@pytest.mark.parametrize("config", [*STREAMING, *VOXELS])
@pytest.mark.parametrize("recording", RECORDINGS)
def test_the_device_library_equals_the_reference(shared: Path, recording: str, config: str) -> None:
    """The same through firmware/lib, with a pool in which nothing is lost."""
    events = golden_events(shared, recording)
    tokenizer = golden_tokenizer(shared, recording, config, pool_events=1 << 21)
    assert_is_the_reference(shared, recording, config, tokenizer.push(events))
    assert_accounted(tokenizer, len(events))
    assert tokenizer.stats.pool_lost == 0


@pytest.mark.parametrize("config", VOXELS)
@pytest.mark.parametrize("recording", RECORDINGS)
def test_voxels_equal_the_reference(shared: Path, recording: str, config: str) -> None:
    events = golden_events(shared, recording)
    tokenizer = golden_tokenizer(shared, recording, config)
    for _ in range(2):  # each push stands alone
        assert_is_the_reference(shared, recording, config, tokenizer.push(events))
    assert_accounted(tokenizer, 2 * len(events))


@pytest.mark.parametrize(("piece", "n"), [(1, 20_000), (7, 100_000)])
@pytest.mark.parametrize("config", STREAMING)
@pytest.mark.parametrize("recording", ["evt2_640x480", "dvs_320x240"])
def test_small_pieces_equal_the_start_of_the_reference(
    shared: Path, recording: str, config: str, piece: int, n: int
) -> None:
    """The tokens of the first n events are the first of the reference."""
    events = golden_events(shared, recording)[:n]
    tokenizer = golden_tokenizer(shared, recording, config)
    tokens = push_in_pieces(tokenizer, events, list(range(piece, n, piece)))
    with np.load(shared / f"golden/{recording}.{config}.npz") as arrays:
        for name in ("x", "y", "t"):
            np.testing.assert_array_equal(getattr(tokens, name), arrays[name][: len(tokens)])
        before, until = (
            np.count_nonzero(flags) for flags in (arrays["t"] < events["t"][-1], arrays["t"] <= events["t"][-1])
        )
        assert before <= len(tokens) <= until
    assert len(tokens) or n < 100_000


@pytest.mark.parametrize("config", STREAMING)
def test_a_pool_that_suffices_changes_nothing(shared: Path, config: str) -> None:
    events = golden_events(shared, "adversarial_46x37")
    large = golden_tokenizer(shared, "adversarial_46x37", config, pool_events=1 << 20)
    tokens = large.push(events)
    bounded = golden_tokenizer(shared, "adversarial_46x37", config, pool_events=large.stats.pool_peak)
    assert_equal_tokens(bounded.push(events), tokens)
    assert bounded.stats.pool_lost == 0


# ---------------------------------------------------------------- the repository's own small vectors


@pytest.mark.parametrize("name", ["integer", "refractory", "real", "pool"])
def test_equals_our_small_vectors(repository: Path, name: str) -> None:
    with np.load(repository / f"tests/golden/tokens_{name}.npz") as arrays:
        parameters = json.loads(str(arrays["parameters"]))
        tokens = spedge.Tokenizer(**parameters).push(arrays["events"])
        for field in ("x", "y", "t", "n"):
            np.testing.assert_array_equal(getattr(tokens, field), arrays[field])
        np.testing.assert_array_equal(tokens.events, arrays["events"][arrays["order"]])
        assert len(tokens) > 5


# ---------------------------------------------------------------- properties


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[str, Any], NDArray[np.void]]:
    """Parameters of any kind and a stream for them, with repeated times, jumps and bursts."""
    kind = draw(st.sampled_from(KINDS))
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    parameters: dict[str, Any] = {
        "kind": kind,
        "width": width,
        "height": height,
        "patch_size": draw(st.integers(1, 80)),
        "threshold": draw(st.integers(0 if kind == "voxel" else 1, draw(st.sampled_from([3, 40])))),
        "pool_events": draw(st.one_of(st.none(), st.integers(1, 400))),
    }
    if kind != "voxel":
        parameters["absolute_refractory_us"] = draw(st.one_of(st.just(0), st.integers(1, 5000)))
    if kind != "continuous":
        parameters["duration_us"] = draw(st.sampled_from([1, 60, 3000, 10**5, 2**33]))
    elif draw(st.booleans()):
        parameters["threshold"] = draw(st.floats(0.1, 40))
    if kind == "continuous" and draw(st.booleans()):
        parameters["relative_refractory_us"] = draw(st.integers(0, 5000))
        parameters["relative_scale"] = draw(st.floats(0.05, 0.95))
        parameters["decay_per_us"] = draw(st.one_of(st.just(0.0), st.floats(1e-7, 0.1)))
    n = draw(st.integers(0, 600))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    events = np.zeros(n, spedge.EVENT_DTYPE)
    steps = rng.integers(0, 50, n).astype(np.uint64)
    jumps = rng.random(n) < draw(st.sampled_from([0.0, 0.01, 0.2]))
    steps[jumps] = rng.integers(0, draw(st.sampled_from([10**4, 2**24, 2**33, 2**35])), jumps.sum()).astype(np.uint64)
    events["t"] = np.cumsum(steps) + np.uint64(draw(st.sampled_from([0, 2**23 - 300, 2**32 - 300, 2**34 - 300, 2**62])))
    spread = draw(st.integers(1, 70))
    events["x"] = rng.integers(0, min(width, spread), n)
    events["y"] = rng.integers(0, min(height, spread), n)
    events["p"] = rng.integers(0, 2, n)
    if parameters["threshold"] == 0 and n:  # a token for every patch of every bin: not too many
        span = int(events["t"][-1] - events["t"][0])
        patches = -(-width // parameters["patch_size"]) * -(-height // parameters["patch_size"])
        parameters["duration_us"] = max(parameters["duration_us"], span * patches // 3000 + 1)
    return parameters, events


@settings(max_examples=300, deadline=None)
@given(streams(), st.lists(st.integers(0, 600), max_size=20))
def test_cutting_anywhere_changes_nothing_and_the_counts_add_up(
    stream: tuple[dict[str, Any], NDArray[np.void]], cuts: list[int]
) -> None:
    """Voxels: between two bins, for each push stands alone."""
    parameters, events = stream
    cuts = [cut for cut in cuts if cut <= len(events)]
    if parameters["kind"] == "voxel":
        bins = events["t"] // np.uint64(parameters["duration_us"])
        cuts = np.searchsorted(bins, [bins[cut] for cut in cuts if cut < len(bins)]).tolist()
        parameters["threshold"] = max(parameters["threshold"], 1)
    whole, cut = spedge.Tokenizer(**parameters), spedge.Tokenizer(**parameters)
    tokens = whole.push(events)
    assert_equal_tokens(push_in_pieces(cut, events, sorted(cuts)), tokens)
    for tokenizer in (whole, cut):
        assert_accounted(tokenizer, len(events))
    assert whole.stats == cut.stats
    assert whole.stats.in_tokens == len(tokens.events) == tokens.offsets[-1]
    if parameters["pool_events"] is None:
        assert whole.stats.pool_lost == 0


@settings(max_examples=300, deadline=None)
@given(streams())
def test_equals_the_definition(stream: tuple[dict[str, Any], NDArray[np.void]]) -> None:
    parameters, events = stream
    tokenizer = spedge.Tokenizer(**parameters)
    tokens = tokenizer.push(events)
    expected = tokenizer_oracle.tokens(events, **parameters)
    assert tokens.x.tolist() == expected.x
    assert tokens.y.tolist() == expected.y
    assert tokens.t.tolist() == expected.t
    for i, indices in enumerate(expected.events):
        np.testing.assert_array_equal(tokens.events_of(i), events[indices])
    stats = tokenizer.stats
    for name in ("refractory", "decayed", "pool_lost", "pending"):
        assert getattr(stats, name) == getattr(expected, name), name


# ---------------------------------------------------------------- the interface


def stream(n: int = 1000, width: int = 128, height: int = 128) -> NDArray[np.void]:
    rng = np.random.default_rng(1)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, 10**6, n))
    events["x"], events["y"] = rng.integers(0, width, n), rng.integers(0, height, n)
    events["p"] = rng.integers(0, 2, n)
    return events


def test_dtypes_and_shapes() -> None:
    tokens = spedge.Tokenizer("continuous", width=128, height=128, threshold=5).push(stream())
    n = len(tokens)
    assert n > 100
    assert [a.dtype.str for a in (tokens.x, tokens.y, tokens.t, tokens.offsets)] == ["<u2", "<u2", "<u8", "<i8"]
    assert tokens.offsets.shape == (n + 1,)
    assert tokens.offsets[0] == 0
    assert tokens.events.dtype == spedge.EVENT_DTYPE
    for i in range(n):
        own = tokens.events[tokens.offsets[i] : tokens.offsets[i + 1]]
        np.testing.assert_array_equal(own, tokens.events_of(i))
        assert own["t"][-1] == tokens.t[i]
        assert (own["x"] // 16 == tokens.x[i]).all()
        assert (own["y"] // 16 == tokens.y[i]).all()


def test_last_tokens() -> None:
    tokens = spedge.Tokenizer(width=128, height=128, threshold=5).push(stream())
    last = tokens.last(3)
    assert len(last) == 3
    np.testing.assert_array_equal(last.events_of(2), tokens.events_of(len(tokens) - 1))
    assert len(tokens.last(10**6)) == len(tokens)
    assert len(tokens.last(0)) == 0
    with pytest.raises(IndexError):
        tokens.events_of(len(tokens))


def test_config_tells_the_patch_grid() -> None:
    config = spedge.Tokenizer(width=346, height=260, patch_size=16).config
    assert (config.columns, config.rows) == (22, 17)
    assert config.threshold == 256.0


def test_empty_input() -> None:
    tokenizer = spedge.Tokenizer(width=8, height=8)
    tokens = tokenizer.push(np.zeros(0, spedge.EVENT_DTYPE))
    assert len(tokens) == 0
    assert tokens.offsets.tolist() == [0]


def test_tokens_fired_later_leave_earlier_ones_alone() -> None:
    tokenizer = spedge.Tokenizer(width=128, height=128, threshold=5)
    events = stream(2000)
    first = tokenizer.push(events[:1000])
    copy = first.events.copy()
    tokenizer.push(events[1000:])
    del tokenizer
    np.testing.assert_array_equal(first.events, copy)


@pytest.mark.parametrize("count", [4096, 100_000])
def test_few_events_of_many_hold_the_memory_of_few(count: int) -> None:
    events = stream(count)
    settings = {"width": 128, "height": 128, "threshold": 5, "absolute_refractory_us": int(events["t"][-1])}
    tokens = spedge.Tokenizer("continuous", **settings).push(events)
    assert 0 < 2 * len(tokens.events) < count
    whole = tokens.events if tokens.events.base is None else tokens.events.base
    assert whole.nbytes == tokens.events.nbytes
    for i in range(len(tokens)):
        assert (tokens.events_of(i)["x"] // 16 == tokens.x[i]).all()
        assert tokens.events_of(i)["t"][-1] == tokens.t[i]


def bad_events(**changes: Any) -> NDArray[np.void]:
    events = stream(10, 20, 20)
    events["t"] = np.arange(100, 110)
    for name, value in changes.items():
        events[name][7] = value
    return events


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"t": 3}, ["event 7", "t=3", "t=106", "sort"]),
        ({"x": 20}, ["event 7", "(20,", "20x20", "width and height"]),
        ({"y": 65535}, ["event 7", "65535", "20x20"]),
        ({"p": 2}, ["event 7", "p=2", "0/1"]),
    ],
)
def test_wrong_events_are_named_and_nothing_is_taken(changes: dict[str, int], words: list[str]) -> None:
    tokenizer = spedge.Tokenizer(width=20, height=20, threshold=3)
    with pytest.raises(spedge.InputError) as caught:
        tokenizer.push(bad_events(**changes))
    assert caught.value.exit_code == 4
    for word in words:
        assert word in str(caught.value)
    assert tokenizer.stats.taken == 0
    assert len(tokenizer.push(bad_events()).t) == len(
        spedge.Tokenizer(width=20, height=20, threshold=3).push(bad_events()).t
    )


def test_order_is_checked_across_pushes() -> None:
    tokenizer = spedge.Tokenizer(width=128, height=128)
    events = stream()
    tokenizer.push(events[500:])
    with pytest.raises(spedge.InputError, match="event 0"):
        tokenizer.push(events[:500])
    assert tokenizer.stats.taken == 500
    tokenizer.reset()
    tokenizer.push(events[:500])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0),
        ("height", -1),
        ("width", 65536),
        ("width", 12.5),
        ("patch_size", 0),
        ("patch_size", "16"),
        ("threshold", 0),
        ("threshold", -3.0),
        ("threshold", math.nan),
        ("threshold", math.inf),
        ("threshold", None),
        ("threshold", "many"),
        ("absolute_refractory_us", -1),
        ("absolute_refractory_us", 1.5),
        ("relative_refractory_us", 2**64),
        ("relative_scale", 0.0),
        ("relative_scale", 1.0),
        ("relative_scale", math.nan),
        ("decay_per_us", -1e-9),
        ("decay_per_us", math.nan),
        ("decay_per_us", math.inf),
        ("pool_events", 0),
        ("pool_events", 2**32),
    ],
)
def test_bad_parameters_are_named(name: str, value: Any) -> None:
    parameters: dict[str, Any] = {"width": 128, "height": 128, name: value}
    with pytest.raises(spedge.UsageError, match=name) as caught:
        spedge.Tokenizer("continuous", **parameters)
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 2


def test_patches_wider_than_a_slot_can_say_are_refused() -> None:
    with pytest.raises(spedge.UsageError, match="patch_size"):
        spedge.Tokenizer(width=5000, height=100, patch_size=3000)
    spedge.Tokenizer(width=128, height=100, patch_size=3000)


@pytest.mark.parametrize("kind", ["frame", "Voxel", "Continuous", ""])
def test_unknown_kinds_are_named(kind: str) -> None:
    with pytest.raises(spedge.UsageError, match="kind"):
        spedge.Tokenizer(kind, width=8, height=8)


def test_threads_do_not_disturb_each_other() -> None:
    events = stream(200_000)
    expected = spedge.Tokenizer(width=128, height=128, threshold=5).push(events)
    results: list[spedge.Tokens] = []

    def work() -> None:
        results.append(spedge.Tokenizer(width=128, height=128, threshold=5).push(events))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for tokens in results:
        assert_equal_tokens(tokens, expected)


def test_a_tokenizer_used_by_two_threads_refuses_or_serves_them_one_by_one() -> None:
    tokenizer = spedge.Tokenizer(width=128, height=128, threshold=5)
    events = stream(100_000)
    events["t"] = 5
    taken, refused = [], []

    def work() -> None:
        for _ in range(20):
            try:
                tokenizer.push(events)
                taken.append(len(events))
            except RuntimeError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) + len(refused) == 80
    assert_accounted(tokenizer, sum(taken))
    assert all("another thread" in message for message in refused)
