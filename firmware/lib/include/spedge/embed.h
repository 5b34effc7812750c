/* What a model sees of a token: log-time volume, sparse token embedding, position embedding. */
#ifndef SP_EMBED_H_INCLUDED
#define SP_EMBED_H_INCLUDED

#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SP_EMBED_BUCKETS_MAX 32u

/* Whether weights may be integers: where there is no FPU, unless whoever builds says so. */
#ifndef SP_EMBED_INTEGERS
#if defined(__arm__) && !defined(__ARM_FP)
#define SP_EMBED_INTEGERS 1
#else
#define SP_EMBED_INTEGERS 0
#endif
#endif

/* Zero means default where a default is named. */
typedef struct sp_embed_config {
    uint16_t patch_size; /* P, pixels; default 16 */
    uint16_t hidden;     /* features of an embedded token, >= 3 */
    uint8_t buckets;     /* 1..SP_EMBED_BUCKETS_MAX; default 10 */
    uint8_t reserved[3];
    float time_scale_us; /* > 0; default 50 000 */
    const float *weight; /* [cells][hidden], cell = ((p * buckets + bucket) * P + y) * P + x */
    const float *bias;   /* [hidden] */
#if SP_EMBED_INTEGERS
    const int32_t *integers; /* weight NULL: the weights as integers in halves (integers.h) */
    int32_t exponent;        /* of these */
#endif
} sp_embed_config_t;

/* Fill in defaults and check. Returns SP_OK or SP_ERR_CONFIG. The functions below take a full one. */
int sp_embed_config_check(const sp_embed_config_t *config, sp_embed_config_t *full);

/* Cells of a volume: 2 * buckets * P * P. */
size_t sp_embed_cells(const sp_embed_config_t *config);

/* The bucket of an age in us: how many k in 0..buckets-1 have age >= 1000 * 2^k, at most buckets - 1. */
uint8_t sp_embed_bucket(uint64_t age_us, uint8_t buckets);

/* Dense log-time volume of a token with these n events in arrival order: counts into volume[cells]
 * (cleared first). A count stops at 65535. */
void sp_embed_volume(const sp_embed_config_t *config, const sp_event_t *events, size_t n, uint16_t *volume);

/* Bytes of scratch (4-byte aligned) that sp_embed_token and sp_embed_events need. */
size_t sp_embed_scratch_size(const sp_embed_config_t *config);

/* The ready token: out[hidden] = bias + sum over non-empty cells of log(1 + count) * weight[cell].
 * Cost follows the token's events, not the cells; cells are added in ascending order whatever the order of the
 * events, so equal volumes give equal bits. scratch must be zeroed once and is left zeroed.
 * Returns SP_OK or SP_ERR_CAPACITY (scratch too small or misaligned). Main loop; never blocks. */
int sp_embed_token(const sp_embed_config_t *config, const sp_tokenizer_t *tok, void *scratch, size_t scratch_size,
                   float *out);

/* The same for a token given by its n events in arrival order. */
int sp_embed_events(const sp_embed_config_t *config, const sp_event_t *events, size_t n, void *scratch,
                    size_t scratch_size, float *out);

/* The cells of that token's volume that are not empty, ascending, and how many events each holds; returns how many
 * cells, which is at most n. cells[n], counts[n]. scratch as above and large enough. */
size_t sp_embed_sparse(const sp_embed_config_t *config, const sp_event_t *events, size_t n, void *scratch,
                       uint32_t *cells, uint16_t *counts);

/* Where the three coordinates live in hidden: x, y and t in this order, *xy = hidden / 3 features for x and for
 * y, *t = *xy + hidden % 3. */
void sp_embed_position_sizes(uint16_t hidden, uint16_t *xy, uint16_t *t);

/* How far the angles of a coordinate of that size turn in one unit of it, in 2^-64 of a turn, whole turns left out:
 * dimensions 2k and 2k + 1 have the angle position / (scale * 10000^(2k/size)). scale: units of the coordinate that
 * count as one, 1 for columns and rows, time_scale_us for times in us. steps[(size + 1) / 2]. */
void sp_embed_position_steps(uint16_t size, float scale, uint64_t *steps);

/* Add one coordinate's sines (of the even dimensions) and then cosines (of the odd ones) to out[size].
 * The angle is brought to one turn in integers, before anything is rounded, so that sines and cosines are within
 * 1e-6 of the real ones however large the position, as long as it is below 10^7 wavelengths (those of scale 10^4 us
 * and more: 10^12 us). */
void sp_embed_position_add(float *out, uint16_t size, const uint64_t *steps, uint64_t position);

#ifdef __cplusplus
}
#endif
#endif
