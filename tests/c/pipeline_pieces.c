#include "pipeline_pieces.h"

#include "harness.h"

static float weight[CELLS * HIDDEN], bias[HIDDEN];

sp_pipeline_config_t pieces_config(void)
{
    uint32_t state = 11;
    for (size_t i = 0; i < CELLS * HIDDEN; i++)
        weight[i] = (float)harness_random(&state, 2001) / 1000.0f - 1.0f;
    for (size_t i = 0; i < HIDDEN; i++)
        bias[i] = (float)i / 10.0f;
    return (sp_pipeline_config_t){
        .tokenizer = {.width = 34, .height = 34, .patch_size = P, .pool_events = 4096, .threshold = 20.0},
        .embed = {.hidden = HIDDEN, .buckets = BUCKETS, .time_scale_us = 10000.0f, .weight = weight, .bias = bias},
        .window_tokens = WINDOW};
}

sp_pipeline_t *pieces_pipeline(const sp_pipeline_config_t *c)
{
    const size_t size = sp_pipeline_size(c);
    sp_pipeline_t *pipe = NULL;
    CHECK(size > 0);
    CHECK_EQ(sp_pipeline_init(&pipe, c, harness_alloc(size), size), SP_OK);
    return pipe;
}

uint8_t *pieces_encode(const sp_event_t *events, size_t n)
{
    uint8_t *bytes = harness_alloc(8 * n);
    for (size_t i = 0; i < n; i++) {
        const sp_event_t *e = &events[i];
        const uint32_t words[2] = {0x80000000u | (uint32_t)(e->t >> 6),
                                   (uint32_t)e->p << 28 | (uint32_t)(e->t & 63) << 22 | (uint32_t)e->x << 11 | e->y};
        for (size_t k = 0; k < 8; k++)
            bytes[8 * i + k] = (uint8_t)(words[k / 4] >> 8 * (k % 4));
    }
    return bytes;
}
