/* The loops of patches whose potential decays. */
#include "host_state.h"

#define READ_AHEAD 2048u /* bytes: so long before they are taken records are called into the cache */

static int fire_neuron(sp_host_t *h, size_t patch, uint64_t t)
{
    neuron_t *neuron = (neuron_t *)(void *)cell_of(h, patch);

    neuron->last_spike = t;
    neuron->weak_us = h->config.absolute_refractory_us + h->config.relative_refractory_us; /* each less than 2^63 */
    neuron->u = neuron->decay_per_us = 0.0;
    if (h->wake) {
        sp_patch_sleep(h, patch, t);
        neuron->wake = h->wake[patch];
    }
    return sp_patch_fire(h, patch, t) < 0 ? -1 : 0;
}

/* The patch's potential is 0: its events go. `kept` is what add_kept was not told yet. */
SP_APART static void lose_events(sp_host_t *h, size_t patch, uint64_t kept)
{
    cell_t *cell = cell_of(h, patch);
    uint8_t *base = h->rooms[patch].base;
    const uint64_t lost = (uint64_t)(cell->at - base) / SP_RECORD;

    add_kept(h, kept);
    cell->at = base;
    h->pending -= lost;
    h->stats.discarded += lost;
}

/* The patch fires, or its room ends. 0, or -1 without memory. */
SP_APART static int at_limit(sp_host_t *h, size_t patch, uint64_t t, uint64_t kept)
{
    const neuron_t *neuron = (neuron_t *)(void *)cell_of(h, patch);

    add_kept(h, kept);
    return neuron->u >= h->config.threshold ? fire_neuron(h, patch, t) : sp_patch_make_room(h, patch);
}

/* One event after the other: in groups (host_counting.c) it takes longer. The method in full, in doubles; build without
 * contraction: the order of the operations is part of it. */
SP_INLINE int integrate(sp_host_t *h, sp_batch_t *b, size_t n, loop_t loop)
{
    const some_t some = load(h, b, n, loop);
    neuron_t *neurons = (neuron_t *)(void *)h->cells;
    const double increases[2] = {1.0, h->config.relative_scale}, decay_per_us = h->config.decay_per_us;
    const double threshold = h->config.threshold;
    const uint8_t *place = b->t;
    uint64_t kept = 0; /* that add_kept was not told yet */

    for (size_t i = 0; i < some.count; i++, place += sp_batch_step(loop.records)) {
        const size_t event = event_at(&some, i), patch = b->patch[event];
        neuron_t *neuron = &neurons[patch];

        if (loop.filter) /* else going on from place to place is quicker */
            place = sp_batch_place(b, event, loop.records);
        const uint64_t t = sp_load_u64(place);
        if (loop.records)
            SP_PREFETCH_TO_READ(place, READ_AHEAD);
        if (loop.refractory && SP_RARELY(t < neuron->wake))
            continue;
        const double loss = neuron->decay_per_us * (double)(t - neuron->last_event);
        double u = neuron->u + (increases[t - neuron->last_spike < neuron->weak_us] - loss);
        neuron->last_event = t;
        neuron->decay_per_us = decay_per_us;
        if (SP_RARELY(u <= 0.0)) {
            u = 0.0;
            lose_events(h, patch, kept);
            kept = 0;
        }
        uint8_t *at = neuron->cell.at, *next = at + SP_RECORD;
        sp_batch_write_from(b, event, place, at, loop.records);
        neuron->u = u;
        neuron->cell.at = next;
        kept++;
        if (SP_RARELY(u >= threshold) || SP_RARELY(next == neuron->cell.limit)) {
            if (at_limit(h, patch, t, kept) != 0)
                return -1;
            kept = 0;
        }
    }
    add_kept(h, kept);
    return 0;
}

int sp_run_decaying(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return RUN(integrate, .refractory = 0);
}

int sp_run_decaying_refractory(sp_host_t *h, sp_batch_t *b, size_t n)
{
    return h->filter ? RUN(integrate, .refractory = 1, .filter = 1) : RUN(integrate, .refractory = 1);
}
