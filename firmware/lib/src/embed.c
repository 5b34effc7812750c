#include "spedge/embed.h"

#include <math.h>
#include <string.h>

#define EVENTS_AT_ONCE 16u
#define CELLS_PER_WORD 32u

int sp_embed_config_check(const sp_embed_config_t *config, sp_embed_config_t *full)
{
    sp_embed_config_t c = *config;

    if (c.patch_size == 0)
        c.patch_size = 16;
    if (c.buckets == 0)
        c.buckets = 10;
    if (c.time_scale_us == 0.0f)
        c.time_scale_us = 50000.0f;
    if (c.patch_size > SP_PATCH_SPAN_MAX || c.buckets > SP_EMBED_BUCKETS_MAX || c.hidden < 3)
        return SP_ERR_CONFIG;
    if (!(c.time_scale_us > 0.0f) || !(c.time_scale_us <= 1e30f))
        return SP_ERR_CONFIG;
    *full = c;
    return SP_OK;
}

size_t sp_embed_cells(const sp_embed_config_t *config)
{
    return (size_t)2 * config->buckets * config->patch_size * config->patch_size;
}

uint8_t sp_embed_bucket(uint64_t age_us, uint8_t buckets)
{
    uint64_t edge = 1000;
    uint8_t bucket = 0;

    while (bucket + 1u < buckets && age_us >= edge) {
        bucket++;
        edge <<= 1;
    }
    return bucket;
}

static uint32_t cell_of(const sp_embed_config_t *config, const sp_event_t *e, uint64_t t_last)
{
    const uint32_t size = config->patch_size;
    const uint32_t plane = (e->p ? config->buckets : 0u) + sp_embed_bucket(t_last - e->t, config->buckets);
    return (plane * size + e->y % size) * size + e->x % size;
}

void sp_embed_volume(const sp_embed_config_t *config, const sp_event_t *events, size_t n, uint16_t *volume)
{
    memset(volume, 0, sp_embed_cells(config) * sizeof *volume);
    for (size_t i = 0; i < n; i++) {
        uint16_t *count = &volume[cell_of(config, &events[i], events[n - 1].t)];
        if (*count < UINT16_MAX)
            ++*count;
    }
}

/* -------------------------------------------------------------- sparse embedding
 * scratch: one bit per cell that is not empty, then the counts. */

static size_t bitmap_words(const sp_embed_config_t *config)
{
    return (sp_embed_cells(config) + CELLS_PER_WORD - 1u) / CELLS_PER_WORD;
}

size_t sp_embed_scratch_size(const sp_embed_config_t *config)
{
    return bitmap_words(config) * sizeof(uint32_t) + sp_embed_cells(config) * sizeof(uint16_t);
}

static int scratch_fits(const sp_embed_config_t *config, const void *scratch, size_t size)
{
    return scratch && (uintptr_t)scratch % 4u == 0 && size >= sp_embed_scratch_size(config);
}

static uint16_t *counts_in(const sp_embed_config_t *config, void *scratch)
{
    return (uint16_t *)(void *)((uint32_t *)scratch + bitmap_words(config));
}

static void mark(const sp_embed_config_t *config, void *scratch, const sp_event_t *events, size_t n, uint64_t t_last)
{
    uint32_t *bitmap = scratch;
    uint16_t *counts = counts_in(config, scratch);

    for (size_t i = 0; i < n; i++) {
        const uint32_t cell = cell_of(config, &events[i], t_last);
        bitmap[cell / CELLS_PER_WORD] |= 1u << cell % CELLS_PER_WORD;
        if (counts[cell] < UINT16_MAX)
            counts[cell]++;
    }
}

/* Most cells hold a few events. */
static float log1p_of(uint16_t count)
{
    static const float few[] = {0.0f,         0.693147181f, 1.098612289f, 1.386294361f, 1.609437912f, 1.791759469f,
                                1.945910149f, 2.079441542f, 2.197224577f, 2.302585093f, 2.397895273f, 2.484906650f,
                                2.564949357f, 2.639057330f, 2.708050201f, 2.772588722f};
    return count < sizeof few / sizeof few[0] ? few[count] : log1pf((float)count);
}

static uint32_t lowest_bit(uint32_t bits)
{
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctz(bits);
#else
    uint32_t i = 0;
    while (!(bits & 1u << i))
        i++;
    return i;
#endif
}

static void add_row(float *out, const float *row, float scale, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] += scale * row[i];
}

/* Sum the marked cells in ascending order, and clear them. */
static void gather(const sp_embed_config_t *config, void *scratch, float *out)
{
    uint32_t *bitmap = scratch;
    uint16_t *counts = counts_in(config, scratch);
    const size_t words = bitmap_words(config);

    memcpy(out, config->bias, config->hidden * sizeof *out);
    for (size_t w = 0; w < words; w++) {
        for (uint32_t bits = bitmap[w]; bits; bits &= bits - 1u) {
            const size_t cell = w * CELLS_PER_WORD + lowest_bit(bits);
            add_row(out, &config->weight[cell * config->hidden], log1p_of(counts[cell]), config->hidden);
            counts[cell] = 0;
        }
        bitmap[w] = 0;
    }
}

int sp_embed_token(const sp_embed_config_t *config, const sp_tokenizer_t *tok, void *scratch, size_t scratch_size,
                   float *out)
{
    const sp_token_t *token = sp_tokenizer_token(tok);
    sp_event_t events[EVENTS_AT_ONCE];
    sp_token_cursor_t cursor;
    size_t n;

    if (!scratch_fits(config, scratch, scratch_size))
        return SP_ERR_CAPACITY;
    sp_token_cursor_init(&cursor, tok);
    while ((n = sp_token_cursor_read(&cursor, events, EVENTS_AT_ONCE)) > 0)
        mark(config, scratch, events, n, token->t);
    gather(config, scratch, out);
    return SP_OK;
}

int sp_embed_events(const sp_embed_config_t *config, const sp_event_t *events, size_t n, void *scratch,
                    size_t scratch_size, float *out)
{
    if (!scratch_fits(config, scratch, scratch_size))
        return SP_ERR_CAPACITY;
    if (n > 0)
        mark(config, scratch, events, n, events[n - 1].t);
    gather(config, scratch, out);
    return SP_OK;
}

/* -------------------------------------------------------------- position */

void sp_embed_position_sizes(uint16_t hidden, uint16_t *xy, uint16_t *t)
{
    *xy = (uint16_t)(hidden / 3u);
    *t = (uint16_t)(hidden / 3u + hidden % 3u);
}

void sp_embed_position_wavelengths(uint16_t size, float *wavelengths)
{
    for (uint32_t i = 0; i < size; i++)
        wavelengths[i] = powf(10000.0f, (float)(i & ~1u) / (float)size);
}

void sp_embed_position_add(float *out, uint16_t size, const float *wavelengths, float position)
{
    for (uint32_t i = 0; i < size; i += 2)
        *out++ += sinf(position / wavelengths[i]);
    for (uint32_t i = 1; i < size; i += 2)
        *out++ += cosf(position / wavelengths[i]);
}
