/* The continuous and the discrete tokenizer from within: what host_tokenizer.c keeps, and what its loops share. */
#ifndef SP_HOST_STATE_H_INCLUDED
#define SP_HOST_STATE_H_INCLUDED

#include <string.h>

#include "host_tokenizer.h"

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLLED_TWICE _Pragma("GCC unroll 2")
#else
#define UNROLLED_TWICE
#endif

#define WRITTEN_AHEAD 1024u /* bytes: the output's memory is called into the cache so long before it is written */

#define LINE 64u /* of the cache */
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
    uint64_t fires_at; /* so many records, where weak events are: if the patch is NOT_WEAK */
    uint32_t records;
    enum { NOT_WEAK, WEAK, WEAK_FOR_GOOD } weak;
} room_t;

/* A patch whose potential decays. Its events add less if t - last_spike < weak_us, which is 0 before the first spike.
 * One cache line. */
typedef struct neuron {
    cell_t cell;
    uint64_t last_spike;
    uint64_t weak_us;
    uint64_t last_event;
    double u;
    double decay_per_us; /* 0 where the patch is empty: its first event has none before it */
    uint64_t wake;       /* as in sp_host */
} neuron_t;

/* What weak events add up to (host_weak.c), as far as rooms go. */
typedef struct sp_weak {
    uint64_t period_us;
    uint64_t fires_at; /* so many weak events fire a patch; UINT64_MAX: more than sums has */
    size_t room;
    double *sums;      /* [room]: the potential after so many weak events */
    uint64_t *to_fire; /* [room]: how many more it takes, none of them weak; 0: not found out yet */
} sp_weak_t;

/* The patches in refractory periods, in the order in which they wake, which is that of their spikes. */
typedef struct sleeper {
    uint64_t wake;
    size_t patch;
} sleeper_t;

typedef struct sp_sleepers {
    size_t first, count, room;
    sleeper_t ring[]; /* [room]: all patches, and those that wake and fire once more within a batch */
} sp_sleepers_t;

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
    uint64_t fires_at; /* a patch with so many records fires; UINT64_MAX: its potential decides */
    run_fn run;
    size_t cell_size; /* of cell_t or neuron_t */
    uint8_t *cells;   /* [patches] */
    void *cells_memory;
    uint64_t *wake; /* [patches], with a refractory period: an event before this is dropped. 0 before the first spike */
    uint64_t *last_spike; /* [patches], then */
    size_t *is_awake;     /* [patches], then: 0 for those that sleep, 1 */
    uint64_t
        *weak_until; /* [patches], where events soon after a spike add less, without decay. UINT64_MAX: no end ahead */
    sp_weak_t weak;  /* then */
    sp_sleepers_t *sleepers; /* then */
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

/* More than this a patch never holds; UINT64_MAX: there is no such number. */
SP_INLINE uint64_t most_records(const sp_host_t *h)
{
    return h->config.discrete ? 2u * h->fires_at : h->fires_at;
}

/* ---------------------------------------------------------------- patches (host_patches.c) */

/* Empty a patch. */
void sp_patch_clear(sp_host_t *h, size_t patch);

/* Of a patch that has come to fire at another number of records. */
void sp_patch_set_limit(const sp_host_t *h, size_t patch);

/* The patch's room ends: move its records to the front, or to a larger room. 0, or -1 without memory. */
int sp_patch_make_room(sp_host_t *h, size_t patch);

/* Of a patch of the discrete kind the events older than the duration go. */
void sp_patch_expire(sp_host_t *h, size_t patch, uint64_t t);

/* Hand out `count` records from `first` on as a token of the patch. SP_TOKEN, or -1 without memory. */
SP_INLINE int sp_patch_hand_out(sp_host_t *h, size_t patch, const uint8_t *first, size_t count, uint64_t t)
{
    const uint32_t number = (uint32_t)patch, columns = h->grid.columns;
    const size_t bytes = count * SP_RECORD;
    const sp_token_t token = {.t = t,
                              .x = (uint16_t)(number % columns),
                              .y = (uint16_t)(number / columns),
                              .n = (uint32_t)count};

    if (sp_token_list_add(h->tokens, token) != 0)
        return -1;
    memcpy(h->out, first, bytes);
    h->out += bytes;
    for (size_t i = 0; i < bytes; i += LINE)
        SP_PREFETCH_TO_WRITE(h->out, WRITTEN_AHEAD + i);
    h->pending -= count;
    h->stats.in_tokens += count;
    h->stats.tokens++;
    return SP_TOKEN;
}

/* Hand out the patch's events as a token, and empty it; its limit stays. SP_TOKEN, or -1 without memory. */
SP_INLINE int sp_patch_fire(sp_host_t *h, size_t patch, uint64_t t)
{
    room_t *room = &h->rooms[patch];
    cell_t *cell = cell_of(h, patch);
    const uint8_t *first = room->first;
    const size_t count = (size_t)(cell->at - first) / SP_RECORD;

    cell->at = room->first = room->base;
    return sp_patch_hand_out(h, patch, first, count, t);
}

/* A patch with an absolute refractory period has spiked. */
SP_INLINE void sp_patch_sleep(sp_host_t *h, size_t patch, uint64_t t)
{
    sp_sleepers_t *s = h->sleepers;
    const uint64_t end = t + h->config.absolute_refractory_us, wake = end < t ? UINT64_MAX : end;
    const size_t last = s->first + s->count++;

    h->wake[patch] = wake;
    h->last_spike[patch] = t;
    h->is_awake[patch] = 0;
    s->ring[last < s->room ? last : last - s->room] = (sleeper_t){wake, patch};
}

/* Patches wake whose periods end up to t: some of their events before that may be still to be dropped, and so may be all of
 * one that woke within a batch, fired and is in the ring again. */
SP_INLINE void sp_patches_wake(sp_host_t *h, uint64_t t)
{
    sp_sleepers_t *s = h->sleepers;
    while (s->count > 0 && s->ring[s->first].wake <= t) {
        h->is_awake[s->ring[s->first].patch] = 1;
        s->first = s->first + 1u < s->room ? s->first + 1u : 0;
        s->count--;
    }
}

/* ---------------------------------------------------------------- weak events (host_weak.c) */

/* 0, or -1 without memory. */
int sp_weak_new(sp_host_t *h);

/* Sums for as many events as a room has. 0, or -1 without memory. */
int sp_weak_reach(sp_host_t *h, size_t events);

/* How many events, none of them weak, it takes to fire after so many that were. */
uint64_t sp_weak_to_fire(sp_host_t *h, size_t weak);

/* At how many events the patch fires; its last one, at t, may be the first that is not weak. */
uint64_t sp_weak_fires_at(sp_host_t *h, size_t patch, uint64_t t);

/* The patch has spiked. */
void sp_patch_weaken(sp_host_t *h, size_t patch, uint64_t t);

/* ---------------------------------------------------------------- loops (host_counting.c, host_neurons.c) */

int sp_run_plain(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_refractory(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_discrete(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_discrete_refractory(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_weakening(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_weakening_refractory(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_decaying(sp_host_t *h, sp_batch_t *b, size_t n);
int sp_run_decaying_refractory(sp_host_t *h, sp_batch_t *b, size_t n);

/* Which events of the batch to look at: all, or those that list names. */
typedef struct some {
    const uint16_t *list; /* or NULL */
    size_t count;
} some_t;

SP_INLINE size_t event_at(const some_t *some, size_t i)
{
    return some->list ? some->list[i] : i;
}

/* What a loop is for: constants, so that it is compiled for each. */
typedef struct loop {
    int refractory; /* there are absolute refractory periods; */
    int filter;     /* events in them are left out beforehand */
    int discrete;
    int weakens; /* events soon after a spike add less */
    int records; /* the events of the batch are records */
} loop_t;

/* run(h, b, n, the loop) for the batch's kind of events. */
#define RUN(run, ...) \
    (b->are_records ? run(h, b, n, (loop_t){__VA_ARGS__, .records = 1}) : run(h, b, n, (loop_t){__VA_ARGS__}))

SP_INLINE uint64_t time_of(const sp_batch_t *b, size_t event, loop_t loop)
{
    return sp_load_u64(sp_batch_place(b, event, loop.records));
}

/* Leave out the events in refractory periods as the batch finds them, without a branch, which would be wrong too often.
 * Periods that begin or end within the batch are few and seen to later. A batch of one is looked at exactly. */
SP_INLINE some_t awake(sp_host_t *h, const sp_batch_t *b, size_t n, loop_t loop)
{
    const size_t *is_awake = h->is_awake;
    uint16_t *list = h->awake;
    size_t count = 0;
    if (n == 1) {
        const size_t patch = b->patch[0];
        const uint64_t since = time_of(b, 0, loop) - h->last_spike[patch];
        list[0] = 0;
        return (some_t){list, h->wake[patch] == 0 || since >= h->config.absolute_refractory_us};
    }
    size_t i = 0;
    UNROLLED_TWICE
    for (; n - i >= 4u; i += 4u) { /* of four at a time the count is one sum: each waits for the one before */
        const uint32_t *patch = b->patch + i;
        const size_t one = is_awake[patch[0]], two = one + is_awake[patch[1]], three = two + is_awake[patch[2]];
        uint16_t *to = list + count;
        count += three + is_awake[patch[3]];
        to[0] = (uint16_t)i;
        to[one] = (uint16_t)(i + 1u);
        to[two] = (uint16_t)(i + 2u);
        to[three] = (uint16_t)(i + 3u);
    }
    for (; i < n; i++) {
        list[count] = (uint16_t)i;
        count += is_awake[b->patch[i]];
    }
    return (some_t){list, count};
}

/* A patch sleeps from now on: leave out its events from number i of `some` on, which would be dropped one by one; unless it
 * wakes before the last of these. */
SP_INLINE void leave_out(sp_host_t *h, const sp_batch_t *b, some_t *some, size_t i, size_t patch, loop_t loop)
{
    uint16_t *list = h->awake; /* that of some */
    size_t count = i;
    if (h->wake[patch] <= time_of(b, list[some->count - 1u], loop))
        return;
    for (; i < some->count; i++) {
        const uint16_t event = list[i];
        list[count] = event;
        count += b->patch[event] != patch;
    }
    some->count = count;
}

/* Get the batch ready: which of its events to look at. */
SP_INLINE some_t load(sp_host_t *h, sp_batch_t *b, size_t n, loop_t loop)
{
    const some_t some = loop.filter ? awake(h, b, n, loop) : (some_t){NULL, n};
    sp_batch_tails(b, n, some.list, some.count);
    return some;
}

SP_INLINE void add_kept(sp_host_t *h, uint64_t kept)
{
    h->kept += kept;
    h->pending += kept;
    if (h->pending > h->stats.pending_peak)
        h->stats.pending_peak = h->pending;
}

#endif
