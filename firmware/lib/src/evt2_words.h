/* The bits of an EVT2 word, shared by the decoder and the path that decodes straight into the tokenizer. */
#ifndef SP_EVT2_WORDS_H_INCLUDED
#define SP_EVT2_WORDS_H_INCLUDED

#include "inline.h"
#include "spedge/decode.h"

#include <string.h>

enum {
    EVT2_OFF = 0x0,
    EVT2_ON = 0x1,
    EVT2_TIME_HIGH = 0x8,
    EVT2_TRIGGER = 0xA,
    EVT2_OTHER = 0xE,
    EVT2_CONTINUED = 0xF
};

/* Where the fields are: type 31:28, of which the lowest bit is an event's polarity, low time 27:22, x 21:11, y 10:0. */
#define EVT2_TYPE_ABOVE_P 29u
#define EVT2_P_AT 28u
#define EVT2_LOW_AT 22u
#define EVT2_LOW_BITS 6u
#define EVT2_LOW_MASK 63u
#define EVT2_X_AT 11u
#define EVT2_SIDE_BITS 11u
#define EVT2_SIDE_MASK 0x7FFu
#define EVT2_P_AND_TIME (1u << EVT2_P_AT | EVT2_LOW_MASK << EVT2_LOW_AT)

SP_INLINE uint32_t evt2_type(uint32_t word)
{
    return word >> EVT2_P_AT;
}
SP_INLINE uint32_t evt2_low_time(uint32_t word)
{
    return (word >> EVT2_LOW_AT) & EVT2_LOW_MASK;
}
SP_INLINE uint32_t evt2_x(uint32_t word)
{
    return (word >> EVT2_X_AT) & EVT2_SIDE_MASK;
}
SP_INLINE uint32_t evt2_y(uint32_t word)
{
    return word & EVT2_SIDE_MASK;
}

#define EVT2_HALF_WRAP (UINT64_C(1) << 33)

/* The time base, us, after a TIME_HIGH word; base: the one before, if there was one (timed). */
SP_INLINE uint64_t evt2_next_time(uint64_t base, uint32_t word, int timed)
{
    const uint64_t wrap = 2u * EVT2_HALF_WRAP;
    uint64_t next = (uint64_t)(word & 0x0FFFFFFFu) << 6;

    if (timed) {
        next += base & ~(wrap - 1u);
        if (next < base && base - next >= EVT2_HALF_WRAP)
            next += wrap;
    }
    return next;
}

/* The time word of a time base. */
SP_INLINE uint32_t evt2_time_word(uint64_t base)
{
    return (uint32_t)EVT2_TIME_HIGH << EVT2_P_AT | ((uint32_t)(base >> EVT2_LOW_BITS) & 0x0FFFFFFFu);
}

/* The event of a word; there has been a time word. */
SP_INLINE sp_event_t evt2_event(const sp_evt2_t *d, uint32_t word)
{
    return (sp_event_t){.t = d->time_base | evt2_low_time(word),
                        .x = (uint16_t)evt2_x(word),
                        .y = (uint16_t)evt2_y(word),
                        .p = (uint8_t)evt2_type(word)};
}

SP_INLINE uint32_t evt2_load(const uint8_t *in)
{
#if defined(__ARM_FEATURE_UNALIGNED) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint32_t word; /* the same: one load, also where the compiler would keep to bytes of which it needs one earlier */
    memcpy(&word, in, sizeof word);
    return word;
#else
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
#endif
}

/* Take the next whole word without changing d; *bytes says how many of in it used.
 * Returns 0 when in ends before the word does. */
SP_INLINE int evt2_peek(const sp_evt2_t *d, const uint8_t *in, size_t n, uint32_t *word, size_t *bytes)
{
    const size_t need = 4u - d->partial_bytes;
    if (n < need)
        return 0;
    if (need == 4u) {
        *word = evt2_load(in);
    } else {
        *word = d->partial;
        for (size_t i = 0; i < need; i++)
            *word |= (uint32_t)in[i] << (8u * (d->partial_bytes + i));
    }
    *bytes = need;
    return 1;
}

/* Keep the bytes of a word that was cut. */
void evt2_keep(sp_evt2_t *d, const uint8_t *in, size_t n);

/* A word that is no event, or an event before the first time word. */
void evt2_take_no_event(sp_evt2_t *d, uint32_t word);

#endif
