/* kernel_panel.h by the vector instructions (MVE, Helium) of an Armv8.1-M core: a vector holds the four rows, or the
 * four columns, of a step. The same numbers as the plain C, but for those below 2^-126, which count as zero. */
#ifndef SP_KERNEL_PANEL_MVE_H_INCLUDED
#define SP_KERNEL_PANEL_MVE_H_INCLUDED

#include "spedge/kernel_mve.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 16 multiply-accumulates in six instructions. Written out, because compilers load the four scalars one by one. */
#define SP_K_MVE_STEP \
    "vldrw.32 q4, [%[b]], #16\n\t" \
    "ldmia.w %[a]!, {r4, r5, r6, r8}\n\t" \
    "vfma.f32 %q[s0], q4, r4\n\t" \
    "vfma.f32 %q[s1], q4, r5\n\t" \
    "vfma.f32 %q[s2], q4, r6\n\t" \
    "vfma.f32 %q[s3], q4, r8\n\t"

static inline void sp_k_mve_steps(float32x4_t s0, float32x4_t s1, float32x4_t s2, float32x4_t s3, const float *a,
                                  const float *b, int32_t steps, float *sums)
{
    const int32_t blocks = steps >> 2, rest = steps & 3;
    __asm__ volatile("wls lr, %[blocks], 2f\n\t"
                     "1:\n\t" SP_K_MVE_STEP SP_K_MVE_STEP SP_K_MVE_STEP SP_K_MVE_STEP "le lr, 1b\n\t"
                     "2:\n\t"
                     "wls lr, %[rest], 4f\n\t"
                     "3:\n\t" SP_K_MVE_STEP "le lr, 3b\n\t"
                     "4:\n\t"
                     : [s0] "+w"(s0), [s1] "+w"(s1), [s2] "+w"(s2), [s3] "+w"(s3), [a] "+r"(a), [b] "+r"(b)
                     : [blocks] "r"(blocks), [rest] "r"(rest)
                     : "r4", "r5", "r6", "r8", "lr", "s16", "s17", "s18", "s19", "cc", "memory");
    sp_k_store(sums, s0);
    sp_k_store(sums + 4, s1);
    sp_k_store(sums + 8, s2);
    sp_k_store(sums + 12, s3);
}

static inline void sp_k_panel_columns(const float *bias, const float *a, const float *b, int32_t steps, float *sums)
{
    sp_k_mve_steps(vdupq_n_f32(bias[0]), vdupq_n_f32(bias[1]), vdupq_n_f32(bias[2]), vdupq_n_f32(bias[3]), a, b, steps,
                   sums);
}

static inline void sp_k_panel_rows(const float *bias, const float *a, const float *b, int32_t steps, float *sums)
{
    const float32x4_t start = sp_k_load(bias);
    sp_k_mve_steps(start, start, start, start, a, b, steps, sums);
}

static inline void sp_k_panel_add(const float *bias, const float *x, const float *a, const float *b, int32_t steps,
                                  float *sums)
{
    sp_k_mve_steps(vaddq_n_f32(sp_k_load(x), bias[0]), vaddq_n_f32(sp_k_load(x + 4), bias[1]),
                   vaddq_n_f32(sp_k_load(x + 8), bias[2]), vaddq_n_f32(sp_k_load(x + 12), bias[3]), a, b, steps, sums);
}

static inline void sp_k_row(const float *x, const float *w, int32_t steps, float *sums)
{
    float32x4_t s0 = sp_k_load(sums), s1 = sp_k_load(sums + 4);
    for (int32_t k = 0; k < steps; ++k) {
        s0 = vfmaq_n_f32(s0, sp_k_load(w + 8 * k), x[k]);
        s1 = vfmaq_n_f32(s1, sp_k_load(w + 8 * k + 4), x[k]);
    }
    sp_k_store(sums, s0);
    sp_k_store(sums + 4, s1);
}

static inline void sp_k_panel_top(const float *scores, int32_t tiles, float *top)
{
    float32x4_t largest = sp_k_load(scores);
    for (int32_t j = 0; j < 4 * tiles; ++j, scores += 4)
        largest = vmaxnmq_f32(largest, sp_k_load(scores));
    sp_k_store(top, largest);
}

/* u's cubics of a table, u being a fraction ahead of entry number whole(u), counted from the entry `zero`. */
static inline float32x4_t sp_k_mve_cubics(float32x4_t u, const float *table, uint32_t zero)
{
    const int32x4_t whole = vcvtq_s32_f32(u);
    const float32x4_t f = vsubq_f32(u, vcvtq_f32_s32(whole));
    const uint32x4_t at = vshlq_n_u32(vreinterpretq_u32_s32(vaddq_n_s32(whole, (int32_t)zero)), 2);
    float32x4_t p = vldrwq_gather_shifted_offset_f32(table + 3, at);
    p = vfmaq_f32(vldrwq_gather_shifted_offset_f32(table + 2, at), p, f);
    p = vfmaq_f32(vldrwq_gather_shifted_offset_f32(table + 1, at), p, f);
    return vfmaq_f32(vldrwq_gather_shifted_offset_f32(table, at), p, f);
}

static inline void sp_k_panel_exp2(float *scores, int32_t keys, const float *top, const float *table, float *total)
{
    const float32x4_t largest = sp_k_load(top), least = vdupq_n_f32(-255.75f);
    float32x4_t sums = vdupq_n_f32(0.0f);
    for (int32_t j = 0; j < keys; ++j, scores += 4) {
        const float32x4_t u = vmaxnmq_f32(vsubq_f32(sp_k_load(scores), largest), least);
        const float32x4_t p = sp_k_mve_cubics(u, table, SP_K_EXP2_ENTRIES - 1);
        sp_k_store(scores, p);
        sums = vaddq_f32(sums, p);
    }
    sp_k_store(total, sums);
}

static inline void sp_k_panel_gelu(float *x, const float *table)
{
    const float32x4_t value = sp_k_load(x);
    const float32x4_t u = vmulq_n_f32(value, (float)SP_K_NORMAL_STEPS);
    const float32x4_t limited = vminnmq_f32(vmaxnmq_f32(u, vdupq_n_f32(-64.0f)), vdupq_n_f32(63.0f));
    sp_k_store(x, vmulq_f32(value, sp_k_mve_cubics(limited, table, SP_K_NORMAL_ENTRIES / 2)));
}

static inline void sp_k_panel_norm(const float *x, int32_t width, float share, float epsilon, float *out)
{
    float32x4_t mean = vdupq_n_f32(0.0f), square = mean;
    float scale[4];
    for (int32_t k = 0; k < width; ++k)
        mean = vaddq_f32(mean, sp_k_load(x + 4 * k));
    mean = vmulq_n_f32(mean, share);
    for (int32_t k = 0; k < width; ++k) {
        const float32x4_t d = vsubq_f32(sp_k_load(x + 4 * k), mean);
        square = vfmaq_f32(square, d, d);
    }
    sp_k_store(scale, vaddq_n_f32(vmulq_n_f32(square, share), epsilon));
    for (int r = 0; r < 4; ++r)
        scale[r] = 1.0f / SP_K_SQRT(scale[r]);
    square = sp_k_load(scale);
    for (int32_t k = 0; k < width; ++k)
        sp_k_store(out + 4 * k, vmulq_f32(vsubq_f32(sp_k_load(x + 4 * k), mean), square));
}

static inline void sp_k_panel_turn(const float *x, int32_t width, float *out)
{
    const uint32x4_t rows = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)width);
    for (int32_t k = 0; k < width; ++k)
        sp_k_store(out + 4 * k, vldrwq_gather_shifted_offset_f32(x + k, rows));
}

#ifdef __cplusplus
}
#endif
#endif
