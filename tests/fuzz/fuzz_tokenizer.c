/* Fuzzer of the tokenizers. Input: 8 bytes that choose the settings and the cuts, then EVT2 words. Whatever they are:
 * every event is accounted for, pending events and tokens stay within the pool, and cutting the words anywhere gives the
 * same tokens; so does decoding them first, but for voxels, whose bins time words end. */
#include "fuzz.h"
#include "spedge/frame.h"
#include "spedge/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define HEAD 8u
#define MOST_TOKENS 2000u /* with threshold 0 a jump of the clock would bring any number */

typedef struct run {
    sp_tokenizer_stats_t stats;
    sp_decode_stats_t words;
    uint32_t crc; /* of all tokens and events */
} run_t;

static sp_tokenizer_config_t config_of(const uint8_t *head)
{
    static const uint16_t sides[] = {1, 34, 70, 2048}, patches[] = {1, 5, 8, 16, 17, 100, 512, 2048};
    static const uint32_t pools[] = {1, 16, 100, 2048};
    static const uint64_t durations[] = {1, 64, 5000, UINT64_C(1) << 33};
    const uint8_t kind = head[0] % 3u;
    sp_tokenizer_config_t c = {.kind = kind,
                               .width = sides[head[0] / 4 % 4],
                               .height = sides[head[0] / 16 % 4],
                               .patch_size = patches[head[1] % 8],
                               .pool_events = pools[head[1] / 8 % 4],
                               .threshold = head[2]};
    if (kind != SP_KIND_VOXEL && c.threshold == 0.0)
        c.threshold = 1.0;
    if (kind != SP_KIND_CONTINUOUS)
        c.duration_us = durations[head[3] % 4];
    if (kind != SP_KIND_VOXEL && head[3] & 4)
        c.absolute_refractory_us = 16u << head[4] % 16u;
    if (kind == SP_KIND_CONTINUOUS && head[3] & 8) {
        c.threshold += 0.5;
        c.relative_refractory_us = head[4];
        c.decay_per_us = head[5] / 65536.0;
    }
    return c;
}

static void take(run_t *r, const sp_tokenizer_t *tok)
{
    const sp_token_t *token = sp_tokenizer_token(tok);
    const sp_tokenizer_config_t *c = sp_tokenizer_config(tok);
    sp_token_cursor_t cursor;
    sp_event_t events[7];
    size_t n, total = 0;

    FUZZ_REQUIRE(token && token->n <= c->pool_events);
    r->crc = sp_crc32(r->crc, token, sizeof *token);
    sp_token_cursor_init(&cursor, tok);
    while ((n = sp_token_cursor_read(&cursor, events, 7)) > 0) {
        for (size_t i = 0; i < n; i++) {
            FUZZ_REQUIRE(events[i].x / c->patch_size == token->x && events[i].y / c->patch_size == token->y);
            FUZZ_REQUIRE(events[i].x < c->width && events[i].y < c->height && events[i].p <= 1);
            FUZZ_REQUIRE(c->kind == SP_KIND_VOXEL ? events[i].t - token->t < c->duration_us : events[i].t <= token->t);
        }
        r->crc = sp_crc32(r->crc, events, n * sizeof *events);
        total += n;
    }
    FUZZ_REQUIRE(total == token->n);
}

/* Returns 0 when there are too many tokens. */
static int finish(run_t *r, sp_tokenizer_t *tok)
{
    for (uint32_t i = 0; sp_tokenizer_end(tok) == SP_TOKEN; i++) {
        if (i == MOST_TOKENS)
            return 0;
        take(r, tok);
    }
    const sp_tokenizer_stats_t *s = &r->stats;
    sp_tokenizer_stats(tok, &r->stats);
    FUZZ_REQUIRE(s->taken ==
                 s->in_tokens + s->pending + s->refractory + s->decayed + s->pool_lost + s->outside + s->backwards);
    FUZZ_REQUIRE(s->pool_used <= s->pool_peak && s->pool_peak <= sp_tokenizer_config(tok)->pool_events);
    FUZZ_REQUIRE(s->pending <= s->pool_used);
    return 1;
}

static sp_tokenizer_t *new_tokenizer(const sp_tokenizer_config_t *c, void **memory)
{
    sp_tokenizer_t *tok;
    const size_t size = sp_tokenizer_size(c);
    FUZZ_REQUIRE(size > 0);
    *memory = malloc(size);
    memset(*memory, 0xA5, size);
    FUZZ_REQUIRE(sp_tokenizer_init(&tok, c, *memory, size) == SP_OK);
    return tok;
}

static int words(const sp_tokenizer_config_t *c, const uint8_t *in, size_t n, size_t piece, run_t *r)
{
    void *memory;
    sp_tokenizer_t *tok = new_tokenizer(c, &memory);
    sp_evt2_t d;
    uint32_t tokens = 0;
    int good = 1;

    *r = (run_t){.crc = 0};
    sp_evt2_init(&d);
    for (size_t at = 0, used; good && at < n; at += used) {
        const size_t end = at + piece - at % piece;
        const int rc = sp_tokenizer_push_evt2(tok, &d, in + at, (end < n ? end : n) - at, &used);
        FUZZ_REQUIRE(rc == SP_OK || rc == SP_TOKEN);
        FUZZ_REQUIRE(used <= (end < n ? end : n) - at && (rc == SP_TOKEN || used > 0));
        if (rc == SP_TOKEN)
            take(r, tok);
        good = (tokens += rc == SP_TOKEN) <= MOST_TOKENS;
    }
    good = good && finish(r, tok);
    r->words = d.stats;
    FUZZ_REQUIRE(!good || r->stats.taken == d.stats.events);
    free(memory);
    return good;
}

static void decoded(const sp_tokenizer_config_t *c, const uint8_t *in, size_t n, run_t *r)
{
    void *memory;
    sp_tokenizer_t *tok = new_tokenizer(c, &memory);
    sp_event_t *events = malloc((n / 4 + 1) * sizeof *events);
    sp_evt2_t d;
    size_t used, got;

    *r = (run_t){.crc = 0};
    sp_evt2_init(&d);
    FUZZ_REQUIRE(sp_evt2_decode(&d, in, n, &used, events, n / 4 + 1, &got) == SP_OK);
    for (size_t at = 0; at < got; at += used)
        if (sp_tokenizer_push(tok, events + at, got - at, &used) == SP_TOKEN)
            take(r, tok);
    finish(r, tok);
    r->words = d.stats;
    free(events);
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD)
        return 0;
    const sp_tokenizer_config_t c = config_of(data);
    const uint8_t *in = data + HEAD;
    const size_t n = size - HEAD;
    run_t whole, cut;

    if ((uint32_t)((c.width - 1) / c.patch_size + 1) * (uint32_t)((c.height - 1) / c.patch_size + 1) > 256u)
        return 0; /* slow */
    if (!words(&c, in, n, n + 1, &whole))
        return 0;
    words(&c, in, n, 1u + data[6], &cut);
    FUZZ_REQUIRE(memcmp(&whole, &cut, sizeof whole) == 0);
    if (c.kind != SP_KIND_VOXEL) {
        decoded(&c, in, n, &cut);
        FUZZ_REQUIRE(memcmp(&whole, &cut, sizeof whole) == 0);
    }
    return 0;
}
