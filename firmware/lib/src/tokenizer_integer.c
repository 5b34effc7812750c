/* Without decay and relative refractory period the potential is the number of events held: no doubles. */
#include "tokenizer_feed.h"

/* small: the patch size is 1, 2, 4, 8 or 16, so that span_bits is 4 and masks do. */
SP_INLINE sp_place_t place_of(const sp_feed_t *feed, uint32_t x, uint32_t y, int small)
{
    const uint32_t mask = feed->patch_size - 1u;
    return small ? (sp_place_t){x >> feed->shift, y >> feed->shift, x & mask, y & mask} : sp_place_of(feed, x, y);
}

SP_INLINE int step(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p, uint64_t t,
                   int small, int refractory)
{
    const sp_place_t place = place_of(feed, x, y, small);
    const uint32_t patch = place.row * feed->columns + place.column;
    sp_patch_t *state = &feed->states[patch];

    if (refractory && t - tok->last_spike[patch] < tok->config.absolute_refractory_us && tok->spiked[patch]) {
        tok->stats.refractory++;
        return SP_OK;
    }
    if (SP_RARELY(!SLOT_HAS_ROOM(state->next))) {
        const int rc = sp_pool_open(tok, patch);
        if (rc < 0)
            return rc;
    }
    const uint32_t next = state->next, count = state->count + 1u;
    feed->slots[next] = sp_slot_of(small ? 4u : feed->span_bits, place, p, t);
    state->next = next + 1u;
    state->count = count;
    if (SP_RARELY(count >= feed->fire_count)) {
        sp_tokenizer_fire(tok, place.column, place.row, t);
        return SP_TOKEN;
    }
    return SP_OK;
}

/* One specialised pair of loops for each combination. */
#define SP_INTEGER_PATH(name, small, refractory)                                                                 \
    SP_INLINE int step_##name(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p,    \
                              uint64_t t)                                                                        \
    {                                                                                                            \
        return step(tok, feed, x, y, p, t, small, refractory);                                                   \
    }                                                                                                            \
    static int push_##name(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used)                    \
    {                                                                                                            \
        return sp_feed_events(tok, in, n, used, step_##name);                                                    \
    }                                                                                                            \
    static int push_words_##name(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *done)   \
    {                                                                                                            \
        return sp_feed_words(tok, d, in, n, done, step_##name);                                                  \
    }

SP_INTEGER_PATH(small, 1, 0)
SP_INTEGER_PATH(small_refractory, 1, 1)
SP_INTEGER_PATH(any, 0, 0)
SP_INTEGER_PATH(any_refractory, 0, 1)

void sp_integer_bind(sp_tokenizer_t *tok)
{
    const int refractory = tok->config.absolute_refractory_us > 0;

    if (sp_is_power_of_two(tok->config.patch_size) && tok->config.patch_size <= 16) {
        tok->push = refractory ? push_small_refractory : push_small;
        tok->push_words = refractory ? push_words_small_refractory : push_words_small;
    } else {
        tok->push = refractory ? push_any_refractory : push_any;
        tok->push_words = refractory ? push_words_any_refractory : push_words_any;
    }
}
