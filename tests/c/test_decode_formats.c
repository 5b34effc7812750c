#include "decode_pieces.h"
#include "harness.h"

#include <string.h>

static const char *const names[SP_FORMATS] = {"EVT2", "EVT2.1", "EVT2.1 legacy", "EVT3", "E0", "E1", "E2", "E3", "E4"};

static void check_event(const sp_event_t *event, uint64_t t, uint16_t x, uint16_t y, uint8_t p)
{
    CHECK_EQ(event->t, t);
    CHECK_EQ(event->x, x);
    CHECK_EQ(event->y, y);
    CHECK_EQ(event->p, p);
}

TEST(decoder_refuses_an_unknown_format)
{
    sp_decoder_t d;
    CHECK_EQ(sp_decoder_init(&d, &(sp_decoder_config_t){.format = SP_FORMATS}), SP_ERR_CONFIG);
    CHECK_EQ(sp_decoder_init(&d, &(sp_decoder_config_t){.format = SP_FORMAT_EDVS_E4}), SP_OK);
    CHECK_EQ(d.config.width, 128);
    CHECK_EQ(sp_decoder_init(&d, &(sp_decoder_config_t){.format = SP_FORMAT_EVT3, .width = 5}), SP_OK);
    CHECK_EQ(d.config.width, 5);
    CHECK_EQ(d.config.height, 2048);
}

TEST(decoder_evt21_in_both_orders_of_halves)
{
    /* TIME_HIGH 3; an on event word at x 64, y 5, low time 9, mask of bits 0, 1 and 31 */
    static const uint8_t little[] = {0, 0, 0, 0, 3, 0, 0, 0x80, 3, 0, 0, 0x80, 5, 0, 0x42, 0x12};
    uint8_t legacy[16];
    sp_event_t out[4];
    sp_decoder_t d;

    for (size_t i = 0; i < 16; i++)
        legacy[i] = little[i ^ 4u];
    for (uint8_t format = SP_FORMAT_EVT21; format <= SP_FORMAT_EVT21_LEGACY; format++) {
        CHECK_EQ(sp_decoder_init(&d, &(sp_decoder_config_t){.format = format}), SP_OK);
        CHECK_EQ(decode_all(&d, format == SP_FORMAT_EVT21 ? little : legacy, 16, 5, 1, out), 3);
        check_event(&out[0], 3 * 64 + 9, 64, 5, 1);
        check_event(&out[1], 3 * 64 + 9, 65, 5, 1);
        check_event(&out[2], 3 * 64 + 9, 95, 5, 1);
        CHECK_EQ(d.stats.vectors, 1);
        CHECK_EQ(d.stats.vector_events, 3);
    }
}

TEST(decoder_evt3_vectors_time_and_clipping)
{
    static const uint16_t words[] = {0x0003, 0x2001,         /* before any time: lost */
                                     0x8001, 0x6002, 0x0004, /* t = 4098, row 4 */
                                     0x380A, 0x4801, 0x5081, /* base 10, on: 10, 21; then 22, 29 */
                                     0x8002, 0x2FFF,         /* low time is 0 again; x 2047 is outside */
                                     0x2005, 0xA000, 0xE000, 0xF000, 0x7000, 0x1000};
    uint8_t bytes[sizeof words];
    sp_event_t out[8];
    sp_decoder_t d;

    for (size_t i = 0; i < sizeof words; i++)
        bytes[i] = (uint8_t)(words[i / 2] >> 8 * (i % 2));
    CHECK_EQ(sp_decoder_init(&d, &(sp_decoder_config_t){.format = SP_FORMAT_EVT3, .width = 29, .height = 5}), SP_OK);
    CHECK_EQ(decode_all(&d, bytes, sizeof bytes, 3, 1, out), 4);
    check_event(&out[0], 4098, 10, 4, 1);
    check_event(&out[1], 4098, 21, 4, 1);
    check_event(&out[2], 4098, 22, 4, 1);
    check_event(&out[3], 8192, 5, 4, 0);
    CHECK_EQ(d.stats.untimed, 2);
    CHECK_EQ(d.stats.clipped, 1);
    CHECK_EQ(d.stats.outside, 1);
    CHECK_EQ(d.stats.triggers, 1);
    CHECK_EQ(d.stats.other, 3);
    CHECK_EQ(d.stats.unknown, 1);
    CHECK_EQ(d.stats.addresses, 2);
    check_words_add_up(&d.stats);
}

TEST(decoder_edvs_resynchronises_and_unwraps)
{
    static const uint8_t e2[] = {0x01, 0x7F, 0x85, 0x86, 0xFF, 0xFE, 0x85, 0x06, 0x00, 0x01};
    static const uint8_t e1[] = {0x81, 0x02, 0x84, 0x81, 0x02, 0x01, 0x80, 0x81, 0x02, 1, 2, 3, 4, 0x81, 0x02, 0x81};
    sp_event_t out[4];
    sp_decoder_t d;

    CHECK_EQ(sp_decoder_init(&d, &(sp_decoder_config_t){.format = SP_FORMAT_EDVS_E2}), SP_OK);
    CHECK_EQ(decode_all(&d, e2, sizeof e2, 1, 1, out), 2);
    check_event(&out[0], 0xFFFE, 6, 5, 1);
    check_event(&out[1], 0x10001, 6, 5, 0);
    CHECK_EQ(d.stats.skipped, 2);
    CHECK_EQ(sp_decoder_init(&d, &(sp_decoder_config_t){.format = SP_FORMAT_EDVS_E1}), SP_OK);
    sp_decoder_set_time(&d, 1000);
    CHECK_EQ(decode_all(&d, e1, sizeof e1, 4, 4, out), 3);
    check_event(&out[0], 1004, 2, 1, 0);
    check_event(&out[1], 1132, 2, 1, 0);
    check_event(&out[2], 1133, 2, 1, 0);
    CHECK_EQ(d.stats.skipped, 6); /* an event whose time does not end */
}

TEST(decoder_hostile_bytes_cut_anywhere_decode_the_same)
{
    static const size_t pieces[] = {1, 2, 3, 7, 64, 1000};
    const size_t n = 3001, most = 6 * n;

    for (uint8_t format = 0; format < SP_FORMATS; format++) {
        for (uint32_t seed = 1; seed < 6; seed++) {
            const sp_decoder_config_t config = {.format = format, .width = 1000, .height = 700};
            uint8_t *bytes = harness_alloc(n);
            uint32_t state = seed;
            sp_event_t *whole = harness_alloc(most * sizeof *whole), *cut = harness_alloc(most * sizeof *cut);
            sp_decoder_t a, b;
            for (size_t i = 0; i < n; i++)
                bytes[i] = (uint8_t)harness_random(&state, 256);
            CHECK_EQ(sp_decoder_init(&a, &config), SP_OK);
            const size_t expected = decode_all(&a, bytes, n, n, most, whole);
            CHECK(names[format] && expected > 0);
            check_words_add_up(&a.stats);
            for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
                CHECK_EQ(sp_decoder_init(&b, &config), SP_OK);
                CHECK_EQ(decode_all(&b, bytes, n, pieces[k], 1 + 5 * k, cut), expected);
                CHECK(memcmp(whole, cut, expected * sizeof *whole) == 0);
                CHECK(memcmp(&a.stats, &b.stats, sizeof a.stats) == 0);
                CHECK_EQ(a.partial, b.partial);
            }
        }
    }
}

TEST(decoder_of_evt2_equals_that_of_the_link)
{
    const size_t n = 8000;
    uint8_t *bytes = harness_alloc(n);
    uint32_t state = 9;
    sp_event_t *a = harness_alloc(n * sizeof *a), *b = harness_alloc(n * sizeof *b);
    sp_decoder_t any;
    sp_evt2_t d;
    size_t used, got;

    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(harness_random(&state, 256) & (i % 4 == 3 ? 0x9F : 0xFF));
    CHECK_EQ(sp_decoder_init(&any, &(sp_decoder_config_t){.format = SP_FORMAT_EVT2}), SP_OK);
    sp_evt2_init(&d);
    CHECK_EQ(sp_evt2_decode(&d, bytes, n, &used, a, n, &got), SP_OK);
    CHECK_EQ(decode_all(&any, bytes, n, 1001, n, b), got);
    CHECK(got > 500);
    CHECK(memcmp(a, b, got * sizeof *a) == 0);
    CHECK(memcmp(&any.stats, &d.stats, sizeof d.stats) == 0);
}
