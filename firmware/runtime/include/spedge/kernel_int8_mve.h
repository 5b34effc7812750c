/* kernel_int8_vector.h by the vector instructions (MVE, Helium) of an Armv8.1-M core: 64 products of four rows in nine
 * instructions. The same bytes as the plain C. */
#ifndef SP_KERNEL_INT8_MVE_H_INCLUDED
#define SP_KERNEL_INT8_MVE_H_INCLUDED

#include "spedge/kernel_mve.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sixteen products of each of four rows: `dot` begins their sums, or adds to them. Written out, because compilers load the
 * rows ahead of the loop, and move them to the stack and back. */
#define SP_K_MVE_DOT(dot) \
    "vldrb.8 q4, [%[w]], #16\n\t" \
    "vldrb.8 q5, [%[x]], #16\n\t" \
    "vldrb.8 q6, [%[x]], #16\n\t" dot " r4, q5, q4\n\t" \
    "vldrb.8 q5, [%[x]], #16\n\t" dot " r6, q6, q4\n\t" \
    "vldrb.8 q6, [%[x]], #16\n\t" dot " r8, q5, q4\n\t" dot " r10, q6, q4\n\t"
#define SP_K_MVE_FIRST_DOT SP_K_MVE_DOT("vmladav.s8")
#define SP_K_MVE_NEXT_DOT SP_K_MVE_DOT("vmladava.s8")
#define SP_K_MVE_DOTS \
    "vmov %q[sums][2], %q[sums][0], r4, r8\n\t" \
    "vmov %q[sums][3], %q[sums][1], r6, r10\n\t"
#define SP_K_MVE_DOT_USED \
    "r4", "r6", "r8", "r10", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "cc", \
        "memory"

SP_K_INTO void sp_k_dot16_mve_4(const int8_t *x, const int8_t *w, int32_t blocks, float scale, float bias, float *out)
{
    int32x4_t sums;
    if (__builtin_constant_p(blocks) && blocks == 4) {
        __asm__ volatile(SP_K_MVE_FIRST_DOT SP_K_MVE_NEXT_DOT SP_K_MVE_NEXT_DOT SP_K_MVE_NEXT_DOT SP_K_MVE_DOTS
                         : [sums] "=w"(sums), [x] "+r"(x), [w] "+r"(w)
                         :
                         : SP_K_MVE_DOT_USED);
    } else {
        __asm__ volatile(SP_K_MVE_FIRST_DOT "wls lr, %[rest], 2f\n\t"
                                            "1:\n\t" SP_K_MVE_NEXT_DOT "le lr, 1b\n\t"
                                            "2:\n\t" SP_K_MVE_DOTS
                         : [sums] "=w"(sums), [x] "+r"(x), [w] "+r"(w)
                         : [rest] "r"(blocks - 1)
                         : "lr", SP_K_MVE_DOT_USED);
    }
    sp_k_store(out, vfmasq_n_f32(vcvtq_f32_s32(sums), vdupq_n_f32(scale), bias));
}

static inline void sp_k_dot16(const int8_t *x, const int8_t *w, int32_t blocks, int32_t rows, float scale, float bias,
                              float *out)
{
    if (rows == 4) {
        sp_k_dot16_mve_4(x, w, blocks, scale, bias, out);
        return;
    }
    for (int32_t r = 0; r < rows; ++r) {
        int32_t sum = 0;
        for (int32_t block = 0; block < blocks; ++block)
            sum = vmladavaq_s8(sum, vldrbq_s8(x + (block * rows + r) * 16), vldrbq_s8(w + block * 16));
        out[r] = SP_K_FMA((float)sum, scale, bias);
    }
}

static inline void sp_k_quantise_panel(const float *x, float inverse, int32_t depth, int8_t *out)
{
    const uint32x4_t rows = vshlq_n_u32(vidupq_n_u32(0, 1), 4);
    const float32x4_t least = vdupq_n_f32(-128.0f), largest = vdupq_n_f32(127.0f);
    for (; depth > 0; depth -= 16, out += 48) {
        for (int32_t k = depth < 16 ? depth : 16; k > 0; --k, x += 4, ++out) {
            const float32x4_t value = vmulq_n_f32(sp_k_load(x), inverse);
            const float32x4_t limited = vminnmq_f32(vmaxnmq_f32(value, least), largest);
            vstrbq_scatter_offset_s32(out, rows, vcvtnq_s32_f32(limited));
        }
    }
    __asm__ volatile("" ::: "memory"); /* out is written: see kernel_mve.h */
}

#ifdef __cplusplus
}
#endif
#endif
