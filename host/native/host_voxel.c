/* The voxel tokenizer: events are sorted by time, so bins are stretches of them; each is sorted by counting. */
#include "host_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define GROUP 8u           /* events whose records are written together */
#define WRITTEN_AHEAD 256u /* bytes: a voxel's next memory is called into the cache so long before it is written */

typedef struct voxels {
    const sp_voxel_config_t *config;
    sp_grid_t grid;
    const sp_columns_t *events;
    size_t n;
    size_t patches;
    size_t touched_count;
    uint32_t *patch;   /* [n] of records, where to find it again takes long: of those that were counted; or NULL */
    uint32_t *counts;  /* [patches], 0 between bins */
    uint32_t *touched; /* [patches]: those with events in this bin */
    uint64_t *first_t; /* [patches]: the time of the first of these */
    uint8_t **ends;    /* [patches]: where the next record goes */
    uint8_t *nowhere;  /* where the records of a patch below the threshold go */
    size_t nowhere_records;
    sp_batch_t batch;
    sp_ahead_t ahead; /* events before ahead.to are good */
    int is_wrong;     /* that one is not */
} voxels_t;

/* See to it that the event at `from` is known to be good, and some behind it. 0 if one of these is wrong. */
static int check_from(voxels_t *v, size_t from)
{
    if (from < v->ahead.to || v->is_wrong)
        return !v->is_wrong;
    const uint64_t before = from > 0 ? sp_columns_time(v->events, from - 1u) : 0;
    v->is_wrong = !sp_columns_check_ahead(v->events, &v->ahead, v->n, before, v->config->width, v->config->height);
    return !v->is_wrong;
}

/* The first event of from .. to that is later than last; the one at from is not. */
static size_t end_of_bin(const sp_columns_t *events, size_t from, size_t to, uint64_t last)
{
    if (sp_columns_time(events, to - 1u) <= last)
        return to;
    while (to - from > 1) {
        const size_t middle = from + (to - from) / 2;
        if (sp_columns_time(events, middle) <= last)
            from = middle;
        else
            to = middle;
    }
    return to;
}

/* Count the events of the bin that ends with `last`, from the one at `from` on. Returns the first behind them. */
static size_t count_events(voxels_t *v, size_t from, uint64_t last)
{
    uint32_t *counts = v->counts, *list = v->touched;
    size_t touched = 0;
    while (from < v->n && check_from(v, from) && sp_columns_time(v->events, from) <= last) {
        uint32_t *patches = v->patch ? &v->patch[from] : v->batch.patch;
        const size_t most = v->ahead.to - from < SP_BATCH ? v->ahead.to : from + SP_BATCH;
        const size_t n = end_of_bin(v->events, from, most, last) - from;
        sp_patches_of(patches, v->events, &v->grid, &v->ahead, from, n);
        for (size_t i = 0; i < n; i++) {
            const uint32_t patch = patches[i];
            const uint32_t count = counts[patch];
            counts[patch] = count + 1u;
            if (SP_RARELY(count == 0)) {
                list[touched++] = patch;
                v->first_t[patch] = sp_columns_time(v->events, from + i);
            }
        }
        from += n;
    }
    v->touched_count = touched;
    return from;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

/* The touched patches in order: sorted where they are few, else found anew. */
static void order_touched(voxels_t *v)
{
    if (v->touched_count < v->patches / 16u) {
        qsort(v->touched, v->touched_count, sizeof *v->touched, by_number);
        return;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < v->patches; i++)
        if (v->counts[i])
            v->touched[count++] = i;
}

/* See to it that so many records can go nowhere. 0, or -1 without memory. */
static int make_nowhere(voxels_t *v, size_t records)
{
    if (records <= v->nowhere_records)
        return 0;
    uint8_t *larger = realloc(v->nowhere, records * SP_RECORD + SP_RECORD_ROOM);
    if (!larger)
        return -1;
    v->nowhere = larger;
    v->nowhere_records = records;
    return 0;
}

/* A token for each voxel of the bin that has enough events. Returns the end of their records, or NULL. */
static uint8_t *lay_out(voxels_t *v, uint64_t t, sp_token_list_t *tokens, uint8_t *out, uint64_t *discarded)
{
    const uint32_t threshold = v->config->threshold;
    const size_t candidates = threshold == 0 ? v->patches : v->touched_count;
    uint32_t most = 0;
    for (size_t i = 0; threshold > 0 && i < candidates; i++) {
        const uint32_t count = v->counts[v->touched[i]];
        if (count < threshold && count > most)
            most = count;
    }
    if (sp_token_list_reserve(tokens, candidates) != 0 || make_nowhere(v, most) != 0)
        return NULL;
    for (size_t i = 0; i < candidates; i++) {
        const uint32_t patch = threshold == 0 ? (uint32_t)i : v->touched[i];
        const uint32_t count = v->counts[patch];
        v->counts[patch] = 0;
        v->ends[patch] = v->nowhere;
        if (count < threshold) {
            *discarded += count;
            continue;
        }
        tokens->items[tokens->count++] = (sp_token_t){.t = t,
                                                      .x = (uint16_t)(patch % v->grid.columns),
                                                      .y = (uint16_t)(patch / v->grid.columns),
                                                      .n = count};
        v->ends[patch] = out;
        out += (size_t)count * SP_RECORD;
    }
    return out;
}

SP_INLINE void write_group(const sp_batch_t *b, size_t first, uint8_t *const *to, size_t count, int records)
{
    for (size_t i = 0; i < count; i++)
        sp_batch_write(b, first + i, to[i], records);
}

/* The next few events. Where their records go is found first, as in host_tokenizer.c. */
SP_INLINE void place_group(const sp_batch_t *b, const uint32_t *patch, uint8_t **ends, size_t first, size_t count)
{
    uint8_t *to[GROUP];
    for (size_t i = 0; i < count; i++) {
        uint8_t **end = &ends[patch[first + i]], *at = *end;
        to[i] = at;
        SP_PREFETCH_TO_WRITE(at, WRITTEN_AHEAD);
        *end = at + SP_RECORD;
    }
    if (b->are_records)
        write_group(b, first, to, count, 1);
    else
        write_group(b, first, to, count, 0);
}

/* The last record of a token was written with 3 bytes more than it has, over the first one of the next token. */
static void mend_firsts(const voxels_t *v, const sp_token_t *token, const sp_token_t *end, uint8_t *records)
{
    for (; token < end; token++) {
        if (token->n > 0)
            memcpy(records, &v->first_t[token->y * v->grid.columns + token->x], 8);
        records += (size_t)token->n * SP_RECORD;
    }
}

static void write_events(voxels_t *v, size_t from, size_t to)
{
    for (size_t n; from < to; from += n) {
        const uint32_t *patches = v->patch ? &v->patch[from] : v->batch.patch;
        size_t i = 0;
        n = to - from < SP_BATCH ? to - from : SP_BATCH;
        if (!v->patch)
            sp_patches_of(v->batch.patch, v->events, &v->grid, NULL, from, n);
        sp_batch_load(&v->batch, v->events, v->n, from, n);
        sp_batch_tails(&v->batch, n, NULL, n);
        for (; n - i >= GROUP; i += GROUP)
            place_group(&v->batch, patches, v->ends, i, GROUP);
        place_group(&v->batch, patches, v->ends, i, n - i);
    }
}

/* Up to a wrong event, which v->good is then. */
static uint8_t *all_bins(voxels_t *v, sp_token_list_t *tokens, uint8_t *out, uint64_t *discarded)
{
    const uint64_t duration = v->config->duration_us, last = sp_columns_time(v->events, v->n - 1u);
    const uint64_t last_bin = last / duration + (last % duration != 0);
    const int keeps_empty = v->config->threshold == 0;
    uint64_t bin = sp_columns_time(v->events, 0) / duration;
    size_t from = 0;

    while (out && bin <= last_bin) {
        const uint64_t start = bin * duration;
        const size_t to = count_events(v, from, start + (duration - 1u));
        if (v->is_wrong)
            return out;
        order_touched(v);
        uint8_t *records = out;
        const size_t before = tokens->count;
        out = lay_out(v, start, tokens, out, discarded);
        if (out) {
            write_events(v, from, to);
            mend_firsts(v, tokens->items + before, tokens->items + tokens->count, records);
        }
        from = to;
        if (!keeps_empty && from == v->n)
            break;
        bin = keeps_empty ? bin + 1u : sp_columns_time(v->events, from) / duration;
    }
    while (from < v->n && check_from(v, from)) /* one is wrong if bins ended before the last event */
        from = v->ahead.to;
    return out;
}

uint8_t *sp_voxel_tokens(const sp_voxel_config_t *config, const sp_columns_t *events, size_t n, size_t *good,
                         sp_token_list_t *tokens, uint8_t *out, uint64_t *discarded)
{
    *discarded = 0;
    *good = n;
    if (n == 0)
        return out;
    voxels_t *v = malloc(sizeof *v);
    if (!v)
        return NULL;
    v->config = config;
    v->grid = sp_grid(config->width, config->height, config->patch_size);
    v->events = events;
    v->n = n;
    v->ahead.to = 0;
    v->is_wrong = 0;
    v->patches = (size_t)v->grid.columns * v->grid.rows;
    const int keeps = sp_columns_are_records(events);
    v->patch = keeps ? malloc(n * sizeof *v->patch) : NULL;
    v->counts = calloc(v->patches, sizeof *v->counts);
    v->touched = malloc(v->patches * sizeof *v->touched);
    v->first_t = malloc(v->patches * sizeof *v->first_t);
    v->ends = malloc(v->patches * sizeof *v->ends);
    v->nowhere = NULL;
    v->nowhere_records = 0;
    const int have = (v->patch || !keeps) && v->counts && v->touched && v->first_t && v->ends;
    out = have ? all_bins(v, tokens, out, discarded) : NULL;
    *good = v->ahead.to;
    free(v->patch);
    free(v->counts);
    free(v->touched);
    free(v->first_t);
    free(v->nowhere);
    free(v->ends);
    free(v);
    return out;
}
