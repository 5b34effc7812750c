/* The loops of patches that count their events. */
#include "host_state.h"

/* A patch of the discrete kind has `threshold` events: it fires if they are of one duration. As at_limit. */
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
SP_INLINE int at_limit(sp_host_t *h, size_t patch, uint64_t t, loop_t loop)
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

/* Take events from number i of some on, at most `most` (up to GROUP) and up to one that takes its patch to its limit. Of those
 * behind it, some loses the ones that are known to be dropped then.
 * Returns how many, or 0 without memory. *kept is what add_kept was not told yet. */
SP_INLINE size_t count_group(sp_host_t *h, const sp_batch_t *b, some_t *some, size_t i, size_t most, uint64_t *kept,
                             loop_t loop)
{
    cell_t *cells = (cell_t *)(void *)h->cells;
    const uint64_t *wake = h->wake, *weak_until = h->weak_until;
    uint8_t nowhere[SP_RECORD_ROOM], *to[GROUP];
    size_t k = 0, dropped = 0;
    int special = 0;

    for (size_t j = 0; j < GROUP; j++)
        to[j] = nowhere;
    do {
        const size_t event = event_at(some, i + k), patch = b->patch[event];
        cell_t *cell = &cells[patch];
        uint8_t *at = cell->at, *next = at + SP_RECORD;
        to[k++] = at;
        if (loop.refractory && SP_RARELY(time_of(b, event, loop) < wake[patch])) {
            dropped++;
            continue;
        }
        special = next == cell->limit;
        if (loop.weakens)
            special |= time_of(b, event, loop) >= weak_until[patch];
        cell->at = next;
    } while (k < most && !SP_RARELY(special));
    *kept += k - dropped;
    write_group(b, some, i, to, most == GROUP ? GROUP : k, loop);
    if (SP_RARELY(special)) {
        const size_t event = event_at(some, i + k - 1u), patch = b->patch[event];
        const uint64_t t = time_of(b, event, loop);
        add_kept(h, *kept);
        *kept = 0;
        const int rc = at_limit(h, patch, t, loop);
        if (rc == SP_TOKEN && loop.refractory)
            sp_patch_sleep(h, patch, t);
        if (rc == SP_TOKEN && loop.filter)
            leave_out(h, b, some, i + k, patch, loop);
        if (rc == SP_TOKEN && loop.weakens)
            sp_patch_weaken(h, patch, t);
        return rc < 0 ? 0 : k;
    }
    return k;
}

SP_INLINE int run_counting(sp_host_t *h, sp_batch_t *b, size_t n, loop_t loop)
{
    some_t some = load(h, b, n, loop);
    uint64_t kept = 0;
    for (size_t i = 0, taken; i < some.count; i += taken) {
        if (some.count - i >= GROUP)
            taken = count_group(h, b, &some, i, GROUP, &kept, loop);
        else
            taken = count_group(h, b, &some, i, some.count - i, &kept, loop);
        if (SP_RARELY(taken == 0))
            return -1;
    }
    add_kept(h, kept);
    return 0;
}

int sp_run_plain(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN(run_counting, .refractory = 0);
}

int sp_run_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN(run_counting, .refractory = 1, .filter = 1) : RUN(run_counting, .refractory = 1);
}

int sp_run_discrete(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN(run_counting, .discrete = 1);
}

int sp_run_discrete_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN(run_counting, .discrete = 1, .refractory = 1, .filter = 1)
                     : RUN(run_counting, .discrete = 1, .refractory = 1);
}

int sp_run_weakening(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN(run_counting, .weakens = 1);
}

int sp_run_weakening_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN(run_counting, .weakens = 1, .refractory = 1, .filter = 1)
                     : RUN(run_counting, .weakens = 1, .refractory = 1);
}
