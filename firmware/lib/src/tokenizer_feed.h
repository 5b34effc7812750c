/* The loops that bring events to a tokenizer, once for all step functions: order, sensor bounds, epochs.
 * A step takes one event that is in order and on the sensor. It returns SP_OK, SP_TOKEN, or SP_ERR_POOL with
 * nothing of the event done. */
#ifndef SP_TOKENIZER_FEED_H_INCLUDED
#define SP_TOKENIZER_FEED_H_INCLUDED

#include "evt2_words.h"
#include "tokenizer_state.h"

/* What a step reads on every event, copied out of the tokenizer so that stores to the pool cannot alias it. */
typedef struct sp_feed {
    sp_patch_t *states;
    uint32_t *slots;
    uint32_t columns, patch_size, shift, reciprocal, span_bits, fire_count;
} sp_feed_t;

typedef int (*sp_step_fn)(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p, uint64_t t);

SP_INLINE sp_feed_t sp_feed(const sp_tokenizer_t *tok)
{
    return (sp_feed_t){.states = tok->states,
                       .slots = tok->slots,
                       .columns = tok->columns,
                       .patch_size = tok->config.patch_size,
                       .shift = tok->shift,
                       .reciprocal = tok->reciprocal,
                       .span_bits = tok->span_bits,
                       .fire_count = tok->fire_count};
}

/* Where an event is: patch coordinates, and coordinates in the patch. */
typedef struct sp_place {
    uint32_t column, row, x, y;
} sp_place_t;

SP_INLINE sp_place_t sp_place_of(const sp_feed_t *feed, uint32_t x, uint32_t y)
{
    const int power_of_two = feed->reciprocal == 0;
    const uint32_t column = power_of_two ? x >> feed->shift : (uint32_t)((uint64_t)x * feed->reciprocal >> 32);
    const uint32_t row = power_of_two ? y >> feed->shift : (uint32_t)((uint64_t)y * feed->reciprocal >> 32);
    return (sp_place_t){column, row, x - column * feed->patch_size, y - row * feed->patch_size};
}

SP_INLINE uint32_t sp_slot_of(uint32_t span_bits, sp_place_t place, uint32_t p, uint64_t t)
{
    return (uint32_t)t << (2u * span_bits + 1u) | p << (2u * span_bits) | place.y << span_bits | place.x;
}

SP_INLINE int sp_feed_events(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used, sp_step_fn step)
{
    const sp_feed_t feed = sp_feed(tok);
    const uint32_t width = tok->config.width, height = tok->config.height;
    uint64_t last_t = tok->last_t, epoch_last_t = tok->epoch_last_t;
    int rc = SP_OK;
    size_t i = 0;

    while (rc == SP_OK && i < n) {
        const sp_event_t *e = &in[i];
        if (SP_RARELY(e->x >= width || e->y >= height)) {
            tok->stats.outside++;
            i++;
            continue;
        }
        if (SP_RARELY(e->t < last_t)) {
            tok->stats.backwards++;
            i++;
            continue;
        }
        if (SP_RARELY(e->t > epoch_last_t)) {
            sp_pool_enter_epoch(tok, e->t);
            epoch_last_t = tok->epoch_last_t;
        }
        rc = step(tok, &feed, e->x, e->y, e->p != 0, e->t);
        if (SP_RARELY(rc == SP_ERR_POOL))
            break;
        last_t = e->t;
        i++;
    }
    tok->last_t = last_t;
    tok->stats.taken += i;
    *used = i;
    return rc;
}

/* What the loop over EVT2 words knows between two time words. */
typedef struct sp_words {
    uint64_t base;  /* the decoder's time base */
    uint32_t floor; /* what an event's low time + 1 must reach to be in order: the newest one's, 0 for any, 65 for none */
    uint32_t width; /* of the sensor; 0 while events need a closer look: no time word yet, or a new epoch */
} sp_words_t;

SP_INLINE sp_words_t sp_words_start(const sp_tokenizer_t *tok, const sp_evt2_t *d)
{
    sp_words_t w = {.base = d->time_base};
    if (tok->last_t >= w.base)
        w.floor = tok->last_t - w.base > 63u ? 65u : (uint32_t)(tok->last_t - w.base) + 1u;
    if (d->timed && w.base <= tok->epoch_last_t)
        w.width = tok->config.width;
    return w;
}

SP_INLINE void sp_words_stop(const sp_words_t *w, sp_tokenizer_t *tok)
{
    if (w->floor - 1u < 64u)
        tok->last_t = w->base + (w->floor - 1u);
}

/* An event that failed the check against w->width and the height. Returns 1 if it is to be taken after all. */
static inline int sp_words_look(sp_words_t *w, sp_tokenizer_t *tok, uint32_t word)
{
    if (evt2_x(word) >= tok->config.width || evt2_y(word) >= tok->config.height) {
        tok->stats.outside++;
        return 0;
    }
    sp_pool_enter_epoch(tok, w->base);
    w->width = tok->config.width;
    return 1;
}

/* Whole EVT2 words; *done says how many were consumed. */
SP_INLINE int sp_feed_words(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *done,
                            sp_step_fn step)
{
    const sp_feed_t feed = sp_feed(tok);
    const uint32_t height = tok->config.height;
    const uint8_t *at = in, *const end = in + 4u * n;
    sp_words_t w = sp_words_start(tok, d);
    size_t others = 0; /* words that are no events */
    int rc = SP_OK;

    for (; at != end; at += 4) {
        const uint32_t word = evt2_load(at), x = evt2_x(word), y = evt2_y(word), low = evt2_low_time(word);
        if (SP_RARELY(evt2_type(word) > EVT2_ON)) {
            sp_words_stop(&w, tok);
            evt2_take_other(d, word);
            w = sp_words_start(tok, d);
            others++;
            continue;
        }
        if (SP_RARELY(x >= w.width || y >= height)) {
            if (!d->timed) {
                d->stats.untimed++;
                others++;
                continue;
            }
            if (!sp_words_look(&w, tok, word))
                continue;
        }
        if (SP_RARELY(low + 1u < w.floor)) {
            tok->stats.backwards++;
            continue;
        }
        rc = step(tok, &feed, x, y, evt2_type(word), w.base | low);
        if (SP_RARELY(rc != SP_OK)) {
            if (rc == SP_ERR_POOL)
                break;
            w.floor = low + 1u;
            at += 4;
            break;
        }
        w.floor = low + 1u;
    }
    sp_words_stop(&w, tok);
    *done = (size_t)(at - in) / 4u;
    d->stats.words += *done;
    d->stats.events += *done - others;
    tok->stats.taken += *done - others;
    return rc;
}

#endif
