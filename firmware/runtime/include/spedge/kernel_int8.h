/* Integer products for kernels on 8-bit weights and activations. The same integers on every core: plain C here,
 * the DSP instructions of a Cortex-M in kernel_int8_dsp.h.
 *
 * Layouts, for `rows` rows and groups of four steps k of the reduction (the last filled up with zeros):
 * x int16 [groups][rows][4], values of 8 bits; w int8 [groups][4], in each group k = 0, 2, 1, 3. */
#ifndef SP_KERNEL_INT8_H_INCLUDED
#define SP_KERNEL_INT8_H_INCLUDED

#include "spedge/kernel_math.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x rounded to the nearest integer (ties to even), limited to -128 .. 127; not defined for a NaN. */
static inline int16_t sp_k_quantise_c(float x)
{
    const float big = 12582912.0f; /* 1.5 * 2^23: the sum's low bits are the integer */
    const float low = x < -128.0f ? -128.0f : x;
    const float sum = (low > 127.0f ? 127.0f : low) + big;
    int32_t bits;
    memcpy(&bits, &sum, sizeof bits);
    return (int16_t)(bits - 0x4b400000);
}

/* sums[r] = sum over k of x[r, k] w[k]; rows is a constant. Never overflows below 130 000 steps. */
static inline void sp_k_dot_c(const int16_t *x, const int8_t *w, int32_t groups, int32_t rows, int32_t *sums)
{
    for (int32_t r = 0; r < rows; ++r)
        sums[r] = 0;
    for (int32_t g = 0; g < groups; ++g) {
        for (int32_t r = 0; r < rows; ++r) {
            sums[r] += x[0] * w[0] + x[1] * w[2] + x[2] * w[1] + x[3] * w[3];
            x += 4;
        }
        w += 4;
    }
}

#ifdef __cplusplus
}
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_32BIT_STATE) && !defined(__ARM_BIG_ENDIAN)
#include "spedge/kernel_int8_dsp.h"
#else
#define sp_k_quantise sp_k_quantise_c
#define sp_k_dot sp_k_dot_c
#endif

#endif
