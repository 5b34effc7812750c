/* What happens when a bounded pool is full. */
#include "harness.h"
#include "oracle.h"
#include "spedge/tokenizer.h"

/* Patches of 4 in a row; patch i is at x = 4 i. */
static sp_tokenizer_t *row_of_patches(uint32_t pool_events, double threshold)
{
    const sp_tokenizer_config_t c = {.width = 64,
                                     .height = 4,
                                     .patch_size = 4,
                                     .pool_events = pool_events,
                                     .threshold = threshold};
    return new_tokenizer(&c);
}

static int push_one(sp_tokenizer_t *tok, unsigned patch, uint64_t t)
{
    const sp_event_t e = {.t = t, .x = (uint16_t)(4 * patch)};
    size_t used;
    const int rc = sp_tokenizer_push(tok, &e, 1, &used);
    CHECK_EQ(used, 1);
    return rc;
}

static sp_tokenizer_stats_t stats_of(const sp_tokenizer_t *tok)
{
    sp_tokenizer_stats_t s;
    sp_tokenizer_stats(tok, &s);
    return s;
}

/* Events that patch still needs to fire, found by pushing; the pool must have room for them. */
static unsigned needs(sp_tokenizer_t *tok, unsigned patch, uint64_t t)
{
    for (unsigned i = 1; i < 1000; i++)
        if (push_one(tok, patch, t) == SP_TOKEN)
            return i;
    return 0;
}

TEST(pool_evicts_the_patch_whose_newest_event_is_the_oldest)
{
    sp_tokenizer_t *tok = row_of_patches(48, 8.0); /* three blocks */

    push_one(tok, 2, 10);
    push_one(tok, 0, 20);
    push_one(tok, 1, 30);
    push_one(tok, 2, 40); /* now patch 0 waits longest */
    push_one(tok, 3, 50);
    CHECK_EQ(stats_of(tok).pool_lost, 1);
    CHECK_EQ(stats_of(tok).pending, 4);
    CHECK_EQ(needs(tok, 1, 60), 7);
    CHECK_EQ(needs(tok, 2, 60), 6);
    CHECK_EQ(needs(tok, 3, 60), 7);
    CHECK_EQ(needs(tok, 0, 60), 8);
}

TEST(pool_evicts_the_lowest_patch_on_a_tie)
{
    sp_tokenizer_t *tok = row_of_patches(32, 8.0);

    push_one(tok, 5, 10);
    push_one(tok, 3, 10);
    push_one(tok, 7, 10);
    CHECK_EQ(stats_of(tok).pool_lost, 1);
    CHECK_EQ(needs(tok, 5, 10), 7);
    CHECK_EQ(needs(tok, 3, 10), 8);
}

TEST(pool_evicts_the_asking_patch_only_if_it_alone_holds_events)
{
    sp_tokenizer_t *tok = row_of_patches(32, 100.0);

    for (unsigned i = 0; i < 16; i++)
        push_one(tok, 0, 1); /* full block, and the oldest */
    push_one(tok, 1, 5);
    push_one(tok, 0, 6); /* needs a block: patch 1 goes, though newer */
    CHECK_EQ(stats_of(tok).pool_lost, 1);
    CHECK_EQ(stats_of(tok).pending, 17);
    for (unsigned i = 17; i < 32; i++)
        push_one(tok, 0, 7);
    push_one(tok, 0, 8); /* both blocks are its own */
    CHECK_EQ(stats_of(tok).pool_lost, 33);
    CHECK_EQ(stats_of(tok).pending, 1);
    check_accounts(tok, 34);
}

TEST(pool_of_one_block_works)
{
    sp_tokenizer_t *tok = row_of_patches(1, 16.0);
    for (unsigned round = 0; round < 3; round++)
        CHECK_EQ(needs(tok, round, round), 16);
    CHECK_EQ(stats_of(tok).pool_lost, 0);
    CHECK_EQ(stats_of(tok).pool_peak, 16);
    check_accounts(tok, 48);
}

TEST(pool_smaller_than_a_token_never_fires_and_counts)
{
    sp_tokenizer_t *tok = row_of_patches(16, 17.0);
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(push_one(tok, 0, i), SP_OK);
    CHECK_EQ(stats_of(tok).pool_lost, 96);
    check_accounts(tok, 100);
}

TEST(pool_blocks_of_a_new_epoch_are_fresh)
{
    sp_tokenizer_t *tok = row_of_patches(64, 5.0);
    sp_event_t back[5];
    sp_token_cursor_t cursor;

    push_one(tok, 0, 1);
    push_one(tok, 0, (1u << 23) - 1);
    push_one(tok, 0, 1u << 23);
    push_one(tok, 0, UINT64_C(1) << 40);
    CHECK_EQ(stats_of(tok).pool_used, 48);
    CHECK_EQ(push_one(tok, 0, (UINT64_C(1) << 40) + 1), SP_TOKEN);
    sp_token_cursor_init(&cursor, tok);
    CHECK_EQ(sp_token_cursor_read(&cursor, back, 5), 5);
    CHECK_EQ(back[1].t, (1u << 23) - 1);
    CHECK_EQ(back[2].t, 1u << 23);
    CHECK_EQ(back[3].t, UINT64_C(1) << 40);
    push_one(tok, 1, (UINT64_C(1) << 40) + 1);
    CHECK_EQ(stats_of(tok).pool_used, 16); /* the token's blocks went back */
}

TEST(pool_eviction_compares_full_times)
{
    sp_tokenizer_t *tok = row_of_patches(32, 100.0);

    push_one(tok, 0, 100);             /* low bits larger than the next */
    push_one(tok, 1, 1u << 23);        /* low bits 0 */
    push_one(tok, 2, (1u << 23) + 50); /* patch 0 is the oldest */
    push_one(tok, 1, (1u << 23) + 51);
    CHECK_EQ(stats_of(tok).pool_lost, 1);
    CHECK_EQ(stats_of(tok).pending, 3);
}

TEST(pool_eviction_keeps_the_refractory_state)
{
    const sp_tokenizer_config_t c = {.width = 64,
                                     .height = 4,
                                     .patch_size = 4,
                                     .pool_events = 16,
                                     .threshold = 2.0,
                                     .absolute_refractory_us = 10,
                                     .relative_refractory_us = 1000,
                                     .relative_scale = 0.5};
    sp_tokenizer_t *tok = new_tokenizer(&c);

    CHECK_EQ(push_one(tok, 0, 0), SP_OK);
    CHECK_EQ(push_one(tok, 0, 0), SP_TOKEN);
    CHECK_EQ(push_one(tok, 0, 20), SP_OK); /* 0.5 */
    CHECK_EQ(push_one(tok, 1, 21), SP_OK); /* evicts patch 0 */
    CHECK_EQ(stats_of(tok).pool_lost, 1);
    CHECK_EQ(push_one(tok, 0, 22), SP_OK); /* evicts patch 1; 0.5 again, from 0 */
    CHECK_EQ(needs(tok, 0, 23), 3);
    check_accounts(tok, 8);
}

TEST(pool_any_size_accounts_for_every_event)
{
    for (uint32_t seed = 0; seed < 60; seed++) {
        uint32_t state = seed + 1000u;
        sp_tokenizer_config_t c = {.width = 46,
                                   .height = 37,
                                   .patch_size = (uint16_t)(1 + harness_random(&state, 40)),
                                   .pool_events = 1 + harness_random(&state, 300),
                                   .threshold = 1.0 + harness_random(&state, 60)};
        if (harness_random(&state, 2))
            c.absolute_refractory_us = harness_random(&state, 2000);
        if (harness_random(&state, 2))
            c.decay_per_us = 1e-5 * harness_random(&state, 100);
        if (harness_random(&state, 3) == 0)
            c.relative_refractory_us = harness_random(&state, 5000);
        const sp_event_t *events = random_events(seed, 4000, 46, 37, 1u << 25);
        sp_tokenizer_t *whole = new_tokenizer(&c), *cut = new_tokenizer(&c);
        const token_list_t expected = push_in_pieces(&whole, events, 4000, 4000);
        const token_list_t got = push_in_pieces(&cut, events, 4000, 7);
        token_list_check_equal(&got, &expected);
        check_accounts(whole, 4000);
        check_accounts(cut, 4000);
    }
}
