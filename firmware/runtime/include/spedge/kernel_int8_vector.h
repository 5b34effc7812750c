/* Integer products for cores that multiply and add sixteen bytes at once. The same integers on every core: plain C
 * here, the vector instructions of an Armv8.1-M core in kernel_int8_mve.h.
 *
 * Layouts, for `rows` rows and blocks of 16 steps of the reduction (the last filled up with zeros):
 * x int8 [blocks][rows][16], w int8 [blocks][16]. */
#ifndef SP_KERNEL_INT8_VECTOR_H_INCLUDED
#define SP_KERNEL_INT8_VECTOR_H_INCLUDED

#include "spedge/kernel_int8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out[r] = bias + scale * sum over k of x[r, k] w[k]; rows is a constant. Never overflows below 130 000 steps. */
static inline void sp_k_dot16_c(const int8_t *x, const int8_t *w, int32_t blocks, int32_t rows, float scale, float bias,
                                float *out)
{
    for (int32_t r = 0; r < rows; ++r) {
        int32_t sum = 0;
        for (int32_t block = 0; block < blocks; ++block)
            for (int32_t k = 0; k < 16; ++k)
                sum += x[(block * rows + r) * 16 + k] * w[block * 16 + k];
        out[r] = SP_K_FMA((float)sum, scale, bias);
    }
}

/* A panel x[k][4] times inverse, each rounded to the nearest (ties to even) and limited to 8 bits. */
static inline void sp_k_quantise_panel_c(const float *x, float inverse, int32_t depth, int8_t *out)
{
    for (int32_t k = 0; k < depth; ++k)
        for (int32_t r = 0; r < 4; ++r)
            out[(k / 16 * 4 + r) * 16 + k % 16] = (int8_t)sp_k_quantise_c(x[4 * k + r] * inverse);
}

#ifdef __cplusplus
}
#endif

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#include "spedge/kernel_int8_mve.h"
#else
#define sp_k_dot16 sp_k_dot16_c
#define sp_k_quantise_panel sp_k_quantise_panel_c
#endif

#endif
