/* The discrete kind: a patch fires when it holds threshold events that are no older than the duration. */
#include "tokenizer_feed.h"

/* The time of the patch's oldest event. Its block's time bits are known whether it is open or not. */
static uint64_t oldest_time(const sp_tokenizer_t *tok, uint32_t patch)
{
    const uint32_t head = tok->next_block[tok->tail[patch]];
    const uint32_t slot = tok->slots[head * BLOCK_SLOTS + tok->skip[patch]];
    return INFO_EPOCH(tok->block_info[head]) << tok->time_bits | slot >> (2u * tok->span_bits + 1u);
}

/* Discard the events older than the duration; returns how many. The newest, of time t, never is one. */
static uint32_t expire(sp_tokenizer_t *tok, uint32_t patch, uint64_t t)
{
    const uint32_t tail = tok->tail[patch];
    uint32_t gone = 0;

    while (t - oldest_time(tok, patch) > tok->config.duration_us) {
        const uint32_t head = tok->next_block[tail];
        gone++;
        if (++tok->skip[patch] == INFO_USED(tok->block_info[head]) && head != tail) {
            sp_pool_release_oldest(tok, tail);
            tok->skip[patch] = 0;
        }
    }
    tok->states[patch].count -= gone;
    tok->stats.decayed += gone;
    return gone;
}

static int step(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p, uint64_t t)
{
    const sp_place_t place = sp_place_of(feed, x, y);
    const uint32_t patch = place.row * feed->columns + place.column;
    sp_patch_t *state = &feed->states[patch];

    if (tok->config.absolute_refractory_us > 0 && tok->spiked[patch] &&
        t - tok->last_spike[patch] < tok->config.absolute_refractory_us) {
        tok->stats.refractory++;
        return SP_OK;
    }
    if (SP_RARELY(!SLOT_HAS_ROOM(state->next))) {
        const int rc = sp_pool_open(tok, patch);
        if (rc < 0)
            return rc;
    }
    feed->slots[state->next++] = sp_slot_of(feed->span_bits, place, p, t);
    state->count++;
    if (state->count < tok->fire_count || expire(tok, patch, t) > 0)
        return SP_OK;
    sp_tokenizer_fire(tok, place.column, place.row, t);
    return SP_TOKEN;
}

static int push(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used)
{
    return sp_feed_events(tok, in, n, used, step);
}

static int push_words(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *done)
{
    return sp_feed_words(tok, d, in, n, done, step);
}

void sp_discrete_bind(sp_tokenizer_t *tok)
{
    tok->push = push;
    tok->push_words = push_words;
}
