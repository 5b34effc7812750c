#include "harness.h"
#include "oracle.h"
#include "spedge/tokenizer.h"

#include <math.h>
#include <string.h>

/* -------------------------------------------------------------- configuration and memory */

static int check_config(sp_tokenizer_config_t c)
{
    sp_tokenizer_config_t full;
    const int rc = sp_tokenizer_config_check(&c, &full);
    CHECK((sp_tokenizer_size(&c) == 0) == (rc != SP_OK));
    return rc;
}

static sp_tokenizer_config_t good(void)
{
    return (sp_tokenizer_config_t){.width = 128, .height = 96, .pool_events = 100};
}

TEST(tokenizer_zero_means_default)
{
    sp_tokenizer_config_t c = good(), full;
    CHECK_EQ(sp_tokenizer_config_check(&c, &full), SP_OK);
    CHECK_EQ(full.patch_size, 16);
    CHECK_EQ(full.pool_events, 112);
    CHECK(full.threshold == 256.0 && full.relative_scale == 0.4 && full.decay_per_us == 0.0);
}

#define BAD(change) \
    do { \
        sp_tokenizer_config_t c = good(); \
        change; \
        CHECK_EQ(check_config(c), SP_ERR_CONFIG); \
    } while (0)

TEST(tokenizer_bad_configurations_are_refused)
{
    BAD(c.width = 0);
    BAD(c.height = 0);
    BAD(c.pool_events = 0);
    BAD(c.pool_events = UINT32_MAX);
    BAD(c.pool_policy = 2);
    BAD(c.threshold = -1);
    BAD(c.threshold = (double)NAN);
    BAD(c.threshold = (double)INFINITY);
    BAD(c.threshold = SP_THRESHOLD_MAX + 1.0);
    BAD(c.relative_scale = 1.0);
    BAD(c.relative_scale = -0.1);
    BAD(c.relative_scale = (double)NAN);
    BAD(c.decay_per_us = -1e-9);
    BAD(c.decay_per_us = (double)NAN);
    BAD(c.decay_per_us = (double)INFINITY);
    BAD(c.width = 5000; c.patch_size = 2049);
    BAD(c.duration_us = 5);
    BAD(c.kind = 3);
    BAD(c.kind = SP_KIND_DISCRETE; c.threshold = 2.5);
    BAD(c.kind = SP_KIND_DISCRETE; c.decay_per_us = 1e-3);
    BAD(c.kind = SP_KIND_DISCRETE; c.relative_refractory_us = 1);
    BAD(c.kind = SP_KIND_VOXEL);
    BAD(c.kind = SP_KIND_VOXEL; c.duration_us = 5; c.threshold = -1);
    BAD(c.kind = SP_KIND_VOXEL; c.duration_us = 5; c.threshold = -0.5);
    BAD(c.kind = SP_KIND_VOXEL; c.duration_us = 5; c.threshold = 2.5);
    BAD(c.kind = SP_KIND_VOXEL; c.duration_us = 5; c.threshold = (double)NAN);
    BAD(c.kind = SP_KIND_VOXEL; c.duration_us = 5; c.absolute_refractory_us = 1);
    BAD(c.kind = SP_KIND_VOXEL; c.duration_us = 5; c.relative_refractory_us = 1);
    BAD(c.kind = SP_KIND_VOXEL; c.duration_us = 5; c.decay_per_us = 1e-3);
}

TEST(tokenizer_patch_larger_than_the_sensor_is_one_patch)
{
    sp_tokenizer_config_t c = good();
    c.patch_size = 65535;
    CHECK_EQ(check_config(c), SP_OK);
}

TEST(tokenizer_memory_too_small_or_misaligned_is_refused)
{
    const sp_tokenizer_config_t c = good();
    const size_t size = sp_tokenizer_size(&c);
    uint8_t *mem = harness_alloc(size + 8);
    sp_tokenizer_t *tok = NULL;

    CHECK_EQ(sp_tokenizer_init(&tok, &c, mem, size - 1), SP_ERR_MEMORY);
    CHECK_EQ(sp_tokenizer_init(&tok, &c, mem + 4, size), SP_ERR_MEMORY);
    CHECK_EQ(sp_tokenizer_init(&tok, &c, NULL, size), SP_ERR_MEMORY);
    CHECK(tok == NULL);
    CHECK_EQ(sp_tokenizer_init(&tok, &c, mem, size), SP_OK);
    CHECK(sp_tokenizer_token(tok) == NULL);
}

TEST(tokenizer_memory_is_four_bytes_an_event_and_a_block_header)
{
    sp_tokenizer_config_t small = good(), large = good();
    small.pool_events = 16;
    large.pool_events = 16 * 1001;
    CHECK_EQ(sp_tokenizer_size(&large) - sp_tokenizer_size(&small), 1000 * (16 * 4 + 12));
}

/* -------------------------------------------------------------- the method */

TEST(tokenizer_integer_path_cut_anywhere_equals_the_definition)
{
    static const uint16_t patches[] = {1, 2, 3, 5, 8, 16, 17, 32, 34, 64, 100};
    static const double thresholds[] = {1.0, 2.0, 16.0, 17.0, 20.5, 33.0};

    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++) {
        const sp_event_t *events = random_events((uint32_t)i, 6000, 46, 37, 1u << 25);
        for (size_t k = 0; k < sizeof thresholds / sizeof thresholds[0]; k++) {
            sp_tokenizer_config_t c = {.width = 46,
                                       .height = 37,
                                       .patch_size = patches[i],
                                       .pool_events = 16 * 6000,
                                       .threshold = thresholds[k]};
            if (patches[i] == 1 && thresholds[k] > 17)
                continue; /* too few events a pixel */
            check_against_oracle(c, events, 6000);
            c.absolute_refractory_us = 300;
            check_against_oracle(c, events, 6000);
        }
    }
}

TEST(tokenizer_real_path_cut_anywhere_equals_the_definition)
{
    static const uint16_t patches[] = {1, 4, 7, 16, 100};
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++) {
        const sp_event_t *events = random_events((uint32_t)i + 77, 6000, 46, 37, 100000);
        sp_tokenizer_config_t c = {.width = 46,
                                   .height = 37,
                                   .patch_size = patches[i],
                                   .pool_events = 16 * 6000,
                                   .threshold = 4.3,
                                   .decay_per_us = 1e-4,
                                   .absolute_refractory_us = 100,
                                   .relative_refractory_us = 500,
                                   .relative_scale = 0.25};
        check_against_oracle(c, events, 6000);
        c.absolute_refractory_us = 0;
        check_against_oracle(c, events, 6000);
        c.decay_per_us = 0;
        check_against_oracle(c, events, 6000);
        c.decay_per_us = 3e-5;
        c.relative_refractory_us = 0;
        check_against_oracle(c, events, 6000);
    }
}

/* One pixel, given times: how many tokens and at which event each fires. */
static size_t fire(sp_tokenizer_config_t c, const uint64_t *times, size_t n, size_t *fired_at,
                   sp_tokenizer_stats_t *stats)
{
    sp_tokenizer_t *tok;
    size_t fired = 0;

    c.width = c.height = 16;
    c.pool_events = 1024;
    tok = new_tokenizer(&c);
    for (size_t i = 0; i < n; i++) {
        const sp_event_t e = {.t = times[i]};
        size_t used;
        if (sp_tokenizer_push(tok, &e, 1, &used) == SP_TOKEN)
            fired_at[fired++] = i;
        CHECK_EQ(used, 1);
    }
    sp_tokenizer_stats(tok, stats);
    check_accounts(tok, n);
    return fired;
}

TEST(tokenizer_absolute_refractory_period_ends_exactly)
{
    const sp_tokenizer_config_t c = {.threshold = 1.0, .absolute_refractory_us = 100};
    const uint64_t times[] = {10, 10, 109, 110, 209, 210};
    sp_tokenizer_stats_t s;
    size_t at[6];

    CHECK_EQ(fire(c, times, 6, at, &s), 3);
    CHECK_EQ(at[0], 0);
    CHECK_EQ(at[1], 3);
    CHECK_EQ(at[2], 5);
    CHECK_EQ(s.refractory, 3);
}

TEST(tokenizer_no_refractory_period_before_the_first_spike)
{
    const sp_tokenizer_config_t c = {.threshold = 2.0, .absolute_refractory_us = 1000};
    const uint64_t times[] = {0, 1, 2};
    sp_tokenizer_stats_t s;
    size_t at[3];

    CHECK_EQ(fire(c, times, 3, at, &s), 1);
    CHECK_EQ(at[0], 1);
    CHECK_EQ(s.refractory, 1);
}

TEST(tokenizer_spike_at_time_zero_counts)
{
    const sp_tokenizer_config_t c = {.threshold = 1.0, .absolute_refractory_us = 10};
    const uint64_t times[] = {0, 9, 10};
    sp_tokenizer_stats_t s;
    size_t at[3];

    CHECK_EQ(fire(c, times, 3, at, &s), 2);
    CHECK_EQ(at[1], 2);
}

TEST(tokenizer_relative_refractory_period_scales_until_it_ends)
{
    /* Fires at 0; 10..19 is absolute, then until 29 an event adds 0.5. */
    const sp_tokenizer_config_t c = {.threshold = 2.0,
                                     .absolute_refractory_us = 10,
                                     .relative_refractory_us = 20,
                                     .relative_scale = 0.5};
    const uint64_t times[] = {0, 0, 9, 10, 29, 30, 40};
    sp_tokenizer_stats_t s;
    size_t at[7];

    CHECK_EQ(fire(c, times, 7, at, &s), 2);
    CHECK_EQ(at[0], 1);
    CHECK_EQ(at[1], 5); /* 0.5 + 0.5 + 1 */
    CHECK_EQ(s.refractory, 1);
    CHECK_EQ(s.in_tokens, 5);
}

TEST(tokenizer_refractory_periods_may_be_longer_than_any_time)
{
    const sp_tokenizer_config_t c = {.threshold = 1.0,
                                     .absolute_refractory_us = UINT64_MAX,
                                     .relative_refractory_us = UINT64_MAX};
    const uint64_t times[] = {5, 6, UINT64_MAX};
    sp_tokenizer_stats_t s;
    size_t at[3];

    CHECK_EQ(fire(c, times, 3, at, &s), 1);
    CHECK_EQ(s.refractory, 2);
}

TEST(tokenizer_refractory_periods_about_as_long_as_32_bits)
{
    static const uint64_t periods[] = {1u << 23,   0xFF7FFFFF,        0xFF800000,
                                       UINT32_MAX, UINT64_C(1) << 32, UINT64_C(3) << 32};
    for (uint32_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        const sp_event_t *events = random_events(i, 3000, 46, 37, UINT32_MAX);
        sp_tokenizer_config_t c = {.width = 46,
                                   .height = 37,
                                   .pool_events = 16 * 3000,
                                   .threshold = 5.0,
                                   .absolute_refractory_us = periods[i]};
        check_against_oracle(c, events, 3000);
        c.relative_refractory_us = periods[i];
        check_against_oracle(c, events, 3000);
    }
}

TEST(tokenizer_refractory_period_is_over_after_a_pause_that_looks_short_in_32_bits)
{
    const sp_tokenizer_config_t c = {.threshold = 1.0, .absolute_refractory_us = 100};
    const uint64_t times[] = {10, (UINT64_C(1) << 32) + 10, (UINT64_C(7) << 32) + 9, (UINT64_C(7) << 32) + 108};
    sp_tokenizer_stats_t s;
    size_t at[4];

    CHECK_EQ(fire(c, times, 4, at, &s), 3);
    CHECK_EQ(s.refractory, 1);
}

TEST(tokenizer_decay_to_zero_discards_what_was_collected)
{
    const sp_tokenizer_config_t c = {.threshold = 3.0, .decay_per_us = 0.5};
    /* u: 1, 1.5, then 1.5 + 1 - 5 < 0: both discarded, u 0 and one event held; then 1 - 0, 2 */
    const uint64_t times[] = {0, 1, 11, 11, 11, 11};
    sp_tokenizer_stats_t s;
    size_t at[6];

    CHECK_EQ(fire(c, times, 6, at, &s), 1);
    CHECK_EQ(at[0], 5);
    CHECK_EQ(s.decayed, 2);
    CHECK_EQ(s.in_tokens, 4);
}

TEST(tokenizer_potential_of_exactly_zero_discards)
{
    const sp_tokenizer_config_t c = {.threshold = 3.0, .decay_per_us = 0.5};
    const uint64_t times[] = {0, 4}; /* 1 + 1 - 2 = 0 */
    sp_tokenizer_stats_t s;
    size_t at[2];

    CHECK_EQ(fire(c, times, 2, at, &s), 0);
    CHECK_EQ(s.decayed, 1);
    CHECK_EQ(s.pending, 1);
}

/* -------------------------------------------------------------- times */

TEST(tokenizer_times_beyond_32_and_34_bits_are_exact)
{
    static const uint64_t starts[] = {(UINT64_C(1) << 23) - 2, (UINT64_C(1) << 32) - 2, (UINT64_C(1) << 34) - 2,
                                      (UINT64_C(1) << 54) - 2, UINT64_MAX - 3};
    static const uint16_t patches[] = {16, 300, 2048};

    for (size_t k = 0; k < 3; k++) {
        sp_event_t events[20];
        size_t n = 0;
        for (size_t i = 0; i < 5; i++)
            for (size_t j = 0; j < 4; j++)
                events[n++] = (sp_event_t){.t = starts[i] + j, .x = (uint16_t)(2000 + i), .y = (uint16_t)j, .p = j & 1};
        check_against_oracle((sp_tokenizer_config_t){.width = 2048,
                                                     .height = 2048,
                                                     .patch_size = patches[k],
                                                     .pool_events = 1024,
                                                     .threshold = 6.0},
                             events, n);
        check_against_oracle((sp_tokenizer_config_t){.width = 2048,
                                                     .height = 2048,
                                                     .patch_size = patches[k],
                                                     .pool_events = 1024,
                                                     .threshold = 2.5,
                                                     .relative_refractory_us = 1u << 20},
                             events, n);
    }
}

TEST(tokenizer_patch_of_every_pixel_without_division)
{
    static const uint16_t patches[] = {1, 3, 7, 10, 255, 1000, 1999};
    for (size_t k = 0; k < sizeof patches / sizeof patches[0]; k++) {
        const sp_tokenizer_config_t c = {.width = 65535,
                                         .height = 1,
                                         .patch_size = patches[k],
                                         .pool_events = 16,
                                         .threshold = 1.0};
        sp_tokenizer_t *tok = new_tokenizer(&c);
        for (uint32_t x = 0; x < 65535; x += 1 + x % 5) {
            const sp_event_t e = {.x = (uint16_t)x};
            sp_event_t back;
            sp_token_cursor_t cursor;
            size_t used;
            CHECK_EQ(sp_tokenizer_push(tok, &e, 1, &used), SP_TOKEN);
            CHECK_EQ(sp_tokenizer_token(tok)->x, x / patches[k]);
            sp_token_cursor_init(&cursor, tok);
            CHECK_EQ(sp_token_cursor_read(&cursor, &back, 1), 1);
            CHECK_EQ(back.x, x);
        }
    }
}

/* -------------------------------------------------------------- input that is wrong */

TEST(tokenizer_events_outside_or_backwards_change_only_their_counts)
{
    const sp_tokenizer_config_t c = {.width = 20, .height = 10, .pool_events = 64, .threshold = 3.0};
    const sp_event_t events[] = {{.t = 10}, {.t = 11, .x = 20}, {.t = 12, .y = 10},
                                 {.t = 9},  {.t = 10},          {.t = 99, .x = 65535, .y = 65535},
                                 {.t = 10}};
    sp_tokenizer_t *tok = new_tokenizer(&c);
    sp_tokenizer_stats_t s;
    size_t used;

    CHECK_EQ(sp_tokenizer_push(tok, events, 7, &used), SP_TOKEN);
    CHECK_EQ(used, 7);
    sp_tokenizer_stats(tok, &s);
    CHECK_EQ(s.outside, 3);
    CHECK_EQ(s.backwards, 1);
    CHECK_EQ(s.in_tokens, 3);
    check_accounts(tok, 7);
}

TEST(tokenizer_any_polarity_but_zero_is_on)
{
    const sp_tokenizer_config_t c = {.width = 8, .height = 8, .pool_events = 16, .threshold = 1.0};
    const sp_event_t event = {.t = 5, .p = 254};
    sp_tokenizer_t *tok = new_tokenizer(&c);
    sp_token_cursor_t cursor;
    sp_event_t back;
    size_t used;

    CHECK_EQ(sp_tokenizer_push(tok, &event, 1, &used), SP_TOKEN);
    sp_token_cursor_init(&cursor, tok);
    CHECK_EQ(sp_token_cursor_read(&cursor, &back, 1), 1);
    CHECK_EQ(back.p, 1);
    CHECK_EQ(back.t, 5);
}

/* -------------------------------------------------------------- life of a tokenizer */

TEST(tokenizer_reset_is_as_new)
{
    const sp_tokenizer_config_t c = {.width = 46,
                                     .height = 37,
                                     .patch_size = 8,
                                     .pool_events = 256,
                                     .threshold = 9.5,
                                     .absolute_refractory_us = 50,
                                     .relative_refractory_us = 90,
                                     .decay_per_us = 1e-5};
    const sp_event_t *events = random_events(5, 3000, 46, 37, 1u << 24);
    sp_tokenizer_t *fresh = new_tokenizer(&c), *used = new_tokenizer(&c);
    sp_tokenizer_stats_t a, b;

    push_in_pieces(&used, random_events(6, 2500, 46, 37, 1u << 24), 2500, 100);
    sp_tokenizer_reset(used);
    CHECK(sp_tokenizer_token(used) == NULL);
    const token_list_t expected = push_in_pieces(&fresh, events, 3000, 3000);
    const token_list_t got = push_in_pieces(&used, events, 3000, 3000);
    token_list_check_equal(&got, &expected);
    sp_tokenizer_stats(fresh, &a);
    sp_tokenizer_stats(used, &b);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
}

TEST(tokenizer_growing_loses_nothing)
{
    sp_tokenizer_config_t c = {.width = 46,
                               .height = 37,
                               .patch_size = 8,
                               .pool_events = 16,
                               .threshold = 40.0,
                               .pool_policy = SP_POOL_GROWS};
    const sp_event_t *events = random_events(9, 5000, 46, 37, 1u << 24);

    check_against_oracle(c, events, 5000);
    c.absolute_refractory_us = 20;
    check_against_oracle(c, events, 5000);
    c.decay_per_us = 1e-6;
    check_against_oracle(c, events, 5000);
}

TEST(tokenizer_growing_keeps_the_ready_token)
{
    const sp_tokenizer_config_t c = {.width = 8,
                                     .height = 8,
                                     .pool_events = 32,
                                     .threshold = 20.0,
                                     .pool_policy = SP_POOL_GROWS};
    sp_tokenizer_config_t bigger = c;
    sp_tokenizer_t *tok = new_tokenizer(&c);
    sp_event_t events[20];
    token_list_t before = token_list(), after = token_list();
    size_t used;

    for (size_t i = 0; i < 20; i++)
        events[i] = (sp_event_t){.t = i, .x = (uint16_t)(i % 8), .y = 3, .p = i & 1};
    CHECK_EQ(sp_tokenizer_push(tok, events, 20, &used), SP_TOKEN);
    token_list_take(&before, tok);
    bigger.pool_events = 320;
    const size_t size = sp_tokenizer_size(&bigger);
    uint8_t *mem = harness_alloc(size);
    CHECK_EQ(sp_tokenizer_grow(&tok, 16, mem, size), SP_ERR_CONFIG);
    CHECK_EQ(sp_tokenizer_grow(&tok, 320, mem, size - 1), SP_ERR_MEMORY);
    CHECK_EQ(sp_tokenizer_grow(&tok, 320, mem + 4, size), SP_ERR_MEMORY);
    CHECK_EQ(sp_tokenizer_grow(&tok, 320, mem, size), SP_OK);
    CHECK((uint8_t *)tok == mem);
    token_list_take(&after, tok);
    token_list_check_equal(&after, &before);
}

TEST(tokenizer_full_pool_that_grows_has_done_nothing_of_the_event)
{
    const sp_tokenizer_config_t c = {.width = 8,
                                     .height = 8,
                                     .patch_size = 4,
                                     .pool_events = 16,
                                     .threshold = 5.0,
                                     .pool_policy = SP_POOL_GROWS,
                                     .decay_per_us = 1e-3};
    const sp_event_t events[] = {{.t = 1}, {.t = 2, .x = 7}};
    sp_tokenizer_t *tok = new_tokenizer(&c);
    sp_tokenizer_stats_t before, after;
    size_t used;

    CHECK_EQ(sp_tokenizer_push(tok, events, 1, &used), SP_OK);
    sp_tokenizer_stats(tok, &before);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(sp_tokenizer_push(tok, events + 1, 1, &used), SP_ERR_POOL);
        CHECK_EQ(used, 0);
    }
    sp_tokenizer_stats(tok, &after);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
}

TEST(tokenizer_empty_push_is_fine)
{
    const sp_tokenizer_config_t c = good();
    sp_tokenizer_t *tok = new_tokenizer(&c);
    size_t used = 9;
    CHECK_EQ(sp_tokenizer_push(tok, NULL, 0, &used), SP_OK);
    CHECK_EQ(used, 0);
    check_accounts(tok, 0);
}
