#include "tokenizer_state.h"

#include <string.h>

void sp_pool_reset(sp_tokenizer_t *tok)
{
    memset(tok->slots, 0, tok->patches * sizeof *tok->slots);
    memset(tok->held, 0, tok->patches * sizeof *tok->held);
    tok->free_block = BLOCK_NONE;
    tok->fresh_block = tok->first_block;
    tok->ready_tail = BLOCK_NONE;
}

/* Give the oldest of at least two blocks of a ring back. */
void sp_pool_release_oldest(sp_tokenizer_t *tok, uint32_t tail)
{
    const uint32_t head = tok->next_block[tail];
    tok->next_block[tail] = tok->next_block[head];
    tok->next_block[head] = tok->free_block;
    tok->free_block = head;
}

/* Drop what a patch holds; returns how many events that was. */
uint32_t sp_pool_discard(sp_tokenizer_t *tok, uint32_t patch)
{
    uint32_t *const next = sp_pool_next(tok, patch);
    const uint32_t held = sp_pool_held(tok, patch);
    if (*next != 0)
        sp_pool_release(tok, BLOCK_BEFORE(*next));
    *next = 0;
    tok->held[patch] &= HELD_SPIKED;
    return held;
}

/* The pool is full: the patch that has waited longest loses its events, the asking one only if it must. */
SP_RARE_CALL int sp_pool_evict_for(sp_tokenizer_t *tok, uint32_t asking)
{
    uint32_t victim = asking;
    uint64_t oldest = UINT64_MAX;

    if (tok->config.pool_policy == SP_POOL_GROWS)
        return SP_ERR_POOL;
    for (uint32_t i = 0; i < tok->patches; i++) {
        const uint32_t next = *sp_pool_next(tok, i);
        if (i == asking || next == 0)
            continue;
        const uint64_t t = sp_pool_time(tok, next - 1u, sp_corner_of(tok, i));
        if (victim == asking || t < oldest) {
            victim = i;
            oldest = t;
        }
    }
    tok->stats.pool_lost += sp_pool_discard(tok, victim);
    return SP_OK;
}

/* Close a block in which `left` slots are free: its events move to its end. */
static void close(sp_tokenizer_t *tok, uint32_t block, uint32_t left)
{
    uint32_t *slots = &tok->slots[block * BLOCK_SLOTS];
    const uint32_t first = INFO_FIRST(tok->block_info[block]);

    memmove(&slots[first + left], &slots[first], (BLOCK_SLOTS - left - first) * sizeof *slots);
    tok->block_info[block] += left;
}

/* Forget a spike whose refractory periods are over, one after the other because their sum may not fit. */
static void forget_spike(sp_tokenizer_t *tok, uint32_t patch, uint64_t t)
{
    const sp_tokenizer_config_t *c = &tok->config;
    if (!(tok->held[patch] & HELD_SPIKED))
        return;
    const uint64_t since = t - tok->last_spike[patch];
    if (since >= c->absolute_refractory_us && since - c->absolute_refractory_us >= c->relative_refractory_us)
        tok->held[patch] &= ~HELD_SPIKED;
}

/* A block holds events of one epoch: close every open one. */
void sp_pool_enter_epoch(sp_tokenizer_t *tok, uint64_t t)
{
    for (uint32_t i = 0; i < tok->patches; i++) {
        uint32_t *const next = sp_pool_next(tok, i);
        const uint32_t left = SLOTS_LEFT(*next);
        if (left > 0) {
            close(tok, BLOCK_BEFORE(*next), left);
            *next += left;
            tok->held[i] -= left;
        }
        forget_spike(tok, i, t);
    }
    tok->epoch_info = t >> tok->time_bits << INFO_FIRST_BITS;
    tok->epoch_last_t = t | ((UINT64_C(1) << tok->time_bits) - 1u);
}

/* Counted from the blocks, not from the patches' counters, so that it can contradict them. */
void sp_pool_count(const sp_tokenizer_t *tok, uint64_t *pending, uint32_t *blocks_used)
{
    *pending = 0;
    *blocks_used = tok->fresh_block - tok->first_block;
    for (uint32_t b = tok->free_block; b != BLOCK_NONE; b = tok->next_block[b])
        --*blocks_used;
    for (uint32_t i = 0; i < tok->patches; i++) {
        const uint32_t next = *sp_pool_next(tok, i);
        if (next == 0)
            continue;
        const uint32_t tail = BLOCK_BEFORE(next);
        uint32_t b = tail;
        do {
            b = tok->next_block[b];
            *pending += BLOCK_SLOTS - INFO_FIRST(tok->block_info[b]);
        } while (b != tail);
        *pending -= SLOTS_LEFT(next);
    }
}
