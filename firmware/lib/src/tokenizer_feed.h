/* The loops that bring events to a tokenizer, once for all kinds: order, sensor bounds, epochs, patches. A kind gives its
 * sp_take_fn. */
#ifndef SP_TOKENIZER_FEED_H_INCLUDED
#define SP_TOKENIZER_FEED_H_INCLUDED

#include "tokenizer_state.h"

/* What is read on every event, copied out of the tokenizer so that stores to the pool cannot alias it. */
typedef struct sp_feed {
    uint32_t *slots;
    uint32_t columns, patch_size, shift, reciprocal, span_bits;
} sp_feed_t;

/* Takes one event that is in order and on the sensor, of the current epoch and of tok->time_word: its patch and
 * slot. Returns
 * SP_OK, SP_TOKEN, or SP_ERR_POOL with nothing of the event done. */
typedef int sp_take_fn(sp_tokenizer_t *volatile *tok, const sp_feed_t *feed, uint32_t patch, uint32_t slot);

/* How the patch of a pixel is found; a constant, so that the loops are compiled for each. */
typedef enum sp_patches {
    SP_PATCHES_OF_16,   /* shifts that the compiler knows */
    SP_PATCHES_OF_2_TO, /* shifts */
    SP_PATCHES_OF_ANY   /* a reciprocal */
} sp_patches_t;

SP_INLINE sp_patches_t sp_patches(const sp_tokenizer_config_t *config)
{
    if (config->patch_size == 16)
        return SP_PATCHES_OF_16;
    return sp_is_power_of_two(config->patch_size) ? SP_PATCHES_OF_2_TO : SP_PATCHES_OF_ANY;
}

SP_INLINE sp_feed_t sp_feed(const sp_tokenizer_t *tok, sp_patches_t patches)
{
    const int is_16 = patches == SP_PATCHES_OF_16;
    return (sp_feed_t){.slots = tok->slots,
                       .columns = tok->columns,
                       .patch_size = is_16 ? 16u : tok->config.patch_size,
                       .shift = is_16 ? 4u : tok->shift,
                       .reciprocal = tok->reciprocal,
                       .span_bits = is_16 ? 4u : tok->span_bits};
}

/* The patch column of a pixel column, or the row of a row. */
SP_INLINE uint32_t sp_patch_at(const sp_feed_t *feed, uint32_t x, sp_patches_t patches)
{
    return patches == SP_PATCHES_OF_ANY ? (uint32_t)((uint64_t)x * feed->reciprocal >> 32) : x >> feed->shift;
}

SP_INLINE int sp_feed_events(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used, sp_take_fn take,
                             sp_patches_t patches)
{
    const sp_feed_t feed = sp_feed(tok, patches);
    sp_tokenizer_t *volatile on_stack = tok;
    int rc = SP_OK;
    size_t i = 0;

    for (; rc == SP_OK && i < n; i++) {
        const sp_event_t *e = &in[i];
        const uint32_t column = sp_patch_at(&feed, e->x, patches), row = sp_patch_at(&feed, e->y, patches);

        if (SP_RARELY(e->x >= tok->config.width || e->y >= tok->config.height)) {
            tok->stats.outside++;
            continue;
        }
        if (SP_RARELY(e->t < tok->last_t)) {
            tok->stats.backwards++;
            continue;
        }
        if (SP_RARELY(e->t > tok->epoch_last_t))
            sp_pool_enter_epoch(tok, e->t);
        uint32_t slot = sp_slot_high(feed.span_bits, e->t) | (e->p != 0 ? 1u : 0u) << EVT2_P_AT |
                        ((uint32_t)e->t & EVT2_LOW_MASK) << EVT2_LOW_AT;
        if (patches == SP_PATCHES_OF_ANY)
            slot |= (e->x - column * feed.patch_size) << EVT2_X_AT | (e->y - row * feed.patch_size);
        else /* the corner and what is in the patch at once */
            slot ^= (e->x & EVT2_SIDE_MASK) << EVT2_X_AT | (e->y & EVT2_SIDE_MASK);
        tok->time_word = (uint32_t)e->t >> EVT2_LOW_BITS;
        rc = take(&on_stack, &feed, row * feed.columns + column, slot);
        if (SP_RARELY(rc == SP_ERR_POOL))
            break;
        tok->last_t = e->t;
    }
    tok->stats.taken += i;
    *used = i;
    return rc;
}

/* ---------------------------------------------------------------- EVT2 words */

#define EVT2_LOW_IN_WORD (EVT2_LOW_MASK << EVT2_LOW_AT)
#define EVT2_ROW_ON_TOP (32u - EVT2_SIDE_BITS)

/* Between two time words: what a word must be to need no closer look. */
typedef struct sp_gate {
    uint32_t high;   /* the time base's bits in a slot */
    uint32_t right;  /* the word without polarity and time: below this. 0: closer looks for all */
    uint32_t bottom; /* the word with y on top: not above this */
    uint32_t low;    /* the word's time where it is: not below this, the newest event's time */
} sp_gate_t;

SP_INLINE sp_gate_t sp_gate(sp_tokenizer_t *tok, const sp_feed_t *feed, const sp_evt2_t *d)
{
    const uint32_t height = tok->config.height, rows = height <= EVT2_SIDE_MASK ? height : EVT2_SIDE_MASK + 1u;
    sp_gate_t gate = {.bottom = (rows - 1u) << EVT2_ROW_ON_TOP};

    if (tok->last_t >= d->time_base) {
        if (tok->last_t - d->time_base > EVT2_LOW_MASK)
            return gate;
        gate.low = (uint32_t)(tok->last_t - d->time_base) << EVT2_LOW_AT;
    }
    if (d->timed && d->time_base <= tok->epoch_last_t) {
        gate.right = (uint32_t)tok->config.width << EVT2_X_AT;
        gate.high = sp_slot_high(feed->span_bits, d->time_base);
        sp_limit_run(tok, d->time_base);
    }
    return gate;
}

/* The patch of an event's word, and its slot. */
SP_INLINE uint32_t sp_patch_of_word(const sp_feed_t *feed, const sp_gate_t *gate, uint32_t word, sp_patches_t patches,
                                    uint32_t *slot)
{
    const uint32_t x = evt2_x(word), y = evt2_y(word);
    const uint32_t column = sp_patch_at(feed, x, patches), row = sp_patch_at(feed, y, patches);

    *slot = word ^ gate->high;
    if (patches == SP_PATCHES_OF_ANY)
        *slot = (word & EVT2_P_AND_TIME) | gate->high | (x - column * feed->patch_size) << EVT2_X_AT |
                (y - row * feed->patch_size);
    return row * feed->columns + column;
}

SP_INLINE int sp_passes(const sp_gate_t *gate, uint32_t word, uint32_t low)
{
    return (word & ~EVT2_P_AND_TIME) < gate->right && word << EVT2_ROW_ON_TOP <= gate->bottom &&
           (word & EVT2_LOW_IN_WORD) >= low;
}

/* Whether the word at `at` is a time word that goes on within the run's limit; the time that it gives is noted, and *high
 * goes on to its bits in a slot. Not for one right behind another: of the newest event's time one step back is kept.
 * The first store is before the load, or the compiler keeps the word for this in the loop, at an instruction an event. */
SP_INLINE int sp_goes_on(sp_tokenizer_t *tok, const sp_feed_t *feed, const uint8_t *at, uint32_t *high)
{
    const uint32_t before = tok->time_word, times = tok->run_times;
    tok->word_before = before;
    const uint32_t word = evt2_load(at);

    if (tok->last_word - word >= tok->last_word - before)
        return 0;
    tok->time_word = word;
    tok->run_times = times + 1u;
    *high += (word - before) << feed->span_bits;
    return 1;
}

SP_INLINE int sp_take_word(sp_tokenizer_t *volatile *tok, const sp_feed_t *feed, const sp_gate_t *gate, uint32_t word,
                           sp_take_fn take, sp_patches_t patches)
{
    uint32_t slot;
    const uint32_t patch = sp_patch_of_word(feed, gate, word, patches, &slot);
    return take(tok, feed, patch, slot);
}

/* Takes words up to one that needs a closer look or makes a patch fire. Returns where it stopped, *rc being what take
 * said last; the caller keeps the time of the newest event. Two words a turn: their times then take turns in two
 * registers. */
SP_INLINE const uint8_t *sp_feed_run(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *at, const uint8_t *end, int *rc,
                                     sp_take_fn take, sp_patches_t patches)
{
    const sp_feed_t feed = sp_feed(tok, patches);
    const uint8_t *const last = end - 4;
    sp_gate_t gate = sp_gate(tok, &feed, d);
    sp_tokenizer_t *volatile on_stack = tok; /* needed rarely, where the loop needs every register */
    sp_evt2_t *volatile decoder = d;
    int taken;

    while (at < last) {
        const uint32_t first = evt2_load(at);
        if (SP_RARELY(!sp_passes(&gate, first, gate.low))) {
            if (gate.low == 0 || !sp_goes_on(on_stack, &feed, at, &gate.high)) {
                gate.high = sp_tokenizer_take_time(on_stack, decoder, at);
                if (gate.high == SP_NO_HIGH)
                    return at;
            }
            gate.low = 0;
            at += 4;
            continue;
        }
        const uint32_t low = first & EVT2_LOW_IN_WORD;
        taken = sp_take_word(&on_stack, &feed, &gate, first, take, patches);
        if (SP_RARELY(taken != SP_OK))
            goto stop;

        const uint32_t second = evt2_load(at + 4);
        if (SP_RARELY(!sp_passes(&gate, second, low))) {
            gate.low = low;
            at += 4;
            if (sp_goes_on(on_stack, &feed, at, &gate.high)) {
                gate.low = 0;
                at += 4;
            }
            continue;
        }
        gate.low = second & EVT2_LOW_IN_WORD;
        taken = sp_take_word(&on_stack, &feed, &gate, second, take, patches);
        if (SP_RARELY(taken != SP_OK)) {
            at += 4;
            goto stop;
        }
        at += 8;
    }
    if (at == last) { /* as it was left above, or as a piece of a stream ends */
        const uint32_t word = evt2_load(at);
        if (!sp_passes(&gate, word, gate.low))
            return at;
        taken = sp_take_word(&on_stack, &feed, &gate, word, take, patches);
        if (SP_RARELY(taken != SP_OK))
            goto stop;
        at += 4;
    }
    return at;

stop:
    *rc = taken;
    return taken == SP_TOKEN ? at + 4 : at;
}

/* The loops of a kind for one sort of patches. */
#define SP_FEED_LOOPS(take, name, patches) \
    static int push_##name(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used) \
    { \
        return sp_feed_events(tok, in, n, used, take, patches); \
    } \
    static const uint8_t *run_##name(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, const uint8_t *end, \
                                     int *rc) \
    { \
        return sp_feed_run(tok, d, in, end, rc, take, patches); \
    }

/* The loops of a kind, and bind_loops, which chooses among them. */
#define SP_FEED_BIND(take) \
    SP_FEED_LOOPS(take, 16, SP_PATCHES_OF_16) \
    SP_FEED_LOOPS(take, 2_to, SP_PATCHES_OF_2_TO) \
    SP_FEED_LOOPS(take, any, SP_PATCHES_OF_ANY) \
    static void bind_loops(sp_tokenizer_t *tok) \
    { \
        static const sp_push_fn push[] = {push_16, push_2_to, push_any}; \
        static const sp_run_fn run[] = {run_16, run_2_to, run_any}; \
        tok->push = push[sp_patches(&tok->config)]; \
        tok->run = run[sp_patches(&tok->config)]; \
    }

#endif
