"""The vector variants of the kernels on bytes give the same numbers as the portable ones, on an emulated core."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.needs import needs

from .bare import MISSING
from .test_kernel_int8 import compare

needs("tvm")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

PROGRAM = """
#include "spedge/kernel_int8_vector.h"
#ifndef SP_KERNEL_INT8_MVE_H_INCLUDED
#error this core has no kernels of its own
#endif

static uint32_t state, count, different; /* nothing initialises data here */

static uint32_t next(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static float number(float scale)
{
    return ((float)(next() & 0xffffu) / 32768.0f - 1.0f) * scale;
}

static void same(const void *ours, const void *theirs, int bytes)
{
    different += memcmp(ours, theirs, (size_t)bytes) != 0;
    ++count;
}

static _Alignas(16) int8_t x[64 * 10], w[16 * 10], rounded[64 * 10], rounded_c[64 * 10];
static _Alignas(16) float panel[4 * 160];

static void bytes(int8_t *to, int n, int extreme)
{
    for (int i = 0; i < n; ++i) {
        to[i] = (int8_t)(extreme ? -128 : (int)(next() & 255u) - 128);
    }
}

static __attribute__((noinline)) void compare_all(int round)
{
    const int32_t blocks = round % 10 + 1, depth = 16 * blocks - round % 16;
    bytes(x, 64 * 10, round == 39);
    bytes(w, 16 * 10, round == 39);
    for (int32_t rows = 1; rows <= 4; ++rows) {
        float ours[4] = {0}, theirs[4] = {0};
        const float scale = number(0.01f), bias = number(1.0f);
        sp_k_dot16(x, w, blocks, rows, scale, bias, ours);
        sp_k_dot16_c(x, w, blocks, rows, scale, bias, theirs);
        same(ours, theirs, 4 * rows);
    }
    for (int i = 0; i < 4 * 160; ++i) { /* ties among them */
        panel[i] = round % 2 ? number(300.0f) : (float)((int)(next() & 1023u) - 512) * 0.5f;
    }
    memset(rounded, 0, sizeof rounded);
    memset(rounded_c, 0, sizeof rounded_c);
    sp_k_quantise_panel(panel, 1.0f, depth, rounded);
    sp_k_quantise_panel_c(panel, 1.0f, depth, rounded_c);
    same(rounded, rounded_c, sizeof rounded);
}

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the FPU on */
    __asm__ volatile("dsb\\n isb");
    for (int round = 0; round < 40; ++round) {
        compare_all(round);
    }
    write_hex(count);
    write_hex(different);
    leave();
}
"""


@pytest.mark.parametrize("level", ["-O3", "-O0"])
def test_vectors_of_bytes_give_the_same_numbers(level: str, tmp_path: Path) -> None:
    assert compare(PROGRAM, "cortex-m55", level, tmp_path) == (40 * 5, 0)
