#include "harness.h"
#include "oracle.h"
#include "spedge/embed.h"
#include "spedge/integers.h"

#include <math.h>
#include <string.h>

TEST(embed_bucket_edges)
{
    CHECK_EQ(sp_embed_bucket(0, 10), 0);
    CHECK_EQ(sp_embed_bucket(999, 10), 0);
    for (unsigned k = 0; k < 9; k++) {
        CHECK_EQ(sp_embed_bucket((UINT64_C(1000) << k) - 1, 10), k);
        CHECK_EQ(sp_embed_bucket(UINT64_C(1000) << k, 10), k + 1);
    }
    CHECK_EQ(sp_embed_bucket(UINT64_C(1000) << 9, 10), 9);
    CHECK_EQ(sp_embed_bucket(UINT64_MAX, 10), 9);
    CHECK_EQ(sp_embed_bucket(UINT64_MAX, 1), 0);
    CHECK_EQ(sp_embed_bucket(UINT64_MAX, 32), 31);
    CHECK_EQ(sp_embed_bucket((UINT64_C(1000) << 30) - 1, 32), 30);
}

TEST(embed_config_defaults_and_bounds)
{
    sp_embed_config_t c = {.hidden = 64}, full;
    CHECK_EQ(sp_embed_config_check(&c, &full), SP_OK);
    CHECK_EQ(full.patch_size, 16);
    CHECK_EQ(full.buckets, 10);
    CHECK(full.time_scale_us == 50000.0f);
    CHECK_EQ(sp_embed_cells(&full), 5120);
    c.hidden = 2;
    CHECK_EQ(sp_embed_config_check(&c, &full), SP_ERR_CONFIG);
    c = (sp_embed_config_t){.hidden = 64, .buckets = 33};
    CHECK_EQ(sp_embed_config_check(&c, &full), SP_ERR_CONFIG);
    c = (sp_embed_config_t){.hidden = 64, .patch_size = 2049};
    CHECK_EQ(sp_embed_config_check(&c, &full), SP_ERR_CONFIG);
    c = (sp_embed_config_t){.hidden = 64, .time_scale_us = -1.0f};
    CHECK_EQ(sp_embed_config_check(&c, &full), SP_ERR_CONFIG);
    c.time_scale_us = NAN;
    CHECK_EQ(sp_embed_config_check(&c, &full), SP_ERR_CONFIG);
}

#define P 5u
#define BUCKETS 4u
#define HIDDEN 9u
#define CELLS (2u * BUCKETS * P * P)

static float weight[CELLS * HIDDEN], bias[HIDDEN];

static sp_embed_config_t config_with_weights(void)
{
    uint32_t state = 7;
    for (size_t i = 0; i < CELLS * HIDDEN; i++)
        weight[i] = (float)harness_random(&state, 2001) / 1000.0f - 1.0f;
    for (size_t i = 0; i < HIDDEN; i++)
        bias[i] = (float)i;
    return (sp_embed_config_t){.patch_size = P,
                               .hidden = HIDDEN,
                               .buckets = BUCKETS,
                               .time_scale_us = 1000.0f,
                               .weight = weight,
                               .bias = bias};
}

TEST(embed_volume_cells_by_polarity_age_row_column)
{
    const sp_embed_config_t c = config_with_weights();
    /* patch (2, 1): pixels 10..14, 5..9 */
    const sp_event_t events[] = {{.t = 0, .x = 10, .y = 5, .p = 0},
                                 {.t = 3001, .x = 14, .y = 9, .p = 1},
                                 {.t = 5000, .x = 11, .y = 7, .p = 1},
                                 {.t = 5000, .x = 11, .y = 7, .p = 1}};
    uint16_t volume[CELLS];
    unsigned sum = 0;

    sp_embed_volume(&c, events, 4, volume);
    for (size_t i = 0; i < CELLS; i++)
        sum += volume[i];
    CHECK_EQ(sum, 4);
    CHECK_EQ(volume[((0 * BUCKETS + 3) * P + 0) * P + 0], 1); /* 5000 us: the last bucket */
    CHECK_EQ(volume[((1 * BUCKETS + 1) * P + 4) * P + 4], 1); /* 1999 us */
    CHECK_EQ(volume[((1 * BUCKETS + 0) * P + 2) * P + 1], 2);
    sp_embed_volume(&c, events, 0, volume);
    CHECK_EQ(volume[((1 * BUCKETS + 0) * P + 2) * P + 1], 0);
}

TEST(embed_counts_stop_at_65535)
{
    const sp_embed_config_t c = config_with_weights();
    const size_t n = 70000;
    sp_event_t *events = harness_alloc(n * sizeof *events);
    uint16_t volume[CELLS];

    memset(events, 0, n * sizeof *events);
    sp_embed_volume(&c, events, n, volume);
    CHECK_EQ(volume[0], 65535);
}

/* out[j] = bias[j] + sum log(1 + count) * weight, in doubles over all cells. */
static void dense(const uint16_t *volume, double *out)
{
    for (size_t j = 0; j < HIDDEN; j++) {
        out[j] = (double)bias[j];
        for (size_t i = 0; i < CELLS; i++)
            out[j] += log1p((double)volume[i]) * (double)weight[i * HIDDEN + j];
    }
}

static int is_zero(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return 0;
    return 1;
}

TEST(embed_sparse_equals_dense)
{
    const sp_embed_config_t c = config_with_weights();
    const size_t size = sp_embed_scratch_size(&c);
    uint8_t *scratch = harness_alloc(size);
    uint16_t volume[CELLS];
    float out[HIDDEN];
    double expected[HIDDEN];

    memset(scratch, 0, size);
    for (uint32_t seed = 0; seed < 20; seed++) {
        const size_t n = seed * 60;
        const sp_event_t *events = random_events(seed, n, P, P, 5000);
        sp_embed_volume(&c, events, n, volume);
        dense(volume, expected);
        CHECK_EQ(sp_embed_events(&c, events, n, scratch, size, out), SP_OK);
        CHECK(is_zero(scratch, size));
        for (size_t j = 0; j < HIDDEN; j++)
            CHECK(fabs((double)out[j] - expected[j]) < 1e-4);
    }
}

TEST(embed_weights_in_integers)
{
    static int32_t integers[CELLS * HIDDEN];
    sp_embed_config_t c = config_with_weights();
    const size_t size = sp_embed_scratch_size(&c);
    uint8_t *scratch = harness_alloc(size);
    float out[HIDDEN], ours[HIDDEN];

    for (size_t i = 0; i < CELLS * HIDDEN; i++)
        integers[i] = sp_integer_halves(sp_integer_of(sp_integer_bits(weight[i]), 0));
    memset(scratch, 0, size);
    for (uint32_t seed = 0; seed < 20; seed++) {
        const size_t n = seed * 60;
        const sp_event_t *events = random_events(seed, n, P, P, 5000);
        c.weight = weight, c.integers = NULL;
        CHECK_EQ(sp_embed_events(&c, events, n, scratch, size, out), SP_OK);
        c.weight = NULL, c.integers = integers;
        CHECK_EQ(sp_embed_events(&c, events, n, scratch, size, ours), SP_OK);
        CHECK(is_zero(scratch, size));
        for (size_t j = 0; j < HIDDEN; j++)
            CHECK(fabs((double)out[j] - (double)ours[j]) < 3e-5);
    }
}

TEST(embed_bits_do_not_depend_on_the_order_of_events)
{
    const sp_embed_config_t c = config_with_weights();
    const size_t size = sp_embed_scratch_size(&c), n = 200;
    uint8_t *scratch = harness_alloc(size);
    sp_event_t *events = random_events(3, n, P, P, 0);
    float forward[HIDDEN], backward[HIDDEN];

    memset(scratch, 0, size);
    for (size_t i = 0; i < n; i++)
        events[i].t = 9;
    CHECK_EQ(sp_embed_events(&c, events, n, scratch, size, forward), SP_OK);
    for (size_t i = 0; i < n / 2; i++) {
        const sp_event_t swap = events[i];
        events[i] = events[n - 1 - i];
        events[n - 1 - i] = swap;
    }
    CHECK_EQ(sp_embed_events(&c, events, n, scratch, size, backward), SP_OK);
    CHECK(memcmp(forward, backward, sizeof forward) == 0);
}

/* Tokens of patches of so many pixels, embedded by patches of `own`. */
static void embed_tokens_of(uint8_t size_of_patch, uint8_t own, uint16_t width, uint16_t height)
{
    sp_embed_config_t c = config_with_weights();
    const sp_tokenizer_config_t tc = {.width = width,
                                      .height = height,
                                      .patch_size = size_of_patch,
                                      .pool_events = 4096,
                                      .threshold = 40.0};
    const sp_event_t *events = random_events(4, 3000, width, height, 1u << 24);
    const size_t size = sp_embed_scratch_size(&c);
    uint8_t *scratch = harness_alloc(size);
    sp_tokenizer_t *tok = new_tokenizer(&tc);
    float out[HIDDEN], expected[HIDDEN];
    size_t at = 0, used, tokens = 0;

    c.patch_size = own; /* at most P: its weights are enough */
    memset(scratch, 0, size);
    while (at < 3000) {
        const int rc = sp_tokenizer_push(tok, events + at, 3000 - at, &used);
        at += used;
        if (rc != SP_TOKEN)
            continue;
        token_list_t one = token_list();
        token_list_take(&one, tok);
        CHECK_EQ(sp_embed_token(&c, tok, scratch, size, out), SP_OK);
        CHECK_EQ(sp_embed_events(&c, one.events, one.event_count, scratch, size, expected), SP_OK);
        CHECK(memcmp(out, expected, sizeof out) == 0);
        tokens++;
    }
    CHECK(tokens > 20);
}

TEST(embed_ready_token_equals_its_events)
{
    embed_tokens_of(P, P, 23, 11);
    embed_tokens_of(4, 4, 23, 11);
    embed_tokens_of(2, 2, 7, 5);
}

TEST(embed_ready_token_of_other_patches_equals_its_events)
{
    embed_tokens_of(P + 1, P, 23, 11);
    embed_tokens_of(2 * P, P, 23, 11);
    embed_tokens_of(8, 4, 23, 11);
}

TEST(embed_scratch_too_small_or_misaligned_is_refused)
{
    const sp_embed_config_t c = config_with_weights();
    const size_t size = sp_embed_scratch_size(&c);
    uint8_t *scratch = harness_alloc(size + 4);
    const sp_event_t event = {.t = 1};
    float out[HIDDEN];

    CHECK_EQ(sp_embed_events(&c, &event, 1, scratch, size - 1, out), SP_ERR_CAPACITY);
    CHECK_EQ(sp_embed_events(&c, &event, 1, scratch + 2, size, out), SP_ERR_CAPACITY);
    CHECK_EQ(sp_embed_events(&c, &event, 1, NULL, size, out), SP_ERR_CAPACITY);
}

/* Largest difference of the sines and cosines that are added to the real ones, rounding of the sum left aside. */
static double position_error(uint16_t size, float scale, uint64_t position)
{
    uint64_t steps[128];
    float out[256];
    double worst = 0.0;
    size_t at = 0;

    memset(out, 0, sizeof out);
    sp_embed_position_steps(size, scale, steps);
    sp_embed_position_add(out, size, steps, position);
    for (unsigned odd = 0; odd < 2; odd++) {
        for (size_t i = odd; i < size; i += 2) {
            const long double angle =
                (long double)position / ((long double)scale * powl(10000.0L, 2.0L * (long double)(i / 2) / size));
            const double expected = (double)(odd ? cosl(angle) : sinl(angle));
            worst = fmax(worst, fabs((double)out[at++] - expected));
        }
    }
    return worst;
}

static const uint16_t position_sizes[] = {1, 2, 7, 21, 22, 256};

TEST(embed_position_sines_then_cosines)
{
    for (size_t k = 0; k < sizeof position_sizes / sizeof position_sizes[0]; k++)
        for (uint64_t position = 0; position < 40; position += 3)
            CHECK(position_error(position_sizes[k], 1.0f, position) < 3e-7);
}

/* Angles of up to 10^8 rad: the sine of their float32 would be that of another angle. */
TEST(embed_position_after_a_long_pause)
{
    static const uint64_t times[] = {99999, 300000000, 2000000007, 99999999999, 1000000000000};
    for (size_t k = 0; k < sizeof position_sizes / sizeof position_sizes[0]; k++)
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            CHECK(position_error(position_sizes[k], 10000.0f, times[i]) < 1e-6);
            CHECK(position_error(position_sizes[k], 50000.0f, times[i]) < 1e-6);
            CHECK(position_error(position_sizes[k], 33333.3f, times[i]) < 1e-6);
        }
}

TEST(embed_position_adds_to_what_is_there)
{
    uint64_t steps[4];
    float alone[7] = {0}, on_top[7];

    sp_embed_position_steps(7, 50000.0f, steps);
    sp_embed_position_add(alone, 7, steps, 1234567);
    for (size_t i = 0; i < 7; i++)
        on_top[i] = 100.0f;
    sp_embed_position_add(on_top, 7, steps, 1234567);
    for (size_t i = 0; i < 7; i++)
        CHECK(on_top[i] == 100.0f + alone[i]);
}

TEST(embed_position_sizes_add_up_to_hidden)
{
    for (uint16_t hidden = 3; hidden < 800; hidden++) {
        uint16_t xy, t;
        sp_embed_position_sizes(hidden, &xy, &t);
        CHECK_EQ(2 * xy + t, hidden);
        CHECK_EQ(t - xy, hidden % 3);
    }
}

TEST(embed_sparse_cells_are_those_of_the_volume_that_hold_events)
{
    sp_embed_config_t config = {.patch_size = 4, .hidden = 3, .buckets = 3};
    CHECK_EQ(sp_embed_config_check(&config, &config), SP_OK);
    enum { EVENTS = 200, ALL_CELLS = 2 * 3 * 4 * 4 };
    sp_event_t events[EVENTS];
    uint32_t state = 9, cells[EVENTS];
    uint16_t counts[EVENTS], volume[ALL_CELLS];
    void *scratch = harness_alloc(sp_embed_scratch_size(&config));
    memset(scratch, 0, sp_embed_scratch_size(&config));
    for (size_t n = 0; n <= EVENTS; n += 50) {
        for (size_t i = 0; i < n; i++)
            events[i] = (sp_event_t){.t = i * 40u,
                                     .x = (uint16_t)harness_random(&state, 9),
                                     .y = (uint16_t)harness_random(&state, 9),
                                     .p = (uint8_t)harness_random(&state, 2)};
        const size_t found = sp_embed_sparse(&config, events, n, scratch, cells, counts);
        sp_embed_volume(&config, events, n, volume);
        size_t at = 0;
        for (uint32_t cell = 0; cell < ALL_CELLS; cell++) {
            if (volume[cell] == 0)
                continue;
            CHECK(at < found && cells[at] == cell && counts[at] == volume[cell]);
            at++;
        }
        CHECK_EQ(at, found);
    }
}
