/* The discrete kind: a patch fires when it holds threshold events that are no older than the duration. */
#include "tokenizer_feed.h"

/* Discard the events older than the duration; returns how many. The newest, of time t, never is one. */
static uint32_t expire(sp_tokenizer_t *tok, uint32_t patch, uint64_t t)
{
    const uint32_t tail = BLOCK_BEFORE(*sp_pool_next(tok, patch)), corner = sp_corner_of(tok, patch);
    uint32_t gone = 0;

    for (;;) {
        const uint32_t head = tok->next_block[tail];
        const uint32_t oldest = head * BLOCK_SLOTS + INFO_FIRST(tok->block_info[head]);
        if (t - sp_pool_time(tok, oldest, corner) <= tok->config.duration_us)
            break;
        gone++;
        if (SLOT_HAS_ROOM(oldest + 1u))
            tok->block_info[head]++;
        else
            sp_pool_release_oldest(tok, tail);
    }
    tok->held[patch] -= gone;
    tok->stats.decayed += gone;
    return gone;
}

static int take_slot(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    if (*sp_pool_next(tok, patch) == 0 &&
        (sp_is_seen_refractory(tok, patch, slot) || sp_is_refractory(tok, patch, sp_time_of(tok, slot)))) {
        tok->stats.refractory++;
        return SP_OK;
    }
    const int rc = sp_pool_put(tok, patch, slot);
    if (rc != SP_OK || sp_pool_held(tok, patch) < tok->fire_count)
        return rc;
    const uint64_t t = sp_time_of(tok, slot);
    return expire(tok, patch, t) > 0 ? SP_OK : sp_tokenizer_fire(tok, patch, t);
}

SP_INLINE int take(sp_tokenizer_t *volatile *tok, const sp_feed_t *feed, uint32_t patch, uint32_t slot)
{
    (void)feed;
    return take_slot(*tok, patch, slot);
}

SP_FEED_BIND(take)

void sp_discrete_bind(sp_tokenizer_t *tok)
{
    bind_loops(tok);
}
