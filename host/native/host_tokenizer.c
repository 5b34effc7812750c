#include "host_state.h"
#include "spare.h"

#include <stdlib.h>

#define FIRST_RECORDS 32u       /* room of a patch to begin with, */
#define FIRST_REAL_RECORDS 128u /* at most */
#define FIRST_BYTES (64u << 20) /* less room where that would be more than this in all */

static uint64_t round_up(double v)
{
    const uint64_t whole = (uint64_t)v;
    return (double)whole < v ? whole + 1u : whole;
}

/* How many records the first room of a patch has. */
static size_t first_records(const sp_host_t *h)
{
    const uint64_t most = most_records(h);
    size_t records = most < FIRST_RECORDS ? (size_t)most : FIRST_RECORDS;
    if (most == UINT64_MAX) { /* decay and weak events make it more than the threshold */
        const double guess = 2.0 * h->config.threshold + 4.0;
        records = guess < FIRST_REAL_RECORDS ? (size_t)guess : FIRST_REAL_RECORDS;
    }
    while (records > 4u && h->patches * records * SP_RECORD > FIRST_BYTES)
        records /= 2u;
    return records;
}

/* 0, or -1 without. */
static int take_memory(sp_host_t *h, int refractory, int weakens)
{
    const size_t stride = h->first_records * SP_RECORD + SLACK;
    h->slab = sp_spare_malloc(h->patches * stride);
    h->cells_memory = sp_spare_malloc(h->patches * h->cell_size + LINE);
    h->rooms = malloc(h->patches * sizeof *h->rooms);
    if (!h->slab || !h->cells_memory || !h->rooms)
        return -1;
    h->cells = (uint8_t *)h->cells_memory + (LINE - (uintptr_t)h->cells_memory % LINE);
    for (size_t i = 0; i < h->patches; i++)
        h->rooms[i] = (room_t){.base = h->slab + i * stride, .records = (uint32_t)h->first_records};
    if (refractory) {
        h->wake = malloc(h->patches * sizeof *h->wake);
        h->last_spike = malloc(h->patches * sizeof *h->last_spike);
        h->is_awake = malloc(h->patches * sizeof *h->is_awake);
        h->sleepers = malloc(sizeof *h->sleepers + (h->patches + SP_BATCH) * sizeof(sleeper_t));
        if (!h->wake || !h->last_spike || !h->is_awake || !h->sleepers)
            return -1;
    }
    if (!weakens)
        return 0;
    h->weak_until = malloc(h->patches * sizeof *h->weak_until);
    return h->weak_until ? sp_weak_new(h) : -1;
}

sp_host_t *sp_host_new(const sp_host_config_t *config)
{
    sp_host_t *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    const int refractory = config->absolute_refractory_us > 0;
    const int decays = !config->discrete && config->decay_per_us > 0.0;
    const int weakens = !config->discrete && !decays && config->relative_refractory_us > 0;
    h->config = *config;
    h->grid = sp_grid(config->width, config->height, config->patch_size);
    h->patches = (size_t)h->grid.columns * h->grid.rows;
    h->fires_at = decays || weakens ? UINT64_MAX : round_up(config->threshold);
    h->first_records = first_records(h);
    h->cell_size = decays ? sizeof(neuron_t) : sizeof(cell_t);
    if (decays)
        h->run = refractory ? sp_run_decaying_refractory : sp_run_decaying;
    else if (weakens)
        h->run = refractory ? sp_run_weakening_refractory : sp_run_weakening;
    else if (config->discrete)
        h->run = refractory ? sp_run_discrete_refractory : sp_run_discrete;
    else
        h->run = refractory ? sp_run_refractory : sp_run_plain;
    if (take_memory(h, refractory, weakens) != 0) {
        sp_host_free(h);
        return NULL;
    }
    sp_host_reset(h);
    return h;
}

void sp_host_free(sp_host_t *h)
{
    if (!h)
        return;
    while (h->chunks) {
        chunk_t *next = h->chunks->next;
        sp_spare_free(h->chunks);
        h->chunks = next;
    }
    sp_spare_free(h->slab);
    sp_spare_free(h->cells_memory);
    free(h->wake);
    free(h->last_spike);
    free(h->is_awake);
    free(h->weak_until);
    free(h->weak.sums);
    free(h->weak.to_fire);
    free(h->sleepers);
    free(h->rooms);
    free(h);
}

void sp_host_reset(sp_host_t *h)
{
    memset(h->cells, 0, h->patches * h->cell_size);
    if (h->wake) {
        *h->sleepers = (sp_sleepers_t){.room = h->patches + SP_BATCH};
        for (size_t i = 0; i < h->patches; i++) {
            h->wake[i] = h->last_spike[i] = 0;
            h->is_awake[i] = 1;
        }
    }
    for (size_t i = 0; i < h->patches; i++)
        sp_patch_clear(h, i);
    h->pending = h->kept = 0;
    h->filter = 0;
    memset(&h->stats, 0, sizeof h->stats);
}

/* The next of n events, up to number `to` and at most a batch of them. How many, or 0 without memory. */
static size_t take_batch(sp_host_t *h, const sp_columns_t *events, size_t n, const sp_ahead_t *ahead, size_t at,
                         size_t to)
{
    const uint64_t kept = h->kept;
    size_t count = to - at < SP_BATCH ? to - at : SP_BATCH;

    if (h->wake) {
        const uint64_t last = sp_columns_time(events, at + count - 1u);
        if (last == UINT64_MAX) { /* may come before a time to wake at that is past all times */
            count = 1;
            h->filter = 1;
        }
        sp_patches_wake(h, last);
    }
    sp_patches_of(h->batch.patch, events, &h->grid, ahead, at, count);
    sp_batch_load(&h->batch, events, n, at, count);
    if (h->run(h, &h->batch, count) != 0)
        return 0;
    h->filter = (h->kept - kept) * 4u < 3u * count;
    h->stats.taken += count;
    return count;
}

/* Take n good events. The end of the records, or NULL without memory. */
static uint8_t *take_good(sp_host_t *h, const sp_columns_t *events, size_t n)
{
    for (size_t at = 0, taken; at < n; at += taken) {
        taken = take_batch(h, events, n, NULL, at, n);
        if (taken == 0)
            return NULL;
    }
    return h->out;
}

/* The same of records, for a tokenizer that has taken none, which a reset undoes: checked as it goes, so that they come into
 * the cache once. Of columns the check is so quick that it is better left alone. */
static uint8_t *take_first(sp_host_t *h, const sp_columns_t *events, size_t n, uint64_t last_t, size_t *good)
{
    sp_ahead_t ahead;

    ahead.to = 0;
    for (size_t at = 0, taken; at < n; at += taken) {
        if (at == ahead.to) {
            if (!sp_columns_check_ahead(events, &ahead, n, last_t, h->config.width, h->config.height)) {
                *good = ahead.to;
                sp_host_reset(h);
                return h->out;
            }
            last_t = sp_columns_time(events, ahead.to - 1u);
        }
        taken = take_batch(h, events, n, &ahead, at, ahead.to);
        if (taken == 0)
            return NULL;
    }
    return h->out;
}

uint8_t *sp_host_push(sp_host_t *h, const sp_columns_t *events, size_t n, uint64_t last_t, size_t *good,
                      sp_token_list_t *tokens, uint8_t *out)
{
    h->tokens = tokens;
    h->out = out;
    *good = n;
    if (h->stats.taken == 0 && sp_columns_are_records(events))
        return take_first(h, events, n, last_t, good);
    *good = sp_columns_check(events, 0, n, last_t, h->config.width, h->config.height);
    return *good < n ? out : take_good(h, events, n);
}

uint64_t sp_host_pending(const sp_host_t *h)
{
    uint64_t pending = 0;
    for (size_t i = 0; i < h->patches; i++)
        pending += (uint64_t)(cell_of(h, i)->at - h->rooms[i].first) / SP_RECORD;
    return pending;
}

sp_host_stats_t sp_host_stats(const sp_host_t *h)
{
    sp_host_stats_t stats = h->stats;
    stats.refractory = stats.taken - h->kept;
    return stats;
}
