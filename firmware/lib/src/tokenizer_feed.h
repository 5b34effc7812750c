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

/* Patch coordinate of a pixel coordinate. */
SP_INLINE uint32_t sp_patch_of(const sp_feed_t *feed, uint32_t pixel, int power_of_two)
{
    return power_of_two ? pixel >> feed->shift : (uint32_t)((uint64_t)pixel * feed->reciprocal >> 32);
}

SP_INLINE uint32_t sp_slot_of(const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p, uint64_t t)
{
    return (uint32_t)t << (2u * feed->span_bits + 1u) | p << (2u * feed->span_bits) | y << feed->span_bits | x;
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

/* One EVT2 word that is an event. */
SP_INLINE int sp_feed_word(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t word, uint64_t time_base,
                           uint64_t *last_t, sp_step_fn step)
{
    const uint64_t t = time_base | evt2_low_time(word);

    if (SP_RARELY(t < *last_t)) {
        tok->stats.backwards++;
        return SP_OK;
    }
    if (SP_RARELY(t > tok->epoch_last_t))
        sp_pool_enter_epoch(tok, t);
    const int rc = step(tok, feed, evt2_x(word), evt2_y(word), evt2_type(word), t);
    if (rc != SP_ERR_POOL)
        *last_t = t;
    return rc;
}

SP_INLINE int sp_feed_evt2(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *used,
                           sp_step_fn step)
{
    const sp_feed_t feed = sp_feed(tok);
    const uint32_t width = tok->config.width, height = tok->config.height;
    uint64_t last_t = tok->last_t;
    uint64_t events = 0, words = 0;
    size_t at = 0, bytes;
    uint32_t word;
    int rc = SP_OK;

    while (rc == SP_OK && evt2_peek(d, in + at, n - at, &word, &bytes)) {
        if (SP_RARELY(evt2_type(word) > EVT2_ON)) {
            evt2_take_other(d, word);
        } else if (SP_RARELY(!d->timed)) {
            d->stats.untimed++;
        } else {
            if (SP_RARELY(evt2_x(word) >= width || evt2_y(word) >= height))
                tok->stats.outside++;
            else
                rc = sp_feed_word(tok, &feed, word, d->time_base, &last_t, step);
            if (SP_RARELY(rc == SP_ERR_POOL))
                break;
            events++;
        }
        words++;
        at += bytes;
        d->partial = 0;
        d->partial_bytes = 0;
    }
    if (rc == SP_OK) {
        evt2_keep(d, in + at, n - at);
        at = n;
    }
    d->stats.words += words;
    d->stats.events += events;
    tok->stats.taken += events;
    tok->last_t = last_t;
    *used = at;
    return rc;
}

#endif
