#include "tokenizer_state.h"

void sp_pool_reset(sp_tokenizer_t *tok)
{
    for (uint32_t i = 0; i < tok->patches; i++) {
        tok->states[i] = (sp_patch_t){0, 0};
        tok->tail[i] = BLOCK_NONE;
    }
    for (uint32_t b = 0; b < tok->blocks; b++)
        tok->next_block[b] = b + 1u < tok->blocks ? b + 1u : BLOCK_NONE;
    tok->free_block = 0;
    tok->blocks_used = 0;
    tok->blocks_peak = 0;
    tok->ready_tail = BLOCK_NONE;
}

/* Give the blocks of a ring back. */
void sp_pool_release(sp_tokenizer_t *tok, uint32_t tail)
{
    const uint32_t head = tok->next_block[tail];
    for (uint32_t b = head; b != tail; b = tok->next_block[b])
        tok->blocks_used--;
    tok->blocks_used--;
    tok->next_block[tail] = tok->free_block;
    tok->free_block = head;
}

/* Give the oldest of at least two blocks of a ring back. */
void sp_pool_release_oldest(sp_tokenizer_t *tok, uint32_t tail)
{
    const uint32_t head = tok->next_block[tail];
    tok->next_block[tail] = tok->next_block[head];
    tok->next_block[head] = tok->free_block;
    tok->free_block = head;
    tok->blocks_used--;
}

/* Drop what a patch holds; returns how many events that was. */
uint32_t sp_pool_discard(sp_tokenizer_t *tok, uint32_t patch)
{
    const uint32_t count = tok->states[patch].count;
    if (tok->tail[patch] != BLOCK_NONE)
        sp_pool_release(tok, tok->tail[patch]);
    tok->tail[patch] = BLOCK_NONE;
    tok->states[patch] = (sp_patch_t){0, 0};
    if (sp_is_discrete(&tok->config))
        tok->skip[patch] = 0;
    return count;
}

static uint64_t newest_time(const sp_tokenizer_t *tok, uint32_t patch)
{
    const uint32_t block = tok->tail[patch];
    const uint32_t next = tok->states[patch].next;
    const uint32_t used = SLOT_HAS_ROOM(next) ? next % BLOCK_SLOTS : INFO_USED(tok->block_info[block]);
    const uint32_t slot = tok->slots[block * BLOCK_SLOTS + used - 1u];
    return INFO_EPOCH(tok->block_info[block]) << tok->time_bits | slot >> (2u * tok->span_bits + 1u);
}

/* The pool is full: the patch that has waited longest loses its events, the asking one only if it must. */
static void evict_for(sp_tokenizer_t *tok, uint32_t asking)
{
    uint32_t victim = asking;
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; i < tok->patches; i++) {
        if (i == asking || tok->tail[i] == BLOCK_NONE)
            continue;
        const uint64_t t = newest_time(tok, i);
        if (victim == asking || t < oldest) {
            victim = i;
            oldest = t;
        }
    }
    tok->stats.pool_lost += sp_pool_discard(tok, victim);
}

/* Give the patch a fresh block behind its ring; states[patch].next is then its first slot.
 * When the patch itself had to be evicted its count is 0 afterwards. */
int sp_pool_open(sp_tokenizer_t *tok, uint32_t patch)
{
    if (tok->free_block == BLOCK_NONE) {
        if (tok->config.pool_policy == SP_POOL_GROWS)
            return SP_ERR_POOL;
        evict_for(tok, patch);
    }

    const uint32_t block = tok->free_block;
    const uint32_t tail = tok->tail[patch];
    tok->free_block = tok->next_block[block];
    if (tail == BLOCK_NONE) {
        tok->next_block[block] = block;
    } else {
        tok->next_block[block] = tok->next_block[tail];
        tok->next_block[tail] = block;
    }
    tok->tail[patch] = block;
    tok->block_info[block] = tok->epoch << INFO_USED_BITS | BLOCK_SLOTS;
    tok->states[patch].next = block * BLOCK_SLOTS;
    if (++tok->blocks_used > tok->blocks_peak)
        tok->blocks_peak = tok->blocks_used;
    return SP_OK;
}

/* A block holds events of one epoch: close every open one. */
void sp_pool_enter_epoch(sp_tokenizer_t *tok, uint64_t t)
{
    for (uint32_t i = 0; i < tok->patches; i++) {
        const uint32_t next = tok->states[i].next;
        if (SLOT_HAS_ROOM(next)) {
            tok->block_info[tok->tail[i]] = tok->epoch << INFO_USED_BITS | next % BLOCK_SLOTS;
            tok->states[i].next = 0;
        }
    }
    tok->epoch = t >> tok->time_bits;
    tok->epoch_last_t = t | ((UINT64_C(1) << tok->time_bits) - 1u);
}

/* Counted from the blocks, not from the patches' counters, so that it can contradict them. */
uint64_t sp_pool_pending(const sp_tokenizer_t *tok)
{
    uint64_t pending = 0;
    for (uint32_t i = 0; i < tok->patches; i++) {
        const uint32_t tail = tok->tail[i];
        if (tail == BLOCK_NONE)
            continue;
        for (uint32_t b = tok->next_block[tail]; b != tail; b = tok->next_block[b])
            pending += INFO_USED(tok->block_info[b]);
        const uint32_t next = tok->states[i].next;
        pending += SLOT_HAS_ROOM(next) ? next % BLOCK_SLOTS : INFO_USED(tok->block_info[tail]);
        if (sp_is_discrete(&tok->config))
            pending -= tok->skip[i];
    }
    return pending;
}
