/* What the products and rows of kernel_rows.h are made of, in the vector types of GCC and Clang: the compiler's flags, or
 * a pragma in front of this file, say how wide they are.
 *
 * A tile of sums stays in registers over the whole reduction: its panel comes from the cache once for each tile of rows,
 * and from memory once. */
#ifndef SP_KERNEL_ROWS_TILES_H_INCLUDED
#define SP_KERNEL_ROWS_TILES_H_INCLUDED

#include "spedge/kernel_math.h"
#include "spedge/kernel_rows_level.h"

#include <stddef.h>

/* Lanes of a vector, and rows of a tile: as many sums as registers hold beside two vectors of weights. */
#if defined(__AVX512F__)
enum { SP_K_LANES = 16, SP_K_TILE_ROWS = 12 };
#elif defined(__AVX__)
enum { SP_K_LANES = 8, SP_K_TILE_ROWS = 5 };
#elif defined(__aarch64__)
enum { SP_K_LANES = 4, SP_K_TILE_ROWS = 8 };
#else
enum { SP_K_LANES = 4, SP_K_TILE_ROWS = 4 };
#endif
enum { SP_K_TILE_COLUMNS = 2 * SP_K_LANES };

typedef float sp_k_lanes_t __attribute__((vector_size(4 * SP_K_LANES), aligned(4), may_alias));
typedef int32_t sp_k_whole_lanes_t __attribute__((vector_size(4 * SP_K_LANES), aligned(4), may_alias));
typedef int16_t sp_k_half_lanes_t __attribute__((vector_size(2 * SP_K_LANES), aligned(2), may_alias));
typedef int8_t sp_k_byte_lanes_t __attribute__((vector_size(SP_K_LANES), aligned(1), may_alias));

#if defined(__clang__)
#define SP_K_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SP_K_UNROLL _Pragma("GCC unroll 16")
/* Sums of products in vectors are fused where the core does it: -ffp-contract=off is for the functions of kernel_math.h,
 * which say where they are. Instructions stay in their order until registers are given out: a tile takes nearly all. */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast", "no-schedule-insns")
#endif

SP_K_INTO sp_k_lanes_t sp_k_load(const float *at)
{
    return *(const sp_k_lanes_t *)at;
}

SP_K_INTO void sp_k_store(float *at, sp_k_lanes_t value)
{
    *(sp_k_lanes_t *)at = value;
}

SP_K_INTO sp_k_lanes_t sp_k_all(float value)
{
    return value - (sp_k_lanes_t){0};
}

/* yes where mask is -1, no where it is 0. */
SP_K_INTO sp_k_lanes_t sp_k_choose(sp_k_whole_lanes_t mask, sp_k_lanes_t yes, sp_k_lanes_t no)
{
    return (sp_k_lanes_t)((mask & (sp_k_whole_lanes_t)yes) | (~mask & (sp_k_whole_lanes_t)no));
}

SP_K_INTO sp_k_lanes_t sp_k_larger(sp_k_lanes_t x, sp_k_lanes_t y)
{
    return sp_k_choose(x > y, x, y);
}

SP_K_INTO float sp_k_total(sp_k_lanes_t x)
{
    float sum = 0.0f;
    SP_K_UNROLL
    for (int i = 0; i < SP_K_LANES; ++i)
        sum += x[i];
    return sum;
}

/* sp_k_exp2f of each lane. */
SP_K_INTO sp_k_lanes_t sp_k_lanes_exp2(sp_k_lanes_t x)
{
    const sp_k_lanes_t clamped = sp_k_larger(x, sp_k_all(-126.0f));
    const sp_k_lanes_t shifted = clamped + 12582912.0f;
    const sp_k_lanes_t f = clamped - (shifted - 12582912.0f);
    sp_k_lanes_t p = 0.00132764778f * f + 0.00967554136f;
    p = p * f + 0.0555071326f;
    p = p * f + 0.240221197f;
    p = p * f + 0.693146967f;
    p = p * f + 1.00000007f;
    return (sp_k_lanes_t)((sp_k_whole_lanes_t)p + ((sp_k_whole_lanes_t)shifted << 23));
}

/* sp_k_geluf of each lane. */
SP_K_INTO sp_k_lanes_t sp_k_lanes_gelu(sp_k_lanes_t x)
{
    const sp_k_lanes_t z = 0.707106781f * x, half = 0.5f * x;
    const sp_k_lanes_t a = (sp_k_lanes_t)((sp_k_whole_lanes_t)z & 0x7fffffff);
    const sp_k_lanes_t s = z * z, limit = sp_k_all(3.95f);
    const sp_k_lanes_t c = sp_k_choose(a > limit, limit, a);
    sp_k_lanes_t near = -5.63141808e-4f * s + 4.9175503e-3f, far = 2.67725569e-4f * c - 4.24094604e-3f;
    near = near * s - 0.0267113102f;
    near = near * s + 0.112801800f;
    near = near * s - 0.376123262f;
    near = near * s + 1.12837912f;
    far = far * c + 0.0314583824f;
    far = far * c - 0.148651415f;
    far = far * c - 0.920765116f;
    far = far * c - 1.62597501f;
    far = 1.0f - sp_k_lanes_exp2(far * c - 5.10323054e-4f);
    far = sp_k_choose(z < 0.0f, -far, far);
    return half * sp_k_choose(a < 1.0f, near * z, far) + half;
}

/* A row's sums of a vector's columns to their place; of its last columns `here` may be there, plus and out. */
SP_K_INTO void sp_k_finish_some(sp_k_lanes_t value, int32_t here, const float *plus, int32_t gelu, float *out)
{
    if (plus)
        for (int32_t i = 0; i < here; ++i)
            value[i] += plus[i];
    if (gelu)
        value = sp_k_lanes_gelu(value);
    memcpy(out, &value, sizeof(float) * (size_t)here);
}

/* A tile's sums to their place. columns: of them that the result has. */
SP_K_INTO void sp_k_finish(const sp_k_lanes_t *sums, int32_t row, int32_t column, int32_t rows, int32_t vectors,
                           int32_t columns, const sp_k_end_t *all)
{
    const sp_k_end_t end = *all; /* of its own: what is stored below could be anything */
    for (int32_t v = 0; v < vectors && columns > 0; ++v, column += SP_K_LANES, columns -= SP_K_LANES) {
        const sp_k_lanes_t none = {0}, bias = end.bias ? sp_k_load(end.bias + column) : none;
        const sp_k_lanes_t scale = end.scale ? sp_k_load(end.scale + column) : none;
        const float *plus = end.plus ? end.plus + row * end.plus_stride + column : NULL;
        float *out = end.out + row * end.out_stride + column;
        for (int32_t r = 0; r < rows; ++r, out += end.out_stride) {
            sp_k_lanes_t value = sums[2 * r + v];
            if (end.scale)
                value *= scale;
            if (end.bias)
                value += bias;
            if (columns < SP_K_LANES)
                sp_k_finish_some(value, columns, plus, end.gelu, out);
            else {
                if (plus)
                    value += sp_k_load(plus);
                sp_k_store(out, end.gelu ? sp_k_lanes_gelu(value) : value);
            }
            if (plus)
                plus += end.plus_stride;
        }
    }
}

/* SP_K_TILE(n), which is a tile of n rows, for the `rows` that there are. */
#define SP_K_CASE(n) \
    case n: \
        SP_K_TILE(n); \
        break;
#if defined(__AVX512F__)
#define SP_K_MORE_ROWS \
    SP_K_CASE(5) SP_K_CASE(6) SP_K_CASE(7) SP_K_CASE(8) SP_K_CASE(9) SP_K_CASE(10) SP_K_CASE(11) SP_K_CASE(12)
#elif defined(__AVX__)
#define SP_K_MORE_ROWS SP_K_CASE(5)
#elif defined(__aarch64__)
#define SP_K_MORE_ROWS SP_K_CASE(5) SP_K_CASE(6) SP_K_CASE(7) SP_K_CASE(8)
#else
#define SP_K_MORE_ROWS
#endif
#define SP_K_BY_ROWS(rows) \
    switch (rows) { \
        SP_K_CASE(1) SP_K_CASE(2) SP_K_CASE(3) SP_K_CASE(4) SP_K_MORE_ROWS default : break; \
    }

SP_K_INTO int32_t sp_k_tiles_of(int32_t rows)
{
    return (rows + SP_K_TILE_ROWS - 1) / SP_K_TILE_ROWS;
}

/* Rows of the next tile: `rows` that are left, in tiles of nearly the same size. */
SP_K_INTO int32_t sp_k_next_tile(int32_t rows)
{
    const int32_t tiles = sp_k_tiles_of(rows);
    return (rows + tiles - 1) / tiles;
}

/* Each tile of those of one of `parts` parts of the rows, which go by nothing but their number: its first row, and how many
 * rows it has. */
#define SP_K_EACH_TILE(row, step, rows, part, parts) \
    for (int32_t row = 0, step, sp_k_at = 0, sp_k_tiles = sp_k_tiles_of(rows); \
         row < (rows) && (step = sp_k_next_tile((rows) - row), 1); row += step, ++sp_k_at) \
        if (sp_k_at * (parts) / sp_k_tiles == (part))

#if !defined(__clang__)
#pragma GCC pop_options
#endif

#endif
