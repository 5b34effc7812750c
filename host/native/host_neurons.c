/* The loops of patches whose potential decays. */
#include "host_state.h"

static int fire_neuron(sp_host_t *h, size_t patch, uint64_t t)
{
    neuron_t *neuron = (neuron_t *)(void *)cell_of(h, patch);

    neuron->last_spike = t;
    neuron->weak_us = h->config.absolute_refractory_us + h->config.relative_refractory_us; /* each less than 2^63 */
    neuron->u = neuron->decay_per_us = 0.0;
    if (h->wake)
        sp_patch_sleep(h, patch, t);
    return sp_patch_fire(h, patch, t) < 0 ? -1 : 0;
}

/* What the loop over neurons counts. */
typedef struct held {
    uint64_t pending; /* events, as the group begins; it grows but where a patch fires or decays */
    uint64_t peak, lost, kept;
} held_t;

SP_INLINE void note_peak(held_t *held, uint64_t pending)
{
    held->peak = pending > held->peak ? pending : held->peak;
}

/* As count_group. The method in full, in doubles; build without contraction: the order of the operations is part of it. */
SP_INLINE size_t integrate_group(sp_host_t *h, const sp_batch_t *b, const some_t *some, size_t i, size_t most,
                                 held_t *held, loop_t loop)
{
    neuron_t *neurons = (neuron_t *)(void *)h->cells;
    const uint64_t *wake = h->wake;
    const double increases[2] = {1.0, h->config.relative_scale}, decay_per_us = h->config.decay_per_us;
    uint8_t *to[GROUP];
    size_t k = 0, dropped = 0;
    int special = 0;

    do {
        const size_t event = event_at(some, i + k), patch = b->patch[event];
        neuron_t *neuron = &neurons[patch];
        const uint64_t t = time_of(b, event, loop);
        uint8_t *at = neuron->cell.at;

        to[k++] = at;
        if (loop.refractory && SP_RARELY(t < wake[patch])) {
            dropped++;
            continue;
        }
        const double loss = neuron->decay_per_us * (double)(t - neuron->last_event);
        double u = neuron->u + (increases[t - neuron->last_spike < neuron->weak_us] - loss);
        neuron->last_event = t;
        neuron->decay_per_us = decay_per_us;
        if (SP_RARELY(u <= 0.0)) {
            uint8_t *base = h->rooms[patch].base;
            const uint64_t lost = (uint64_t)(at - base) / SP_RECORD;
            u = 0.0;
            note_peak(held, held->pending + (k - 1u - dropped));
            held->lost += lost;
            held->pending -= lost;
            to[k - 1u] = at = base;
        }
        at += SP_RECORD;
        neuron->u = u;
        neuron->cell.at = at;
        special = (u >= h->config.threshold) | (at == neuron->cell.limit);
    } while (k < most && !SP_RARELY(special));
    if (k == GROUP)
        write_group(b, some, i, to, GROUP, loop);
    else
        write_group(b, some, i, to, k, loop);
    held->kept += k - dropped;
    held->pending += k - dropped;
    if (SP_RARELY(special)) {
        const size_t event = event_at(some, i + k - 1u), patch = b->patch[event];
        note_peak(held, held->pending);
        h->pending = held->pending;
        const int fires = neurons[patch].u >= h->config.threshold;
        const int rc = fires ? fire_neuron(h, patch, time_of(b, event, loop)) : sp_patch_make_room(h, patch);
        held->pending = h->pending;
        return rc != 0 ? 0 : k;
    }
    return k;
}

SP_INLINE int integrate(sp_host_t *h, sp_batch_t *b, size_t n, loop_t loop)
{
    const some_t some = load(h, b, n, loop);
    held_t held = {.pending = h->pending};
    for (size_t i = 0, taken; i < some.count; i += taken) {
        if (some.count - i >= GROUP)
            taken = integrate_group(h, b, &some, i, GROUP, &held, loop);
        else
            taken = integrate_group(h, b, &some, i, some.count - i, &held, loop);
        if (SP_RARELY(taken == 0))
            return -1;
    }
    note_peak(&held, held.pending);
    note_pending(h, held.pending, held.peak);
    h->stats.discarded += held.lost;
    h->kept += held.kept;
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
