/* EVT2 and EVT2.1 for sp_decoder_t: the same fields; an EVT2.1 word has a mask of 32 pixels after them. */
#include "decode_words.h"
#include "evt2_words.h"

/* A word whose head is not that of an event. */
SP_RARE_CALL static void take_other(sp_decoder_t *d, uint32_t head)
{
    switch (evt2_type(head)) {
    case EVT2_TRIGGER:
        d->stats.triggers++;
        break;
    case EVT2_OTHER:
    case EVT2_CONTINUED:
        d->stats.other++;
        break;
    default:
        d->stats.unknown++;
        break;
    }
}

/* The upper half of an EVT2.1 word has the fields of an EVT2 word. 1 if it is an event that has a time. */
SP_INLINE int take_head(sp_decoder_t *d, uint32_t head, sp_out_t *out)
{
    if (evt2_type(head) <= EVT2_ON) {
        if (SP_RARELY(!(d->known & KNOWN_TIME))) {
            d->stats.untimed++;
            return 0;
        }
        return 1;
    }
    if (evt2_type(head) == EVT2_TIME_HIGH) {
        d->time = evt2_next_time(d->time, head, d->known & KNOWN_TIME);
        d->known |= KNOWN_TIME;
        out->times++;
    } else {
        take_other(d, head);
    }
    return 0;
}

SP_INLINE void take_evt2(sp_decoder_t *d, uint64_t word, sp_out_t *out)
{
    const uint32_t head = (uint32_t)word;
    if (take_head(d, head, out))
        decode_single(d, out, d->time | evt2_low_time(head), evt2_x(head), evt2_y(head), evt2_type(head));
}

SP_INLINE void take_halves(sp_decoder_t *d, uint32_t head, uint32_t mask, sp_out_t *out)
{
    if (take_head(d, head, out))
        decode_vector(d, out, d->time | evt2_low_time(head), mask, evt2_x(head), evt2_y(head), evt2_type(head));
}

SP_INLINE void take_evt21(sp_decoder_t *d, uint64_t word, sp_out_t *out)
{
    take_halves(d, (uint32_t)(word >> 32), (uint32_t)word, out);
}

SP_INLINE void take_evt21_legacy(sp_decoder_t *d, uint64_t word, sp_out_t *out)
{
    take_halves(d, (uint32_t)word, (uint32_t)(word >> 32), out);
}

int sp_decode_evt2_any(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                       size_t *got)
{
    return decode_words(d, in, n, used, out, capacity, got, 4, 1, take_evt2);
}

int sp_decode_evt21(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                    size_t *got)
{
    if (d->config.format == SP_FORMAT_EVT21_LEGACY)
        return decode_words(d, in, n, used, out, capacity, got, 8, 32, take_evt21_legacy);
    return decode_words(d, in, n, used, out, capacity, got, 8, 32, take_evt21);
}
