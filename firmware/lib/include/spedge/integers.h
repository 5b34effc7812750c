/* A block of floats as integers with one exponent, for cores without an FPU: x = X 2^(exponent - 23) with |X| <= 2^23,
 * where the largest has 23 bits. Floats are finite.
 *
 * Where products keep 32 bits of 64, an integer is taken in halves, X = 2^12 high + low: of a product of two the part
 * low * low is left out, and what is summed fits in 32 bits. */
#ifndef SP_INTEGERS_H_INCLUDED
#define SP_INTEGERS_H_INCLUDED

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SP_INTEGER_BITS = 23,
    SP_INTEGER_HALF = 12,
    SP_INTEGER_STEPS = 240 /* of a sum of products that does not overflow; a multiple of eight */
};

/* The bits of a float. */
static inline uint32_t sp_integer_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The largest of `most` and of the magnitudes' bits of n numbers, `step` apart. */
static inline uint32_t sp_integer_most(const float *x, int32_t step, int32_t n, uint32_t most)
{
    for (; n > 0; --n, x += step) {
        const uint32_t bits = sp_integer_bits(*x) << 1;
        most = bits > most ? bits : most;
    }
    return most;
}

/* The exponent of a block, from the bits of its largest; what is below 2^-94 becomes zero. */
static inline int32_t sp_integer_exponent(uint32_t most)
{
    const int32_t biased = (int32_t)(most >> 24);
    return (biased < 32 ? 32 : biased) - 126;
}

/* The integer of a float, rounded to the nearest, ties away from zero. */
static inline int32_t sp_integer_of(uint32_t bits, int32_t exponent)
{
    const int32_t shift = exponent + (126 + 8) - (int32_t)(bits << 1 >> 24);
    const int32_t sign = (int32_t)bits >> 31;
    int32_t magnitude;
    if (shift > 31)
        return 0;
    magnitude = (int32_t)((((bits << 8 | 0x80000000u) >> shift) + 1u) >> 1);
    return (magnitude ^ sign) - sign;
}

/* The halves of an integer, as 16 bits each, the high one above: -2048 <= low < 2048. */
static inline int32_t sp_integer_halves(int32_t x)
{
    const uint32_t rounded = (uint32_t)x + 0x800u;
    return (int32_t)(rounded >> 12 << 16 | (((rounded & 0xfffu) - 0x800u) & 0xffffu));
}

/* value 2^unit as the nearest float; one too small for a normal number is zero. */
static inline float sp_integer_float(int32_t value, int32_t unit)
{
    const uint32_t sign = (uint32_t)value & 0x80000000u;
    uint32_t magnitude = sign != 0u ? 0u - (uint32_t)value : (uint32_t)value;
    int32_t exponent = unit + (127 + 30); /* less one: the bit above the mantissa adds it */
    float result;
    int zeros;
    if (magnitude == 0u)
        return 0.0f;
    zeros = __builtin_clz(magnitude);
    magnitude <<= zeros;
    exponent -= zeros;
    if (exponent < 0)
        return 0.0f;
    magnitude = sign + ((uint32_t)exponent << 23) + (magnitude >> 8) + (magnitude >> 7 & 1u);
    memcpy(&result, &magnitude, sizeof result);
    return result;
}

/* sums[r] = sum over k of x[k][r] w[k step], divided by 2^(24 - up), of four rows in halves and at most
 * SP_INTEGER_STEPS steps; step is 1 or 4, up at most 4. */
static inline void sp_integer_sums_c(const int32_t *x, const int32_t *w, int32_t step, int32_t steps, int32_t up,
                                     int32_t *sums)
{
    for (int r = 0; r < 4; ++r) {
        int32_t high = 0, cross = 0;
        for (int32_t k = 0; k < steps; ++k) {
            const int32_t a = x[4 * k + r], b = w[k * step];
            high += (a >> 16) * (b >> 16);
            cross += (a >> 16) * (int16_t)b + (int16_t)a * (b >> 16);
        }
        sums[r] = high * (1 << up) + (cross >> (SP_INTEGER_HALF - up));
    }
}

#ifdef __cplusplus
}
#endif

#if defined(__ARM_ARCH) && __ARM_ARCH == 6 && defined(__thumb__) && !defined(__ARM_BIG_ENDIAN)
#include "spedge/integers_thumb.h"
#else
#define sp_integer_sums sp_integer_sums_c
#endif

#endif
