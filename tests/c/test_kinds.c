/* The discrete and the voxel kind. */
#include "harness.h"
#include "oracle.h"
#include "spedge/tokenizer.h"

#include <string.h>

static const uint16_t PATCHES[] = {1, 5, 8, 16, 17, 34, 100};
#define PATCH_COUNT (sizeof PATCHES / sizeof PATCHES[0])

static sp_tokenizer_stats_t stats_of(const sp_tokenizer_t *tok)
{
    sp_tokenizer_stats_t s;
    sp_tokenizer_stats(tok, &s);
    return s;
}

TEST(discrete_cut_anywhere_equals_the_definition)
{
    static const uint64_t durations[] = {0, 40, 3000, UINT64_MAX};
    for (size_t i = 0; i < PATCH_COUNT; i++) {
        const sp_event_t *events = random_events((uint32_t)i + 20, 5000, 46, 37, 1u << 25);
        for (size_t k = 0; k < sizeof durations / sizeof durations[0]; k++) {
            sp_tokenizer_config_t c = {.kind = SP_KIND_DISCRETE,
                                       .width = 46,
                                       .height = 37,
                                       .patch_size = PATCHES[i],
                                       .pool_events = 16 * 5000,
                                       .threshold = durations[k] ? 5 : 2,
                                       .duration_us = durations[k]};
            if (PATCHES[i] == 1 && durations[k] < 3000)
                continue; /* too few events a pixel */
            check_against_oracle(c, events, 5000);
            c.absolute_refractory_us = 500;
            check_against_oracle(c, events, 5000);
            c.pool_events = 16;
            c.pool_policy = SP_POOL_GROWS;
            check_against_oracle(c, events, 5000);
        }
    }
}

TEST(voxels_cut_anywhere_equal_the_definition)
{
    static const uint64_t durations[] = {1, 40, 1000, 100000, UINT64_MAX};
    for (size_t i = 0; i < PATCH_COUNT; i++) {
        const sp_event_t *events = random_events((uint32_t)i + 40, 3000, 46, 37, 1u << 25);
        for (size_t k = 0; k < sizeof durations / sizeof durations[0]; k++) {
            sp_tokenizer_config_t c = {.kind = SP_KIND_VOXEL,
                                       .width = 46,
                                       .height = 37,
                                       .patch_size = PATCHES[i],
                                       .pool_events = 16 * 3000,
                                       .threshold = 1,
                                       .duration_us = durations[k]};
            check_against_oracle(c, events, 3000);
            c.threshold = durations[k] > 1 && PATCHES[i] > 1 ? 3 : 1;
            c.pool_events = 16;
            c.pool_policy = SP_POOL_GROWS;
            check_against_oracle(c, events, 3000);
        }
    }
}

TEST(voxels_with_threshold_0_are_all_voxels)
{
    static const uint64_t starts[] = {0, 1000, 1001, (UINT64_C(1) << 23) - 500, (UINT64_C(1) << 34) - 500};
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        for (size_t n = 1; n < 300; n += 47) {
            sp_event_t *events = random_events((uint32_t)n, n, 46, 37, 5000);
            const uint64_t first = events[0].t;
            for (size_t i = 0; i < n; i++)
                events[i].t += starts[s] - first;
            check_against_oracle((sp_tokenizer_config_t){.kind = SP_KIND_VOXEL,
                                                         .width = 46,
                                                         .height = 37,
                                                         .patch_size = 20,
                                                         .pool_events = 16 * 300,
                                                         .duration_us = 1000},
                                 events, n);
        }
    }
}

TEST(voxels_at_the_end_of_time)
{
    const sp_event_t events[] = {{.t = UINT64_MAX - 5}, {.t = UINT64_MAX}};
    sp_tokenizer_config_t c = {.kind = SP_KIND_VOXEL, .width = 4, .height = 4, .pool_events = 64, .threshold = 1};

    for (c.duration_us = 2; c.duration_us != 0; c.duration_us <<= 1) {
        sp_tokenizer_t *tok = new_tokenizer(&c);
        token_list_t got = push_in_pieces(&tok, events, 2, 1);
        end_stream(&got, tok);
        CHECK_EQ(got.event_count, 2);
        CHECK_EQ(got.count, c.duration_us > 4 ? 1 : 2);
        CHECK_EQ(got.tokens[got.count - 1].t, UINT64_MAX - UINT64_MAX % c.duration_us);
    }
    c.threshold = 0; /* the empty voxel behind has no time that could be said */
    c.duration_us = 1000;
    sp_tokenizer_t *tok = new_tokenizer(&c);
    token_list_t got = push_in_pieces(&tok, events, 2, 1);
    end_stream(&got, tok);
    CHECK_EQ(got.count, 1);
}

TEST(voxels_begin_anew_after_the_end)
{
    const sp_tokenizer_config_t c = {.kind = SP_KIND_VOXEL,
                                     .width = 46,
                                     .height = 37,
                                     .patch_size = 8,
                                     .pool_events = 16 * 1000,
                                     .threshold = 2,
                                     .duration_us = 700};
    const sp_event_t *events = random_events(3, 1000, 46, 37, 1u << 25);
    sp_tokenizer_t *tok = new_tokenizer(&c);
    token_list_t first = push_in_pieces(&tok, events, 1000, 1000);
    end_stream(&first, tok);
    CHECK_EQ(sp_tokenizer_end(tok), SP_OK);
    token_list_t second = push_in_pieces(&tok, events, 1000, 3);
    end_stream(&second, tok);
    token_list_check_equal(&second, &first);
    check_accounts(tok, 2000);
    CHECK_EQ(stats_of(tok).pending, 0);
    CHECK_EQ(stats_of(tok).pool_used, 0);
}

TEST(voxel_tokens_come_before_the_event_that_ends_their_bin)
{
    const sp_tokenizer_config_t c =
        {.kind = SP_KIND_VOXEL, .width = 48, .height = 16, .pool_events = 64, .threshold = 1, .duration_us = 10};
    const sp_event_t events[] = {{.t = 3, .x = 40}, {.t = 9}, {.t = 10}, {.t = 2}};
    sp_tokenizer_t *tok = new_tokenizer(&c);
    size_t used;

    CHECK_EQ(sp_tokenizer_push(tok, events, 4, &used), SP_TOKEN);
    CHECK_EQ(used, 2);
    CHECK_EQ(sp_tokenizer_token(tok)->x, 0);
    CHECK_EQ(sp_tokenizer_push(tok, events + 2, 2, &used), SP_TOKEN);
    CHECK_EQ(used, 0);
    CHECK_EQ(sp_tokenizer_token(tok)->x, 2);
    CHECK_EQ(sp_tokenizer_token(tok)->t, 0);
    CHECK_EQ(sp_tokenizer_push(tok, events + 2, 2, &used), SP_OK);
    CHECK_EQ(used, 2);
    CHECK_EQ(stats_of(tok).backwards, 1);
    CHECK_EQ(stats_of(tok).pending, 1);
    check_accounts(tok, 4);
}

TEST(an_empty_voxel_is_a_token_without_events)
{
    const sp_tokenizer_config_t c = {.kind = SP_KIND_VOXEL,
                                     .width = 32,
                                     .height = 16,
                                     .pool_events = 64,
                                     .duration_us = 10};
    const sp_event_t event = {.t = 25, .x = 20};
    sp_tokenizer_t *tok = new_tokenizer(&c);
    sp_token_cursor_t cursor;
    sp_event_t back;
    size_t used;

    CHECK_EQ(sp_tokenizer_push(tok, &event, 1, &used), SP_OK);
    CHECK_EQ(sp_tokenizer_end(tok), SP_TOKEN);
    CHECK_EQ(sp_tokenizer_token(tok)->n, 0);
    sp_token_cursor_init(&cursor, tok);
    CHECK_EQ(sp_token_cursor_read(&cursor, &back, 1), 0);
    token_list_t rest = token_list();
    end_stream(&rest, tok);
    CHECK_EQ(rest.count, 3);
    CHECK_EQ(rest.tokens[0].n, 1);
    CHECK_EQ(rest.tokens[2].t, 30);
}

TEST(a_reset_forgets_a_bin_that_is_half_out)
{
    const sp_tokenizer_config_t c =
        {.kind = SP_KIND_VOXEL, .width = 48, .height = 16, .pool_events = 64, .threshold = 1, .duration_us = 10};
    const sp_event_t events[] = {{.t = 23, .x = 40}, {.t = 29}, {.t = 30}, {.t = 2}};
    sp_tokenizer_t *tok = new_tokenizer(&c);
    size_t used;

    CHECK_EQ(sp_tokenizer_push(tok, events, 3, &used), SP_TOKEN);
    sp_tokenizer_reset(tok);
    CHECK(sp_tokenizer_token(tok) == NULL);
    token_list_t got = push_in_pieces(&tok, events + 3, 1, 1);
    end_stream(&got, tok);
    CHECK_EQ(got.count, 1);
    CHECK_EQ(got.tokens[0].t, 0);
    check_accounts(tok, 1);
}

TEST(advancing_time_ends_bins_of_voxels_and_nothing_else)
{
    sp_tokenizer_config_t c =
        {.kind = SP_KIND_VOXEL, .width = 48, .height = 16, .pool_events = 64, .threshold = 1, .duration_us = 10};
    const sp_event_t events[] = {{.t = 23, .x = 40}, {.t = 29}, {.t = 39}, {.t = 40}};
    sp_tokenizer_t *tok = new_tokenizer(&c);
    size_t used;

    CHECK_EQ(sp_tokenizer_advance(tok, 5), SP_OK);
    CHECK_EQ(sp_tokenizer_push(tok, events, 2, &used), SP_OK);
    CHECK_EQ(sp_tokenizer_advance(tok, 29), SP_OK);
    CHECK_EQ(sp_tokenizer_advance(tok, 40), SP_TOKEN);
    CHECK_EQ(sp_tokenizer_token(tok)->x, 0);
    CHECK_EQ(sp_tokenizer_advance(tok, 40), SP_TOKEN);
    CHECK_EQ(sp_tokenizer_token(tok)->x, 2);
    CHECK_EQ(sp_tokenizer_token(tok)->t, 20);
    CHECK_EQ(sp_tokenizer_advance(tok, 40), SP_OK);
    CHECK_EQ(sp_tokenizer_advance(tok, 7), SP_OK); /* time does not go back */
    CHECK_EQ(sp_tokenizer_push(tok, events + 2, 2, &used), SP_OK);
    CHECK_EQ(stats_of(tok).backwards, 1);
    CHECK_EQ(stats_of(tok).pending, 1);
    check_accounts(tok, 4);

    c.kind = SP_KIND_CONTINUOUS;
    c.duration_us = 0;
    c.threshold = 3;
    tok = new_tokenizer(&c);
    CHECK_EQ(sp_tokenizer_push(tok, events, 2, &used), SP_OK);
    CHECK_EQ(sp_tokenizer_advance(tok, 1000), SP_OK);
    CHECK_EQ(sp_tokenizer_end(tok), SP_OK);
    CHECK_EQ(sp_tokenizer_push(tok, events + 2, 2, &used), SP_TOKEN);
    CHECK_EQ(stats_of(tok).backwards, 0);
}

TEST(an_event_that_is_late_begins_no_bin)
{
    const sp_tokenizer_config_t c = {.kind = SP_KIND_VOXEL,
                                     .width = 48,
                                     .height = 16,
                                     .pool_events = 64,
                                     .duration_us = 10};
    const sp_event_t events[] = {{.t = 3}, {.t = 27}};
    sp_tokenizer_t *tok = new_tokenizer(&c);

    CHECK_EQ(sp_tokenizer_advance(tok, 25), SP_OK);
    token_list_t got = push_in_pieces(&tok, events, 2, 2);
    end_stream(&got, tok);
    CHECK_EQ(got.count, 6);
    CHECK_EQ(got.tokens[0].t, 20);
    CHECK_EQ(got.tokens[5].t, 30);
    CHECK_EQ(stats_of(tok).backwards, 1);
}

/* The same events once more, as words whose last time word is beyond the last bin; of some the clock wraps within a bin. */
TEST(time_words_end_bins_of_voxels)
{
    for (uint32_t seed = 0; seed < 24; seed++) {
        const sp_tokenizer_config_t c = {.kind = SP_KIND_VOXEL,
                                         .width = 46,
                                         .height = 37,
                                         .patch_size = 9,
                                         .pool_events = 16 * 600,
                                         .threshold = seed % 4,
                                         .duration_us = seed % 3 ? 640 : 701};
        const size_t n = 600;
        sp_event_t *events = random_events(seed, n, 46, 37, seed % 4 ? 1u << 25 : 5000);
        const uint64_t since = seed % 8 == 4 ? (UINT64_C(1) << 34) - events[n / 2].t : 0;
        for (size_t i = 0; i < n; i++)
            events[i].t += since;
        const token_list_t expected = oracle(&c, events, n);
        uint8_t *words = harness_alloc(4 * (2 * n + 1));
        uint64_t high = UINT64_MAX;
        size_t bytes = 0;
        for (size_t i = 0; i <= n; i++) {
            const sp_event_t *e = &events[i < n ? i : n - 1];
            const uint64_t t = i < n ? e->t : ((e->t + c.duration_us - 1u) / c.duration_us + 1u) * c.duration_us;
            const uint32_t pair[] = {0x80000000u | ((uint32_t)((t + (i < n ? 0 : 63u)) >> 6) & 0x0FFFFFFFu),
                                     (uint32_t)e->p << 28 | (uint32_t)(t & 63u) << 22 | (uint32_t)e->x << 11 | e->y};
            for (size_t k = t >> 6 == high; k < (i < n ? 2u : 1u); k++)
                for (size_t b = 0; b < 4; b++)
                    words[bytes++] = (uint8_t)(pair[k] >> 8 * b);
            high = t >> 6;
        }
        static const size_t pieces[] = {1, 3, 4, 1001, 100000};
        for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
            sp_tokenizer_t *tok = new_tokenizer(&c);
            token_list_t got = token_list();
            sp_evt2_t d;
            sp_evt2_init(&d);
            for (size_t start = 0; start < bytes; start += pieces[k]) {
                const size_t length = bytes - start < pieces[k] ? bytes - start : pieces[k];
                size_t at = 0, used;
                int rc;
                do {
                    rc = sp_tokenizer_push_evt2(tok, &d, words + start + at, length - at, &used);
                    at += used;
                    if (rc == SP_TOKEN)
                        token_list_take(&got, tok);
                } while (rc == SP_TOKEN);
                CHECK_EQ(at, length);
            }
            token_list_check_equal(&got, &expected);
            check_accounts(tok, n);
            CHECK_EQ(stats_of(tok).pending, 0);
            CHECK_EQ(d.stats.words, bytes / 4);
            CHECK_EQ(d.stats.events, n);
        }
    }
}

TEST(pools_of_any_size_account_for_every_event_of_both_kinds)
{
    for (uint32_t seed = 0; seed < 60; seed++) {
        uint32_t state = seed + 77u;
        sp_tokenizer_config_t c = {.kind = seed % 2 ? SP_KIND_VOXEL : SP_KIND_DISCRETE,
                                   .width = 46,
                                   .height = 37,
                                   .patch_size = (uint16_t)(1 + harness_random(&state, 40)),
                                   .pool_events = 1 + harness_random(&state, 300),
                                   .threshold = 1.0 + harness_random(&state, 20),
                                   .duration_us = 1u + harness_random(&state, 5000)};
        if (c.kind == SP_KIND_DISCRETE && harness_random(&state, 2))
            c.absolute_refractory_us = harness_random(&state, 2000);
        const sp_event_t *events = random_events(seed, 4000, 46, 37, 1u << 25);
        sp_tokenizer_t *whole = new_tokenizer(&c), *cut = new_tokenizer(&c);
        token_list_t expected = push_in_pieces(&whole, events, 4000, 4000);
        token_list_t got = push_in_pieces(&cut, events, 4000, 7);
        end_stream(&expected, whole);
        end_stream(&got, cut);
        token_list_check_equal(&got, &expected);
        check_accounts(whole, 4000);
        check_accounts(cut, 4000);
    }
}
