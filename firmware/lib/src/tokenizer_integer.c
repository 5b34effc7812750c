/* Without decay and relative refractory period the potential is the number of events held, and a patch fires behind a full
 * block: no doubles, no counting by the event. */
#include "tokenizer_feed.h"

#include <string.h>

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

/* Put the last event that a patch needs into its newest block, a slot of which is free in front of the others. 0 if none is,
 * or the block is of an epoch before. */
static int push_back(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    const uint32_t next = *sp_pool_next(tok, patch);
    if (next == 0)
        return 0;
    uint64_t *const info = &tok->block_info[BLOCK_BEFORE(next)];
    const uint32_t first = INFO_FIRST(*info);
    if (first == 0 || *info - first != tok->epoch_info)
        return 0;

    uint32_t *const slots = &tok->slots[next - BLOCK_SLOTS];
    memmove(&slots[first - 1u], &slots[first], (BLOCK_SLOTS - first) * sizeof *slots);
    slots[BLOCK_SLOTS - 1u] = slot;
    *info -= 1u;
    tok->held[patch]++;
    return 1;
}

/* An event that makes its patch fire, unless the patch loses the others for it, or one for which the pool is full. */
SP_RARE_CALL static int take_last(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    if (HELD_WHEN_FULL(tok->held[patch]) + 1u != tok->fire_count || !push_back(tok, patch, slot)) {
        const int rc = sp_pool_spare(tok, patch);
        if (rc != SP_OK)
            return rc;
        const uint32_t held = HELD_WHEN_FULL(tok->held[patch]), missing = tok->fire_count - held;
        const uint32_t room = missing > BLOCK_SLOTS ? BLOCK_SLOTS : missing - (missing > 1u);
        sp_pool_open(tok, patch, *sp_pool_next(tok, patch), room, slot);
        if (missing > 1u)
            return SP_OK;
    }
    return sp_tokenizer_fire(tok, patch, sp_time_of(tok, slot));
}

/* An event that finds no block with room. */
SP_RARE_CALL static int take_first(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    const uint32_t next = *sp_pool_next(tok, patch);

    if (next == 0 && tok->held[patch] != 0) {
        if (sp_is_seen_refractory(tok, patch, slot)) {
            tok->stats.refractory++;
            return SP_OK;
        }
        if (drops_first(tok, patch, slot))
            return SP_OK;
    }
    const uint32_t missing = tok->fire_count - 1u - tok->held[patch];
    if (SP_RARELY(missing == 0 || (tok->free_block == BLOCK_NONE && tok->fresh_block == tok->end_block)))
        return take_last(tok, patch, slot);
    sp_pool_open(tok, patch, next, missing < BLOCK_SLOTS ? missing : BLOCK_SLOTS, slot);
    return SP_OK;
}

SP_INLINE int take(sp_tokenizer_t *volatile *tok, const sp_feed_t *feed, uint32_t patch, uint32_t slot)
{
    const uint32_t next = feed->slots[patch];

    if (SP_RARELY(!SLOT_HAS_ROOM(next)))
        return take_first(*tok, patch, slot);
    feed->slots[next] = slot;
    feed->slots[patch] = next + 1u;
    return SP_OK;
}

SP_FEED_BIND(take)

void sp_integer_bind(sp_tokenizer_t *tok)
{
    bind_loops(tok);
}
