#include "decode_pieces.h"

#include "harness.h"

#include <string.h>

typedef int (*decode_fn)(void *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                         size_t *got);

static int decode(void *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity, size_t *got)
{
    return sp_decoder_decode(d, in, n, used, out, capacity, got);
}

static int decode_evt2(void *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                       size_t *got)
{
    return sp_evt2_decode(d, in, n, used, out, capacity, got);
}

static size_t all(decode_fn decode_some, void *d, const uint8_t *in, size_t n, size_t piece, size_t capacity,
                  sp_event_t *out)
{
    size_t made = 0;
    for (size_t start = 0; start < n; start += piece) {
        const size_t count = n - start < piece ? n - start : piece;
        uint8_t *copy = harness_alloc(count); /* exactly as long as it may be read */
        memcpy(copy, in + start, count);
        size_t at = 0, used, got;
        int rc;
        do {
            rc = decode_some(d, copy + at, count - at, &used, out + made, capacity, &got);
            CHECK(rc == SP_OK || rc == SP_MORE);
            CHECK(used <= count - at && got <= capacity);
            at += used;
            made += got;
        } while (rc == SP_MORE);
        CHECK_EQ(at, count);
    }
    return made;
}

size_t decode_all(sp_decoder_t *d, const uint8_t *in, size_t n, size_t piece, size_t capacity, sp_event_t *out)
{
    return all(decode, d, in, n, piece, capacity, out);
}

size_t decode_all_evt2(sp_evt2_t *d, const uint8_t *in, size_t n, size_t piece, size_t capacity, sp_event_t *out)
{
    return all(decode_evt2, d, in, n, piece, capacity, out);
}

void check_words_add_up(const sp_decode_stats_t *s)
{
    const uint64_t single = s->events + s->outside + s->clipped - s->vector_events;
    CHECK_EQ(s->words,
             single + s->vectors + s->addresses + s->times + s->triggers + s->other + s->unknown + s->untimed);
}
