/* Without decay and relative refractory period the potential is the number of events held, and a patch fires at the end of
 * a block: no doubles, no counting by the event. */
#include "tokenizer_feed.h"

/* An event that is the first or the last one of its block. */
SP_RARE_CALL static int take_at_edge(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    /* Once a patch holds events its refractory period is over. */
    if (tok->next[patch] == 0 && sp_is_refractory(tok, patch, sp_time_of(tok, slot))) {
        tok->stats.refractory++;
        return SP_OK;
    }
    const int rc = sp_pool_put(tok, patch, slot);
    if (rc != SP_OK || SLOT_HAS_ROOM(tok->next[patch]) || HELD_WHEN_FULL(tok->held[patch]) < tok->fire_count)
        return rc;
    return sp_tokenizer_fire(tok, patch, sp_time_of(tok, slot));
}

SP_INLINE int take(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t patch, uint32_t slot)
{
    const uint32_t next = feed->next[patch];

    if (SP_RARELY((next + 1u) % BLOCK_SLOTS <= 1u))
        return take_at_edge(tok, patch, slot);
    feed->slots[next] = slot;
    feed->next[patch] = next + 1u;
    return SP_OK;
}

SP_FEED_BIND(take)

void sp_integer_bind(sp_tokenizer_t *tok)
{
    bind_loops(tok);
    tok->most = tok->fire_count;
}
