/* What patches hold: rooms of records, and what happens where one is full or fires. */
#include "host_state.h"

#include <stdlib.h>

#define GROWTH 8u        /* soon to the most that a patch can hold, */
#define NEURON_GROWTH 2u /* where there is no such number */
#define CHUNK_BYTES ((size_t)1 << 20)

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
    cell_of(h, patch)->limit = h->fire_records < left ? room->first + h->fire_records * SP_RECORD : end;
}

void sp_patch_clear(sp_host_t *h, size_t patch)
{
    h->rooms[patch].first = h->rooms[patch].base;
    cell_of(h, patch)->at = h->rooms[patch].base;
    set_limit(h, patch);
}

int sp_patch_make_room(sp_host_t *h, size_t patch)
{
    room_t *room = &h->rooms[patch];
    cell_t *cell = cell_of(h, patch);
    const size_t bytes = (size_t)(cell->at - room->first);

    if ((size_t)(room->first - room->base) <= bytes) {
        uint64_t records = (uint64_t)room->records * (is_neuron(h) ? NEURON_GROWTH : GROWTH);
        const uint64_t most = h->config.discrete ? 2u * h->fire_records : h->fire_records;
        records = records < most ? records : most;
        if (records > UINT32_MAX) /* as many as a token can have */
            return -1;
        uint8_t *base = take_memory(h, (size_t)records * SP_RECORD + SLACK);
        if (!base)
            return -1;
        memcpy(base, room->first, bytes);
        room->base = base;
        room->records = (uint32_t)records;
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

uint64_t sp_patch_expire(sp_host_t *h, size_t patch, uint64_t t)
{
    room_t *room = &h->rooms[patch];
    const uint8_t *first = room->first;

    while (t - sp_load_u64(room->first) > h->config.duration_us) /* the newest is not: t - t = 0 */
        room->first += SP_RECORD;
    const uint64_t old = (uint64_t)(room->first - first) / SP_RECORD;
    h->pending -= old;
    h->stats.discarded += old;
    set_limit(h, patch);
    return old;
}
