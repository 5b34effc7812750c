/* The loops of patches that count their events. */
#include "host_state.h"

/* A patch has come to its limit: SP_TOKEN if it fired, 0 if it got room, or -1 without memory. */
SP_INLINE int at_limit(sp_host_t *h, size_t patch, uint64_t t, int discrete)
{
    const room_t *room = &h->rooms[patch];
    const uint8_t *at = cell_of(h, patch)->at;

    if ((uint64_t)(at - room->first) == h->fire_records * SP_RECORD) {
        if (!discrete)
            return sp_patch_fire(h, patch, t);
        if (sp_patch_expire(h, patch, t) == 0) {
            const int rc = sp_patch_fire(h, patch, t);
            sp_patch_clear(h, patch);
            return rc;
        }
        if (at != room->base + (uint64_t)room->records * SP_RECORD)
            return 0;
    }
    return sp_patch_make_room(h, patch);
}

/* Take events from number i of some on, at most `most` (up to GROUP) and up to one that takes its patch to its limit.
 * Returns how many, or 0 without memory. *kept is what add_kept was not told yet. */
SP_INLINE size_t count_group(sp_host_t *h, const sp_batch_t *b, const some_t *some, size_t i, size_t most,
                             uint64_t *kept, int refractory, int discrete, int records)
{
    cell_t *cells = (cell_t *)(void *)h->cells;
    const uint64_t *wake = h->wake;
    uint8_t *to[GROUP];
    size_t k = 0, dropped = 0;
    int full = 0;

    do {
        const size_t event = event_at(some, i + k), patch = b->patch[event];
        cell_t *cell = &cells[patch];
        uint8_t *at = cell->at, *next = at + SP_RECORD;
        to[k++] = at;
        if (refractory && SP_RARELY(time_of(b, event, records) < wake[patch])) {
            dropped++;
            continue;
        }
        full = next == cell->limit;
        cell->at = next;
    } while (k < most && !SP_RARELY(full));
    *kept += k - dropped;
    if (k == GROUP)
        write_group(b, some, i, to, GROUP, records);
    else
        write_group(b, some, i, to, k, records);
    if (SP_RARELY(full)) {
        const size_t event = event_at(some, i + k - 1u), patch = b->patch[event];
        const uint64_t t = time_of(b, event, records);
        add_kept(h, *kept);
        *kept = 0;
        const int rc = at_limit(h, patch, t, discrete);
        if (refractory && rc == SP_TOKEN)
            sp_patch_sleep(h, patch, t);
        return rc < 0 ? 0 : k;
    }
    return k;
}

SP_INLINE int run_counting(sp_host_t *h, sp_batch_t *b, size_t n, int refractory, int filter, int discrete, int records)
{
    const some_t some = filter ? awake(h, b, n, records) : (some_t){NULL, n};
    uint64_t kept = 0;
    sp_batch_tails(b, n, some.list, some.count);
    for (size_t i = 0, taken; i < some.count; i += taken) {
        if (some.count - i >= GROUP)
            taken = count_group(h, b, &some, i, GROUP, &kept, refractory, discrete, records);
        else
            taken = count_group(h, b, &some, i, some.count - i, &kept, refractory, discrete, records);
        if (SP_RARELY(taken == 0))
            return -1;
    }
    add_kept(h, kept);
    return 0;
}

/* The loop for a batch's kind of events. */
#define RUN_COUNTING(refractory, filter, discrete) \
    (b->are_records ? run_counting(h, b, n, refractory, filter, discrete, 1) \
                    : run_counting(h, b, n, refractory, filter, discrete, 0))

int sp_run_plain(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN_COUNTING(0, 0, 0);
}

int sp_run_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN_COUNTING(1, 1, 0) : RUN_COUNTING(1, 0, 0);
}

int sp_run_discrete(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN_COUNTING(0, 0, 1);
}

int sp_run_discrete_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN_COUNTING(1, 1, 1) : RUN_COUNTING(1, 0, 1);
}
