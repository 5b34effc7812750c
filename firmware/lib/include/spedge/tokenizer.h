/* The tokenizers of Spiking Patches (arXiv 2510.26614): events in, tokens out. */
#ifndef SP_TOKENIZER_H_INCLUDED
#define SP_TOKENIZER_H_INCLUDED

#include "decode.h"
#include "error.h"
#include "event.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What happens when an event finds no free slot in the pool. */
enum {
    SP_POOL_EVICTS = 0, /* bounded: see sp_tokenizer_push */
    SP_POOL_GROWS = 1   /* push returns SP_ERR_POOL; the caller gives more with sp_tokenizer_grow */
};

/* What makes a patch fire. */
enum {
    SP_KIND_CONTINUOUS = 0, /* its potential reaches the threshold */
    SP_KIND_DISCRETE = 1,   /* it holds threshold events of the last duration_us */
    SP_KIND_VOXEL = 2       /* duration_us is over, and it has threshold events or more */
};

/* Events are counted in 32 bits. */
#define SP_THRESHOLD_MAX 2147483647.0

/* Block indices and counts of pending events leave a bit free. */
#define SP_POOL_EVENTS_MAX 2147483616u

/* The most pixel columns (or rows) of the sensor that one patch may span: a slot of 32 bits holds the
 * position in the patch, the polarity and the low bits of the time. */
#define SP_PATCH_SPAN_MAX 2048u

/* Zero means default where a default is named. */
typedef struct sp_tokenizer_config {
    uint16_t width, height; /* pixels, > 0 */
    uint16_t patch_size;    /* pixels; default 16 */
    uint8_t pool_policy;    /* SP_POOL_*; default SP_POOL_EVICTS */
    uint8_t kind;           /* SP_KIND_*; default SP_KIND_CONTINUOUS */
    uint32_t pool_events;   /* event slots, > 0, at most SP_POOL_EVENTS_MAX, rounded up to whole blocks of 16 */
    double threshold;       /* > 0, at most SP_THRESHOLD_MAX; default 256. Discrete, voxel: a whole number.
                                        Voxel: may be 0, without a default */
    uint64_t absolute_refractory_us; /* default 0: none; not for voxels */
    uint64_t relative_refractory_us; /* default 0: none */
    double relative_scale;           /* 0 < s < 1; default 0.4 */
    double decay_per_us;             /* >= 0; default 0: none */
    uint64_t duration_us;            /* discrete, and voxel, where it is > 0 */
} sp_tokenizer_config_t;

/* Where every event went: taken = in_tokens + pending + refractory + decayed
 * + pool_lost + outside + backwards. */
typedef struct sp_tokenizer_stats {
    uint64_t taken;      /* events given to push and consumed */
    uint64_t in_tokens;  /* handed out in tokens */
    uint64_t pending;    /* waiting in the pool */
    uint64_t refractory; /* dropped by the absolute refractory period (the method) */
    uint64_t decayed;    /* discarded by the method: the potential fell to 0; older than duration_us; in a voxel below
                            the threshold */
    uint64_t pool_lost;  /* lost because the pool was full */
    uint64_t outside;    /* x or y outside the sensor */
    uint64_t backwards;  /* older than the event before it */
    uint64_t tokens;     /* fired */
    uint32_t pool_used;  /* slots in blocks in use, now */
    uint32_t pool_peak;  /* the most so far */
} sp_tokenizer_stats_t;

/* A token: patch column and row, the time of the event that made it fire (voxel: the start of the bin), its events. */
typedef struct sp_token {
    uint64_t t; /* us */
    uint16_t x;
    uint16_t y;
    uint32_t n; /* events */
} sp_token_t;

/* Opaque; lives in the caller's memory. */
typedef struct sp_tokenizer sp_tokenizer_t;

/* Reads the events of the ready token in arrival order. */
typedef struct sp_token_cursor {
    const sp_tokenizer_t *tokenizer;
    uint32_t slot; /* where the next event is */
    uint32_t left; /* events not read yet */
} sp_token_cursor_t;

/* Fill in defaults and check. Returns SP_OK or SP_ERR_CONFIG. */
int sp_tokenizer_config_check(const sp_tokenizer_config_t *config, sp_tokenizer_config_t *full);

/* Bytes that sp_tokenizer_init needs (8-byte aligned), 0 if the configuration is bad. */
size_t sp_tokenizer_size(const sp_tokenizer_config_t *config);

/* Build a tokenizer in mem. *tok points into mem, which the caller owns and keeps.
 * Returns SP_OK, SP_ERR_CONFIG or SP_ERR_MEMORY. */
int sp_tokenizer_init(sp_tokenizer_t **tok, const sp_tokenizer_config_t *config, void *mem, size_t size);

/* Forget all state and counts. */
void sp_tokenizer_reset(sp_tokenizer_t *tok);

/* Feed events in time order. Consumes events up to and including the one that makes a
 * token fire; *used says how many. Releases the token of the call before.
 * Returns SP_OK (all consumed), SP_TOKEN (one is ready: sp_tokenizer_token), or
 * SP_ERR_POOL (SP_POOL_GROWS only; nothing of the event at in[*used] has happened yet).
 *
 * Discrete: with threshold events in a patch, those more than duration_us older than the newest are discarded; it fires
 * if none was. It has neither decay nor relative refractory period.
 *
 * Voxel: time is cut into bins of duration_us, counted from time 0. Once a bin is over, every patch that has at least
 * threshold events of it is a token, by row and column; with threshold 0 every patch of every bin, empty ones too. These
 * tokens come one a call, before the event that is later than the bin is consumed: *used may be 0. The last bin is over
 * at sp_tokenizer_end.
 *
 * An event outside the sensor or older than its predecessor changes nothing but its count.
 *
 * SP_POOL_EVICTS, no free block: the pending events of the patch whose newest pending event
 * is the oldest (ties: the lowest patch index; the event's own patch only if it alone holds
 * events) are lost and counted, and that patch's potential starts again from 0; its
 * refractory state stays. Same on host and device for the same pool_events. */
int sp_tokenizer_push(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used);

/* The same straight from EVT2 bytes, without an event array between: equal to sp_evt2_decode
 * followed by sp_tokenizer_push. Returns SP_TOKEN after the word that made a token fire, *used
 * being the bytes consumed up to its end.
 * Voxel: a time word is an sp_tokenizer_advance, and not consumed while that gives tokens. */
int sp_tokenizer_push_evt2(sp_tokenizer_t *tok, sp_evt2_t *decoder, const uint8_t *in, size_t n, size_t *used);

/* It is t, us: no older event comes. Voxel: the bins that are over by then are; call until it returns SP_OK, SP_TOKEN
 * says that one more token is ready. Events older than t count as backwards afterwards. Other kinds: nothing happens. */
int sp_tokenizer_advance(sp_tokenizer_t *tok, uint64_t t);

/* The stream has ended. Voxel: its last bin is over; with threshold 0 another one follows, empty, unless the newest time
 * was the very start of a bin. Call until it returns SP_OK: SP_TOKEN says that one more is ready. Then the next event
 * begins a new stream, at any time; the counts go on. The other kinds keep what they hold: SP_OK. */
int sp_tokenizer_end(sp_tokenizer_t *tok);

/* The ready token; valid until the next push, advance, end or reset. NULL when none is ready. */
const sp_token_t *sp_tokenizer_token(const sp_tokenizer_t *tok);

/* Start reading the ready token's events. */
void sp_token_cursor_init(sp_token_cursor_t *cursor, const sp_tokenizer_t *tok);

/* Copy up to capacity further events to out (sensor coordinates, full times); returns how many. */
size_t sp_token_cursor_read(sp_token_cursor_t *cursor, sp_event_t *out, size_t capacity);

/* Move to a larger memory block, sized by sp_tokenizer_size for the same configuration with the new
 * pool_events (no fewer than now). State, counts and a ready token move along; cursors do not. The old
 * block may be freed afterwards. Returns SP_OK, or SP_ERR_CONFIG or SP_ERR_MEMORY and nothing changed. */
int sp_tokenizer_grow(sp_tokenizer_t **tok, uint32_t pool_events, void *mem, size_t size);

/* Copy the counts. Walks the pool for `pending`: cost follows the blocks in use. */
void sp_tokenizer_stats(const sp_tokenizer_t *tok, sp_tokenizer_stats_t *stats);

/* The configuration with its defaults filled in; pool_events in whole blocks. */
const sp_tokenizer_config_t *sp_tokenizer_config(const sp_tokenizer_t *tok);

#ifdef __cplusplus
}
#endif
#endif
