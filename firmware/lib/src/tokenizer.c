#include "evt2_words.h"
#include "spedge/assert.h"
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
    if (c.pool_policy > SP_POOL_GROWS || c.pool_events == 0 || c.pool_events > SP_POOL_EVENTS_MAX)
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

static int has_potentials(const sp_tokenizer_config_t *c)
{
    return !sp_is_discrete(c) && !sp_is_integer(c);
}

/* Bytes of the arrays behind the struct; places them when mem is given. The arrays of blocks are addressed by block numbers,
 * which begin behind the blocks that hold the patches' next slots; so do their pointers, still within mem. */
static uint64_t layout(sp_tokenizer_t *tok, const sp_tokenizer_config_t *c, uint8_t *mem)
{
    const uint64_t columns = (c->width + c->patch_size - 1u) / c->patch_size;
    const uint64_t rows = (c->height + c->patch_size - 1u) / c->patch_size;
    const uint64_t patches = columns * rows;
    const uint64_t blocks = blocks_of(c->pool_events);
    const uint64_t first = (patches + BLOCK_SLOTS - 1u) / BLOCK_SLOTS;
    const uint64_t sizes[] = {
        sp_has_refractory(c) ? patches * sizeof(uint64_t) : 0, /* last_spike */
        has_potentials(c) ? patches * sizeof(double) : 0,      /* potentials */
        (first + blocks) * BLOCK_SLOTS * sizeof(uint32_t),     /* slots */
        blocks * sizeof(uint64_t),                             /* block_info */
        patches * sizeof(uint32_t),                            /* held */
        blocks * sizeof(uint32_t),                             /* next_block */
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
        tok->first_block = (uint32_t)first;
        tok->end_block = (uint32_t)(first + blocks);
        tok->last_spike = (uint64_t *)(void *)(mem + places[0]);
        tok->potentials = (double *)(void *)(mem + places[1]);
        tok->slots = (uint32_t *)(void *)(mem + places[2]);
        tok->block_info = (uint64_t *)(void *)(mem + places[3] - first * sizeof(uint64_t));
        tok->held = (uint32_t *)(void *)(mem + places[4]);
        tok->next_block = (uint32_t *)(void *)(mem + places[5] - first * sizeof(uint32_t));
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
    SP_ASSERT(out && config);
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
    tok->bin_word = UINT32_MAX;
    tok->slot_high = sp_slot_high(tok->span_bits, UINT32_MAX);
    tok->time_bits = 31u - 2u * tok->span_bits;
    tok->fire_count = round_up(full.threshold);
    const uint64_t longest = UINT32_MAX - (UINT32_C(1) << tok->time_bits);
    if (full.relative_refractory_us <= longest && full.absolute_refractory_us <= longest - full.relative_refractory_us)
        tok->short_refractory_us = (uint32_t)full.absolute_refractory_us;
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
    if (sp_has_refractory(&tok->config))
        memset(tok->last_spike, 0, tok->patches * sizeof *tok->last_spike);
    if (has_potentials(&tok->config))
        memset(tok->potentials, 0, tok->patches * sizeof *tok->potentials);
    tok->last_t = 0;
    tok->epoch_info = 0;
    tok->epoch_last_t = (UINT64_C(1) << tok->time_bits) - 1u;
    tok->scan = 0;
    tok->in_bin = 0;
    tok->is_ready = 0;
    memset(&tok->ready, 0, sizeof tok->ready);
    memset(&tok->stats, 0, sizeof tok->stats);
}

int sp_tokenizer_grow(sp_tokenizer_t **tok, uint32_t pool_events, void *mem, size_t size)
{
    SP_ASSERT(tok && *tok && mem != (const void *)*tok);
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
    const uint32_t first = old->first_block, blocks = old->end_block - first;
    memcpy(grown->slots, old->slots, (size_t)old->end_block * BLOCK_SLOTS * sizeof *old->slots);
    memcpy(grown->block_info + first, old->block_info + first, blocks * sizeof *old->block_info);
    memcpy(grown->next_block + first, old->next_block + first, blocks * sizeof *old->next_block);
    memcpy(grown->held, old->held, old->patches * sizeof *old->held);
    if (sp_has_refractory(&full))
        memcpy(grown->last_spike, old->last_spike, old->patches * sizeof *old->last_spike);
    if (has_potentials(&full))
        memcpy(grown->potentials, old->potentials, old->patches * sizeof *old->potentials);
    *tok = grown;
    return SP_OK;
}

/* -------------------------------------------------------------- events in */

static void release_ready(sp_tokenizer_t *tok)
{
    if (tok->ready_tail != BLOCK_NONE)
        sp_pool_release(tok, tok->ready_tail);
    tok->ready_tail = BLOCK_NONE;
    tok->is_ready = 0;
}

int sp_tokenizer_push(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used)
{
    SP_ASSERT(tok && used && (in || n == 0));
    release_ready(tok);
    return tok->push(tok, in, n, used);
}

/* The words of this run, up to `at`, were events in order, and times: keep the time of the newest event, and the base. */
static void keep_time(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *at)
{
    const size_t words = (size_t)(at - tok->run_from) / 4u;

    if (tok->run_times > 0) {
        d->time_base = (d->time_base & ~(uint64_t)UINT32_MAX) | (uint32_t)(tok->time_word << EVT2_LOW_BITS);
        d->stats.times += tok->run_times;
        tok->run_times = 0;
    }
    tok->run_from = at;
    if (words == 0)
        return;
    uint32_t word = evt2_load(at - 4);
    if (evt2_type(word) <= EVT2_ON) {
        tok->last_t = d->time_base | evt2_low_time(word);
    } else if (sp_is_voxel(&tok->config)) {
        tok->last_t = d->time_base;
    } else if (words > 1) {
        word = evt2_load(at - 8);
        if (evt2_type(word) <= EVT2_ON)
            tok->last_t = (d->time_base - ((tok->time_word - tok->word_before) << EVT2_LOW_BITS)) | evt2_low_time(word);
    }
}

/* In a run of words, the one at `at`, if it is a time word that goes on to a later time of this epoch. Returns the time's
 * bits in a slot, or SP_NO_HIGH with nothing done. */
SP_RARE_CALL uint32_t sp_tokenizer_take_time(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *at)
{
    const uint32_t word = evt2_load(at);

    keep_time(tok, d, at);
    const uint64_t base = evt2_next_time(d->time_base, word, 1);
    if (evt2_type(word) != EVT2_TIME_HIGH || !d->timed || base <= tok->last_t || base > tok->epoch_last_t)
        return SP_NO_HIGH;
    if (sp_is_voxel(&tok->config)) {
        if (!sp_voxel_holds(tok, base))
            return SP_NO_HIGH;
        tok->last_t = base;
    }
    d->time_base = base;
    d->stats.times++;
    sp_limit_run(tok, base);
    return sp_slot_high(tok->span_bits, base);
}

/* It is t, us. SP_TOKEN: something fires before. */
static int reach(sp_tokenizer_t *tok, uint64_t t)
{
    return sp_is_voxel(&tok->config) ? sp_voxel_reach(tok, t) : SP_OK;
}

/* Whole EVT2 words; *done says how many were consumed. */
static int push_words(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *done)
{
    const uint8_t *at = in, *const end = in + 4u * n;
    const uint64_t times = d->stats.times;
    size_t others = 0, looked_at = 0, used; /* words that are neither events nor times; events taken one by one */
    int rc = SP_OK;

    while (at != end) {
        tok->run_from = at;
        tok->time_word = tok->last_word = tok->run_times = 0; /* it may not go on, unless sp_limit_run says so */
        at = tok->run(tok, d, at, end, &rc);
        keep_time(tok, d, at);
        if (rc != SP_OK || at == end)
            break;

        const uint32_t word = evt2_load(at);
        if (evt2_type(word) > EVT2_ON || !d->timed) {
            if (evt2_type(word) == EVT2_TIME_HIGH)
                rc = reach(tok, evt2_next_time(d->time_base, word, d->timed));
            if (rc != SP_OK)
                break;
            evt2_take_no_event(d, word);
            others += evt2_type(word) != EVT2_TIME_HIGH;
        } else {
            const sp_event_t event = evt2_event(d, word);
            rc = tok->push(tok, &event, 1, &used);
            if (used == 0)
                break;
            looked_at++;
        }
        at += 4;
        if (rc != SP_OK)
            break;
    }
    others += (size_t)(d->stats.times - times);
    *done = (size_t)(at - in) / 4u;
    d->stats.words += *done;
    d->stats.events += *done - others;
    tok->stats.taken += *done - others - looked_at;
    return rc;
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
    const int rc = push_words(tok, decoder, whole, 1, &done);
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

    SP_ASSERT(tok && decoder && used && (in || n == 0));
    release_ready(tok);
    if (decoder->partial_bytes > 0)
        rc = push_cut_word(tok, decoder, in, n, &at);
    if (rc == SP_OK && decoder->partial_bytes == 0) {
        rc = push_words(tok, decoder, in + at, (n - at) / 4u, &done);
        at += 4u * done;
    }
    if (rc == SP_OK) {
        if (at < n)
            evt2_keep(decoder, in + at, n - at);
        at = n;
    }
    *used = at;
    return rc;
}

int sp_tokenizer_advance(sp_tokenizer_t *tok, uint64_t t)
{
    release_ready(tok);
    return reach(tok, t);
}

int sp_tokenizer_end(sp_tokenizer_t *tok)
{
    release_ready(tok);
    return sp_is_voxel(&tok->config) ? sp_voxel_end(tok) : SP_OK;
}

void sp_tokenizer_stats(const sp_tokenizer_t *tok, sp_tokenizer_stats_t *stats)
{
    uint32_t blocks_used;
    *stats = tok->stats;
    sp_pool_count(tok, &stats->pending, &blocks_used);
    stats->pool_used = blocks_used * BLOCK_SLOTS;
    stats->pool_peak = (tok->fresh_block - tok->first_block) * BLOCK_SLOTS;
}

const sp_tokenizer_config_t *sp_tokenizer_config(const sp_tokenizer_t *tok)
{
    return &tok->config;
}
