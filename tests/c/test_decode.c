#include "decode_pieces.h"
#include "harness.h"
#include "oracle.h"

#include <string.h>

#define EVENT(type, low, x, y) ((uint32_t)(type) << 28 | (uint32_t)(low) << 22 | (uint32_t)(x) << 11 | (uint32_t)(y))
#define TIME(high) (0x80000000u | (uint32_t)(high))
#define OTHER(type) ((uint32_t)(type) << 28 | 0x123u)

static uint8_t *bytes_of(const uint32_t *words, size_t n)
{
    uint8_t *bytes = harness_alloc(4 * n);
    for (size_t i = 0; i < 4 * n; i++)
        bytes[i] = (uint8_t)(words[i / 4] >> 8 * (i % 4));
    return bytes;
}

TEST(evt2_fields_of_every_word_type)
{
    const uint32_t words[] = {EVENT(1, 5, 1, 1), TIME(7),          EVENT(1, 63, 2047, 2046),
                              EVENT(0, 0, 3, 4), OTHER(0xA),       OTHER(0xE),
                              OTHER(0xF),        OTHER(0x2),       OTHER(0x9),
                              TIME(8),           EVENT(0, 1, 5, 6)};
    sp_evt2_t d;
    sp_event_t out[16];

    sp_evt2_init(&d);
    CHECK_EQ(decode_all_evt2(&d, bytes_of(words, 11), 44, 44, 16, out), 3);
    CHECK_EQ(out[0].t, 7 * 64 + 63);
    CHECK_EQ(out[0].x, 2047);
    CHECK_EQ(out[0].y, 2046);
    CHECK_EQ(out[0].p, 1);
    CHECK_EQ(out[1].t, 7 * 64);
    CHECK_EQ(out[1].p, 0);
    CHECK_EQ(out[2].t, 8 * 64 + 1);
    CHECK_EQ(d.stats.untimed, 1);
    CHECK_EQ(d.stats.events, 3);
    CHECK_EQ(d.stats.times, 2);
    CHECK_EQ(d.stats.triggers, 1);
    CHECK_EQ(d.stats.other, 2);
    CHECK_EQ(d.stats.unknown, 2);
    check_words_add_up(&d.stats);
}

TEST(evt2_clock_wraps_after_2_to_34)
{
    const uint32_t words[] = {TIME(0x0FFFFFFF),  EVENT(1, 63, 0, 0), TIME(0), EVENT(1, 0, 0, 0), TIME(0x08000000),
                              EVENT(1, 0, 0, 0), TIME(0x0FFFFFFF),   TIME(1), EVENT(1, 2, 0, 0)};
    sp_evt2_t d;
    sp_event_t out[4];

    sp_evt2_init(&d);
    CHECK_EQ(decode_all_evt2(&d, bytes_of(words, 9), 36, 36, 4, out), 4);
    CHECK_EQ(out[0].t, (UINT64_C(1) << 34) - 1);
    CHECK_EQ(out[1].t, UINT64_C(1) << 34);
    CHECK_EQ(out[2].t, UINT64_C(3) << 33);
    CHECK_EQ(out[3].t, (UINT64_C(2) << 34) + 64 + 2);
}

TEST(evt2_step_back_of_half_the_range_is_a_wrap)
{
    const uint32_t words[] = {TIME(0x08000000), TIME(0), EVENT(1, 0, 0, 0),
                              TIME(0x07FFFFFF), TIME(0), EVENT(1, 0, 0, 0)};
    sp_evt2_t d;
    sp_event_t out[2];

    sp_evt2_init(&d);
    CHECK_EQ(decode_all_evt2(&d, bytes_of(words, 6), 24, 24, 2, out), 2);
    CHECK_EQ(out[0].t, UINT64_C(1) << 34);
    CHECK_EQ(out[1].t, UINT64_C(1) << 34);
}

TEST(evt2_small_step_back_is_no_wrap)
{
    const uint32_t words[] = {TIME(100), EVENT(1, 0, 0, 0), TIME(99), EVENT(1, 0, 0, 0)};
    sp_evt2_t d;
    sp_event_t out[2];

    sp_evt2_init(&d);
    CHECK_EQ(decode_all_evt2(&d, bytes_of(words, 4), 16, 16, 2, out), 2);
    CHECK_EQ(out[0].t, 6400);
    CHECK_EQ(out[1].t, 6336);
}

static uint8_t *random_bytes(uint32_t seed, size_t n)
{
    uint8_t *bytes = harness_alloc(n);
    uint32_t state = seed + 1u;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)harness_random(&state, 256);
        if (i % 4 == 3 && harness_random(&state, 2)) /* more events than chance would give */
            bytes[i] &= 0x1F;
    }
    return bytes;
}

TEST(evt2_hostile_bytes_cut_anywhere_decode_the_same)
{
    static const size_t pieces[] = {1, 2, 3, 5, 7, 64, 1000, 4003};
    const size_t n = 4003;

    for (uint32_t seed = 0; seed < 20; seed++) {
        const uint8_t *bytes = random_bytes(seed, n);
        sp_event_t *whole = harness_alloc(n / 4 * sizeof *whole), *cut = harness_alloc(n / 4 * sizeof *cut);
        sp_evt2_t a, b;
        sp_evt2_init(&a);
        const size_t expected = decode_all_evt2(&a, bytes, n, n, n / 4, whole);
        check_words_add_up(&a.stats);
        CHECK_EQ(a.stats.words, n / 4);
        CHECK_EQ(a.partial_bytes, n % 4);
        for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
            sp_evt2_init(&b);
            CHECK_EQ(decode_all_evt2(&b, bytes, n, pieces[k], 1 + k, cut), expected);
            CHECK(memcmp(whole, cut, expected * sizeof *whole) == 0);
            CHECK(memcmp(&a, &b, sizeof a) == 0);
        }
    }
}

TEST(evt2_no_room_consumes_nothing_that_is_lost)
{
    const uint32_t words[] = {TIME(1), EVENT(1, 0, 1, 2)};
    const uint8_t *bytes = bytes_of(words, 2);
    sp_event_t out[1];
    size_t used, got;
    sp_evt2_t d;

    sp_evt2_init(&d);
    CHECK_EQ(sp_evt2_decode(&d, bytes, 8, &used, out, 0, &got), SP_MORE);
    CHECK_EQ(got, 0);
    CHECK_EQ(sp_evt2_decode(&d, bytes + used, 8 - used, &used, out, 1, &got), SP_OK);
    CHECK_EQ(got, 1);
    CHECK_EQ(out[0].t, 64);
}

/* Straight into the tokenizer, and by way of an event array. */
static void check_same_as_two_steps(const sp_tokenizer_config_t *config, const uint8_t *bytes, size_t n, size_t piece)
{
    sp_tokenizer_t *fused = new_tokenizer(config), *stepped = new_tokenizer(config);
    sp_event_t *events = harness_alloc((n / 4 + 1) * sizeof *events);
    sp_evt2_t a, b;
    sp_evt2_init(&a);
    sp_evt2_init(&b);
    const size_t count = decode_all_evt2(&b, bytes, n, n, n / 4 + 1, events);
    const token_list_t expected = push_in_pieces(&stepped, events, count, count ? count : 1);

    token_list_t got = token_list();
    for (size_t start = 0; start < n; start += piece) {
        const size_t length = n - start < piece ? n - start : piece;
        size_t at = 0, used;
        int rc;
        do {
            rc = sp_tokenizer_push_evt2(fused, &a, bytes + start + at, length - at, &used);
            CHECK(rc == SP_OK || rc == SP_TOKEN);
            at += used;
            if (rc == SP_TOKEN)
                token_list_take(&got, fused);
        } while (rc == SP_TOKEN);
        CHECK_EQ(at, length);
    }
    token_list_check_equal(&got, &expected);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    check_accounts(fused, a.stats.events);
    sp_tokenizer_stats_t sa, sb;
    size_t used;
    CHECK_EQ(sp_tokenizer_push(stepped, NULL, 0, &used), SP_OK); /* releases a token of the very last event */
    sp_tokenizer_stats(fused, &sa);
    sp_tokenizer_stats(stepped, &sb);
    CHECK(memcmp(&sa, &sb, sizeof sa) == 0);
}

static const size_t PIECES[] = {1, 3, 7, 1000, 20000};

TEST(evt2_hostile_bytes_straight_into_the_tokenizer_equal_two_steps)
{
    const sp_tokenizer_config_t configs[] = {
        {.width = 2048, .height = 2048, .patch_size = 512, .pool_events = 400, .threshold = 12},
        {.width = 1000,
         .height = 700,
         .patch_size = 300,
         .pool_events = 400,
         .threshold = 5,
         .absolute_refractory_us = 5000},
        {.width = 2048, .height = 2048, .patch_size = 1000, .pool_events = 400, .threshold = 5, .decay_per_us = 1e-9},
    };
    for (uint32_t seed = 0; seed < 5; seed++) {
        const uint8_t *bytes = random_bytes(seed + 50, 20000);
        for (size_t c = 0; c < 3; c++)
            for (size_t k = 0; k < 5; k++)
                check_same_as_two_steps(&configs[c], bytes, 20000, PIECES[k]);
    }
}

/* A camera's words on a sensor of 70 x 70, with events out of order and outside, time words that repeat, go back,
 * jump into another epoch without events, and triggers. share: of 400 words are so many time words. */
static uint8_t *camera_words(uint32_t seed, size_t n, uint32_t share)
{
    uint32_t *words = harness_alloc(n * sizeof *words), state = seed + 1u;
    uint32_t high = harness_random(&state, 1u << 19), low = 0;
    const uint32_t first = harness_random(&state, 5);

    for (size_t i = 0; i < n; i++) {
        const uint32_t what = harness_random(&state, 400);
        if (i == first || what < share) {
            const uint32_t half = share / 2;
            high += what < half ? harness_random(&state, 3) : what < half + 3 ? harness_random(&state, 1u << 19) : 0;
            high -= what == half + 4 ? harness_random(&state, 3) : 0;
            low = 0;
            words[i] = TIME(high & 0x0FFFFFFFu);
        } else if (what < share + 4u) {
            words[i] = OTHER(what % 2 ? 0xA : 0x5);
        } else {
            low += harness_random(&state, 3);
            low -= what < share + 10u ? harness_random(&state, low + 1) : 0;
            low = low > 63 ? 63 : low;
            words[i] = EVENT(what % 2, low, harness_random(&state, what < share + 20u ? 2048 : 70),
                             harness_random(&state, what % 40 ? 70 : 72));
        }
    }
    return bytes_of(words, n);
}

TEST(evt2_camera_words_straight_into_the_tokenizer_equal_two_steps)
{
    static const uint16_t patches[] = {1, 4, 7, 16, 32, 70};
    for (uint32_t seed = 0; seed < 12; seed++) {
        const uint8_t *bytes = camera_words(seed, 5000, seed % 2 ? 60 : 180); /* of a slow one, too */
        for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++) {
            sp_tokenizer_config_t c = {.width = 70,
                                       .height = 70,
                                       .patch_size = patches[i],
                                       .threshold = 3.0 + (double)i,
                                       .pool_events = 100 + 300 * (seed % 3)};
            check_same_as_two_steps(&c, bytes, 20000, PIECES[(seed + i) % 5]);
            c.absolute_refractory_us = 900;
            check_same_as_two_steps(&c, bytes, 20000, PIECES[(seed + i + 1) % 5]);
            c.decay_per_us = 1e-4;
            check_same_as_two_steps(&c, bytes, 20000, PIECES[(seed + i + 2) % 5]);
        }
    }
}

TEST(evt2_full_pool_that_grows_leaves_the_word)
{
    const sp_tokenizer_config_t c = {.width = 8,
                                     .height = 8,
                                     .patch_size = 4,
                                     .pool_events = 16,
                                     .pool_policy = SP_POOL_GROWS};
    const uint32_t words[] = {TIME(5), EVENT(1, 1, 0, 0), EVENT(1, 2, 7, 7)};
    const uint8_t *bytes = bytes_of(words, 3);

    for (size_t cut = 8; cut < 12; cut++) { /* the last word whole, or its beginning pushed before */
        sp_tokenizer_t *tok = new_tokenizer(&c);
        sp_evt2_t d;
        size_t used;
        sp_evt2_init(&d);
        CHECK_EQ(sp_tokenizer_push_evt2(tok, &d, bytes, cut, &used), SP_OK);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(sp_tokenizer_push_evt2(tok, &d, bytes + cut, 12 - cut, &used), SP_ERR_POOL);
            CHECK_EQ(used, 0);
        }
        CHECK_EQ(d.stats.words, 2);
        sp_tokenizer_config_t bigger = c;
        bigger.pool_events = 32;
        const size_t size = sp_tokenizer_size(&bigger);
        CHECK_EQ(sp_tokenizer_grow(&tok, 32, harness_alloc(size), size), SP_OK);
        CHECK_EQ(sp_tokenizer_push_evt2(tok, &d, bytes + cut, 12 - cut, &used), SP_OK);
        CHECK_EQ(used, 12 - cut);
        CHECK_EQ(d.stats.words, 3);
        check_accounts(tok, 2);
    }
}
