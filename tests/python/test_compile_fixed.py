"""The kernels on integers (kernel_fixed.h) against numpy in double precision, on this machine."""

from __future__ import annotations

import ctypes
import math
import subprocess
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.paths import firmware_dir
from spedge.compile.kernels.fixed import (
    BITS,
    fixed,
    in_halves,
    normals_table,
    pack_bytes,
    power_of,
    powers_table,
    shift_of,
)
from tests.needs import needs

needs("cc")

# Every function under a name that a library has.
SOURCE = """
#include "spedge/kernel_fixed.h"
#include "spedge/kernel_int8.h"

int32_t t_shift(int32_t n) { return sp_k_fixed_shift(n); }
float t_float(int32_t v, int32_t unit) { return sp_integer_float(v, unit); }
float t_biased(int32_t v, int32_t unit, float bias) { return sp_k_fixed_biased(v, unit, bias); }
void t_fixed(const float *x, int32_t n, int32_t *out, int32_t *e) { sp_k_fixed(x, 1, 0, 1, n, out, e); }
void t_column(const int32_t *x, int32_t e, const int32_t *w, int32_t unit, float bias, int32_t n, float *out)
{
    sp_k_fixed_column(x, e, w, unit, bias, n, sp_k_fixed_shift(n), out);
}
void t_gelu(float *x, int32_t n, const int32_t *table)
{
    for (int32_t i = 0; i < n; ++i)
        x[i] = sp_k_fixed_gelu(x[i], table);
}
void t_norm(const float *x, int32_t rows, int32_t width, float *out)
{
    sp_k_fixed_norm(x, width, 1, rows, width, 1.0f / (float)width, 1e-5f, out, width, 1);
}
void t_attention(const float *q, int32_t depth, const int32_t *k, int32_t ke, const int32_t *v, int32_t stride,
                 int32_t values, int32_t ve, int32_t *scratch, const int32_t *powers, int32_t keys, float *out)
{
    sp_k_fixed_attention(q, depth, k, 4 * depth, ke, v, stride, values, ve, scratch, powers, keys, (keys + 3) / 4, out);
}
void t_shared(const float *q, int32_t depth, const float *k, int32_t *scratch, const int32_t *powers, int32_t keys,
              float *out)
{
    sp_k_fixed_shared(q, depth, k, k, depth, scratch, powers, keys, (keys + 3) / 4, out);
}
int32_t t_quantise(const float *x, int32_t n, float inverse)
{
    int32_t different = 0, out[2];
    for (int32_t i = 0; i < n; i += 4) {
        sp_k_fixed_quantise(x + i, 1, 4, inverse, out);
        for (int j = 0; j < 4; ++j) {
            const int32_t word = out[j / 2], low = (int16_t)word;
            different += (j % 2 ? low : (word - low) >> 16) != sp_k_quantise_c(x[i + j] * inverse);
        }
    }
    return different;
}
void t_dot8(const int32_t *x, const int8_t *w, int32_t groups, int32_t rows, int32_t *sums)
{
    sp_k_fixed_dot8_c(x, w, groups, rows, sums);
}
"""
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("fixed")
    (folder / "fixed.c").write_text(SOURCE)
    includes = [f"-I{firmware_dir() / part / 'include'}" for part in ("runtime", "lib")]
    flags = ["-std=gnu99", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    flags += ["-static-libubsan", "-shared", "-fPIC"]
    out = folder / "fixed.so"
    subprocess.run(["cc", *flags, *includes, str(folder / "fixed.c"), "-o", str(out)], check=True, timeout=120)
    library = ctypes.CDLL(str(out))
    for name in ("t_float", "t_biased"):
        getattr(library, name).restype = ctypes.c_float
    return library


def pointer(array: NDArray[Any]) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def integers(c: Any, x: Floats) -> tuple[NDArray[np.int32], int]:
    out, exponent = np.zeros(x.size, np.int32), np.zeros(1, np.int32)
    c.t_fixed(pointer(np.ascontiguousarray(x)), x.size, pointer(out), pointer(exponent))
    return out, int(exponent[0])


def values_of(halves: NDArray[np.int32], power: int) -> NDArray[np.float64]:
    low = (halves & 0xFFFF).astype(np.uint16).view(np.int16).astype(np.int64)
    assert low.min() >= -2048 and low.max() < 2048
    return np.asarray(((halves >> 16).astype(np.int64) * 4096 + low) * 2.0**power, np.float64)


@pytest.mark.parametrize("scale", [1e-27, 0.037, 1.0, 3.9999998, 1e20])
def test_a_block_keeps_23_bits_of_its_largest(c: Any, scale: float) -> None:
    x = (np.random.default_rng(1).uniform(-1, 1, 500) * scale).astype(np.float32)
    x[:2] = 0, scale
    halves, exponent = integers(c, x)
    largest = 2.0 ** math.ceil(math.log2(np.abs(x).max()))
    assert np.abs(values_of(halves, exponent - BITS) - x).max() <= 2 * largest * 2.0**-24
    power = int(power_of(np.abs(x).max()))
    assert np.abs(values_of(in_halves(x, power), power) - x).max() <= largest * 2.0**-24


def test_zeros_are_zero(c: Any) -> None:
    halves, _ = integers(c, np.zeros(8, np.float32))
    assert not halves.any()
    assert c.t_float(0, 5) == 0 and c.t_float(1, -200) == 0


@pytest.mark.parametrize(
    ("value", "unit"), [(1, 0), (-1, 3), (0x7FFFFFFF, -31), (-0x80000000, 7), (16777217, 0), (-5, -120)]
)
def test_an_integer_as_a_float_is_the_nearest(c: Any, value: int, unit: int) -> None:
    want = value * 2.0**unit
    assert abs(c.t_float(value, unit) - want) <= abs(want) * 2.0**-24


@pytest.mark.parametrize("bias", [0.0, 1e-20, -0.3, 7.5, -1e6, 1e20])
def test_a_bias_is_added(c: Any, bias: float) -> None:
    for value in (0, 1, -123456789, 1 << 29):
        want = value * 2.0**-24 + float(np.float32(bias))
        got = c.t_biased(value, -24, ctypes.c_float(bias))
        assert abs(got - want) <= max(abs(want), 2.0**-23 if bias else 0) * 2.0**-23 + (2.0**-24 if bias else 0)


@pytest.mark.parametrize("depth", [1, 7, 64, 240, 241, 700])
def test_a_column_is_numpys(c: Any, depth: int) -> None:
    rng = np.random.default_rng(depth)
    x, w = rng.normal(0, 3, (depth, 4)).astype(np.float32), rng.normal(0, 0.2, (depth, 3)).astype(np.float32)
    halves, exponent = integers(c, x)
    packed, powers = fixed(w)
    assert c.t_shift(depth) == shift_of(depth)
    for column in range(3):
        out = np.zeros(4, np.float32)
        weights = np.ascontiguousarray(packed[:, column])
        power = int(powers[column])
        c.t_column(pointer(halves), exponent, pointer(weights), power, ctypes.c_float(0.5), depth, pointer(out))
        want = x.T.astype(np.float64) @ w[:, column] + 0.5
        bound = 16 * 0.8 * math.sqrt(depth) * 2.0**-20
        assert np.abs(out - want).max() < bound


def test_gelu_over_its_range(c: Any) -> None:
    x = np.concatenate([np.linspace(-8, 8, 200_001), np.geomspace(1e-30, 1e30, 999)]).astype(np.float32)
    x = np.concatenate([x, -x])
    got, table = x.copy(), normals_table()
    c.t_gelu(pointer(got), len(x), pointer(table))
    wide = x.astype(np.float64)
    want = wide * np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in wide])
    assert (np.abs(got - want) / np.maximum(1, np.abs(wide))).max() < 3e-7


@pytest.mark.parametrize(("width", "offset"), [(5, 0.0), (64, 3.0), (300, -1.0)])
def test_norm_is_numpys(c: Any, width: int, offset: float) -> None:
    x = (np.random.default_rng(width).normal(0, 2, (6, width)) + offset).astype(np.float32)
    x[5] = offset  # no variance
    out = np.zeros_like(x)
    c.t_norm(pointer(x), 6, width, pointer(out))
    wide = x.astype(np.float64)
    want = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    assert np.abs(out - want)[:5].max() < (3e-6 if width <= 256 else 5e-5)
    assert np.abs(out[5]).max() < 2e-4 * max(1, abs(offset))


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp2(scores - scores.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True))


@pytest.mark.parametrize(("keys", "scale"), [(1, 1.0), (6, 0.01), (65, 1.0), (65, 9.0), (301, 2.0)])
def test_attention_is_numpys(c: Any, keys: int, scale: float) -> None:
    rng, depth, values, tiles = np.random.default_rng(keys), 16, 8, (keys + 3) // 4
    q = (rng.normal(0, 1, (4, depth)) * scale).astype(np.float32)
    k, v = (rng.normal(0, 1, (4 * tiles, n)).astype(np.float32) for n in (depth, values))
    panels, k_exponent = integers(c, k.reshape(tiles, 4, depth).transpose(0, 2, 1))
    columns, v_exponent = integers(c, v.reshape(4 * tiles, values // 4, 4).transpose(1, 0, 2))
    scratch, out = np.zeros(4 * (4 * tiles + depth), np.int32), np.zeros((values, 4), np.float32)
    powers, panel = powers_table(), np.ascontiguousarray(q.T)
    c.t_attention(
        pointer(panel), depth, pointer(panels), k_exponent, pointer(columns), 16 * tiles, values, v_exponent,
        pointer(scratch), pointer(powers), keys, pointer(out),
    )  # fmt: skip
    want = softmax(q.astype(np.float64) @ k[:keys].T) @ v[:keys]
    assert np.abs(out.T - want).max() < 5e-6 * max(1, scale)


@pytest.mark.parametrize("keys", [1, 30, 129])
def test_shared_attention_is_numpys(c: Any, keys: int) -> None:
    rng, depth, tiles = np.random.default_rng(keys), 12, (keys + 3) // 4
    q, k = (rng.normal(0, 1, (n, depth)).astype(np.float32) for n in (4, 4 * tiles))
    panels = np.ascontiguousarray(k.reshape(tiles, 4, depth).transpose(0, 2, 1))
    scratch, out = np.zeros(4 * (4 * tiles + 3 * depth), np.int32), np.zeros((4, depth), np.float32)
    powers = powers_table()
    c.t_shared(pointer(q), depth, pointer(panels), pointer(scratch), pointer(powers), keys, pointer(out))
    want = softmax(q.astype(np.float64) @ k[:keys].T) @ k[:keys]
    assert np.abs(out - want).max() < 5e-6


def test_rounding_to_8_bits_is_the_other_kernels(c: Any) -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 2, 40_000), np.arange(-1000, 1000) * 0.037, [0, 1e-38, -1e30, 1e30]])
    x = x.astype(np.float32)
    different = c.t_quantise(pointer(x), len(x), ctypes.c_float(1 / 0.037))
    assert different <= 4  # where x / 0.037 in single precision is a tie and exactly is none


@pytest.mark.parametrize("rows", [1, 4])
def test_sums_of_bytes_are_exact(c: Any, rows: int) -> None:
    rng, depth, groups = np.random.default_rng(rows), 23, 6
    x, w = rng.integers(-128, 128, (rows, 24)), rng.integers(-127, 128, (depth, 1)).astype(np.int8)
    x[:, depth:] = 0
    pairs = x.reshape(rows, groups, 2, 2)
    words = np.ascontiguousarray((pairs[..., 1] + pairs[..., 0] * 65536).transpose(1, 0, 2), np.int32)
    packed, sums = pack_bytes(w), np.zeros(rows, np.int32)
    c.t_dot8(pointer(words), pointer(packed), groups, rows, pointer(sums))
    assert sums.tolist() == (x[:, :depth] @ w[:, 0].astype(int)).tolist()
