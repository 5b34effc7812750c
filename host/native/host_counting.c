/* The loops of patches that count their events. */
#include "host_state.h"

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
        const int rc = discrete ? sp_patch_at_discrete_limit(h, patch, t) : sp_patch_at_limit(h, patch, t);
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

int sp_run_plain(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return run_counting(h, b, n, 0, 0, 0);
}

int sp_run_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? run_counting(h, b, n, 1, 1, 0) : run_counting(h, b, n, 1, 0, 0);
}

int sp_run_discrete(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return run_counting(h, b, n, 0, 0, 1);
}

int sp_run_discrete_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? run_counting(h, b, n, 1, 1, 1) : run_counting(h, b, n, 1, 0, 1);
}
