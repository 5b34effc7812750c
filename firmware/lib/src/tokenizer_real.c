/* The method in full, in doubles. Build without contraction: the order of the operations is part of the method. */
#include "tokenizer_feed.h"

/* Small differences, which nearly all are, convert to a double in one instruction. */
static double as_double(uint64_t v)
{
    return v <= UINT32_MAX ? (double)(uint32_t)v : (double)v;
}

/* The potential after an event; the patch's first event has nothing to decay from. */
static double potential_after(const sp_tokenizer_t *tok, uint32_t patch, double increase, uint64_t t)
{
    if (*sp_pool_next(tok, patch) == 0)
        return increase;
    const double loss = tok->config.decay_per_us * as_double(t - sp_pool_time(tok, *sp_pool_next(tok, patch) - 1u));
    const double change = increase - loss;
    return tok->potentials[patch] + change;
}

/* What the event adds, or 0 when the absolute refractory period drops it.
 * The two periods are compared one after the other because their sum may not fit. */
static double increase_of(const sp_tokenizer_t *tok, uint32_t patch, uint64_t t)
{
    const sp_tokenizer_config_t *c = &tok->config;

    if (!(tok->held[patch] & HELD_SPIKED))
        return 1.0;
    const uint64_t since = t - tok->last_spike[patch];
    if (since < c->absolute_refractory_us)
        return 0.0;
    return since - c->absolute_refractory_us < c->relative_refractory_us ? c->relative_scale : 1.0;
}

static int take(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t patch, uint32_t slot)
{
    (void)feed;
    const uint64_t t = sp_time_of(tok, slot);
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
    const int was_empty = *sp_pool_next(tok, patch) == 0;
    const int rc = sp_pool_put(tok, patch, slot);
    if (rc != SP_OK)
        return rc;
    if (!was_empty && sp_pool_held(tok, patch) == 1) /* the patch itself was evicted */
        u = increase;
    tok->potentials[patch] = u;
    return u >= tok->config.threshold ? sp_tokenizer_fire(tok, patch, t) : SP_OK;
}

SP_FEED_BIND(take)

void sp_real_bind(sp_tokenizer_t *tok)
{
    bind_loops(tok);
}
