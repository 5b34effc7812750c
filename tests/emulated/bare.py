"""Programs without an operating system on emulated Cortex-M cores: a model alone, or a test of kernels."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spedge.base.paths import firmware_dir
from spedge.boards import qemu
from spedge.boards.manifest import load_board
from spedge.compile import TARGETS

TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
MACHINES = {"cortex-m7": "mps2-an500", "cortex-m4": "mps2-an386", "cortex-m55": "mps3-an547"}

LINKER = """
MEMORY
{
  CODE (rx) : ORIGIN = @CODE@, LENGTH = 512K
  DATA (rwx) : ORIGIN = @DATA@, LENGTH = 512K
}
SECTIONS
{
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } >CODE
  .bss (NOLOAD) : { *(.data*) *(.bss*) *(COMMON) } >DATA
  stack_top = ORIGIN(DATA) + LENGTH(DATA);
}
"""

SEMIHOSTING = """
extern char stack_top;

static int semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void write_hex(uint32_t value)
{
    char text[10];
    for (int i = 0; i < 8; ++i) {
        text[i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15u];
    }
    text[8] = '\\n';
    text[9] = 0;
    semihosting(4, text);
}

static void leave(void)
{
    static const uint32_t good[2] = {0x20026u, 0u};
    semihosting(0x20, good);
    for (;;) {
    }
}

"""

VECTORS = """
__attribute__((section(".vectors"), used)) static const void *const vectors[8] =
    {&stack_top, reset, leave, leave, leave, leave, leave};
"""


def linker_script(target: str) -> str:
    """Memory as the target's machine has it at reset: the Cortex-M55 starts in its secure half."""
    code, data = ("0x10000000", "0x30000000") if target == "cortex-m55" else ("0x00000000", "0x20000000")
    return LINKER.replace("@CODE@", code).replace("@DATA@", data)


# Runs each case and writes its logits' bits through semihosting; no C library is started.
MAIN = """
#include "model.h"
#include "cases.h"

#ifndef SP_MODEL_HIDDEN /* no tokens: the whole input is one row */
#define SP_MODEL_HIDDEN SP_MODEL_INPUT_FLOATS
#endif

static _Alignas(16) unsigned char arena[SP_MODEL_ARENA_BYTES];

void reset(void)
{
    const float *rows = case_rows;
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the FPU on */
    __asm__ volatile("dsb\\n isb");
    for (unsigned c = 0; c < sizeof case_counts / sizeof *case_counts; ++c) {
        float *input = (float *)(arena + sp_model.input_offset);
        for (uint32_t i = 0; i < case_counts[c] * SP_MODEL_HIDDEN; ++i) {
            input[i] = *rows++;
        }
        if (sp_model.encode(arena, case_counts[c]) != SP_OK) {
            break;
        }
        for (unsigned i = 0; i < SP_MODEL_OUTPUT_FLOATS; ++i) {
            union { float f; uint32_t u; } bits = {sp_model_output(arena, &sp_model.outputs[0])[i]};
            write_hex(bits.u);
        }
    }
    leave();
}

"""


# Runs each model of a table once on each of its inputs; no C library is started.
MANY = """
static void run(const sp_model_t *model, const float *rows, uint32_t floats)
{
    float *input = (float *)(arena + model->input_offset);
    for (uint32_t i = 0; i < sizeof arena; ++i) {
        arena[i] = 0xff; /* what is not written must not be used */
    }
    for (uint32_t i = 0; i < floats; ++i) {
        input[i] = rows[i];
    }
    if (model->encode(arena, model->tokens) != SP_OK) {
        leave();
    }
    for (uint32_t i = 0; i < model->outputs[0].size; ++i) {
        union { float f; uint32_t u; } bits = {sp_model_output(arena, &model->outputs[0])[i]};
        write_hex(bits.u);
    }
}

void reset(void)
{
    const float *at = rows;
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the FPU on */
    __asm__ volatile("dsb\\n isb");
    for (uint32_t m = 0; m < sizeof models / sizeof *models; ++m) {
        for (uint32_t i = 0; i < NUMBER; ++i, at += floats[m]) {
            run(models[m], at, floats[m]);
        }
    }
    leave();
}

"""


def build_many(work: Path, target: str, models: str, inputs: Sequence[Sequence[np.ndarray]], arena: int) -> Path:
    """An image with a source of many models (onnx_models.source_of), and as many inputs for each.

    arena: the largest that one of them asks for, in bytes.
    """
    work.mkdir()
    sizes = ", ".join(f"{given[0].size}u" for given in inputs)
    rows = ", ".join(f"{float(x)!r}f" for given in inputs for x in np.concatenate([x.ravel() for x in given]))
    data = f"enum {{ NUMBER = {len(inputs[0])} }};\nstatic _Alignas(16) unsigned char arena[{arena}];\n"
    data += f"static const uint32_t floats[] = {{{sizes}}};\nstatic const float rows[] = {{{rows}}};\n"
    return _link(work, target, "\n".join([models, data, SEMIHOSTING, MANY, VECTORS]), [], [])


def build(folder: Path, target: str, cases: list[np.ndarray]) -> Path:
    """An image with the generated model and the cases in it."""
    model = folder / "model"
    rows = ", ".join(f"{float(x)!r}f" for x in np.concatenate(cases).ravel())
    counts = ", ".join(f"{len(c)}u" for c in cases)
    (folder / "cases.h").write_text(
        f"static const uint32_t case_counts[] = {{{counts}}};\nstatic const float case_rows[] = {{{rows}}};\n"
    )
    main = MAIN.replace("void reset(void)", f"{SEMIHOSTING}\nvoid reset(void)") + VECTORS
    return _link(folder, target, main, [model / f"{name}.c" for name in ("model", "kernels", "weights")], [model])


def _link(folder: Path, target: str, main: str, more: list[Path], places: list[Path]) -> Path:
    (folder / "main.c").write_text(main)
    (folder / "link.ld").write_text(linker_script(target))
    own = [firmware_dir() / part / "include" for part in ("lib", "runtime")]
    includes = [f"-I{path}" for path in (folder, *places, *own)]
    sources = [str(path) for path in (folder / "main.c", *more)]
    command = ["arm-none-eabi-gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", *TARGETS[target].flags, *includes]
    options = ["-nostartfiles", "-T", str(folder / "link.ld"), "-o", str(folder / "image.elf")]
    subprocess.run([*command, *sources, *options], check=True, timeout=300)
    return folder / "image.elf"


def command(board: str, image: Path) -> list[str]:
    """QEMU as that board, running a program that speaks through semihosting, to stdout. Instructions are not counted:
    that would be slower."""
    own = load_board(board).qemu
    assert own
    own = replace(own, arguments=tuple(a for a in own.arguments if a not in ("-icount", "shift=0")))
    speaks = ["-chardev", "stdio,id=said", "-semihosting-config", "enable=on,target=native,chardev=said"]
    return qemu.command(own, image, *speaks)


def numbers(image: Path, board: str) -> list[int]:
    """What the program says: hexadecimal numbers, one a line."""
    return [int(line, 16) for line in output_of(command(board, image)).split()]


def output_of(command: list[str]) -> str:
    """What a program that has to end well writes to stdout."""
    silent = subprocess.DEVNULL  # QEMU would set up a terminal
    return subprocess.run(command, stdin=silent, stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout


def run(image: Path, board: str) -> np.ndarray:
    """All outputs of an image on an emulated board: float32, one after the other."""
    return np.array(numbers(image, board), np.uint32).view(np.float32)
