#include "decode_words.h"

enum {
    EVT3_ADDR_Y = 0x0,
    EVT3_ADDR_X = 0x2,
    EVT3_BASE_X = 0x3,
    EVT3_VECT_12 = 0x4,
    EVT3_VECT_8 = 0x5,
    EVT3_TIME_LOW = 0x6,
    EVT3_CONTINUED_4 = 0x7,
    EVT3_TIME_HIGH = 0x8,
    EVT3_TRIGGER = 0xA,
    EVT3_OTHER = 0xE,
    EVT3_CONTINUED_12 = 0xF
};

#define HALF_HIGH 2048u
#define LOW_BITS UINT64_C(0xFFF)
#define WRAP (UINT64_C(1) << 24)
#define FARTHEST 4096u /* a base stops here, beyond any sensor, however many vectors come */

SP_INLINE void take_time_high(sp_decoder_t *d, uint32_t high, sp_out_t *out)
{
    uint64_t wraps = d->time & ~(WRAP - 1u);

    out->times++;
    if (!(d->known & KNOWN_TIME)) {
        d->known |= KNOWN_TIME;
        wraps = 0;
    } else if (high == d->time_high) {
        return;
    } else if (high < d->time_high && d->time_high - high >= HALF_HIGH) {
        wraps += WRAP;
    }
    d->time_high = (uint16_t)high;
    d->time = wraps | (uint64_t)high << 12;
}

/* The words whose meaning hangs on what came before are lost when that did not come. */
SP_INLINE int knows(sp_decoder_t *d, uint32_t what)
{
    if (SP_RARELY((d->known & what) != what)) {
        d->stats.untimed++;
        return 0;
    }
    return 1;
}

SP_INLINE void take_mask(sp_decoder_t *d, uint32_t mask, uint32_t bits, sp_out_t *out)
{
    const uint32_t x = d->base;
    if (!knows(d, KNOWN_TIME | KNOWN_ROW | KNOWN_BASE))
        return;
    d->base = x < FARTHEST ? x + bits : x;
    decode_vector(d, out, d->time, mask, x, d->y, d->base_p);
}

SP_INLINE void take_word(sp_decoder_t *d, uint64_t wide, sp_out_t *out)
{
    const uint32_t word = (uint32_t)wide;

    switch (word >> 12) {
    case EVT3_ADDR_Y:
        if (knows(d, KNOWN_TIME)) {
            d->y = (uint16_t)(word & 0x7FFu);
            d->known |= KNOWN_ROW;
            out->addresses++;
        }
        break;
    case EVT3_ADDR_X:
        if (knows(d, KNOWN_TIME | KNOWN_ROW))
            decode_single(d, out, d->time, word & 0x7FFu, d->y, word >> 11 & 1u);
        break;
    case EVT3_BASE_X:
        if (knows(d, KNOWN_TIME)) {
            d->base = word & 0x7FFu;
            d->base_p = word >> 11 & 1u;
            d->known |= KNOWN_BASE;
            out->addresses++;
        }
        break;
    case EVT3_VECT_12:
        take_mask(d, word & 0xFFFu, 12, out);
        break;
    case EVT3_VECT_8:
        take_mask(d, word & 0xFFu, 8, out);
        break;
    case EVT3_TIME_LOW:
        d->time = (d->time & ~LOW_BITS) | (word & 0xFFFu);
        out->times++;
        break;
    case EVT3_TIME_HIGH:
        take_time_high(d, word & 0xFFFu, out);
        break;
    case EVT3_TRIGGER:
        d->stats.triggers++;
        break;
    case EVT3_CONTINUED_4:
    case EVT3_OTHER:
    case EVT3_CONTINUED_12:
        d->stats.other++;
        break;
    default:
        d->stats.unknown++;
        break;
    }
}

int sp_decode_evt3(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                   size_t *got)
{
    return decode_words(d, in, n, used, out, capacity, got, 2, 12, take_word);
}
