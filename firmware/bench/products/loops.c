/* loops.h: as plain as they can be without standing in the compiler's way, which makes vectors of them. */
#include "loops.h"

void loop_fp32(const float *restrict x, const float *restrict w, const float *restrict bias, int32_t rows,
               int32_t depth, int32_t columns, float *restrict out)
{
    for (int32_t r = 0; r < rows; ++r) {
        for (int32_t c = 0; c < columns; ++c)
            out[r * columns + c] = bias[c];
        for (int32_t k = 0; k < depth; ++k)
            for (int32_t c = 0; c < columns; ++c)
                out[r * columns + c] += x[r * depth + k] * w[k * columns + c];
    }
}

void loop_int8w(const float *restrict x, const int8_t *restrict w, const float *restrict scale,
                const float *restrict bias, int32_t rows, int32_t depth, int32_t columns, float *restrict out)
{
    for (int32_t r = 0; r < rows; ++r) {
        for (int32_t c = 0; c < columns; ++c)
            out[r * columns + c] = 0.0f;
        for (int32_t k = 0; k < depth; ++k)
            for (int32_t c = 0; c < columns; ++c)
                out[r * columns + c] += x[r * depth + k] * (float)w[k * columns + c];
        for (int32_t c = 0; c < columns; ++c)
            out[r * columns + c] = out[r * columns + c] * scale[c] + bias[c];
    }
}

void loop_int8(const int8_t *restrict x, const int8_t *restrict w, const float *restrict scale,
               const float *restrict bias, int32_t rows, int32_t depth, int32_t columns, float *restrict out)
{
    for (int32_t r = 0; r < rows; ++r)
        for (int32_t c = 0; c < columns; ++c) {
            int32_t sum = 0;
            for (int32_t k = 0; k < depth; ++k)
                sum += x[r * depth + k] * w[c * depth + k];
            out[r * columns + c] = (float)sum * scale[c] + bias[c];
        }
}
