#include "evt2_words.h"
#include "tokenizer_state.h"

#include <string.h>

/* -------------------------------------------------------------- configuration */

static int is_between(double v, double low, double high) /* false for NaN */
{
    return v > low && v <= high;
}

/* Bits that a coordinate in a patch takes; 4 at least, so that the paper's patches share one layout. */
static uint32_t span_bits(const sp_tokenizer_config_t *c)
{
    const uint32_t sensor = c->width > c->height ? c->width : c->height;
    const uint32_t span = c->patch_size < sensor ? c->patch_size : sensor;
    uint32_t bits = 4;
    while ((1u << bits) < span)
        bits++;
    return bits;
}

static uint32_t blocks_of(uint32_t pool_events)
{
    return pool_events / BLOCK_SLOTS + (pool_events % BLOCK_SLOTS != 0);
}

/* Whether a parameter that the kind does not have is left alone. The others were checked. */
static int fits_its_kind(const sp_tokenizer_config_t *c)
{
    if (c->kind == SP_KIND_CONTINUOUS)
        return c->duration_us == 0;
    if (c->decay_per_us > 0.0 || c->relative_refractory_us > 0)
        return 0;
    if (c->threshold < 0.0 || (double)(uint32_t)c->threshold < c->threshold)
        return 0;
    return !sp_is_voxel(c) || (c->duration_us > 0 && c->absolute_refractory_us == 0);
}

int sp_tokenizer_config_check(const sp_tokenizer_config_t *config, sp_tokenizer_config_t *full)
{
    sp_tokenizer_config_t c = *config;

    if (c.patch_size == 0)
        c.patch_size = 16;
    if (c.threshold == 0.0 && !sp_is_voxel(&c))
        c.threshold = 256.0;
    if (c.relative_scale == 0.0)
        c.relative_scale = 0.4;
    if (c.width == 0 || c.height == 0 || (1u << span_bits(&c)) > SP_PATCH_SPAN_MAX)
        return SP_ERR_CONFIG;
    if (c.pool_policy > SP_POOL_GROWS || c.pool_events == 0 || c.pool_events > UINT32_MAX - 2u * BLOCK_SLOTS)
        return SP_ERR_CONFIG;
    if (!is_between(c.threshold, sp_is_voxel(&c) ? -1.0 : 0.0, SP_THRESHOLD_MAX) ||
        !is_between(c.relative_scale, 0.0, 1.0) || c.relative_scale >= 1.0)
        return SP_ERR_CONFIG;
    if (!(c.decay_per_us >= 0.0) || !(c.decay_per_us <= 1e300))
        return SP_ERR_CONFIG;
    if (c.kind > SP_KIND_VOXEL || !fits_its_kind(&c))
        return SP_ERR_CONFIG;
    c.pool_events = blocks_of(c.pool_events) * BLOCK_SLOTS;
    *full = c;
    return SP_OK;
}

/* -------------------------------------------------------------- memory */

/* Bytes of the arrays behind the struct, largest alignment first; places them when mem is given. */
static uint64_t layout(sp_tokenizer_t *tok, const sp_tokenizer_config_t *c, uint8_t *mem)
{
    const uint64_t columns = (c->width + c->patch_size - 1u) / c->patch_size;
    const uint64_t rows = (c->height + c->patch_size - 1u) / c->patch_size;
    const uint64_t patches = columns * rows;
    const uint64_t blocks = blocks_of(c->pool_events);
    const uint64_t spikes = sp_has_refractory(c) ? patches : 0;
    const uint64_t sizes[] = {
        blocks * sizeof(uint64_t),                                   /* block_info */
        spikes * sizeof(uint64_t),                                   /* last_spike */
        sp_is_integer(c) ? 0 : patches * sizeof(sp_potential_t),     /* potentials */
        patches * sizeof(sp_patch_t),                                /* states */
        patches * sizeof(uint32_t),                                  /* tail */
        blocks * sizeof(uint32_t),                                   /* next_block */
        blocks * BLOCK_SLOTS * sizeof(uint32_t),                     /* slots */
        spikes * sizeof(uint8_t),                                    /* spiked */
        sp_is_discrete(c) ? patches * sizeof(uint8_t) : 0,           /* skip */
    };
    uint64_t at = (sizeof(sp_tokenizer_t) + 7u) & ~UINT64_C(7);
    uint64_t places[sizeof sizes / sizeof *sizes];

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        places[i] = at;
        at += sizes[i];
    }
    if (mem) {
        tok->columns = (uint32_t)columns;
        tok->rows = (uint32_t)rows;
        tok->patches = (uint32_t)patches;
        tok->blocks = (uint32_t)blocks;
        tok->block_info = (uint64_t *)(void *)(mem + places[0]);
        tok->last_spike = (uint64_t *)(void *)(mem + places[1]);
        tok->potentials = (sp_potential_t *)(void *)(mem + places[2]);
        tok->states = (sp_patch_t *)(void *)(mem + places[3]);
        tok->tail = (uint32_t *)(void *)(mem + places[4]);
        tok->next_block = (uint32_t *)(void *)(mem + places[5]);
        tok->slots = (uint32_t *)(void *)(mem + places[6]);
        tok->spiked = mem + places[7];
        tok->skip = mem + places[8];
    }
    return at;
}

size_t sp_tokenizer_size(const sp_tokenizer_config_t *config)
{
    sp_tokenizer_config_t full;
    if (sp_tokenizer_config_check(config, &full) != SP_OK)
        return 0;
    const uint64_t bytes = (layout(NULL, &full, NULL) + 7u) & ~UINT64_C(7);
    return bytes > SIZE_MAX ? 0 : (size_t)bytes;
}

static int check_memory(const sp_tokenizer_config_t *full, const void *mem, size_t size)
{
    const size_t need = sp_tokenizer_size(full);
    if (need == 0)
        return SP_ERR_CONFIG;
    return !mem || (uintptr_t)mem % 8u != 0 || size < need ? SP_ERR_MEMORY : SP_OK;
}

static uint32_t log2_floor(uint32_t v)
{
    uint32_t bits = 0;
    while (v >>= 1)
        bits++;
    return bits;
}

static uint32_t round_up(double v)
{
    const uint32_t whole = (uint32_t)v;
    return (double)whole < v ? whole + 1u : whole;
}

int sp_tokenizer_init(sp_tokenizer_t **out, const sp_tokenizer_config_t *config, void *mem, size_t size)
{
    sp_tokenizer_config_t full;
    int rc = sp_tokenizer_config_check(config, &full);
    if (rc == SP_OK)
        rc = check_memory(&full, mem, size);
    if (rc != SP_OK)
        return rc;

    sp_tokenizer_t *tok = mem;
    memset(tok, 0, sizeof *tok);
    tok->config = full;
    layout(tok, &full, mem);
    tok->shift = log2_floor(full.patch_size);
    tok->reciprocal = sp_is_power_of_two(full.patch_size) ? 0 : UINT32_MAX / full.patch_size + 1u;
    tok->span_bits = span_bits(&full);
    tok->time_bits = 31u - 2u * tok->span_bits;
    tok->fire_count = round_up(full.threshold);
    if (sp_is_discrete(&full))
        sp_discrete_bind(tok);
    else if (sp_is_voxel(&full))
        sp_voxel_bind(tok);
    else if (sp_is_integer(&full))
        sp_integer_bind(tok);
    else
        sp_real_bind(tok);
    sp_tokenizer_reset(tok);
    *out = tok;
    return SP_OK;
}

void sp_tokenizer_reset(sp_tokenizer_t *tok)
{
    sp_pool_reset(tok);
    if (sp_has_refractory(&tok->config)) {
        memset(tok->last_spike, 0, tok->patches * sizeof *tok->last_spike);
        memset(tok->spiked, 0, tok->patches);
    }
    if (sp_is_discrete(&tok->config))
        memset(tok->skip, 0, tok->patches);
    if (!sp_is_integer(&tok->config))
        memset(tok->potentials, 0, tok->patches * sizeof *tok->potentials);
    tok->last_t = 0;
    tok->epoch = 0;
    tok->epoch_last_t = (UINT64_C(1) << tok->time_bits) - 1u;
    tok->scan = 0;
    tok->in_bin = 0;
    tok->is_ready = 0;
    memset(&tok->ready, 0, sizeof tok->ready);
    memset(&tok->stats, 0, sizeof tok->stats);
}

int sp_tokenizer_grow(sp_tokenizer_t **tok, uint32_t pool_events, void *mem, size_t size)
{
    const sp_tokenizer_t *old = *tok;
    sp_tokenizer_config_t full = old->config;
    full.pool_events = pool_events;
    if (pool_events < old->config.pool_events || sp_tokenizer_config_check(&full, &full) != SP_OK)
        return SP_ERR_CONFIG;
    const int rc = check_memory(&full, mem, size);
    if (rc != SP_OK)
        return rc;

    sp_tokenizer_t *grown = mem;
    *grown = *old;
    grown->config = full;
    layout(grown, &full, mem);
    memcpy(grown->block_info, old->block_info, old->blocks * sizeof *old->block_info);
    memcpy(grown->next_block, old->next_block, old->blocks * sizeof *old->next_block);
    memcpy(grown->slots, old->slots, (size_t)old->blocks * BLOCK_SLOTS * sizeof *old->slots);
    memcpy(grown->states, old->states, old->patches * sizeof *old->states);
    memcpy(grown->tail, old->tail, old->patches * sizeof *old->tail);
    if (sp_has_refractory(&full)) {
        memcpy(grown->last_spike, old->last_spike, old->patches * sizeof *old->last_spike);
        memcpy(grown->spiked, old->spiked, old->patches);
    }
    if (sp_is_discrete(&full))
        memcpy(grown->skip, old->skip, old->patches);
    if (!sp_is_integer(&full))
        memcpy(grown->potentials, old->potentials, old->patches * sizeof *old->potentials);
    for (uint32_t b = grown->blocks; b-- > old->blocks;) {
        grown->next_block[b] = grown->free_block;
        grown->free_block = b;
    }
    *tok = grown;
    return SP_OK;
}

/* -------------------------------------------------------------- events in, tokens out */

static void release_ready(sp_tokenizer_t *tok)
{
    if (tok->ready_tail != BLOCK_NONE)
        sp_pool_release(tok, tok->ready_tail);
    tok->ready_tail = BLOCK_NONE;
    tok->is_ready = 0;
}

int sp_tokenizer_push(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used)
{
    release_ready(tok);
    return tok->push(tok, in, n, used);
}

/* The word that was cut, once the rest of it is in `in`. */
static int push_cut_word(sp_tokenizer_t *tok, sp_evt2_t *decoder, const uint8_t *in, size_t n, size_t *used)
{
    uint32_t word;
    size_t bytes, done;

    *used = 0;
    if (!evt2_peek(decoder, in, n, &word, &bytes))
        return SP_OK;
    const uint8_t whole[4] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16), (uint8_t)(word >> 24)};
    const int rc = tok->push_words(tok, decoder, whole, 1, &done);
    if (done == 1) {
        decoder->partial = 0;
        decoder->partial_bytes = 0;
        *used = bytes;
    }
    return rc;
}

int sp_tokenizer_push_evt2(sp_tokenizer_t *tok, sp_evt2_t *decoder, const uint8_t *in, size_t n, size_t *used)
{
    size_t at = 0, done;
    int rc = SP_OK;

    release_ready(tok);
    if (decoder->partial_bytes > 0)
        rc = push_cut_word(tok, decoder, in, n, &at);
    if (rc == SP_OK && decoder->partial_bytes == 0) {
        rc = tok->push_words(tok, decoder, in + at, (n - at) / 4u, &done);
        at += 4u * done;
    }
    if (rc == SP_OK) {
        evt2_keep(decoder, in + at, n - at);
        at = n;
    }
    *used = at;
    return rc;
}

int sp_tokenizer_end(sp_tokenizer_t *tok)
{
    release_ready(tok);
    return sp_is_voxel(&tok->config) ? sp_voxel_end(tok) : SP_OK;
}

void sp_tokenizer_fire(sp_tokenizer_t *tok, uint32_t column, uint32_t row, uint64_t t)
{
    const uint32_t patch = row * tok->columns + column;
    const uint32_t count = tok->states[patch].count;

    tok->ready = (sp_token_t){.t = t, .x = (uint16_t)column, .y = (uint16_t)row, .n = count};
    tok->is_ready = 1;
    tok->ready_tail = tok->tail[patch];
    tok->ready_skip = 0;
    if (sp_is_discrete(&tok->config)) {
        tok->ready_skip = tok->skip[patch];
        tok->skip[patch] = 0;
    }
    tok->tail[patch] = BLOCK_NONE;
    tok->states[patch] = (sp_patch_t){0, 0};
    if (sp_has_refractory(&tok->config)) {
        tok->last_spike[patch] = t;
        tok->spiked[patch] = 1;
    }
    tok->stats.tokens++;
    tok->stats.in_tokens += count;
}

const sp_token_t *sp_tokenizer_token(const sp_tokenizer_t *tok)
{
    return tok->is_ready ? &tok->ready : NULL;
}

void sp_token_cursor_init(sp_token_cursor_t *cursor, const sp_tokenizer_t *tok)
{
    const int ready = tok->ready_tail != BLOCK_NONE;
    *cursor = (sp_token_cursor_t){.tokenizer = tok,
                                  .block = ready ? tok->next_block[tok->ready_tail] : BLOCK_NONE,
                                  .slot = ready ? tok->ready_skip : 0,
                                  .left = ready ? tok->ready.n : 0};
}

size_t sp_token_cursor_read(sp_token_cursor_t *cursor, sp_event_t *out, size_t capacity)
{
    const sp_tokenizer_t *tok = cursor->tokenizer;
    const uint32_t bits = tok->span_bits, mask = (1u << bits) - 1u;
    const uint32_t x0 = (uint32_t)tok->ready.x * tok->config.patch_size;
    const uint32_t y0 = (uint32_t)tok->ready.y * tok->config.patch_size;
    size_t got = 0;

    while (got < capacity && cursor->left > 0) {
        const uint64_t info = tok->block_info[cursor->block];
        const uint64_t time_high = INFO_EPOCH(info) << tok->time_bits;
        const uint32_t *slots = &tok->slots[cursor->block * BLOCK_SLOTS];
        for (; cursor->slot < INFO_USED(info) && cursor->left > 0 && got < capacity; cursor->slot++, cursor->left--) {
            const uint32_t slot = slots[cursor->slot];
            out[got++] = (sp_event_t){.t = time_high | slot >> (2u * bits + 1u),
                                      .x = (uint16_t)(x0 + (slot & mask)),
                                      .y = (uint16_t)(y0 + (slot >> bits & mask)),
                                      .p = (uint8_t)(slot >> (2u * bits) & 1u)};
        }
        if (cursor->slot == INFO_USED(info)) {
            cursor->block = tok->next_block[cursor->block];
            cursor->slot = 0;
        }
    }
    return got;
}

void sp_tokenizer_stats(const sp_tokenizer_t *tok, sp_tokenizer_stats_t *stats)
{
    *stats = tok->stats;
    stats->pending = sp_pool_pending(tok);
    stats->pool_used = tok->blocks_used * BLOCK_SLOTS;
    stats->pool_peak = tok->blocks_peak * BLOCK_SLOTS;
}

const sp_tokenizer_config_t *sp_tokenizer_config(const sp_tokenizer_t *tok)
{
    return &tok->config;
}
