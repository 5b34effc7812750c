"""A detector small enough to be written by hand: its C for a device, and the same in numpy.

The grid's cells hold the largest of three features of their tokens; half of the state before is added; the head's
numbers are sums of a cell's state. Nothing here is shared with training, the compiler or the host's reference.
"""

from __future__ import annotations

import io
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import spedge
from spedge.model.boxes import keep
from spedge.model.bundle import FILES, Bundle, write_bundle
from spedge.model.parts import Detection, Detector, Embedding, Sensor, TokenInput, Transformer
from spedge.model.spec import describe
from spedge.tokens.embedding import embed, position_embedding
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokenizer

WIDTH, HEIGHT, PATCH, CELL = 48, 32, 4, 2
HIDDEN, BUCKETS, TOKENS, SCALE, THRESHOLD = 14, 6, 12, 10_000.0, 8.0
ROWS, COLUMNS, STATE = 4, 6, 3  #: of the grid; features of a cell
STEP_US = 20_000
LEVELS = ((4, 8, 12), (8, 4, 6), (16, 2, 3))  #: stride, rows, columns
CELLS = sum(rows * columns for _, rows, columns in LEVELS)
LABELS = ("near", "far")
NUMBERS = CELLS * (5 + len(LABELS))
STATE_NUMBERS = 2 * ROWS * COLUMNS * STATE
TASK = Detection(LABELS, tuple(stride for stride, _, _ in LEVELS), STEP_US, score=0.2, nms_iou=0.5)


def events_of(n: int, span_us: int, seed: int = 0, start: int = 0) -> NDArray[np.void]:
    """n events on the sensor, more of them in some places than in others, at any times of span_us from start on."""
    random = np.random.default_rng(seed)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, span_us, n)) + start
    place = 0.5 + 0.5 * np.sin(events["t"] / 30_000)
    events["x"] = np.clip(place * WIDTH + random.normal(0, 8, n), 0, WIDTH - 1)
    events["y"] = np.clip(place * HEIGHT + random.normal(0, 8, n), 0, HEIGHT - 1)
    events["p"] = random.integers(0, 2, n)
    return events


def weights(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the embedding: [hidden, cells] and [hidden]."""
    random = np.random.default_rng(seed)
    cells = 2 * BUCKETS * PATCH**2
    return random.normal(0, 0.4, (HIDDEN, cells)).astype(np.float32), random.normal(0, 0.3, HIDDEN).astype(np.float32)


@dataclass(frozen=True)
class Step:
    """One of the twin's. tokens: of the chunk; rows: of them, what the detector sees. boxes: BOX_DTYPE [n]."""

    time: int
    tokens: int
    rows: int
    head: NDArray[np.float32]
    state: NDArray[np.float32]
    boxes: NDArray[Any]


def steps_of(
    events: NDArray[np.void], pool: int | None = None, made: Container[int] | None = None, most: int = 1000
) -> list[Step]:
    """All steps of a stream. made: times of those that are made, None: of all. most: candidates for a box."""
    tokenizer = Tokenizer(
        width=WIDTH, height=HEIGHT, patch_size=PATCH, threshold=THRESHOLD, kind="continuous", pool_events=pool
    )
    tokens = tokenizer.push(events)
    weight, bias = weights()
    h = np.zeros((ROWS, COLUMNS, STATE), np.float32)
    c = np.zeros_like(h)
    steps = []
    for chunk in np.unique(events["t"] // STEP_US).astype(int).tolist():
        end = (chunk + 1) * STEP_US
        if made is not None and end - 1 not in made:
            continue
        first, last = np.searchsorted(tokens.t, [chunk * STEP_US, end]).tolist()
        seen = tokens.between(max(first, last - TOKENS), last)
        ages = np.uint64(end - 1) - seen.t
        rows = embed(seen, weight, bias, PATCH, BUCKETS) + position_embedding(seen.x, seen.y, ages, HIDDEN, SCALE)
        pooled = np.zeros_like(h)
        for x, y, row in zip(seen.x.tolist(), seen.y.tolist(), rows, strict=True):
            cell = pooled[y // CELL, x // CELL]
            np.maximum(cell, row[:STATE], out=cell)
        h = np.float32(0.5) * h + pooled
        c = np.float32(0.5) * c + np.float32(0.25) * h
        head = _head(h, c)
        state = np.concatenate([h.ravel(), c.ravel()])
        boxes = keep(*_decoded(head), TASK, Sensor(WIDTH, HEIGHT), most).boxes
        steps.append(Step(end - 1, last - first, len(seen), head, state, boxes))
    return steps


def _head(h: NDArray[np.float32], c: NDArray[np.float32]) -> NDArray[np.float32]:
    f = np.float32
    head = np.zeros((CELLS, 5 + len(LABELS)), f)
    at = 0
    for stride, rows, columns in LEVELS:
        for row in range(rows):
            for column in range(columns):
                v = h[row * stride // (PATCH * CELL), column * stride // (PATCH * CELL)]
                u = c[row * stride // (PATCH * CELL), column * stride // (PATCH * CELL)]
                head[at, 0] = f(0.25) + f(0.125) * v[0]
                head[at, 1] = f(0.25) + f(0.125) * v[1]
                head[at, 2] = f(0.25) * v[2] - f(0.25)
                head[at, 3] = f(0.125) * u[0]
                head[at, 4] = v[0] - f(1.0) + f(0.0625) * f(at % 13)
                head[at, 5] = v[1] + u[2]
                head[at, 6] = v[2] - u[1]
                at += 1
    return head


def _decoded(head: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes [n, 4], centre and size in pixels, and scores [n, classes]."""
    places = np.concatenate(
        [np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2) for _, rows, columns in LEVELS]
    )
    strides = np.repeat([stride for stride, _, _ in LEVELS], [rows * columns for _, rows, columns in LEVELS])[:, None]
    boxes = np.concatenate([(head[:, :2] + places) * strides, np.exp(head[:, 2:4]) * strides], axis=1)
    scores = 1 / (1 + np.exp(-head[:, 4:5])) * (1 / (1 + np.exp(-head[:, 5:])))
    return boxes.astype(np.float32), scores.astype(np.float32)


_SOURCE = """#include "spedge/model.h"
#include <stddef.h>
#include <string.h>
enum { ROWS = %(rows)d, COLUMNS = %(columns)d, STATE = %(state)d, TOKENS = %(tokens)d, HIDDEN = %(hidden)d };
static const float weight[] = {%(weight)s};
static const float bias[] = {%(bias)s};

typedef struct arena {
    float input[TOKENS][HIDDEN];
    float head[%(cells)d][7];
    float hidden[ROWS * COLUMNS][STATE], cell[ROWS * COLUMNS][STATE];
    uint16_t cells[TOKENS];
} arena_t;

static const sp_detection_t detection = {
    .rows = ROWS, .columns = COLUMNS, .cell = %(cell)d, .step_us = %(step)d,
    .levels = {%(levels)s},
    .rule = {.score = %(score)rf, .iou = %(iou)rf, .width = %(width)d, .height = %(height)d, .classes = 2},
    .hidden = STATE, .hidden_offset = offsetof(arena_t, hidden), .cell_offset = offsetof(arena_t, cell),
};

static void reset(void *mem)
{
    arena_t *a = mem;
    memset(a->hidden, 0, sizeof a->hidden);
    memset(a->cell, 0, sizeof a->cell);
}

static void recur(arena_t *a, uint32_t count)
{
    static float pooled[ROWS * COLUMNS][STATE];
    memset(pooled, 0, sizeof pooled);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t f = 0; f < STATE; f++)
            if (a->input[i][f] > pooled[a->cells[i]][f])
                pooled[a->cells[i]][f] = a->input[i][f];
    for (uint32_t k = 0; k < ROWS * COLUMNS; k++) {
        for (uint32_t f = 0; f < STATE; f++) {
            a->hidden[k][f] = 0.5f * a->hidden[k][f] + pooled[k][f];
            a->cell[k][f] = 0.5f * a->cell[k][f] + 0.25f * a->hidden[k][f];
        }
    }
    memset(a->input, 0xee, sizeof a->input); /* destroys the input */
    memset(a->cells, 0xee, sizeof a->cells);
}

static volatile float waste;

static int encode(void *mem, uint32_t count)
{
    arena_t *a = mem;
    uint32_t at = 0;
    for (uint32_t i = 0; i < %(work)du; i++)
        waste = waste + 1.0f;
    recur(a, count);
    for (uint32_t l = 0; l < SP_DETECTION_LEVELS; l++) {
        const sp_boxes_level_t *level = &detection.levels[l];
        for (uint32_t row = 0; row < level->rows; row++) {
            for (uint32_t column = 0; column < level->columns; column++, at++) {
                const uint32_t k = row * level->stride / %(side)du * COLUMNS + column * level->stride / %(side)du;
                const float *v = a->hidden[k], *u = a->cell[k];
                float *head = a->head[at];
                head[0] = 0.25f + 0.125f * v[0];
                head[1] = 0.25f + 0.125f * v[1];
                head[2] = 0.25f * v[2] - 0.25f;
                head[3] = 0.125f * u[0];
                head[4] = v[0] - 1.0f + 0.0625f * (float)(at %% 13u);
                head[5] = v[1] + u[2];
                head[6] = v[2] - u[1];
            }
        }
    }
    return SP_OK;
}

static const uint32_t shape[] = {%(cells)d, 7};
static const sp_output_t outputs[] = {{"head", shape, 2, 7 * %(cells)d, offsetof(arena_t, head)}};

const sp_model_t sp_model = {
    .hash = {%(hash)s},
    .name = "stand-in",
    .tokenizer = {.width = %(width)d, .height = %(height)d, .patch_size = %(patch)d, .threshold = %(threshold)r},
    .embed = {.patch_size = %(patch)d, .hidden = HIDDEN, .buckets = %(buckets)d, .time_scale_us = %(scale)rf,
              .weight = weight, .bias = bias},
    .tokens = TOKENS,
    .task = SP_TASK_DETECTION,
    .output_count = 1,
    .outputs = outputs,
    .arena_bytes = (sizeof(arena_t) + 15u) / 16u * 16u,
    .input_offset = offsetof(arena_t, input),
    .cells_offset = offsetof(arena_t, cells),
    .detection = &detection,
    .encode = encode,
    .reset = reset,
};
"""


def bundle_of(folder: Path) -> Bundle:
    """A bundle of this name, size and embedding. Its graphs cannot be run."""
    weight, bias = weights()
    spec = describe(
        "stand-in",
        "stand-in",
        Sensor(WIDTH, HEIGHT),
        LABELS,
        TokenInput(
            TokenizerSettings(patch_size=PATCH, threshold=THRESHOLD), Embedding(BUCKETS, HIDDEN, SCALE), window=TOKENS
        ),
        Detector(Transformer(HIDDEN, intermediate=1, heads=1, layers=1), STATE, CELL, head=1),
    )
    arrays = io.BytesIO()
    np.savez(arrays, weight=weight, bias=bias)
    files = {name: arrays.getvalue() if name == "embedding.npz" else b"none" for name in FILES}
    return write_bundle(folder, replace(spec, task=TASK), files)


def source(work: int = 0, hash: bytes = bytes([1, 2, 3])) -> str:
    """model.c. work: additions of floats that each step takes, besides. hash: of the bundle."""
    weight, bias = weights()
    return _SOURCE % {
        "weight": _floats(weight.T),
        "bias": _floats(bias),
        "levels": ", ".join(f"{{{stride}, {rows}, {columns}}}" for stride, rows, columns in LEVELS),
        "rows": ROWS,
        "columns": COLUMNS,
        "state": STATE,
        "tokens": TOKENS,
        "hidden": HIDDEN,
        "cells": CELLS,
        "cell": CELL,
        "side": CELL * PATCH,
        "step": STEP_US,
        "score": TASK.score,
        "iou": TASK.nms_iou,
        "width": WIDTH,
        "height": HEIGHT,
        "patch": PATCH,
        "threshold": THRESHOLD,
        "buckets": BUCKETS,
        "scale": SCALE,
        "work": work,
        "hash": ", ".join(map(str, hash)),
    }


def _floats(values: NDArray[np.float32]) -> str:
    return ", ".join(f"{float(v)!r}f" for v in values.ravel())
