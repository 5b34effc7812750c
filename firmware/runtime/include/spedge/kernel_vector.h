/* Sums of products on vectors of eight floats, in the vector types of GCC and Clang: they become the instructions of
 * the core (AVX, SSE) by its compiler flags. By NEON in kernel_vector_neon.h. */
#ifndef SP_KERNEL_VECTOR_H_INCLUDED
#define SP_KERNEL_VECTOR_H_INCLUDED

#include "spedge/kernel_math.h"

#if defined(__aarch64__)
#include "spedge/kernel_vector_neon.h"
#else

#ifdef __cplusplus
extern "C" {
#endif

typedef float sp_k_eight_t __attribute__((vector_size(32), aligned(4), may_alias));

/* sums[r][c] += sum over k of x[r * x_stride + k] w[k * w_stride + c], four rows and eight columns. */
static inline void sp_k_tile_4x8(const float *x, int32_t x_stride, const float *w, int32_t w_stride, int32_t depth,
                                 float *sums)
{
    sp_k_eight_t *const out = (sp_k_eight_t *)sums;
    sp_k_eight_t s0 = out[0], s1 = out[1], s2 = out[2], s3 = out[3];
    for (int32_t k = 0; k < depth; ++k) {
        const sp_k_eight_t v = *(const sp_k_eight_t *)(w + k * w_stride);
        s0 += x[k] * v;
        s1 += x[x_stride + k] * v;
        s2 += x[2 * x_stride + k] * v;
        s3 += x[3 * x_stride + k] * v;
    }
    out[0] = s0;
    out[1] = s1;
    out[2] = s2;
    out[3] = s3;
}

#ifdef __cplusplus
}
#endif
#endif
#endif
