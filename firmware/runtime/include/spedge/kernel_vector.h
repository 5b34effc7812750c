/* Sums of products on vectors of eight floats, by the best vector instructions that the machine has (kernel_rows.h). */
#ifndef SP_KERNEL_VECTOR_H_INCLUDED
#define SP_KERNEL_VECTOR_H_INCLUDED

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* sums[r][c] += sum over k of x[r * x_stride + k] w[k * w_stride + c], four rows and eight columns. */
void sp_k_tile_4x8(const float *x, int32_t x_stride, const float *w, int32_t w_stride, int32_t depth, float *sums);

#ifdef __cplusplus
}
#endif
#endif
