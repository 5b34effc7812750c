/* What the decoders share: whole words out of input that is cut anywhere, and events out of masks. */
#ifndef SP_DECODE_WORDS_H_INCLUDED
#define SP_DECODE_WORDS_H_INCLUDED

#include "inline.h"
#include "spedge/decode.h"

/* Bits of sp_decoder_t.known. */
enum { KNOWN_TIME = 1, KNOWN_ROW = 2, KNOWN_BASE = 4 };

/* One for each format; see sp_decoder_decode. */
int sp_decode_evt2_any(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                       size_t *got);
int sp_decode_evt21(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                    size_t *got);
int sp_decode_evt3(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                   size_t *got);
int sp_decode_edvs(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                   size_t *got);

/* Output of one call. */
typedef struct sp_out {
    sp_event_t *events;
    size_t capacity, made;
} sp_out_t;

/* Takes one word; at least one event has room. What does not fit waits in d->mask. */
typedef void sp_take_word(sp_decoder_t *d, uint64_t word, sp_out_t *out);

SP_INLINE uint64_t decode_load(const uint8_t *in, size_t bytes)
{
    uint64_t word = 0;
    for (size_t i = 0; i < bytes; i++)
        word |= (uint64_t)in[i] << (8u * i);
    return word;
}

SP_INLINE uint32_t decode_lowest_bit(uint32_t mask)
{
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctz(mask);
#else
    uint32_t i = 0;
    while (!(mask >> i & 1u))
        i++;
    return i;
#endif
}

SP_INLINE uint32_t decode_count_bits(uint32_t mask)
{
    mask -= mask >> 1 & 0x55555555u;
    mask = (mask & 0x33333333u) + (mask >> 2 & 0x33333333u);
    mask = (mask + (mask >> 4)) & 0x0F0F0F0Fu;
    return mask * 0x01010101u >> 24;
}

SP_INLINE void decode_put(sp_out_t *out, uint64_t t, uint32_t x, uint32_t y, uint32_t p)
{
    sp_event_t *event = &out->events[out->made++];
    event->t = t;
    event->x = (uint16_t)x;
    event->y = (uint16_t)y;
    event->p = (uint8_t)p;
    event->reserved[0] = event->reserved[1] = event->reserved[2] = 0;
}

/* An event of a word of its own. */
SP_INLINE void decode_single(sp_decoder_t *d, sp_out_t *out, uint64_t t, uint32_t x, uint32_t y, uint32_t p)
{
    if (SP_RARELY(x >= d->config.width || y >= d->config.height)) {
        d->stats.outside++;
        return;
    }
    decode_put(out, t, x, y, p ^ d->config.invert_polarity);
}

/* Events of d->mask, as many as have room, at d->vector_time. */
SP_INLINE void decode_drain(sp_decoder_t *d, sp_out_t *out)
{
    const uint64_t t = d->vector_time;
    const uint32_t x = d->vector_x, y = d->vector_y, p = d->vector_p;
    uint32_t mask = d->mask;

    while (mask && out->made < out->capacity) {
        decode_put(out, t, x + decode_lowest_bit(mask), y, p);
        mask &= mask - 1u;
    }
    d->mask = mask;
}

/* The mask of a vector word whose lowest bit is column x. */
SP_INLINE void decode_vector(sp_decoder_t *d, sp_out_t *out, uint64_t t, uint32_t mask, uint32_t x, uint32_t y,
                             uint32_t p)
{
    d->stats.vectors++;
    if (SP_RARELY(x + 32u > d->config.width || y >= d->config.height)) {
        const uint32_t room = x < d->config.width ? d->config.width - x : 0u;
        const uint32_t inside = room >= 32u ? mask : mask & ((1u << room) - 1u);
        d->stats.vector_events += decode_count_bits(mask);
        if (y >= d->config.height) {
            d->stats.outside += decode_count_bits(mask);
            return;
        }
        d->stats.clipped += decode_count_bits(mask & ~inside);
        mask = inside;
    } else {
        d->stats.vector_events += decode_count_bits(mask);
    }
    d->mask = mask;
    d->vector_time = t;
    d->vector_x = x;
    d->vector_y = (uint16_t)y;
    d->vector_p = (uint8_t)(p ^ d->config.invert_polarity);
    decode_drain(d, out);
}

/* Hand all words of `size` bytes to `take`. Constants, so that a loop of its own comes out for each format. The state
 * is copied so that the compiler knows that writing events does not change it. */
SP_INLINE int decode_words(sp_decoder_t *decoder, const uint8_t *in, size_t n, size_t *used, sp_event_t *events,
                           size_t capacity, size_t *got, size_t size, sp_take_word *take)
{
    sp_decoder_t state = *decoder, *const d = &state;
    sp_out_t out = {events, capacity, 0};
    size_t at = 0, words = 0;

    decode_drain(d, &out);
    if (!d->mask && d->partial_bytes && n >= size - d->partial_bytes && out.made < capacity) {
        at = size - d->partial_bytes;
        const uint64_t word = d->partial | decode_load(in, at) << (8u * d->partial_bytes);
        d->partial = 0;
        d->partial_bytes = 0;
        words++;
        take(d, word, &out);
    }
    if (!d->partial_bytes) {
        while (n - at >= size && out.made < capacity && !d->mask) {
            const uint64_t word = decode_load(in + at, size);
            at += size;
            words++;
            take(d, word, &out);
        }
    }
    d->stats.words += words;
    d->stats.events += out.made;
    *got = out.made;
    const int full = d->mask || (d->partial_bytes ? n >= size - d->partial_bytes : n - at >= size);
    if (!full) {
        for (; at < n; at++)
            d->partial |= (uint64_t)in[at] << (8u * d->partial_bytes++);
    }
    *used = at;
    *decoder = state;
    return full ? SP_MORE : SP_OK;
}

#endif
