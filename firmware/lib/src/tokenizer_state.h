/* Inside the tokenizer: its state, the pool of event slots, and what the per-event paths share.
 *
 * A pending event is one 32-bit slot. It is laid out as an EVT2 word: polarity and the low 6 bits of the time where EVT2
 * has them, the position in the patch (span_bits each) in the low bits of x and y, and in the bits that are left over the
 * next higher bits of the time, time_bits in all. It is kept as the XOR of that and of where its patch lies on the sensor
 * (sp_corner), so that a camera's word becomes a slot by one XOR with the time's bits.
 *
 * The bits above, the epoch, stand once per block of 16 slots, so all events of a block are of one epoch: when the stream
 * enters a new epoch every open block is closed. That is checked once for the stream, never per patch.
 *
 * The blocks of a patch form a ring: the one that its next slot is in or behind is the newest, whose next_block is the
 * oldest.
 * A block's events lie from its first slot in use to its end; only that of the newest block may come before slot 16. Where
 * a patch fires at a number of events, a block that can hold all but the last of them begins so late that they end with
 * it: the path of every event has one comparison, with the block's end. The last one then pushes them a slot back. */
#ifndef SP_TOKENIZER_STATE_H_INCLUDED
#define SP_TOKENIZER_STATE_H_INCLUDED

#include "evt2_words.h"
#include "inline.h"
#include "spedge/assert.h"
#include "spedge/tokenizer.h"

#define BLOCK_SLOTS 16u
#define BLOCK_NONE UINT32_MAX

/* A next slot that is a multiple of 16 has no room behind it: open a block. */
#define SLOT_HAS_ROOM(slot) (((slot) % BLOCK_SLOTS) != 0u)

/* Slots from there to the block's end. */
#define SLOTS_LEFT(slot) ((0u - (slot)) % BLOCK_SLOTS)

/* The newest block of a patch that holds events. */
#define BLOCK_BEFORE(next) (((next) - 1u) / BLOCK_SLOTS)

/* block_info: the epoch, and below it the first slot in use. */
#define INFO_FIRST_BITS 4u
#define INFO_FIRST(info) ((uint32_t)((info) % BLOCK_SLOTS))
#define INFO_EPOCH(info) ((info) >> INFO_FIRST_BITS)

/* held[patch]: its events once the newest block is full, and whether the patch has spiked (kept only with a refractory
 * period). */
#define HELD_SPIKED (UINT32_C(1) << 31)
#define HELD_WHEN_FULL(held) ((held) & ~HELD_SPIKED)

typedef int (*sp_push_fn)(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used);
typedef const uint8_t *(*sp_run_fn)(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, const uint8_t *end, int *rc);

struct sp_tokenizer {
    sp_tokenizer_config_t config;
    sp_push_fn push;
    sp_run_fn run; /* as many EVT2 words as are in order, on the sensor and of this epoch, up to a token */
    uint32_t columns, rows, patches;
    uint32_t reciprocal; /* ceil(2^32 / patch_size), so that x / patch_size = x * reciprocal >> 32 for 16-bit x;
                              0 where patch_size is a power of two */
    uint32_t shift;      /* log2 of such a patch_size */
    uint32_t span_bits;  /* of a coordinate in the patch */
    uint32_t time_bits;  /* of the time in a slot */
    uint32_t slot_high;  /* where a slot has all of these but the lowest EVT2_LOW_BITS */
    uint32_t fire_count; /* ceil(threshold) */
    uint32_t short_refractory_us; /* the absolute period if both are well below 2^32 us, else 0 */
    uint64_t last_t;              /* of the newest event in order */
    const uint8_t *run_from;      /* the first word of this run behind those that keep_time has seen */
    uint32_t time_word;           /* of the event being taken */
    uint32_t run_times;           /* time words of this run that the decoder was not told yet */
    uint32_t word_before;         /* time_word before the newest of these */
    uint32_t last_word;           /* the time word to which a run may go on, see sp_limit_run */
    uint32_t bin_word;            /* voxel: the last one whose times are all of this bin, else UINT32_MAX */
    uint64_t epoch_info;          /* block_info of this epoch: last_t >> time_bits, above the first slot */
    uint64_t epoch_last_t;        /* the last time of this epoch */
    uint64_t bin_start;           /* voxel: of the bin being filled */
    uint64_t bin_last;            /* its last time */

    /* in the caller's memory, behind this struct */
    uint64_t *last_spike; /* [patches], with a refractory period */
    double *potentials;   /* [patches], with decay or a relative period; meaningful while the patch holds events */
    uint32_t *slots;      /* [end_block * 16]; the first [patches] of them are no slots, see sp_pool_next */
    uint64_t *block_info; /* [first_block to end_block] */
    uint32_t *held;       /* [patches], see HELD_ above */
    uint32_t *next_block; /* [first_block to end_block] */

    uint32_t first_block, end_block;
    uint32_t free_block;  /* of those that were in use before */
    uint32_t fresh_block; /* this one and those behind it never were */
    uint32_t ready_tail;  /* the ready token's blocks, or BLOCK_NONE */
    uint32_t scan;        /* voxel: the patch to look at next while a bin is closed */
    uint8_t in_bin;       /* voxel: whether there is a bin */
    uint8_t is_ready;     /* there is a token; it may have no events */
    sp_token_t ready;
    sp_tokenizer_stats_t stats;
};

/* tokenizer_pool.c */
void sp_pool_reset(sp_tokenizer_t *tok);
int sp_pool_evict_for(sp_tokenizer_t *tok, uint32_t asking);
uint32_t sp_pool_discard(sp_tokenizer_t *tok, uint32_t patch);
void sp_pool_release_oldest(sp_tokenizer_t *tok, uint32_t tail);
void sp_pool_enter_epoch(sp_tokenizer_t *tok, uint64_t t);
void sp_pool_count(const sp_tokenizer_t *tok, uint64_t *pending, uint32_t *blocks_used);

/* tokenizer_token.c. Returns SP_TOKEN. */
int sp_tokenizer_fire(sp_tokenizer_t *tok, uint32_t patch, uint64_t t);

/* tokenizer.c */
uint32_t sp_tokenizer_take_time(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *at);

/* tokenizer_integer.c, tokenizer_discrete.c, tokenizer_voxel.c, tokenizer_real.c */
void sp_integer_bind(sp_tokenizer_t *tok);
void sp_discrete_bind(sp_tokenizer_t *tok);
void sp_voxel_bind(sp_tokenizer_t *tok);
int sp_voxel_reach(sp_tokenizer_t *tok, uint64_t t);
int sp_voxel_end(sp_tokenizer_t *tok);

/* Whether all events between a time word's time and the next one's are of this bin; bin_word is told, if so. */
int sp_voxel_holds(sp_tokenizer_t *tok, uint64_t base);
void sp_real_bind(sp_tokenizer_t *tok);

SP_INLINE int sp_has_refractory(const sp_tokenizer_config_t *config)
{
    return config->absolute_refractory_us > 0 || config->relative_refractory_us > 0;
}

SP_INLINE int sp_is_discrete(const sp_tokenizer_config_t *config)
{
    return config->kind == SP_KIND_DISCRETE;
}

SP_INLINE int sp_is_voxel(const sp_tokenizer_config_t *config)
{
    return config->kind == SP_KIND_VOXEL;
}

SP_INLINE int sp_is_integer(const sp_tokenizer_config_t *config)
{
    return config->decay_per_us <= 0.0 && config->relative_refractory_us == 0;
}

SP_INLINE int sp_is_power_of_two(uint32_t v)
{
    return (v & (v - 1u)) == 0;
}

/* Whether the absolute refractory period drops an event of time t. */
SP_INLINE int sp_is_refractory(const sp_tokenizer_t *tok, uint32_t patch, uint64_t t)
{
    return (tok->held[patch] & HELD_SPIKED) != 0 && t - tok->last_spike[patch] < tok->config.absolute_refractory_us;
}

/* The lower 32 bits of the time of the event being taken. */
SP_INLINE uint32_t sp_short_time_of(const sp_tokenizer_t *tok, uint32_t slot)
{
    return tok->time_word << EVT2_LOW_BITS | evt2_low_time(slot);
}

/* The same, from the slot, in 32 bits; 0 may be wrong. A patch forgets that it has spiked when an epoch begins after the
 * end of its refractory periods, so the difference fits 32 bits if the periods and an epoch together do. */
SP_INLINE int sp_is_seen_refractory(const sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    const uint32_t t = sp_short_time_of(tok, slot);
    return (tok->held[patch] & HELD_SPIKED) != 0 && t - (uint32_t)tok->last_spike[patch] < tok->short_refractory_us;
}

/* The slot behind the newest event of a patch; 0: it has no events. These lie where slots 0, 1, ... would: the path of every
 * event then needs one base address for both. */
SP_INLINE uint32_t *sp_pool_next(const sp_tokenizer_t *tok, uint32_t patch)
{
    return &tok->slots[patch];
}

/* The pending events of a patch. */
SP_INLINE uint32_t sp_pool_held(const sp_tokenizer_t *tok, uint32_t patch)
{
    return HELD_WHEN_FULL(tok->held[patch]) - SLOTS_LEFT(*sp_pool_next(tok, patch));
}

/* Give the blocks of a ring back. */
SP_INLINE void sp_pool_release(sp_tokenizer_t *tok, uint32_t tail)
{
    const uint32_t head = tok->next_block[tail];
    tok->next_block[tail] = tok->free_block;
    tok->free_block = head;
}

/* See to it that there is a block that is not in use. When the patch itself had to be evicted for it, it holds nothing.
 * SP_OK or SP_ERR_POOL. */
SP_INLINE int sp_pool_spare(sp_tokenizer_t *tok, uint32_t patch)
{
    if (SP_RARELY(tok->free_block == BLOCK_NONE && tok->fresh_block == tok->end_block))
        return sp_pool_evict_for(tok, patch);
    return SP_OK;
}

/* Give the patch a fresh block, which there is, behind its ring, of which `before` is *sp_pool_next; and put an event's slot
 * there, behind which `room` - 1 more fit. */
SP_INLINE void sp_pool_open(sp_tokenizer_t *tok, uint32_t patch, uint32_t before, uint32_t room, uint32_t slot)
{
    const uint32_t held = tok->held[patch];
    uint32_t *const next_block = tok->next_block;
    uint32_t block = tok->free_block;

    if (block != BLOCK_NONE)
        tok->free_block = next_block[block];
    else
        block = tok->fresh_block++;
    uint32_t head = block;
    if (before != 0) {
        head = next_block[BLOCK_BEFORE(before)];
        next_block[BLOCK_BEFORE(before)] = block;
    }
    next_block[block] = head;
    tok->held[patch] = held + room;
    tok->block_info[block] = tok->epoch_info | (BLOCK_SLOTS - room);
    const uint32_t at = (block + 1u) * BLOCK_SLOTS - room;
    tok->slots[at] = slot;
    *sp_pool_next(tok, patch) = at + 1u;
}

/* Put an event's slot behind those of its patch. Returns SP_OK or what sp_pool_spare does. */
SP_INLINE int sp_pool_put(sp_tokenizer_t *tok, uint32_t patch, uint32_t slot)
{
    const uint32_t next = *sp_pool_next(tok, patch);

    if (SP_RARELY(!SLOT_HAS_ROOM(next))) {
        const int rc = sp_pool_spare(tok, patch);
        if (rc == SP_OK)
            sp_pool_open(tok, patch, *sp_pool_next(tok, patch), BLOCK_SLOTS, slot);
        return rc;
    }
    tok->slots[next] = slot;
    *sp_pool_next(tok, patch) = next + 1u;
    return SP_OK;
}

/* ---------------------------------------------------------------- slots */

#define SP_NO_HIGH (1u << EVT2_P_AT) /* a bit that is not among them */

/* The higher bits of a time where slots have them. Half of the free bits are above y, half above x, 3 on top. Times that
 * differ in those above y only are as far apart as these say. */
SP_INLINE uint32_t sp_slot_high(uint32_t span_bits, uint64_t t)
{
    const uint32_t free_bits = EVT2_SIDE_BITS - span_bits, mask = (1u << free_bits) - 1u;
    const uint32_t high = (uint32_t)(t >> EVT2_LOW_BITS);
    return (high & mask) << span_bits | (high >> free_bits & mask) << (EVT2_X_AT + span_bits) |
           high >> (2u * free_bits) << EVT2_TYPE_ABOVE_P;
}

/* A run is at the time base, which is of the epoch and of the bin. By time words it may go on to the last one of this bin whose
 * times differ only in the bits that slots have above y: so they are of the epoch, too. */
SP_INLINE void sp_limit_run(sp_tokenizer_t *tok, uint64_t time_base)
{
    const uint32_t word = evt2_time_word(time_base), end = word | ((1u << (EVT2_SIDE_BITS - tok->span_bits)) - 1u);

    tok->time_word = tok->word_before = word;
    tok->last_word = end < tok->bin_word ? end : tok->bin_word;
}

/* Where a patch lies on the sensor, as a word: the bits of its corner's x and y. Of patches whose corners are no matter of
 * bits it is 0. */
SP_INLINE uint32_t sp_corner(uint32_t patch_size, uint32_t column, uint32_t row)
{
    if (!sp_is_power_of_two(patch_size))
        return 0;
    return (column * patch_size & EVT2_SIDE_MASK) << EVT2_X_AT | (row * patch_size & EVT2_SIDE_MASK);
}

SP_INLINE uint32_t sp_corner_of(const sp_tokenizer_t *tok, uint32_t patch)
{
    return sp_corner(tok->config.patch_size, patch % tok->columns, patch / tok->columns);
}

/* The time_bits of time in a slot, before the XOR. */
SP_INLINE uint32_t sp_slot_time(uint32_t span_bits, uint32_t slot)
{
    const uint32_t free_bits = EVT2_SIDE_BITS - span_bits, mask = (1u << free_bits) - 1u;
    const uint32_t high = slot >> EVT2_TYPE_ABOVE_P << (2u * free_bits) |
                          (slot >> (EVT2_X_AT + span_bits) & mask) << free_bits | (slot >> span_bits & mask);
    return high << EVT2_LOW_BITS | evt2_low_time(slot);
}

/* The full time of the event being taken. An epoch's times differ in their lower 32 bits. */
SP_INLINE uint64_t sp_time_of(const sp_tokenizer_t *tok, uint32_t slot)
{
    return (tok->epoch_last_t & ~(uint64_t)UINT32_MAX) | sp_short_time_of(tok, slot);
}

/* The full time of the event at an index of the slots, of a patch at that corner. */
SP_INLINE uint64_t sp_pool_time(const sp_tokenizer_t *tok, uint32_t at, uint32_t corner)
{
    return INFO_EPOCH(tok->block_info[at / BLOCK_SLOTS]) << tok->time_bits |
           sp_slot_time(tok->span_bits, tok->slots[at] ^ corner);
}

/* The first event of a block. */
SP_INLINE uint32_t sp_first_slot(const sp_tokenizer_t *tok, uint32_t block)
{
    return block * BLOCK_SLOTS + INFO_FIRST(tok->block_info[block]);
}

SP_INLINE sp_token_cursor_t sp_cursor_of(const sp_tokenizer_t *tok)
{
    const int ready = tok->ready_tail != BLOCK_NONE;
    return (sp_token_cursor_t){.tokenizer = tok,
                               .slot = ready ? sp_first_slot(tok, tok->next_block[tok->ready_tail]) : 0,
                               .left = ready ? tok->ready.n : 0};
}

/* The next slots of a token that lie side by side, at most `most`: how many, where, and their epoch. */
SP_INLINE uint32_t sp_token_cursor_run(sp_token_cursor_t *cursor, uint32_t most, const uint32_t **slots,
                                       uint64_t *epoch)
{
    const sp_tokenizer_t *tok = cursor->tokenizer;
    const uint32_t block = cursor->slot / BLOCK_SLOTS, room = BLOCK_SLOTS - cursor->slot % BLOCK_SLOTS;
    const uint32_t left = room < cursor->left ? room : cursor->left, n = left < most ? left : most;

    SP_ASSERT(cursor->left == 0 || tok->is_ready); /* not after the token was released */
    if (n == 0)
        return 0;
    *slots = &tok->slots[cursor->slot];
    *epoch = INFO_EPOCH(tok->block_info[block]);
    cursor->slot = n == room ? sp_first_slot(tok, tok->next_block[block]) : cursor->slot + n;
    cursor->left -= n;
    return n;
}

#endif
