/* Vectors of four floats in memory, for the kernels by MVE. Not by vld1q and vst1q: GCC 12 does not see that those touch
 * the floats, and moves a load of one of them ahead of the store. */
#ifndef SP_KERNEL_MVE_H_INCLUDED
#define SP_KERNEL_MVE_H_INCLUDED

#include <arm_mve.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef float sp_k_four_t __attribute__((vector_size(16), aligned(4), may_alias));

static inline float32x4_t sp_k_load(const float *x)
{
    return *(const sp_k_four_t *)x;
}

static inline void sp_k_store(float *x, float32x4_t four)
{
    *(sp_k_four_t *)x = four;
}

#ifdef __cplusplus
}
#endif
#endif
