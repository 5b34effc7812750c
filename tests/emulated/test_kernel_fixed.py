"""The Armv6-M variants of the sums on integers give the same numbers as the portable ones, on an emulated core."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.needs import needs

from .bare import MISSING
from .test_kernel_int8 import compare

needs("tvm")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# Prints how many sums were compared, and how many were different.
PROGRAM = """
#include "spedge/kernel_fixed.h"
#if !defined(SP_INTEGERS_THUMB_H_INCLUDED) || !defined(SP_KERNEL_FIXED_THUMB_H_INCLUDED)
#error this core has no variants
#endif

enum { STEPS = SP_INTEGER_STEPS, GROUPS = 23 };
static int32_t x[4 * STEPS], w[4 * STEPS];
static _Alignas(4) int8_t bytes[4 * GROUPS];
static uint32_t state = 1, count, different;

static int32_t next(int32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (int32_t)(state >> 8) % below;
}

static void compare(const int32_t *ours, const int32_t *theirs)
{
    for (int r = 0; r < 4; ++r) {
        different += ours[r] != theirs[r];
        ++count;
    }
}

/* Numbers in halves: any, or the largest of one sign. */
static int32_t number(int extreme)
{
    const int32_t most = 1 << SP_INTEGER_BITS;
    return sp_integer_halves(extreme == 1 ? -most : extreme == 2 ? most : next(2 * most) - most);
}

static void sums(void)
{
    for (int32_t steps = 0; steps <= STEPS; steps += steps < 20 ? 1 : 44) {
        const int32_t shift = sp_k_fixed_shift(steps);
        for (int extreme = 0; extreme < 3; ++extreme) {
            for (int i = 0; i < 4 * STEPS; ++i) {
                x[i] = number(extreme);
                w[i] = number(extreme);
            }
            for (int32_t step = 1; step <= 4; step += 3) {
                int32_t ours[4] = {1, 1, 1, 1}, theirs[4];
                sp_integer_sums(x, w, step, steps, 24 - shift, ours);
                sp_integer_sums_c(x, w, step, steps, 24 - shift, theirs);
                compare(ours, theirs);
            }
        }
    }
}

static void sums_of_bytes(void)
{
    for (int32_t groups = 0; groups <= GROUPS; ++groups) {
        for (int extreme = 0; extreme < 2; ++extreme) {
            int32_t ours[4] = {1, 1, 1, 1}, theirs[4];
            for (int i = 0; i < 8 * GROUPS; ++i)
                x[i] = extreme ? -128 - 128 * 65536 : next(256) - 128 + (next(256) - 128) * 65536;
            for (int i = 0; i < 4 * GROUPS; ++i)
                bytes[i] = (int8_t)(extreme ? 1 : next(255) + 1); /* 128 more than -127 .. 127 */
            sp_k_fixed_dot8(x, bytes, groups, 4, ours);
            sp_k_fixed_dot8_c(x, bytes, groups, 4, theirs);
            compare(ours, theirs);
        }
    }
}

void reset(void)
{
    sums();
    sums_of_bytes();
    write_hex(count);
    write_hex(different);
    leave();
}
"""


@pytest.mark.parametrize("level", ["-O3", "-O0"])
def test_thumb_and_portable_sums_are_the_same(level: str, tmp_path: Path) -> None:
    count, different = compare(PROGRAM, "cortex-m0plus", level, tmp_path, "mps2-m0plus")
    assert count > 700
    assert different == 0
