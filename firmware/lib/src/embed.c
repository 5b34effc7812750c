#include "spedge/embed.h"

#include "embed_rows.h"
#include "embed_sines.h"
#include "inline.h"
#include "spedge/assert.h"
#include "tokenizer_state.h"

#include <math.h>
#include <string.h>

#define EVENTS_AT_ONCE 32u
#define CELLS_PER_WORD 32u
#define ROWS_AT_ONCE 80u
#define AGE_UNIT 1000u /* us; the second bucket begins here, every other one at twice the age of the one before */

#if SP_EMBED_INTEGERS
#include "embed_rows_integers.h"
#define HAS_WEIGHTS(config) ((config)->weight || (config)->integers)
#else
#define HAS_WEIGHTS(config) ((config)->weight != NULL)
#endif

int sp_embed_config_check(const sp_embed_config_t *config, sp_embed_config_t *full)
{
    sp_embed_config_t c = *config;

    if (c.patch_size == 0)
        c.patch_size = 16;
    if (c.buckets == 0)
        c.buckets = 10;
    if (c.time_scale_us == 0.0f)
        c.time_scale_us = 50000.0f;
    if (c.patch_size > SP_PATCH_SPAN_MAX || c.buckets > SP_EMBED_BUCKETS_MAX || c.hidden < 3)
        return SP_ERR_CONFIG;
    if (!(c.time_scale_us > 0.0f) || !(c.time_scale_us <= 1e30f))
        return SP_ERR_CONFIG;
    *full = c;
    return SP_OK;
}

size_t sp_embed_cells(const sp_embed_config_t *config)
{
    return (size_t)2 * config->buckets * config->patch_size * config->patch_size;
}

static uint32_t highest_bit(uint32_t bits)
{
#if defined(__GNUC__)
    return 31u - (uint32_t)__builtin_clz(bits);
#else
    uint32_t i = 31;
    while (!(bits & 1u << i))
        i--;
    return i;
#endif
}

static uint32_t bucket_of(uint64_t age_us, uint32_t last)
{
    const uint64_t rare = age_us > UINT32_MAX ? age_us / AGE_UNIT : 0; /* by a library call on 32-bit cores */
    const uint32_t units = rare > UINT32_MAX ? UINT32_MAX : rare > 0 ? (uint32_t)rare : (uint32_t)age_us / AGE_UNIT;
    const uint32_t bucket = units == 0 ? 0 : highest_bit(units) + 1u;
    return bucket < last ? bucket : last;
}

uint8_t sp_embed_bucket(uint64_t age_us, uint8_t buckets)
{
    SP_ASSERT(buckets > 0 && buckets <= SP_EMBED_BUCKETS_MAX);
    return (uint8_t)bucket_of(age_us, buckets - 1u);
}

/* What sp_embed_config_check has seen to. */
SP_INLINE int is_full(const sp_embed_config_t *config)
{
    return config && config->patch_size > 0 && config->buckets > 0 && config->buckets <= SP_EMBED_BUCKETS_MAX;
}

static uint32_t cell_of(uint32_t size, uint32_t buckets, const sp_event_t *e, uint64_t t_last)
{
    const uint32_t plane = (e->p ? buckets : 0u) + bucket_of(t_last - e->t, buckets - 1u);
    return (plane * size + e->y % size) * size + e->x % size;
}

void sp_embed_volume(const sp_embed_config_t *config, const sp_event_t *events, size_t n, uint16_t *volume)
{
    SP_ASSERT(is_full(config) && volume && (events || n == 0));
    memset(volume, 0, sp_embed_cells(config) * sizeof *volume);
    for (size_t i = 0; i < n; i++) {
        uint16_t *count = &volume[cell_of(config->patch_size, config->buckets, &events[i], events[n - 1].t)];
        if (*count < UINT16_MAX)
            ++*count;
    }
}

/* -------------------------------------------------------------- sparse embedding
 * scratch: one bit per cell that is not empty, then the counts. */

static size_t bitmap_words(const sp_embed_config_t *config)
{
    return (sp_embed_cells(config) + CELLS_PER_WORD - 1u) / CELLS_PER_WORD;
}

size_t sp_embed_scratch_size(const sp_embed_config_t *config)
{
    return bitmap_words(config) * sizeof(uint32_t) + sp_embed_cells(config) * sizeof(uint16_t);
}

static int scratch_fits(const sp_embed_config_t *config, const void *scratch, size_t size)
{
    return scratch && (uintptr_t)scratch % 4u == 0 && size >= sp_embed_scratch_size(config);
}

static uint16_t *counts_in(const sp_embed_config_t *config, void *scratch)
{
    return (uint16_t *)(void *)((uint32_t *)scratch + bitmap_words(config));
}

/* Of the cells that a word of the bitmap tells of, the first one is its highest bit: they are found one after the other by
 * counting leading zeros. */
#define FIRST_CELL (1u << (CELLS_PER_WORD - 1u))

SP_INLINE void tell_cell(uint32_t *bitmap, uint32_t cell)
{
#if defined(__thumb__) && defined(__thumb2__)
    uint32_t bit; /* the compiler would take the remainder first */
    __asm__("ror %0, %1, %2" : "=r"(bit) : "r"(FIRST_CELL), "r"(cell));
#else
    const uint32_t bit = FIRST_CELL >> cell % CELLS_PER_WORD;
#endif
    bitmap[cell / CELLS_PER_WORD] |= bit;
}

SP_INLINE void mark_cell(uint32_t *bitmap, uint16_t *counts, uint32_t cell)
{
    tell_cell(bitmap, cell);
    if (counts[cell] < UINT16_MAX)
        counts[cell]++;
}

static void mark(const sp_embed_config_t *config, void *scratch, const sp_event_t *events, size_t n, uint64_t t_last)
{
    uint32_t *bitmap = scratch;
    uint16_t *counts = counts_in(config, scratch);
    const uint32_t size = config->patch_size, buckets = config->buckets;

    for (size_t i = 0; i < n; i++)
        mark_cell(bitmap, counts, cell_of(size, buckets, &events[i], t_last));
}

/* What mark_token knows of its token, and of the bucket of the events that it has come to: ages only fall. */
typedef struct sp_marking {
    const sp_tokenizer_t *tok;
    uint32_t *bitmap;
    uint16_t *counts;
    uint32_t size, mask; /* of a patch; of a coordinate in it, where a corner has no bits */
    uint32_t area;       /* of a patch */
    uint32_t polarity;   /* cells of one */
    uint32_t corner, high;
    uint32_t since;  /* t_last less the time above that in a slot */
    uint32_t bucket; /* of the newest of them */
    uint32_t plane;  /* its first cell */
    uint32_t edge;   /* the time above its lowest bits, in a slot, from which on an event may be of another bucket */
} sp_marking_t;

SP_INLINE void reach_bucket_of(sp_marking_t *m, uint32_t span_bits, uint32_t slot)
{
    const uint32_t age = m->since - sp_slot_time(span_bits, slot);
    uint32_t bucket = m->bucket, edge = UINT32_MAX;

    while (bucket > 0 && age >> (bucket - 1u) < AGE_UNIT)
        bucket--;
    if (bucket > 0) {
        const uint32_t last = m->since - (AGE_UNIT << (bucket - 1u)); /* of its times: this event has one */
        if (last >> m->tok->time_bits == 0)
            edge = sp_slot_high(span_bits, last);
    }
    m->bucket = bucket;
    m->plane = bucket * m->area;
    m->edge = edge;
}

/* An event may be of another bucket than those before it. */
SP_APART static void reach_bucket(sp_marking_t *m, uint32_t slot)
{
    if (m->tok->span_bits == 4)
        reach_bucket_of(m, 4, slot ^ m->corner);
    else
        reach_bucket_of(m, m->tok->span_bits, slot ^ m->corner);
}

/* Mark the events of slots that lie side by side. Not a part of its caller, whose variables would take its registers. */
SP_APART static void mark_slots(sp_marking_t *m, const uint32_t *slots, const uint32_t *end)
{
    const uint32_t size = m->size, mask = m->mask, polarity = m->polarity, corner = m->corner, high = m->high;
    uint32_t slot = *slots++;

    for (;;) {
        if (((slot ^ corner) & high) >= m->edge)
            reach_bucket(m, slot);
        const uint32_t edge = m->edge, plane = m->plane;
        do {
            const uint32_t pixel = (slot & mask) * size + (slot >> EVT2_X_AT & mask);
            const uint32_t cell = plane + pixel + (evt2_type(slot) & 1u) * polarity;
            if (m->counts[cell]++ == 0)
                tell_cell(m->bitmap, cell);
            if (slots == end)
                return;
            slot = *slots++;
        } while (((slot ^ corner) & high) < edge);
    }
}

/* What `mark` does with the token's events, from the slots in which they lie. Returns 0 where that would need times of 64
 * bits or counts that stop; nothing is marked then. */
static int mark_token(const sp_embed_config_t *config, void *scratch, const sp_tokenizer_t *tok, uint64_t t_last)
{
    const uint32_t size = config->patch_size, span = (1u << tok->span_bits) - 1u;
    sp_marking_t m = {
        .tok = tok,
        .bitmap = scratch,
        .counts = counts_in(config, scratch),
        .size = size,
        .mask = sp_is_power_of_two(size) ? span & (size - 1u) : span,
        .area = size * size,
        .polarity = config->buckets * size * size,
        .corner = sp_corner(size, tok->ready.x, tok->ready.y),
        .high = tok->slot_high,
        .bucket = config->buckets - 1u,
    };
    const uint32_t *slots;
    uint64_t epoch, epoch_before = UINT64_MAX;
    sp_token_cursor_t cursor = sp_cursor_of(tok);

    if (cursor.left > UINT16_MAX)
        return 0;
    for (uint32_t n; (n = sp_token_cursor_run(&cursor, BLOCK_SLOTS, &slots, &epoch)) > 0;) {
        if (epoch != epoch_before) {
            const uint64_t since = t_last - (epoch << tok->time_bits);
            if (since > UINT32_MAX)
                return 0; /* of the first ones: what follows is younger */
            m.since = (uint32_t)since;
            m.edge = 0;
            epoch_before = epoch;
        }
        mark_slots(&m, slots, slots + n);
    }
    return 1;
}

/* Most cells hold a few events. */
static const float log1p_of_few[] = {0.0f,         0.693147181f, 1.098612289f, 1.386294361f, 1.609437912f, 1.791759469f,
                                     1.945910149f, 2.079441542f, 2.197224577f, 2.302585093f, 2.397895273f, 2.484906650f,
                                     2.564949357f, 2.639057330f, 2.708050201f, 2.772588722f};
#define FEW (sizeof log1p_of_few / sizeof log1p_of_few[0])

SP_INLINE void put_scale(float *scale, uint32_t count)
{
    if (count < FEW)
        memcpy(scale, &log1p_of_few[count], sizeof *scale);
    else
        *scale = log1pf((float)count);
}

/* The cells' number, in their word of the bitmap, of the first one in these bits, which is taken out. */
SP_INLINE uint32_t take_cell(uint32_t *bits)
{
    const uint32_t i = 31u - highest_bit(*bits);
    *bits &= ~(FIRST_CELL >> i);
    return i;
}

#if SP_EMBED_INTEGERS
/* The same as below where the weights are integers. */
static void gather_integers(const sp_embed_config_t *config, void *scratch, float *out)
{
    uint32_t *bitmap = scratch;
    uint16_t *counts = counts_in(config, scratch);
    const size_t words = bitmap_words(config);
    const int32_t *rows[EMBED_INTEGER_ROWS];
    float scales[EMBED_INTEGER_ROWS];
    uint32_t waiting = 0;

    memcpy(out, config->bias, config->hidden * sizeof *out);
    for (size_t w = 0; w < words; w++) {
        for (uint32_t bits = bitmap[w]; bits;) {
            const size_t cell = w * CELLS_PER_WORD + take_cell(&bits);
            rows[waiting] = &config->integers[cell * config->hidden];
            put_scale(&scales[waiting], counts[cell]);
            counts[cell] = 0;
            if (++waiting == EMBED_INTEGER_ROWS) {
                sp_embed_add_integers(out, rows, scales, waiting, config->hidden, config->exponent);
                waiting = 0;
            }
        }
        bitmap[w] = 0;
    }
    sp_embed_add_integers(out, rows, scales, waiting, config->hidden, config->exponent);
}
#endif

/* Sum the marked cells in ascending order, and clear them. */
static void gather(const sp_embed_config_t *config, void *scratch, float *out)
{
    uint32_t *bitmap = scratch;
    uint16_t *counts = counts_in(config, scratch);
    const uint32_t *const end = bitmap + bitmap_words(config);
    const uint32_t hidden = config->hidden;
    const float *weight = config->weight, *start = config->bias, *rows[ROWS_AT_ONCE];
    float scales[ROWS_AT_ONCE];

#if SP_EMBED_INTEGERS
    if (config->integers) {
        gather_integers(config, scratch, out);
        return;
    }
#endif
    do {
        const float **row = rows;
        float *scale = scales;
        /* As long as there is room for the cells of one more word. */
        for (; bitmap < end && row <= rows + ROWS_AT_ONCE - CELLS_PER_WORD; bitmap++) {
            for (uint32_t bits = *bitmap; bits;) {
                const uint32_t i = take_cell(&bits), count = counts[i];
                counts[i] = 0;
                *row++ = weight + (size_t)i * hidden;
                put_scale(scale++, count);
            }
            *bitmap = 0;
            counts += CELLS_PER_WORD;
            weight += (size_t)CELLS_PER_WORD * hidden;
        }
        sp_embed_add_rows(start, out, rows, scales, (uint32_t)(row - rows), hidden);
        start = out;
    } while (bitmap < end);
}

/* The time of the ready token's newest event. Only a voxel's is not the token's own. */
static uint64_t newest_event(const sp_tokenizer_t *tok)
{
    SP_ASSERT(tok->is_ready);
    uint64_t t = tok->ready.t;
    sp_event_t event;
    sp_token_cursor_t cursor;

    if (!sp_is_voxel(&tok->config))
        return t;
    sp_token_cursor_init(&cursor, tok);
    while (sp_token_cursor_read(&cursor, &event, 1) > 0)
        t = event.t;
    return t;
}

/* The same for any token, also with patches of another size than the tokenizer's. */
static void mark_other(const sp_embed_config_t *config, void *scratch, const sp_tokenizer_t *tok, uint64_t t_last)
{
    sp_event_t events[EVENTS_AT_ONCE];
    sp_token_cursor_t cursor;

    sp_token_cursor_init(&cursor, tok);
    for (size_t n; (n = sp_token_cursor_read(&cursor, events, EVENTS_AT_ONCE)) > 0;)
        mark(config, scratch, events, n, t_last);
}

int sp_embed_token(const sp_embed_config_t *config, const sp_tokenizer_t *tok, void *scratch, size_t scratch_size,
                   float *out)
{
    SP_ASSERT(is_full(config) && HAS_WEIGHTS(config) && config->bias && out);
    const uint64_t newest = newest_event(tok);

    if (!scratch_fits(config, scratch, scratch_size))
        return SP_ERR_CAPACITY;
    if (config->patch_size != tok->config.patch_size || !mark_token(config, scratch, tok, newest))
        mark_other(config, scratch, tok, newest);
    gather(config, scratch, out);
    return SP_OK;
}

int sp_embed_events(const sp_embed_config_t *config, const sp_event_t *events, size_t n, void *scratch,
                    size_t scratch_size, float *out)
{
    SP_ASSERT(is_full(config) && HAS_WEIGHTS(config) && config->bias && out && (events || n == 0));
    if (!scratch_fits(config, scratch, scratch_size))
        return SP_ERR_CAPACITY;
    if (n > 0)
        mark(config, scratch, events, n, events[n - 1].t);
    gather(config, scratch, out);
    return SP_OK;
}

size_t sp_embed_sparse(const sp_embed_config_t *config, const sp_event_t *events, size_t n, void *scratch,
                       uint32_t *cells, uint16_t *counts)
{
    SP_ASSERT(is_full(config) && scratch_fits(config, scratch, sp_embed_scratch_size(config)) && (events || n == 0));
    uint32_t *bitmap = scratch;
    uint16_t *held = counts_in(config, scratch);
    const size_t words = bitmap_words(config);
    size_t found = 0;

    if (n > 0)
        mark(config, scratch, events, n, events[n - 1].t);
    for (size_t w = 0; w < words; w++) {
        for (uint32_t bits = bitmap[w]; bits;) {
            const size_t cell = w * CELLS_PER_WORD + take_cell(&bits);
            cells[found] = (uint32_t)cell;
            counts[found++] = held[cell];
            held[cell] = 0;
        }
        bitmap[w] = 0;
    }
    return found;
}

/* -------------------------------------------------------------- position */

void sp_embed_position_sizes(uint16_t hidden, uint16_t *xy, uint16_t *t)
{
    *xy = (uint16_t)(hidden / 3u);
    *t = (uint16_t)(hidden / 3u + hidden % 3u);
}

#define TURN 6.283185307179586

void sp_embed_position_steps(uint16_t size, float scale, uint64_t *steps)
{
    SP_ASSERT(size == 0 || (scale > 0.0f && steps));
    for (uint32_t k = 0; 2u * k < size; k++) {
        const double turns = 1.0 / (TURN * (double)scale * pow(10000.0, 2.0 * (double)k / (double)size));
        steps[k] = (uint64_t)((turns - floor(turns)) * 18446744073709551616.0);
    }
}

/* Sine and cosine of an angle in 2^-32 of a turn, each within 2e-7. The nearest one of the table is taken off as an integer,
 * which is exact; by what is left, |r| <= pi/128, it is turned: cos r = 1 - r^2/2 + ... (1.5e-8 at most) and
 * sin r = r - r^3/6 + ... */
SP_INLINE void sine_cosine(uint32_t angle, float *sine, float *cosine)
{
    const uint32_t nearest = (angle + (1u << (31 - SINES_BITS))) >> (32 - SINES_BITS);
    const float s = sines[nearest], c = sines[nearest + SINES_TURN / 4];
    const float r = (float)(int32_t)(angle - (nearest << (32 - SINES_BITS))) * 1.46291807926716e-9f; /* 2 pi / 2^32 */
    const float r2 = r * r, less = r2 * -0.5f, turn = MULTIPLY_ADD(r * r2, -1.6666667e-1f, r);

    *sine = MULTIPLY_ADD(s, less, MULTIPLY_ADD(c, turn, s));
    *cosine = MULTIPLY_ADD(c, less, MULTIPLY_ADD(-s, turn, c));
}

/* Dimensions 2k and 2k + 1 share an angle: the sine of the one and the cosine of the other cost one reduction, and that
 * is a product of 64 bits: its overflow drops the whole turns. */
void sp_embed_position_add(float *out, uint16_t size, const uint64_t *steps, uint64_t position)
{
    float *cosines = out + (size + 1u) / 2u, sine, cosine;

    for (const float *const end = out + size / 2u; out < end;) {
        sine_cosine((uint32_t)((*steps++ * position) >> 32), &sine, &cosine);
        *out++ += sine;
        *cosines++ += cosine;
    }
    if (size % 2u != 0) {
        sine_cosine((uint32_t)((*steps * position) >> 32), &sine, &cosine);
        *out += sine;
    }
}
