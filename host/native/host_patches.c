/* What patches hold: rooms of records, and what happens where one is full or fires. */
#include "host_state.h"
#include "spare.h"

#define GROWTH 8u      /* soon to the most that a patch can hold, */
#define REAL_GROWTH 2u /* where there is no such number */
#define CHUNK_BYTES ((size_t)1 << 20)

static uint8_t *take_memory(sp_host_t *h, size_t bytes)
{
    bytes = (bytes + 15u) & ~(size_t)15u;
    if (!h->chunks || h->chunks->size - h->chunks->used < bytes) {
        const size_t head = (sizeof(chunk_t) + 15u) & ~(size_t)15u;
        const size_t size = head + (bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES);
        chunk_t *chunk = sp_spare_malloc(size);
        if (!chunk)
            return NULL;
        *chunk = (chunk_t){.next = h->chunks, .used = head, .size = size};
        h->chunks = chunk;
    }
    uint8_t *memory = (uint8_t *)h->chunks + h->chunks->used;
    h->chunks->used += bytes;
    return memory;
}

void sp_patch_set_limit(const sp_host_t *h, size_t patch)
{
    const room_t *room = &h->rooms[patch];
    uint8_t *end = room->base + room->records * SP_RECORD;
    const uint64_t left = (uint64_t)(end - room->first) / SP_RECORD;
    uint64_t fires_at = h->fires_at;
    if (h->weak_until)
        fires_at = room->weak == NOT_WEAK ? room->fires_at : h->weak.fires_at;
    cell_of(h, patch)->limit = fires_at < left ? room->first + fires_at * SP_RECORD : end;
}

void sp_patch_clear(sp_host_t *h, size_t patch)
{
    if (h->weak_until) {
        h->weak_until[patch] = UINT64_MAX;
        h->rooms[patch].weak = NOT_WEAK;
        h->rooms[patch].fires_at = sp_weak_to_fire(h, 0);
    }
    h->rooms[patch].first = h->rooms[patch].base;
    cell_of(h, patch)->at = h->rooms[patch].base;
    sp_patch_set_limit(h, patch);
}

int sp_patch_make_room(sp_host_t *h, size_t patch)
{
    room_t *room = &h->rooms[patch];
    cell_t *cell = cell_of(h, patch);
    const size_t bytes = (size_t)(cell->at - room->first);

    if ((size_t)(room->first - room->base) <= bytes) {
        const uint64_t most = most_records(h);
        uint64_t records = (uint64_t)room->records * (most == UINT64_MAX ? REAL_GROWTH : GROWTH);
        records = records < most ? records : most;
        if (records > UINT32_MAX) /* as many as a token can have */
            return -1;
        if (h->weak_until && sp_weak_reach(h, (size_t)records) != 0)
            return -1;
        uint8_t *base = take_memory(h, (size_t)records * SP_RECORD + SLACK);
        if (!base)
            return -1;
        memcpy(base, room->first, bytes);
        room->base = base;
        room->records = (uint32_t)records;
    } else {
        memmove(room->base, room->first, bytes);
    }
    room->first = room->base;
    cell->at = room->base + bytes;
    sp_patch_set_limit(h, patch);
    return 0;
}

void sp_patch_expire(sp_host_t *h, size_t patch, uint64_t t)
{
    room_t *room = &h->rooms[patch];
    const uint8_t *first = room->first;

    while (t - sp_load_u64(room->first) > h->config.duration_us) /* the newest is not: t - t = 0 */
        room->first += SP_RECORD;
    const uint64_t old = (uint64_t)(room->first - first) / SP_RECORD;
    h->pending -= old;
    h->stats.discarded += old;
    sp_patch_set_limit(h, patch);
}
