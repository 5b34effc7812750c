/* The continuous and the discrete tokenizer from within: what host_tokenizer.c keeps, and what its loops share. */
#ifndef SP_HOST_STATE_H_INCLUDED
#define SP_HOST_STATE_H_INCLUDED

#include <string.h>

#include "host_tokenizer.h"

#define GROUP 8u /* events whose records are written together */
#define SLACK 8u /* bytes behind a patch's room: a record is stored as 16 */

/* Where the next record of a patch goes, and where something has to happen: the patch fires or its room ends.
 * at < limit between two events. */
typedef struct cell {
    uint8_t *at;
    uint8_t *limit;
} cell_t;

/* The rest of that, needed at limit only. Records first .. at are pending; first is base but in the discrete kind. */
typedef struct room {
    uint8_t *base;
    uint8_t *first;
    uint64_t records;
} room_t;

/* A patch with a refractory period: it drops an event at t if t - last_spike < quiet_us, which is 0 before the first
 * spike. */
typedef struct spiking {
    cell_t cell;
    uint64_t last_spike;
    uint64_t quiet_us;
} spiking_t;

/* A patch whose potential decides. Its events add less if t - last_spike < weak_us, which is 0 before the first spike.
 * One cache line. */
typedef struct neuron {
    spiking_t spiking;
    uint64_t weak_us;
    uint64_t last_event;
    double u;
    uint8_t *base; /* the room's */
} neuron_t;

/* Memory for patches that outgrew their first room; given back by sp_host_free. */
typedef struct chunk {
    struct chunk *next;
    size_t used, size;
} chunk_t;

/* Take the batch's n events. 0, or -1 without memory. */
typedef int (*run_fn)(sp_host_t *h, sp_batch_t *b, size_t n);

struct sp_host {
    sp_host_config_t config;
    sp_grid_t grid;
    size_t patches;
    uint64_t fire_records; /* a patch with so many records fires; UINT64_MAX: its potential decides */
    run_fn run;
    size_t cell_size; /* of cell_t, spiking_t or neuron_t */
    uint8_t *cells;   /* [patches] */
    void *cells_memory;
    room_t *rooms;
    uint8_t *slab;
    size_t first_records;
    chunk_t *chunks;
    uint64_t pending, kept;
    int filter; /* the last batch dropped many events in refractory periods: leave them out beforehand (awake) */
    sp_host_stats_t stats;
    sp_token_list_t *tokens;
    uint8_t *out;
    sp_batch_t batch;
    uint16_t awake[SP_BATCH + 1u]; /* one entry more is written than counts */
};

SP_INLINE cell_t *cell_of(const sp_host_t *h, size_t patch)
{
    return (cell_t *)(void *)(h->cells + patch * h->cell_size);
}

SP_INLINE int is_neuron(const sp_host_t *h)
{
    return h->cell_size == sizeof(neuron_t);
}

/* ---------------------------------------------------------------- patches (host_patches.c) */

/* Empty a patch. */
void sp_patch_clear(sp_host_t *h, size_t patch);

/* The patch's room ends: move its records to the front, or to a larger room. 0, or -1 without memory. */
int sp_patch_make_room(sp_host_t *h, size_t patch);

/* Hand out the patch's events as a token, and empty it. 0, or -1 without memory. */
int sp_patch_fire(sp_host_t *h, size_t patch, uint64_t t);

/* A patch that counts has come to its limit: SP_TOKEN if it fired, 0 if it got room, or -1 without memory. */
int sp_patch_at_limit(sp_host_t *h, size_t patch, uint64_t t);

/* The same for the discrete kind: with `threshold` events, those older than the duration go, and it fires if none did. */
int sp_patch_at_discrete_limit(sp_host_t *h, size_t patch, uint64_t t);

/* ---------------------------------------------------------------- loops (host_counting.c, host_neurons.c) */

int sp_run_plain(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_refractory(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_discrete(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_discrete_refractory(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_weakening(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_decaying(sp_host_t *h, sp_batch_t *b, size_t n);

/* Which events of the batch to look at: all, or those that list names. */
typedef struct some {
    const uint16_t *list; /* or NULL */
    size_t count;
} some_t;

SP_INLINE size_t event_at(const some_t *some, size_t i)
{
    return some->list ? some->list[i] : i;
}

SP_INLINE uint64_t time_of(const sp_batch_t *b, size_t event)
{
    return sp_load_u64(b->t + (ptrdiff_t)event * b->t_stride);
}

SP_INLINE int is_quiet(const spiking_t *spiking, uint64_t t)
{
    return t - spiking->last_spike < spiking->quiet_us;
}

/* Leave out the events in refractory periods as the batch finds them, without a branch, which would be wrong too often.
 * Periods that begin within the batch are few and seen to later. */
SP_INLINE some_t awake(sp_host_t *h, const sp_batch_t *b, size_t n, size_t cell_size)
{
    const uint8_t *cells = h->cells, *t = b->t;
    const ptrdiff_t stride = b->t_stride;
    uint16_t *list = h->awake;
    size_t count = 0;
    for (size_t i = 0; i < n; i++, t += stride) {
        list[count] = (uint16_t)i;
        count += !is_quiet((const spiking_t *)(const void *)(cells + b->patch[i] * cell_size), sp_load_u64(t));
    }
    return (some_t){list, count};
}

/* The loops find the places of a few records before they write them: where a load of a cell follows a store to an address
 * that a cell gave, the processor waits for that address. An event that is dropped is written, too, where the patch's
 * next one will be. What happens to a patch (its limit, a spike) happens at the end of a group. */
SP_INLINE void write_group(const sp_batch_t *b, const some_t *some, size_t first, uint8_t *const *to, size_t count)
{
    if (b->records) {
        const uint8_t *records = b->records;
        for (size_t i = 0; i < count; i++)
            memcpy(to[i], records + event_at(some, first + i) * SP_RECORD, 16);
        return;
    }
    const uint8_t *t = b->t;
    const ptrdiff_t stride = b->t_stride;
    for (size_t i = 0; i < count; i++) {
        const size_t event = event_at(some, first + i);
        memcpy(to[i], t + (ptrdiff_t)event * stride, 8);
        memcpy(to[i] + 8, b->tails + 2u * event, 8);
    }
}

SP_INLINE void note_pending(sp_host_t *h, uint64_t pending, uint64_t peak)
{
    h->pending = pending;
    if (peak > h->stats.pending_peak)
        h->stats.pending_peak = peak;
}

SP_INLINE void add_kept(sp_host_t *h, uint64_t kept)
{
    h->kept += kept;
    note_pending(h, h->pending + kept, h->pending + kept);
}

#endif
