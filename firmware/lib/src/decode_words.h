/* What the decoders share: whole words out of input that is cut anywhere, and events out of masks. */
#ifndef SP_DECODE_WORDS_H_INCLUDED
#define SP_DECODE_WORDS_H_INCLUDED

#include "inline.h"
#include "spedge/decode.h"

#include <string.h>

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

/* Output of one call, and what it counts: in the machine's own words, added to d->stats at its end. */
typedef struct sp_out {
    sp_event_t *at, *end;
    size_t vectors, vector_events, times, addresses;
} sp_out_t;

/* Takes one word; at least one event has room. What does not fit waits in d->mask. */
typedef void sp_take_word(sp_decoder_t *d, uint64_t word, sp_out_t *out);

/* bytes: 1 to 8, little-endian; a constant, so that it becomes one or two loads. */
SP_INLINE uint64_t decode_load(const uint8_t *in, size_t bytes)
{
    uint32_t low = in[0], high = 0;
    for (size_t i = 1; i < bytes && i < 4; i++)
        low |= (uint32_t)in[i] << (8u * i);
    for (size_t i = 4; i < bytes; i++)
        high |= (uint32_t)in[i] << (8u * (i - 4u));
    return (uint64_t)high << 32 | low;
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
    sp_event_t *event = out->at++;
    event->t = t;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint32_t place = x | y << 16; /* two stores for six fields */
    memcpy((uint8_t *)event + offsetof(sp_event_t, x), &place, sizeof place);
    memcpy((uint8_t *)event + offsetof(sp_event_t, p), &p, sizeof p);
#else
    event->x = (uint16_t)x;
    event->y = (uint16_t)y;
    event->p = (uint8_t)p;
    event->reserved[0] = event->reserved[1] = event->reserved[2] = 0;
#endif
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

/* Events of a mask, as many as have room; returns what is left of it. */
SP_INLINE uint32_t decode_drain(sp_out_t *out, uint64_t t, uint32_t mask, uint32_t x, uint32_t y, uint32_t p)
{
    while (mask && out->at != out->end) {
        decode_put(out, t, x + decode_lowest_bit(mask), y, p);
        mask &= mask - 1u;
    }
    return mask;
}

/* Bits of a mask that are off the sensor are counted and left out. */
SP_INLINE uint32_t decode_clip(sp_decoder_t *d, sp_out_t *out, uint32_t mask, uint32_t x, uint32_t y)
{
    const uint32_t room = x < d->config.width ? d->config.width - x : 0u;
    const uint32_t inside = room >= 32u ? mask : mask & ((1u << room) - 1u);

    if (y >= d->config.height) {
        out->vector_events += decode_count_bits(mask);
        d->stats.outside += decode_count_bits(mask);
        return 0;
    }
    out->vector_events += decode_count_bits(mask & ~inside);
    d->stats.clipped += decode_count_bits(mask & ~inside);
    return inside;
}

/* The mask of a vector word whose lowest bit is column x. */
SP_INLINE void decode_vector(sp_decoder_t *d, sp_out_t *out, uint64_t t, uint32_t mask, uint32_t x, uint32_t y,
                             uint32_t p)
{
    const sp_event_t *const before = out->at;

    out->vectors++;
    if (SP_RARELY(x + 32u > d->config.width || y >= d->config.height))
        mask = decode_clip(d, out, mask, x, y);
    p ^= d->config.invert_polarity;
    mask = decode_drain(out, t, mask, x, y, p);
    out->vector_events += (size_t)(out->at - before);
    if (SP_RARELY(mask)) {
        out->vector_events += decode_count_bits(mask);
        d->mask = mask;
        d->vector_time = t;
        d->vector_x = x;
        d->vector_y = (uint16_t)y;
        d->vector_p = (uint8_t)p;
    }
}

/* Hand all words of `size` bytes to `take`, which makes at most `most` events of one. Constants, so that a loop of its own
 * comes out for each format. The state is copied so that the compiler knows that writing events does not change it. */
SP_INLINE int decode_words(sp_decoder_t *decoder, const uint8_t *in, size_t n, size_t *used, sp_event_t *events,
                           size_t capacity, size_t *got, size_t size, size_t most, sp_take_word *take)
{
    sp_decoder_t state = *decoder, *const d = &state;
    sp_out_t out = {.at = events, .end = events + capacity};
    size_t at = 0, words = 0;

    d->mask = decode_drain(&out, d->vector_time, d->mask, d->vector_x, d->vector_y, d->vector_p);
    if (!d->mask && d->partial_bytes && n >= size - d->partial_bytes && capacity > 0 && out.at != out.end) {
        at = size - d->partial_bytes;
        uint64_t word = d->partial;
        for (size_t i = 0; i < at; i++)
            word |= (uint64_t)in[i] << (8u * (d->partial_bytes + i));
        d->partial = 0;
        d->partial_bytes = 0;
        words++;
        take(d, word, &out);
    }
    while (!d->partial_bytes && !d->mask && n - at >= size && out.at != out.end) {
        const size_t room = (size_t)(out.end - out.at) / most, left = (n - at) / size;
        const size_t sure = room < left ? room : left; /* their events fit, so that no word need ask */
        const size_t turns = sure > 0 ? sure : 1u;
        const uint8_t *const stop = in + at + turns * size;
        for (const uint8_t *word = in + at; word != stop; word += size)
            take(d, decode_load(word, size), &out);
        words += turns;
        at += turns * size;
    }
    d->stats.words += words;
    d->stats.events += (size_t)(out.at - events);
    d->stats.vectors += out.vectors;
    d->stats.vector_events += out.vector_events;
    d->stats.times += out.times;
    d->stats.addresses += out.addresses;
    *got = (size_t)(out.at - events);
    const int full = d->mask || (d->partial_bytes ? n >= size - d->partial_bytes : n - at >= size);
    if (!full)
        for (; at < n; at++)
            d->partial |= (uint64_t)in[at] << (8u * d->partial_bytes++);
    *used = at;
    *decoder = state;
    return full ? SP_MORE : SP_OK;
}

#endif
