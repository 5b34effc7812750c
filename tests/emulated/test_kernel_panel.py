"""The FPU and vector variants of the kernels on panels give the same bits as the portable ones, on emulated cores."""

from __future__ import annotations

import subprocess
from itertools import starmap
from pathlib import Path

import pytest

from spedge.base.paths import firmware_dir
from spedge.compile import TARGETS
from spedge.compile.kernels.tables import exp2_table, gelu_table, powers_table
from tests.needs import needs

from ..python.test_compile_math import table
from .bare import MACHINES, MISSING, SEMIHOSTING, VECTORS, linker_script, numbers

needs("tvm")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

TABLES = {"exp2_table": exp2_table(), "gelu_table": gelu_table(400), "powers_table": powers_table()}

# Prints how many numbers were compared, and how many were different.
PROGRAM = """
#include "spedge/kernel_panel.h"
#include "embed_rows.h"
#include "tables.h"
#if !defined(SP_EMBED_ROWS_FPU_H_INCLUDED) \
    || !(defined(SP_KERNEL_PANEL_FPU_H_INCLUDED) || defined(SP_KERNEL_PANEL_MVE_H_INCLUDED))
#error this core has no variant of its own
#endif

enum { STEPS = 33, WIDTH = 37, CELLS = 32 };
static float a[4 * STEPS], b[4 * STEPS], plus[32], start[32], x[4 * WIDTH], ours[4 * WIDTH], theirs[4 * WIDTH];
static float weights[CELLS][WIDTH], scales[CELLS];
static uint32_t state = 1, count, different;

static uint32_t next(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static void fill(float *out, int n, float scale)
{
    for (int i = 0; i < n; ++i) {
        out[i] = ((float)(next() & 0xffffu) - 32768.0f) / 32768.0f * scale;
    }
}

static void compare(const float *one, const float *other, int n)
{
    for (int i = 0; i < n; ++i) {
        uint32_t left, right;
        memcpy(&left, &one[i], sizeof left);
        memcpy(&right, &other[i], sizeof right);
        different += left != right;
        ++count;
    }
}

/* One row and two rows of four, lying either way. */
static void few(int32_t steps)
{
    for (int32_t rows = 1; rows <= SP_K_PANEL_FEW; ++rows) {
        for (int32_t across = 1; across <= 4; across += 3) {
            memcpy(ours, start, 16 * sizeof *start);
            memcpy(theirs, start, 16 * sizeof *start);
            sp_k_panel_few(a, b, steps, rows, ours, across, 5 - across);
            sp_k_panel_few_c(a, b, steps, rows, theirs, across, 5 - across);
            compare(ours, theirs, 16);
        }
    }
}

#define GELU_ZERO (gelu_table + 4 * 400)

/* Steps that the compiler knows, as of linears. */
#define KNOWN 16
#define known(steps) \
    sp_k_panel_sums(start, a, b, steps, ours); \
    sp_k_panel_sums_c(start, a, b, steps, theirs); \
    compare(ours, theirs, 16); \
    sp_k_panel_plus(start, plus, a, b, steps, ours); \
    sp_k_panel_plus_c(start, plus, a, b, steps, theirs); \
    compare(ours, theirs, 16); \
    sp_k_panel_turned(start, a, b, steps, ours); \
    sp_k_panel_turned_c(start, a, b, steps, theirs); \
    compare(ours, theirs, 16)

#define row(apart, steps) \
    memcpy(ours, start, 16 * sizeof *start); \
    memcpy(theirs, start, 16 * sizeof *start); \
    sp_k_row(a, apart, weights[0], steps, ours); \
    sp_k_row_c(a, apart, weights[0], steps, theirs); \
    compare(ours, theirs, 8); \
    sp_k_row_bytes(a, apart, bytes, steps, ours); \
    sp_k_row_bytes_c(a, apart, bytes, steps, theirs); \
    compare(ours, theirs, 8)

static int8_t bytes[8 * STEPS];

static void sums(void)
{
    for (int32_t i = 0; i < 8 * STEPS; ++i)
        bytes[i] = (int8_t)(37 * i);
    volatile int32_t any = 3;
    const int32_t apart = any; /* that the compiler does not know */
    for (int32_t steps = 0; steps <= STEPS; ++steps) {
        fill(a, 4 * STEPS, 2.0f);
        fill(b, 4 * STEPS, 2.0f);
        fill(plus, 16, 1.0f);
        fill(start, 16, 1.0f);
        fill(weights[0], 8 * STEPS, 1.0f); /* as one array */
        sp_k_panel_sums(start, a, b, steps, ours);
        sp_k_panel_sums_c(start, a, b, steps, theirs);
        compare(ours, theirs, 16);
        sp_k_panel_plus(start, plus, a, b, steps, ours);
        sp_k_panel_plus_c(start, plus, a, b, steps, theirs);
        compare(ours, theirs, 16);
        sp_k_panel_turned(start, a, b, steps, ours);
        sp_k_panel_turned_c(start, a, b, steps, theirs);
        compare(ours, theirs, 16);
        row(1, steps);
        row(4, steps);
        row(apart, steps);
        few(steps);
    }
    fill(a, 4 * STEPS, 2.0f);
    fill(b, 4 * STEPS, 2.0f);
    known(KNOWN);
    known(2 * KNOWN);
}

/* Two tiles at once, for steps that the compiler knows and others. */
#define two_tiles(steps) \
    for (int apart = 0; apart <= 16; apart += 16) { \
        sp_k_panel_columns(start, apart, weights[0], b, steps, 2, 4, ours); \
        sp_k_panel_sums_c(start, weights[0], b, steps, theirs); \
        sp_k_panel_sums_c(start + apart, weights[0] + 4 * (steps), b, steps, theirs + 16); \
        compare(ours, theirs, 32); \
    } \
    sp_k_panel_columns(start, 0, weights[0], b, steps, 2, 4, ours); \
    sp_k_panel_columns(start, 16, weights[0], b, steps, 2, 4, ours + 32); \
    sp_k_panel_sums_c(start, weights[0] + 4 * (steps), b, steps, theirs); \
    sp_k_panel_sums_c(start, weights[0], b, steps, theirs + 16); \
    compare(ours + 16, theirs, 32); \
    sp_k_panel_add(start, plus, weights[0], b, steps, 2, 4, ours); \
    sp_k_panel_plus_c(start, plus, weights[0], b, steps, theirs); \
    sp_k_panel_plus_c(start + 16, plus + 16, weights[0] + 4 * (steps), b, steps, theirs + 16); \
    compare(ours, theirs, 32); \
    sp_k_panel_sums_c(start, weights[0], b, steps, theirs); \
    sp_k_panel_sums_c(start + 16, weights[0] + 4 * (steps), b, steps, theirs + 16); \
    for (int c = 0; c < 8; ++c) \
        sp_k_panel_gelu_c(theirs + 4 * c, GELU_ZERO); \
    sp_k_panel_columns_gelu(start, weights[0], b, steps, 2, 4, GELU_ZERO, 0, ours); \
    compare(ours, theirs, 32); \
    sp_k_panel_sums_c(start, weights[0], b, steps, theirs); \
    sp_k_panel_sums_c(start + 16, weights[0] + 4 * (steps), b, steps, theirs + 16); \
    sp_k_panel_gelu_columns_c(theirs, 8, GELU_ZERO, 1); \
    sp_k_panel_columns_gelu(start, weights[0], b, steps, 2, 4, GELU_ZERO, 1, ours); \
    compare(ours, theirs, 32)

static void tiles(void)
{
    fill(weights[0], 8 * STEPS, 2.0f); /* as one array */
    fill(b, 4 * STEPS, 2.0f);
    fill(plus, 32, 1.0f);
    fill(start, 32, 1.0f);
    two_tiles(KNOWN);
    two_tiles(KNOWN + KNOWN / 2);
    two_tiles(2 * KNOWN);
    for (int32_t steps = 0; steps <= STEPS; steps += 11) {
        two_tiles(steps);
    }
    for (int32_t rows = 1; rows <= SP_K_PANEL_FEW; ++rows) {
        for (int32_t steps = 0; steps <= STEPS; steps += 11) {
            memcpy(theirs, start, 32 * sizeof *start);
            sp_k_panel_few_tiles(start, 16, weights[0], b, steps, 2, rows, ours);
            sp_k_panel_few_c(weights[0], b, steps, rows, theirs, 4, 1);
            sp_k_panel_few_c(weights[0] + 4 * steps, b, steps, rows, theirs + 16, 4, 1);
            compare(ours, theirs, 32);
        }
    }
    memcpy(theirs, ours, sizeof ours);
    sp_k_panel_columns(start, 0, weights[0], b, KNOWN, 0, 4, ours); /* of none nothing is written */
    sp_k_panel_add(start, plus, weights[0], b, KNOWN, 0, 4, ours);
    compare(ours, theirs, 4 * WIDTH);
}

/* What a panel's first rows alone are given: the same as of all four, and of the others what they started from. */
static void wanted(void)
{
    fill(a, 4 * STEPS, 2.0f);
    fill(b, 4 * STEPS, 2.0f);
    fill(plus, 16, 1.0f);
    fill(start, 16, 1.0f);
    for (int32_t rows = 1; rows <= 5; ++rows) {
        for (int kind = 0; kind < 4; ++kind) {
            const float *from = start;
            float both[16];
            if (kind == 0) {
                sp_k_panel_columns(start, 16, a, b, STEPS, 1, rows, ours);
                sp_k_panel_sums_c(start, a, b, STEPS, theirs);
            } else if (kind == 1) {
                sp_k_panel_rows(start, b, a, STEPS, rows, ours);
                sp_k_panel_sums_c(start, b, a, STEPS, theirs);
            } else if (kind == 2) {
                sp_k_panel_keep(start, b, a, STEPS, rows, ours);
                sp_k_panel_turned_c(start, b, a, STEPS, theirs);
                for (int i = 0; i < 16; ++i) {
                    both[i] = start[i % 4 * 4 + i / 4];
                }
                from = both;
            } else {
                sp_k_panel_add(start, plus, a, b, STEPS, 1, rows, ours);
                sp_k_panel_plus_c(start, plus, a, b, STEPS, theirs);
                for (int i = 0; i < 16; ++i) {
                    both[i] = plus[i] + start[i];
                }
                from = both;
            }
            for (int i = 0; i < 16 && rows <= SP_K_PANEL_FEW; ++i) {
                theirs[i] = (kind == 1 || kind == 2 ? i / 4 : i % 4) < rows ? theirs[i] : from[i];
            }
            compare(ours, theirs, 16);
        }
    }
}

/* The one row of four that is wanted: its powers are those of all four. */
static void one_row(int32_t keys, float scale)
{
    float top[4] = {scale, scale, scale, scale}, same[4], total[4], our_total[4];
    memcpy(same, top, sizeof top);
    fill(ours, 4 * keys, scale);
    memcpy(theirs, ours, sizeof ours);
    sp_k_panel_exp2(ours, keys, top, exp2_table, 1, our_total);
    sp_k_panel_exp2(theirs, keys, same, exp2_table, 4, total);
    for (int32_t j = 0; j < keys; ++j) {
        compare(ours + 4 * j, theirs + 4 * j, 1);
    }
    compare(our_total, total, 1);
}

/* Scores that are taken as they are, of all four rows and of the first alone. */
static void within(void)
{
    for (int32_t keys = 1; keys <= 9; ++keys) {
        float total[4], our_total[4];
        for (int32_t rows = 1; rows <= 4; rows += 3) {
            fill(ours, 4 * keys, 65536.0f);
            memcpy(theirs, ours, sizeof ours);
            sp_k_panel_exp2_within(ours, keys, powers_table, rows, our_total);
            sp_k_panel_powers_within_c(theirs, keys, powers_table, total);
            for (int32_t j = 0; j < keys; ++j)
                compare(ours + 4 * j, theirs + 4 * j, rows);
            compare(our_total, total, rows);
        }
    }
}

/* Differences up to far beyond the table. */
static void softmax(void)
{
    float scale = 0.5f;
    for (int32_t tiles = 1; tiles <= 9; ++tiles, scale *= 6.0f) {
        float top[4], total[4], our_total[4];
        fill(ours, 16 * tiles, scale);
        memcpy(theirs, ours, sizeof ours);
        sp_k_panel_top(ours, tiles, top);
        sp_k_panel_top_c(ours, tiles, total);
        compare(top, total, 4);
        for (int r = 0; r < 4; ++r) {
            top[r] = SP_K_MAGIC - (float)((int32_t)top[r] + 1);
        }
        sp_k_panel_powers(ours, 4 * tiles - tiles % 4, top, exp2_table, our_total);
        sp_k_panel_powers_c(theirs, 4 * tiles - tiles % 4, top, exp2_table, total);
        compare(ours, theirs, 16 * tiles);
        compare(our_total, total, 4);
        one_row(4 * tiles - tiles % 4, scale);
    }
}

static void gelu(void)
{
    for (uint32_t i = 0; i < 8000u; ++i) {
        const int32_t columns = 1 + (int32_t)(i % 3u);
        fill(ours, 4, i % 4u == 0 ? 1e9f : 320.0f);
        memcpy(theirs, ours, 16);
        sp_k_panel_gelu(ours, GELU_ZERO);
        sp_k_panel_gelu_c(theirs, GELU_ZERO);
        compare(ours, theirs, 4);
        fill(ours, 4 * columns, i % 4u == 0 ? 1e9f : 320.0f);
        memcpy(theirs, ours, sizeof ours);
        sp_k_panel_gelu_columns(ours, columns, GELU_ZERO, 0);
        sp_k_panel_gelu_columns_c(theirs, columns, GELU_ZERO, 0);
        compare(ours, theirs, 4 * columns);
        fill(ours, 4 * columns, 399.0f);
        memcpy(theirs, ours, sizeof ours);
        sp_k_panel_gelu_columns(ours, columns, GELU_ZERO, 1);
        sp_k_panel_gelu_columns_c(theirs, columns, GELU_ZERO, 1);
        compare(ours, theirs, 4 * columns);
    }
}

static void mixtures(void)
{
    for (int32_t tiles = 1; tiles <= 8; ++tiles) {
        fill(a, 16 * tiles, 1.0f);
        fill(x, 4 * WIDTH, 1.0f);
        sp_k_panel_mixtures(a, x, tiles, 16, ours);
        sp_k_panel_mixtures_c(a, x, tiles, 16, theirs);
        compare(ours, theirs, 8);
        memcpy(theirs, ours, sizeof ours);
        sp_k_panel_add_column(x, x + 8, ours);
        sp_k_panel_add_column_c(x, x + 8, theirs);
        compare(ours, theirs, 4);
        sp_k_panel_copy(x, 4 * tiles, ours + 16);
        compare(ours + 16, x, 4 * tiles);
        sp_k_panel_scale(ours, a);
        sp_k_panel_scale_c(theirs, a);
        compare(ours, theirs, 16);
    }
}

static void rest(void)
{
    const float *rows[CELLS], *same[CELLS];
    for (int32_t width = 1; width <= WIDTH; ++width) {
        fill(x, 4 * WIDTH, 3.0f);
        sp_k_panel_norm(x, width, 1.0f / (float)width, 1e-5f, ours);
        sp_k_panel_norm_c(x, width, 1.0f / (float)width, 1e-5f, theirs);
        compare(ours, theirs, 4 * width);
        sp_k_panel_norm_centred(x, width, 1.0f / (float)width, 1e-5f, ours);
        sp_k_panel_norm_centred_c(x, width, 1.0f / (float)width, 1e-5f, theirs);
        compare(ours, theirs, 4 * width);
        memcpy(ours, x, sizeof x);
        memcpy(theirs, x, sizeof x);
        sp_k_panel_centre(ours, width, 1.0f / (float)width);
        sp_k_panel_centre_c(theirs, width, 1.0f / (float)width);
        compare(ours, theirs, 4 * WIDTH);
        sp_k_panel_turn(x, width, ours);
        sp_k_panel_turn_c(x, width, theirs);
        compare(ours, theirs, 4 * width);
        for (int i = 0; i < CELLS; ++i) {
            fill(weights[i], WIDTH, 1.0f);
            rows[i] = same[i] = weights[i];
        }
        fill(scales, CELLS, 2.0f);
        fill(ours, WIDTH, 1.0f);
        memcpy(theirs, ours, sizeof ours);
        const float *start = width & 1 ? x : NULL;
        sp_embed_add_rows(start ? start : ours, ours, rows, scales, (uint32_t)(width & 31), (uint32_t)width);
        sp_embed_add_rows_c(start ? start : theirs, theirs, same, scales, (uint32_t)(width & 31), (uint32_t)width);
        compare(ours, theirs, WIDTH);
        sp_embed_add(ours, x, (uint32_t)width);
        sp_embed_add_c(theirs, x, (uint32_t)width);
        compare(ours, theirs, WIDTH);
        sp_embed_copy(ours, x + 1, (size_t)width);
        sp_embed_copy_c(theirs, x + 1, (size_t)width);
        compare(ours, theirs, WIDTH);
        sp_embed_clear(ours, (size_t)width);
        sp_embed_clear_c(theirs, (size_t)width);
        compare(ours, theirs, WIDTH);
    }
}

@SEMIHOSTING@
void reset(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the FPU on */
    __asm__ volatile("dsb\\n isb");
    sums();
    tiles();
    wanted();
    mixtures();
    softmax();
    within();
    gelu();
    rest();
    write_hex(count);
    write_hex(different);
    leave();
}
"""


@pytest.mark.parametrize("level", ["-O3", "-O0"])
@pytest.mark.parametrize("target", MACHINES)
def test_fpu_and_portable_kernels_give_the_same_bits(target: str, level: str, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(PROGRAM.replace("@SEMIHOSTING@", SEMIHOSTING) + VECTORS)
    (tmp_path / "tables.h").write_text("".join(starmap(table, TABLES.items())))
    (tmp_path / "link.ld").write_text(linker_script(target))
    flags = [f for f in TARGETS[target].flags if f != "-O3"] + [f"-D{d}" for d in TARGETS[target].defines]
    command = ["arm-none-eabi-gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", *flags, level]
    includes = [f"-I{firmware_dir() / part}" for part in ("runtime/include", "lib/src")]
    options = [*includes, f"-I{tmp_path}", "-nostartfiles", "-T", str(tmp_path / "link.ld")]
    image = tmp_path / "image.elf"
    subprocess.run([*command, str(tmp_path / "main.c"), *options, "-o", str(image)], check=True, timeout=120)
    count, different = numbers(image, MACHINES[target])
    assert count > 30_000
    assert different == 0
