/* Without decay and relative refractory period the potential is the number of events held, and a patch fires at the end of
 * a block: no doubles, no counting by the event. */
#include "tokenizer_feed.h"

/* The first event of a patch. Once it holds events its refractory period is over, so what is known of it is dropped. */
SP_RARE_CALL static int drops_first(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    if (sp_is_refractory(tok, patch, sp_time_of(tok, slot))) {
        tok->stats.refractory++;
        return 1;
    }
    tok->held[patch] = 0;
    return 0;
}

SP_RARE_CALL static int fire(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    return sp_tokenizer_fire(tok, patch, sp_time_of(tok, slot));
}

/* An event that begins a block. */
SP_RARE_CALL static int take_first(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    uint32_t next = *sp_pool_next(tok, patch);

    if (next == 0 && tok->held[patch] != 0 && drops_first(tok, patch, slot))
        return SP_OK;
    const int rc = sp_pool_open(tok, patch, &next);
    if (rc != SP_OK)
        return rc;
    tok->slots[next] = slot;
    *sp_pool_next(tok, patch) = next + 1u;
    return SLOT_HAS_ROOM(next + 1u) || tok->held[patch] < tok->fire_count ? SP_OK : fire(tok, patch, slot);
}

/* An event that is the first or the last one of its block. */
SP_RARE_CALL static int take_at_edge(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    const uint32_t next = *sp_pool_next(tok, patch);

    if (!SLOT_HAS_ROOM(next)) {
        if (next != 0 || !sp_is_seen_refractory(tok, patch, slot))
            return take_first(tok, patch, slot);
        tok->stats.refractory++;
        return SP_OK;
    }
    tok->slots[next] = slot;
    *sp_pool_next(tok, patch) = next + 1u;
    return tok->held[patch] < tok->fire_count ? SP_OK : fire(tok, patch, slot);
}

SP_INLINE int take(sp_tokenizer_t *volatile *tok, const sp_feed_t *feed, uint32_t patch, uint32_t slot)
{
    const uint32_t next = feed->slots[patch];

    if (SP_RARELY((next + 1u) % BLOCK_SLOTS <= 1u))
        return take_at_edge(*tok, patch, slot);
    feed->slots[next] = slot;
    feed->slots[patch] = next + 1u;
    return SP_OK;
}

SP_FEED_BIND(take)

void sp_integer_bind(sp_tokenizer_t *tok)
{
    bind_loops(tok);
    tok->most = tok->fire_count;
}
