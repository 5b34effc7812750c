/* Without decay and relative refractory period the potential is the number of events held: no doubles. */
#include "tokenizer_feed.h"

SP_INLINE int step(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p, uint64_t t,
                   int power_of_two, int refractory)
{
    const uint32_t column = sp_patch_of(feed, x, power_of_two);
    const uint32_t row = sp_patch_of(feed, y, power_of_two);
    const uint32_t patch = row * feed->columns + column;
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
    feed->slots[next] = sp_slot_of(feed, x - column * feed->patch_size, y - row * feed->patch_size, p, t);
    state->next = next + 1u;
    state->count = count;
    if (SP_RARELY(count >= feed->fire_count)) {
        sp_tokenizer_fire(tok, column, row, t);
        return SP_TOKEN;
    }
    return SP_OK;
}

/* One specialised pair of loops for each combination. */
#define SP_INTEGER_PATH(name, power_of_two, refractory)                                                          \
    SP_INLINE int step_##name(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p,    \
                              uint64_t t)                                                                        \
    {                                                                                                            \
        return step(tok, feed, x, y, p, t, power_of_two, refractory);                                            \
    }                                                                                                            \
    static int push_##name(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used)                    \
    {                                                                                                            \
        return sp_feed_events(tok, in, n, used, step_##name);                                                    \
    }                                                                                                            \
    static int push_evt2_##name(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *used)    \
    {                                                                                                            \
        return sp_feed_evt2(tok, d, in, n, used, step_##name);                                                   \
    }

SP_INTEGER_PATH(shifted, 1, 0)
SP_INTEGER_PATH(shifted_refractory, 1, 1)
SP_INTEGER_PATH(scaled, 0, 0)
SP_INTEGER_PATH(scaled_refractory, 0, 1)

void sp_integer_bind(sp_tokenizer_t *tok)
{
    const int refractory = tok->config.absolute_refractory_us > 0;

    if (sp_is_power_of_two(tok->config.patch_size)) {
        tok->push = refractory ? push_shifted_refractory : push_shifted;
        tok->push_evt2 = refractory ? push_evt2_shifted_refractory : push_evt2_shifted;
    } else {
        tok->push = refractory ? push_scaled_refractory : push_scaled;
        tok->push_evt2 = refractory ? push_evt2_scaled_refractory : push_evt2_scaled;
    }
}
