/* The chain from camera words to the encoder's input: decoder, tokenizer, embedding, ring of the last T tokens. */
#ifndef SP_PIPELINE_H_INCLUDED
#define SP_PIPELINE_H_INCLUDED

#include "decode.h"
#include "embed.h"
#include "thin.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The embedding's patch size must be the tokenizer's; 0 takes it over. */
typedef struct sp_pipeline_config {
    sp_tokenizer_config_t tokenizer;
    sp_embed_config_t embed; /* no weights: tokens only, no ring */
    uint16_t window_tokens;  /* T, > 0 with an embedding */
    uint8_t one_by_one;      /* not 0: for a stateful model. Windows of T tokens lie end to end, and only the newest
                              * token is kept: sp_pipeline_newest */
    uint8_t format;          /* of the bytes fed: SP_FORMAT_*; default SP_FORMAT_EVT2, the fastest */
    uint8_t thins;           /* not 0: sp_pipeline_set_keep is going to be used */
    uint8_t points;          /* not 0: for a model on graphs, with an embedding. Rows hold no positions, which are
                              * sp_pipeline_points's */
    uint16_t cell;           /* for a detector, with an embedding: the side of its grid's cells in patches; 0: none */
    uint16_t left, top;      /* of a larger sensor that sends the bytes: where the tokenizer's begins, pixels */
    uint8_t bin;             /* as many of its pixels along a side are one of the tokenizer's; 0: 1 */
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

#define SP_NO_TIME UINT64_MAX

/* Feed bytes of the configured format; *used says how many were consumed.
 * Stops after a token when stop_at_token is set (returns SP_TOKEN; *used may be 0, see the voxel kind) so that a caller
 * with limited room for tokens can wait, and before the first word that would take the stream's time to `until` or beyond
 * (returns SP_TIME; sp_pipeline_reached is that word's time): what is in the pipeline then is what came before. until
 * SP_NO_TIME: never.
 * The stream's time is the largest of its events and, in the EVT formats, of its time words; in other formats than EVT2
 * time words count once the bytes fed hold no event behind them.
 * Returns SP_OK when all is consumed, or SP_ERR_POOL when the tokenizer was configured with SP_POOL_GROWS and its pool
 * is full. In other formats than EVT2, and with thins, events of bytes that are consumed may wait inside after SP_TOKEN
 * and SP_TIME: sp_pipeline_waiting says so, and a call with n = 0 goes on with them. */
int sp_pipeline_feed(sp_pipeline_t *pipe, const uint8_t *in, size_t n, size_t *used, int stop_at_token, uint64_t until);

/* Events that wait inside to be tokenized. */
uint32_t sp_pipeline_waiting(const sp_pipeline_t *pipe);

/* Time, us, of the word that the last SP_TIME stopped before. */
uint64_t sp_pipeline_reached(const sp_pipeline_t *pipe);

/* Time, us, of the newest event that the tokenizer took; 0 before the first. */
uint64_t sp_pipeline_time(const sp_pipeline_t *pipe);

/* With thins: of the events that follow keep about `keep` in SP_THIN_ALL. A reset sets it to SP_THIN_ALL. */
void sp_pipeline_set_keep(sp_pipeline_t *pipe, uint32_t keep);

/* Copy the newest embedded tokens, at most T and none with a time before `since`, oldest first, into out[T][hidden],
 * with the position of their time relative to the oldest added. Returns how many rows. Rows past them are set to 0. With
 * one_by_one: 0 rows. */
uint32_t sp_pipeline_window(sp_pipeline_t *pipe, uint64_t since, float *out);

/* With points: the points of the rows that sp_pipeline_window gives for that `since`, into points[T][3]: column and row of
 * the patch, and the time since the oldest row's in units of the embedding's time scale. Returns how many. */
uint32_t sp_pipeline_points(const sp_pipeline_t *pipe, uint64_t since, double (*points)[3]);

/* With one_by_one: copy the newest embedded token into out[hidden], with the position of its time relative to its
 * window's first token added. Returns how many tokens the window has with it: 1 for the first; 0, and nothing in
 * out, before the first and without one_by_one. May be called from the token function. */
uint32_t sp_pipeline_newest(sp_pipeline_t *pipe, float *out);

/* A detector's step. With `cell`: how many events on the sensor and in order came since the last step, those among them that
 * a full pool lost. */
uint64_t sp_pipeline_step_events(const sp_pipeline_t *pipe);

/* Take the step at `time`, us: of the tokens since the last step, none of them later than it, copy the newest T, oldest first,
 * into out[T][hidden], with the position of their age, time - t, added, and the numbers of their cells, row * columns + column
 * of the grid, into cells[T]. Returns how many rows; those past them are set to 0. *left_out: how many older ones there were.
 * out NULL: the tokens are forgotten, and all of them are left out; 0 rows. */
uint32_t sp_pipeline_step(sp_pipeline_t *pipe, uint64_t time, float *out, uint16_t *cells, uint32_t *left_out);

typedef struct sp_pipeline_stats {
    sp_decode_stats_t decode;
    sp_tokenizer_stats_t tokenizer;
    uint64_t cost_tokenize; /* decode + tokenize, in the clock's unit, since reset */
    uint64_t cost_embed;    /* since reset */
    /* Events left out: decode.events = thinned + tokenizer.taken. Those beside the part that `left`, `top` and `bin` show
     * are `outside`. */
    uint64_t thinned;
} sp_pipeline_stats_t;

void sp_pipeline_stats(const sp_pipeline_t *pipe, sp_pipeline_stats_t *stats);

/* Events that came, and those of them that were lost and not dropped by the method. */
typedef struct sp_pipeline_losses {
    uint64_t came; /* words of unknown types among them */
    uint64_t thinned;
    uint64_t decoder; /* untimed, of unknown types, outside the sensor, backwards in time */
    uint64_t pool;
} sp_pipeline_losses_t;

/* Copy these counts; cheap, while sp_pipeline_stats walks the pool. */
void sp_pipeline_losses(const sp_pipeline_t *pipe, sp_pipeline_losses_t *losses);

/* Where the stream stands; cheap, too. lost: events before the first time word, outside the sensor, backwards in time, or
 * lost to a full pool. */
typedef struct sp_pipeline_progress {
    uint64_t taken; /* by the tokenizer */
    uint64_t lost;
    uint64_t tokens;
} sp_pipeline_progress_t;

void sp_pipeline_progress(const sp_pipeline_t *pipe, sp_pipeline_progress_t *progress);

/* What the session has cost so far, in the clock's unit. Cheap, too. */
void sp_pipeline_costs(const sp_pipeline_t *pipe, uint64_t *tokenize, uint64_t *embed);

/* Tokens fired since the reset. */
uint64_t sp_pipeline_tokens(const sp_pipeline_t *pipe);

#ifdef __cplusplus
}
#endif
#endif
