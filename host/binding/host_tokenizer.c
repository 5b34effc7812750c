#include "host_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_RECORDS 32u           /* room of a patch to begin with */
#define FIRST_BYTES (64u << 20)     /* less room where that would be more than this in all */
#define GROWTH 8u
#define SLACK 8u                    /* a record is stored as 16 bytes */
#define CHUNK_BYTES ((size_t)1 << 20)

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

/* The absolute refractory period: t - last_spike < quiet_us; quiet_us is 0 before the first spike. */
typedef struct spike {
    uint64_t last;
    uint64_t quiet_us;
} spike_t;

typedef struct potential {
    double u;
    uint64_t last_event;
    uint64_t spiked;
} potential_t;

/* Memory for patches that outgrew their first room; given back by sp_host_free. */
typedef struct chunk {
    struct chunk *next;
    size_t used, size;
} chunk_t;

typedef int (*run_fn)(sp_host_t *h, const sp_batch_t *b, size_t n);

struct sp_host {
    sp_host_config_t config;
    sp_grid_t grid;
    size_t patches;
    uint64_t fire_records; /* a patch with so many records fires; UINT64_MAX: its potential decides */
    run_fn run;
    cell_t *cells;
    room_t *rooms;
    spike_t *spikes;
    potential_t *potentials;
    uint8_t *slab;
    size_t first_records;
    chunk_t *chunks;
    uint64_t batch_base;   /* events taken before the batch */
    uint64_t gone;         /* in tokens, discarded or dropped: taken - gone are pending */
    sp_host_stats_t stats;
    sp_token_list_t *tokens;
    uint8_t *out;
    sp_batch_t batch;
};

/* ---------------------------------------------------------------- memory */

int sp_token_list_reserve(sp_token_list_t *list, size_t more)
{
    if (list->room - list->count >= more)
        return 0;
    const size_t room = 2u * list->room + more + 64u;
    if (room > SIZE_MAX / sizeof *list->items)
        return -1;
    sp_token_t *bigger = realloc(list->items, room * sizeof *bigger);
    if (!bigger)
        return -1;
    list->items = bigger;
    list->room = room;
    return 0;
}

int sp_token_list_add(sp_token_list_t *list, sp_token_t token)
{
    if (list->count == list->room && sp_token_list_reserve(list, 1) != 0)
        return -1;
    list->items[list->count++] = token;
    return 0;
}

static uint8_t *take_memory(sp_host_t *h, size_t bytes)
{
    bytes = (bytes + 15u) & ~(size_t)15u;
    if (!h->chunks || h->chunks->size - h->chunks->used < bytes) {
        const size_t head = (sizeof(chunk_t) + 15u) & ~(size_t)15u;
        const size_t size = head + (bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES);
        chunk_t *chunk = malloc(size);
        if (!chunk)
            return NULL;
        *chunk = (chunk_t){.next = h->chunks, .used = head, .size = size};
        h->chunks = chunk;
    }
    uint8_t *memory = (uint8_t *)h->chunks + h->chunks->used;
    h->chunks->used += bytes;
    return memory;
}

static void set_limit(const sp_host_t *h, size_t patch)
{
    const room_t *room = &h->rooms[patch];
    uint8_t *end = room->base + room->records * SP_RECORD;
    const uint64_t left = (uint64_t)(end - room->first) / SP_RECORD;
    h->cells[patch].limit = h->fire_records < left ? room->first + h->fire_records * SP_RECORD : end;
}

static void clear_patch(sp_host_t *h, size_t patch)
{
    h->rooms[patch].first = h->rooms[patch].base;
    h->cells[patch].at = h->rooms[patch].base;
    set_limit(h, patch);
}

/* The patch's room ends: move its records to the front, or to a larger room. */
static int make_room(sp_host_t *h, size_t patch)
{
    room_t *room = &h->rooms[patch];
    cell_t *cell = &h->cells[patch];
    const size_t bytes = (size_t)(cell->at - room->first);

    if ((size_t)(room->first - room->base) <= bytes) {
        uint64_t records = room->records * GROWTH;
        const uint64_t most = h->config.discrete ? 2u * h->fire_records : h->fire_records;
        records = records < most ? records : most;
        if (records > SIZE_MAX / 2u / SP_RECORD)
            return -1;
        uint8_t *base = take_memory(h, (size_t)records * SP_RECORD + SLACK);
        if (!base)
            return -1;
        memcpy(base, room->first, bytes);
        room->base = base;
        room->records = records;
    } else {
        memmove(room->base, room->first, bytes);
    }
    room->first = room->base;
    cell->at = room->base + bytes;
    set_limit(h, patch);
    return 0;
}

/* ---------------------------------------------------------------- what happens at a limit */

static void note_peak(sp_host_t *h, uint64_t taken)
{
    const uint64_t pending = taken - h->gone;
    if (pending > h->stats.pending_peak)
        h->stats.pending_peak = pending;
}

static int fire(sp_host_t *h, size_t patch, uint64_t t, size_t i)
{
    const uint8_t *first = h->rooms[patch].first;
    const size_t bytes = (size_t)(h->cells[patch].at - first), count = bytes / SP_RECORD;
    const sp_token_t token = {.t = t,
                              .x = (uint16_t)(patch % h->grid.columns),
                              .y = (uint16_t)(patch / h->grid.columns),
                              .n = (uint32_t)count};

    note_peak(h, h->batch_base + i + 1u);
    if (count > UINT32_MAX || sp_token_list_add(h->tokens, token) != 0)
        return -1;
    memcpy(h->out, first, bytes);
    h->out += bytes;
    h->gone += count;
    h->stats.in_tokens += count;
    h->stats.tokens++;
    clear_patch(h, patch);
    return 0;
}

/* SP_TOKEN if the patch fired, 0 if it got room, or -1. */
static int at_limit(sp_host_t *h, size_t patch, uint64_t t, size_t i)
{
    const uint64_t held = (uint64_t)(h->cells[patch].at - h->rooms[patch].first) / SP_RECORD;
    if (held >= h->fire_records)
        return fire(h, patch, t, i) == 0 ? SP_TOKEN : -1;
    return make_room(h, patch);
}

static uint64_t time_of(const uint8_t *record)
{
    uint64_t t;
    memcpy(&t, record, sizeof t);
    return t;
}

/* The same for the discrete kind: with `threshold` events, those older than the duration go, and it fires if none did. */
static int at_discrete_limit(sp_host_t *h, size_t patch, uint64_t t, size_t i)
{
    room_t *room = &h->rooms[patch];
    const cell_t *cell = &h->cells[patch];

    if ((uint64_t)(cell->at - room->first) / SP_RECORD == h->fire_records) {
        const uint8_t *first = room->first;
        note_peak(h, h->batch_base + i + 1u);
        while (t - time_of(room->first) > h->config.duration_us) /* the newest is not: t - t = 0 */
            room->first += SP_RECORD;
        if (room->first == first)
            return fire(h, patch, t, i) == 0 ? SP_TOKEN : -1;
        const uint64_t old = (uint64_t)(room->first - first) / SP_RECORD;
        h->gone += old;
        h->stats.discarded += old;
        set_limit(h, patch);
    }
    return cell->at == room->base + room->records * SP_RECORD ? make_room(h, patch) : 0;
}

/* ---------------------------------------------------------------- loops, one for each kind */

/* Returns whether the patch is at its limit. The record's bytes could be anywhere as far as the compiler knows: read the
 * cell before they are written. */
SP_INLINE int keep(cell_t *cell, uint64_t t, uint64_t xyp)
{
    uint8_t *at = cell->at;
    uint8_t *next = at + SP_RECORD;
    const int full = next == cell->limit;
    cell->at = next;
    memcpy(at, &t, 8);
    memcpy(at + 8, &xyp, 8);
    return full;
}

SP_INLINE int run_counting(sp_host_t *h, const sp_batch_t *b, size_t n, int refractory, int discrete)
{
    cell_t *cells = h->cells;
    const spike_t *spikes = h->spikes;
    const uint64_t *times = b->t;
    uint64_t dropped = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t patch = b->patch[i];
        const uint64_t t = times[i];
        if (refractory && t - spikes[patch].last < spikes[patch].quiet_us) {
            dropped++;
            continue;
        }
        if (SP_RARELY(keep(&cells[patch], t, b->xyp[i]))) {
            h->gone += dropped;
            h->stats.refractory += dropped;
            dropped = 0;
            const int rc = discrete ? at_discrete_limit(h, patch, t, i) : at_limit(h, patch, t, i);
            if (rc < 0)
                return -1;
            if (refractory && rc == SP_TOKEN)
                h->spikes[patch] = (spike_t){t, h->config.absolute_refractory_us};
        }
    }
    h->gone += dropped;
    h->stats.refractory += dropped;
    return 0;
}

static int run_plain(sp_host_t *h, const sp_batch_t *b, size_t n) { return run_counting(h, b, n, 0, 0); }
static int run_refractory(sp_host_t *h, const sp_batch_t *b, size_t n) { return run_counting(h, b, n, 1, 0); }
static int run_discrete(sp_host_t *h, const sp_batch_t *b, size_t n) { return run_counting(h, b, n, 0, 1); }
static int run_discrete_refractory(sp_host_t *h, const sp_batch_t *b, size_t n) { return run_counting(h, b, n, 1, 1); }

static void decay_away(sp_host_t *h, size_t patch, size_t i)
{
    const uint64_t count = (uint64_t)(h->cells[patch].at - h->rooms[patch].base) / SP_RECORD;
    note_peak(h, h->batch_base + i);
    h->gone += count;
    h->stats.discarded += count;
    clear_patch(h, patch);
}

/* The method in full, in doubles. Build without contraction: the order of the operations is part of the method. */
static int run_real(sp_host_t *h, const sp_batch_t *b, size_t n)
{
    const double decay = h->config.decay_per_us, threshold = h->config.threshold, scale = h->config.relative_scale;
    const uint64_t relative = h->config.relative_refractory_us, absolute = h->config.absolute_refractory_us;

    for (size_t i = 0; i < n; i++) {
        const size_t patch = b->patch[i];
        const uint64_t t = b->t[i], since = t - h->spikes[patch].last;
        potential_t *potential = &h->potentials[patch];
        cell_t *cell = &h->cells[patch];

        if (since < h->spikes[patch].quiet_us) {
            h->gone++;
            h->stats.refractory++;
            continue;
        }
        const double increase = potential->spiked && since - absolute < relative ? scale : 1.0;
        double u = increase;
        if (cell->at != h->rooms[patch].base) {
            const double loss = decay * (double)(t - potential->last_event);
            const double change = increase - loss;
            u = potential->u + change;
        }
        if (u <= 0.0) {
            u = 0.0;
            decay_away(h, patch, i);
        }
        potential->u = u;
        potential->last_event = t;
        const int full = keep(cell, t, b->xyp[i]);
        if (SP_RARELY(u >= threshold)) {
            if (fire(h, patch, t, i) != 0)
                return -1;
            h->spikes[patch] = (spike_t){t, absolute};
            potential->spiked = 1;
        } else if (SP_RARELY(full) && make_room(h, patch) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- life */

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
    if (real)
        h->run = run_real;
    else if (config->discrete)
        h->run = refractory ? run_discrete_refractory : run_discrete;
    else
        h->run = refractory ? run_refractory : run_plain;

    const uint64_t most = config->discrete ? 2u * h->fire_records : h->fire_records;
    h->first_records = most < FIRST_RECORDS ? (size_t)most : FIRST_RECORDS;
    while (h->first_records > 4u && h->patches * h->first_records * SP_RECORD > FIRST_BYTES)
        h->first_records /= 2u;
    const size_t stride = h->first_records * SP_RECORD + SLACK;
    h->slab = malloc(h->patches * stride);
    h->cells = malloc(h->patches * sizeof *h->cells);
    h->rooms = malloc(h->patches * sizeof *h->rooms);
    if (refractory || real)
        h->spikes = malloc(h->patches * sizeof *h->spikes);
    if (real)
        h->potentials = malloc(h->patches * sizeof *h->potentials);
    if (!h->slab || !h->cells || !h->rooms || ((refractory || real) && !h->spikes) || (real && !h->potentials)) {
        sp_host_free(h);
        return NULL;
    }
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
    free(h->cells);
    free(h->rooms);
    free(h->spikes);
    free(h->potentials);
    free(h);
}

void sp_host_reset(sp_host_t *h)
{
    for (size_t i = 0; i < h->patches; i++)
        clear_patch(h, i);
    if (h->spikes)
        memset(h->spikes, 0, h->patches * sizeof *h->spikes);
    if (h->potentials)
        memset(h->potentials, 0, h->patches * sizeof *h->potentials);
    h->gone = 0;
    memset(&h->stats, 0, sizeof h->stats);
}

uint8_t *sp_host_push(sp_host_t *h, const sp_columns_t *events, size_t n, sp_token_list_t *tokens, uint8_t *out)
{
    h->tokens = tokens;
    h->out = out;
    for (size_t at = 0; at < n;) {
        const size_t count = n - at < SP_BATCH ? n - at : SP_BATCH;
        sp_batch_load(&h->batch, events, &h->grid, at, count);
        h->batch_base = h->stats.taken;
        if (h->run(h, &h->batch, count) != 0)
            return NULL;
        h->stats.taken += count;
        at += count;
    }
    note_peak(h, h->stats.taken);
    return h->out;
}

uint64_t sp_host_pending(const sp_host_t *h)
{
    uint64_t pending = 0;
    for (size_t i = 0; i < h->patches; i++)
        pending += (uint64_t)(h->cells[i].at - h->rooms[i].first) / SP_RECORD;
    return pending;
}

sp_host_stats_t sp_host_stats(const sp_host_t *h)
{
    return h->stats;
}
