"""The kernels written for a core give the same numbers as the portable ones, on emulated cores."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tvm", reason="compiling needs TVM: pip install 'spedge[compile]'")

from spedge.compile import TARGETS
from spedge.compile.tables import exp2_table, normal_table

from .test_compile_qemu import MACHINES, MISSING
from .test_kernel_int8 import compare

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

START = """
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

__attribute__((unused)) static void fill(float *x, int n, float scale)
{
    for (int i = 0; i < n; ++i) {
        x[i] = number(scale);
    }
}

static void same(const void *ours, const void *theirs, int bytes)
{
    different += memcmp(ours, theirs, (size_t)bytes) != 0;
    ++count;
}
"""
FINISH = """
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
PANELS = """
#include "spedge/kernel_panel.h"
#if !defined(SP_KERNEL_PANEL_FPU_H_INCLUDED) && !defined(SP_KERNEL_PANEL_MVE_H_INCLUDED)
#error this core has no kernels of its own
#endif

static _Alignas(16) float a[4 * 40], b[4 * 40], x[16], ours[4 * 40], theirs[4 * 40];

static __attribute__((noinline)) void compare_all(int round)
{
    const int32_t steps = round + 1 > 34 ? 40 : round + 1, tiles = round % 10 + 1;
    float top[4], total[4], total_c[4];
    fill(a, 4 * 40, 2.0f);
    fill(b, 4 * 40, 2.0f);
    fill(x, 16, 3.0f);
    sp_k_panel_columns(x, a, b, steps, ours);
    sp_k_panel_columns_c(x, a, b, steps, theirs);
    same(ours, theirs, 64);
    sp_k_panel_rows(x, a, b, steps, ours);
    sp_k_panel_rows_c(x, a, b, steps, theirs);
    same(ours, theirs, 64);
    sp_k_panel_add(a, x, a, b, steps, ours);
    sp_k_panel_add_c(a, x, a, b, steps, theirs);
    same(ours, theirs, 64);
    fill(ours, 16 * tiles, round < 20 ? 30.0f : 400.0f);
    memcpy(theirs, ours, sizeof ours);
    sp_k_panel_top(ours, tiles, top);
    sp_k_panel_top_c(theirs, tiles, total);
    same(top, total, 16);
    sp_k_panel_exp2(ours, 4 * tiles - round % 4, top, exp2_table, total);
    sp_k_panel_exp2_c(theirs, 4 * tiles - round % 4, top, exp2_table, total_c);
    same(ours, theirs, 64 * tiles);
    same(total, total_c, 16);
    fill(ours, 4, round < 20 ? 3.0f : 30.0f);
    memcpy(theirs, ours, sizeof ours);
    sp_k_panel_gelu(ours, normal_table);
    sp_k_panel_gelu_c(theirs, normal_table);
    same(ours, theirs, 16);
    sp_k_panel_norm(a, steps, 1.0f / (float)steps, 1e-5f, ours);
    sp_k_panel_norm_c(a, steps, 1.0f / (float)steps, 1e-5f, theirs);
    same(ours, theirs, 16 * steps);
}
"""
INT8 = """
#include "spedge/kernel_int8_vector.h"
#ifndef SP_KERNEL_INT8_MVE_H_INCLUDED
#error this core has no kernels of its own
#endif

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
"""


def program(kernels: str, target: str) -> str:
    """Defines of the target, tables, the kernels with what compares them."""
    defines = "".join(f"#define {name} 1\n" for name in TARGETS[target].defines)
    tables = "".join(
        f"static const float {name}[] = {{{', '.join(f'{float(v)!r}f' for v in table.ravel())}}};\n"
        for name, table in (("exp2_table", exp2_table()), ("normal_table", normal_table()))
    )
    includes, _, rest = kernels.partition("#endif\n")
    return f"{defines}{includes}#endif\n{tables if 'exp2_table' in rest else ''}{START}{rest}{FINISH}"


@pytest.mark.parametrize("level", ["-O3", "-O0"])
@pytest.mark.parametrize("target", MACHINES)
def test_panels_give_the_same_numbers(target: str, level: str, tmp_path: Path) -> None:
    assert compare(program(PANELS, target), target, level, tmp_path) == (40 * 8, 0)


@pytest.mark.parametrize("level", ["-O3", "-O0"])
def test_vectors_of_bytes_give_the_same_numbers(level: str, tmp_path: Path) -> None:
    assert compare(program(INT8, "cortex-m55"), "cortex-m55", level, tmp_path) == (40 * 5, 0)
