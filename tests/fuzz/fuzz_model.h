/* The model of the fuzzed application: two outputs, of one size or the other, whose numbers say of which run they are. Or
 * with FUZZ_DETECTOR a detector, of whose head and state the same holds. */
#ifndef FUZZ_MODEL_H_INCLUDED
#define FUZZ_MODEL_H_INCLUDED

#include "fuzz.h"

#include "spedge/model.h"

#include <string.h>

#define HIDDEN 6
#define TOKENS 5
static const float weight[2 * 2 * 4 * 4 * HIDDEN];
static const float bias[HIDDEN] = {1, 2, 3, 4, 5, 6};
#ifdef FUZZ_DETECTOR
#define GRID_ROWS 4u
#define GRID_COLUMNS 5u
#define CELLS (80u + 20u + 4u)
#define STATE (GRID_ROWS * GRID_COLUMNS * 3u)
#define ROWS 1u
static const uint32_t shape_head[] = {CELLS, 7};
static const sp_output_t outputs[] = {{"head", shape_head, 2, 7 * CELLS, sizeof(float) * 2 * STATE}};

static void set_rows(uint32_t rows)
{
    (void)rows;
}

static uint32_t numbers_of_all(void)
{
    return 7 * CELLS + 2 * STATE;
}
#else
#define ROWS 150u /* of the boxes: more numbers than a RESULT holds; or 1 */
static uint32_t shape_boxes[] = {ROWS, 4};
static const uint32_t shape_scores[] = {2};
static sp_output_t outputs[] = {
    {"boxes", shape_boxes, 2, 4 * ROWS, 0},
    {"scores", shape_scores, 1, 2, sizeof(float) * 4 * ROWS},
};

static void set_rows(uint32_t rows)
{
    shape_boxes[0] = rows;
    outputs[0].size = 4 * rows;
}

static uint32_t numbers_of_all(void)
{
    return outputs[0].size + outputs[1].size;
}

#endif

static uint32_t encoded, good; /* runs of the model, ever; the last that did not fail */

/* Number `at` of the row of all numbers: known to be of this run. */
static float number(uint32_t run, uint32_t at)
{
#ifdef FUZZ_DETECTOR /* so that there are boxes: many or few */
    return (float)((run * 7u + at * (3u + run % 5u)) % 13u) / 3.0f - (run % 3u == 0 ? 3.5f : 2.0f);
#else
    return (float)(run % 1000u * 1000u + at);
#endif
}

#ifdef FUZZ_DETECTOR
/* The state first, then the head; what is written behind them is the input and its cells. */
static int encode(void *arena, uint32_t count)
{
    float *numbers = arena;
    const uint16_t *cells = (const uint16_t *)(const void *)(numbers + numbers_of_all() + TOKENS * HIDDEN);
    FUZZ_REQUIRE(count <= TOKENS);
    for (uint32_t i = 0; i < count; i++)
        FUZZ_REQUIRE(cells[i] < GRID_ROWS * GRID_COLUMNS);
    encoded++;
    for (uint32_t i = 0; i < numbers_of_all(); i++)
        numbers[i < 7 * CELLS ? 2 * STATE + i : i - 7 * CELLS] = number(encoded, i);
    if (count == 3)
        return SP_ERR_CONFIG;
    good = encoded;
    return SP_OK;
}

static void reset(void *arena)
{
    memset(arena, 0, 2 * STATE * sizeof(float));
}

static const sp_detection_t detection = {
    .rows = GRID_ROWS,
    .columns = GRID_COLUMNS,
    .cell = 2,
    .step_us = 300,
    .levels = {{4, 8, 10}, {8, 4, 5}, {16, 2, 2}},
    .rule = {.score = 0.1f, .iou = 0.6f, .width = 40, .height = 30, .classes = 2},
    .hidden = 3,
    .hidden_offset = 0,
    .cell_offset = STATE * sizeof(float),
};
#else
static int encode(void *arena, uint32_t count)
{
    float *numbers = arena;
    FUZZ_REQUIRE(count <= TOKENS);
    FUZZ_REQUIRE(((uintptr_t)arena & 15u) == 0);
    memset(arena, 0xee, sizeof(float) * TOKENS * HIDDEN);
    encoded++;
    for (uint32_t i = 0; i < numbers_of_all(); i++)
        numbers[i < outputs[0].size ? i : 4 * ROWS + i - outputs[0].size] = number(encoded, i);
    if (count == 3)
        return SP_ERR_CONFIG;
    good = encoded;
    return SP_OK;
}
#endif

const sp_model_t sp_model = {
    .name = "fuzz",
    .tokenizer = {.width = 40, .height = 30, .patch_size = 4, .threshold = 3},
    .embed = {.patch_size = 4, .hidden = HIDDEN, .buckets = 2, .time_scale_us = 1000, .weight = weight, .bias = bias},
    .tokens = TOKENS,
    .task = SP_TASK_DETECTION,
    .output_count = sizeof outputs / sizeof *outputs,
    .outputs = outputs,
#ifdef FUZZ_DETECTOR
    .arena_bytes = sizeof(float) * (7 * CELLS + 2 * STATE + TOKENS * HIDDEN + TOKENS),
    .input_offset = sizeof(float) * (7 * CELLS + 2 * STATE),
    .cells_offset = sizeof(float) * (7 * CELLS + 2 * STATE + TOKENS * HIDDEN),
    .detection = &detection,
    .reset = reset,
#else
    .arena_bytes = sizeof(float) * (4 * ROWS + 2 + 2),
#endif
    .encode = encode,
};

#endif
