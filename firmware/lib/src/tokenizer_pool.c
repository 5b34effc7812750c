#include "tokenizer_state.h"

#include <string.h>

void sp_pool_reset(sp_tokenizer_t *tok)
{
    memset(tok->next, 0, tok->patches * sizeof *tok->next);
    memset(tok->held, 0, tok->patches * sizeof *tok->held);
    tok->free_block = BLOCK_NONE;
    tok->fresh_block = 0;
    tok->ready_tail = BLOCK_NONE;
}

/* Give the blocks of a ring back. */
void sp_pool_release(sp_tokenizer_t *tok, uint32_t tail)
{
    const uint32_t head = tok->next_block[tail];
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
}

/* Drop what a patch holds; returns how many events that was. */
uint32_t sp_pool_discard(sp_tokenizer_t *tok, uint32_t patch)
{
    const uint32_t held = sp_pool_held(tok, patch);
    if (tok->next[patch] != 0)
        sp_pool_release(tok, BLOCK_BEFORE(tok->next[patch]));
    tok->next[patch] = 0;
    tok->held[patch] &= HELD_SPIKED;
    return held;
}

/* The pool is full: the patch that has waited longest loses its events, the asking one only if it must. */
static void evict_for(sp_tokenizer_t *tok, uint32_t asking)
{
    uint32_t victim = asking;
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; i < tok->patches; i++) {
        if (i == asking || tok->next[i] == 0)
            continue;
        const uint64_t t = sp_pool_time(tok, tok->next[i] - 1u);
        if (victim == asking || t < oldest) {
            victim = i;
            oldest = t;
        }
    }
    tok->stats.pool_lost += sp_pool_discard(tok, victim);
}

/* A block that is not in use. Returns SP_ERR_POOL if there is none and none may be taken from a patch. */
static int find_block(sp_tokenizer_t *tok, uint32_t asking, uint32_t *block)
{
    if (tok->free_block == BLOCK_NONE) {
        if (tok->fresh_block < tok->blocks) {
            *block = tok->fresh_block++;
            return SP_OK;
        }
        if (tok->config.pool_policy == SP_POOL_GROWS)
            return SP_ERR_POOL;
        evict_for(tok, asking);
    }
    *block = tok->free_block;
    tok->free_block = tok->next_block[*block];
    return SP_OK;
}

/* Give the patch a fresh block behind its ring; next[patch] is then its first slot in use, to be filled before anything
 * else is done to the patch. When the patch itself had to be evicted it holds nothing else afterwards. */
int sp_pool_open(sp_tokenizer_t *tok, uint32_t patch)
{
    uint32_t block;
    const int rc = find_block(tok, patch, &block);
    if (rc != SP_OK)
        return rc;

    const uint32_t next = tok->next[patch];
    if (next == 0) {
        tok->next_block[block] = block;
    } else {
        const uint32_t tail = BLOCK_BEFORE(next);
        tok->next_block[block] = tok->next_block[tail];
        tok->next_block[tail] = block;
    }
    const uint32_t missing = tok->most - HELD_WHEN_FULL(tok->held[patch]);
    const uint32_t room = missing < BLOCK_SLOTS ? missing : BLOCK_SLOTS;
    const uint32_t first = BLOCK_SLOTS - room;
    tok->held[patch] += room;
    tok->block_info[block] = tok->epoch << INFO_FIRST_BITS | first;
    tok->next[patch] = block * BLOCK_SLOTS + first;
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

/* A block holds events of one epoch: close every open one. */
void sp_pool_enter_epoch(sp_tokenizer_t *tok, uint64_t t)
{
    for (uint32_t i = 0; i < tok->patches; i++) {
        const uint32_t left = (0u - tok->next[i]) % BLOCK_SLOTS;
        if (left > 0) {
            close(tok, BLOCK_BEFORE(tok->next[i]), left);
            tok->next[i] += left;
            tok->held[i] -= left;
        }
    }
    tok->epoch = t >> tok->time_bits;
    tok->epoch_last_t = t | ((UINT64_C(1) << tok->time_bits) - 1u);
}

/* Counted from the blocks, not from the patches' counters, so that it can contradict them. */
void sp_pool_count(const sp_tokenizer_t *tok, uint64_t *pending, uint32_t *blocks_used)
{
    *pending = 0;
    *blocks_used = tok->fresh_block;
    for (uint32_t b = tok->free_block; b != BLOCK_NONE; b = tok->next_block[b])
        --*blocks_used;
    for (uint32_t i = 0; i < tok->patches; i++) {
        if (tok->next[i] == 0)
            continue;
        const uint32_t tail = BLOCK_BEFORE(tok->next[i]);
        uint32_t b = tail;
        do {
            b = tok->next_block[b];
            *pending += BLOCK_SLOTS - INFO_FIRST(tok->block_info[b]);
        } while (b != tail);
        *pending -= (0u - tok->next[i]) % BLOCK_SLOTS;
    }
}
