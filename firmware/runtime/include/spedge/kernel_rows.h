/* Products, attention and normalisation of whole matrices, for cores with vectors of floats and a cache: x row by row,
 * `*_stride` floats from a row to the next; weights in panels of 32 columns, [columns / 32][depth][32], the last one
 * filled up with zeros. In the vector types of GCC and Clang: the compiler's flags say how wide they are.
 *
 * A tile of sums stays in registers over the whole reduction: its panel comes from the cache once for each tile of rows,
 * and from memory once. */
#ifndef SP_KERNEL_ROWS_H_INCLUDED
#define SP_KERNEL_ROWS_H_INCLUDED

#include "spedge/kernel_math.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

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
enum { SP_K_PANEL_COLUMNS = 32, SP_K_TILE_COLUMNS = 2 * SP_K_LANES };

typedef float sp_k_lanes_t __attribute__((vector_size(4 * SP_K_LANES), aligned(4), may_alias));
typedef int32_t sp_k_whole_lanes_t __attribute__((vector_size(4 * SP_K_LANES), aligned(4), may_alias));
typedef int16_t sp_k_half_lanes_t __attribute__((vector_size(2 * SP_K_LANES), aligned(2), may_alias));
typedef int8_t sp_k_byte_lanes_t __attribute__((vector_size(SP_K_LANES), aligned(1), may_alias));

#define SP_K_INTO static inline __attribute__((always_inline))
#define SP_K_APART static __attribute__((noinline, unused))
#if defined(__clang__)
#define SP_K_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SP_K_UNROLL _Pragma("GCC unroll 16")
/* Sums of products in vectors are fused where the core does it: -ffp-contract=off is for the functions of kernel_math.h,
 * which say where they are. */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
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

/* ---------------------------------------------------------------- products */

/* What becomes of a sum: times scale, plus bias, plus a matrix of the result's size (which may lie in its place), each
 * if there is one (not NULL), then GELU if so. bias and scale: up to the end of a panel. */
typedef struct sp_k_end {
    const float *bias, *scale, *plus;
    float *out;
    int32_t plus_stride, out_stride, gelu;
} sp_k_end_t;

/* A tile's sums to their place. columns: of them that the result has. */
SP_K_INTO void sp_k_finish(const sp_k_lanes_t *sums, int32_t row, int32_t column, int32_t rows, int32_t vectors,
                           int32_t columns, const sp_k_end_t *end)
{
    for (int32_t r = 0; r < rows; ++r) {
        float *const out = end->out + (row + r) * end->out_stride + column;
        const float *const plus = end->plus ? end->plus + (row + r) * end->plus_stride + column : NULL;
        for (int32_t v = 0; v < vectors; ++v) {
            const int32_t at = v * SP_K_LANES, here = columns - at;
            sp_k_lanes_t value = sums[2 * r + v];
            if (here <= 0)
                break;
            if (end->scale)
                value *= sp_k_load(end->scale + column + at);
            if (end->bias)
                value += sp_k_load(end->bias + column + at);
            if (here >= SP_K_LANES) {
                if (plus)
                    value += sp_k_load(plus + at);
                sp_k_store(out + at, end->gelu ? sp_k_lanes_gelu(value) : value);
            } else {
                if (plus)
                    for (int32_t i = 0; i < here; ++i)
                        value[i] += plus[at + i];
                if (end->gelu)
                    value = sp_k_lanes_gelu(value);
                memcpy(out + at, &value, sizeof(float) * (size_t)here);
            }
        }
    }
}

/* A step's weights. bytes, a constant: whether they are 8 bits wide. */
SP_K_INTO sp_k_lanes_t sp_k_weights(const char *w, int32_t at, const int bytes)
{
    if (bytes) { /* in steps that are an instruction each */
        const sp_k_byte_lanes_t narrow = *(const sp_k_byte_lanes_t *)(const void *)(w + at);
        const sp_k_half_lanes_t half = __builtin_convertvector(narrow, sp_k_half_lanes_t);
        return __builtin_convertvector(__builtin_convertvector(half, sp_k_whole_lanes_t), sp_k_lanes_t);
    }
    return sp_k_load((const float *)(const void *)w + at);
}

/* Sums of a tile of `rows` rows and `vectors` vectors, both constants. Few rows take several sums each, so that a step
 * does not wait for the one before it. */
SP_K_INTO void sp_k_tile(const float *x, int32_t x_stride, const char *w, int32_t depth, sp_k_lanes_t *sums,
                         const int rows, const int vectors, const int bytes)
{
    const int ways = rows < 3 ? 4 / rows : 1, panel = (bytes ? 1 : 4) * SP_K_PANEL_COLUMNS;
    sp_k_lanes_t s[SP_K_TILE_ROWS][2], first, second;
    int32_t left = depth;
    SP_K_UNROLL
    for (int i = 0; i < ways * rows; ++i)
        s[i][0] = s[i][1] = (sp_k_lanes_t){0};
#if defined(__aarch64__)
    for (; rows > 2 && left >= 4; left -= 4, x += 4) { /* a lane of a vector of x is an operand of the instruction */
        sp_k_lanes_t factors[SP_K_TILE_ROWS];
        SP_K_UNROLL
        for (int r = 0; r < rows; ++r)
            factors[r] = sp_k_load(x + r * x_stride);
        SP_K_UNROLL
        for (int step = 0; step < 4; ++step, w += panel) {
            first = sp_k_weights(w, 0, bytes);
            second = vectors > 1 ? sp_k_weights(w, SP_K_LANES, bytes) : first;
            SP_K_UNROLL
            for (int r = 0; r < rows; ++r) {
                s[r][0] += factors[r][step] * first;
                if (vectors > 1)
                    s[r][1] += factors[r][step] * second;
            }
        }
    }
#endif
    for (; left >= ways; left -= ways, x += ways) {
        SP_K_UNROLL
        for (int way = 0; way < ways; ++way, w += panel) {
            first = sp_k_weights(w, 0, bytes);
            second = vectors > 1 ? sp_k_weights(w, SP_K_LANES, bytes) : first;
            SP_K_UNROLL
            for (int r = 0; r < rows; ++r) {
                s[way * rows + r][0] += x[r * x_stride + way] * first;
                if (vectors > 1)
                    s[way * rows + r][1] += x[r * x_stride + way] * second;
            }
        }
    }
    for (; ways > 1 && left > 0; --left, ++x, w += panel) {
        for (int r = 0; r < rows; ++r) {
            s[r][0] += x[r * x_stride] * sp_k_weights(w, 0, bytes);
            if (vectors > 1)
                s[r][1] += x[r * x_stride] * sp_k_weights(w, SP_K_LANES, bytes);
        }
    }
    SP_K_UNROLL
    for (int i = rows; i < ways * rows; ++i) {
        s[i % rows][0] += s[i][0];
        s[i % rows][1] += s[i][1];
    }
    SP_K_UNROLL
    for (int r = 0; r < rows; ++r) {
        sums[2 * r] = s[r][0];
        sums[2 * r + 1] = s[r][1];
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

/* Rows of the next tile: `rows` that are left, in tiles of nearly the same size. */
SP_K_INTO int32_t sp_k_next_tile(int32_t rows)
{
    const int32_t tiles = (rows + SP_K_TILE_ROWS - 1) / SP_K_TILE_ROWS;
    return (rows + tiles - 1) / tiles;
}

/* A panel's columns of all rows. w: the panel. */
SP_K_INTO void sp_k_panel_of(const float *x, int32_t x_stride, int32_t rows, const void *w, int32_t depth,
                             int32_t columns, const sp_k_end_t *end, const int bytes)
{
    sp_k_lanes_t sums[2 * SP_K_TILE_ROWS];
    for (int32_t row = 0; row < rows;) {
        const int32_t step = sp_k_next_tile(rows - row);
        for (int32_t column = 0; column < columns; column += SP_K_TILE_COLUMNS) {
            const int32_t here = columns - column, vectors = here > SP_K_LANES ? 2 : 1;
            const char *const at = (const char *)w + (bytes ? 1 : 4) * column;
            if (vectors > 1) {
#define SP_K_TILE(n) sp_k_tile(x + row * x_stride, x_stride, at, depth, sums, n, 2, bytes)
                SP_K_BY_ROWS(step)
#undef SP_K_TILE
            } else {
#define SP_K_TILE(n) sp_k_tile(x + row * x_stride, x_stride, at, depth, sums, n, 1, bytes)
                SP_K_BY_ROWS(step)
#undef SP_K_TILE
            }
            sp_k_finish(sums, row, column, step, vectors, here, end);
        }
        row += step;
    }
}

/* out[rows][columns] = plus + bias + x[rows][depth] w, with GELU if gelu is 1. columns: up to 32, those of a panel.
 * bias and plus may be NULL; bias has 32 numbers. */
SP_K_APART void sp_k_rows_product(const float *x, int32_t x_stride, int32_t rows, const float *w, int32_t depth,
                                  int32_t columns, const float *bias, const float *plus, int32_t plus_stride,
                                  int32_t gelu, float *out, int32_t out_stride)
{
    const sp_k_end_t end = {bias, NULL, plus, out, plus_stride, out_stride, gelu};
    sp_k_panel_of(x, x_stride, rows, w, depth, columns, &end, 0);
}

/* The same with weights of 8 bits: plus + bias + scale (x w), scale a number for each of the 32 columns. */
SP_K_APART void sp_k_rows_product_bytes(const float *x, int32_t x_stride, int32_t rows, const int8_t *w, int32_t depth,
                                        int32_t columns, const float *scale, const float *bias, const float *plus,
                                        int32_t plus_stride, int32_t gelu, float *out, int32_t out_stride)
{
    const sp_k_end_t end = {bias, scale, plus, out, plus_stride, out_stride, gelu};
    sp_k_panel_of(x, x_stride, rows, w, depth, columns, &end, 1);
}

/* ---------------------------------------------------------------- rows */

/* Each row to mean 0 and variance 1, times scale and plus shift (NULL: neither). inverse: 1 / width. */
SP_K_APART void sp_k_rows_norm(const float *x, int32_t x_stride, int32_t rows, int32_t width, float inverse,
                               float epsilon, const float *scale, const float *shift, float *out, int32_t out_stride)
{
    const int32_t whole = width - width % SP_K_LANES;
    for (int32_t r = 0; r < rows; ++r, x += x_stride, out += out_stride) {
        sp_k_lanes_t sums = {0}, squares = {0};
        float mean = 0.0f, variance = 0.0f, factor;
        for (int32_t k = 0; k < whole; k += SP_K_LANES)
            sums += sp_k_load(x + k);
        for (int32_t k = whole; k < width; ++k)
            mean += x[k];
        mean = (mean + sp_k_total(sums)) * inverse;
        for (int32_t k = 0; k < whole; k += SP_K_LANES) {
            const sp_k_lanes_t d = sp_k_load(x + k) - mean;
            squares += d * d;
        }
        for (int32_t k = whole; k < width; ++k)
            variance += (x[k] - mean) * (x[k] - mean);
        variance = (variance + sp_k_total(squares)) * inverse;
        factor = 1.0f / SP_K_SQRT(variance + epsilon);
        for (int32_t k = 0; k < whole; k += SP_K_LANES) {
            sp_k_lanes_t value = (sp_k_load(x + k) - mean) * factor;
            if (scale)
                value = value * sp_k_load(scale + k) + sp_k_load(shift + k);
            sp_k_store(out + k, value);
        }
        for (int32_t k = whole; k < width; ++k) {
            const float value = (x[k] - mean) * factor;
            out[k] = scale ? value * scale[k] + shift[k] : value;
        }
    }
}

/* ---------------------------------------------------------------- attention */

/* Rows [keys][width] into panels of their columns, or, turned, of the rows: column j of the panels is row j. */
SP_K_INTO void sp_k_to_panels(const float *x, int32_t x_stride, int32_t keys, int32_t width, float *panels)
{
    for (int32_t first = 0; first < width; first += SP_K_PANEL_COLUMNS, panels += keys * SP_K_PANEL_COLUMNS) {
        const int32_t here = width - first < SP_K_PANEL_COLUMNS ? width - first : SP_K_PANEL_COLUMNS;
        for (int32_t k = 0; k < keys; ++k) {
            for (int32_t c = 0; c < here; ++c)
                panels[k * SP_K_PANEL_COLUMNS + c] = x[k * x_stride + first + c];
            for (int32_t c = here; c < SP_K_PANEL_COLUMNS; ++c)
                panels[k * SP_K_PANEL_COLUMNS + c] = 0.0f;
        }
    }
}

SP_K_INTO void sp_k_to_turned_panels(const float *x, int32_t x_stride, int32_t keys, int32_t width, float *panels)
{
    for (int32_t first = 0; first < keys; first += SP_K_PANEL_COLUMNS, panels += width * SP_K_PANEL_COLUMNS) {
        for (int32_t j = 0; j < SP_K_PANEL_COLUMNS; ++j) {
            const float *const row = x + (first + j) * x_stride;
            for (int32_t k = 0; k < width; ++k)
                panels[k * SP_K_PANEL_COLUMNS + j] = first + j < keys ? row[k] : 0.0f;
        }
    }
}

/* scores[r] = 2^(scores[r] - their largest), over keys of `width` columns; returns 1 / their sum in inverse[r]. */
SP_K_INTO void sp_k_softmax(float *scores, int32_t width, int32_t keys, int32_t rows, float *inverse)
{
    for (int32_t r = 0; r < rows; ++r, scores += width) {
        sp_k_lanes_t top, sums = {0};
        float most;
        for (int32_t j = keys; j < width; ++j)
            scores[j] = -1e30f;
        top = sp_k_load(scores);
        for (int32_t j = SP_K_LANES; j < width; j += SP_K_LANES)
            top = sp_k_larger(top, sp_k_load(scores + j));
        most = top[0];
        for (int i = 1; i < SP_K_LANES; ++i)
            most = SP_K_MAX(most, top[i]);
        for (int32_t j = 0; j < width; j += SP_K_LANES) {
            const sp_k_lanes_t weights = sp_k_lanes_exp2(sp_k_load(scores + j) - most);
            sp_k_store(scores + j, weights);
            sums += weights;
        }
        inverse[r] = 1.0f / sp_k_total(sums);
    }
}

/* Attention of one head: out[r] = sum over j of 2^(q[r].k[j] - max) v[j] / sum of 2^(...), for `rows` rows and `keys`
 * keys. W: keys up to a multiple of 32. scratch: W depth + (value_depth up to a multiple of 32) keys + 12 W floats. */
SP_K_APART void sp_k_rows_attention(const float *q, int32_t q_stride, const float *k, int32_t k_stride, const float *v,
                                    int32_t v_stride, int32_t rows, int32_t keys, int32_t depth, int32_t value_depth,
                                    float *scratch, float *out, int32_t out_stride)
{
    const int32_t width = (keys + SP_K_PANEL_COLUMNS - 1) / SP_K_PANEL_COLUMNS * SP_K_PANEL_COLUMNS;
    float *const turned = scratch, *const values = turned + width * depth;
    float *const scores =
        values + (value_depth + SP_K_PANEL_COLUMNS - 1) / SP_K_PANEL_COLUMNS * SP_K_PANEL_COLUMNS * keys;
    float inverse[SP_K_TILE_ROWS];
    if (keys == 0)
        return;
    sp_k_to_turned_panels(k, k_stride, keys, depth, turned);
    sp_k_to_panels(v, v_stride, keys, value_depth, values);
    for (int32_t row = 0; row < rows;) {
        const int32_t step = sp_k_next_tile(rows - row);
        for (int32_t j = 0; j < width; j += SP_K_PANEL_COLUMNS)
            sp_k_rows_product(q + row * q_stride, q_stride, step, turned + j * depth, depth, SP_K_PANEL_COLUMNS, NULL,
                              NULL, 0, 0, scores + j, width);
        sp_k_softmax(scores, width, keys, step, inverse);
        for (int32_t c = 0; c < value_depth; c += SP_K_PANEL_COLUMNS) {
            const int32_t here = value_depth - c < SP_K_PANEL_COLUMNS ? value_depth - c : SP_K_PANEL_COLUMNS;
            sp_k_rows_product(scores, width, step, values + c * keys, keys, here, NULL, NULL, 0, 0,
                              out + row * out_stride + c, out_stride);
        }
        for (int32_t r = 0; r < step; ++r)
            for (int32_t c = 0; c < value_depth; ++c)
                out[(row + r) * out_stride + c] *= inverse[r];
        row += step;
    }
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif

#ifdef __cplusplus
}
#endif
#endif
