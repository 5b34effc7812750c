/* Products, attention and normalisation of whole matrices, for Linux: x row by row, `*_stride` floats from a row to the
 * next; weights in panels of 32 columns, [columns / 32][depth][32], the last one filled up with zeros.
 *
 * They go by the best vector instructions that the machine has, which is looked up in the first call; large ones are
 * shared by the threads that there are (spedge/threads.h). What they compute does not depend on how many these are. */
#ifndef SP_KERNEL_ROWS_H_INCLUDED
#define SP_KERNEL_ROWS_H_INCLUDED

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Compute on so many threads from now on, 1 to SP_THREADS_MOST, the caller's among them, by the vector instructions of
 * that name, NULL for the best that there are: "baseline", "avx2", "avx512", "avx512vnni"; on aarch64 "baseline" (NEON),
 * "dotprod". Returns SP_OK, or SP_ERR_CONFIG where this machine has neither so many threads nor these instructions; then
 * all stays as it was but for the threads. */
int sp_k_rows_use(uint32_t threads, const char *vectors);

/* out[rows][columns] = plus + bias + x[rows][depth] w, with GELU if gelu is 1. bias and plus may be NULL; bias has a
 * number for each column of the panels; plus may lie in the place of out. */
void sp_k_rows_product(const float *x, int32_t x_stride, int32_t rows, const float *w, int32_t depth, int32_t columns,
                       const float *bias, const float *plus, int32_t plus_stride, int32_t gelu, float *out,
                       int32_t out_stride);

/* The same with weights of 8 bits: plus + bias + scale (x w), scale a number for each column of the panels. */
void sp_k_rows_product_bytes(const float *x, int32_t x_stride, int32_t rows, const int8_t *w, int32_t depth,
                             int32_t columns, const float *scale, const float *bias, const float *plus,
                             int32_t plus_stride, int32_t gelu, float *out, int32_t out_stride);

/* The same with x of 8 bits, too: the same integers everywhere, exact below 130 000 steps. Two steps of the reduction lie
 * side by side, the last one filled up with zeros: x int16 [rows][depth], depth even; w [columns / 32][depth / 2][32][2]. */
void sp_k_rows_product_int8(const int16_t *x, int32_t x_stride, int32_t rows, const int8_t *w, int32_t depth,
                            int32_t columns, const float *scale, const float *bias, const float *plus,
                            int32_t plus_stride, int32_t gelu, float *out, int32_t out_stride);

/* sp_k_quantise(x inverse) of each number of the rows; out_stride: depth up to an even number. */
void sp_k_rows_quantise(const float *x, int32_t x_stride, int32_t rows, int32_t depth, float inverse, int16_t *out,
                        int32_t out_stride);

/* Each row to mean 0 and variance 1, times scale and plus shift (NULL: neither). inverse: 1 / width. */
void sp_k_rows_norm(const float *x, int32_t x_stride, int32_t rows, int32_t width, float inverse, float epsilon,
                    const float *scale, const float *shift, float *out, int32_t out_stride);

/* Attention of `heads` heads: out[r] = sum over j of 2^(q[r].k[j] - max) v[j] / sum of 2^(...), for `rows` rows and `keys`
 * keys; from a head to the next are `*_step` floats. scratch: of each of up to `workers` threads, scratch_size floats, at
 * least W depth + (value_depth up to a multiple of 32) keys + 12 W, W being keys up to a multiple of 32. */
void sp_k_rows_attention(const float *q, int32_t q_stride, int32_t q_step, const float *k, int32_t k_stride,
                         int32_t k_step, const float *v, int32_t v_stride, int32_t v_step, int32_t rows, int32_t keys,
                         int32_t depth, int32_t value_depth, int32_t heads, float *scratch, int32_t scratch_size,
                         int32_t workers, float *out, int32_t out_stride, int32_t out_step);

#ifdef __cplusplus
}
#endif
#endif
