/* The voxel tokenizer: events are sorted by time, so bins are stretches of them; each is sorted by counting. */
#include "host_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define GROUP 8u /* events whose records are written together */

typedef struct voxels {
    const sp_grid_t *grid;
    uint32_t threshold;
    size_t patches;
    size_t touched_count;
    uint32_t *counts;  /* [patches], 0 between bins */
    uint32_t *touched; /* [patches]: those with events in this bin */
    uint8_t **ends;    /* [patches]: where the next record goes; NULL: below the threshold */
    sp_batch_t batch;
} voxels_t;

static uint64_t time_at(const sp_columns_t *events, size_t i)
{
    uint64_t t;
    memcpy(&t, events->t + (ptrdiff_t)i * events->t_stride, sizeof t);
    return t;
}

/* The first event from `from` on that is later than last; n if there is none. */
static size_t end_of_bin(const sp_columns_t *events, size_t from, size_t n, uint64_t last)
{
    size_t step = 1, low = from, high;
    while (low + step < n && time_at(events, low + step) <= last) {
        low += step;
        step *= 2;
    }
    high = low + step < n ? low + step : n; /* events[low] <= last, events[high] > last */
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (time_at(events, middle) <= last)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static void count_events(voxels_t *v, const sp_columns_t *events, size_t from, size_t to)
{
    uint32_t *counts = v->counts, *list = v->touched;
    size_t touched = 0;
    for (size_t n; from < to; from += n) {
        n = to - from < SP_BATCH ? to - from : SP_BATCH;
        sp_batch_patches(&v->batch, events, v->grid, from, n);
        for (size_t i = 0; i < n; i++) {
            const uint32_t patch = v->batch.patch[i];
            const uint32_t count = counts[patch];
            counts[patch] = count + 1u;
            if (SP_RARELY(count == 0))
                list[touched++] = patch;
        }
    }
    v->touched_count = touched;
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

/* A token for each voxel of the bin that has enough events. Returns the end of their records, or NULL. */
static uint8_t *lay_out(voxels_t *v, uint64_t t, sp_token_list_t *tokens, uint8_t *out, uint64_t *discarded)
{
    const size_t candidates = v->threshold == 0 ? v->patches : v->touched_count;
    if (sp_token_list_reserve(tokens, candidates) != 0)
        return NULL;
    for (size_t i = 0; i < candidates; i++) {
        const uint32_t patch = v->threshold == 0 ? (uint32_t)i : v->touched[i];
        const uint32_t count = v->counts[patch];
        v->counts[patch] = 0;
        v->ends[patch] = NULL;
        if (count < v->threshold) {
            *discarded += count;
            continue;
        }
        tokens->items[tokens->count++] = (sp_token_t){.t = t,
                                                      .x = (uint16_t)(patch % v->grid->columns),
                                                      .y = (uint16_t)(patch / v->grid->columns),
                                                      .n = count};
        v->ends[patch] = out;
        out += (size_t)count * SP_RECORD;
    }
    return out;
}

/* A record and not a byte more: those behind it may be there. */
SP_INLINE void write_exactly(uint8_t *to, uint64_t t, uint64_t last)
{
    memcpy(to, &t, 8);
    memcpy(to + 5, &last, 8);
}

SP_INLINE void write_group(const sp_batch_t *b, size_t first, uint8_t *const *to, size_t count)
{
    const uint8_t *t = b->t + (ptrdiff_t)first * b->t_stride;
    const ptrdiff_t stride = b->t_stride;
    if (b->records) {
        for (size_t i = 0; i < count; i++, t += SP_RECORD)
            if (to[i])
                write_exactly(to[i], sp_load_u64(t), sp_load_u64(t + 5));
        return;
    }
    const uint32_t *tail = b->tails + 2u * first;
    for (size_t i = 0; i < count; i++, t += stride, tail += 2) {
        const uint64_t last = (tail[0] | (uint64_t)tail[1] << 32) << 24 | sp_load_u64(t) >> 40;
        if (to[i])
            write_exactly(to[i], sp_load_u64(t), last);
    }
}

/* The next few events. Where their records go is found first, as in host_tokenizer.c. */
SP_INLINE void place_group(const sp_batch_t *b, uint8_t **ends, size_t first, size_t count)
{
    uint8_t *to[GROUP];
    for (size_t i = 0; i < count; i++) {
        uint8_t **end = &ends[b->patch[first + i]], *at = *end;
        to[i] = at;
        *end = at + (SP_RECORD & (0u - (size_t)(at != NULL)));
    }
    write_group(b, first, to, count);
}

static void write_events(voxels_t *v, const sp_columns_t *events, size_t all, size_t from, size_t to)
{
    for (size_t n; from < to; from += n) {
        size_t i = 0;
        n = to - from < SP_BATCH ? to - from : SP_BATCH;
        sp_batch_load(&v->batch, events, all, v->grid, from, n);
        sp_batch_tails(&v->batch, n, NULL, n);
        for (; n - i >= GROUP; i += GROUP)
            place_group(&v->batch, v->ends, i, GROUP);
        place_group(&v->batch, v->ends, i, n - i);
    }
}

static uint8_t *all_bins(voxels_t *v, uint64_t duration, const sp_columns_t *events, size_t n, sp_token_list_t *tokens,
                         uint8_t *out, uint64_t *discarded)
{
    const uint64_t last = time_at(events, n - 1u);
    const uint64_t last_bin = last / duration + (last % duration != 0);
    uint64_t bin = time_at(events, 0) / duration;
    size_t from = 0;

    while (out && bin <= last_bin) {
        const uint64_t start = bin * duration;
        const size_t to = from < n && time_at(events, from) / duration == bin
                              ? end_of_bin(events, from, n, start + (duration - 1u))
                              : from;
        count_events(v, events, from, to);
        order_touched(v);
        out = lay_out(v, start, tokens, out, discarded);
        if (out)
            write_events(v, events, n, from, to);
        from = to;
        if (v->threshold > 0 && from == n)
            break;
        bin = v->threshold > 0 ? time_at(events, from) / duration : bin + 1u;
    }
    return out;
}

uint8_t *sp_voxel_tokens(const sp_grid_t *grid, uint32_t threshold, uint64_t duration_us, const sp_columns_t *events,
                         size_t n, sp_token_list_t *tokens, uint8_t *out, uint64_t *discarded)
{
    *discarded = 0;
    if (n == 0)
        return out;
    voxels_t *v = malloc(sizeof *v);
    if (!v)
        return NULL;
    v->grid = grid;
    v->threshold = threshold;
    v->patches = (size_t)grid->columns * grid->rows;
    v->counts = calloc(v->patches, sizeof *v->counts);
    v->touched = malloc(v->patches * sizeof *v->touched);
    v->ends = malloc(v->patches * sizeof *v->ends);
    out = v->counts && v->touched && v->ends ? all_bins(v, duration_us, events, n, tokens, out, discarded) : NULL;
    free(v->counts);
    free(v->touched);
    free(v->ends);
    free(v);
    return out;
}
