"""The DSP variants of the integer kernels give the same bytes as the portable ones, on emulated cores."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from spedge.base.paths import firmware_dir
from spedge.compile import TARGETS
from tests.needs import needs

from .bare import MACHINES, MISSING, SEMIHOSTING, VECTORS, linker_script, numbers

needs("tvm")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# Prints how many sums and rounded numbers were compared, and how many were different.
PROGRAM = """
#include "spedge/kernel_int8.h"
#ifndef SP_KERNEL_INT8_DSP_H_INCLUDED
#error this core has no DSP variant
#endif

static _Alignas(8) int16_t x[40 * 6 * 4];
static _Alignas(8) int8_t w[40 * 4];
static uint32_t state = 1;

static uint32_t next(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static uint32_t compare_dots(uint32_t *count)
{
    uint32_t different = 0;
    for (int32_t rows = 1; rows <= 6; ++rows) {
        for (int32_t groups = 1; groups <= 40; groups += 3) {
            int32_t ours[6], theirs[6];
            const int extreme = groups == 40; /* the largest products, all of one sign */
            for (int i = 0; i < 40 * 6 * 4; ++i) {
                x[i] = extreme ? (int16_t)-128 : (int16_t)((int32_t)(next() & 255u) - 128);
            }
            for (int i = 0; i < 40 * 4; ++i) {
                w[i] = extreme ? (int8_t)-127 : (int8_t)((int32_t)(next() % 255u) - 127);
            }
            sp_k_dot(x, w, groups, rows, ours);
            sp_k_dot_c(x, w, groups, rows, theirs);
            for (int32_t r = 0; r < rows; ++r) {
                different += ours[r] != theirs[r];
                ++*count;
            }
        }
    }
    return different;
}

static uint32_t compare_roundings(uint32_t *count)
{
    uint32_t different = 0;
    for (uint32_t i = 0; i < 40000u; ++i) {
        const uint32_t bits = i < 20000u ? i * 214748u : 0;
        float value = (float)((int32_t)(i % 2000u) - 1000) * 0.125f; /* ties among them */
        if (i < 20000u) {
            if ((bits & 0x7f800000u) == 0x7f800000u) {
                continue;
            }
            memcpy(&value, &bits, sizeof value);
        }
        different += sp_k_quantise(value) != sp_k_quantise_c(value);
        ++*count;
    }
    return different;
}

void reset(void)
{
    uint32_t count = 0, different;
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the FPU on */
    __asm__ volatile("dsb\\n isb");
    different = compare_dots(&count);
    different += compare_roundings(&count);
    write_hex(count);
    write_hex(different);
    leave();
}
"""


def compare(program: str, target: str, level: str, folder: Path, board: str = "") -> tuple[int, int]:
    """How many numbers the program compared on the target's core, and how many were different. board: in place of the
    target's in MACHINES."""
    (folder / "main.c").write_text(program.replace("void reset(void)", f"{SEMIHOSTING}\nvoid reset(void)") + VECTORS)
    (folder / "link.ld").write_text(linker_script(target))
    flags = [f for f in TARGETS[target].flags if f != "-O3"]
    command = ["arm-none-eabi-gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", *flags, level]
    options = [*(f"-I{firmware_dir() / part / 'include'}" for part in ("runtime", "lib")), "-nostartfiles"]
    options += ["-T", str(folder / "link.ld")]
    image = folder / "image.elf"
    subprocess.run([*command, str(folder / "main.c"), *options, "-o", str(image)], check=True, timeout=120)
    count, different = numbers(image, board or MACHINES[target])
    return count, different


@pytest.mark.parametrize("level", ["-O3", "-O0"])
@pytest.mark.parametrize("target", MACHINES)
def test_dsp_and_portable_kernels_give_the_same_bytes(target: str, level: str, tmp_path: Path) -> None:
    count, different = compare(PROGRAM, target, level, tmp_path)
    assert count > 30_000
    assert different == 0
