/* The sum at the heart of the sparse embedding: many rows of weights, each times its own scale. The same bits on every
 * core that has a fused multiply-add: plain C here, the single-precision FPU of a Cortex-M in embed_rows_fpu.h. */
#ifndef SP_EMBED_ROWS_H_INCLUDED
#define SP_EMBED_ROWS_H_INCLUDED

#include <stdint.h>
#include <string.h>

/* x * y + z: one rounding and one instruction where the core has it. */
#if defined(__ARM_FEATURE_FMA) || defined(__FMA__) || defined(__aarch64__)
#define MULTIPLY_ADD(x, y, z) __builtin_fmaf((x), (y), (z))
#else
#define MULTIPLY_ADD(x, y, z) ((x) * (y) + (z))
#endif

/* out[i] = start[i] + scales[0] rows[0][i] + scales[1] rows[1][i] + ..., in that order. start may be out; rows may be
 * changed. */
static inline void sp_embed_add_rows_c(const float *start, float *out, const float **rows, const float *scales,
                                       uint32_t n, uint32_t hidden)
{
    if (start != out)
        memcpy(out, start, hidden * sizeof *out);
    if (n % 2u != 0) {
        const float *row = *rows++, scale = *scales++;
        for (uint32_t i = 0; i < hidden; i++)
            out[i] = MULTIPLY_ADD(scale, row[i], out[i]);
        n--;
    }
    for (; n > 0; n -= 2, rows += 2, scales += 2) {
        const float *r0 = rows[0], *r1 = rows[1];
        const float s0 = scales[0], s1 = scales[1];
        for (uint32_t i = 0; i < hidden; i++)
            out[i] = MULTIPLY_ADD(s1, r1[i], MULTIPLY_ADD(s0, r0[i], out[i]));
    }
}

/* out[i] = row[i]. */
static inline void sp_embed_copy_c(float *out, const float *row, size_t n)
{
    memcpy(out, row, n * sizeof *out);
}

/* out[i] = 0. */
static inline void sp_embed_clear_c(float *out, size_t n)
{
    memset(out, 0, n * sizeof *out);
}

/* out[i] += row[i]. */
static inline void sp_embed_add_c(float *out, const float *row, uint32_t n)
{
    for (; n > 0; n--)
        *out++ += *row++;
}

#if defined(__ARM_32BIT_STATE) && defined(__ARM_FEATURE_FMA) && defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN)
#include "embed_rows_fpu.h"
#else
#define sp_embed_add_rows sp_embed_add_rows_c
#define sp_embed_add sp_embed_add_c
#define sp_embed_copy sp_embed_copy_c
#define sp_embed_clear sp_embed_clear_c
#endif

#endif
