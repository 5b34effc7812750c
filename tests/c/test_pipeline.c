#include "harness.h"
#include "oracle.h"
#include "pipeline_pieces.h"
#include "spedge/pipeline.h"

#include <string.h>

#define EVENTS 4000u
#define KEPT_COLUMNS (4096u / sizeof(float) / (HIDDEN / 3u)) /* as many positions are in 4 KB */

static void collect(void *context, const sp_tokenizer_t *tok, const sp_token_t *token)
{
    CHECK(token == sp_tokenizer_token(tok));
    token_list_take(context, tok);
}

/* The window made of the parts, from a list of tokens. */
static uint32_t window_of(const sp_pipeline_config_t *c, const token_list_t *list, float *out)
{
    sp_embed_config_t embed = c->embed;
    embed.patch_size = P;
    const size_t scratch_size = sp_embed_scratch_size(&embed);
    uint8_t *scratch = harness_alloc(scratch_size);
    const size_t first = list->count > WINDOW ? list->count - WINDOW : 0;
    uint16_t xy, ts;
    uint64_t xy_steps[HIDDEN], t_steps[HIDDEN];
    size_t event = 0;

    memset(scratch, 0, scratch_size);
    memset(out, 0, WINDOW * HIDDEN * sizeof *out);
    sp_embed_position_sizes(HIDDEN, &xy, &ts);
    sp_embed_position_steps(xy, 1.0f, xy_steps);
    sp_embed_position_steps(ts, 10000.0f, t_steps);
    for (size_t i = 0; i < list->count; i++) {
        const sp_token_t *token = &list->tokens[i];
        if (i >= first) {
            float *row = out + (i - first) * HIDDEN;
            CHECK_EQ(sp_embed_events(&embed, list->events + event, token->n, scratch, scratch_size, row), SP_OK);
            sp_embed_position_add(row, xy, xy_steps, token->x);
            sp_embed_position_add(row + xy, xy, xy_steps, token->y);
            sp_embed_position_add(row + 2 * xy, ts, t_steps, token->t - list->tokens[first].t);
        }
        event += token->n;
    }
    return (uint32_t)(list->count - first);
}

TEST(pipeline_window_equals_its_parts_at_every_length)
{
    const sp_pipeline_config_t c = pieces_config();
    const sp_event_t *events = random_events(1, EVENTS, 34, 34, 1u << 20);
    const uint8_t *bytes = pieces_encode(events, EVENTS);
    const token_list_t expected = oracle(&c.tokenizer, events, EVENTS);
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    token_list_t tokens = token_list();
    float got[WINDOW * HIDDEN], parts[WINDOW * HIDDEN];
    size_t at = 0, used;
    int rc;

    CHECK(expected.count > 3 * WINDOW);
    sp_pipeline_set_observer(pipe, collect, &tokens);
    CHECK_EQ(sp_pipeline_window(pipe, 0, got), 0);
    do {
        rc = sp_pipeline_feed(pipe, bytes + at, 8 * EVENTS - at, &used, 1, SP_NO_TIME);
        at += used;
        memset(got, 0xFF, sizeof got);
        CHECK_EQ(sp_pipeline_window(pipe, 0, got), window_of(&c, &tokens, parts));
        CHECK(memcmp(got, parts, sizeof got) == 0);
    } while (rc == SP_TOKEN);
    CHECK_EQ(rc, SP_OK);
    CHECK_EQ(at, 8 * EVENTS);
    token_list_check_equal(&tokens, &expected);
}

/* Rows without positions, and these beside them, of the same tokens; none that is older than asked for. */
TEST(pipeline_points_are_those_of_the_window)
{
    sp_pipeline_config_t c = pieces_config();
    const sp_event_t *events = random_events(4, EVENTS, 34, 34, 1u << 20);
    const uint8_t *bytes = pieces_encode(events, EVENTS);
    token_list_t tokens = token_list();
    float rows[WINDOW * HIDDEN], expected[HIDDEN];
    double points[WINDOW][3];
    size_t used;

    c.points = 1;
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    sp_pipeline_set_observer(pipe, collect, &tokens);
    CHECK_EQ(sp_pipeline_points(pipe, 0, points), 0);
    CHECK_EQ(sp_pipeline_feed(pipe, bytes, 8 * EVENTS, &used, 0, SP_NO_TIME), SP_OK);
    sp_embed_config_t embed = c.embed;
    embed.patch_size = P;
    const size_t size = sp_embed_scratch_size(&embed);
    uint8_t *scratch = memset(harness_alloc(size), 0, size);
    const uint64_t ages[] = {0, tokens.tokens[tokens.count - WINDOW / 2].t};
    for (size_t k = 0; k < 2; k++) {
        const uint32_t count = sp_pipeline_points(pipe, ages[k], points);
        const size_t first = tokens.count - count;
        CHECK_EQ(sp_pipeline_window(pipe, ages[k], rows), count);
        CHECK(k == 0 ? count == WINDOW : count < WINDOW);
        for (uint32_t i = 0; i < count; i++) {
            const sp_token_t *token = &tokens.tokens[first + i];
            const sp_event_t *of_token = tokens.events;
            for (size_t before = 0; before < first + i; before++)
                of_token += tokens.tokens[before].n;
            CHECK(points[i][0] == token->x && points[i][1] == token->y);
            CHECK(points[i][2] == (double)(token->t - tokens.tokens[first].t) / (double)c.embed.time_scale_us);
            CHECK_EQ(sp_embed_events(&embed, of_token, token->n, scratch, size, expected), SP_OK);
            CHECK(memcmp(&rows[i * HIDDEN], expected, sizeof expected) == 0);
        }
    }
    c.one_by_one = 1;
    CHECK_EQ(sp_pipeline_size(&c), 0);
    c.one_by_one = 0;
    c.cell = 1;
    CHECK_EQ(sp_pipeline_size(&c), 0);
}

/* Positions of the first columns are kept, those behind them computed: both are the same. */
TEST(pipeline_positions_of_a_wide_sensor)
{
    sp_pipeline_config_t c = pieces_config();
    const sp_event_t *events = random_events(2, EVENTS, 34, 34, 1u << 20);
    sp_event_t *far = harness_alloc(EVENTS * sizeof *far);
    c.tokenizer.width = 2047;
    for (size_t i = 0; i < EVENTS; i++) {
        far[i] = events[i];
        far[i].x = (uint16_t)(far[i].x + 800u);
    }
    const uint8_t *bytes = pieces_encode(far, EVENTS);
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    token_list_t tokens = token_list();
    float got[WINDOW * HIDDEN], parts[WINDOW * HIDDEN];
    size_t used;
    uint16_t least = UINT16_MAX, most = 0;

    sp_pipeline_set_observer(pipe, collect, &tokens);
    CHECK_EQ(sp_pipeline_feed(pipe, bytes, 8 * EVENTS, &used, 0, SP_NO_TIME), SP_OK);
    CHECK_EQ(sp_pipeline_window(pipe, 0, got), window_of(&c, &tokens, parts));
    CHECK(memcmp(got, parts, sizeof got) == 0);
    for (size_t i = tokens.count - WINDOW; i < tokens.count; i++) {
        least = tokens.tokens[i].x < least ? tokens.tokens[i].x : least;
        most = tokens.tokens[i].x > most ? tokens.tokens[i].x : most;
    }
    CHECK(least < KEPT_COLUMNS && most >= KEPT_COLUMNS);
}

/* Ages are counted from a voxel's newest event, not from its time; an empty voxel is the bias. */
TEST(pipeline_window_of_voxels_equals_its_parts)
{
    for (uint32_t threshold = 0; threshold < 4; threshold += 3) {
        sp_pipeline_config_t c = pieces_config();
        const uint8_t *bytes = pieces_encode(random_events(1, EVENTS, 34, 34, 1u << 20), EVENTS);
        token_list_t tokens = token_list();
        float got[WINDOW * HIDDEN], parts[WINDOW * HIDDEN];
        size_t used;

        c.tokenizer.kind = SP_KIND_VOXEL;
        c.tokenizer.threshold = threshold;
        c.tokenizer.duration_us = 30000;
        c.tokenizer.absolute_refractory_us = 0;
        sp_pipeline_t *pipe = pieces_pipeline(&c);
        sp_pipeline_set_observer(pipe, collect, &tokens);
        for (size_t at = 0; at < 8 * EVENTS; at += used) {
            const int rc = sp_pipeline_feed(pipe, bytes + at, 8 * EVENTS - at, &used, 1, SP_NO_TIME);
            CHECK(rc == SP_OK || rc == SP_TOKEN);
            CHECK_EQ(sp_pipeline_window(pipe, 0, got), window_of(&c, &tokens, parts));
            CHECK(memcmp(got, parts, sizeof got) == 0);
        }
        CHECK(tokens.count > 3 * WINDOW);
    }
}

/* A pipeline that keeps one token, beside one that keeps a window: the same rows, windows end to end. */
TEST(pipeline_newest_is_the_last_row_of_its_window)
{
    const sp_pipeline_config_t c = pieces_config();
    sp_pipeline_config_t one = c;
    const uint8_t *bytes = pieces_encode(random_events(1, EVENTS, 34, 34, 1u << 20), EVENTS);
    float got[HIDDEN], parts[WINDOW * HIDDEN];
    uint32_t count = 0;
    size_t at = 0, used;
    token_list_t tokens = token_list();

    one.one_by_one = 1;
    CHECK(sp_pipeline_size(&one) < sp_pipeline_size(&c));
    sp_pipeline_t *pipe = pieces_pipeline(&one);
    sp_pipeline_set_observer(pipe, collect, &tokens);
    CHECK_EQ(sp_pipeline_newest(pipe, got), 0);
    while (sp_pipeline_feed(pipe, bytes + at, 8 * EVENTS - at, &used, 1, SP_NO_TIME) == SP_TOKEN) {
        at += used;
        count = count % WINDOW + 1;
        CHECK_EQ(sp_pipeline_newest(pipe, got), count);
        CHECK_EQ(sp_pipeline_window(pipe, 0, parts), 0);
        /* The tokens of this window alone, as a list of their own. */
        token_list_t window = tokens;
        window.tokens += tokens.count - count;
        window.count = count;
        for (size_t i = 0; i + count < tokens.count; i++)
            window.events += tokens.tokens[i].n;
        CHECK_EQ(window_of(&c, &window, parts), count);
        CHECK(memcmp(got, &parts[(count - 1) * HIDDEN], sizeof got) == 0);
    }
    CHECK(tokens.count > 3 * WINDOW);
    sp_pipeline_reset(pipe);
    CHECK_EQ(sp_pipeline_newest(pipe, got), 0);
    CHECK_EQ(sp_pipeline_newest(pieces_pipeline(&c), got), 0);
}

TEST(pipeline_cut_anywhere_gives_the_same)
{
    static const size_t pieces[] = {1, 7, 1000, 8 * EVENTS};
    const sp_pipeline_config_t c = pieces_config();
    const sp_event_t *events = random_events(2, EVENTS, 34, 34, 1u << 20);
    const uint8_t *bytes = pieces_encode(events, EVENTS);
    const token_list_t expected = oracle(&c.tokenizer, events, EVENTS);

    for (size_t k = 0; k < 4; k++) {
        sp_pipeline_t *pipe = pieces_pipeline(&c);
        token_list_t tokens = token_list();
        sp_pipeline_set_observer(pipe, collect, &tokens);
        for (size_t start = 0; start < 8 * EVENTS; start += pieces[k]) {
            const size_t n = 8 * EVENTS - start < pieces[k] ? 8 * EVENTS - start : pieces[k];
            size_t used;
            CHECK_EQ(sp_pipeline_feed(pipe, bytes + start, n, &used, 0, SP_NO_TIME), SP_OK);
            CHECK_EQ(used, n);
        }
        token_list_check_equal(&tokens, &expected);
        sp_pipeline_stats_t s;
        sp_pipeline_stats(pipe, &s);
        CHECK_EQ(s.decode.events, EVENTS);
        CHECK_EQ(s.decode.times, EVENTS);
        CHECK_EQ(s.tokenizer.taken, EVENTS);
        CHECK_EQ(s.tokenizer.tokens, expected.count);
    }
}

TEST(pipeline_reset_is_as_new)
{
    const sp_pipeline_config_t c = pieces_config();
    const uint8_t *bytes = pieces_encode(random_events(3, EVENTS, 34, 34, 1u << 20), EVENTS);
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    float first[WINDOW * HIDDEN], again[WINDOW * HIDDEN];
    sp_pipeline_stats_t a, b;
    size_t used;

    sp_pipeline_feed(pipe, bytes, 8 * EVENTS, &used, 0, SP_NO_TIME);
    sp_pipeline_window(pipe, 0, first);
    sp_pipeline_stats(pipe, &a);
    sp_pipeline_reset(pipe);
    CHECK_EQ(sp_pipeline_window(pipe, 0, again), 0);
    sp_pipeline_feed(pipe, bytes + 8 * 100 + 3, 1000, &used, 0, SP_NO_TIME); /* something else, ending in a cut word */
    sp_pipeline_reset(pipe);
    sp_pipeline_feed(pipe, bytes, 8 * EVENTS, &used, 0, SP_NO_TIME);
    sp_pipeline_window(pipe, 0, again);
    sp_pipeline_stats(pipe, &b);
    CHECK(memcmp(first, again, sizeof first) == 0);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
}

static uint64_t tick(void *context)
{
    return ++*(uint64_t *)context;
}

TEST(pipeline_costs_are_of_their_stage)
{
    const sp_pipeline_config_t c = pieces_config();
    const uint8_t *bytes = pieces_encode(random_events(4, EVENTS, 34, 34, 0), EVENTS);
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    sp_pipeline_stats_t s;
    uint64_t clock = 0;
    size_t used;

    sp_pipeline_set_clock(pipe, tick, &clock);
    sp_pipeline_feed(pipe, bytes, 8 * EVENTS, &used, 0, SP_NO_TIME);
    sp_pipeline_stats(pipe, &s);
    CHECK_EQ(s.cost_embed, s.tokenizer.tokens);
    CHECK_EQ(s.cost_tokenize, s.tokenizer.tokens + 1);
}

TEST(pipeline_without_weights_makes_tokens_only)
{
    sp_pipeline_config_t c = pieces_config();
    const sp_event_t *events = random_events(5, EVENTS, 34, 34, 0);
    token_list_t tokens = token_list();
    const token_list_t expected = oracle(&c.tokenizer, events, EVENTS);
    size_t used;

    c.embed = (sp_embed_config_t){0};
    c.window_tokens = 0;
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    sp_pipeline_set_observer(pipe, collect, &tokens);
    CHECK_EQ(sp_pipeline_feed(pipe, pieces_encode(events, EVENTS), 8 * EVENTS, &used, 0, SP_NO_TIME), SP_OK);
    token_list_check_equal(&tokens, &expected);
    CHECK_EQ(sp_pipeline_window(pipe, 0, NULL), 0);
}

TEST(pipeline_bad_configurations_and_memory_are_refused)
{
    sp_pipeline_config_t c = pieces_config();
    sp_pipeline_t *pipe = NULL;
    const size_t size = sp_pipeline_size(&c);
    uint8_t *mem = harness_alloc(size + 8);

    CHECK_EQ(sp_pipeline_init(&pipe, &c, mem, size - 1), SP_ERR_MEMORY);
    CHECK_EQ(sp_pipeline_init(&pipe, &c, mem + 4, size), SP_ERR_MEMORY);
    CHECK_EQ(sp_pipeline_init(&pipe, &c, NULL, size), SP_ERR_MEMORY);
    c.window_tokens = 0;
    CHECK_EQ(sp_pipeline_size(&c), 0);
    c = pieces_config();
    c.embed.patch_size = P + 1;
    CHECK_EQ(sp_pipeline_size(&c), 0);
    c = pieces_config();
    c.embed.bias = NULL;
    CHECK_EQ(sp_pipeline_size(&c), 0);
    c = pieces_config();
    c.embed.hidden = 0;
    CHECK_EQ(sp_pipeline_size(&c), 0);
    c = pieces_config();
    c.tokenizer.width = 0;
    CHECK_EQ(sp_pipeline_init(&pipe, &c, mem, size), SP_ERR_CONFIG);
    CHECK(pipe == NULL);
}

TEST(pipeline_hostile_bytes_never_do_harm)
{
    const sp_pipeline_config_t c = pieces_config();
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    uint32_t state = 99;

    for (size_t round = 0; round < 300; round++) {
        const size_t n = harness_random(&state, 400);
        uint8_t *bytes = harness_alloc(n);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)harness_random(&state, 256);
        for (size_t at = 0, used; at < n; at += used) {
            const int rc = sp_pipeline_feed(pipe, bytes + at, n - at, &used, round & 1, SP_NO_TIME);
            CHECK(rc == SP_OK || rc == SP_TOKEN);
            CHECK(used > 0);
        }
    }
    sp_pipeline_stats_t s;
    sp_pipeline_stats(pipe, &s);
    CHECK_EQ(s.tokenizer.taken, s.decode.events);
    CHECK_EQ(s.tokenizer.taken, s.tokenizer.in_tokens + s.tokenizer.pending + s.tokenizer.outside +
                                    s.tokenizer.backwards + s.tokenizer.pool_lost);
}

/* Feed all, stopping at every multiple of `every`; what has fired then came before it, and none of it later. */
static void feed_by_time(sp_pipeline_t *pipe, const uint8_t *bytes, size_t n, size_t piece, uint64_t every,
                         const token_list_t *tokens, size_t *stops)
{
    uint64_t until = every;
    size_t before = 0;
    *stops = 0;
    for (size_t start = 0; start < n; start += piece) {
        const size_t end = n - start < piece ? n : start + piece;
        for (size_t at = start, used;; at += used) {
            const int rc = sp_pipeline_feed(pipe, bytes + at, end - at, &used, *stops & 1, until);
            for (; before < tokens->count; before++)
                CHECK(tokens->tokens[before].t < until && tokens->tokens[before].t + every >= until);
            if (rc == SP_TIME) {
                CHECK(sp_pipeline_reached(pipe) >= until);
                CHECK(sp_pipeline_time(pipe) < until);
                until = sp_pipeline_reached(pipe) / every * every + every;
                (*stops)++;
            } else if (rc == SP_OK) {
                CHECK_EQ(at + used, end);
                break;
            }
        }
    }
}

TEST(pipeline_stops_before_the_time_asked_for)
{
    static const size_t pieces[] = {1, 7, 1000, 8 * EVENTS};
    const sp_event_t *events = random_events(6, EVENTS, 34, 34, 0);
    const uint8_t *bytes = pieces_encode(events, EVENTS);
    const uint64_t every = (events[EVENTS - 1].t - events[0].t) / 37;

    for (size_t k = 0; k < 8; k++) {
        sp_pipeline_config_t c = pieces_config();
        c.thins = k >= 4; /* by way of the decoder */
        const token_list_t expected = oracle(&c.tokenizer, events, EVENTS);
        sp_pipeline_t *pipe = pieces_pipeline(&c);
        token_list_t tokens = token_list();
        size_t stops;
        sp_pipeline_set_observer(pipe, collect, &tokens);
        feed_by_time(pipe, bytes, 8 * EVENTS, pieces[k % 4], every, &tokens, &stops);
        CHECK(stops >= 36 && stops <= 38);
        token_list_check_equal(&tokens, &expected);
        CHECK_EQ(sp_pipeline_waiting(pipe), 0);
        CHECK_EQ(sp_pipeline_tokens(pipe), expected.count);
        CHECK_EQ(sp_pipeline_time(pipe), events[EVENTS - 1].t);
    }
}

TEST(pipeline_window_leaves_out_what_is_older)
{
    const sp_pipeline_config_t c = pieces_config();
    const uint8_t *bytes = pieces_encode(random_events(7, EVENTS, 34, 34, 0), EVENTS);
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    token_list_t tokens = token_list();
    float all[WINDOW * HIDDEN], some[WINDOW * HIDDEN], parts[WINDOW * HIDDEN];
    size_t used;

    sp_pipeline_set_observer(pipe, collect, &tokens);
    CHECK_EQ(sp_pipeline_feed(pipe, bytes, 8 * EVENTS, &used, 0, SP_NO_TIME), SP_OK);
    CHECK_EQ(sp_pipeline_window(pipe, 0, all), WINDOW);
    for (uint32_t rows = 1; rows <= WINDOW; rows++) {
        const uint64_t since = tokens.tokens[tokens.count - rows].t;
        token_list_t newest = tokens;
        newest.tokens += tokens.count - rows;
        newest.count = rows;
        for (size_t i = 0; i + rows < tokens.count; i++)
            newest.events += tokens.tokens[i].n;
        CHECK_EQ(sp_pipeline_window(pipe, since, some), rows);
        CHECK_EQ(window_of(&c, &newest, parts), rows);
        CHECK(memcmp(some, parts, sizeof some) == 0);
    }
    CHECK_EQ(sp_pipeline_window(pipe, UINT64_MAX, some), 0);
    CHECK_EQ(sp_pipeline_window(pipe, 0, some), WINDOW);
    CHECK(memcmp(all, some, sizeof some) == 0);
}

TEST(pipeline_thins_and_counts_what_it_leaves_out)
{
    sp_pipeline_config_t c = pieces_config();
    const sp_event_t *events = random_events(8, EVENTS, 34, 34, 0);
    const uint8_t *bytes = pieces_encode(events, EVENTS);
    const uint64_t every = (events[EVENTS - 1].t - events[0].t) / 37;
    const token_list_t none = token_list();
    sp_pipeline_stats_t s;
    sp_pipeline_losses_t losses;
    size_t used, stops;

    c.thins = 1;
    sp_pipeline_t *pipe = pieces_pipeline(&c);
    sp_pipeline_set_keep(pipe, 64);
    CHECK_EQ(sp_pipeline_feed(pipe, bytes, 8 * EVENTS, &used, 0, SP_NO_TIME), SP_OK);
    sp_pipeline_stats(pipe, &s);
    sp_pipeline_losses(pipe, &losses);
    CHECK_EQ(s.decode.events, EVENTS);
    CHECK_EQ(s.thinned + s.tokenizer.taken, EVENTS);
    CHECK(s.tokenizer.taken > EVENTS / 5 && s.tokenizer.taken < EVENTS / 3);
    CHECK_EQ(losses.came, EVENTS);
    CHECK_EQ(losses.thinned, s.thinned);
    sp_pipeline_reset(pipe);
    sp_pipeline_set_keep(pipe, 1); /* time goes on where nothing is kept */
    feed_by_time(pipe, bytes, 8 * EVENTS, 4096, every, &none, &stops);
    CHECK(stops >= 36 && stops <= 38);
    sp_pipeline_reset(pipe);
    CHECK_EQ(sp_pipeline_feed(pipe, bytes, 8 * EVENTS, &used, 0, SP_NO_TIME), SP_OK);
    sp_pipeline_stats(pipe, &s);
    CHECK_EQ(s.thinned, 0);
    CHECK_EQ(s.tokenizer.taken, EVENTS);
}

TEST(pipeline_of_any_format_survives_hostile_bytes_and_accounts_for_them)
{
    uint32_t state = 5;
    for (uint8_t format = 0; format < SP_FORMATS; format++) {
        sp_pipeline_config_t c = pieces_config();
        c.format = format;
        c.thins = format & 1;
        sp_pipeline_t *pipe = pieces_pipeline(&c);
        sp_pipeline_losses_t losses;
        sp_pipeline_stats_t s;
        for (size_t round = 0; round < 200; round++) {
            uint8_t bytes[400];
            const size_t n = harness_random(&state, 400);
            for (size_t i = 0; i < n; i++)
                bytes[i] = (uint8_t)harness_random(&state, 256);
            uint64_t until = round % 3 ? SP_NO_TIME : harness_random(&state, 1u << 30);
            size_t at = 0, used;
            int rc;
            sp_pipeline_set_keep(pipe, harness_random(&state, 300));
            do {
                rc = sp_pipeline_feed(pipe, bytes + at, n - at, &used, round & 1, until);
                CHECK(rc == SP_OK || rc == SP_TOKEN || rc == SP_TIME);
                at += used;
                until = rc == SP_TIME ? SP_NO_TIME : until;
            } while (rc != SP_OK);
            CHECK_EQ(at, n);
            CHECK_EQ(sp_pipeline_waiting(pipe), 0);
        }
        sp_pipeline_stats(pipe, &s);
        sp_pipeline_losses(pipe, &losses);
        CHECK_EQ(s.decode.events, s.tokenizer.taken + s.thinned);
        CHECK_EQ(losses.came,
                 s.tokenizer.taken + s.thinned + losses.decoder - s.tokenizer.outside - s.tokenizer.backwards);
    }
    sp_pipeline_config_t c = pieces_config();
    c.format = SP_FORMATS;
    CHECK_EQ(sp_pipeline_size(&c), 0);
}
