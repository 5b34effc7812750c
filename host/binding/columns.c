#include "columns.h"

#include <string.h>

/* The loops below are plain so that the compiler vectorises them; this adds a version for wider registers. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

SP_INLINE uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

SP_INLINE uint16_t load_u16(const uint8_t *p)
{
    uint16_t v;
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

/* Records of the output's own layout (EVENT_DTYPE): one pointer. */
static int are_records(const sp_columns_t *c)
{
    return c->x == c->t + 8 && c->y == c->t + 10 && c->p == c->t + 12 && c->p_bytes == 1 &&
           c->x_stride == c->t_stride && c->y_stride == c->t_stride && c->p_stride == c->t_stride;
}

/* ---------------------------------------------------------------- checking */

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
    const uint64_t t = load_u64(c->t + (ptrdiff_t)i * c->t_stride);
    return (t < before) | (t > most->t) | (load_u16(c->x + (ptrdiff_t)i * c->x_stride) >= most->x) |
           (load_u16(c->y + (ptrdiff_t)i * c->y_stride) >= most->y) |
           (polarity(c, i, most->p_bias, p_bytes) > most->p_top);
}

static size_t first_bad(const sp_columns_t *c, const limits_t *most, size_t from, size_t to, uint64_t before)
{
    for (size_t i = from; i < to; i++) {
        if (is_bad(c, most, i, before, c->p_bytes))
            return i;
        before = load_u64(c->t + (ptrdiff_t)i * c->t_stride);
    }
    return to;
}

/* Whether any of n events of plain arrays is bad. The times are only looked at in order: the caller checks the largest. */
WIDE static int any_bad_in_arrays(const uint64_t *t, const uint16_t *x, const uint16_t *y, const uint8_t *p, size_t n,
                                  const limits_t *most)
{
    uint16_t x_most = 0, y_most = 0;
    uint8_t p_most = 0;
    uint64_t back = 0;
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
        back |= (uint64_t)(t[i] < t[i - 1]);
    return back || x_most >= most->x || y_most >= most->y || p_most > most->p_top;
}

SP_INLINE int any_bad(const sp_columns_t *c, const limits_t *most, size_t from, size_t to, uint64_t before,
                      int p_bytes)
{
    int bad = 0;
    for (size_t i = from; i < to; i++) {
        bad |= is_bad(c, most, i, before, p_bytes);
        before = load_u64(c->t + (ptrdiff_t)i * c->t_stride);
    }
    return bad;
}

/* The fastest check of records is the plainest: few operations, none of them in each other's way. */
SP_INLINE int any_bad_in_records(const sp_columns_t *c, const limits_t *most, size_t from, size_t to, uint64_t before)
{
    const uint8_t *record = c->t + (ptrdiff_t)from * c->t_stride;
    const ptrdiff_t stride = c->t_stride;
    const uint32_t width = most->x, height = most->y;
    uint32_t bad = 0;
    for (size_t i = from; i < to; i++, record += stride) {
        const uint64_t t = load_u64(record);
        bad |= (uint32_t)(t < before) | (uint32_t)(load_u16(record + 8) >= width) |
               (uint32_t)(load_u16(record + 10) >= height) | (uint32_t)(record[12] > 1);
        before = t;
    }
    return bad != 0;
}

size_t sp_columns_check(const sp_columns_t *c, size_t n, uint64_t last_t, uint32_t width, uint32_t height)
{
    const limits_t most = limits_of(c, width, height);
    const int arrays = are_arrays(c) && c->p_bytes == 1;
    const int records = are_records(c) && !c->t_signed && !c->p_signed;

    for (size_t from = 0; from < n; from += 2048) {
        const size_t to = n - from < 2048 ? n : from + 2048;
        int bad;
        if (arrays) {
            const uint64_t *t = (const uint64_t *)(const void *)c->t;
            bad = t[from] < last_t || t[to - 1] > most.t ||
                  any_bad_in_arrays(t + from, (const uint16_t *)(const void *)c->x + from,
                                    (const uint16_t *)(const void *)c->y + from, c->p + from, to - from, &most);
        } else if (records) {
            bad = any_bad_in_records(c, &most, from, to, last_t);
        } else {
            bad = c->p_bytes == 1 ? any_bad(c, &most, from, to, last_t, 1) : any_bad(c, &most, from, to, last_t, 2);
        }
        if (bad)
            return first_bad(c, &most, from, to, last_t);
        last_t = load_u64(c->t + (ptrdiff_t)(to - 1) * c->t_stride);
    }
    return n;
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

/* -1 (0xff) is off as 0 is. */
SP_INLINE uint64_t packed(uint32_t x, uint32_t y, uint32_t p)
{
    return (uint64_t)((p ^ p >> 7) & 1u) << 32 | y << 16 | x;
}

SP_INLINE void load_arrays(uint64_t *restrict xyp, uint32_t *restrict patch, const uint16_t *restrict x,
                           const uint16_t *restrict y, const uint8_t *restrict p, const sp_grid_t *at, size_t n,
                           int shifted)
{
    const sp_grid_t grid = *at;
    for (size_t i = 0; i < n; i++)
        patch[i] = patch_of(&grid, x[i], y[i], shifted);
    for (size_t i = 0; i < n; i++)
        xyp[i] = packed(x[i], y[i], p[i]);
}

WIDE static void load_shifted(uint64_t *xyp, uint32_t *patch, const uint16_t *x, const uint16_t *y, const uint8_t *p,
                              const sp_grid_t *grid, size_t n)
{
    load_arrays(xyp, patch, x, y, p, grid, n, 1);
}

WIDE static void load_scaled(uint64_t *xyp, uint32_t *patch, const uint16_t *x, const uint16_t *y, const uint8_t *p,
                             const sp_grid_t *grid, size_t n)
{
    load_arrays(xyp, patch, x, y, p, grid, n, 0);
}

/* Records as are_records says. */
SP_INLINE void load_packed(sp_batch_t *b, const uint8_t *record, ptrdiff_t stride, const sp_grid_t *at, size_t n,
                           int shifted)
{
    const sp_grid_t grid = *at;
    for (size_t i = 0; i < n; i++, record += stride) {
        const uint32_t x = load_u16(record + 8), y = load_u16(record + 10);
        b->copied_t[i] = load_u64(record);
        b->xyp[i] = packed(x, y, record[12]);
        b->patch[i] = patch_of(&grid, x, y, shifted);
    }
}

/* Structured arrays: fields of records, whatever their size. */
SP_INLINE void load_records(sp_batch_t *b, const sp_columns_t *c, const sp_grid_t *at, size_t first, size_t n,
                            int shifted)
{
    const sp_grid_t grid = *at;
    const ptrdiff_t t_stride = c->t_stride, x_stride = c->x_stride, y_stride = c->y_stride, p_stride = c->p_stride;
    const uint8_t *t = c->t + (ptrdiff_t)first * c->t_stride, *x = c->x + (ptrdiff_t)first * c->x_stride,
                  *y = c->y + (ptrdiff_t)first * c->y_stride, *p = c->p + (ptrdiff_t)first * c->p_stride;
    for (size_t i = 0; i < n; i++) {
        const uint32_t px = load_u16(x), py = load_u16(y);
        b->copied_t[i] = load_u64(t);
        b->xyp[i] = packed(px, py, *p);
        b->patch[i] = patch_of(&grid, px, py, shifted);
        t += t_stride;
        x += x_stride;
        y += y_stride;
        p += p_stride;
    }
}

void sp_batch_load(sp_batch_t *b, const sp_columns_t *c, const sp_grid_t *grid, size_t first, size_t n)
{
    const int shifted = grid->reciprocal == 0;
    if (!are_arrays(c)) {
        b->t = b->copied_t;
        if (are_records(c) && shifted)
            load_packed(b, c->t + (ptrdiff_t)first * c->t_stride, c->t_stride, grid, n, 1);
        else if (are_records(c))
            load_packed(b, c->t + (ptrdiff_t)first * c->t_stride, c->t_stride, grid, n, 0);
        else if (shifted)
            load_records(b, c, grid, first, n, 1);
        else
            load_records(b, c, grid, first, n, 0);
        return;
    }
    const uint16_t *x = (const uint16_t *)(const void *)c->x + first, *y = (const uint16_t *)(const void *)c->y + first;
    b->t = (const uint64_t *)(const void *)c->t + first;
    (shifted ? load_shifted : load_scaled)(b->xyp, b->patch, x, y, c->p + first, grid, n);
}
