#include "host_state.h"

#include <stdlib.h>

#define FIRST_RECORDS 32u         /* room of a patch to begin with, */
#define FIRST_NEURON_RECORDS 128u /* at most */
#define FIRST_BYTES (64u << 20)   /* less room where that would be more than this in all */
#define LINE 64u                  /* of the cache */

static uint64_t round_up(double v)
{
    const uint64_t whole = (uint64_t)v;
    return (double)whole < v ? whole + 1u : whole;
}

sp_host_t *sp_host_new(const sp_host_config_t *config)
{
    sp_host_t *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    const int refractory = config->absolute_refractory_us > 0;
    const int real = !config->discrete && (config->decay_per_us > 0.0 || config->relative_refractory_us > 0);
    h->config = *config;
    h->grid = sp_grid(config->width, config->height, config->patch_size);
    h->patches = (size_t)h->grid.columns * h->grid.rows;
    h->fire_records = real ? UINT64_MAX : round_up(config->threshold);
    h->cell_size = real ? sizeof(neuron_t) : refractory ? sizeof(spiking_t) : sizeof(cell_t);
    if (real)
        h->run = config->decay_per_us > 0.0 ? sp_run_decaying : sp_run_weakening;
    else if (config->discrete)
        h->run = refractory ? sp_run_discrete_refractory : sp_run_discrete;
    else
        h->run = refractory ? sp_run_refractory : sp_run_plain;

    const uint64_t most = config->discrete ? 2u * h->fire_records : h->fire_records;
    h->first_records = most < FIRST_RECORDS ? (size_t)most : FIRST_RECORDS;
    if (real) { /* decay and weak events make it more than the threshold */
        const double guess = 2.0 * config->threshold + 4.0;
        h->first_records = guess < FIRST_NEURON_RECORDS ? (size_t)guess : FIRST_NEURON_RECORDS;
    }
    while (h->first_records > 4u && h->patches * h->first_records * SP_RECORD > FIRST_BYTES)
        h->first_records /= 2u;
    const size_t stride = h->first_records * SP_RECORD + SLACK;
    h->slab = malloc(h->patches * stride);
    h->cells_memory = malloc(h->patches * h->cell_size + LINE);
    h->rooms = malloc(h->patches * sizeof *h->rooms);
    if (!h->slab || !h->cells_memory || !h->rooms) {
        sp_host_free(h);
        return NULL;
    }
    h->cells = (uint8_t *)h->cells_memory + (LINE - (uintptr_t)h->cells_memory % LINE);
    for (size_t i = 0; i < h->patches; i++)
        h->rooms[i] = (room_t){.base = h->slab + i * stride, .records = h->first_records};
    sp_host_reset(h);
    return h;
}

void sp_host_free(sp_host_t *h)
{
    if (!h)
        return;
    while (h->chunks) {
        chunk_t *next = h->chunks->next;
        free(h->chunks);
        h->chunks = next;
    }
    free(h->slab);
    free(h->cells_memory);
    free(h->rooms);
    free(h);
}

void sp_host_reset(sp_host_t *h)
{
    memset(h->cells, 0, h->patches * h->cell_size);
    for (size_t i = 0; i < h->patches; i++) {
        sp_patch_clear(h, i);
        if (is_neuron(h))
            ((neuron_t *)(void *)cell_of(h, i))->base = h->rooms[i].base;
    }
    h->pending = h->kept = 0;
    memset(&h->stats, 0, sizeof h->stats);
}

uint8_t *sp_host_push(sp_host_t *h, const sp_columns_t *events, size_t n, sp_token_list_t *tokens, uint8_t *out)
{
    h->tokens = tokens;
    h->out = out;
    for (size_t at = 0; at < n;) {
        const size_t count = n - at < SP_BATCH ? n - at : SP_BATCH;
        sp_batch_load(&h->batch, events, n, &h->grid, at, count);
        const uint64_t kept = h->kept;
        if (h->run(h, &h->batch, count) != 0)
            return NULL;
        h->filter = (h->kept - kept) * 4u < 3u * count;
        h->stats.taken += count;
        at += count;
    }
    return h->out;
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
