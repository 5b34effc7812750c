/* Camera words to events, streaming: input may be cut anywhere, bytes are not trusted. */
#ifndef SP_DECODE_H_INCLUDED
#define SP_DECODE_H_INCLUDED

#include "error.h"
#include "event.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What became of the words of a stream. words = events + time words + triggers +
 * other + unknown + untimed. */
typedef struct sp_decode_stats {
    uint64_t words;    /* whole words seen */
    uint64_t events;   /* words that became an event */
    uint64_t times;    /* time words */
    uint64_t triggers; /* external trigger words */
    uint64_t other;    /* vendor's other/continued words, skipped by the format's rules */
    uint64_t unknown;  /* words of a type the format does not define */
    uint64_t untimed;  /* event words before the first time word: no time, lost */
} sp_decode_stats_t;

/* EVT2: little-endian 32-bit words (type, low time, x, y). */
typedef struct sp_evt2 {
    uint64_t time_base; /* us, of the last TIME_HIGH word, wraps of 2^34 us added */
    uint32_t partial;   /* first bytes of a word that was cut */
    uint8_t partial_bytes;
    uint8_t timed; /* a TIME_HIGH has been seen */
    uint8_t reserved[2];
    sp_decode_stats_t stats;
} sp_evt2_t;

/* Forget everything. Any context; one caller per decoder. */
void sp_evt2_init(sp_evt2_t *d);

/* Turn EVT2 bytes into events.
 * Consumes at most n bytes and produces at most capacity events; *used and *got
 * say how many. A cut word's first bytes wait in d.
 * A TIME_HIGH lower than the one before by at least half its range means that the
 * sensor's clock wrapped (2^34 us); a smaller step back is kept as it is: the events
 * after it are older than their predecessors, and the tokenizer counts them.
 * Returns SP_OK (all input consumed) or SP_MORE (out is full, call again).
 * Words of an undefined type are skipped and counted. Never blocks. */
int sp_evt2_decode(sp_evt2_t *d, const uint8_t *in, size_t n, size_t *used,
                   sp_event_t *out, size_t capacity, size_t *got);

#ifdef __cplusplus
}
#endif
#endif
