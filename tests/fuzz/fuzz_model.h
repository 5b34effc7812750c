/* The model of the fuzzed application: two outputs, of one size or the other, whose numbers say of which run they are. */
#ifndef FUZZ_MODEL_H_INCLUDED
#define FUZZ_MODEL_H_INCLUDED

#include "fuzz.h"

#include "spedge/model.h"

#include <string.h>

#define HIDDEN 6
#define TOKENS 5
static const float weight[2 * 2 * 4 * 4 * HIDDEN];
static const float bias[HIDDEN] = {1, 2, 3, 4, 5, 6};
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

static uint32_t encoded, good; /* runs of the model, ever; the last that did not fail */

/* Number `at` of the row of all numbers: known to be of this run. */
static float number(uint32_t run, uint32_t at)
{
    return (float)(run % 1000u * 1000u + at);
}

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

const sp_model_t sp_model = {
    .name = "fuzz",
    .tokenizer = {.width = 40, .height = 30, .patch_size = 4, .threshold = 3},
    .embed = {.patch_size = 4, .hidden = HIDDEN, .buckets = 2, .time_scale_us = 1000, .weight = weight, .bias = bias},
    .tokens = TOKENS,
    .task = SP_TASK_DETECTION,
    .output_count = 2,
    .outputs = outputs,
    .arena_bytes = sizeof(float) * (4 * ROWS + 2 + 2),
    .encode = encode,
};

#endif
