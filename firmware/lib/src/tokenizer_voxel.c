/* The voxel kind: when a bin of time is over, every patch with enough events is a token. */
#include "tokenizer_feed.h"

SP_INLINE int store(sp_tokenizer_t *volatile *tok, const sp_feed_t *feed, uint32_t patch, uint32_t slot)
{
    (void)feed;
    return sp_pool_put(*tok, patch, slot);
}

SP_FEED_LOOPS(store, 16, SP_PATCHES_OF_16)
SP_FEED_LOOPS(store, 2_to, SP_PATCHES_OF_2_TO)
SP_FEED_LOOPS(store, any, SP_PATCHES_OF_ANY)

/* These know nothing of bins. */
static const sp_push_fn push_in_bin[] = {push_16, push_2_to, push_any};
static const sp_run_fn run_in_bin[] = {run_16, run_2_to, run_any};

/* -------------------------------------------------------------- bins */

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
        if (sp_pool_held(tok, patch) >= tok->fire_count)
            return sp_tokenizer_fire(tok, patch, tok->bin_start);
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

/* The bins before that of t are over. */
static int close_before(sp_tokenizer_t *tok, uint64_t t)
{
    return tok->in_bin && t > tok->bin_last ? close_bins(tok, t - t % tok->config.duration_us - 1u) : SP_OK;
}

int sp_voxel_reach(sp_tokenizer_t *tok, uint64_t t)
{
    const int rc = close_before(tok, t);
    if (rc == SP_OK && t > tok->last_t)
        tok->last_t = t;
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
    tok->epoch_info = 0;
    tok->epoch_last_t = (UINT64_C(1) << tok->time_bits) - 1u;
    return SP_OK;
}

/* -------------------------------------------------------------- events */

/* Whether the event is one that the bins do not see. */
static int is_dropped(const sp_tokenizer_t *tok, const sp_event_t *e)
{
    return e->x >= tok->config.width || e->y >= tok->config.height || e->t < tok->last_t;
}

/* How many events need no new bin. */
static size_t in_this_bin(const sp_tokenizer_t *tok, const sp_event_t *in, size_t n)
{
    size_t i = 0;
    while (i < n && ((tok->in_bin && in[i].t <= tok->bin_last) || is_dropped(tok, &in[i])))
        i++;
    return i;
}

static int push(sp_tokenizer_t *tok, const sp_event_t *in, size_t n, size_t *used)
{
    const sp_push_fn push_some = push_in_bin[sp_patches(&tok->config)];
    int rc = SP_OK;

    *used = 0;
    while (rc == SP_OK && *used < n) {
        size_t step;
        const size_t some = in_this_bin(tok, in + *used, n - *used);
        if (some > 0) {
            rc = push_some(tok, in + *used, some, &step);
            *used += step;
            continue;
        }
        const uint64_t t = in[*used].t;
        rc = close_before(tok, t);
        if (rc == SP_OK && !tok->in_bin)
            begin_bin(tok, t - t % tok->config.duration_us);
    }
    return rc;
}

int sp_voxel_holds(sp_tokenizer_t *tok, uint64_t base)
{
    const uint64_t wraps = base | (2u * EVT2_HALF_WRAP - 1u);

    if (!tok->in_bin || base < tok->bin_start || (base | EVT2_LOW_MASK) > tok->bin_last)
        return 0;
    tok->bin_word = evt2_time_word((tok->bin_last < wraps ? tok->bin_last : wraps) - EVT2_LOW_MASK);
    return 1;
}

/* Words of the bin, as long as all times that they can have are in it. */
static const uint8_t *run(sp_tokenizer_t *tok, sp_evt2_t *d, const uint8_t *in, const uint8_t *end, int *rc)
{
    if (!sp_voxel_holds(tok, d->time_base))
        return in;
    return run_in_bin[sp_patches(&tok->config)](tok, d, in, end, rc);
}

void sp_voxel_bind(sp_tokenizer_t *tok)
{
    tok->push = push;
    tok->run = run;
}
