/* The chain from camera words to the encoder's input: decoder, tokenizer, embedding, ring of the last T tokens. */
#ifndef SP_PIPELINE_H_INCLUDED
#define SP_PIPELINE_H_INCLUDED

#include "decode.h"
#include "embed.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The embedding's patch size must be the tokenizer's; 0 takes it over. */
typedef struct sp_pipeline_config {
    sp_tokenizer_config_t tokenizer;
    sp_embed_config_t embed; /* weight NULL: tokens only, no ring */
    uint16_t window_tokens;  /* T, > 0 with an embedding */
    uint8_t one_by_one;      /* not 0: for a stateful model. Windows of T tokens lie end to end, and only the newest
                              * token is kept: sp_pipeline_newest */
} sp_pipeline_config_t;

/* Reads the clock that costs are given in; context first. NULL: costs are not measured. */
typedef uint64_t (*sp_clock_fn)(void *context);

/* Called once per token, while it is ready (its events can be read with a cursor). */
typedef void (*sp_token_fn)(void *context, const sp_tokenizer_t *tok, const sp_token_t *token);

/* Opaque; lives in the caller's memory. One caller at a time, main loop; nothing blocks. */
typedef struct sp_pipeline sp_pipeline_t;

/* Bytes that sp_pipeline_init needs (8-byte aligned), 0 if the configuration is bad. */
size_t sp_pipeline_size(const sp_pipeline_config_t *config);

/* Build a pipeline in mem, which the caller owns and keeps, as it keeps the weights.
 * Returns SP_OK, SP_ERR_CONFIG or SP_ERR_MEMORY. */
int sp_pipeline_init(sp_pipeline_t **pipe, const sp_pipeline_config_t *config, void *mem, size_t size);

/* Forget all state, tokens and counts; clock and observer stay. */
void sp_pipeline_reset(sp_pipeline_t *pipe);
void sp_pipeline_set_clock(sp_pipeline_t *pipe, sp_clock_fn clock, void *context);
void sp_pipeline_set_observer(sp_pipeline_t *pipe, sp_token_fn on_token, void *context);

/* Feed EVT2 bytes; *used says how many were consumed. Stops after a token when stop_at_token is set
 * (returns SP_TOKEN; *used may be 0, see the voxel kind) so that a caller with limited room for tokens can wait. Returns SP_OK
 * otherwise, or SP_ERR_POOL when the tokenizer was configured with SP_POOL_GROWS and its pool is full. */
int sp_pipeline_feed_evt2(sp_pipeline_t *pipe, const uint8_t *in, size_t n, size_t *used, int stop_at_token);

/* Copy the last min(T, tokens) embedded tokens, oldest first, into out[T][hidden], with the position of their
 * time relative to the oldest added. Returns how many rows. Rows past them are set to 0. With one_by_one: 0 rows. */
uint32_t sp_pipeline_window(sp_pipeline_t *pipe, float *out);

/* With one_by_one: copy the newest embedded token into out[hidden], with the position of its time relative to its
 * window's first token added. Returns how many tokens the window has with it: 1 for the first; 0, and nothing in
 * out, before the first and without one_by_one. May be called from the token function. */
uint32_t sp_pipeline_newest(sp_pipeline_t *pipe, float *out);

typedef struct sp_pipeline_stats {
    sp_decode_stats_t decode;
    sp_tokenizer_stats_t tokenizer;
    uint64_t cost_tokenize; /* decode + tokenize, in the clock's unit, since reset */
    uint64_t cost_embed;    /* since reset */
} sp_pipeline_stats_t;

void sp_pipeline_stats(const sp_pipeline_t *pipe, sp_pipeline_stats_t *stats);

#ifdef __cplusplus
}
#endif
#endif
