/* The method in full, in doubles. Build without contraction: the order of the operations is part of the method. */
#include "tokenizer_feed.h"

/* The potential after an event; the patch's first event has nothing to decay from. */
static double potential_after(const sp_tokenizer_t *tok, uint32_t patch, double increase, uint64_t t)
{
    if (tok->states[patch].count == 0)
        return increase;
    const sp_potential_t *p = &tok->potentials[patch];
    const double loss = tok->config.decay_per_us * (double)(t - p->last_event);
    const double change = increase - loss;
    return p->u + change;
}

/* What the event adds, or 0 when the absolute refractory period drops it.
 * The two periods are compared one after the other because their sum may not fit. */
static double increase_of(const sp_tokenizer_t *tok, uint32_t patch, uint64_t t)
{
    const sp_tokenizer_config_t *c = &tok->config;

    if (!sp_has_refractory(c) || !tok->spiked[patch])
        return 1.0;
    const uint64_t since = t - tok->last_spike[patch];
    if (since < c->absolute_refractory_us)
        return 0.0;
    return since - c->absolute_refractory_us < c->relative_refractory_us ? c->relative_scale : 1.0;
}

static int step(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p, uint64_t t)
{
    const sp_place_t place = sp_place_of(feed, x, y);
    const uint32_t patch = place.row * feed->columns + place.column;
    sp_patch_t *state = &feed->states[patch];

    const double increase = increase_of(tok, patch, t);
    if (!(increase > 0.0)) {
        tok->stats.refractory++;
        return SP_OK;
    }
    double u = potential_after(tok, patch, increase, t);
    if (u <= 0.0) {
        u = 0.0;
        tok->stats.decayed += sp_pool_discard(tok, patch);
    }
    if (!SLOT_HAS_ROOM(state->next)) {
        const uint32_t held = state->count;
        const int rc = sp_pool_open(tok, patch);
        if (rc < 0)
            return rc;
        if (state->count < held) /* the patch itself was evicted */
            u = increase;
    }
    feed->slots[state->next++] = sp_slot_of(feed->span_bits, place, p, t);
    state->count++;
    if (u >= tok->config.threshold) {
        sp_tokenizer_fire(tok, place.column, place.row, t);
        return SP_TOKEN;
    }
    tok->potentials[patch] = (sp_potential_t){.u = u, .last_event = t};
    return SP_OK;
}

static int push(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used)
{
    return sp_feed_events(tok, in, n, used, step);
}

static int push_words(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *done)
{
    return sp_feed_words(tok, d, in, n, done, step);
}

void sp_real_bind(sp_tokenizer_t *tok)
{
    tok->push = push;
    tok->push_words = push_words;
}
