"""The error bounds that kernel_math.h and kernel_panel.h state, over the whole range of each function."""

from __future__ import annotations

import subprocess
from itertools import starmap
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.compile.kernels.tables import exp2_table, gelu_table, powers_table
from tests.needs import needs

needs("cc")

TABLES = {"exp2_table": exp2_table(), "gelu_table": gelu_table(512), "powers_table": powers_table()}

# Walks every 127th float of the range (all exponents, both signs) and prints the largest error against double libm.
PROGRAM = """
#include "spedge/kernel_panel.h"
#include "tables.h"
#include <math.h>
#include <stdio.h>

static double limited(double x, double low, double high) { return x < low ? low : x > high ? high : x; }
static double exp2_reference(double x) { return exp2(limited(x, -126, 127)); }
static double exp_reference(double x) { return exp(x); }
static double gelu_reference(double x) { return 0.5 * x * (1 + erf(x / sqrt(2.0))); }
static double elu_reference(double x) { return x > 0 ? x : expm1(x); }
static double sigmoid_reference(double x) { return 1 / (1 + exp(-x)); }

static double eighth_reference(double x) { return exp2(x / 8); }

static float eighth(float x)
{
    float scores[4] = {x, 0, 0, 0}, shift[4] = {SP_K_MAGIC, SP_K_MAGIC, SP_K_MAGIC, SP_K_MAGIC}, total[4];
    sp_k_panel_powers_c(scores, 1, shift, exp2_table, total);
    return scores[0];
}

static double step_reference(double x) { return exp2(x / 1024); }

static float step(float x)
{
    float scores[4] = {x, 0, 0, 0}, total[4];
    sp_k_panel_powers_within_c(scores, 1, powers_table, total);
    return scores[0];
}

/* How much less weight a key has whose score is an octave less, whatever the scores. */
static float half(float top)
{
    float scores[8] = {floorf(top), 0, 0, 0, floorf(top) - 8, 0, 0, 0}, tops[4] = {floorf(top), 0, 0, 0}, total[4];
    sp_k_panel_exp2(scores, 2, tops, exp2_table, 4, total);
    return scores[4] / scores[0];
}

static double half_reference(double x) { return x - x + 0.5; }

static float panel_gelu(float x)
{
    float four[4] = {SP_K_GELU_STEPS * x, 0, 0, 0};
    sp_k_panel_gelu_c(four, gelu_table + 4 * 512);
    return four[0];
}

static float panel_gelu_within(float x)
{
    float four[4] = {SP_K_GELU_STEPS * x, 0, 0, 0};
    sp_k_panel_gelu_columns_c(four, 1, gelu_table + 4 * 512, 1);
    return four[0];
}

static void walk(const char *name, float (*ours)(float), double (*theirs)(double), float low, float high,
                 int relative)
{
    double worst = 0;
    uint64_t bits;
    for (bits = 0; bits <= 0xffffffffu; bits += 127) {
        const uint32_t b = (uint32_t)bits;
        float x;
        double want, error;
        memcpy(&x, &b, sizeof x);
        if (!(x >= low && x <= high)) {
            continue;
        }
        want = theirs((double)x);
        error = fabs((double)ours(x) - want);
        error /= relative == 1 ? fabs(want) : relative == 2 ? fmax(1, fabs((double)x)) : 1;
        worst = error > worst || error != error ? error : worst;
    }
    printf("%s %.9g\\n", name, worst);
}

int main(void)
{
    walk("exp2", sp_k_exp2f, exp2_reference, -3e38f, 127.0f, 1);
    walk("exp", sp_k_expf, exp_reference, -87.0f, 87.0f, 1);
    walk("erf", sp_k_erff, erf, -3e38f, 3e38f, 0);
    walk("gelu", sp_k_geluf, gelu_reference, -1e18f, 1e18f, 2);
    walk("panel_exp2", eighth, eighth_reference, -254.5f, 0.0f, 1);
    walk("panel_exp2_within", step, step_reference, -65536.0f, 65536.0f, 1);
    walk("panel_exp2_tail", eighth, eighth_reference, -3e38f, -254.5f, 0);
    walk("panel_exp2_half", half, half_reference, -1e7f, 1e7f, 0);
    walk("panel_gelu", panel_gelu, gelu_reference, -1e18f, 1e18f, 2);
    walk("panel_gelu_within", panel_gelu_within, gelu_reference, -15.9f, 15.9f, 2);
    walk("elu", sp_k_eluf, elu_reference, -3e38f, 3e38f, 2);
    walk("sigmoid", sp_k_sigmoidf, sigmoid_reference, -3e38f, 3e38f, 0);
    walk("tanh", sp_k_tanhf, tanh, -1e38f, 1e38f, 0);
    return 0;
}
"""
BOUNDS = {
    "exp2": 2.5e-7,
    "exp": 4e-7,
    "erf": 2e-7,
    "gelu": 2e-7,
    "panel_exp2": 2.5e-7,
    "panel_exp2_within": 2.5e-7,
    "panel_exp2_tail": 2.8e-10,
    "panel_exp2_half": 4e-7,
    "panel_gelu": 2.5e-7,
    "panel_gelu_within": 2.5e-7,
    "elu": 4e-7,
    "sigmoid": 2e-7,
    "tanh": 3e-7,
}


def table(name: str, values: NDArray[np.float32]) -> str:
    """A table as C."""
    return f"static const float {name}[] = {{{', '.join(f'{v:.9e}f' for v in values.ravel())}}};\n"


@pytest.mark.parametrize("fused", [False, True])
def test_bounds_hold_over_the_whole_range(repository: Path, tmp_path: Path, fused: bool) -> None:
    if fused and "fma" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this machine has no fused multiply-add")
    source, program = tmp_path / "math.c", tmp_path / "math"
    source.write_text(PROGRAM)
    (tmp_path / "tables.h").write_text("".join(starmap(table, TABLES.items())))
    include = repository / "firmware/runtime/include"
    flags = ["-O2", "-std=gnu99", "-ffp-contract=off", *(["-mfma"] if fused else [])]
    subprocess.run(["cc", *flags, f"-I{include}", str(source), "-lm", "-o", str(program)], check=True)
    lines = subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=120).stdout
    errors = {name: float(error) for name, error in map(str.split, lines.splitlines())}
    assert errors.keys() == BOUNDS.keys()
    assert {n: e for n, e in errors.items() if not e <= BOUNDS[n]} == {}
