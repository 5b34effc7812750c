/* The loops of patches that count their events. */
#include "host_state.h"

#define GROUP 8u /* events whose records are written together */

/* A patch of the discrete kind has `threshold` events: it fires if they are of one duration. As fire_or_grow. */
SP_INLINE int fire_discrete(sp_host_t *h, size_t patch, uint64_t t)
{
    const room_t *room = &h->rooms[patch];
    const int moved = room->first != room->base;

    if (t - sp_load_u64(room->first) > h->config.duration_us) {
        sp_patch_expire(h, patch, t);
        return 0;
    }
    const int rc = sp_patch_fire(h, patch, t);
    if (moved)
        sp_patch_set_limit(h, patch);
    return rc;
}

/* A patch has come to its limit, or its last event may be the first that is not weak: SP_TOKEN if it fired, 0 if not, or -1
 * without memory. */
SP_INLINE int fire_or_grow(sp_host_t *h, size_t patch, uint64_t t, loop_t loop)
{
    cell_t *cell = cell_of(h, patch);
    if (!loop.discrete && !loop.weakens && h->first_records == h->fires_at) { /* no need to look at the room */
        cell->at -= h->fires_at * SP_RECORD;
        return sp_patch_hand_out(h, patch, cell->at, (size_t)h->fires_at, t);
    }
    const room_t *room = &h->rooms[patch];
    const uint64_t fires_at = loop.weakens ? sp_weak_fires_at(h, patch, t) : h->fires_at;

    if ((uint64_t)(cell->at - room->first) == fires_at * SP_RECORD) {
        const int rc = loop.discrete ? fire_discrete(h, patch, t) : sp_patch_fire(h, patch, t);
        if (rc != 0)
            return rc;
    }
    if (cell->at != room->base + (uint64_t)room->records * SP_RECORD)
        return 0;
    return sp_patch_make_room(h, patch);
}

/* The same, and what follows if it fired: of the events from number `rest` of some on, some loses those that are known to be
 * dropped. 0, or -1 without memory. */
SP_INLINE int at_limit(sp_host_t *h, const sp_batch_t *b, some_t *some, size_t rest, size_t event, loop_t loop)
{
    const size_t patch = b->patch[event];
    const uint64_t t = time_of(b, event, loop);
    const int rc = fire_or_grow(h, patch, t, loop);

    if (rc == SP_TOKEN && loop.refractory)
        sp_patch_sleep(h, patch, t);
    if (rc == SP_TOKEN && loop.filter)
        leave_out(h, b, some, rest, patch, loop);
    if (rc == SP_TOKEN && loop.weakens)
        sp_patch_weaken(h, patch, t);
    return rc < 0 ? -1 : 0;
}

/* Without refractory periods. Take events from number i on, at most `most` (up to GROUP) and up to one that takes its patch
 * to its limit. Returns how many, or 0 without memory. *kept is what add_kept was not told yet.
 *
 * The places of a few records are found before they are written: where a load of a cell follows a store to an address that a
 * cell gave, the processor waits for that address. A group that ends early is written whole, too, the rest of it to nowhere:
 * how long it is could not be foreseen. */
SP_INLINE size_t count_group(sp_host_t *h, const sp_batch_t *b, some_t *some, size_t i, size_t most, uint64_t *kept,
                             loop_t loop)
{
    cell_t *cells = (cell_t *)(void *)h->cells;
    const uint64_t *weak_until = h->weak_until;
    uint8_t nowhere[SP_RECORD_ROOM], *to[GROUP];
    size_t k = 0;
    int is_at_limit;

    for (size_t j = 0; j < GROUP; j++)
        to[j] = nowhere;
    do {
        cell_t *cell = &cells[b->patch[i + k]];
        uint8_t *at = cell->at, *next = at + SP_RECORD;
        is_at_limit = next == cell->limit;
        if (loop.weakens)
            is_at_limit |= time_of(b, i + k, loop) >= weak_until[b->patch[i + k]];
        cell->at = next;
        to[k++] = at;
    } while (k < most && !SP_RARELY(is_at_limit));
    for (size_t j = 0; j < (most == GROUP ? GROUP : k); j++)
        sp_batch_write(b, i + j, to[j], loop.records);
    *kept += k;
    if (SP_RARELY(is_at_limit)) {
        add_kept(h, *kept);
        *kept = 0;
        return at_limit(h, b, some, i + k, i + k - 1u, loop) == 0 ? k : 0;
    }
    return k;
}

SP_INLINE int count_all(sp_host_t *h, sp_batch_t *b, size_t n, loop_t loop)
{
    some_t some = load(h, b, n, loop);
    uint64_t kept = 0;
    for (size_t i = 0, taken; i < n; i += taken) {
        if (n - i >= GROUP)
            taken = count_group(h, b, &some, i, GROUP, &kept, loop);
        else
            taken = count_group(h, b, &some, i, n - i, &kept, loop);
        if (SP_RARELY(taken == 0))
            return -1;
    }
    add_kept(h, kept);
    return 0;
}

/* With refractory periods one event after the other is quicker. */
SP_INLINE int count_awake(sp_host_t *h, sp_batch_t *b, size_t n, loop_t loop)
{
    some_t some = load(h, b, n, loop);
    cell_t *cells = (cell_t *)(void *)h->cells;
    const uint64_t *wake = h->wake, *weak_until = h->weak_until;
    uint64_t kept = 0;

    for (size_t i = 0; i < some.count; i++) {
        const size_t event = event_at(&some, i), patch = b->patch[event];
        const uint64_t t = time_of(b, event, loop);
        if (SP_RARELY(t < wake[patch]))
            continue;
        cell_t *cell = &cells[patch];
        uint8_t *at = cell->at, *next = at + SP_RECORD;
        sp_batch_write(b, event, at, loop.records);
        cell->at = next;
        kept++;
        if (SP_RARELY(next == cell->limit) || (loop.weakens && SP_RARELY(t >= weak_until[patch]))) {
            add_kept(h, kept);
            kept = 0;
            if (at_limit(h, b, &some, i + 1u, event, loop) != 0)
                return -1;
        }
    }
    add_kept(h, kept);
    return 0;
}

int sp_run_plain(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN(count_all, .refractory = 0);
}

int sp_run_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN(count_awake, .refractory = 1, .filter = 1) : RUN(count_awake, .refractory = 1);
}

int sp_run_discrete(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN(count_all, .discrete = 1);
}

int sp_run_discrete_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN(count_awake, .discrete = 1, .refractory = 1, .filter = 1)
                     : RUN(count_awake, .discrete = 1, .refractory = 1);
}

int sp_run_weakening(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN(count_all, .weakens = 1);
}

int sp_run_weakening_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN(count_awake, .weakens = 1, .refractory = 1, .filter = 1)
                     : RUN(count_awake, .weakens = 1, .refractory = 1);
}
