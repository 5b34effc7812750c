#include "oracle.h"

#include "harness.h"

#include <string.h>

/* -------------------------------------------------------------- lists of tokens */

static void *grown(void *old, size_t used, size_t bytes)
{
    void *bigger = harness_alloc(bytes);
    if (used)
        memcpy(bigger, old, used);
    return bigger;
}

token_list_t token_list(void)
{
    return (token_list_t){0};
}

void token_list_add(token_list_t *list, sp_token_t token)
{
    if (list->count == list->room) {
        list->room = 2 * list->room + 16;
        list->tokens = grown(list->tokens, list->count * sizeof token, list->room * sizeof token);
    }
    list->tokens[list->count++] = token;
}

void token_list_add_event(token_list_t *list, sp_event_t event)
{
    if (list->event_count == list->event_room) {
        list->event_room = 2 * list->event_room + 16;
        list->events = grown(list->events, list->event_count * sizeof event, list->event_room * sizeof event);
    }
    list->events[list->event_count++] = event;
}

void token_list_check_equal(const token_list_t *got, const token_list_t *expected)
{
    CHECK_EQ(got->count, expected->count);
    for (size_t i = 0; i < got->count; i++) {
        CHECK_EQ(got->tokens[i].x, expected->tokens[i].x);
        CHECK_EQ(got->tokens[i].y, expected->tokens[i].y);
        CHECK_EQ(got->tokens[i].t, expected->tokens[i].t);
        CHECK_EQ(got->tokens[i].n, expected->tokens[i].n);
    }
    CHECK_EQ(got->event_count, expected->event_count);
    for (size_t i = 0; i < got->event_count; i++) {
        CHECK_EQ(got->events[i].t, expected->events[i].t);
        CHECK_EQ(got->events[i].x, expected->events[i].x);
        CHECK_EQ(got->events[i].y, expected->events[i].y);
        CHECK_EQ(got->events[i].p, expected->events[i].p);
    }
}

void token_list_take(token_list_t *list, const sp_tokenizer_t *tok)
{
    const sp_token_t *token = sp_tokenizer_token(tok);
    sp_token_cursor_t cursor;
    sp_event_t events[7];
    size_t n, total = 0;

    CHECK(token != NULL);
    token_list_add(list, *token);
    sp_token_cursor_init(&cursor, tok);
    while ((n = sp_token_cursor_read(&cursor, events, 7)) > 0) {
        for (size_t i = 0; i < n; i++)
            token_list_add_event(list, events[i]);
        total += n;
    }
    CHECK_EQ(total, token->n);
}

/* -------------------------------------------------------------- the definitions */

typedef struct oracle_patch {
    double u;
    int spiked;
    uint64_t last_event, last_spike;
    token_list_t held; /* its events */
} oracle_patch_t;

/* The patch fires with all that it holds; t: of the token. */
static void oracle_fire(const sp_tokenizer_config_t *c, oracle_patch_t *patch, sp_event_t e, token_list_t *out)
{
    token_list_add(out, (sp_token_t){.t = e.t,
                                     .x = (uint16_t)(e.x / c->patch_size),
                                     .y = (uint16_t)(e.y / c->patch_size),
                                     .n = (uint32_t)patch->held.event_count});
    for (size_t i = 0; i < patch->held.event_count; i++)
        token_list_add_event(out, patch->held.events[i]);
    patch->held.event_count = 0;
    patch->u = 0.0;
    patch->spiked = 1;
    patch->last_spike = e.t;
}

static void continuous_event(const sp_tokenizer_config_t *c, oracle_patch_t *patch, sp_event_t e, token_list_t *out)
{
    const uint64_t since = e.t - patch->last_spike;
    double increase = 1.0, decayed = 0.0;

    if (patch->spiked && since < c->absolute_refractory_us)
        return;
    if (patch->spiked && since < c->absolute_refractory_us + c->relative_refractory_us)
        increase = c->relative_scale;
    if (patch->held.event_count > 0)
        decayed = c->decay_per_us * (double)(e.t - patch->last_event);
    patch->u += increase - decayed;
    patch->last_event = e.t;
    if (patch->u <= 0.0) {
        patch->u = 0.0;
        patch->held.event_count = 0;
    }
    token_list_add_event(&patch->held, e);
    if (patch->u >= c->threshold)
        oracle_fire(c, patch, e, out);
}

static void discrete_event(const sp_tokenizer_config_t *c, oracle_patch_t *patch, sp_event_t e, token_list_t *out)
{
    token_list_t *held = &patch->held;
    const size_t threshold = (size_t)c->threshold;
    size_t kept = 0;

    if (patch->spiked && e.t - patch->last_spike < c->absolute_refractory_us)
        return;
    token_list_add_event(held, e);
    if (held->event_count != threshold)
        return;
    for (size_t i = 0; i < threshold; i++)
        if (e.t - held->events[i].t <= c->duration_us)
            held->events[kept++] = held->events[i];
    held->event_count = kept;
    if (kept == threshold)
        oracle_fire(c, patch, e, out);
}

/* All events of one chunk. Bins without events are looked at only where the threshold is 0. */
static void voxels(const sp_tokenizer_config_t *c, size_t columns, size_t rows, const sp_event_t *events, size_t n,
                   token_list_t *out)
{
    const uint64_t d = c->duration_us;
    const uint64_t last = n ? events[n - 1].t / d + (events[n - 1].t % d > 0) : 0;
    size_t from = 0;

    for (uint64_t bin = n ? events[0].t / d : 1; bin <= last; bin++) {
        size_t to = from;
        while (to < n && events[to].t / d == bin)
            to++;
        for (size_t patch = 0; patch < columns * rows; patch++) {
            oracle_patch_t voxel = {0};
            for (size_t i = from; i < to; i++)
                if (events[i].y / c->patch_size * columns + events[i].x / c->patch_size == patch)
                    token_list_add_event(&voxel.held, events[i]);
            if ((double)voxel.held.event_count >= c->threshold)
                oracle_fire(c, &voxel,
                            (sp_event_t){.t = bin * d,
                                         .x = (uint16_t)(patch % columns * c->patch_size),
                                         .y = (uint16_t)(patch / columns * c->patch_size)},
                            out);
        }
        from = to;
        if (c->threshold > 0.0)
            bin = from < n ? events[from].t / d - 1u : last;
    }
}

token_list_t oracle(const sp_tokenizer_config_t *config, const sp_event_t *events, size_t n)
{
    sp_tokenizer_config_t c;
    CHECK_EQ(sp_tokenizer_config_check(config, &c), SP_OK);
    const size_t columns = (c.width + c.patch_size - 1u) / c.patch_size;
    const size_t rows = (c.height + c.patch_size - 1u) / c.patch_size;
    oracle_patch_t *patches = harness_alloc(columns * rows * sizeof *patches);
    token_list_t out = token_list();

    if (c.kind == SP_KIND_VOXEL) {
        voxels(&c, columns, rows, events, n, &out);
        return out;
    }
    memset(patches, 0, columns * rows * sizeof *patches);
    for (size_t i = 0; i < n; i++) {
        const size_t patch = events[i].y / c.patch_size * columns + events[i].x / c.patch_size;
        (c.kind == SP_KIND_DISCRETE ? discrete_event : continuous_event)(&c, &patches[patch], events[i], &out);
    }
    return out;
}

/* -------------------------------------------------------------- driving the library */

sp_tokenizer_t *new_tokenizer(const sp_tokenizer_config_t *config)
{
    const size_t size = sp_tokenizer_size(config);
    sp_tokenizer_t *tok = NULL;

    CHECK(size > 0);
    CHECK_EQ(sp_tokenizer_init(&tok, config, harness_alloc(size), size), SP_OK);
    return tok;
}

static void grow(sp_tokenizer_t **tok)
{
    sp_tokenizer_config_t bigger = *sp_tokenizer_config(*tok);
    bigger.pool_events += 16;
    const size_t size = sp_tokenizer_size(&bigger);
    CHECK_EQ(sp_tokenizer_grow(tok, bigger.pool_events, harness_alloc(size), size), SP_OK);
}

token_list_t push_in_pieces(sp_tokenizer_t **tok, const sp_event_t *events, size_t n, size_t piece)
{
    token_list_t out = token_list();

    for (size_t start = 0; start < n; start += piece) {
        const size_t count = n - start < piece ? n - start : piece;
        for (size_t at = 0, used; at < count; at += used) {
            const int rc = sp_tokenizer_push(*tok, events + start + at, count - at, &used);
            CHECK(rc == SP_OK || rc == SP_TOKEN || rc == SP_ERR_POOL);
            CHECK(used <= count - at);
            if (rc == SP_TOKEN)
                token_list_take(&out, *tok);
            else if (rc == SP_ERR_POOL)
                grow(tok);
            else
                CHECK_EQ(used, count - at);
        }
    }
    return out;
}

void end_stream(token_list_t *list, sp_tokenizer_t *tok)
{
    while (sp_tokenizer_end(tok) == SP_TOKEN)
        token_list_take(list, tok);
    CHECK(sp_tokenizer_token(tok) == NULL);
}

void check_against_oracle(sp_tokenizer_config_t c, const sp_event_t *events, size_t n)
{
    static const size_t pieces[] = {1, 7, 1000, 100000};
    const token_list_t expected = oracle(&c, events, n);

    CHECK(expected.count > 0);
    for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
        sp_tokenizer_t *tok = new_tokenizer(&c);
        token_list_t got = push_in_pieces(&tok, events, n, pieces[k]);
        end_stream(&got, tok);
        token_list_check_equal(&got, &expected);
        check_accounts(tok, n);
    }
}

void check_accounts(const sp_tokenizer_t *tok, uint64_t taken)
{
    sp_tokenizer_stats_t s;
    sp_tokenizer_stats(tok, &s);
    CHECK_EQ(s.taken, taken);
    CHECK_EQ(s.taken, s.in_tokens + s.pending + s.refractory + s.decayed + s.pool_lost + s.outside + s.backwards);
    CHECK(s.pool_used <= s.pool_peak);
    CHECK(s.pool_peak <= sp_tokenizer_config(tok)->pool_events);
}

sp_event_t *random_events(uint32_t seed, size_t n, uint16_t width, uint16_t height, uint32_t jump)
{
    sp_event_t *events = harness_alloc((n + 1) * sizeof *events);
    uint32_t state = seed * 2654435761u + 1u;
    uint64_t t = harness_random(&state, 100);
    uint32_t x = 0, y = 0;

    for (size_t i = 0; i < n; i++) {
        if (i == 0 || harness_random(&state, 10) == 0) { /* a new place of activity */
            x = harness_random(&state, width);
            y = harness_random(&state, height);
        }
        t += harness_random(&state, 4) ? harness_random(&state, 5) : harness_random(&state, 300);
        if (jump && harness_random(&state, 200) == 0)
            t += harness_random(&state, jump);
        events[i] = (sp_event_t){.t = t,
                                 .x = (uint16_t)((x + harness_random(&state, 6)) % width),
                                 .y = (uint16_t)((y + harness_random(&state, 6)) % height),
                                 .p = (uint8_t)harness_random(&state, 2)};
    }
    return events;
}
