/* kernel_int8.h by the DSP instructions of Armv7E-M and Armv8-M: sxtb16 widens every second byte of four weights,
 * smlad adds two products. 15 instructions for the 16 products of four rows. x and w are 4-byte aligned. */
#ifndef SP_KERNEL_INT8_DSP_H_INCLUDED
#define SP_KERNEL_INT8_DSP_H_INCLUDED

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__ARM_FP)
/* vcvtr rounds as the FPU is set, which is to the nearest unless someone changes it, and saturates. */
static inline int16_t sp_k_quantise_dsp(float x)
{
    float rounded;
    int32_t value;
    __asm__("vcvtr.s32.f32 %0, %1" : "=t"(rounded) : "t"(x));
    memcpy(&value, &rounded, sizeof value);
    __asm__("ssat %0, #8, %0" : "+r"(value));
    return (int16_t)value;
}
#define sp_k_quantise sp_k_quantise_dsp
#else
#define sp_k_quantise sp_k_quantise_c
#endif

/* Four rows at a time: written out, because compilers move the sums to the stack and back. Loads go ahead of their
 * use by one row. */
static inline void sp_k_dot_dsp_4(const int16_t *x, const int8_t *w, int32_t groups, int32_t *sums)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma GCC unroll 8
    for (int32_t g = 0; g < groups; ++g) {
        int32_t even, odd;
        uint64_t a, b;
        __asm__("ldr %[o], [%[w]], #4\n\t"
                "ldrd %Q[a], %R[a], [%[x]], #32\n\t"
                "sxtb16 %[e], %[o]\n\t"
                "sxtb16 %[o], %[o], ror #8\n\t"
                "ldrd %Q[b], %R[b], [%[x], #-24]\n\t"
                "smlad %[s0], %Q[a], %[e], %[s0]\n\t"
                "smlad %[s0], %R[a], %[o], %[s0]\n\t"
                "ldrd %Q[a], %R[a], [%[x], #-16]\n\t"
                "smlad %[s1], %Q[b], %[e], %[s1]\n\t"
                "smlad %[s1], %R[b], %[o], %[s1]\n\t"
                "ldrd %Q[b], %R[b], [%[x], #-8]\n\t"
                "smlad %[s2], %Q[a], %[e], %[s2]\n\t"
                "smlad %[s2], %R[a], %[o], %[s2]\n\t"
                "smlad %[s3], %Q[b], %[e], %[s3]\n\t"
                "smlad %[s3], %R[b], %[o], %[s3]\n\t"
                : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [x] "+r"(x), [w] "+r"(w), [e] "=&r"(even),
                  [o] "=&r"(odd), [a] "=&r"(a), [b] "=&r"(b)
                :
                : "memory");
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

/* One row. */
static inline void sp_k_dot_dsp_1(const int16_t *x, const int8_t *w, int32_t groups, int32_t *sums)
{
    int32_t s = 0;
#pragma GCC unroll 8
    for (int32_t g = 0; g < groups; ++g) {
        int32_t even, odd;
        uint64_t a;
        __asm__("ldr %[o], [%[w]], #4\n\t"
                "ldrd %Q[a], %R[a], [%[x]], #8\n\t"
                "sxtb16 %[e], %[o]\n\t"
                "sxtb16 %[o], %[o], ror #8\n\t"
                "smlad %[s], %Q[a], %[e], %[s]\n\t"
                "smlad %[s], %R[a], %[o], %[s]\n\t"
                : [s] "+r"(s), [x] "+r"(x), [w] "+r"(w), [e] "=&r"(even), [o] "=&r"(odd), [a] "=&r"(a)
                :
                : "memory");
    }
    sums[0] = s;
}

static inline void sp_k_dot(const int16_t *x, const int8_t *w, int32_t groups, int32_t rows, int32_t *sums)
{
    if (rows == 4)
        sp_k_dot_dsp_4(x, w, groups, sums);
    else if (rows == 1)
        sp_k_dot_dsp_1(x, w, groups, sums);
    else
        sp_k_dot_c(x, w, groups, rows, sums);
}

#ifdef __cplusplus
}
#endif
#endif
