/* Kernels for cores without an FPU: products on integers with one exponent a block, in halves (integers.h). The same
 * integers on every core: plain C here, sums of bytes by the instructions of Armv6-M in kernel_fixed_thumb.h. */
#ifndef SP_KERNEL_FIXED_H_INCLUDED
#define SP_KERNEL_FIXED_H_INCLUDED

#include "spedge/integers.h"
#include "spedge/kernel_math.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SP_K_FIXED_POWERS = 64, /* entries of the table of powers of two: 2^(-i / 64) in 2^-23 */
    SP_K_FIXED_NORMALS =
        384 /* of three: the normal distribution function at i / 64 as a parabola, in 2^-31 2^-23 2^-23 */
};

/* A sum of so many products is divided by 2^shift, rounded down, and stays below 2^30. */
static inline int32_t sp_k_fixed_shift(int32_t steps)
{
    int32_t shift = 20;
    while (steps > 1 << (shift - 16))
        ++shift;
    return shift;
}

/* n numbers, `step` apart, to halves side by side; out may be where x is. */
static inline void sp_k_fixed_block(const float *x, int32_t step, int32_t n, int32_t exponent, int32_t *out)
{
    for (int32_t i = 0; i < n; ++i, x += step)
        out[i] = sp_integer_halves(sp_integer_of(sp_integer_bits(*x), exponent));
}

/* `parts` times n numbers, `step` apart, each part `stride` from the one before, in out as in x. */
static inline void sp_k_fixed(const float *x, int32_t parts, int32_t stride, int32_t step, int32_t n, int32_t *out,
                              int32_t *exponent)
{
    uint32_t most = 0;
    for (int32_t p = 0; p < parts; ++p)
        most = sp_integer_most(x + p * stride, step, n, most);
    *exponent = sp_integer_exponent(most);
    for (int32_t p = 0; p < parts; ++p)
        sp_k_fixed_block(x + p * stride, step, n, *exponent, out + p * stride);
}

/* sum 2^unit + bias; the sum is below 2^30. */
static inline float sp_k_fixed_biased(int32_t sum, int32_t unit, float bias)
{
    const uint32_t bits = sp_integer_bits(bias);
    const int32_t above = (int32_t)(bits << 1 >> 24) - 150 - unit;
    const int32_t sign = (int32_t)bits >> 31;
    int32_t magnitude = (int32_t)((bits & 0x7fffffu) | 0x800000u);
    if (bits << 1 < 1u << 24)
        return sp_integer_float(sum, unit);
    if (above > 6)
        return sp_integer_float(sum, unit) + bias;
    magnitude = above >= 0 ? magnitude << above : above > -31 ? magnitude >> -above : 0;
    return sp_integer_float(sum + ((magnitude ^ sign) - sign), unit);
}

/* ---- sums of products ------------------------------------------------------------------------------------------ */

/* sums[r] = sum over k of x[r][k] w[k] in 8 bits, exactly. Layouts, for groups of four steps k: x[groups][rows][2], the
 * numbers x1 + 2^16 x0 and x3 + 2^16 x2; w[groups][4], w + 128 of k = 0, 2, 1, 3. */
static inline void sp_k_fixed_dot8_c(const int32_t *x, const int8_t *w, int32_t groups, int32_t rows, int32_t *sums)
{
    for (int32_t r = 0; r < rows; ++r)
        sums[r] = 0;
    for (int32_t g = 0; g < groups; ++g, w += 4) {
        for (int32_t r = 0; r < rows; ++r, x += 2) {
            const int32_t x1 = (int16_t)x[0], x3 = (int16_t)x[1];
            sums[r] += ((x[0] - x1) >> 16) * ((uint8_t)w[0] - 128) + x1 * ((uint8_t)w[2] - 128);
            sums[r] += ((x[1] - x3) >> 16) * ((uint8_t)w[1] - 128) + x3 * ((uint8_t)w[3] - 128);
        }
    }
}

#ifdef __cplusplus
}
#endif

#if defined(__ARM_ARCH) && __ARM_ARCH == 6 && defined(__thumb__) && !defined(__ARM_BIG_ENDIAN)
#include "spedge/kernel_fixed_thumb.h"
#else
#define sp_k_fixed_dot8 sp_k_fixed_dot8_c
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* sp_integer_sums of any number of steps, divided by 2^shift, where shift is sp_k_fixed_shift(steps) or more. */
static inline void sp_k_fixed_dot(const int32_t *x, const int32_t *w, int32_t step, int32_t steps, int32_t shift,
                                  int32_t *sums)
{
    const int32_t first = steps < SP_INTEGER_STEPS ? steps : SP_INTEGER_STEPS;
    const int32_t up = shift < 24 ? 24 - shift : 0, down = shift - 24 + up;
    sp_integer_sums(x, w, step, first, up, sums);
    for (int r = 0; r < 4; ++r)
        sums[r] >>= down;
    for (int32_t k = first; k < steps; k += SP_INTEGER_STEPS) {
        const int32_t left = steps - k < SP_INTEGER_STEPS ? steps - k : SP_INTEGER_STEPS;
        int32_t more[4];
        sp_integer_sums(x + 4 * k, w + k * step, step, left, up, more);
        for (int r = 0; r < 4; ++r)
            sums[r] += more[r] >> down;
    }
}

/* ---- linears --------------------------------------------------------------------------------------------------- */

/* out[r] = bias + sum over k of x[k][r] w[k]: one column for four rows. unit: the weights' exponent, less 23. */
static inline void sp_k_fixed_column(const int32_t *x, int32_t exponent, const int32_t *w, int32_t unit, float bias,
                                     int32_t depth, int32_t shift, float *out)
{
    int32_t sums[4];
    unit += exponent - SP_INTEGER_BITS + shift;
    sp_k_fixed_dot(x, w, 1, depth, shift, sums);
    for (int r = 0; r < 4; ++r)
        out[r] = sp_k_fixed_biased(sums[r], unit, bias);
}

/* out[c] = bias[c] + sum over k of x[k] w[k][c]: four columns for one row. units: as above, by column. */
static inline void sp_k_fixed_row(const int32_t *x, int32_t exponent, const int32_t *w, const int32_t *units,
                                  const float *bias, int32_t depth, int32_t shift, float *out)
{
    int32_t sums[4];
    exponent += shift - SP_INTEGER_BITS;
    sp_k_fixed_dot(w, x, 1, depth, shift, sums);
    for (int c = 0; c < 4; ++c)
        out[c] = sp_k_fixed_biased(sums[c], exponent + units[c], bias[c]);
}

/* x inverse, rounded to the nearest and limited to 8 bits, of four numbers `step` apart, the last after `n` zero, as
 * dot8 takes them. */
static inline void sp_k_fixed_quantise(const float *x, int32_t step, int32_t n, float inverse, int32_t *out)
{
    const uint32_t factor = sp_integer_bits(inverse);
    int32_t values[4] = {0, 0, 0, 0};
    for (int32_t i = 0; i < n; ++i, x += step) {
        const uint32_t bits = sp_integer_bits(*x);
        const int32_t right = 2 * 150 - (int32_t)(bits << 1 >> 24) - (int32_t)(factor << 1 >> 24);
        const uint64_t product = (uint64_t)((bits & 0x7fffffu) | 0x800000u) * ((factor & 0x7fffffu) | 0x800000u);
        int32_t value = 128;
        if (right > 48)
            value = 0;
        else if (right > 39) /* 46 bits at least: below it is 128 or more */
            value = ((int32_t)(product >> (right - 1)) + 1) >> 1;
        values[i] = (bits >> 31) != 0u ? -value : value > 127 ? 127 : value;
        values[i] = values[i] < -128 ? -128 : values[i];
    }
    out[0] = values[1] + values[0] * 65536;
    out[1] = values[3] + values[2] * 65536;
}

/* total scale + bias, where |total| < 2^22. */
static inline float sp_k_fixed_scaled(int32_t total, float scale, float bias)
{
    const uint32_t bits = sp_integer_bits(scale);
    const int64_t product = (int64_t)total * (int32_t)((bits & 0x7fffffu) | 0x800000u);
    return sp_k_fixed_biased((int32_t)(product >> 16), (int32_t)(bits >> 23) - 150 + 16, bias);
}

/* gelu(x), absolute error at most 3e-7 max(1, |x|). x in 2^-24; of 64 steps a unit the rest has 16 bits. */
static inline float sp_k_fixed_gelu(float x, const int32_t *table)
{
    const uint32_t bits = sp_integer_bits(x), magnitude = bits & 0x7fffffffu;
    const int32_t *c;
    uint32_t t, f, share;
    if (magnitude >= 0x40c00000u) /* 6 */
        return (bits >> 31) != 0u ? 0.0f : x;
    t = (uint32_t)sp_integer_of(magnitude, SP_INTEGER_BITS - 24);
    c = table + 3 * (t >> 18);
    f = t >> 2 & 0xffffu;
    share = (uint32_t)(c[1] + ((c[2] * (int32_t)f) >> 16));
    share = (uint32_t)c[0] + (((share * f) >> 16) << 8);
    return x * sp_integer_float((int32_t)((bits >> 31) != 0u ? 0x80000000u - share : share), -31);
}

/* (x - mean) / sqrt(variance + epsilon) of each row over `width` columns, at most 4096; x and out lie as their steps
 * say. */
static inline void sp_k_fixed_norm(const float *x, int32_t row_step, int32_t step, int32_t rows, int32_t width,
                                   float share, float epsilon, float *out, int32_t out_row_step, int32_t out_step)
{
    const int32_t less = width <= 256 ? 0 : 4; /* bits, that the sum fits */
    for (int32_t r = 0; r < rows; ++r, x += row_step, out += out_row_step) {
        const int32_t exponent = sp_integer_exponent(sp_integer_most(x, step, width, 0)) + less;
        int32_t mean, total = 0, lost = 0, unit = exponent - SP_INTEGER_BITS;
        uint64_t square = 0;
        uint32_t bits;
        float scale;
        for (int32_t k = 0; k < width; ++k)
            total += sp_integer_of(sp_integer_bits(x[k * step]), exponent);
        mean = (total + (total < 0 ? -(width / 2) : width / 2)) / width;
        for (int32_t k = 0; k < width; ++k) {
            const int32_t d = sp_integer_of(sp_integer_bits(x[k * step]), exponent) - mean;
            square += (uint64_t)((int64_t)d * d);
        }
        while (square >> lost >= 1u << 30)
            lost += 4;
        scale = sp_integer_float((int32_t)(square >> lost), 2 * unit + lost) * share;
        scale = 1.0f / SP_K_SQRT(scale + epsilon);
        bits = sp_integer_bits(scale);
        unit += (int32_t)(bits >> 23) - 150 + 20;
        bits = (bits & 0x7fffffu) | 0x800000u;
        for (int32_t k = 0; k < width; ++k) {
            const int32_t d = sp_integer_of(sp_integer_bits(x[k * step]), exponent) - mean;
            out[k * out_step] = sp_integer_float((int32_t)(((int64_t)d * (int32_t)bits) >> 20), unit);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------------------------- */

/* 2^(-t 2^-24) in 2^-23, for t below 2^28.6. */
static inline int32_t sp_k_fixed_power(uint32_t t, const int32_t *powers)
{
    const uint32_t whole = t >> 24, entry = (uint32_t)powers[t >> 18 & 63u], rest = t & 0x3ffffu;
    const uint32_t a = ((rest >> 2) * 45426u) >> 16; /* rest ln 2, in 2^-22 */
    const uint32_t less = a - ((a * a) >> 23);       /* 1 - e^-a */
    return (int32_t)((entry - (((entry >> 7) * less) >> 15)) >> whole);
}

/* scores[j][r] 2^unit to 2^(scores[j][r] - the row's largest), in halves; inverse[r]: 1 / their sum in 2^-23. The last
 * tile's scores after `keys` become 0. */
static inline void sp_k_fixed_softmax(int32_t *scores, int32_t unit, const int32_t *powers, int32_t keys, int32_t tiles,
                                      float *inverse)
{
    const int32_t left = unit + 24, right = -left;
    const uint32_t end = 24u << 24; /* from there on it is zero */
    for (int r = 0; r < 4; ++r) {
        int32_t top = scores[r];
        uint64_t total = 0;
        for (int32_t j = 1; j < keys; ++j)
            top = scores[4 * j + r] > top ? scores[4 * j + r] : top;
        for (int32_t j = 0; j < keys; ++j) {
            const uint32_t below = (uint32_t)top - (uint32_t)scores[4 * j + r];
            uint32_t t = end;
            int32_t power = 0;
            if (left <= 0)
                t = right > 31 ? 0u : below >> right;
            else if (left < 32 && below < end >> left)
                t = below << left;
            else if (below == 0u)
                t = 0;
            if (t < end)
                power = sp_k_fixed_power(t, powers);
            total += (uint32_t)power;
            scores[4 * j + r] = sp_integer_halves(power);
        }
        for (int32_t j = keys; j < 4 * tiles; ++j)
            scores[4 * j + r] = 0;
        inverse[r] = 1.0f / (float)total;
    }
}

/* Four rows of one head, a panel q[depth][4], over keys in panels and values in tiles of four columns:
 * out[value_depth][4]. scratch: [4 tiles + depth][4]. */
static inline void sp_k_fixed_attention(const float *q, int32_t depth, const int32_t *k, int32_t k_stride,
                                        int32_t k_exponent, const int32_t *v, int32_t v_stride, int32_t value_depth,
                                        int32_t v_exponent, int32_t *scratch, const int32_t *powers, int32_t keys,
                                        int32_t tiles, float *out)
{
    int32_t *const scores = scratch + 4 * depth;
    const int32_t shift = sp_k_fixed_shift(depth), value_shift = sp_k_fixed_shift(4 * tiles);
    int32_t exponent, unit;
    float inverse[4];
    sp_k_fixed(q, 1, 0, 1, 4 * depth, scratch, &exponent);
    for (int32_t j = 0; j < 4 * tiles; ++j)
        sp_k_fixed_dot(scratch, k + j / 4 * k_stride + j % 4, 4, depth, shift, scores + 4 * j);
    unit = exponent + k_exponent + shift - 2 * SP_INTEGER_BITS;
    sp_k_fixed_softmax(scores, unit, powers, keys, tiles, inverse);
    unit = v_exponent + value_shift - SP_INTEGER_BITS;
    for (int32_t c = 0; c < value_depth; ++c) {
        int32_t sums[4];
        sp_k_fixed_dot(scores, v + c / 4 * v_stride + c % 4, 4, 4 * tiles, value_shift, sums);
        for (int r = 0; r < 4; ++r)
            out[4 * c + r] = sp_integer_float(sums[r], unit) * inverse[r];
    }
}

/* One row of four heads that share their keys and values, which are panels of four rows of floats: q[4][depth],
 * out[4][value_depth]. scratch: [4 tiles + depth + 2 value_depth or depth][4], the larger of the two. */
static inline void sp_k_fixed_shared(const float *q, int32_t depth, const float *k, const float *v, int32_t value_depth,
                                     int32_t *scratch, const int32_t *powers, int32_t keys, int32_t tiles, float *out)
{
    int32_t *const scores = scratch + 4 * depth, *const block = scores + 16 * tiles;
    int32_t *const totals = block + 4 * value_depth;
    const int32_t shift = sp_k_fixed_shift(depth), value_shift = sp_k_fixed_shift(4 * tiles);
    const int32_t few = sp_k_fixed_shift(4), half = value_shift > few ? 1 << (value_shift - few - 1) : 0;
    int32_t exponent, unit, sums[4];
    float inverse[4];
    sp_k_fixed(q, 1, 0, 1, 4 * depth, scratch, &exponent);
    unit = sp_integer_exponent(sp_integer_most(k, 1, 4 * tiles * depth, 0));
    for (int32_t t = 0; t < tiles; ++t) {
        sp_k_fixed_block(k + t * 4 * depth, 1, 4 * depth, unit, block);
        for (int32_t h = 0; h < 4; ++h) {
            sp_k_fixed_dot(block, scratch + h * depth, 1, depth, shift, sums);
            for (int j = 0; j < 4; ++j)
                scores[16 * t + 4 * j + h] = sums[j];
        }
    }
    unit += exponent + shift - 2 * SP_INTEGER_BITS;
    sp_k_fixed_softmax(scores, unit, powers, keys, tiles, inverse);
    unit = sp_integer_exponent(sp_integer_most(v, 1, 4 * tiles * value_depth, 0));
    for (int32_t i = 0; i < 4 * value_depth; ++i)
        totals[i] = 0;
    for (int32_t t = 0; t < tiles; ++t) {
        sp_k_fixed_block(v + t * 4 * value_depth, 1, 4 * value_depth, unit, block);
        for (int32_t c = 0; c < value_depth; ++c) {
            sp_k_fixed_dot(scores + 16 * t, block + 4 * c, 1, 4, few, sums);
            for (int h = 0; h < 4; ++h)
                totals[4 * c + h] += (sums[h] + half) >> (value_shift - few);
        }
    }
    unit += value_shift - SP_INTEGER_BITS;
    for (int32_t c = 0; c < value_depth; ++c)
        for (int h = 0; h < 4; ++h)
            out[h * value_depth + c] = sp_integer_float(totals[4 * c + h], unit) * inverse[h];
}

#ifdef __cplusplus
}
#endif
#endif
