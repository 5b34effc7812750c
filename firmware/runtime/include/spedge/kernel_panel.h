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

/* Tables of cubics in the fraction that truncation leaves, four coefficients each, the constant first. */
enum {
    SP_K_EXP2_STEPS = 8, /* entries per octave: entry i of 2^(i / 8), i = -255 .. 0 */
    SP_K_EXP2_ENTRIES = 256,
    SP_K_NORMAL_STEPS = 8, /* entries per unit: the normal distribution function at i / 8, i = -64 .. 63 */
    SP_K_NORMAL_ENTRIES = 128
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

/* start[i][j] = bias[i]. */
static inline void sp_k_panel_columns_c(const float *bias, const float *a, const float *b, int32_t steps, float *sums)
{
    float s[16];
    for (int i = 0; i < 16; ++i)
        s[i] = bias[i / 4];
    sp_k_panel_steps_c(s, a, b, steps, sums);
}

/* start[i][j] = bias[j]. */
static inline void sp_k_panel_rows_c(const float *bias, const float *a, const float *b, int32_t steps, float *sums)
{
    float s[16];
    for (int i = 0; i < 16; ++i)
        s[i] = bias[i % 4];
    sp_k_panel_steps_c(s, a, b, steps, sums);
}

/* start[i][j] = bias[i] + x[i][j]; sums may be x. */
static inline void sp_k_panel_add_c(const float *bias, const float *x, const float *a, const float *b, int32_t steps,
                                    float *sums)
{
    float s[16];
    for (int i = 0; i < 16; ++i)
        s[i] = x[i] + bias[i / 4];
    sp_k_panel_steps_c(s, a, b, steps, sums);
}

/* One row: sums[c] += x[0] w[0][c] + x[1] w[1][c] + ..., in this order, for eight columns. */
static inline void sp_k_row_c(const float *x, const float *w, int32_t steps, float *sums)
{
    float s[8];
    memcpy(s, sums, sizeof s);
    for (int32_t k = 0; k < steps; ++k)
        for (int c = 0; c < 8; ++c)
            s[c] = SP_K_FMA(x[k], w[8 * k + c], s[c]);
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

/* scores[j][r] = 2^((scores[j][r] - top[r]) / 8), relative error at most 2.5e-7, at least 2^(-255.75 / 8); total[r]:
 * their sum over `keys` keys. */
static inline void sp_k_panel_exp2_c(float *scores, int32_t keys, const float *top, const float *table, float *total)
{
    const float *const zero = table + 4 * (SP_K_EXP2_ENTRIES - 1);
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int32_t j = 0; j < keys; ++j, scores += 4) {
        for (int r = 0; r < 4; ++r) {
            const float u = SP_K_MAX(scores[r] - top[r], -255.75f);
            const int32_t whole = (int32_t)u;
            const float f = u - (float)whole;
            const float *const c = zero + 4 * whole;
            const float p = SP_K_FMA(SP_K_FMA(SP_K_FMA(c[3], f, c[2]), f, c[1]), f, c[0]);
            scores[r] = p;
            sums[r] += p;
        }
    }
    memcpy(total, sums, sizeof sums);
}

/* x = gelu(x) for four numbers, absolute error at most 2.5e-7 max(1, |x|). */
static inline void sp_k_panel_gelu_c(float *x, const float *table)
{
    const float *const zero = table + 4 * (SP_K_NORMAL_ENTRIES / 2);
    for (int r = 0; r < 4; ++r) {
        const float u = SP_K_NORMAL_STEPS * x[r];
        const float limited = u < -64.0f ? -64.0f : u > 63.0f ? 63.0f : u;
        const int32_t whole = (int32_t)limited;
        const float f = limited - (float)whole;
        const float *const c = zero + 4 * whole;
        x[r] *= SP_K_FMA(SP_K_FMA(SP_K_FMA(c[3], f, c[2]), f, c[1]), f, c[0]);
    }
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
#else
#define sp_k_panel_columns sp_k_panel_columns_c
#define sp_k_panel_rows sp_k_panel_rows_c
#define sp_k_panel_add sp_k_panel_add_c
#define sp_k_row sp_k_row_c
#define sp_k_panel_top sp_k_panel_top_c
#define sp_k_panel_exp2 sp_k_panel_exp2_c
#define sp_k_panel_gelu sp_k_panel_gelu_c
#define sp_k_panel_norm sp_k_panel_norm_c
#define sp_k_panel_turn sp_k_panel_turn_c
#endif

#endif
