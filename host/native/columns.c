#include "columns.h"

/* The loops below are plain so that the compiler vectorises them; this adds versions for wider registers. */
#if !defined(__x86_64__) || !defined(__GNUC__) || defined(__clang__) || !defined(__gnu_linux__)
#define WIDE
#elif __GNUC__ < 12
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"))) /* v4: AVX-512 */
#endif

SP_INLINE uint16_t load_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

SP_INLINE uint32_t load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static int is_aligned(const uint8_t *p, size_t size)
{
    return (uintptr_t)p % size == 0;
}

/* t, x, y and one-byte p lie as arrays of their own. */
static int are_arrays(const sp_columns_t *c)
{
    return c->t_stride == 8 && c->x_stride == 2 && c->y_stride == 2 && c->p_stride == 1 && is_aligned(c->t, 8) &&
           is_aligned(c->x, 2) && is_aligned(c->y, 2);
}

int sp_columns_are_records(const sp_columns_t *c)
{
    return c->x == c->t + 8 && c->y == c->t + 10 && c->p == c->t + 12 && c->p_bytes == 1 && !c->p_signed &&
           c->t_stride == (ptrdiff_t)SP_RECORD && c->x_stride == c->t_stride && c->y_stride == c->t_stride &&
           c->p_stride == c->t_stride;
}

/* ---------------------------------------------------------------- checking */

#define CHECKED 1024u /* events at a time */

typedef struct limits {
    uint32_t x, y, p_bias, p_top;
    uint64_t t; /* the largest */
} limits_t;

static limits_t limits_of(const sp_columns_t *c, uint32_t width, uint32_t height)
{
    const uint32_t positive = 1u << 15;
    return (limits_t){.x = c->x_signed && width > positive ? positive : width,
                      .y = c->y_signed && height > positive ? positive : height,
                      .p_bias = c->p_signed ? 1 : 0,
                      .p_top = c->p_signed ? 2 : 1,
                      .t = c->t_signed ? (uint64_t)INT64_MAX : UINT64_MAX};
}

SP_INLINE uint32_t polarity(const sp_columns_t *c, size_t i, uint32_t bias, int p_bytes)
{
    const uint8_t *p = c->p + (ptrdiff_t)i * c->p_stride;
    return p_bytes == 1 ? (uint8_t)(*p + bias) : (uint16_t)(load_u16(p) + bias);
}

SP_INLINE int is_bad(const sp_columns_t *c, const limits_t *most, size_t i, uint64_t before, int p_bytes)
{
    const uint64_t t = sp_load_u64(c->t + (ptrdiff_t)i * c->t_stride);
    return (int)(t < before) | (int)(t > most->t) | (int)(load_u16(c->x + (ptrdiff_t)i * c->x_stride) >= most->x) |
           (int)(load_u16(c->y + (ptrdiff_t)i * c->y_stride) >= most->y) |
           (int)(polarity(c, i, most->p_bias, p_bytes) > most->p_top);
}

static size_t first_bad(const sp_columns_t *c, const limits_t *most, size_t from, size_t to, uint64_t before)
{
    for (size_t i = from; i < to; i++) {
        if (is_bad(c, most, i, before, c->p_bytes))
            return i;
        before = sp_load_u64(c->t + (ptrdiff_t)i * c->t_stride);
    }
    return to;
}

/* Whether any of n events of plain arrays is bad. Signed times are what vector units compare: the first is not negative. */
WIDE static int any_bad_in_arrays(const int64_t *t, const uint16_t *x, const uint16_t *y, const uint8_t *p, size_t n,
                                  const limits_t *most)
{
    uint16_t x_most = 0, y_most = 0;
    uint8_t p_most = 0;
    int64_t back = 0;
    const uint8_t bias = (uint8_t)most->p_bias;

    for (size_t i = 0; i < n; i++)
        x_most = x[i] > x_most ? x[i] : x_most;
    for (size_t i = 0; i < n; i++)
        y_most = y[i] > y_most ? y[i] : y_most;
    for (size_t i = 0; i < n; i++) {
        const uint8_t v = (uint8_t)(p[i] + bias);
        p_most = v > p_most ? v : p_most;
    }
    for (size_t i = 1; i < n; i++)
        back |= (int64_t)(t[i] < t[i - 1]);
    return back || x_most >= most->x || y_most >= most->y || p_most > most->p_top;
}

SP_INLINE int any_bad(const sp_columns_t *c, const limits_t *most, size_t from, size_t to, uint64_t before, int p_bytes)
{
    int bad = 0;
    for (size_t i = from; i < to; i++) {
        bad |= is_bad(c, most, i, before, p_bytes);
        before = sp_load_u64(c->t + (ptrdiff_t)i * c->t_stride);
    }
    return bad;
}

/* x | y << 16 of records. */
SP_INLINE void take_pixels(uint32_t *restrict xy, const uint8_t *restrict record, size_t n)
{
    for (size_t i = 0; i < n; i++, record += SP_RECORD)
        xy[i] = load_u32(record + 8);
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#define HAVE_VECTORS
#endif
#endif

/* What was found of records so far. */
typedef struct found {
    uint64_t before; /* time of the last one, which the next may not be older than */
    int back;        /* one was older */
    uint8_t p;       /* all polarities' bits */
} found_t;

#ifdef HAVE_VECTORS
typedef int64_t pair_t __attribute__((vector_size(16)));
typedef int64_t four_t __attribute__((vector_size(32)));
typedef uint32_t pixels_t __attribute__((vector_size(16)));

SP_INLINE pair_t record_and_3_bytes(const uint8_t *record)
{
    pair_t v;
    memcpy(&v, record, sizeof v);
    return v;
}

/* As many of n records as four at a time, with a record left behind them, where times are in signed numbers, which is what
 * vector units compare. How many. */
SP_INLINE size_t gather_fours(found_t *f, const uint8_t *record, size_t n, uint32_t *restrict xy)
{
    four_t before = {0, 0, 0, (int64_t)f->before}, back = {0}, bits = {0};
    size_t i = 0;

    for (; n - i > 4; i += 4, record += 4 * SP_RECORD) {
        const pair_t a = record_and_3_bytes(record), b = record_and_3_bytes(record + SP_RECORD);
        const pair_t c = record_and_3_bytes(record + 2 * SP_RECORD), d = record_and_3_bytes(record + 3 * SP_RECORD);
        const four_t ac = __builtin_shufflevector(a, c, 0, 1, 2, 3), bd = __builtin_shufflevector(b, d, 0, 1, 2, 3);
        const four_t t = __builtin_shufflevector(ac, bd, 0, 4, 2, 6);    /* of a, b, c, d */
        const four_t tail = __builtin_shufflevector(ac, bd, 1, 5, 3, 7); /* x | y << 16 | p << 32 | 3 bytes */
        const pixels_t pixels = __builtin_convertvector(tail, pixels_t);
        memcpy(xy + i, &pixels, sizeof pixels);
        back |= t < __builtin_shufflevector(before, t, 3, 4, 5, 6);
        bits |= tail;
        before = t;
    }
    f->before = (uint64_t)before[3];
    f->back = (back[0] | back[1] | back[2] | back[3]) != 0;
    f->p = (uint8_t)((bits[0] | bits[1] | bits[2] | bits[3]) >> 32);
    return i;
}
#endif

/* As for arrays. `before` is the time that the first may not be older than. xy gets the records' pixels, x | y << 16. */
WIDE static int any_bad_in_records(const uint8_t *record, size_t n, uint64_t before, const limits_t *most,
                                   uint32_t *restrict xy)
{
    found_t f = {.before = before};
    uint32_t x_most = 0, y_most = 0;
    size_t i = 0;

#ifdef HAVE_VECTORS
    if (before <= INT64_MAX)
        i = gather_fours(&f, record, n, xy);
#endif
    for (record += i * SP_RECORD; i < n; i++, record += SP_RECORD) {
        const uint64_t t = sp_load_u64(record);
        f.back |= t < f.before;
        f.before = t;
        f.p |= record[12];
        xy[i] = load_u32(record + 8);
    }
    for (i = 0; i < n; i++) {
        const uint32_t x = xy[i] & 0xffffu, y = xy[i] >> 16;
        x_most = x > x_most ? x : x_most;
        y_most = y > y_most ? y : y_most;
    }
    return f.back || x_most >= most->x || y_most >= most->y || f.p > 1;
}

/* Whether any of from .. to may be bad, at most CHECKED of them. */
static int any_bad_of(const sp_columns_t *c, const limits_t *most, size_t from, size_t to, uint64_t last_t,
                      uint32_t *pixels)
{
    if (sp_columns_are_records(c)) {
        const uint8_t *first = c->t + from * SP_RECORD;
        return sp_columns_time(c, to - 1u) > most->t || any_bad_in_records(first, to - from, last_t, most, pixels);
    }
    const uint64_t first_t = sp_columns_time(c, from);
    if (are_arrays(c) && c->p_bytes == 1 && first_t <= INT64_MAX)
        return first_t < last_t ||
               any_bad_in_arrays((const int64_t *)(const void *)c->t + from,
                                 (const uint16_t *)(const void *)c->x + from,
                                 (const uint16_t *)(const void *)c->y + from, c->p + from, to - from, most);
    return c->p_bytes == 1 ? any_bad(c, most, from, to, last_t, 1) : any_bad(c, most, from, to, last_t, 2);
}

/* The first that is bad, or `to`. */
static size_t good_up_to(const sp_columns_t *c, const limits_t *most, size_t from, size_t to, uint64_t last_t,
                         uint32_t *pixels)
{
    return any_bad_of(c, most, from, to, last_t, pixels) ? first_bad(c, most, from, to, last_t) : to;
}

size_t sp_columns_check(const sp_columns_t *c, size_t from, size_t n, uint64_t last_t, uint32_t width, uint32_t height)
{
    const limits_t most = limits_of(c, width, height);
    uint32_t pixels[CHECKED];

    for (size_t to; from < n; from = to) {
        to = n - from < CHECKED ? n : from + CHECKED;
        const size_t good = good_up_to(c, &most, from, to, last_t, pixels);
        if (good < to)
            return good;
        last_t = sp_columns_time(c, to - 1u);
    }
    return n;
}

int sp_columns_check_ahead(const sp_columns_t *c, sp_ahead_t *a, size_t n, uint64_t last_t, uint32_t width,
                           uint32_t height)
{
    const limits_t most = limits_of(c, width, height);
    const size_t end = n - a->to < SP_AHEAD ? n : a->to + SP_AHEAD;

    a->from = a->to;
    for (size_t from = a->from, to; from < end; from = to) {
        to = end - from < CHECKED ? end : from + CHECKED;
        a->to = good_up_to(c, &most, from, to, last_t, &a->pixels[from - a->from]);
        if (a->to < to)
            return 0;
        last_t = sp_columns_time(c, to - 1u);
    }
    return 1;
}

/* ---------------------------------------------------------------- loading */

sp_grid_t sp_grid(uint32_t width, uint32_t height, uint32_t patch_size)
{
    sp_grid_t grid = {.columns = (width + patch_size - 1u) / patch_size,
                      .rows = (height + patch_size - 1u) / patch_size,
                      .patch_size = patch_size};
    if ((patch_size & (patch_size - 1u)) == 0)
        while (1u << grid.shift < patch_size)
            grid.shift++;
    else
        grid.reciprocal = UINT32_MAX / patch_size + 1u;
    return grid;
}

SP_INLINE uint32_t patch_of(const sp_grid_t *grid, uint32_t x, uint32_t y, int shifted)
{
    if (shifted)
        return (y >> grid->shift) * grid->columns + (x >> grid->shift);
    return (uint32_t)((uint64_t)y * grid->reciprocal >> 32) * grid->columns +
           (uint32_t)((uint64_t)x * grid->reciprocal >> 32);
}

SP_INLINE void patches_of_arrays(uint32_t *restrict patch, const uint16_t *restrict x, const uint16_t *restrict y,
                                 const sp_grid_t *at, size_t n, int shifted)
{
    const sp_grid_t grid = *at;
    for (size_t i = 0; i < n; i++)
        patch[i] = patch_of(&grid, x[i], y[i], shifted);
}

WIDE static void patches_shifted(uint32_t *patch, const uint16_t *x, const uint16_t *y, const sp_grid_t *grid, size_t n)
{
    patches_of_arrays(patch, x, y, grid, n, 1);
}

WIDE static void patches_scaled(uint32_t *patch, const uint16_t *x, const uint16_t *y, const sp_grid_t *grid, size_t n)
{
    patches_of_arrays(patch, x, y, grid, n, 0);
}

/* pixel may be patch itself. */
SP_INLINE void patches_of_pixels(uint32_t *patch, const uint32_t *pixel, const sp_grid_t *at, size_t n, int shifted)
{
    const sp_grid_t grid = *at;
    for (size_t i = 0; i < n; i++)
        patch[i] = patch_of(&grid, pixel[i] & 0xffffu, pixel[i] >> 16, shifted);
}

WIDE static void pixels_shifted(uint32_t *patch, const uint32_t *pixel, const sp_grid_t *grid, size_t n)
{
    patches_of_pixels(patch, pixel, grid, n, 1);
}

WIDE static void pixels_scaled(uint32_t *patch, const uint32_t *pixel, const sp_grid_t *grid, size_t n)
{
    patches_of_pixels(patch, pixel, grid, n, 0);
}

void sp_patches_of(uint32_t *patch, const sp_columns_t *c, const sp_grid_t *grid, const sp_ahead_t *ahead, size_t first,
                   size_t count)
{
    const int shifted = grid->reciprocal == 0;
    const uint32_t *pixel = patch;

    if (are_arrays(c)) {
        const uint16_t *x = (const uint16_t *)(const void *)c->x + first;
        const uint16_t *y = (const uint16_t *)(const void *)c->y + first;
        (shifted ? patches_shifted : patches_scaled)(patch, x, y, grid, count);
        return;
    }
    if (sp_columns_are_records(c)) {
        if (ahead)
            pixel = &ahead->pixels[first - ahead->from];
        else
            take_pixels(patch, c->t + first * SP_RECORD, count);
    } else {
        const uint8_t *x = c->x + (ptrdiff_t)first * c->x_stride, *y = c->y + (ptrdiff_t)first * c->y_stride;
        for (size_t i = 0; i < count; i++, x += c->x_stride, y += c->y_stride)
            patch[i] = load_u16(x) | (uint32_t)load_u16(y) << 16;
    }
    (shifted ? pixels_shifted : pixels_scaled)(patch, pixel, grid, count);
}

/* -1 (0xff) is off as 0 is. */
SP_INLINE uint32_t off_or_on(uint8_t p)
{
    return (p ^ (uint32_t)p >> 7) & 1u;
}

WIDE static void tails_of_arrays(uint32_t *restrict tails, const uint16_t *restrict x, const uint16_t *restrict y,
                                 const uint8_t *restrict p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tails[2u * i] = x[i] | (uint32_t)y[i] << 16;
        tails[2u * i + 1u] = off_or_on(p[i]);
    }
}

SP_INLINE void tail_of(sp_batch_t *b, size_t event, uint32_t x, uint32_t y, uint8_t p)
{
    b->tails[2u * event] = x | y << 16;
    b->tails[2u * event + 1u] = off_or_on(p);
}

/* Of plain arrays. */
static void tails_of_list(sp_batch_t *b, const uint16_t *x, const uint16_t *y, const uint8_t *p, const uint16_t *list,
                          size_t count)
{
    for (size_t i = 0; i < count; i++)
        tail_of(b, list[i], x[list[i]], y[list[i]], p[list[i]]);
}

void sp_batch_tails(sp_batch_t *b, size_t n, const uint16_t *list, size_t count)
{
    const sp_columns_t *c = b->columns;
    const size_t first = b->first;

    if (b->are_records)
        return;
    if (are_arrays(c)) {
        const uint16_t *x = (const uint16_t *)(const void *)c->x + first;
        const uint16_t *y = (const uint16_t *)(const void *)c->y + first;
        if (list && count <= n / 4u)
            tails_of_list(b, x, y, c->p + first, list, count);
        else /* all of them are quicker than some */
            tails_of_arrays(b->tails, x, y, c->p + first, n);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t event = list ? list[i] : i;
        const ptrdiff_t at = (ptrdiff_t)(first + event);
        tail_of(b, event, load_u16(c->x + at * c->x_stride), load_u16(c->y + at * c->y_stride), c->p[at * c->p_stride]);
    }
}

void sp_batch_load(sp_batch_t *b, const sp_columns_t *c, size_t n, size_t first, size_t count)
{
    b->columns = c;
    b->first = first;
    b->t = c->t + (ptrdiff_t)first * c->t_stride;
    b->are_records = sp_columns_are_records(c);
    if (b->are_records) {
        if (first + count == n) { /* behind the last one is not ours to read */
            memcpy(b->copied, b->t, count * SP_RECORD);
            b->t = b->copied;
        }
    } else if (c->t_stride != 8) {
        for (size_t i = 0; i < count; i++)
            memcpy(&b->copied[8u * i], b->t + (ptrdiff_t)i * c->t_stride, 8);
        b->t = b->copied;
    }
}
