#include "decode_words.h"

/* In d->partial wait the bytes of the event so far, the first one lowest. */
#define MOST_DELTA_BYTES 4u

/* Bytes of time after the two of the address; those of E1 end by themselves. */
static const uint8_t time_bytes[] = {0, MOST_DELTA_BYTES, 2, 3, 4};

SP_INLINE uint32_t byte_of(const sp_decoder_t *d, uint32_t i) { return (uint32_t)(d->partial >> 8 * i) & 0xFFu; }

/* Time since the event before: 7 bits a byte, the upper ones first. */
static uint64_t delta(const sp_decoder_t *d)
{
    uint64_t value = 0;
    for (uint32_t i = 2; i < d->partial_bytes; i++)
        value = value << 7 | (byte_of(d, i) & 0x7Fu);
    return value;
}

/* A clock of a few bytes that starts again from 0. */
static uint64_t unwrapped(const sp_decoder_t *d)
{
    uint64_t low = 0, now;
    for (uint32_t i = 2; i < d->partial_bytes; i++)
        low = low << 8 | byte_of(d, i);
    const uint64_t range = UINT64_C(1) << 8 * (d->partial_bytes - 2u);
    now = (d->time & ~(range - 1u)) | low;
    return d->known && now < d->time ? now + range : now;
}

static void take_event(sp_decoder_t *d, sp_out_t *out)
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

int sp_decode_edvs(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *events, size_t capacity,
                   size_t *got)
{
    const uint32_t whole = 2u + time_bytes[d->config.format - SP_FORMAT_EDVS_E0];
    const int variable = d->config.format == SP_FORMAT_EDVS_E1;
    sp_out_t out = {events, capacity, 0};
    size_t at = 0;

    for (; at < n && out.made < capacity; at++) {
        const uint8_t byte = in[at];
        if (d->partial_bytes == 0 && !(byte & 0x80u)) {
            d->stats.skipped++;
            continue;
        }
        d->partial |= (uint64_t)byte << (8u * d->partial_bytes++);
        const int ended = variable ? d->partial_bytes > 2u && (byte & 0x80u) : d->partial_bytes == whole;
        if (ended) {
            take_event(d, &out);
        } else if (d->partial_bytes == whole) { /* a time that does not end is none */
            d->stats.skipped += whole;
            d->partial = 0;
            d->partial_bytes = 0;
        }
    }
    d->stats.events += out.made;
    *used = at;
    *got = out.made;
    return at < n ? SP_MORE : SP_OK;
}
