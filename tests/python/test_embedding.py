"""What a model sees of a token, against the reference vectors and the formulas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.tokens import embedding
from tests.python.test_tokenizer import golden_events, golden_tokenizer

VECTORS = ["adversarial_46x37.continuous_default", "nmnist_34x34.continuous_small"]


def tokens_of(n: int = 3000, **parameters: Any) -> spedge.Tokens:
    rng = np.random.default_rng(3)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.cumsum(rng.integers(0, 400, n))
    events["x"], events["y"], events["p"] = rng.integers(0, 34, n), rng.integers(0, 34, n), rng.integers(0, 2, n)
    return spedge.Tokenizer(width=34, height=34, **{"patch_size": 4, "threshold": 20, **parameters}).push(events)


@pytest.mark.parametrize("name", VECTORS)
def test_equals_the_reference(shared: Path, name: str) -> None:
    recording, config = name.split(".")
    index = json.loads((shared / "golden/index.json").read_text())
    patch_size = index["configs"][config]["patch_size"]
    tokens = golden_tokenizer(shared, recording, config).push(golden_events(shared, recording))
    with np.load(shared / f"golden/{name}.embedding.npz") as arrays:
        volume, position = arrays["volume"], arrays["position"]
    n, buckets, hidden = len(volume), volume.shape[2], position.shape[1]
    np.testing.assert_array_equal(embedding.log_time_volume(tokens, patch_size, buckets)[:n], volume)
    time_scale = index["embeddings"][f"{name}.embedding"]["time_scale_us"]
    got = embedding.position_embedding(tokens.x[:n], tokens.y[:n], tokens.t[:n], hidden, time_scale)
    np.testing.assert_allclose(got, position, rtol=0, atol=1e-5)


def volume_by_definition(tokens: spedge.Tokens, patch_size: int, buckets: int) -> NDArray[np.uint16]:
    volume = np.zeros((len(tokens), 2, buckets, patch_size, patch_size), np.uint16)
    for i in range(len(tokens)):
        own = tokens.events_of(i)
        for t, x, y, p in own.tolist():
            age = int(own["t"][-1]) - t
            bucket = min(sum(age >= 1000 * 2**k for k in range(buckets)), buckets - 1)
            volume[i, p, bucket, y % patch_size, x % patch_size] += 1
    return volume


@pytest.mark.parametrize(("patch_size", "buckets"), [(4, 6), (5, 1), (16, 10), (34, 32)])
def test_volume_equals_the_definition(patch_size: int, buckets: int) -> None:
    tokens = tokens_of(patch_size=patch_size)
    volume = embedding.log_time_volume(tokens, patch_size, buckets)
    assert volume.dtype == np.uint16
    cells = embedding.log_time_cells(tokens, patch_size, buckets)
    token, number = np.nonzero(volume.reshape(len(volume), -1))
    np.testing.assert_array_equal(cells.number, number)
    np.testing.assert_array_equal(cells.events, volume.reshape(len(volume), -1)[token, number])
    np.testing.assert_array_equal(np.diff(cells.bounds), np.bincount(token, minlength=len(volume)))
    assert len(tokens) > 10
    np.testing.assert_array_equal(volume, volume_by_definition(tokens, patch_size, buckets))


def weights(hidden: int, patch_size: int, buckets: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(4)
    shape = (hidden, 2 * buckets * patch_size**2)
    return rng.normal(0, 0.1, shape).astype(np.float32), rng.normal(0, 1, hidden).astype(np.float32)


@pytest.mark.parametrize("hidden", [3, 17, 64])
def test_embedding_is_the_linear_map_of_the_log_counts(hidden: int) -> None:
    tokens = tokens_of()
    weight, bias = weights(hidden, 4, 6)
    got = embedding.embed(tokens, weight, bias, 4, 6)
    cells = np.log1p(embedding.log_time_volume(tokens, 4, 6).reshape(len(tokens), -1).astype(np.float64))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, cells @ weight.T.astype(np.float64) + bias, atol=1e-5)


def position_by_definition(x: float, y: float, t: float, hidden: int) -> list[float]:
    third = hidden // 3
    result = []
    for position, size in ((x, third), (y, third), (t, third + hidden % 3)):
        angles = [position / 10000 ** (2 * (i // 2) / size) for i in range(size)]
        result += [np.sin(a) for a in angles[0::2]] + [np.cos(a) for a in angles[1::2]]
    return result


@pytest.mark.parametrize("hidden", [3, 4, 5, 64, 128])
def test_positions_equal_the_formula(hidden: int) -> None:
    x, y, t = np.array([0, 3, 20]), np.array([1, 0, 15]), np.array([0, 7_500, 400_000])
    got = embedding.position_embedding(x, y, t, hidden, 25_000.0)
    expected = [position_by_definition(a, b, c / 25_000, hidden) for a, b, c in zip(x, y, t, strict=True)]
    np.testing.assert_allclose(got, expected, atol=5e-7)


@pytest.mark.parametrize("scale", [10_000.0, 25_000.0, 33_333.3, 50_000.0])
def test_positions_after_a_long_pause_equal_the_formula(scale: float) -> None:
    t = np.array([0, 300_000_000, 2_000_000_007, 99_999_999_999, 10**12])
    x = y = np.array([0, 1, 100, 1279, 65535])
    got = embedding.position_embedding(x, y, t, 64, scale)
    exact = t / float(np.float32(scale))  # float64 has the angle within 1e-8 of a turn
    expected = [position_by_definition(a, b, c, 64) for a, b, c in zip(x, y, exact, strict=True)]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_encoder_input_counts_times_from_the_first_token() -> None:
    tokens = tokens_of().last(20)
    weight, bias = weights(64, 4, 6)
    got = embedding.encoder_input(tokens, weight, bias, 4, 6, 10_000.0)
    since = (tokens.t - tokens.t[0]).astype(np.float64)
    position = embedding.position_embedding(tokens.x, tokens.y, since, 64, 10_000.0)
    np.testing.assert_array_equal(got, embedding.embed(tokens, weight, bias, 4, 6) + position)
    later = spedge.Tokens(tokens.x, tokens.y, tokens.t + np.uint64(2**40), tokens.offsets, tokens.events.copy())
    later.events["t"] += np.uint64(2**40)
    np.testing.assert_array_equal(embedding.encoder_input(later, weight, bias, 4, 6, 10_000.0), got)


def test_no_tokens() -> None:
    none = tokens_of(0)
    weight, bias = weights(64, 4, 6)
    assert embedding.log_time_volume(none, 4, 6).shape == (0, 2, 6, 4, 4)
    assert embedding.embed(none, weight, bias, 4, 6).shape == (0, 64)
    assert embedding.encoder_input(none, weight, bias, 4, 6).shape == (0, 64)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda t, w, b: embedding.log_time_volume(t, 0, 6), "patch_size"),
        (lambda t, w, b: embedding.log_time_volume(t, 4, 33), "buckets"),
        (lambda t, w, b: embedding.log_time_volume(t, 4, 0), "buckets"),
        (lambda t, w, b: embedding.embed(t, w[:, 1:], b, 4, 6), "192"),
        (lambda t, w, b: embedding.embed(t, w, b[1:], 4, 6), "bias"),
        (lambda t, w, b: embedding.embed(t, w.T, b, 4, 6), "192"),
        (lambda t, w, b: embedding.position_embedding(t.x, t.y, t.t, 2), "hidden"),
        (lambda t, w, b: embedding.position_embedding(t.x, t.y[1:], t.t, 64), "length"),
        (lambda t, w, b: embedding.position_embedding(t.x, t.y, t.t, 64, 0.0), "time_scale_us"),
        (lambda t, w, b: embedding.position_embedding(t.x, t.y, t.t + 0.5, 64), "t_us must be whole"),
        (lambda t, w, b: embedding.position_embedding(t.x, t.y - 99.0, t.t, 64), "rows must be whole"),
        (lambda t, w, b: embedding.position_embedding(t.x, t.y, t.t, 64, float("nan")), "time_scale_us"),
    ],
)
def test_wrong_sizes_are_named(call: Any, word: str) -> None:
    with pytest.raises(spedge.UsageError, match=word):
        call(tokens_of(), *weights(64, 4, 6))
