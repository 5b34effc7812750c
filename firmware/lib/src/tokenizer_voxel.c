/* The voxel kind: when a bin of time is over, every patch with enough events is a token. */
#include "tokenizer_feed.h"

static void begin_bin(sp_tokenizer_t *tok, uint64_t start)
{
    const uint64_t room = UINT64_MAX - start, rest = tok->config.duration_us - 1u;
    tok->bin_start = start;
    tok->bin_last = start + (rest < room ? rest : room);
    tok->in_bin = 1;
}

/* Tokens of the bin that is over, one a call; SP_OK after the last one. */
static int close_bin(sp_tokenizer_t *tok)
{
    while (tok->scan < tok->patches) {
        const uint32_t patch = tok->scan++;
        if (tok->states[patch].count >= tok->fire_count) {
            sp_tokenizer_fire(tok, patch % tok->columns, patch / tok->columns, tok->bin_start);
            return SP_TOKEN;
        }
        tok->stats.decayed += sp_pool_discard(tok, patch);
    }
    tok->scan = 0;
    tok->in_bin = 0;
    return SP_OK;
}

/* The bins up to the one that starts at `last` are over. With threshold 0 there are empty ones between. */
static int close_bins(sp_tokenizer_t *tok, uint64_t last)
{
    while (tok->in_bin && tok->bin_start <= last) {
        const int rc = close_bin(tok);
        if (rc != SP_OK)
            return rc;
        if (tok->fire_count == 0 && tok->bin_last < UINT64_MAX)
            begin_bin(tok, tok->bin_last + 1u);
    }
    return SP_OK;
}

/* It is t: the bins before its own are over. */
static int reach(sp_tokenizer_t *tok, uint64_t t)
{
    return tok->in_bin && t > tok->bin_last ? close_bins(tok, t - t % tok->config.duration_us - 1u) : SP_OK;
}

/* SP_TOKEN: nothing of the event has been done. */
static int take(sp_tokenizer_t *tok, const sp_feed_t *feed, uint32_t x, uint32_t y, uint32_t p, uint64_t t)
{
    if (x >= tok->config.width || y >= tok->config.height) {
        tok->stats.outside++;
        return SP_OK;
    }
    if (t < tok->last_t) {
        tok->stats.backwards++;
        return SP_OK;
    }
    const sp_place_t place = sp_place_of(feed, x, y);
    const uint32_t patch = place.row * feed->columns + place.column;
    sp_patch_t *state = &feed->states[patch];
    int rc = reach(tok, t);

    if (rc != SP_OK)
        return rc;
    if (t > tok->epoch_last_t)
        sp_pool_enter_epoch(tok, t);
    if (!tok->in_bin)
        begin_bin(tok, t - t % tok->config.duration_us);
    if (!SLOT_HAS_ROOM(state->next) && (rc = sp_pool_open(tok, patch)) < 0)
        return rc;
    feed->slots[state->next++] = sp_slot_of(feed->span_bits, place, p, t);
    state->count++;
    tok->last_t = t;
    return SP_OK;
}

static int push(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used)
{
    const sp_feed_t feed = sp_feed(tok);
    int rc = SP_OK;
    size_t i = 0;

    while (i < n && (rc = take(tok, &feed, in[i].x, in[i].y, in[i].p != 0, in[i].t)) == SP_OK)
        i++;
    tok->stats.taken += i;
    *used = i;
    return rc;
}

/* A word that is no event. SP_TOKEN: nothing of it has been done. */
static int take_other(sp_tokenizer_t *tok, sp_evt2_t *d, uint32_t word)
{
    if (evt2_type(word) == EVT2_TIME_HIGH) {
        const uint64_t t = evt2_next_time(d->time_base, word, d->timed);
        const int rc = reach(tok, t);
        if (rc != SP_OK)
            return rc;
        if (t > tok->last_t)
            tok->last_t = t;
    }
    evt2_take_other(d, word);
    return SP_OK;
}

static int push_words(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, size_t n, size_t *done)
{
    const sp_feed_t feed = sp_feed(tok);
    size_t i = 0, events = 0;
    int rc = SP_OK;

    for (; i < n; i++) {
        const uint32_t word = evt2_load(in + 4u * i);
        if (evt2_type(word) > EVT2_ON) {
            rc = take_other(tok, d, word);
        } else if (!d->timed) {
            d->stats.untimed++;
        } else {
            rc = take(tok, &feed, evt2_x(word), evt2_y(word), evt2_type(word), d->time_base | evt2_low_time(word));
            events += rc == SP_OK;
        }
        if (rc != SP_OK)
            break;
    }
    d->stats.words += i;
    d->stats.events += events;
    tok->stats.taken += events;
    *done = i;
    return rc;
}

int sp_voxel_end(sp_tokenizer_t *tok)
{
    const uint64_t duration = tok->config.duration_us, past = tok->last_t % duration;
    uint64_t last = tok->last_t - past;

    if (tok->fire_count == 0 && past > 0 && UINT64_MAX - last >= duration)
        last += duration;
    if (close_bins(tok, last) == SP_TOKEN)
        return SP_TOKEN;
    tok->in_bin = 0;
    tok->last_t = 0;
    tok->epoch = 0;
    tok->epoch_last_t = (UINT64_C(1) << tok->time_bits) - 1u;
    return SP_OK;
}

void sp_voxel_bind(sp_tokenizer_t *tok)
{
    tok->push = push;
    tok->push_words = push_words;
}
