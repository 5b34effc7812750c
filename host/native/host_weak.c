/* Events soon after a spike that add less, where nothing decays: of a patch's events those come first, so that their number
 * tells how many more it takes to fire. Patches then count. */
#include "host_state.h"

#include <stdlib.h>

int sp_weak_new(sp_host_t *h)
{
    h->weak.period_us = h->config.absolute_refractory_us + h->config.relative_refractory_us; /* each less than 2^63 */
    h->weak.fires_at = UINT64_MAX;
    return sp_weak_reach(h, h->first_records);
}

int sp_weak_reach(sp_host_t *h, size_t events)
{
    sp_weak_t *weak = &h->weak;
    if (events < weak->room)
        return 0;
    double *sums = realloc(weak->sums, (events + 1u) * sizeof *sums);
    if (sums)
        weak->sums = sums;
    uint64_t *to_fire = realloc(weak->to_fire, (events + 1u) * sizeof *to_fire);
    if (to_fire)
        weak->to_fire = to_fire;
    if (!sums || !to_fire)
        return -1;
    for (size_t i = weak->room; i <= events; i++) {
        sums[i] = i == 0 ? 0.0 : sums[i - 1u] + h->config.relative_scale;
        to_fire[i] = 0;
        if (weak->fires_at == UINT64_MAX && sums[i] >= h->config.threshold)
            weak->fires_at = i;
    }
    weak->room = events + 1u;
    return 0;
}

/* How often 1 has to be added to u, in doubles, to come to the threshold. */
static uint64_t steps_to(double u, double threshold)
{
    uint64_t steps = 0;
    double top = 1.0;
    while (u < threshold) {
        u += 1.0; /* rounded, where this comes to the next power of two; up to the one behind it sums are exact */
        steps++;
        while (top <= u)
            top *= 2.0;
        const double end = top < threshold ? top : threshold;
        if (u < end) {
            const double whole = (double)(uint64_t)(end - u);
            u += whole;
            steps += (uint64_t)whole;
        }
    }
    return steps;
}

uint64_t sp_weak_to_fire(sp_host_t *h, size_t weak)
{
    uint64_t *known = &h->weak.to_fire[weak];
    if (*known == 0)
        *known = steps_to(h->weak.sums[weak], h->config.threshold);
    return *known;
}

uint64_t sp_weak_fires_at(sp_host_t *h, size_t patch, uint64_t t)
{
    room_t *room = &h->rooms[patch];
    if (room->weak == WEAK && t >= h->weak_until[patch]) {
        const size_t weak = (size_t)(cell_of(h, patch)->at - room->first) / SP_RECORD - 1u;
        room->weak = NOT_WEAK;
        room->fires_at = weak + sp_weak_to_fire(h, weak);
        h->weak_until[patch] = UINT64_MAX;
        sp_patch_set_limit(h, patch);
    }
    return room->weak == NOT_WEAK ? room->fires_at : h->weak.fires_at;
}

void sp_patch_weaken(sp_host_t *h, size_t patch, uint64_t t)
{
    const uint64_t end = t + h->weak.period_us;
    h->rooms[patch].weak = end < t ? WEAK_FOR_GOOD : WEAK;
    h->weak_until[patch] = end < t ? UINT64_MAX : end;
    sp_patch_set_limit(h, patch);
}
