#include "decode_words.h"

/* In d->partial wait the bytes of the event so far, the first one lowest. */
#define MOST_DELTA_BYTES 4u

/* Bytes of time after the two of the address; those of E1 end by themselves. */
static const uint8_t time_bytes[] = {0, MOST_DELTA_BYTES, 2, 3, 4};

SP_INLINE uint32_t byte_of(const sp_decoder_t *d, uint32_t i) { return (uint32_t)(d->partial >> 8 * i) & 0xFFu; }

/* Time since the event before: 7 bits a byte, the upper ones first. */
SP_INLINE uint64_t delta(const sp_decoder_t *d)
{
    uint64_t value = 0;
    for (uint32_t i = 2; i < d->partial_bytes; i++)
        value = value << 7 | (byte_of(d, i) & 0x7Fu);
    return value;
}

/* A clock of a few bytes that starts again from 0. */
SP_INLINE uint64_t unwrapped(const sp_decoder_t *d)
{
    uint64_t low = 0, now;
    for (uint32_t i = 2; i < d->partial_bytes; i++)
        low = low << 8 | byte_of(d, i);
    const uint64_t range = UINT64_C(1) << 8 * (d->partial_bytes - 2u);
    now = (d->time & ~(range - 1u)) | low;
    return d->known && now < d->time ? now + range : now;
}

SP_INLINE void take_event(sp_decoder_t *d, sp_out_t *out)
{
    const uint32_t format = d->config.format;

    if (format == SP_FORMAT_EDVS_E1)
        d->time += delta(d);
    else if (format != SP_FORMAT_EDVS_E0)
        d->time = unwrapped(d);
    d->known = KNOWN_TIME;
    d->stats.words++;
    decode_single(d, out, d->time, byte_of(d, 1) & 0x7Fu, byte_of(d, 0) & 0x7Fu, byte_of(d, 1) >> 7);
    d->partial = 0;
    d->partial_bytes = 0;
}

/* One byte that starts an event, goes on with it or ends it. */
static void take_byte(sp_decoder_t *d, uint8_t byte, uint32_t whole, sp_out_t *out)
{
    const int variable = d->config.format == SP_FORMAT_EDVS_E1;

    if (d->partial_bytes == 0 && !(byte & 0x80u)) {
        d->stats.skipped++;
        return;
    }
    d->partial |= (uint64_t)byte << (8u * d->partial_bytes++);
    if (variable ? d->partial_bytes > 2u && (byte & 0x80u) : d->partial_bytes == whole) {
        take_event(d, out);
    } else if (d->partial_bytes == whole) { /* a time that does not end is none */
        d->stats.skipped += whole;
        d->partial = 0;
        d->partial_bytes = 0;
    }
}

int sp_decode_edvs(sp_decoder_t *decoder, const uint8_t *in, size_t n, size_t *used, sp_event_t *events,
                   size_t capacity, size_t *got)
{
    const uint32_t whole = 2u + time_bytes[decoder->config.format - SP_FORMAT_EDVS_E0];
    const int fixed = decoder->config.format != SP_FORMAT_EDVS_E1;
    sp_decoder_t state = *decoder, *const d = &state;
    sp_out_t out = {events, capacity, 0};
    size_t at = 0;

    while (at < n && out.made < capacity) {
        if (fixed && d->partial_bytes == 0 && n - at >= whole && (in[at] & 0x80u)) {
            d->partial = decode_load(in + at, whole);
            d->partial_bytes = (uint8_t)whole;
            at += whole;
            take_event(d, &out);
        } else {
            take_byte(d, in[at++], whole, &out);
        }
    }
    d->stats.events += out.made;
    *used = at;
    *got = out.made;
    *decoder = state;
    return at < n ? SP_MORE : SP_OK;
}
