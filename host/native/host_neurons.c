/* The loops of patches whose potential decides: it decays, or events soon after a spike add less. */
#include "host_state.h"

static int fire_neuron(sp_host_t *h, size_t patch, uint64_t t)
{
    neuron_t *neuron = (neuron_t *)(void *)cell_of(h, patch);
    const uint64_t quiet = h->config.absolute_refractory_us;

    neuron->spiking.last_spike = t;
    neuron->spiking.quiet_us = quiet;
    neuron->weak_us = quiet + h->config.relative_refractory_us; /* each less than 2^63 */
    neuron->u = 0.0;
    return sp_patch_fire(h, patch, t);
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
        const int rc = fires ? fire_neuron(h, patch, time_of(b, event)) : sp_patch_make_room(h, patch);
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

int sp_run_weakening(sp_host_t *h, sp_batch_t *b, size_t n)
{
    if (h->config.absolute_refractory_us == 0)
        return integrate(h, b, n, 0, 0, 0);
    return h->filter ? integrate(h, b, n, 1, 1, 0) : integrate(h, b, n, 1, 0, 0);
}

int sp_run_decaying(sp_host_t *h, sp_batch_t *b, size_t n)
{
    if (h->config.absolute_refractory_us == 0)
        return integrate(h, b, n, 0, 0, 1);
    return h->filter ? integrate(h, b, n, 1, 1, 1) : integrate(h, b, n, 1, 0, 1);
}
