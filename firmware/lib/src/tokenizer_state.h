/* Inside the tokenizer: its state, the pool of event slots, and what the per-event paths share.
 *
 * A pending event is one 32-bit slot: its position in the patch (x, then y, span_bits each), its polarity,
 * and the low time_bits of its time. The high bits, its epoch, stand once per block of 16 slots, so all events
 * of a block are of one epoch: when the stream enters a new epoch every open block is closed. That is checked
 * once for the stream, never per patch.
 *
 * The blocks of a patch form a ring: tail[patch] is the newest, next_block[tail] the oldest. */
#ifndef SP_TOKENIZER_STATE_H_INCLUDED
#define SP_TOKENIZER_STATE_H_INCLUDED

#include "inline.h"
#include "spedge/tokenizer.h"

#define BLOCK_SLOTS 16u
#define BLOCK_NONE UINT32_MAX

/* A slot index that is a multiple of 16 has no room behind it: open a block. */
#define SLOT_HAS_ROOM(slot) (((slot) % BLOCK_SLOTS) != 0u)

/* block_info: epoch above, slots used (1..16) below. */
#define INFO_USED_BITS 5u
#define INFO_USED(info) ((uint32_t)((info) & 31u))
#define INFO_EPOCH(info) ((info) >> INFO_USED_BITS)

typedef struct sp_patch {
    uint32_t next;  /* the slot the next event goes to; a multiple of 16: no open block */
    uint32_t count; /* pending events */
} sp_patch_t;

/* Only with decay or a relative refractory period. Meaningful while the patch holds events. */
typedef struct sp_potential {
    double u;
    uint64_t last_event;
} sp_potential_t;

typedef int (*sp_push_fn)(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used);
typedef int (*sp_push_words_fn)(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *done);

struct sp_tokenizer {
    sp_tokenizer_config_t config;
    sp_push_fn push;
    sp_push_words_fn push_words;
    uint32_t columns, rows, patches, blocks;
    uint32_t reciprocal;   /* ceil(2^32 / patch_size), so that x / patch_size = x * reciprocal >> 32 for 16-bit x;
                              0 where patch_size is a power of two */
    uint32_t shift;        /* log2 of such a patch_size */
    uint32_t span_bits;    /* of a coordinate in the patch */
    uint32_t time_bits;    /* of the time in a slot */
    uint32_t fire_count;   /* ceil(threshold) */
    uint64_t last_t;       /* of the newest event in order */
    uint64_t epoch;        /* last_t >> time_bits */
    uint64_t epoch_last_t; /* the last time of this epoch */
    uint64_t bin_start;    /* voxel: of the bin being filled */
    uint64_t bin_last;     /* its last time */

    /* in the caller's memory, behind this struct */
    uint64_t *block_info;       /* [blocks] */
    uint64_t *last_spike;       /* [patches], with a refractory period */
    sp_potential_t *potentials; /* [patches], with decay or a relative period */
    sp_patch_t *states;         /* [patches] */
    uint32_t *tail;             /* [patches], BLOCK_NONE: no events */
    uint32_t *next_block;       /* [blocks] */
    uint32_t *slots;            /* [blocks * 16] */
    uint8_t *spiked;            /* [patches], with a refractory period */
    uint8_t *skip;              /* [patches], discrete: slots of the oldest block whose events are gone */

    uint32_t free_block;
    uint32_t blocks_used, blocks_peak;
    uint32_t ready_tail; /* the ready token's blocks, or BLOCK_NONE */
    uint32_t ready_skip; /* slots before its first event */
    uint32_t scan;       /* voxel: the patch to look at next while a bin is closed */
    uint8_t in_bin;      /* voxel: whether there is a bin */
    uint8_t is_ready;    /* there is a token; it may have no events */
    sp_token_t ready;
    sp_tokenizer_stats_t stats;
};

/* tokenizer_pool.c */
void sp_pool_reset(sp_tokenizer_t *tok);
int sp_pool_open(sp_tokenizer_t *tok, uint32_t patch);
uint32_t sp_pool_discard(sp_tokenizer_t *tok, uint32_t patch);
void sp_pool_release(sp_tokenizer_t *tok, uint32_t tail);
void sp_pool_release_oldest(sp_tokenizer_t *tok, uint32_t tail);
void sp_pool_enter_epoch(sp_tokenizer_t *tok, uint64_t t);
uint64_t sp_pool_pending(const sp_tokenizer_t *tok);

/* tokenizer.c */
void sp_tokenizer_fire(sp_tokenizer_t *tok, uint32_t column, uint32_t row, uint64_t t);

/* tokenizer_integer.c, tokenizer_discrete.c, tokenizer_voxel.c, tokenizer_real.c */
void sp_integer_bind(sp_tokenizer_t *tok);
void sp_discrete_bind(sp_tokenizer_t *tok);
void sp_voxel_bind(sp_tokenizer_t *tok);
int sp_voxel_end(sp_tokenizer_t *tok);
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

#endif
