/* The products of kernel_rows.h as loops in C: what their instructions are counted beside. Rows lie one after the other;
 * w is [depth][columns], but [columns][depth] where both sides are bytes, so that a sum reads along both. */
#ifndef SP_LOOPS_H_INCLUDED
#define SP_LOOPS_H_INCLUDED

#include <stdint.h>

void loop_fp32(const float *restrict x, const float *restrict w, const float *restrict bias, int32_t rows,
               int32_t depth, int32_t columns, float *restrict out);
void loop_int8w(const float *restrict x, const int8_t *restrict w, const float *restrict scale,
                const float *restrict bias, int32_t rows, int32_t depth, int32_t columns, float *restrict out);
void loop_int8(const int8_t *restrict x, const int8_t *restrict w, const float *restrict scale,
               const float *restrict bias, int32_t rows, int32_t depth, int32_t columns, float *restrict out);

#endif
