#include "decode_words.h"

/* In d->partial wait the bytes of the event so far, the first one lowest. */
#define MOST_DELTA_BYTES 4u

/* Bytes of time after the two of the address; those of E1 end by themselves. */
SP_INLINE uint32_t time_bytes(uint32_t format)
{
    return format == SP_FORMAT_EDVS_E0   ? 0
           : format == SP_FORMAT_EDVS_E1 ? MOST_DELTA_BYTES
                                         : format - SP_FORMAT_EDVS_E0;
}

/* The bytes of time after the address, the first one lowest. */
SP_INLINE uint32_t time_of(uint64_t bytes)
{
    return (uint32_t)(bytes >> 16);
}

/* Time since the event before: 7 bits a byte, the upper ones first. */
SP_INLINE uint32_t delta(uint64_t bytes, uint32_t count)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < count; i++)
        value = value << 7 | (time_of(bytes) >> 8 * i & 0x7Fu);
    return value;
}

/* A clock of `count` bytes, 2 to 4, that starts again from 0. */
SP_INLINE uint64_t unwrapped(const sp_decoder_t *d, uint64_t bytes, uint32_t count)
{
    const uint32_t forward = time_of(bytes);
    const uint32_t swapped = forward << 24 | (forward << 8 & 0xFF0000u) | (forward >> 8 & 0xFF00u) | forward >> 24;
    const uint64_t range = UINT64_C(1) << 8 * count;
    const uint64_t now = (d->time & ~(range - 1u)) | swapped >> (32u - 8u * count);
    return d->known && now < d->time ? now + range : now;
}

/* bytes: of a whole event, `size` of them. */
SP_INLINE void take_event(sp_decoder_t *d, uint64_t bytes, uint32_t size, uint32_t format, sp_out_t *out)
{
    if (format == SP_FORMAT_EDVS_E1)
        d->time += delta(bytes, size - 2u);
    else if (format != SP_FORMAT_EDVS_E0)
        d->time = unwrapped(d, bytes, time_bytes(format));
    d->known = KNOWN_TIME;
    decode_single(d, out, d->time, (uint32_t)bytes >> 8 & 0x7Fu, (uint32_t)bytes & 0x7Fu, (uint32_t)bytes >> 15 & 1u);
}

/* One byte that starts an event, goes on with it or ends it. */
SP_RARE_CALL static void take_byte(sp_decoder_t *d, uint8_t byte, sp_out_t *out)
{
    const uint32_t format = d->config.format, whole = 2u + time_bytes(format);

    if (d->partial_bytes == 0 && !(byte & 0x80u)) {
        d->stats.skipped++;
        return;
    }
    d->partial |= (uint64_t)byte << (8u * d->partial_bytes++);
    const int ends = format == SP_FORMAT_EDVS_E1 ? d->partial_bytes > 2u && (byte & 0x80u) : d->partial_bytes == whole;
    if (!ends && d->partial_bytes < whole)
        return;
    if (ends) {
        d->stats.words++;
        take_event(d, d->partial, d->partial_bytes, format, out);
    } else { /* a time that does not end is none */
        d->stats.skipped += whole;
    }
    d->partial = 0;
    d->partial_bytes = 0;
}

/* Bytes of the event that begins at `in`, of which `whole` can be read. 0: it wants a closer look. */
SP_INLINE uint32_t size_of(const uint8_t *in, uint32_t whole, uint32_t format)
{
    uint32_t size = format == SP_FORMAT_EDVS_E1 ? 3u : whole;

    if (!(in[0] & 0x80u))
        return 0;
    while (format == SP_FORMAT_EDVS_E1 && size <= whole && !(in[size - 1u] & 0x80u))
        size++;
    return size <= whole ? size : 0;
}

SP_INLINE int decode(sp_decoder_t *decoder, const uint8_t *in, size_t n, size_t *used, sp_event_t *events,
                     size_t capacity, size_t *got, uint32_t format)
{
    const uint32_t whole = 2u + time_bytes(format);
    sp_decoder_t state = *decoder, *const d = &state;
    sp_out_t out = {.at = events, .end = events + capacity};
    size_t at = 0, words = 0;

    while (at < n && out.at != out.end) {
        const uint32_t size = d->partial_bytes == 0 && n - at >= whole ? size_of(in + at, whole, format) : 0;
        if (size > 0) {
            take_event(d, decode_load(in + at, whole), size, format, &out);
            words++;
            at += size;
        } else {
            take_byte(d, in[at++], &out);
        }
    }
    d->stats.words += words;
    d->stats.events += (size_t)(out.at - events);
    *used = at;
    *got = (size_t)(out.at - events);
    *decoder = state;
    return at < n ? SP_MORE : SP_OK;
}

int sp_decode_edvs(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *events, size_t capacity,
                   size_t *got)
{
    switch (d->config.format) {
    case SP_FORMAT_EDVS_E0:
        return decode(d, in, n, used, events, capacity, got, SP_FORMAT_EDVS_E0);
    case SP_FORMAT_EDVS_E1:
        return decode(d, in, n, used, events, capacity, got, SP_FORMAT_EDVS_E1);
    case SP_FORMAT_EDVS_E2:
        return decode(d, in, n, used, events, capacity, got, SP_FORMAT_EDVS_E2);
    case SP_FORMAT_EDVS_E3:
        return decode(d, in, n, used, events, capacity, got, SP_FORMAT_EDVS_E3);
    default:
        return decode(d, in, n, used, events, capacity, got, SP_FORMAT_EDVS_E4);
    }
}
