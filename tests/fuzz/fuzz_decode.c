/* Fuzzer of one decoder: compile with -DFORMAT=SP_FORMAT_....
 *
 * Input: four bytes that choose the sensor, how the stream is cut and the room for events; then the stream. Whatever it
 * is, cutting it anywhere changes nothing, events are inside the sensor, and every word is accounted for. */
#include "fuzz.h"
#include "spedge/decode.h"

#include <stdlib.h>
#include <string.h>

#define MOST_EVENTS_A_BYTE 6u /* of EVT3: 12 in a word of 2 bytes */

typedef struct run {
    sp_decoder_t decoder;
    sp_event_t *events;
    size_t count;
} run_t;

static const uint16_t sides[] = {0, 1, 7, 32, 128, 720, 1280, 65535};

static run_t decode(const sp_decoder_config_t *config, const uint8_t *in, size_t n, size_t piece, size_t room)
{
    run_t r = {.events = malloc((MOST_EVENTS_A_BYTE * n + 64) * sizeof(sp_event_t))};
    sp_event_t *out = malloc(room * sizeof *out); /* of exactly the size that may be written */
    FUZZ_REQUIRE(sp_decoder_init(&r.decoder, config) == SP_OK);
    for (size_t start = 0; start < n; start += piece) {
        const size_t length = n - start < piece ? n - start : piece;
        uint8_t *copy = malloc(length); /* of exactly the size that may be read */
        memcpy(copy, in + start, length);
        size_t at = 0, used, got;
        int rc;
        do {
            rc = sp_decoder_decode(&r.decoder, copy + at, length - at, &used, out, room, &got);
            FUZZ_REQUIRE(rc == SP_OK || rc == SP_MORE);
            FUZZ_REQUIRE(used <= length - at && got <= room);
            FUZZ_REQUIRE(rc == SP_OK || used + got > 0);
            memcpy(r.events + r.count, out, got * sizeof *out);
            at += used;
            r.count += got;
            FUZZ_REQUIRE(r.count <= MOST_EVENTS_A_BYTE * n + 64);
        } while (rc == SP_MORE);
        FUZZ_REQUIRE(at == length);
        free(copy);
    }
    free(out);
    return r;
}

static void check(const run_t *r, size_t n)
{
    const sp_decode_stats_t *s = &r->decoder.stats;
    const sp_decoder_config_t *c = &r->decoder.config;
    const uint64_t single = s->events + s->outside + s->clipped - s->vector_events;
    FUZZ_REQUIRE(s->events == r->count);
    FUZZ_REQUIRE(s->words ==
                 single + s->vectors + s->addresses + s->times + s->triggers + s->other + s->unknown + s->untimed);
    FUZZ_REQUIRE(s->words + s->skipped <= n);
    for (size_t i = 0; i < r->count; i++)
        FUZZ_REQUIRE(r->events[i].x < c->width && r->events[i].y < c->height && r->events[i].p <= 1);
}

/* The decoder of the device's link is a code of its own. */
static void check_evt2(const run_t *r, const uint8_t *in, size_t n)
{
    sp_event_t *out = malloc((n / 4 + 1) * sizeof *out);
    sp_evt2_t d;
    size_t used, got, inside = 0;
    sp_evt2_init(&d);
    FUZZ_REQUIRE(sp_evt2_decode(&d, in, n, &used, out, n / 4 + 1, &got) == SP_OK);
    for (size_t i = 0; i < got; i++) {
        if (out[i].x < r->decoder.config.width && out[i].y < r->decoder.config.height) {
            FUZZ_REQUIRE(inside < r->count && r->events[inside].t == out[i].t && r->events[inside].x == out[i].x);
            inside++;
        }
    }
    FUZZ_REQUIRE(inside == r->count);
    FUZZ_REQUIRE(d.stats.unknown == r->decoder.stats.unknown && d.stats.words == r->decoder.stats.words);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    const sp_decoder_config_t config = {.format = FORMAT,
                                        .width = sides[data[0] % 8],
                                        .height = sides[data[1] % 8],
                                        .invert_polarity = 0};
    const uint8_t *in = data + 4;
    const size_t n = size - 4;
    run_t whole = decode(&config, in, n, n + 1, 4096), cut = decode(&config, in, n, 1u + data[2], 1u + data[3] % 40u);
    check(&whole, n);
    FUZZ_REQUIRE(whole.count == cut.count);
    FUZZ_REQUIRE(whole.count == 0 || memcmp(whole.events, cut.events, whole.count * sizeof *whole.events) == 0);
    FUZZ_REQUIRE(memcmp(&whole.decoder.stats, &cut.decoder.stats, sizeof whole.decoder.stats) == 0);
    FUZZ_REQUIRE(whole.decoder.partial == cut.decoder.partial);
    if (FORMAT == SP_FORMAT_EVT2)
        check_evt2(&whole, in, n);
    free(whole.events);
    free(cut.events);
    return 0;
}
