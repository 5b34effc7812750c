#include "host_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_RECORDS 32u         /* room of a patch to begin with, */
#define FIRST_NEURON_RECORDS 128u /* at most */
#define FIRST_BYTES (64u << 20)   /* less room where that would be more than this in all */
#define GROWTH 8u                 /* soon to the most that a patch can hold, */
#define NEURON_GROWTH 2u          /* where there is no such number */
#define SLACK 8u                  /* a record is stored as 16 bytes */
#define LINE 64u                  /* of the cache */
#define GROUP 8u                  /* events whose records are written together */
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

static cell_t *cell_of(const sp_host_t *h, size_t patch)
{
    return (cell_t *)(void *)(h->cells + patch * h->cell_size);
}

static int is_neuron(const sp_host_t *h)
{
    return h->cell_size == sizeof(neuron_t);
}

static void set_limit(const sp_host_t *h, size_t patch)
{
    const room_t *room = &h->rooms[patch];
    uint8_t *end = room->base + room->records * SP_RECORD;
    const uint64_t left = (uint64_t)(end - room->first) / SP_RECORD;
    cell_of(h, patch)->limit = h->fire_records < left ? room->first + h->fire_records * SP_RECORD : end;
}

static void clear_patch(sp_host_t *h, size_t patch)
{
    h->rooms[patch].first = h->rooms[patch].base;
    cell_of(h, patch)->at = h->rooms[patch].base;
    set_limit(h, patch);
}

/* The patch's room ends: move its records to the front, or to a larger room. */
static int make_room(sp_host_t *h, size_t patch)
{
    room_t *room = &h->rooms[patch];
    cell_t *cell = cell_of(h, patch);
    const size_t bytes = (size_t)(cell->at - room->first);

    if ((size_t)(room->first - room->base) <= bytes) {
        uint64_t records = room->records * (is_neuron(h) ? NEURON_GROWTH : GROWTH);
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
        if (is_neuron(h))
            ((neuron_t *)(void *)cell)->base = base;
    } else {
        memmove(room->base, room->first, bytes);
    }
    room->first = room->base;
    cell->at = room->base + bytes;
    set_limit(h, patch);
    return 0;
}

/* ---------------------------------------------------------------- what happens at a limit */

static int fire(sp_host_t *h, size_t patch, uint64_t t)
{
    const uint8_t *first = h->rooms[patch].first;
    const size_t bytes = (size_t)(cell_of(h, patch)->at - first), count = bytes / SP_RECORD;
    const sp_token_t token = {.t = t,
                              .x = (uint16_t)(patch % h->grid.columns),
                              .y = (uint16_t)(patch / h->grid.columns),
                              .n = (uint32_t)count};

    if (count > UINT32_MAX || sp_token_list_add(h->tokens, token) != 0)
        return -1;
    memcpy(h->out, first, bytes);
    h->out += bytes;
    h->pending -= count;
    h->stats.in_tokens += count;
    h->stats.tokens++;
    clear_patch(h, patch);
    return 0;
}

/* SP_TOKEN if the patch fired, 0 if it got room, or -1. */
static int at_limit(sp_host_t *h, size_t patch, uint64_t t)
{
    const uint64_t held = (uint64_t)(cell_of(h, patch)->at - h->rooms[patch].first) / SP_RECORD;
    if (held >= h->fire_records)
        return fire(h, patch, t) == 0 ? SP_TOKEN : -1;
    return make_room(h, patch);
}

/* The same for the discrete kind: with `threshold` events, those older than the duration go, and it fires if none did. */
static int at_discrete_limit(sp_host_t *h, size_t patch, uint64_t t)
{
    room_t *room = &h->rooms[patch];
    const cell_t *cell = cell_of(h, patch);

    if ((uint64_t)(cell->at - room->first) / SP_RECORD == h->fire_records) {
        const uint8_t *first = room->first;
        while (t - sp_load_u64(room->first) > h->config.duration_us) /* the newest is not: t - t = 0 */
            room->first += SP_RECORD;
        if (room->first == first)
            return fire(h, patch, t) == 0 ? SP_TOKEN : -1;
        const uint64_t old = (uint64_t)(room->first - first) / SP_RECORD;
        h->pending -= old;
        h->stats.discarded += old;
        set_limit(h, patch);
    }
    return cell->at == room->base + room->records * SP_RECORD ? make_room(h, patch) : 0;
}

/* ---------------------------------------------------------------- loops, one for each kind */

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

static void note_pending(sp_host_t *h, uint64_t pending, uint64_t peak)
{
    h->pending = pending;
    if (peak > h->stats.pending_peak)
        h->stats.pending_peak = peak;
}

static void add_kept(sp_host_t *h, uint64_t kept)
{
    h->kept += kept;
    note_pending(h, h->pending + kept, h->pending + kept);
}

/* Take events from number i of some on, at most `most` (up to GROUP) and up to one that takes its patch to its limit.
 * Returns how many, or 0 without memory. *kept is what add_kept was not told yet. */
SP_INLINE size_t count_group(sp_host_t *h, const sp_batch_t *b, const some_t *some, size_t i, size_t most,
                             uint64_t *kept, int refractory, int discrete)
{
    spiking_t *spiking = (spiking_t *)(void *)h->cells;
    uint8_t *to[GROUP];
    size_t k = 0;
    int full = 0;

    do {
        const size_t event = event_at(some, i + k), patch = b->patch[event];
        cell_t *cell = refractory ? &spiking[patch].cell : (cell_t *)(void *)h->cells + patch;
        uint8_t *at = cell->at, *next = at + SP_RECORD;
        to[k++] = at;
        if (refractory && SP_RARELY(is_quiet(&spiking[patch], time_of(b, event))))
            continue;
        full = next == cell->limit;
        cell->at = next;
        (*kept)++;
    } while (k < most && !SP_RARELY(full));
    write_group(b, some, i, to, k);
    if (SP_RARELY(full)) {
        const size_t event = event_at(some, i + k - 1u), patch = b->patch[event];
        const uint64_t t = time_of(b, event);
        add_kept(h, *kept);
        *kept = 0;
        const int rc = discrete ? at_discrete_limit(h, patch, t) : at_limit(h, patch, t);
        if (refractory && rc == SP_TOKEN) {
            spiking[patch].last_spike = t;
            spiking[patch].quiet_us = h->config.absolute_refractory_us;
        }
        return rc < 0 ? 0 : k;
    }
    return k;
}

SP_INLINE int run_counting(sp_host_t *h, sp_batch_t *b, size_t n, int refractory, int filter, int discrete)
{
    const some_t some = filter ? awake(h, b, n, sizeof(spiking_t)) : (some_t){NULL, n};
    uint64_t kept = 0;
    sp_batch_tails(b, n, some.list, some.count);
    for (size_t i = 0, taken; i < some.count; i += taken) {
        if (some.count - i >= GROUP)
            taken = count_group(h, b, &some, i, GROUP, &kept, refractory, discrete);
        else
            taken = count_group(h, b, &some, i, some.count - i, &kept, refractory, discrete);
        if (SP_RARELY(taken == 0))
            return -1;
    }
    add_kept(h, kept);
    return 0;
}

static int run_plain(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return run_counting(h, b, n, 0, 0, 0);
}

static int run_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? run_counting(h, b, n, 1, 1, 0) : run_counting(h, b, n, 1, 0, 0);
}

static int run_discrete(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return run_counting(h, b, n, 0, 0, 1);
}

static int run_discrete_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? run_counting(h, b, n, 1, 1, 1) : run_counting(h, b, n, 1, 0, 1);
}

static int fire_neuron(sp_host_t *h, size_t patch, uint64_t t)
{
    neuron_t *neuron = (neuron_t *)(void *)cell_of(h, patch);
    const uint64_t quiet = h->config.absolute_refractory_us;

    neuron->spiking.last_spike = t;
    neuron->spiking.quiet_us = quiet;
    neuron->weak_us = quiet + h->config.relative_refractory_us; /* each less than 2^63 */
    neuron->u = 0.0;
    return fire(h, patch, t);
}

/* What the loop over neurons counts, in bytes of records. */
typedef struct held {
    uint64_t pending, peak, lost, kept;
} held_t;

/* As count_group. The method in full, in doubles; build without contraction: the order of the operations is part of it. */
SP_INLINE size_t integrate_group(sp_host_t *h, const sp_batch_t *b, const some_t *some, size_t i, size_t most,
                                 held_t *held, int refractory, int decays)
{
    neuron_t *neurons = (neuron_t *)(void *)h->cells;
    const double increases[2] = {1.0, h->config.relative_scale};
    uint8_t *to[GROUP];
    size_t k = 0;
    int special = 0;

    do {
        const size_t event = event_at(some, i + k);
        neuron_t *neuron = &neurons[b->patch[event]];
        const uint64_t t = time_of(b, event);
        uint8_t *at = neuron->spiking.cell.at;

        to[k++] = at;
        if (refractory && SP_RARELY(is_quiet(&neuron->spiking, t)))
            continue;
        double change = increases[t - neuron->spiking.last_spike < neuron->weak_us];
        if (decays) { /* u is 0 for the first event, too */
            const uint64_t age = SP_RARELY(at == neuron->base) ? 0 : t - neuron->last_event;
            const double loss = h->config.decay_per_us * (double)age;
            change -= loss;
            neuron->last_event = t;
        }
        double u = neuron->u + change;
        if (decays && SP_RARELY(u <= 0.0)) {
            u = 0.0;
            held->lost += (uint64_t)(at - neuron->base);
            held->pending -= (uint64_t)(at - neuron->base);
            to[k - 1u] = at = neuron->base;
        }
        held->kept++;
        held->pending += SP_RECORD;
        held->peak = held->pending > held->peak ? held->pending : held->peak;
        at += SP_RECORD;
        neuron->u = u;
        neuron->spiking.cell.at = at;
        special = (u >= h->config.threshold) | (at == neuron->spiking.cell.limit);
    } while (k < most && !SP_RARELY(special));
    write_group(b, some, i, to, k);
    if (SP_RARELY(special)) {
        const size_t event = event_at(some, i + k - 1u), patch = b->patch[event];
        h->pending = held->pending / SP_RECORD;
        const int fires = neurons[patch].u >= h->config.threshold;
        const int rc = fires ? fire_neuron(h, patch, time_of(b, event)) : make_room(h, patch);
        held->pending = h->pending * SP_RECORD;
        return rc != 0 ? 0 : k;
    }
    return k;
}

SP_INLINE int integrate(sp_host_t *h, sp_batch_t *b, size_t n, int refractory, int filter, int decays)
{
    const some_t some = filter ? awake(h, b, n, sizeof(neuron_t)) : (some_t){NULL, n};
    held_t held = {.pending = h->pending * SP_RECORD};
    sp_batch_tails(b, n, some.list, some.count);
    for (size_t i = 0, taken; i < some.count; i += taken) {
        if (some.count - i >= GROUP)
            taken = integrate_group(h, b, &some, i, GROUP, &held, refractory, decays);
        else
            taken = integrate_group(h, b, &some, i, some.count - i, &held, refractory, decays);
        if (SP_RARELY(taken == 0))
            return -1;
    }
    note_pending(h, held.pending / SP_RECORD, held.peak / SP_RECORD);
    h->stats.discarded += held.lost / SP_RECORD;
    h->kept += held.kept;
    return 0;
}

static int run_weakening(sp_host_t *h, sp_batch_t *b, size_t n)
{
    if (h->config.absolute_refractory_us == 0)
        return integrate(h, b, n, 0, 0, 0);
    return h->filter ? integrate(h, b, n, 1, 1, 0) : integrate(h, b, n, 1, 0, 0);
}

static int run_decaying(sp_host_t *h, sp_batch_t *b, size_t n)
{
    if (h->config.absolute_refractory_us == 0)
        return integrate(h, b, n, 0, 0, 1);
    return h->filter ? integrate(h, b, n, 1, 1, 1) : integrate(h, b, n, 1, 0, 1);
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
    h->cell_size = real ? sizeof(neuron_t) : refractory ? sizeof(spiking_t) : sizeof(cell_t);
    if (real)
        h->run = config->decay_per_us > 0.0 ? run_decaying : run_weakening;
    else if (config->discrete)
        h->run = refractory ? run_discrete_refractory : run_discrete;
    else
        h->run = refractory ? run_refractory : run_plain;

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
        clear_patch(h, i);
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
