/* Kernels on panels: four rows of a matrix stored column by column, so that a step of a reduction finds all it needs
 * side by side. The same numbers on every core that has a fused multiply-add: plain C here, multi-register loads of
 * the single-precision FPU of a Cortex-M in kernel_panel_fpu.h, vectors in kernel_panel_mve.h.
 *
 * A sum of 4 x 4 is sums[i][j] = start[i][j] + a[0][i] b[0][j] + a[1][i] b[1][j] + ..., added in this order. */
#ifndef SP_KERNEL_PANEL_H_INCLUDED
#define SP_KERNEL_PANEL_H_INCLUDED

#include "spedge/kernel_math.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of functions that are there once: what is rare is no part of every loop. */
#if defined(__GNUC__)
#define SP_K_APART static __attribute__((noinline, unused))
#else
#define SP_K_APART static inline
#endif

/* Tables: of polynomials in the fraction that rounding leaves, four numbers each, but for the powers. */
enum {
    SP_K_EXP2_STEPS = 8, /* per octave: cubics, constant first, of 2^(i / 8), i = -255 .. 0, the first zero */
    SP_K_EXP2_ENTRIES = 256,
    SP_K_POWERS_STEPS = 1024, /* per octave, of which there is one: sp_k_panel_powers_within */
    SP_K_POWERS_BITS = 10,
    SP_K_POWERS_MIDDLE = 1477, /* the whole number next to SP_K_POWERS_STEPS / log(2) */
    SP_K_GELU_STEPS = 32, /* per unit: -i and a square, constant first, of gelu(i / 32), i = -256 .. 255 at least */
    SP_K_GELU_HALF = 256
};

static inline void sp_k_panel_steps_c(float *s, const float *a, const float *b, int32_t steps, float *sums)
{
    for (int32_t k = 0; k < steps; ++k) {
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j)
                s[4 * i + j] = SP_K_FMA(a[4 * k + i], b[4 * k + j], s[4 * i + j]);
    }
    memcpy(sums, s, 16 * sizeof *s);
}

/* start: 16 numbers; sums may be start. */
static inline void sp_k_panel_sums_c(const float *start, const float *a, const float *b, int32_t steps, float *sums)
{
    float s[16];
    memcpy(s, start, sizeof s);
    sp_k_panel_steps_c(s, a, b, steps, sums);
}

/* start[i][j] + x[i][j] in place of start[i][j]; sums may be x. */
static inline void sp_k_panel_plus_c(const float *start, const float *x, const float *a, const float *b, int32_t steps,
                                     float *sums)
{
    float s[16];
    for (int i = 0; i < 16; ++i)
        s[i] = x[i] + start[i];
    sp_k_panel_steps_c(s, a, b, steps, sums);
}

/* The first `rows` of four rows x[k][r], by four columns w[k][c]; sums[c * across + r * down] is what a sum starts
 * from. */
SP_K_APART void sp_k_panel_few_c(const float *w, const float *x, int32_t steps, int32_t rows, float *sums,
                                 int32_t across, int32_t down)
{
    for (int32_t r = 0; r < rows; ++r) {
        for (int32_t c = 0; c < 4; ++c) {
            float s = sums[c * across + r * down];
            for (int32_t k = 0; k < steps; ++k)
                s = SP_K_FMA(w[4 * k + c], x[4 * k + r], s);
            sums[c * across + r * down] = s;
        }
    }
}

/* start[i][j] = x[j][i]. */
static inline void sp_k_panel_turned_c(const float *x, const float *a, const float *b, int32_t steps, float *sums)
{
    float s[16];
    for (int i = 0; i < 16; ++i)
        s[i] = x[i % 4 * 4 + i / 4];
    sp_k_panel_steps_c(s, a, b, steps, sums);
}

/* One row, whose numbers are `apart` floats apart: sums[c] += x[0] w[0][c] + x[1] w[1][c] + ..., in this order, for eight
 * columns. */
static inline void sp_k_row_c(const float *x, int32_t apart, const float *w, int32_t steps, float *sums)
{
    float s[8];
    memcpy(s, sums, sizeof s);
    for (int32_t k = 0; k < steps; ++k)
        for (int c = 0; c < 8; ++c)
            s[c] = SP_K_FMA(x[k * apart], w[8 * k + c], s[c]);
    memcpy(sums, s, sizeof s);
}

/* The same with weights in 8 bits. */
static inline void sp_k_row_bytes_c(const float *x, int32_t apart, const int8_t *w, int32_t steps, float *sums)
{
    float s[8];
    memcpy(s, sums, sizeof s);
    for (int32_t k = 0; k < steps; ++k)
        for (int c = 0; c < 8; ++c)
            s[c] = SP_K_FMA(x[k * apart], (float)w[8 * k + c], s[c]);
    memcpy(sums, s, sizeof s);
}

/* The largest of each row's scores[4 tiles][4]. */
static inline void sp_k_panel_top_c(const float *scores, int32_t tiles, float *top)
{
    float t0 = scores[0], t1 = scores[1], t2 = scores[2], t3 = scores[3];
    for (int32_t j = 0; j < 4 * tiles; ++j, scores += 4) {
        t0 = SP_K_MAX(t0, scores[0]);
        t1 = SP_K_MAX(t1, scores[1]);
        t2 = SP_K_MAX(t2, scores[2]);
        t3 = SP_K_MAX(t3, scores[3]);
    }
    top[0] = t0;
    top[1] = t1;
    top[2] = t2;
    top[3] = t3;
}

#define SP_K_MAGIC 12582912.0f /* 1.5 * 2^23: a number added to it leaves the nearest integer in its low bits */

/* scores[j][r] = 2^((scores[j][r] - whole[r]) / 8), relative error at most 2.5e-7, 0 below 2^(-254.5 / 8); total[r]:
 * their sum over `keys` keys. shift[r]: SP_K_MAGIC - whole[r], whole[r] being whole and no less than any score. */
static inline void sp_k_panel_powers_c(float *scores, int32_t keys, const float *shift, const float *table,
                                       float *total)
{
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int32_t j = 0; j < keys; ++j, scores += 4) {
        for (int r = 0; r < 4; ++r) {
            const float rounded = SP_K_MAX(scores[r] + shift[r], SP_K_MAGIC - (SP_K_EXP2_ENTRIES - 1));
            const float f = scores[r] - (rounded - shift[r]);
            const float *const c = table + 4 * (SP_K_EXP2_ENTRIES - 1) + 4 * (int32_t)(rounded - SP_K_MAGIC);
            const float p = SP_K_FMA(SP_K_FMA(SP_K_FMA(c[3], f, c[2]), f, c[1]), f, c[0]);
            scores[r] = p;
            sums[r] += p;
        }
    }
    memcpy(total, sums, sizeof sums);
}

/* scores[j][r] = 2^(scores[j][r] / 1024), relative error at most 2.5e-7, for scores up to 2^16 and their negatives; total[r]:
 * their sum over `keys` keys.
 *
 * With n = 1024 q + i the whole number next to score - 1477, and f = score - n, it is 2^q 2^(i / 1024) 2^(f / 1024). f is
 * within 0.82 of 1024 / log(2), where the tangent of 2^(f / 1024) goes through zero: c f, within 1.6e-7. Entry i of the table
 * holds the bits of c 2^(i / 1024) less i << 13; n << 13 is q in a float's exponent and that i << 13. */
static inline void sp_k_panel_powers_within_c(float *scores, int32_t keys, const float *table, float *total)
{
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int32_t j = 0; j < keys; ++j, scores += 4) {
        for (int r = 0; r < 4; ++r) {
            const float rounded = scores[r] + (SP_K_MAGIC - SP_K_POWERS_MIDDLE);
            const float f = scores[r] - (rounded - SP_K_MAGIC);
            uint32_t n, bits;
            float power;
            memcpy(&n, &rounded, sizeof n);
            memcpy(&bits, &table[n & (SP_K_POWERS_STEPS - 1)], sizeof bits);
            bits += n << (23 - SP_K_POWERS_BITS);
            memcpy(&power, &bits, sizeof power);
            scores[r] = power * f;
            sums[r] += scores[r];
        }
    }
    memcpy(total, sums, sizeof sums);
}

/* x = gelu(x / 32) for columns of four, absolute error at most 2.5e-7 max(1, |x / 32|). zero: the table's entry of 0. within,
 * a constant: the table has all that they can be. */
SP_K_INTO void sp_k_panel_gelu_columns_c(float *x, int32_t columns, const float *zero, int within)
{
    for (int32_t i = 0; i < 4 * columns; ++i) {
        const float limited = within ? x[i] : x[i] < -256.0f ? -256.0f : x[i] > 255.0f ? 255.0f : x[i];
        const float *const c = zero + 4 * (int32_t)((limited + SP_K_MAGIC) - SP_K_MAGIC);
        const float f = x[i] + c[0];
        x[i] = SP_K_FMA(SP_K_FMA(c[3], f, c[2]), f, c[1]);
    }
}

/* Of one column, whatever it is. */
static inline void sp_k_panel_gelu_c(float *x, const float *zero)
{
    sp_k_panel_gelu_columns_c(x, 1, zero, 0);
}

/* out[k][r] = (x[k][r] - mean[r]) / sqrt(variance[r] + epsilon) over `width` columns; out may be x. */
static inline void sp_k_panel_norm_c(const float *x, int32_t width, float share, float epsilon, float *out)
{
    for (int r = 0; r < 4; ++r) {
        float total = 0.0f, square = 0.0f, mean, scale;
        for (int32_t k = 0; k < width; ++k)
            total += x[4 * k + r];
        mean = total * share;
        for (int32_t k = 0; k < width; ++k) {
            const float d = x[4 * k + r] - mean;
            square = SP_K_FMA(d, d, square);
        }
        scale = 1.0f / SP_K_SQRT(square * share + epsilon);
        for (int32_t k = 0; k < width; ++k)
            out[4 * k + r] = (x[4 * k + r] - mean) * scale;
    }
}

/* The sums of four rows over `width` columns: of the numbers, or of their squares. Two at a time, of even and of odd
 * columns in fours; then those that are left. */
#define SP_K_PANEL_TWO_SUMS(x, width, term, totals) \
    do { \
        int32_t k = 0; \
        float odd[4] = {0.0f, 0.0f, 0.0f, 0.0f}; \
        for (int r = 0; r < 4; ++r) \
            totals[r] = 0.0f; \
        for (; k < ((width) & ~3); ++k) \
            for (int r = 0; r < 4; ++r) \
                *(k & 1 ? &odd[r] : &totals[r]) = term(x[4 * k + r], k & 1 ? odd[r] : totals[r]); \
        for (int r = 0; r < 4; ++r) \
            totals[r] += odd[r]; \
        for (; k < (width); ++k) \
            for (int r = 0; r < 4; ++r) \
                totals[r] = term(x[4 * k + r], totals[r]); \
    } while (0)
#define SP_K_PANEL_ITSELF(x, sum) ((x) + (sum))
#define SP_K_PANEL_SQUARE(x, sum) SP_K_FMA(x, x, sum)

/* Less its mean of each of four rows x[k][r], in their place. */
static inline void sp_k_panel_centre_c(float *x, int32_t width, float share)
{
    float mean[4];
    SP_K_PANEL_TWO_SUMS(x, width, SP_K_PANEL_ITSELF, mean);
    for (int r = 0; r < 4; ++r)
        mean[r] *= share;
    for (int32_t i = 0; i < 4 * width; ++i)
        x[i] -= mean[i & 3];
}

/* sp_k_panel_norm of rows whose means are zero. */
static inline void sp_k_panel_norm_centred_c(const float *x, int32_t width, float share, float epsilon, float *out)
{
    float scale[4];
    SP_K_PANEL_TWO_SUMS(x, width, SP_K_PANEL_SQUARE, scale);
    for (int r = 0; r < 4; ++r)
        scale[r] = 1.0f / SP_K_SQRT(scale[r] * share + epsilon);
    for (int32_t i = 0; i < 4 * width; ++i)
        out[i] = x[i] * scale[i & 3];
}

/* sums[k][r] *= by[r], for four columns. */
static inline void sp_k_panel_scale_c(float *sums, const float *by)
{
    for (int i = 0; i < 16; ++i)
        sums[i] *= by[i % 4];
}

/* Two columns of four heads' mixtures of the same rows: sums[h][e] = the sum over 4 `tiles` keys, in this order, of
 * weights[key][h] values[key / 4][e][key % 4]; a panel of values is `stride` floats behind the one before. */
static inline void sp_k_panel_mixtures_c(const float *weights, const float *values, int32_t tiles, int32_t stride,
                                         float *sums)
{
    float s[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int32_t t = 0; t < tiles; ++t, weights += 16, values += stride)
        for (int j = 0; j < 4; ++j)
            for (int h = 0; h < 4; ++h)
                for (int e = 0; e < 2; ++e)
                    s[2 * h + e] = SP_K_FMA(weights[4 * j + h], values[4 * e + j], s[2 * h + e]);
    memcpy(sums, s, sizeof s);
}

/* A column of each of two panels. */
static inline void sp_k_panel_add_column_c(const float *x, const float *y, float *out)
{
    for (int r = 0; r < 4; ++r)
        out[r] = x[r] + y[r];
}

/* A number of floats that is a multiple of four, to where none of them lie. */
static inline void sp_k_panel_copy_c(const float *x, int32_t floats, float *out)
{
    for (; floats > 0; floats -= 4, x += 4, out += 4)
        memcpy(out, x, 4 * sizeof *out);
}

/* Four rows x[r][k] to a panel out[k][r]; they do not overlap. */
static inline void sp_k_panel_turn_c(const float *x, int32_t width, float *out)
{
    for (int32_t k = 0; k < width; ++k)
        for (int r = 0; r < 4; ++r)
            out[4 * k + r] = x[r * width + k];
}

#ifdef __cplusplus
}
#endif

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#include "spedge/kernel_panel_mve.h"
#elif defined(__ARM_32BIT_STATE) && defined(__ARM_FEATURE_FMA) && defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN)
#include "spedge/kernel_panel_fpu.h"
#define sp_k_panel_few sp_k_panel_few_c
#define sp_k_panel_add_column sp_k_panel_add_column_c
#define sp_k_row_bytes sp_k_row_bytes_c
#else
#define sp_k_panel_sums sp_k_panel_sums_c
#define sp_k_panel_plus sp_k_panel_plus_c
#define sp_k_panel_turned sp_k_panel_turned_c
#define sp_k_panel_few sp_k_panel_few_c
#define sp_k_row sp_k_row_c
#define sp_k_row_bytes sp_k_row_bytes_c
#define sp_k_panel_top sp_k_panel_top_c
#define sp_k_panel_powers sp_k_panel_powers_c
#define sp_k_panel_powers_within sp_k_panel_powers_within_c
#define sp_k_panel_gelu sp_k_panel_gelu_c
#define sp_k_panel_gelu_columns sp_k_panel_gelu_columns_c
#define sp_k_panel_norm sp_k_panel_norm_c
#define sp_k_panel_centre sp_k_panel_centre_c
#define sp_k_panel_norm_centred sp_k_panel_norm_centred_c
#define sp_k_panel_scale sp_k_panel_scale_c
#define sp_k_panel_mixtures sp_k_panel_mixtures_c
#define sp_k_panel_add_column sp_k_panel_add_column_c
#define sp_k_panel_copy sp_k_panel_copy_c
#define sp_k_panel_turn sp_k_panel_turn_c
#endif

#include "spedge/kernel_panel_wanted.h"

#endif
