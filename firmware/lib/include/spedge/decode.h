/* Camera words to events, streaming: input may be cut anywhere, bytes are not trusted.
 *
 * A decoder of its own for each format, and sp_decoder_t, which is any of them by number. All decode calls work alike:
 *   they consume at most n bytes and produce at most capacity events; *used and *got say how many. What is left of a
 *   cut word waits in the decoder. They return SP_OK (all input consumed) or SP_MORE (out is full, call again with the
 *   rest). Words of an undefined type are skipped and counted. They never block and never allocate; one caller per
 *   decoder, any context. */
#ifndef SP_DECODE_H_INCLUDED
#define SP_DECODE_H_INCLUDED

#include "error.h"
#include "event.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What became of the words of a stream:
 *   words  = single + vectors + addresses + times + triggers + other + unknown + untimed
 *   single = events + outside + clipped - vector_events: the words that are one event each
 * once all events are out.
 * EVT2 has neither vectors nor addresses: words = events + times + triggers + other + unknown + untimed. */
typedef struct sp_decode_stats {
    uint64_t words;         /* whole words seen; eDVS: whole events */
    uint64_t events;        /* events made */
    uint64_t times;         /* time words */
    uint64_t triggers;      /* external trigger words */
    uint64_t other;         /* vendor's other/continued words, skipped by the format's rules */
    uint64_t unknown;       /* words of a type the format does not define */
    uint64_t untimed;       /* event words before the first time word: no time, lost. EVT3: address words too, and
                          event words before the first row or base */
    uint64_t addresses;     /* EVT3: words that set the row or the base of vectors */
    uint64_t vectors;       /* EVT2.1, EVT3: words that hold a mask of events */
    uint64_t vector_events; /* set bits of those masks */
    uint64_t outside;       /* events outside the sensor, dropped; not those of clipped */
    uint64_t clipped;       /* bits of masks that reach over the sensor's right edge, dropped */
    uint64_t skipped;       /* eDVS: bytes skipped to find the start of an event */
} sp_decode_stats_t;

/* ---------------------------------------------------------------- EVT2 */

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

/* Turn EVT2 bytes into events; coordinates are not checked (at most 2047).
 * A TIME_HIGH lower than the one before by at least half its range means that the
 * sensor's clock wrapped (2^34 us); a smaller step back is kept as it is: the events
 * after it are older than their predecessors, and the tokenizer counts them. */
int sp_evt2_decode(sp_evt2_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                   size_t *got);

/* ---------------------------------------------------------------- any format */

enum {
    SP_FORMAT_EVT2 = 0,
    SP_FORMAT_EVT21 = 1,        /* 64-bit little-endian words (GENX320) */
    SP_FORMAT_EVT21_LEGACY = 2, /* their 32-bit halves swapped (IMX636) */
    SP_FORMAT_EVT3 = 3,
    SP_FORMAT_EDVS_E0 = 4, /* no time: events get the one set with sp_decoder_set_time */
    SP_FORMAT_EDVS_E1 = 5, /* time since the event before, 7 bits a byte, the last byte's top bit set */
    SP_FORMAT_EDVS_E2 = 6, /* 16 bits of time, big-endian, 1 us; wraps are counted */
    SP_FORMAT_EDVS_E3 = 7, /* 24 bits */
    SP_FORMAT_EDVS_E4 = 8, /* 32 bits */
    SP_FORMATS = 9
};

/* Zero means default. */
typedef struct sp_decoder_config {
    uint16_t width;          /* pixels; events at x >= width are dropped and counted. 0: 128 for eDVS, else 2048 */
    uint16_t height;         /* the same for y */
    uint8_t format;          /* SP_FORMAT_* */
    uint8_t invert_polarity; /* a polarity bit of 1 means off; eDVS drivers disagree on it */
    uint8_t reserved[2];
} sp_decoder_config_t;

/* State of any decoder. Copying the struct copies the decoder. */
typedef struct sp_decoder {
    uint64_t time;        /* us; EVT2, EVT2.1: of the last TIME_HIGH, EVT3: now, eDVS: of the last event; wraps added */
    uint64_t vector_time; /* us, of the events of mask */
    uint64_t partial;     /* first bytes of a word that was cut, the first one lowest */
    uint32_t mask;        /* events of a vector word that await room */
    uint32_t vector_x;    /* column of the lowest bit of mask */
    uint32_t base;        /* EVT3: column of the next vector */
    uint16_t vector_y;    /* row of mask */
    uint16_t y;           /* EVT3: row of the coming events */
    uint16_t time_high;   /* EVT3: the last one */
    uint8_t vector_p;     /* polarity of mask */
    uint8_t base_p;       /* EVT3: polarity of the coming vectors */
    uint8_t known;        /* which parts of the state the stream has set */
    uint8_t partial_bytes;
    uint8_t reserved[6];
    sp_decoder_config_t config; /* complete, defaults filled in */
    sp_decode_stats_t stats;
} sp_decoder_t;

/* Start a decoder. Returns SP_OK, or SP_ERR_CONFIG for an unknown format. */
int sp_decoder_init(sp_decoder_t *d, const sp_decoder_config_t *config);

/* Turn bytes of the configured format into events.
 *
 * EVT2, EVT2.1: time as sp_evt2_decode says.
 * EVT3: t = wraps * 2^24 + TIME_HIGH * 2^12 + TIME_LOW. A changed TIME_HIGH sets TIME_LOW to 0; one that is lower by at
 * least half its range is a wrap. TIME_LOW is taken as it is: it goes back within one TIME_HIGH when system words are
 * interleaved. Every vector word stands alone. Words before the first TIME_HIGH are skipped.
 * eDVS: an event starts with a byte whose top bit is set; any other byte there is skipped. */
int sp_decoder_decode(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                      size_t *got);

/* The time, us, of the events that follow, for SP_FORMAT_EDVS_E0, for instance when they arrived; the origin of
 * SP_FORMAT_EDVS_E1. */
void sp_decoder_set_time(sp_decoder_t *d, uint64_t t);

#ifdef __cplusplus
}
#endif
#endif
