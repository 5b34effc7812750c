"""The discrete and the voxel tokenizer, batches, other software's arrays, and the published package's interface."""

from __future__ import annotations

import ctypes
import inspect
import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.tokens import compat


def stream(n: int = 3000, width: int = 40, height: int = 30, seed: int = 1, most_step: int = 60) -> NDArray[np.void]:
    rng = np.random.default_rng(seed)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.cumsum(rng.integers(0, most_step, n))
    events["x"], events["y"] = rng.integers(0, width, n), rng.integers(0, height, n)
    events["p"] = rng.integers(0, 2, n)
    return events


def assert_equal_tokens(a: spedge.Tokens, b: spedge.Tokens) -> None:
    for name in ("x", "y", "t", "offsets", "events"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("discrete", {}, "duration_us"),
        ("voxel", {}, "duration_us"),
        ("continuous", {"duration_us": 5}, "duration_us"),
        ("voxel", {"duration_us": 0}, "duration_us"),
        ("voxel", {"duration_us": 5, "threshold": -1}, "threshold"),
        ("discrete", {"duration_us": 5, "threshold": 0}, "threshold"),
        ("discrete", {"duration_us": 5, "threshold": 2.5}, "threshold"),
        ("discrete", {"duration_us": 5, "decay_per_us": 0.1}, "decay_per_us"),
        ("voxel", {"duration_us": 5, "absolute_refractory_us": 1}, "absolute_refractory_us"),
    ],
)
def test_parameters_that_mean_nothing_are_named(kind: str, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(spedge.UsageError, match=words):
        spedge.Tokenizer(kind, width=40, height=30, **parameters)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("threshold", 10**400, "out of range; it must be more than 0 and at most 2147483647"),
        ("decay_per_us", 10**400, "out of range"),
        ("threshold", True, "a number, not True"),
        ("threshold", "5", "a number, not '5'"),
        ("width", True, "a whole number, not True"),
        ("pool_events", 2**31, "pool_events=2147483648 is out of range; it must be 1 to 2147483616"),
    ],
)
def test_values_that_no_parameter_takes(name: str, value: Any, words: str) -> None:
    parameters = {"width": 40, "height": 30, name: value}
    with pytest.raises(spedge.UsageError, match=words):
        spedge.Tokenizer("continuous", **parameters)


def test_whole_thresholds_of_any_float() -> None:
    thresholds: list[Any] = [3.0, np.float64(3), np.float32(3), np.int8(3)]
    for threshold in thresholds:
        tokenizer = spedge.Tokenizer("discrete", width=40, height=30, duration_us=5, threshold=threshold)
        assert tokenizer.config.threshold == 3


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("continuous", {}),
    ("discrete", {"duration_us": 20}),
    ("voxel", {"duration_us": 20}),
    ("continuous", {"pool_events": 64}),
]


@pytest.mark.parametrize(("kind", "parameters"), KINDS)
def test_arrays_that_hold_no_events(kind: str, parameters: dict[str, Any]) -> None:
    tokenizer = spedge.Tokenizer(kind, width=40, height=30, threshold=3, **parameters)
    nested = np.zeros(3, [("t", "u8", 2), ("x", "u2"), ("y", "u2"), ("p", "u1")])
    endless = spedge.Columns(np.array([0, np.inf]), *(np.zeros(2, np.uint8) for _ in "xyp"))
    masked: Any = np.ma.array(stream(3), mask=[False, True, False])  # type: ignore[no-untyped-call]
    for events, words in ((nested, "one-dimensional"), (endless, "whole numbers"), (masked, "masked array")):
        for sort in (False, True):
            with pytest.raises(spedge.InputError, match=words):
                tokenizer.push(events, sort=sort)
    assert len(tokenizer.push(spedge.Columns([], [], [], []))) == 0  # type: ignore[arg-type]
    assert tokenizer.stats.taken == 0


@pytest.mark.parametrize(("kind", "parameters"), KINDS)
def test_sorting_names_a_wrong_event_by_its_place_before_it(kind: str, parameters: dict[str, Any]) -> None:
    tokenizer = spedge.Tokenizer(kind, width=40, height=30, threshold=3, **parameters)
    events = stream(50, most_step=5)[::-1].copy()
    wrong = events.copy()
    wrong["x"][7] = 40
    with pytest.raises(spedge.InputError, match=r"event 7 at pixel \(40,"):
        tokenizer.push(wrong, sort=True)
    tokenizer.push(events, sort=True)
    if kind != "voxel":
        with pytest.raises(spedge.InputError, match=rf"event 49 is at t={events['t'][49]} µs, before .* reset\(\)"):
            tokenizer.push(events, sort=True)


def test_empty_voxels_that_would_fill_the_memory_are_refused() -> None:
    events = stream(2)
    events["t"] = [0, 2**60]
    tokenizer = spedge.Tokenizer("voxel", width=40, height=30, threshold=0, duration_us=1)
    with pytest.raises(spedge.InputError, match="duration_us"):
        tokenizer.push(events)


# ---------------------------------------------------------------- arrays as they come

DTYPES: dict[str, Any] = {
    "openeb": [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")],
    "openeb-sdk": np.dtype(
        {
            "names": ["x", "y", "p", "t"],
            "formats": ["<u2", "<u2", "<i2", "<i8"],
            "offsets": [0, 2, 4, 8],
            "itemsize": 16,
        }
    ),
    "faery": [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")],
    "faery-titled": np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("on", "p"), "?")]),
    "neuromorphic-drivers": [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")],
    "expelliarmus": [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")],
    "tonic": [("x", "<i8"), ("y", "<i8"), ("t", "<i8"), ("p", "<i8")],
    "tonic-dvsgesture": [("x", "<i2"), ("y", "<i2"), ("p", "?"), ("t", "<i8")],
    "aligned": np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "i1")], align=True),
    "big-endian": [("t", ">u8"), ("x", ">u2"), ("y", ">u2"), ("p", "u1")],
}


@pytest.mark.parametrize("minus", [False, True])
@pytest.mark.parametrize("kind", ["continuous", "voxel"])
@pytest.mark.parametrize("name", DTYPES)
def test_arrays_of_other_software(name: str, kind: str, minus: bool) -> None:
    events = stream()
    other = np.zeros(len(events), DTYPES[name])
    polarity = "on" if "on" in (other.dtype.names or ()) else "p"
    if minus and other.dtype[polarity].kind != "i":
        pytest.skip("no sign")
    for field in ("t", "x", "y"):
        other[field] = events[field]
    other[polarity] = 2 * events["p"].astype(np.int8) - 1 if minus else events["p"]
    parameters: dict[str, Any] = {"width": 40, "height": 30, "patch_size": 8, "threshold": 9}
    if kind == "voxel":
        parameters["duration_us"] = 20_000
    expected = spedge.Tokenizer(kind, **parameters).push(events)
    assert len(expected) > 20
    assert_equal_tokens(spedge.Tokenizer(kind, **parameters).push(other), expected)
    assert_equal_tokens(spedge.Tokenizer(kind, **parameters).push(other[::-1][::-1]), expected)
    columns = spedge.Columns(*(np.ascontiguousarray(other[field]) for field in ("t", "x", "y", polarity)))
    assert_equal_tokens(spedge.Tokenizer(kind, **parameters).push(columns), expected)
    for tokens in spedge.tokenize_batch([other, columns], kind, threads=2, **parameters):
        assert_equal_tokens(tokens, expected)


@pytest.mark.parametrize("count", [1, 4096, 8192])
@pytest.mark.parametrize("kind", ["continuous", "refractory", "decay", "discrete", "voxel"])
def test_nothing_is_read_behind_the_last_event(kind: str, count: int) -> None:
    events = stream(count)
    size = -(-events.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + size), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    last = whole[size - events.nbytes : size].view(spedge.EVENT_DTYPE)
    last[:] = events
    parameters: dict[str, Any] = {"width": 40, "height": 30, "patch_size": 8, "threshold": 9}
    kinds: dict[str, dict[str, Any]] = {
        "continuous": {},
        "refractory": {"absolute_refractory_us": 300},
        "decay": {"decay_per_us": 1e-4, "relative_refractory_us": 500, "absolute_refractory_us": 300},
        "discrete": {"duration_us": 20_000},
        "voxel": {"duration_us": 20_000},
    }
    parameters |= kinds[kind]
    kind = kind if kind in ("discrete", "voxel") else "continuous"
    expected = spedge.Tokenizer(kind, **parameters).push(events)
    assert_equal_tokens(spedge.Tokenizer(kind, **parameters).push(last), expected)
    for field in ("t", "x", "y", "p"):  # a column at the end, the others elsewhere
        own = {name: np.ascontiguousarray(events[name]) for name in ("t", "x", "y", "p")}
        room = own[field].nbytes
        own[field] = whole[size - room : size].view(own[field].dtype)
        own[field][:] = np.ascontiguousarray(events[field])
        assert_equal_tokens(spedge.Tokenizer(kind, **parameters).push(spedge.Columns(**own)), expected)
        last[:] = events


def test_a_push_without_a_token_gives_none() -> None:
    tokenizer = spedge.Tokenizer(width=40, height=30, threshold=9)
    tokens = tokenizer.push(stream(1))
    assert (len(tokens), len(tokens.n), len(tokens.events), tokens.offsets.tolist()) == (0, 0, 0, [0])
    assert [values.dtype for values in (tokens.x, tokens.t)] == [np.dtype(np.uint16), np.dtype(np.uint64)]
    assert tokens.events.dtype == spedge.EVENT_DTYPE
    with pytest.raises(ValueError, match="read-only"):
        tokens.offsets[0] = 1  # it is the one that every such push gives


@pytest.mark.parametrize("dtype", ["<f8", "<M8[us]", "O"])
def test_times_that_are_no_whole_numbers_are_refused(dtype: str) -> None:
    events = stream(10)
    columns = spedge.Columns(events["t"].astype(np.int64).astype(dtype), events["x"], events["y"], events["p"])
    with pytest.raises(spedge.InputError, match="field t must hold whole numbers"):
        spedge.Tokenizer(width=40, height=30).push(columns)


@pytest.mark.parametrize("form", ["records", "columns", "openeb"])
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("t", 5, "sort"), ("x", 40, "40x30"), ("y", 31, "40x30"), ("p", 2, "0/1")],
)
def test_the_first_wrong_event_is_named_and_nothing_taken(form: str, field: str, value: int, words: str) -> None:
    events: Any = stream(5000)
    if form == "openeb":
        events = events[["x", "y", "p", "t"]].astype(DTYPES["openeb"])
    events[field][4321] = value
    if form == "columns":
        events = spedge.Columns(*(np.ascontiguousarray(events[name]) for name in ("t", "x", "y", "p")))
    tokenizer = spedge.Tokenizer(width=40, height=30, threshold=9)
    with pytest.raises(spedge.InputError, match=f"event 4321.*{words}"):
        tokenizer.push(events)
    assert tokenizer.stats.taken == 0


def test_negative_numbers_are_wrong() -> None:
    for field in ("t", "x", "y"):
        events = stream(10).astype(DTYPES["expelliarmus"])
        events[field][0] = -3
        with pytest.raises(spedge.InputError, match=f"event 0: {field}=-3"):
            spedge.Tokenizer(width=65535, height=65535, patch_size=2048).push(events)


def test_columns_of_different_lengths_are_refused() -> None:
    events = stream(10)
    with pytest.raises(spedge.InputError, match="one length"):
        spedge.Tokenizer(width=40, height=30).push(
            spedge.Columns(events["t"], events["x"], events["y"][:9], events["p"])
        )


def test_sort_is_stable() -> None:
    events = stream(most_step=3)
    shuffled = events[np.random.default_rng(0).permutation(len(events))]
    expected = shuffled[np.argsort(shuffled["t"], kind="stable")]
    tokenizer = spedge.Tokenizer(width=40, height=30, patch_size=8, threshold=9)
    tokens = tokenizer.push(shuffled, sort=True)
    tokenizer.reset()
    assert_equal_tokens(tokenizer.push(expected), tokens)
    with pytest.raises(spedge.InputError, match="before"):
        tokenizer.push(shuffled, sort=True)  # after the ones above: order across pushes stays


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_batches(threads: int | None) -> None:
    streams = [stream(n, seed=n) for n in (0, 500, 3000, 2000)]
    parameters: dict[str, Any] = {"width": 40, "height": 30, "patch_size": 8, "threshold": 9}
    batch = spedge.tokenize_batch(streams, threads=threads, **parameters)
    assert len(batch) == 4
    for tokens, events in zip(batch, streams, strict=True):
        assert_equal_tokens(tokens, spedge.Tokenizer(**parameters).push(events))
    streams[2]["x"][17] = 99
    with pytest.raises(spedge.InputError, match=r"stream 2: event 17 at pixel \(99"):
        spedge.tokenize_batch(streams, threads=threads, **parameters)
    with pytest.raises(spedge.UsageError, match="threshold"):
        spedge.tokenize_batch([], threads=threads, width=40, height=30, threshold=0)


def test_a_batch_needs_a_thread() -> None:
    with pytest.raises(spedge.UsageError, match="threads=0"):
        spedge.tokenize_batch([stream(), stream()], threads=0, width=40, height=30)
    for value in (float("nan"), 1.5, "2", True):  # the first one never came back
        with pytest.raises(spedge.UsageError, match="threads must be a whole number"):
            spedge.tokenize_batch([stream(), stream()], threads=value, width=40, height=30)  # type: ignore[arg-type]


def test_a_batch_is_anything_that_gives_streams() -> None:
    expected = spedge.tokenize_batch([stream(), stream()], width=40, height=30, threshold=9)
    for batch in ((stream() for _ in range(2)), np.stack([stream(), stream()])):
        for tokens, wanted in zip(
            spedge.tokenize_batch(batch, width=40, height=30, threshold=9), expected, strict=True
        ):
            assert_equal_tokens(tokens, wanted)
    c = stream()
    for one in (c, spedge.Columns(c["t"], c["x"], c["y"], c["p"]), None):
        with pytest.raises(spedge.InputError, match="a batch is a list of streams"):
            spedge.tokenize_batch(one, width=40, height=30)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the published interface


def published(config: dict[str, Any], width: int, height: int) -> tuple[Any, Any]:
    """The batch and the streaming tokenizer (or None) of one entry of the reference."""
    size = {"width": width, "height": height, "patch_size": config["patch_size"]}
    if config["kind"] == "voxel":
        return compat.VoxelTokenizer(duration_us=config["duration_us"], threshold=config["threshold"], **size), None
    if config["kind"] == "discrete":
        own = {
            "decay": config["duration_us"],
            "delay": config["absolute_refractory_us"],
            "spike_threshold": config["threshold"],
        }
        return compat.DiscreteBatchTokenizer(**own, **size), compat.DiscreteStreamingTokenizer(**own, **size)
    own = {
        "absolute_refractory_period": config["absolute_refractory_us"],
        "decay": config["decay_per_us"],
        "relative_refractory_period": config["relative_refractory_us"],
        "relative_refractory_scale": config["relative_scale"],
        "spike_threshold": config["threshold"],
    }
    return compat.ContinuousBatchTokenizer(**own, **size), compat.ContinuousStreamingTokenizer(**own, **size)


def test_the_published_keywords() -> None:
    continuous = (
        "absolute_refractory_period decay height patch_size relative_refractory_period relative_refractory_scale "
        "spike_threshold width"
    )
    discrete = "decay delay height patch_size spike_threshold width"
    for tokenizer, keywords in (
        (compat.ContinuousBatchTokenizer, continuous),
        (compat.ContinuousStreamingTokenizer, continuous),
        (compat.DiscreteBatchTokenizer, discrete),
        (compat.DiscreteStreamingTokenizer, discrete),
        (compat.VoxelTokenizer, "duration_us height patch_size threshold width"),
    ):
        assert list(inspect.signature(tokenizer).parameters) == keywords.split()
    assert list(inspect.signature(compat.VoxelTokenizer.stream).parameters) == ["self", "x", "y", "t", "p"]


def test_decay_and_delay_of_the_published_discrete_tokenizers() -> None:
    tokenizer = compat.DiscreteStreamingTokenizer(
        decay=100, delay=1000, height=8, patch_size=8, spike_threshold=2, width=8
    )

    def fired(*times: int) -> list[int]:
        t = np.array(times, np.uint64)
        x = np.zeros(len(t), np.uint16)
        return list(map(int, tokenizer.stream(x, x, t, x > 0)[2]))

    assert fired(0, 101) == []  # 0 is older than decay
    assert fired(201, 202, 1200, 1201, 1202) == [201, 1202]  # from 201 on, events are dropped for delay


@pytest.mark.parametrize("config", ["continuous_decay_relative", "discrete_100ms_abs10ms", "voxel_100ms", "frame_1s"])
def test_the_published_interface(shared: Path, config: str) -> None:
    index = json.loads((shared / "golden/index.json").read_text())
    with np.load(shared / "golden/adversarial_46x37.events.npz") as a:
        x, y, t, p = a["x"], a["y"], a["t"], a["p"].astype(bool)
    batch, streaming = published(index["configs"][config], 46, 37)
    results = batch.tokenize_batch([(x, y, t, p), (x[:0], y[:0], t[:0], p[:0])])
    assert [len(part) for part in results[1]] == [0] * 7
    tx, ty, tt, ex, ey, et, ep = results[0]
    with np.load(shared / f"golden/adversarial_46x37.{config}.npz") as expected:
        np.testing.assert_array_equal(tx, expected["x"])
        np.testing.assert_array_equal(ty, expected["y"])
        np.testing.assert_array_equal(tt, expected["t"])
        assert [len(own) for own in et] == expected["n"].tolist()
    assert len(ex) == len(ey) == len(et) == len(ep) == len(tx)
    assert isinstance(results, list)
    assert isinstance(results[0], tuple)
    assert all(isinstance(own, list) for own in (ex, ey, et, ep))
    assert all(own.flags.c_contiguous and own.flags.writeable for own in (tx, ty, tt, ex[0], ey[0], et[0], ep[0]))
    assert (ex[-1].dtype, ey[-1].dtype, et[-1].dtype, ep[-1].dtype) == (np.uint16, np.uint16, np.uint64, np.bool_)
    if streaming is None:
        batch.reset()
        np.testing.assert_array_equal(batch.stream(x, y, t, p)[2], tt)
        return
    pieces = [
        streaming.stream(x[i : i + 9000], y[i : i + 9000], t[i : i + 9000], p[i : i + 9000])
        for i in range(0, len(x), 9000)
    ]
    np.testing.assert_array_equal(np.concatenate([piece[2] for piece in pieces]), tt)
    assert [own.tolist() for piece in pieces for own in piece[6]] == [own.tolist() for own in ep]


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize("kind", ["discrete", "voxel"])
def test_bench_tokenizer(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from spedge.cli import execute
    from spedge.recordings import write

    events = stream()
    write(tmp_path / "a.npz", events, 40, 30)
    options = ["--kind", kind, "--duration-us", "20000", "--threshold", "9", "--patch-size", "8"]
    assert execute(["bench", "tokenizer", str(tmp_path / "a.npz"), *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    tokens = spedge.Tokenizer(kind, width=40, height=30, patch_size=8, threshold=9, duration_us=20_000).push(events)
    assert (document["schema"], document["board"], document["events"]) == (1, "host", len(events))
    assert document["tokens"] == len(tokens) > 10
    assert document["events_per_second"] > 0
    assert execute(["bench", "tokenizer", str(tmp_path / "a.npz"), *options, "--board", "sim"]) == 2
    assert "cannot count instructions" in capsys.readouterr().err or kind == "voxel"
