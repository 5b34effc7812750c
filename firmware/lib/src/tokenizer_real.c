/* The method in full, in doubles. Build without contraction: the order of the operations is part of the method. */
#include "tokenizer_feed.h"

/* Small differences, which nearly all are, convert to a double in one instruction. */
static double as_double(uint64_t v)
{
    return v <= UINT32_MAX ? (double)(uint32_t)v : (double)v;
}

/* Microseconds since the patch's newest event, which is in front of `next`. In an open block it is of this epoch, too. */
SP_INLINE double since_newest(const sp_tokenizer_t *tok, uint32_t patch, uint32_t next, uint32_t slot)
{
    const uint32_t corner = sp_corner_of(tok, patch);

    if (SLOT_HAS_ROOM(next)) {
        const uint32_t now = sp_short_time_of(tok, slot);
        const uint32_t before = sp_slot_time(tok->span_bits, tok->slots[next - 1u] ^ corner);
        return (double)((now - before) & ((1u << tok->time_bits) - 1u));
    }
    return as_double(sp_time_of(tok, slot) - sp_pool_time(tok, next - 1u, corner));
}

/* What an event adds to a patch that has spiked, or 0 when the absolute refractory period drops it. The two periods are
 * compared one after the other because their sum may not fit. */
static double increase_after_spike(sp_tokenizer_t *tok, uint32_t patch, uint64_t t)
{
    const sp_tokenizer_config_t *c = &tok->config;
    const uint64_t since = t - tok->last_spike[patch];

    if (since < c->absolute_refractory_us)
        return 0.0;
    if (since - c->absolute_refractory_us < c->relative_refractory_us)
        return c->relative_scale;
    tok->held[patch] &= ~HELD_SPIKED; /* over for good */
    return 1.0;
}

static int take_slot(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    const uint32_t next = *sp_pool_next(tok, patch);
    double increase = 1.0;

    if (tok->held[patch] & HELD_SPIKED) {
        increase =
            sp_is_seen_refractory(tok, patch, slot) ? 0.0 : increase_after_spike(tok, patch, sp_time_of(tok, slot));
        if (!(increase > 0.0)) {
            tok->stats.refractory++;
            return SP_OK;
        }
    }
    /* The patch's first event has nothing to decay from. */
    double u = increase;
    if (next != 0) {
        const double change = increase - tok->config.decay_per_us * since_newest(tok, patch, next, slot);
        u = tok->potentials[patch] + change;
    }
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
    return u >= tok->config.threshold ? sp_tokenizer_fire(tok, patch, sp_time_of(tok, slot)) : SP_OK;
}

SP_INLINE int take(sp_tokenizer_t *volatile *tok, const sp_feed_t *feed, uint32_t patch, uint32_t slot)
{
    (void)feed;
    return take_slot(*tok, patch, slot);
}

SP_FEED_BIND(take)

void sp_real_bind(sp_tokenizer_t *tok)
{
    bind_loops(tok);
}
