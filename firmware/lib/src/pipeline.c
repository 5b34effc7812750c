#include "spedge/pipeline.h"

#include <string.h>

#define POSITION_BYTES_MAX 4096u

struct sp_pipeline {
    sp_pipeline_config_t config;
    sp_evt2_t decoder;
    sp_tokenizer_t *tokenizer;
    uint16_t xy_size, t_size;
    uint32_t steps;
    size_t scratch_size;
    uint64_t tokens; /* embedded since reset; the newest is at (tokens - 1) % rows */
    uint32_t rows;   /* of the ring: T, or 1 with one_by_one */
    uint64_t origin; /* with one_by_one: time of the window's first token */
    uint64_t cost_tokenize, cost_embed;
    sp_clock_fn clock;
    void *clock_context;
    sp_token_fn on_token;
    void *token_context;

    /* in the caller's memory, behind this struct */
    uint64_t *times;        /* [rows] */
    void *scratch;
    float *xy_wavelengths;  /* [xy_size] */
    float *xy_positions;    /* [steps][xy_size]: of the first columns and rows, the others are computed when needed */
    float *t_wavelengths;   /* [t_size] */
    float *ring;            /* [rows][hidden]: linear embedding and the positions of x and y */
};

static int has_embedding(const sp_pipeline_config_t *config)
{
    return config->embed.weight != NULL;
}

static int check(const sp_pipeline_config_t *config, sp_pipeline_config_t *full)
{
    sp_pipeline_config_t c = *config;
    int rc = sp_tokenizer_config_check(&config->tokenizer, &c.tokenizer);

    if (rc == SP_OK && has_embedding(config)) {
        if (c.embed.patch_size == 0)
            c.embed.patch_size = c.tokenizer.patch_size;
        rc = sp_embed_config_check(&c.embed, &c.embed);
        if (c.embed.patch_size != c.tokenizer.patch_size || !c.embed.bias || c.window_tokens == 0)
            rc = SP_ERR_CONFIG;
    }
    if (rc == SP_OK)
        *full = c;
    return rc;
}

static uint32_t ring_rows(const sp_pipeline_config_t *config)
{
    return config->one_by_one ? 1u : config->window_tokens;
}

static uint64_t round8(uint64_t n)
{
    return (n + 7u) & ~UINT64_C(7);
}

/* Columns or rows of patches, whichever are more, as long as their positions take little memory. */
static uint32_t steps_of(const sp_pipeline_config_t *c, uint32_t xy_size)
{
    const uint32_t longer = c->tokenizer.width > c->tokenizer.height ? c->tokenizer.width : c->tokenizer.height;
    const uint32_t steps = (longer + c->tokenizer.patch_size - 1u) / c->tokenizer.patch_size;
    const uint32_t most = xy_size == 0 ? 0 : POSITION_BYTES_MAX / (xy_size * (uint32_t)sizeof(float));
    return steps < most ? steps : most;
}

/* Bytes for the pipeline, the tokenizer at the end; places the parts when pipe is given. */
static uint64_t layout(sp_pipeline_t *pipe, const sp_pipeline_config_t *c, uint64_t *tokenizer_at)
{
    const int embeds = has_embedding(c);
    const uint64_t window = embeds ? ring_rows(c) : 0, hidden = embeds ? c->embed.hidden : 0;
    const uint64_t scratch = embeds ? sp_embed_scratch_size(&c->embed) : 0;
    const uint64_t times_at = round8(sizeof(sp_pipeline_t));
    const uint64_t scratch_at = times_at + window * sizeof(uint64_t);
    const uint64_t waves_at = round8(scratch_at + scratch);
    uint16_t xy_size, t_size;

    sp_embed_position_sizes((uint16_t)hidden, &xy_size, &t_size);
    const uint32_t steps = embeds ? steps_of(c, xy_size) : 0;
    const uint64_t ring_at = round8(waves_at + ((uint64_t)(1u + steps) * xy_size + t_size) * sizeof(float));
    *tokenizer_at = round8(ring_at + window * hidden * sizeof(float));
    if (pipe) {
        uint8_t *base = (uint8_t *)pipe;
        pipe->rows = (uint32_t)window;
        pipe->xy_size = xy_size;
        pipe->t_size = t_size;
        pipe->scratch_size = (size_t)scratch;
        pipe->times = (uint64_t *)(void *)(base + times_at);
        pipe->scratch = base + scratch_at;
        pipe->xy_wavelengths = (float *)(void *)(base + waves_at);
        pipe->t_wavelengths = pipe->xy_wavelengths + xy_size;
        pipe->xy_positions = pipe->t_wavelengths + t_size;
        pipe->steps = steps;
        pipe->ring = (float *)(void *)(base + ring_at);
    }
    return *tokenizer_at + sp_tokenizer_size(&c->tokenizer);
}

size_t sp_pipeline_size(const sp_pipeline_config_t *config)
{
    sp_pipeline_config_t full;
    uint64_t tokenizer_at;

    if (check(config, &full) != SP_OK || sp_tokenizer_size(&full.tokenizer) == 0)
        return 0;
    const uint64_t bytes = layout(NULL, &full, &tokenizer_at);
    return bytes > SIZE_MAX ? 0 : (size_t)bytes;
}

int sp_pipeline_init(sp_pipeline_t **out, const sp_pipeline_config_t *config, void *mem, size_t size)
{
    const size_t need = sp_pipeline_size(config);
    uint64_t tokenizer_at;

    if (need == 0)
        return SP_ERR_CONFIG;
    if (!mem || (uintptr_t)mem % 8u != 0 || size < need)
        return SP_ERR_MEMORY;

    sp_pipeline_t *pipe = mem;
    memset(pipe, 0, sizeof *pipe);
    check(config, &pipe->config);
    layout(pipe, &pipe->config, &tokenizer_at);
    const int rc = sp_tokenizer_init(&pipe->tokenizer, &pipe->config.tokenizer, (uint8_t *)mem + tokenizer_at,
                                     size - (size_t)tokenizer_at);
    if (rc != SP_OK)
        return rc;
    memset(pipe->scratch, 0, pipe->scratch_size);
    sp_embed_position_wavelengths(pipe->xy_size, pipe->xy_wavelengths);
    sp_embed_position_wavelengths(pipe->t_size, pipe->t_wavelengths);
    memset(pipe->xy_positions, 0, (size_t)pipe->steps * pipe->xy_size * sizeof *pipe->xy_positions);
    for (uint32_t i = 0; i < pipe->steps; i++)
        sp_embed_position_add(&pipe->xy_positions[(size_t)i * pipe->xy_size], pipe->xy_size, pipe->xy_wavelengths, (float)i);
    sp_pipeline_reset(pipe);
    *out = pipe;
    return SP_OK;
}

void sp_pipeline_reset(sp_pipeline_t *pipe)
{
    sp_evt2_init(&pipe->decoder);
    sp_tokenizer_reset(pipe->tokenizer);
    pipe->tokens = 0;
    pipe->cost_tokenize = 0;
    pipe->cost_embed = 0;
}

void sp_pipeline_set_clock(sp_pipeline_t *pipe, sp_clock_fn clock, void *context)
{
    pipe->clock = clock;
    pipe->clock_context = context;
}

void sp_pipeline_set_observer(sp_pipeline_t *pipe, sp_token_fn on_token, void *context)
{
    pipe->on_token = on_token;
    pipe->token_context = context;
}

static uint64_t now(const sp_pipeline_t *pipe)
{
    return pipe->clock ? pipe->clock(pipe->clock_context) : 0;
}

/* Add the position of a patch's column or row. */
static void add_step(const sp_pipeline_t *pipe, uint32_t step, float *out)
{
    if (step < pipe->steps) {
        const float *position = &pipe->xy_positions[(size_t)step * pipe->xy_size];
        for (uint32_t i = 0; i < pipe->xy_size; i++)
            out[i] += position[i];
    } else {
        sp_embed_position_add(out, pipe->xy_size, pipe->xy_wavelengths, (float)step);
    }
}

static void embed(sp_pipeline_t *pipe, const sp_token_t *token)
{
    const uint32_t at = (uint32_t)(pipe->tokens % pipe->rows);
    float *row = &pipe->ring[(size_t)at * pipe->config.embed.hidden];

    sp_embed_token(&pipe->config.embed, pipe->tokenizer, pipe->scratch, pipe->scratch_size, row);
    add_step(pipe, token->x, row);
    add_step(pipe, token->y, row + pipe->xy_size);
    pipe->times[at] = token->t;
    if (pipe->tokens % pipe->config.window_tokens == 0)
        pipe->origin = token->t;
    pipe->tokens++;
}

static void take_token(sp_pipeline_t *pipe)
{
    const sp_token_t *token = sp_tokenizer_token(pipe->tokenizer);

    if (has_embedding(&pipe->config)) {
        const uint64_t start = now(pipe);
        embed(pipe, token);
        pipe->cost_embed += now(pipe) - start;
    }
    if (pipe->on_token)
        pipe->on_token(pipe->token_context, pipe->tokenizer, token);
}

int sp_pipeline_feed_evt2(sp_pipeline_t *pipe, const uint8_t *in, size_t n, size_t *used, int stop_at_token)
{
    int rc;

    *used = 0;
    do {
        size_t step;
        const uint64_t start = now(pipe);
        rc = sp_tokenizer_push_evt2(pipe->tokenizer, &pipe->decoder, in + *used, n - *used, &step);
        pipe->cost_tokenize += now(pipe) - start;
        *used += step;
        if (rc == SP_TOKEN)
            take_token(pipe);
    } while (rc == SP_TOKEN && !stop_at_token);
    return rc;
}

/* Copy a row of the ring with its time, counted from since. */
static void copy_row(const sp_pipeline_t *pipe, uint32_t at, uint64_t since, float *out)
{
    const uint32_t hidden = pipe->config.embed.hidden;

    memcpy(out, &pipe->ring[(size_t)at * hidden], hidden * sizeof *out);
    sp_embed_position_add(out + 2u * pipe->xy_size, pipe->t_size, pipe->t_wavelengths,
                          (float)(pipe->times[at] - since) / pipe->config.embed.time_scale_us);
}

uint32_t sp_pipeline_newest(sp_pipeline_t *pipe, float *out)
{
    if (!has_embedding(&pipe->config) || !pipe->config.one_by_one || pipe->tokens == 0)
        return 0;
    copy_row(pipe, 0, pipe->origin, out);
    return (uint32_t)((pipe->tokens - 1) % pipe->config.window_tokens) + 1u;
}

uint32_t sp_pipeline_window(sp_pipeline_t *pipe, float *out)
{
    if (!has_embedding(&pipe->config) || pipe->config.one_by_one)
        return 0;

    const uint32_t window = pipe->config.window_tokens, hidden = pipe->config.embed.hidden;
    const uint32_t rows = pipe->tokens < window ? (uint32_t)pipe->tokens : window;
    const uint64_t first = pipe->tokens - rows;

    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t at = (uint32_t)((first + i) % window);
        copy_row(pipe, at, pipe->times[first % window], &out[(size_t)i * hidden]);
    }
    memset(&out[(size_t)rows * hidden], 0, (size_t)(window - rows) * hidden * sizeof *out);
    return rows;
}

void sp_pipeline_stats(const sp_pipeline_t *pipe, sp_pipeline_stats_t *stats)
{
    stats->decode = pipe->decoder.stats;
    sp_tokenizer_stats(pipe->tokenizer, &stats->tokenizer);
    stats->cost_tokenize = pipe->cost_tokenize;
    stats->cost_embed = pipe->cost_embed;
}
