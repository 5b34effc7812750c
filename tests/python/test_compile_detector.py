"""Detectors in C: the steps of a compiled one are those of its encoder.onnx."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.needs import needs

needs("cc", "tvm", "onnx", "torch", "onnxruntime")

_DRIVER = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(const unsigned char *arena, uint32_t offset, size_t n)
{
    fwrite(arena + offset, sizeof(float), n, stdout);
}

/* Steps from standard input: a count, rows and cells; 0xffffffff: forget all of them. */
int main(void)
{
    unsigned char *arena = aligned_alloc(16, sp_model.arena_bytes);
    const sp_detection_t *of = sp_model.detection;
    const size_t state = (size_t)of->rows * of->columns * of->hidden;
    uint32_t count;
    memset(arena, 0xee, sp_model.arena_bytes); /* no number of it */
    sp_model.reset(arena);
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        if (count == 0xffffffffu) {
            sp_model.reset(arena);
            continue;
        }
        if (fread(arena + sp_model.input_offset, SP_MODEL_HIDDEN * sizeof(float), count, stdin) != count ||
            fread(arena + sp_model.cells_offset, sizeof(uint16_t), count, stdin) != count ||
            sp_model.encode(arena, count) != SP_OK)
            return 2;
        put(arena, sp_model.outputs[0].offset, sp_model.outputs[0].size);
        put(arena, of->hidden_offset, state);
        put(arena, of->cell_offset, state);
        memset(arena + sp_model.outputs[0].offset, 0xee, 4 * sp_model.outputs[0].size);
    }
    return sp_model.encode(arena, SP_MODEL_TOKENS + 1) == SP_ERR_CAPACITY ? 0 : 3;
}
"""
