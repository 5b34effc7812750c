/* What the compiled kernels compute with: fused multiply-add where the core has one, and exp, erf and
 * their relatives in single precision, without errno, tables or library calls. Each bound below is
 * tested over the whole range. */
#ifndef SP_KERNEL_MATH_H_INCLUDED
#define SP_KERNEL_MATH_H_INCLUDED

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* x * y + z: one rounding and one instruction where the core has it, two roundings elsewhere. */
#if defined(__ARM_FEATURE_FMA) || defined(__FMA__) || defined(__aarch64__) || defined(__riscv_f)
#define SP_K_FMA(x, y, z) __builtin_fmaf((x), (y), (z))
#else
#define SP_K_FMA(x, y, z) ((x) * (y) + (z))
#endif

/* The larger of two numbers; which one of a NaN and a number is not defined. SP_K_FAST_MAX is defined by
 * code generated for a core that does it in one instruction and has no macro that says so (FPv5). */
#if defined(__ARM_FEATURE_NUMERIC_MAXMIN) || defined(SP_K_FAST_MAX)
#define SP_K_MAX(x, y) __builtin_fmaxf((x), (y))
#else
#define SP_K_MAX(x, y) ((x) > (y) ? (x) : (y))
#endif

#define SP_K_SQRT(x) __builtin_sqrtf(x)

/* Of functions that become part of what calls them, so that what is constant there is one in them. */
#if defined(__GNUC__)
#define SP_K_INTO static inline __attribute__((always_inline))
#else
#define SP_K_INTO static inline
#endif

/* The float with these bits. */
static inline float sp_k_bits(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^x, for x <= 127; 2^-126 below -126. Relative error at most 2.5e-7.
 * x = n + f with |f| <= 1/2 by rounding against 1.5 * 2^23, whose low bits are then n; 2^f by a minimax
 * polynomial of degree 5 (7.5e-8); n is added to the exponent. */
static inline float sp_k_exp2f(float x)
{
    const float big = 12582912.0f;
    const float clamped = SP_K_MAX(x, -126.0f);
    const float shifted = clamped + big;
    const float f = clamped - (shifted - big);
    float p = SP_K_FMA(0.00132764778f, f, 0.00967554136f);
    uint32_t n, bits;
    p = SP_K_FMA(p, f, 0.0555071326f);
    p = SP_K_FMA(p, f, 0.240221197f);
    p = SP_K_FMA(p, f, 0.693146967f);
    p = SP_K_FMA(p, f, 1.00000007f);
    memcpy(&n, &shifted, sizeof n);
    memcpy(&bits, &p, sizeof bits);
    bits += n << 23;
    memcpy(&p, &bits, sizeof p);
    return p;
}

/* e^x. Relative error at most 4e-7 for |x| <= 87; at most 1.7e38 above 88, at least 2^-126 below -87.3.
 * x = n ln 2 + r with ln 2 in two parts, so that r keeps its digits. */
static inline float sp_k_expf(float x)
{
    const float big = 12582912.0f;
    const float low = x < -87.3f ? -87.3f : x;
    const float clamped = low > 88.0f ? 88.0f : low;
    const float shifted = SP_K_FMA(clamped, 1.44269504f, big);
    const float n = shifted - big;
    float r = SP_K_FMA(n, -0.693359375f, clamped);
    r = SP_K_FMA(n, 2.12194440e-4f, r);
    return sp_k_exp2f(r * 1.44269504f) * sp_k_exp2f(n);
}

/* erf(x), absolute error at most 2e-7. Below 1: x P(x^2), degree 5 in x^2 (4e-8); above:
 * 1 - 2^Q(|x|), Q of degree 6 a minimax fit of log2(erfc) (2e-9), clamped where erf rounds to 1. */
static inline float sp_k_erff(float x)
{
    const float a = x < 0.0f ? -x : x;
    float p;
    if (a < 1.0f) {
        const float s = x * x;
        p = SP_K_FMA(-5.63141808e-4f, s, 4.9175503e-3f);
        p = SP_K_FMA(p, s, -0.0267113102f);
        p = SP_K_FMA(p, s, 0.112801800f);
        p = SP_K_FMA(p, s, -0.376123262f);
        p = SP_K_FMA(p, s, 1.12837912f);
        return p * x;
    }
    {
        const float c = a > 3.95f ? 3.95f : a;
        p = SP_K_FMA(2.67725569e-4f, c, -4.24094604e-3f);
        p = SP_K_FMA(p, c, 0.0314583824f);
        p = SP_K_FMA(p, c, -0.148651415f);
        p = SP_K_FMA(p, c, -0.920765116f);
        p = SP_K_FMA(p, c, -1.62597501f);
        p = SP_K_FMA(p, c, -5.10323054e-4f);
        p = 1.0f - sp_k_exp2f(p);
        return x < 0.0f ? -p : p;
    }
}

/* x (1 + erf(x / sqrt 2)) / 2, absolute error at most 2e-7 max(1, |x|). */
static inline float sp_k_geluf(float x)
{
    const float half = 0.5f * x;
    return SP_K_FMA(half, sp_k_erff(0.707106781f * x), half);
}

/* 1 / (1 + e^-x), absolute error at most 2e-7. */
static inline float sp_k_sigmoidf(float x)
{
    return 1.0f / (1.0f + sp_k_expf(-x));
}

/* x, and e^x - 1 below 0; absolute error at most 4e-7 max(1, |x|). */
static inline float sp_k_eluf(float x)
{
    return x > 0.0f ? x : sp_k_expf(x) - 1.0f;
}

/* tanh(x) = 2 / (1 + e^-2x) - 1, absolute error at most 3e-7. */
static inline float sp_k_tanhf(float x)
{
    return 2.0f / (1.0f + sp_k_expf(-2.0f * x)) - 1.0f;
}

#ifdef __cplusplus
}
#endif
#endif
