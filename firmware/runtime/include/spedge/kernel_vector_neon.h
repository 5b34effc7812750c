/* kernel_vector.h by the vector instructions (NEON) of aarch64: 128 multiply-accumulates in 44 instructions. */
#ifndef SP_KERNEL_VECTOR_NEON_H_INCLUDED
#define SP_KERNEL_VECTOR_NEON_H_INCLUDED

#include <arm_neon.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline void sp_k_four_by_eight(const float *x, int32_t x_stride, const float *w, int32_t w_stride, int32_t depth,
                                      float *sums)
{
    const int32_t whole = depth - depth % 4;
    float32x4_t s[4][2], v[2];
    for (int r = 0; r < 4; ++r) {
        s[r][0] = vld1q_f32(sums + 8 * r);
        s[r][1] = vld1q_f32(sums + 8 * r + 4);
    }
/* The lane is a constant of the instruction. */
#define SP_K_NEON_STEP(lane) \
    v[0] = vld1q_f32(w + (k + lane) * w_stride); \
    v[1] = vld1q_f32(w + (k + lane) * w_stride + 4); \
    for (int r = 0; r < 4; ++r) { \
        s[r][0] = vfmaq_laneq_f32(s[r][0], v[0], rows[r], lane); \
        s[r][1] = vfmaq_laneq_f32(s[r][1], v[1], rows[r], lane); \
    }
    for (int32_t k = 0; k < whole; k += 4) {
        float32x4_t rows[4];
        for (int r = 0; r < 4; ++r)
            rows[r] = vld1q_f32(x + r * x_stride + k);
        SP_K_NEON_STEP(0)
        SP_K_NEON_STEP(1)
        SP_K_NEON_STEP(2)
        SP_K_NEON_STEP(3)
    }
#undef SP_K_NEON_STEP
    for (int32_t k = whole; k < depth; ++k) {
        v[0] = vld1q_f32(w + k * w_stride);
        v[1] = vld1q_f32(w + k * w_stride + 4);
        for (int r = 0; r < 4; ++r) {
            s[r][0] = vfmaq_n_f32(s[r][0], v[0], x[r * x_stride + k]);
            s[r][1] = vfmaq_n_f32(s[r][1], v[1], x[r * x_stride + k]);
        }
    }
    for (int r = 0; r < 4; ++r) {
        vst1q_f32(sums + 8 * r, s[r][0]);
        vst1q_f32(sums + 8 * r + 4, s[r][1]);
    }
}

#ifdef __cplusplus
}
#endif
#endif
