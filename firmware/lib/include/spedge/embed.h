/* What a model sees of a token: log-time volume, sparse token embedding, position embedding. */
#ifndef SP_EMBED_H_INCLUDED
#define SP_EMBED_H_INCLUDED

#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sp_embed_config {
    uint16_t patch_size;
    uint16_t hidden;
    uint8_t buckets; /* 1..32, default 10 */
    uint8_t reserved[3];
    float time_scale_us; /* default 50 000 */
    const float *weight; /* [cells][hidden], cell = ((p * buckets + bucket) * P + y) * P + x */
    const float *bias;   /* [hidden] */
} sp_embed_config_t;

/* Cells of a volume: 2 * buckets * P * P. */
size_t sp_embed_cells(const sp_embed_config_t *config);

/* The bucket of an age in us: how many k in 0..buckets-1 have age >= 1000 * 2^k, at most buckets - 1. */
uint8_t sp_embed_bucket(uint64_t age_us, uint8_t buckets);

/* Dense log-time volume of the ready token: counts into volume[cells] (cleared first). */
void sp_embed_volume(const sp_embed_config_t *config, const sp_tokenizer_t *tok, uint16_t *volume);

/* Bytes of scratch that sp_embed_token needs (one list entry per event of a token, at most
 * one per cell). */
size_t sp_embed_scratch_size(const sp_embed_config_t *config, uint32_t max_events);

/* out[hidden] = bias + sum over non-empty cells of log1p(count) * weight[cell]. Cost follows the
 * token's events, not the cells; cells are added in ascending index, so equal tokens give equal bits.
 * scratch must be zeroed once and is left zeroed. */
int sp_embed_token(const sp_embed_config_t *config, const sp_tokenizer_t *tok, void *scratch,
                   size_t scratch_size, float *out);

/* Add the sines and cosines of one coordinate to out[size] (reference.md 4):
 * dimension i has the frequency 10000^(2*floor(i/2)/size); sines of even i, then cosines of odd i. */
void sp_embed_position_add(float *out, uint16_t size, float position);

/* Where the three coordinates live in hidden: *xy = hidden / 3 each for x and y, *t = xy + hidden % 3. */
void sp_embed_position_sizes(uint16_t hidden, uint16_t *xy, uint16_t *t);

#ifdef __cplusplus
}
#endif
#endif
