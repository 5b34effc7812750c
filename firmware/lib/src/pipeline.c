#include "spedge/pipeline.h"

#include "embed_rows.h"
#include "evt2_words.h"
#include "part.h"
#include "pipeline_state.h"
#include "spedge/assert.h"

#include <string.h>

#define POSITION_BYTES_MAX 4096u

static int has_embedding(const sp_pipeline_config_t *config)
{
#if SP_EMBED_INTEGERS
    if (config->embed.integers)
        return 1;
#endif
    return config->embed.weight != NULL;
}

/* Cells along a side of that many pixels. */
static uint32_t cells_along(const sp_pipeline_config_t *c, uint32_t pixels)
{
    const uint32_t side = (uint32_t)c->cell * c->tokenizer.patch_size;
    return (pixels + side - 1u) / side;
}

static uint64_t cells_of(const sp_pipeline_config_t *c)
{
    return (uint64_t)cells_along(c, c->tokenizer.width) * cells_along(c, c->tokenizer.height);
}

static int check(const sp_pipeline_config_t *config, sp_pipeline_config_t *full)
{
    sp_pipeline_config_t c = *config;
    int rc = sp_tokenizer_config_check(&config->tokenizer, &c.tokenizer);

    if (rc == SP_OK && has_embedding(config)) {
        if (c.embed.patch_size == 0)
            c.embed.patch_size = c.tokenizer.patch_size;
        rc = sp_embed_config_check(&c.embed, &c.embed);
        if (c.embed.patch_size != c.tokenizer.patch_size || !c.embed.bias || c.window_tokens == 0)
            rc = SP_ERR_CONFIG;
    }
    if (c.format >= SP_FORMATS)
        rc = SP_ERR_CONFIG;
    if (c.cell > 0 && (!has_embedding(&c) || c.one_by_one || cells_of(&c) > UINT16_MAX + 1u))
        rc = SP_ERR_CONFIG;
    if (c.points && (!has_embedding(&c) || c.one_by_one || c.cell > 0))
        rc = SP_ERR_CONFIG;
    if (rc == SP_OK)
        *full = c;
    return rc;
}

static int has_intake(const sp_pipeline_config_t *config)
{
    return config->format != SP_FORMAT_EVT2 || config->thins || sp_sees_part(config);
}

static uint32_t ring_rows(const sp_pipeline_config_t *config)
{
    return config->one_by_one ? 1u : config->window_tokens;
}

static uint64_t round8(uint64_t n)
{
    return (n + 7u) & ~UINT64_C(7);
}

/* Columns or rows of patches, whichever are more, as long as their positions take little memory. */
static uint32_t steps_of(const sp_pipeline_config_t *c, uint32_t xy_size)
{
    const uint32_t longer = c->tokenizer.width > c->tokenizer.height ? c->tokenizer.width : c->tokenizer.height;
    const uint32_t steps = (longer + c->tokenizer.patch_size - 1u) / c->tokenizer.patch_size;
    const uint32_t most = xy_size == 0 ? 0 : POSITION_BYTES_MAX / (xy_size * (uint32_t)sizeof(float));
    return steps < most ? steps : most;
}

/* Bytes for the pipeline, the tokenizer at the end; places the parts when pipe is given. */
static uint64_t layout(sp_pipeline_t *pipe, const sp_pipeline_config_t *c, uint64_t *tokenizer_at)
{
    const int embeds = has_embedding(c);
    const uint64_t window = embeds ? ring_rows(c) : 0, hidden = embeds ? c->embed.hidden : 0;
    const uint64_t scratch = embeds ? sp_embed_scratch_size(&c->embed) : 0;
    const uint64_t times_at = round8(sizeof(sp_pipeline_t));
    const uint64_t scratch_at = times_at + window * sizeof(uint64_t);
    const uint64_t turns_at = round8(scratch_at + scratch);
    uint16_t xy_size, t_size;

    sp_embed_position_sizes((uint16_t)hidden, &xy_size, &t_size);
    const uint32_t steps = embeds && !c->points ? steps_of(c, xy_size) : 0;
    const uint32_t turns = (xy_size + 1u) / 2u + (t_size + 1u) / 2u;
    const uint64_t ring_at = round8(turns_at + turns * sizeof(uint64_t) + (uint64_t)steps * xy_size * sizeof(float));
    const uint64_t cells_at = ring_at + window * hidden * sizeof(float);
    const uint64_t place = c->points ? 2u * sizeof(uint16_t) : c->cell > 0 ? sizeof(uint16_t) : 0;
    const uint64_t intake_at = round8(cells_at + window * place);
    const uint64_t debts_at = intake_at + (has_intake(c) ? round8(sizeof(sp_intake_t)) : 0);
    const sp_tokenizer_config_t *t = &c->tokenizer;
    *tokenizer_at = round8(debts_at + (has_intake(c) ? sp_thin_size(t->width, t->height, t->patch_size) : 0));
    if (pipe) {
        uint8_t *base = (uint8_t *)pipe;
        pipe->rows = (uint32_t)window;
        pipe->xy_size = xy_size;
        pipe->t_size = t_size;
        pipe->scratch_size = (size_t)scratch;
        pipe->times = (uint64_t *)(void *)(base + times_at);
        pipe->scratch = base + scratch_at;
        pipe->xy_turns = (uint64_t *)(void *)(base + turns_at);
        pipe->t_turns = pipe->xy_turns + (xy_size + 1u) / 2u;
        pipe->xy_positions = (float *)(void *)(pipe->xy_turns + turns);
        pipe->steps = steps;
        pipe->ring = (float *)(void *)(base + ring_at);
        pipe->cells = c->cell > 0 ? (uint16_t *)(void *)(base + cells_at) : NULL;
        pipe->places = c->points ? (uint16_t (*)[2])(void *)(base + cells_at) : NULL;
        if (has_intake(c)) {
            pipe->intake = (sp_intake_t *)(void *)(base + intake_at);
            sp_thin_init(&pipe->intake->thin, t->width, t->height, t->patch_size, base + debts_at);
        }
    }
    return *tokenizer_at + sp_tokenizer_size(&c->tokenizer);
}

size_t sp_pipeline_size(const sp_pipeline_config_t *config)
{
    sp_pipeline_config_t full;
    uint64_t tokenizer_at;

    if (check(config, &full) != SP_OK || sp_tokenizer_size(&full.tokenizer) == 0)
        return 0;
    const uint64_t bytes = layout(NULL, &full, &tokenizer_at);
    return bytes > SIZE_MAX ? 0 : (size_t)bytes;
}

int sp_pipeline_init(sp_pipeline_t **out, const sp_pipeline_config_t *config, void *mem, size_t size)
{
    const size_t need = sp_pipeline_size(config);
    uint64_t tokenizer_at;

    if (need == 0)
        return SP_ERR_CONFIG;
    if (!mem || (uintptr_t)mem % 8u != 0 || size < need)
        return SP_ERR_MEMORY;

    sp_pipeline_t *pipe = mem;
    memset(pipe, 0, sizeof *pipe);
    check(config, &pipe->config);
    layout(pipe, &pipe->config, &tokenizer_at);
    const int rc = sp_tokenizer_init(&pipe->tokenizer, &pipe->config.tokenizer, (uint8_t *)mem + tokenizer_at,
                                     size - (size_t)tokenizer_at);
    if (rc != SP_OK)
        return rc;
    memset(pipe->scratch, 0, pipe->scratch_size);
    pipe->columns = pipe->cells ? cells_along(&pipe->config, pipe->config.tokenizer.width) : 0;
    sp_embed_position_steps(pipe->xy_size, 1.0f, pipe->xy_turns);
    sp_embed_position_steps(pipe->t_size, pipe->config.embed.time_scale_us, pipe->t_turns);
    memset(pipe->xy_positions, 0, (size_t)pipe->steps * pipe->xy_size * sizeof *pipe->xy_positions);
    for (uint32_t i = 0; i < pipe->steps; i++)
        sp_embed_position_add(&pipe->xy_positions[(size_t)i * pipe->xy_size], pipe->xy_size, pipe->xy_turns, i);
    sp_pipeline_reset(pipe);
    *out = pipe;
    return SP_OK;
}

void sp_pipeline_reset(sp_pipeline_t *pipe)
{
    sp_evt2_init(&pipe->decoder);
    if (pipe->intake) {
        const sp_decoder_config_t config = {.format = pipe->config.format};
        sp_decoder_init(&pipe->intake->decoder, &config);
        sp_thin_reset(&pipe->intake->thin);
        pipe->intake->keep = SP_THIN_ALL;
        pipe->intake->thinned = 0;
        pipe->intake->first = pipe->intake->count = 0;
    }
    sp_tokenizer_reset(pipe->tokenizer);
    pipe->reached = 0;
    pipe->tokens = 0;
    pipe->stepped_tokens = pipe->stepped_events = 0;
    pipe->cost_tokenize = 0;
    pipe->cost_embed = 0;
}

void sp_pipeline_set_clock(sp_pipeline_t *pipe, sp_clock_fn clock, void *context)
{
    pipe->clock = clock;
    pipe->clock_context = context;
}

void sp_pipeline_set_observer(sp_pipeline_t *pipe, sp_token_fn on_token, void *context)
{
    pipe->on_token = on_token;
    pipe->token_context = context;
}

static uint64_t now(const sp_pipeline_t *pipe)
{
    return pipe->clock ? pipe->clock(pipe->clock_context) : 0;
}

/* The row of the ring where a token lies, by its number. Divisions of 64 bits take a Cortex-M long. */
static uint32_t row_of(const sp_pipeline_t *pipe, uint64_t token)
{
    return token <= UINT32_MAX ? (uint32_t)token % pipe->rows : (uint32_t)(token % pipe->rows);
}

/* Add the position of a patch's column or row. */
static void add_step(const sp_pipeline_t *pipe, uint32_t step, float *out)
{
    if (step < pipe->steps)
        sp_embed_add(out, &pipe->xy_positions[(size_t)step * pipe->xy_size], pipe->xy_size);
    else
        sp_embed_position_add(out, pipe->xy_size, pipe->xy_turns, step);
}

static void embed(sp_pipeline_t *pipe, const sp_token_t *token)
{
    const uint32_t at = row_of(pipe, pipe->tokens);
    float *row = &pipe->ring[(size_t)at * pipe->config.embed.hidden];

    sp_embed_token(&pipe->config.embed, pipe->tokenizer, pipe->scratch, pipe->scratch_size, row);
    if (pipe->places) {
        pipe->places[at][0] = token->x;
        pipe->places[at][1] = token->y;
    } else {
        add_step(pipe, token->x, row);
        add_step(pipe, token->y, row + pipe->xy_size);
    }
    pipe->times[at] = token->t;
    if (pipe->cells)
        pipe->cells[at] = (uint16_t)(token->y / pipe->config.cell * pipe->columns + token->x / pipe->config.cell);
    if (pipe->config.one_by_one && pipe->tokens % pipe->config.window_tokens == 0)
        pipe->origin = token->t;
    pipe->tokens++;
}

static void take_token(sp_pipeline_t *pipe)
{
    const sp_token_t *token = &pipe->tokenizer->ready;

    if (has_embedding(&pipe->config)) {
        const uint64_t start = now(pipe);
        embed(pipe, token);
        pipe->cost_embed += now(pipe) - start;
    }
    if (pipe->on_token)
        pipe->on_token(pipe->token_context, pipe->tokenizer, token);
}

/* How many bytes of EVT2 come before the first word that takes the time to until or beyond; *reached is its time. */
static size_t bytes_before(const sp_evt2_t *decoder, const uint8_t *in, size_t n, uint64_t until, uint64_t *reached)
{
    sp_evt2_t d = {.time_base = decoder->time_base,
                   .partial = decoder->partial,
                   .partial_bytes = decoder->partial_bytes,
                   .timed = decoder->timed};
    size_t at = 0, bytes;
    uint32_t word;

    for (; evt2_peek(&d, in + at, n - at, &word, &bytes); at += bytes) {
        uint64_t t;
        d.partial_bytes = 0;
        if (evt2_type(word) == EVT2_TIME_HIGH)
            t = evt2_next_time(d.time_base, word, d.timed);
        else if (evt2_type(word) <= EVT2_ON && d.timed)
            t = d.time_base | evt2_low_time(word);
        else
            continue;
        if (t >= until) {
            *reached = t;
            return at;
        }
        d.time_base = t & ~UINT64_C(63);
        d.timed = 1;
    }
    return n;
}

static int feed_words(sp_pipeline_t *pipe, const uint8_t *in, size_t n, size_t *used, uint64_t until)
{
    const size_t most = until == SP_NO_TIME ? n : bytes_before(&pipe->decoder, in, n, until, &pipe->reached);
    const int rc = sp_tokenizer_push_evt2(pipe->tokenizer, &pipe->decoder, in, most, used);

    return rc == SP_OK && most < n ? SP_TIME : rc;
}

/* How many of the waiting events come before until. */
static size_t events_before(const sp_intake_t *intake, uint64_t until)
{
    uint32_t i = intake->first;

    while (i < intake->count && intake->events[i].t < until)
        i++;
    return i - intake->first;
}

/* Fill the empty buffer. Returns 0 when there is nothing left to decode. */
static int decode_some(sp_pipeline_t *pipe, const uint8_t *in, size_t n, size_t *used)
{
    sp_intake_t *intake = pipe->intake;
    size_t got;
    const int rc = sp_decoder_decode(&intake->decoder, in, n, used, intake->events, SP_INTAKE_EVENTS, &got);
    if (sp_sees_part(&pipe->config))
        sp_map_events(&pipe->config, intake->events, got);
    const size_t kept = sp_thin_events(&intake->thin, intake->events, got, intake->keep);

    intake->thinned += got - kept;
    intake->first = 0;
    intake->count = (uint32_t)kept;
    return got > 0 || rc == SP_MORE;
}

static int feed_intake(sp_pipeline_t *pipe, const uint8_t *in, size_t n, size_t *used, uint64_t until)
{
    sp_intake_t *intake = pipe->intake;

    *used = 0;
    for (;;) {
        size_t step;
        if (intake->first == intake->count) {
            const int more = decode_some(pipe, in + *used, n - *used, &step);
            *used += step;
            if (intake->count == 0 && intake->decoder.time >= until) { /* also when all of it was thinned out */
                pipe->reached = intake->decoder.time;
                return SP_TIME;
            }
            if (!more)
                return SP_OK;
            continue;
        }
        const size_t before = events_before(intake, until);
        if (before == 0) {
            pipe->reached = intake->events[intake->first].t;
            return SP_TIME;
        }
        const int rc = sp_tokenizer_push(pipe->tokenizer, intake->events + intake->first, before, &step);
        intake->first += (uint32_t)step;
        if (rc != SP_OK)
            return rc;
    }
}

int sp_pipeline_feed(sp_pipeline_t *pipe, const uint8_t *in, size_t n, size_t *used, int stop_at_token, uint64_t until)
{
    int rc;

    SP_ASSERT(pipe && used && (in || n == 0));
    *used = 0;
    do {
        size_t step;
        const uint64_t start = now(pipe);
        rc = pipe->intake ? feed_intake(pipe, in + *used, n - *used, &step, until)
                          : feed_words(pipe, in + *used, n - *used, &step, until);
        pipe->cost_tokenize += now(pipe) - start;
        *used += step;
        if (rc == SP_TOKEN)
            take_token(pipe);
    } while (rc == SP_TOKEN && !stop_at_token);
    return rc;
}

uint32_t sp_pipeline_waiting(const sp_pipeline_t *pipe)
{
    const sp_intake_t *intake = pipe->intake;
    return intake ? intake->count - intake->first + (intake->decoder.mask != 0) : 0;
}

uint64_t sp_pipeline_reached(const sp_pipeline_t *pipe)
{
    return pipe->reached;
}

uint64_t sp_pipeline_time(const sp_pipeline_t *pipe)
{
    return pipe->tokenizer->last_t;
}

void sp_pipeline_set_keep(sp_pipeline_t *pipe, uint32_t keep)
{
    if (pipe->intake)
        pipe->intake->keep = keep;
}

/* Copy a row of the ring with its time, counted from since. */
static void copy_row(const sp_pipeline_t *pipe, uint32_t at, uint64_t since, float *out)
{
    const uint32_t hidden = pipe->config.embed.hidden;

    sp_embed_copy(out, &pipe->ring[(size_t)at * hidden], hidden);
    if (!pipe->places)
        sp_embed_position_add(out + 2u * pipe->xy_size, pipe->t_size, pipe->t_turns, pipe->times[at] - since);
}

uint32_t sp_pipeline_newest(sp_pipeline_t *pipe, float *out)
{
    if (!has_embedding(&pipe->config) || !pipe->config.one_by_one || pipe->tokens == 0)
        return 0;
    SP_ASSERT(out);
    copy_row(pipe, 0, pipe->origin, out);
    return (uint32_t)((pipe->tokens - 1) % pipe->config.window_tokens) + 1u;
}

/* How many of the newest tokens, at most T, are not older than since. */
static uint32_t rows_since(const sp_pipeline_t *pipe, uint64_t since)
{
    const uint64_t kept = pipe->tokens < pipe->rows ? pipe->tokens : pipe->rows;
    uint32_t rows = 0;

    while (rows < kept && pipe->times[row_of(pipe, pipe->tokens - 1u - rows)] >= since)
        rows++;
    return rows;
}

uint32_t sp_pipeline_window(sp_pipeline_t *pipe, uint64_t since, float *out)
{
    if (!has_embedding(&pipe->config) || pipe->config.one_by_one)
        return 0;
    SP_ASSERT(out);

    const uint32_t window = pipe->config.window_tokens, hidden = pipe->config.embed.hidden;
    const uint32_t rows = rows_since(pipe, since);
    const uint64_t first = pipe->tokens - rows;
    const uint64_t origin = rows > 0 ? pipe->times[row_of(pipe, first)] : 0;

    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t at = row_of(pipe, first + i);
        copy_row(pipe, at, origin, &out[(size_t)i * hidden]);
    }
    sp_embed_clear(&out[(size_t)rows * hidden], (size_t)(window - rows) * hidden);
    return rows;
}

uint32_t sp_pipeline_points(const sp_pipeline_t *pipe, uint64_t since, double (*points)[3])
{
    if (!pipe->places)
        return 0;
    SP_ASSERT(points);

    const uint32_t rows = rows_since(pipe, since);
    const double scale = (double)pipe->config.embed.time_scale_us;

    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t at = row_of(pipe, pipe->tokens - rows + i);
        const uint64_t first = pipe->times[row_of(pipe, pipe->tokens - rows)];
        points[i][0] = pipe->places[at][0];
        points[i][1] = pipe->places[at][1];
        points[i][2] = (double)(pipe->times[at] - first) / scale;
    }
    return rows;
}

static const sp_decode_stats_t *decode_stats(const sp_pipeline_t *pipe)
{
    return pipe->intake ? &pipe->intake->decoder.stats : &pipe->decoder.stats;
}

void sp_pipeline_stats(const sp_pipeline_t *pipe, sp_pipeline_stats_t *stats)
{
    stats->decode = *decode_stats(pipe);
    sp_tokenizer_stats(pipe->tokenizer, &stats->tokenizer);
    stats->cost_tokenize = pipe->cost_tokenize;
    stats->cost_embed = pipe->cost_embed;
    stats->thinned = pipe->intake ? pipe->intake->thinned : 0;
}

void sp_pipeline_losses(const sp_pipeline_t *pipe, sp_pipeline_losses_t *losses)
{
    const sp_decode_stats_t *d = decode_stats(pipe);
    const sp_tokenizer_stats_t *t = &pipe->tokenizer->stats;
    const uint64_t undecoded = d->untimed + d->unknown + d->outside + d->clipped;

    losses->came = d->events + undecoded;
    losses->thinned = pipe->intake ? pipe->intake->thinned : 0;
    losses->decoder = undecoded + t->outside + t->backwards;
    losses->pool = t->pool_lost;
}

void sp_pipeline_progress(const sp_pipeline_t *pipe, sp_pipeline_progress_t *progress)
{
    const sp_tokenizer_stats_t *t = &pipe->tokenizer->stats;

    progress->taken = t->taken;
    progress->lost = decode_stats(pipe)->untimed + t->pool_lost + t->outside + t->backwards;
    progress->tokens = t->tokens;
}

void sp_pipeline_costs(const sp_pipeline_t *pipe, uint64_t *tokenize, uint64_t *embed)
{
    *tokenize = pipe->cost_tokenize;
    *embed = pipe->cost_embed;
}

uint64_t sp_pipeline_tokens(const sp_pipeline_t *pipe)
{
    return pipe->tokenizer->stats.tokens;
}
